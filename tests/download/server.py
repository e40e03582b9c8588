"""A server of one file that misbehaves as it is told."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Fault = Callable[["Handler"], None]

NAME = "table.txt.gz"


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
        (fault or Handler.answer)(self)

    def answer(self) -> None:
        """Answer as a good server does (RFC 9110)."""
        site, start = self.server, self.asked_start()
        if start is None:
            self.start(200, {"Content-Length": len(site.content)})
            self.send(site.content)
        elif start >= len(site.content):
            self.start(416, {"Content-Range": f"bytes */{len(site.content)}", "Content-Length": 0})
        else:
            self.start_part(start)
            self.send(site.content[start:])

    def asked_start(self) -> int | None:
        """Where the client wants to go on, if it may."""
        site = self.server
        wanted, condition = self.headers["Range"], self.headers["If-Range"]
        if wanted is None or condition not in {None, site.validators.get("ETag"), site.date}:
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def start_part(self, start: int, text: str | None = None) -> None:
        total = len(self.server.content)
        text = text or f"bytes {start}-{total - 1}/{total}"
        self.start(206, {"Content-Range": text, "Content-Length": total - start})

    def start(self, status: int, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in {**self.server.validators, **headers}.items():
            self.send_header(name, str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def send(self, content: bytes) -> None:
        with suppress(OSError):
            self.wfile.write(content)

    def rest(self) -> bytes:
        """Start a sound reply and give the body that belongs to it."""
        start = self.asked_start()
        if start is None:
            self.start(200, {"Content-Length": len(self.server.content)})
            return self.server.content
        self.start_part(start)
        return self.server.content[start:]


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
    def date(self) -> str | None:
        return self.validators.get("Last-Modified")

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/{NAME}"

    @property
    def gets(self) -> list[str | None]:
        """What each GET asked for: the start of its range, or nothing."""
        return [headers.get("Range") for method, headers in self.requests if method == "GET"]


class Faults:
    """What a server can do wrong."""

    @staticmethod
    def truncated(n_bytes: int) -> Fault:
        return lambda handler: handler.send(handler.rest()[:n_bytes])

    @staticmethod
    def stalled(n_bytes: int) -> Fault:
        def fault(handler: Handler) -> None:
            handler.send(handler.rest()[:n_bytes])
            handler.server.closing.wait(20)

        return fault

    @staticmethod
    def dripping(handler: Handler) -> None:
        for byte in handler.rest():
            try:
                handler.wfile.write(bytes([byte]))
            except OSError:
                return
            if handler.server.closing.wait(0.02):
                return

    @staticmethod
    def silent(handler: Handler) -> None:
        handler.server.closing.wait(20)

    @staticmethod
    def status(number: int, **headers: object) -> Fault:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda handler: handler.start(number, {"Content-Length": 0, **named})

    @staticmethod
    def of_length(declared: object) -> Fault:
        """All of the content, under another length."""

        def fault(handler: Handler) -> None:
            handler.start(200, {"Content-Length": declared})
            handler.send(handler.server.content)

        return fault

    @staticmethod
    def no_range(handler: Handler) -> None:
        handler.start(200, {"Content-Length": len(handler.server.content)})
        handler.send(handler.server.content)

    @staticmethod
    def wrong_range(text: str) -> Fault:
        def fault(handler: Handler) -> None:
            start = handler.asked_start() or 0
            handler.start_part(start, text)
            handler.send(handler.server.content[start:])

        return fault

    @staticmethod
    def part(start: int, stop: int, *, length: bool = True) -> Fault:
        """A part of the content, soundly declared, whatever was asked for."""

        def fault(handler: Handler) -> None:
            content = handler.server.content
            text = f"bytes {start}-{stop - 1}/{len(content)}"
            lengths = {"Content-Length": stop - start} if length else {}
            handler.start(206, {"Content-Range": text, **lengths})
            handler.send(content[start:stop])

        return fault

    @staticmethod
    def two_lengths(handler: Handler) -> None:
        """Lengths that differ."""
        handler.send_response(200)
        for length in (10_000, len(handler.server.content)):
            handler.send_header("Content-Length", str(length))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.send(handler.server.content)

    @staticmethod
    def any_range(handler: Handler) -> None:
        """The rest from there on, whatever the client said of the version it has."""
        start = int((handler.headers["Range"] or "bytes=0-").strip("bytes=-"))
        handler.start_part(start)
        handler.send(handler.server.content[start:])

    @staticmethod
    def endless(handler: Handler) -> None:
        handler.start(200, {})
        while not handler.server.closing.is_set():
            try:
                handler.wfile.write(bytes(1 << 16))
            except OSError:
                return

    @staticmethod
    def until_close(n_bytes: int | None = None) -> Fault:
        """No length; the end of the connection is the end of the file, or isn't."""

        def fault(handler: Handler) -> None:
            handler.start(200, {})
            handler.send(handler.server.content[:n_bytes])

        return fault

    @staticmethod
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

    @staticmethod
    def redirect(url: str, status: int = 302) -> Fault:
        return lambda handler: handler.start(status, {"Location": url, "Content-Length": 0})

    @staticmethod
    def page(kind: str) -> Fault:
        """A web page that says something friendly, with status 200."""
        page = b"<!DOCTYPE html><title>Please log in</title>" * 50

        def fault(handler: Handler) -> None:
            handler.start(200, {"Content-Length": len(page), "Content-Type": kind})
            handler.send(page)

        return fault

    @staticmethod
    def encoded(encoding: str) -> Fault:
        def fault(handler: Handler) -> None:
            length = len(handler.server.content)
            handler.start(200, {"Content-Length": length, "Content-Encoding": encoding})
            handler.send(handler.server.content)

        return fault
