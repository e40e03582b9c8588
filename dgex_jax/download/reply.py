"""What the headers of a reply say of the file behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.download.remote import TransientError, shown_url, status_text
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse

    from dgex_jax.download.partial import Kept
    from dgex_jax.download.sources import Source

CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Reply:
    """Where the bytes of a body belong.

    Attributes
    ----------
    start
        Position of the first of them in the file.
    total
        Bytes of the whole file; ``None`` if the server doesn't say.
    validator
        What `If-Range` takes for this version of the file; empty if there is nothing.
    """

    start: int
    total: int | None
    validator: str


class ChangedError(TransientError):
    """What is kept is no beginning of the file that is there now."""


def read_reply(source: Source, response: HTTPResponse, kept: Kept | None) -> Reply:
    """Read the headers of a reply to a GET.

    Parameters
    ----------
    source
        The file.
    response
        Its body is not touched.
    kept
        What the rest was asked for of; ``None`` if all was asked for.

    Raises
    ------
    ChangedError
        The rest of another file, or of another place in it.
    TransientError
        Lengths that contradict each other, or a web page: some servers in trouble send one as if
        it were the file.
    DgexError
        No such file, or too long a one.
    """
    headers = response.headers
    _check_encoding(source, response)
    if response.status == 200 and headers.get_content_type() == "text/html":
        raise TransientError(f"{shown_url(source.url)}: a web page came instead of the file")
    validator = validator_of(headers)
    if response.status == 200:
        reply = Reply(0, _first(length_of(source, headers), source.size), validator)
    elif response.status == 206 and kept is not None:
        reply = Reply(*_range_of(source, headers, kept), kept.validator)
        if kept.validator and validator not in {"", kept.validator}:
            raise ChangedError(f"{source.file}: another version is there now")
    elif response.status == 416 and kept is not None:
        found = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if found is None or found[3] != str(kept.n_bytes) or kept.total is not None:
            raise ChangedError(f"{source.file}: is shorter now")
        reply = Reply(kept.n_bytes, kept.n_bytes, kept.validator)
    else:
        raise DgexError(f"{shown_url(source.url)}: {status_text(response.status)}")
    check_size(source, reply.total)
    return reply


def length_of(source: Source, headers: HTTPMessage) -> int | None:
    """Read ``Content-Length``; ``None`` if there is none that counts."""
    lengths = set(headers.get_all("Content-Length", []))
    if not lengths or headers.get("Transfer-Encoding"):
        return None
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        raise TransientError(f"{source.file}: the server gives no sound length")
    return int(length)


def check_size(source: Source, total: int | None) -> None:
    """Raise `DgexError` if a file of `total` bytes can't be the one meant."""
    if total is None:
        return
    if source.size and total != source.size:
        raise DgexError(
            f"{source.file}: the server's file has {total:,} bytes, not {source.size:,}: refused"
        )
    if total > source.max_size:
        raise DgexError(
            f"{source.file}: the server's file has {total:,} bytes, more than the "
            f"{source.max_size:,} allowed: refused"
        )


def validator_of(headers: HTTPMessage) -> str:
    """Give the strong ETag, else the date of the last change, else nothing (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag", "").strip()
    if etag.startswith('"'):
        return str(etag)
    return str(headers.get("Last-Modified", "").strip())


def _first(told: int | None, known: int) -> int | None:
    return told if told is not None else known or None


def _range_of(source: Source, headers: HTTPMessage, kept: Kept) -> tuple[int, int | None]:
    text = headers.get("Content-Range", "")
    found = CONTENT_RANGE.fullmatch(text)
    if found is None or found[1] is None or int(found[1]) != kept.n_bytes:
        raise ChangedError(f"{source.file}: the server sent {text[:60]!r}, not what was asked for")
    stop = int(found[2]) + 1
    total = None if found[3] == "*" else int(found[3])
    length = length_of(source, headers)
    if (
        stop <= kept.n_bytes
        or (total is not None and stop > total)
        or (length is not None and length != stop - kept.n_bytes)
        or (None not in {total, kept.total} and total != kept.total)
    ):
        raise ChangedError(f"{source.file}: the server sent {text[:60]!r}, which can't be the rest")
    return kept.n_bytes, total if total is not None else kept.total


def _check_encoding(source: Source, response: HTTPResponse) -> None:
    """Refuse a body that would have to be decoded.

    Servers that know files by their suffix call a packed one encoded: its bytes are as stored.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    stored = {"gzip", "x-gzip"} if source.file.endswith(".gz") else set()
    if response.status in {200, 206} and encoding not in {"identity", "", *stored}:
        raise DgexError(
            f"{shown_url(source.url)}: comes encoded ({encoding[:20]}), which was not asked for"
        )
