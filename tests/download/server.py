"""A server of one file that misbehaves as it is told, and what is known of that file."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from dgex_jax.download.fetch import Limits
from dgex_jax.download.sources import Source

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Fault = Callable[["Handler"], None]

NAME = "table.txt.gz"
PAGE = b"<!DOCTYPE html><title>Please log in</title>" * 50
IMPATIENT = Limits(
    timeout=10,
    attempts=3,
    headway=1 << 14,
    pause=0.01,
    longest_pause=0.05,
    pace_seconds=10,
    pace_bytes=1000,
    sync_bytes=1 << 15,
    allow_http=True,
)
"""As impatient as a test, but for its clocks: a busy machine is no fault."""


class Handler(BaseHTTPRequestHandler):
    """Answers each GET with the next of the site's faults; with none left, as it should."""

    protocol_version = "HTTP/1.1"
    server: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        site = self.server
        site.requests.append(("HEAD", dict(self.headers)))
        if site.head is not None:
            site.head(self)
        else:
            self.start(200, {"Content-Length": len(site.content)})

    def do_GET(self) -> None:
        site = self.server
        site.requests.append(("GET", dict(self.headers)))
        fault = site.faults.pop(0) if site.faults else None
        if fault is not None:
            fault(self)
        elif (self.asked_start() or 0) >= len(site.content):
            self.start(416, {"Content-Range": f"bytes */{len(site.content)}", "Content-Length": 0})
        else:
            self.send(self.rest())

    def asked_start(self) -> int | None:
        """Where the client wants to resume, if it may (RFC 9110)."""
        validators, condition = self.server.validators, self.headers["If-Range"]
        known = {None, validators.get("ETag"), validators.get("Last-Modified")}
        if self.headers["Range"] is None or condition not in known:
            return None
        return int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))

    def rest(self) -> bytes:
        """Start a sound reply and give the body that belongs to it."""
        content, start = self.server.content, self.asked_start()
        if start is None:
            self.start(200, {"Content-Length": len(content)})
            return content
        self.start_part(start)
        return content[start:]

    def start_part(self, start: int, text: str | None = None) -> None:
        total = len(self.server.content)
        text = text or f"bytes {start}-{total - 1}/{total}"
        self.start(206, {"Content-Range": text, "Content-Length": total - start})

    def start(self, status: int, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in {**self.server.validators, **headers}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def send(self, content: bytes) -> None:
        with suppress(OSError):
            self.wfile.write(content)


@dataclass
class _State:
    content: bytes
    faults: list[Fault | None] = field(default_factory=list)
    head: Fault | None = None
    validators: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class Site(ThreadingHTTPServer, _State):
    """A server of one file."""

    daemon_threads = True

    def __init__(self, content: bytes, context: ssl.SSLContext | None = None) -> None:
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Handler)
        _State.__init__(self, content)
        self.closing = threading.Event()
        self.scheme = "http" if context is None else "https"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """Clients that leave are what is tested."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/{NAME}"

    @property
    def gets(self) -> list[str | None]:
        """What each GET asked for: the start of its range, or nothing."""
        return [headers.get("Range") for method, headers in self.requests if method == "GET"]

    def source(self, **changes: object) -> Source:
        """Its file, with what is known of it."""
        known: dict[str, object] = {"name": "table", "what": "a small table", "file": NAME}
        known |= {"format": "geuvadis", "kind": "https", "url": self.url, "max_size": 200_000}
        return Source(**{**known, **changes})  # type: ignore[arg-type]


@contextmanager
def serving(content: bytes, context: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Start a server of a file."""
    site = Site(content, context)
    threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield site
    finally:
        site.closing.set()
        site.shutdown()
        site.server_close()


def reply(status: int = 200, body: bytes | slice = slice(None), **headers: object) -> Fault:
    """A reply whatever was asked for, its length told unless the headers say otherwise."""

    def fault(handler: Handler) -> None:
        content = handler.server.content[body] if isinstance(body, slice) else body
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.start(status, {"Content-Length": len(content), **told})
        handler.send(content)

    return fault


def status(number: int, **headers: object) -> Fault:
    return reply(number, b"", **headers)


def redirect(url: str, number: int = 302) -> Fault:
    return status(number, Location=url)


def truncated(n_bytes: int) -> Fault:
    return lambda handler: handler.send(handler.rest()[:n_bytes])


def until_close(n_bytes: int | None = None) -> Fault:
    """No length; the end of the connection is the end of the file, or isn't."""
    return reply(200, slice(n_bytes), Content_Length=None)


def stalled(n_bytes: int) -> Fault:
    def fault(handler: Handler) -> None:
        handler.send(handler.rest()[:n_bytes])
        handler.server.closing.wait(20)

    return fault


def silent(handler: Handler) -> None:
    handler.server.closing.wait(20)


def dripping(handler: Handler) -> None:
    for byte in handler.rest():
        try:
            handler.wfile.write(bytes([byte]))
        except OSError:
            return
        if handler.server.closing.wait(0.02):
            return


def endless(handler: Handler) -> None:
    handler.start(200, {})
    with suppress(OSError):
        while not handler.server.closing.is_set():
            handler.wfile.write(bytes(1 << 16))


def two_lengths(handler: Handler) -> None:
    handler.send_response(200)
    for length in (10_000, len(handler.server.content)):
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.send(handler.server.content)


def wrong_range(text: str) -> Fault:
    def fault(handler: Handler) -> None:
        start = handler.asked_start() or 0
        handler.start_part(start, text)
        handler.send(handler.server.content[start:])

    return fault


def part(start: int, stop: int, total: int, **headers: object) -> Fault:
    """A part of the content, soundly declared, whatever was asked for."""
    text = f"bytes {start}-{stop - 1}/{total}"
    return reply(206, slice(start, stop), Content_Range=text, **headers)


def any_range(handler: Handler) -> None:
    """The rest from there on, whatever the client said of the version it has."""
    start = int((handler.headers["Range"] or "bytes=0-").strip("bytes=-"))
    handler.start_part(start)
    handler.send(handler.server.content[start:])


def chunked(n_bytes: int | None = None) -> Fault:
    """In chunks; the last, empty one is missing if not all is sent."""

    def fault(handler: Handler) -> None:
        handler.start(200, {"Transfer-Encoding": "chunked"})
        content = handler.server.content[:n_bytes]
        for start in range(0, len(content), 5000):
            piece = content[start : start + 5000]
            handler.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if n_bytes is None:
            handler.send(b"0\r\n\r\n")

    return fault
