"""Files fetched into a folder, each under its name only when it is complete and verified.

Until then it is ``<name>.partial``, and ``<name>.partial.json`` tells of which version of which
address it is the start: the rest is asked for (`Range`) only of that version (`If-Range`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial as bound
from http.client import HTTPException, HTTPResponse, responses
from string import punctuation
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, TypeVar
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPErrorProcessor, HTTPSHandler, Request, build_opener

from dgex_jax import __version__
from dgex_jax.download.sources import (
    SUMS,
    look_through,
    read_sums,
    refuse_by_hand,
    require_complete,
    shown_size,
    unpacked,
)
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.files import atomic_path, locked, move_whole, one_line, require_space, writing
from dgex_jax.io.lines import write_lines
from dgex_jax.io.manifest import file_sha256
from dgex_jax.io.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from http.client import HTTPMessage
    from pathlib import Path

    from dgex_jax.download.sources import Source

    Report = Callable[[str], None]

T = TypeVar("T")
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
REDIRECTS = {301, 302, 303, 307, 308}
WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
MEGABYTE = 10**6
PIECE_BYTES = 1 << 18


@dataclass(frozen=True)
class Limits:
    """How patient a download is, and what it refuses (seconds and bytes)."""

    timeout: float = 30.0  # without a single byte, also while connecting
    attempts: int = 5  # failures in a row; counted again after `headway` more bytes than ever
    headway: int = 1 << 20
    pause: float = 1.0  # before the second attempt, doubled for each further one up to
    longest_pause: float = 60.0  # which also bounds the pause that a server asks for
    pace_seconds: float = 60.0  # fewer than `pace_bytes` in this time are a stall
    pace_bytes: int = 1 << 14
    redirects: int = 5  # followed in a row
    sync_bytes: int = 1 << 26  # what may be lost when the machine stops
    sync_seconds: float = 10.0
    allow_http: bool = False  # for tests alone: without TLS


class _TransientError(Exception):
    """What may be better after a while, in `pause` seconds if the server says so."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class _ChangedError(_TransientError):
    """What is kept is not the start of the file that is there now."""


def download(
    sources: Sequence[Source],
    folder: Path,
    *,
    limits: Limits | None = None,
    report: Report = print,
    progress: Progress | None = None,
) -> None:
    """Fetch files into a folder (made if missing); what is there already is verified instead.

    The folder also gets ``SHA256SUMS``, which later downloads and checks are held to where no
    sha256 is published. What is `packed` is unpacked once all of it is here, or from a packed file
    in the folder, which stays. `report` gets a line for everything worth one, `progress` every
    megabyte. Raises `DgexError` for a file that is not had by download, no room on the disk, a file
    that can't be had or is not what it should be; what had arrived stays in ``<name>.partial``
    where it can be resumed, and the text says so. Also raised, once all files are there, if the
    content of one is other than known: it stays, and `report` has said what differs.
    """
    limits, progress = limits or Limits(), progress or Progress()
    refuse_by_hand(sources, folder)
    missing = [source for source in sources if not (folder / source.file).exists()]
    _check_room(missing, folder, limits, report)
    odd = []
    for source in sources:
        with locked(folder / source.file, report=report):
            _fetch(source, folder, limits, report, progress)
        if source.looked_through and not _is_as_known(source, folder, report, progress):
            odd.append(source.name)
    if odd:
        raise DgexError(f"{folder}: there, but not what is known of them: {', '.join(odd)}")


def _is_as_known(source: Source, folder: Path, report: Report, progress: Progress) -> bool:
    try:
        text, faults = look_through(folder / source.file, source, progress)
    except FormatError as error:
        text, faults = str(error), ["it can't be read as what it should be"]
    report("; ".join([f"{source.file}: {text}", *(f"BUT {fault}" for fault in faults)]))
    return not faults


def _check_room(sources: Sequence[Source], folder: Path, limits: Limits, report: Report) -> None:
    """Show what is to come, and raise `DgexError` if the disk can't take it."""
    needed = 0
    for source in sources:
        needed += source.unpacked_size
        if source.packed and (folder / source.arrives).exists():
            continue
        told = _patiently(bound(_ask_size, source, limits), lambda: 0, limits, report)
        have = _Partial(folder / source.arrives, limits).kept.n_bytes
        text = f"{told:,} bytes" if told is not None else "of a size the server doesn't tell"
        text += f", {have:,} of them kept" if have else ""
        if source.unpacked_size:
            text += f"; about {shown_size(source.unpacked_size)} unpacked"
        report(f"{source.arrives}: {text}")
        needed += max((told or source.size or source.about) - have, 0)
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(above).free
    if needed > free:
        size, room = shown_size(needed), shown_size(free)
        raise DgexError(f"{folder}: {size} are still to come, the disk has {room} free")


def _fetch(
    source: Source, folder: Path, limits: Limits, report: Report, progress: Progress
) -> None:
    final, placed = folder / source.file, folder / source.arrives
    partial = _Partial(placed, limits)
    noted = read_sums(folder).get(source.file, "")
    there = final.exists() or final.is_symlink()
    if there:
        if not final.is_file():
            raise DgexError(f"{final}: can't be written: it is not an ordinary file")
        report(f"{source.file}: is there, checking it")
        sha256 = _verified(source, final, noted)
    elif source.packed and placed.exists():
        report(f"{placed.name}: is there, unpacking it")
        sha256 = _unpack(source, placed, final, noted, progress)
    else:
        sha256 = _bring(source, partial, final, noted, limits, report, progress)
    partial.discard()
    if sha256 != noted:
        with locked(folder / SUMS):
            sums = {**read_sums(folder), source.file: sha256}
            write_lines(folder / SUMS, (f"{value}  {name}\n" for name, value in sums.items()))
    state = "unpacked" if source.packed else "fetched"
    if there:
        state = "was there"
    why = f"as noted in {SUMS}"
    if source.sha256:
        why = "as published"
    elif not noted:
        why = f"none is published: noted in {SUMS}, to check against from now on"
    report(f"{final}: {state}, {final.stat().st_size:,} bytes, sha256 {sha256} ({why})")


def _bring(
    source: Source,
    partial: _Partial,
    final: Path,
    noted: str,
    limits: Limits,
    report: Report,
    progress: Progress,
) -> str:
    """Fetch a file under its final name; gives its checksum."""
    try:
        _transfer(source, partial, limits, report, progress)
        if source.packed:
            report(f"{source.arrives}: all here, unpacking it")
            return _unpack(source, partial.path, final, noted, progress)
        report(f"{source.file}: all here, checking it")
        sha256 = _verified(source, partial.path, noted, is_new=True)
        with writing(final):
            move_whole(partial.path, final)
    except FormatError as error:
        partial.discard()
        raise DgexError(
            f"{source.file}: what arrived is not it, nothing is kept: {error}"
        ) from error
    except DgexError as error:
        raise DgexError(f"{error}{partial.kept_text}") from error
    except BaseException:
        report(f"{source.file}: stopped{partial.kept_text}")
        raise
    return sha256


def _unpack(source: Source, packed: Path, final: Path, noted: str, progress: Progress) -> str:
    """Unpack a gzip file under its final name, once verified; gives the checksum of that.

    `FormatError` as `_verified`, and if it is no gzip file, damaged, or far longer than known.
    """
    require_space(final, source.unpacked_size)
    limit, done = source.max_size + 2 * source.unpacked_size, 0
    total = -(-max(source.unpacked_size, packed.stat().st_size) // MEGABYTE)
    with atomic_path(final) as temporary:
        step = progress.step(f"{source.file}: unpacking", total, unit="MB")
        with step as tick, temporary.open("wb") as file:
            for piece in unpacked(packed, source.format):
                before, done = done, done + len(piece)
                if done > limit:
                    raise FormatError(f"{packed}: more than {limit:,} bytes are in it: refused")
                with writing(final):
                    file.write(piece)
                tick(done // MEGABYTE - before // MEGABYTE)
        return _verified(source, temporary, noted, is_new=True)


def _verified(source: Source, path: Path, noted: str, *, is_new: bool = False) -> str:
    """Give the checksum of a file; `FormatError` if it is incomplete or not the one known."""
    known, says = source.sha256 or noted, "published" if source.sha256 else f"noted in {SUMS}"
    if is_new or not known:
        require_complete(path, source.format)
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise DgexError(f"{path}: can't be read: {one_line(error)}") from error
    if known not in {"", sha256}:
        fault = f"its sha256 is {sha256}, not the {known} {says}"
        raise FormatError(fault if is_new else f"{path}: {fault}; move it away to fetch it")
    return sha256


def _transfer(
    source: Source, partial: _Partial, limits: Limits, report: Report, progress: Progress
) -> None:
    """Bring all of a file into `partial`, each attempt resuming where the last one ended."""

    def attempt() -> None:
        kept = partial.kept
        # Without a version from the server, only a known sha256 can tell a mix of two files.
        known = kept.validator or source.sha256 or partial.is_complete
        start = kept.n_bytes if known and kept.url == source.url else 0
        if start and partial.is_complete:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and kept.validator:
            headers["If-Range"] = kept.validator
        with _ask(source.url, limits, "GET", headers) as response:
            try:
                reply = _read_reply(source, response, kept if start else None)
            except _ChangedError:
                partial.discard()
                raise
            if reply.total is not None:
                require_space(partial.path, reply.total - reply.n_bytes)
            if start:
                how = f"resumes at byte {start:,}" if reply.n_bytes else "restarts"
                report(f"{source.file}: {how}")
            with partial.writing(reply):
                _copy(source, partial, reply, _pieces(response, source.url, limits), progress)

    _patiently(attempt, lambda: partial.kept.n_bytes, limits, report)


def _copy(
    source: Source, partial: _Partial, reply: _Kept, arriving: Iterator[bytes], progress: Progress
) -> None:
    limit = reply.total or source.size or source.max_size
    text, end = source.file, reply.total
    if end is None:
        text, end = f"{source.file} (of unknown size, at most)", source.max_size
    done = start = reply.n_bytes
    with progress.step(text, -(-(end - start) // MEGABYTE), unit="MB") as tick:
        while done != reply.total and (piece := next(arriving, b"")):
            done += len(piece)
            if done > limit:
                partial.discard()
                raise DgexError(f"{source.file}: more than {limit:,} bytes arrived: refused")
            partial.write(piece)
            tick((done - start) // MEGABYTE)
            start += (done - start) // MEGABYTE * MEGABYTE
    if reply.total not in {None, done}:
        raise _TransientError(f"{source.file}: ended after {done:,} of {reply.total:,} bytes")
    partial.kept = partial.kept._replace(total=done)


def _patiently(
    attempt: Callable[[], T], reached: Callable[[], int], limits: Limits, report: Report
) -> T:
    """Try until it works, or fails too often in a row without headway."""
    best, failures = reached(), 0
    while True:
        try:
            return attempt()
        except _TransientError as error:
            if reached() >= best + limits.headway:
                failures = 0
            best = max(best, reached())
            failures += 1
            if failures >= limits.attempts:
                raise DgexError(f"{error}; given up after {failures} attempts") from error
            asked = limits.pause * 2 ** (failures - 1) if error.pause is None else error.pause
            pause = min(asked, limits.longest_pause)
            report(f"{error}; again in {pause:g} s")
            sleep(pause)


class _Kept(NamedTuple):
    """The first `n_bytes` of a file of `total` bytes, if known, of one version of one address."""

    url: str = ""
    validator: str = ""  # what the server calls this version (`If-Range`), if anything
    total: int | None = None
    n_bytes: int = 0


class _Partial:
    """``<name>.partial``, and what its notes say of it."""

    def __init__(self, final: Path, limits: Limits) -> None:
        self.path = final.with_name(f"{final.name}.partial")
        self.kept = _Kept()
        self._notes = final.with_name(f"{final.name}.partial.json")
        self._limits = limits
        self._file: IO[bytes]
        self._noted, self._noted_at = 0, 0.0
        try:
            found = json.loads(self._notes.read_text(encoding="utf-8"))
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return
        match found:
            case {
                "url": str(url),
                "validator": str(validator),
                "total": (int() | None) as total,
                "n_bytes": int(n_bytes),
            } if 0 < n_bytes <= size and not self.path.is_symlink():
                self.kept = _Kept(url, validator, total, n_bytes)

    @property
    def is_complete(self) -> bool:
        return 0 < self.kept.n_bytes == self.kept.total

    @property
    def kept_text(self) -> str:
        if not self.kept.n_bytes:
            return ""
        place = f"in {self.path.name}, the same command resumes there"
        return f"; {self.kept.n_bytes:,} bytes are kept {place}"

    @contextmanager
    def writing(self, reply: _Kept) -> Iterator[None]:
        """Open the file where a reply's bytes belong; at the end the disk has all of them."""
        mode, n_bytes = "r+b", reply.n_bytes
        if not n_bytes:
            self.discard()
            self.kept, mode = reply, "xb"
        with writing(self.path):
            self._file = self.path.open(mode, buffering=0)
        with self._file:
            with writing(self.path):
                # What is behind may never have reached the disk as it was meant.
                self._file.truncate(n_bytes)
                self._file.seek(n_bytes)
            self._noted, self._noted_at = n_bytes, monotonic()
            try:
                yield
            except BaseException:
                # A full disk takes no more notes either: those of before then count.
                with suppress(DgexError):
                    self._note()
                raise
            self._note()

    def write(self, piece: bytes) -> None:
        with writing(self.path):
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        n_bytes = self.kept.n_bytes + len(piece)
        self.kept = self.kept._replace(n_bytes=n_bytes)
        due = monotonic() - self._noted_at > self._limits.sync_seconds
        if due or n_bytes - self._noted >= self._limits.sync_bytes:
            self._note()

    def discard(self) -> None:
        self.kept = _Kept()
        # The notes first: without them nothing is resumed.
        with writing(self.path):
            self._notes.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _note(self) -> None:
        """Wait until the disk has what arrived, and note that."""
        if not self.kept.n_bytes:
            return
        new = self._notes.with_name(f"{self._notes.name}.new")
        with writing(self.path):
            os.fsync(self._file.fileno())
            new.write_text(json.dumps(self.kept._asdict()), encoding="utf-8")
            move_whole(new, self._notes)
        self._noted, self._noted_at = self.kept.n_bytes, monotonic()


# HTTP


class _AsItIs(HTTPErrorProcessor):
    """Give every reply to the caller: urllib would read the body of a redirect to its end."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002
        return response

    https_response = http_response


def _ask(
    url: str, limits: Limits, method: Literal["GET", "HEAD"], more: Mapping[str, str]
) -> HTTPResponse:
    """Send a request, https to the end, and give the reply, its body unread and undecoded."""
    opener = build_opener(_AsItIs(), HTTPSHandler(context=ssl.create_default_context()))
    asked = {"User-Agent": f"dgex-jax/{__version__}", "Accept-Encoding": "identity", **more}
    here, allowed = url, {"https"}
    if limits.allow_http and urlsplit(url).scheme == "http":
        allowed.add("http")
    for _ in range(limits.redirects + 1):
        if urlsplit(here).scheme not in allowed:
            came = f"{_shown_url(url)}: redirects to " if here != url else ""
            raise DgexError(f"{came}{_shown_url(here)}: refused: not https")
        request = Request(here, headers=asked, method=method)  # noqa: S310 (checked above)
        with _network_errors(here):
            response: HTTPResponse = opener.open(request, timeout=limits.timeout)
        status, headers = response.status, response.headers
        if status in REDIRECTS and headers["Location"]:
            response.close()
            # Headers are read as Latin-1; a request takes ASCII alone.
            plain = quote(headers["Location"], punctuation, "iso-8859-1", "replace")
            try:
                here = urljoin(here, plain)
                urlsplit(here)
            except ValueError as error:
                raise DgexError(f"{_shown_url(url)}: redirects to {plain[:80]!r}") from error
        elif status in WORTH_ANOTHER_TRY:
            response.close()
            pause = headers.get("Retry-After", "")
            seconds = float(pause) if pause.isascii() and pause.isdigit() else None
            raise _TransientError(f"{_shown_url(here)}: {_status_text(status)}", seconds)
        else:
            return response
    raise DgexError(f"{_shown_url(url)}: redirects more than {limits.redirects} times")


def _pieces(response: HTTPResponse, url: str, limits: Limits) -> Iterator[bytes]:
    """Give the body as it arrives, to its end or the end of the connection."""
    start, n_bytes = monotonic(), 0
    while True:
        with _network_errors(url):
            piece = response.read1(PIECE_BYTES)
        if not piece:
            return
        yield piece
        n_bytes += len(piece)
        now = monotonic()
        if now - start >= limits.pace_seconds:
            if n_bytes < limits.pace_bytes:
                raise _TransientError(
                    f"{_shown_url(url)}: {n_bytes:,} bytes in {now - start:,.0f} s"
                )
            start, n_bytes = now, 0


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException, OverflowError, UnicodeError) as error:
        # The last two: of an address that can't be one, to which a server redirects.
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DgexError(
                f"{_shown_url(url)}: its certificate is not trusted: {reason.verify_message}"
            ) from error
        cause = reason if isinstance(reason, str) else one_line(reason)
        if isinstance(reason, TimeoutError):
            cause = "no answer in time"
        raise _TransientError(f"{_shown_url(url)}: {cause}") from error


def _shown_url(url: str) -> str:
    """Write an address without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _status_text(status: int) -> str:
    return f"{status} {responses.get(status, '')}".strip()


def _read_reply(source: Source, response: HTTPResponse, kept: _Kept | None) -> _Kept:
    """Tell from a reply to a GET, of the rest if something is `kept`, what its body follows on."""
    headers, status = response.headers, response.status
    # Servers that know files by their suffix call a packed one encoded: its bytes are as stored.
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    stored = {"gzip", "x-gzip"} if source.arrives.endswith(".gz") else set()
    if status in {200, 206} and encoding not in {"identity", "", *stored}:
        raise DgexError(
            f"{_shown_url(source.url)}: comes encoded ({encoding[:20]}), which was not asked for"
        )
    if status == 200 and headers.get_content_type() == "text/html":
        # Some servers in trouble send one as if it were the file.
        raise _TransientError(f"{_shown_url(source.url)}: a web page came instead of the file")
    # The strong ETag, else the date of the last change (RFC 9110, 13.1.5).
    etag = headers.get("ETag", "").strip()
    validator = etag if etag.startswith('"') else headers.get("Last-Modified", "").strip()
    if status == 200:
        told = _length_of(source, headers)
        reply = _Kept(source.url, validator, told if told is not None else source.size or None)
    elif status == 206 and kept is not None:
        if kept.validator and validator not in {"", kept.validator}:
            raise _ChangedError(f"{source.file}: another version is there now")
        reply = kept._replace(total=_total_of_rest(source, headers, kept))
    elif status == 416 and kept is not None:
        raise _ChangedError(f"{source.file}: is shorter now")
    else:
        raise DgexError(f"{_shown_url(source.url)}: {_status_text(status)}")
    _check_size(source, reply.total)
    return reply


def _total_of_rest(source: Source, headers: HTTPMessage, kept: _Kept) -> int | None:
    text = headers.get("Content-Range", "")
    if found := CONTENT_RANGE.fullmatch(text):
        start, stop = int(found[1]), int(found[2]) + 1
        total = kept.total if found[3] == "*" else int(found[3])
        fits = start == kept.n_bytes < stop and (total is None or stop <= total)
        length = _length_of(source, headers)
        if fits and kept.total in {None, total} and length in {None, stop - start}:
            return total
    raise _ChangedError(f"{source.file}: the server sent {text[:60]!r}, which can't be the rest")


def _ask_size(source: Source, limits: Limits) -> int | None:
    with _ask(source.url, limits, "HEAD", {}) as response:
        if response.status in {404, 410}:
            raise DgexError(f"{_shown_url(source.url)}: {_status_text(response.status)}")
        total = _length_of(source, response.headers) if response.status == 200 else None
    _check_size(source, total)
    return total


def _length_of(source: Source, headers: HTTPMessage) -> int | None:
    """Read ``Content-Length``; ``None`` if there is none that counts."""
    lengths = set(headers.get_all("Content-Length", []))
    if not lengths or headers.get("Transfer-Encoding"):
        return None
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        raise _TransientError(f"{source.file}: the server gives no sound length")
    return int(length)


def _check_size(source: Source, total: int | None) -> None:
    if total is None:
        return
    size = f"{source.file}: the server's file has {total:,} bytes"
    if source.size and total != source.size:
        raise DgexError(f"{size}, not {source.size:,}: refused")
    if total > source.max_size:
        raise DgexError(f"{size}, more than the {source.max_size:,} allowed: refused")
