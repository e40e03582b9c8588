"""One request to a server: https to the end, nothing followed or decoded that was not asked for.

urllib rather than requests (which pooch brings along): a body is taken as the socket gives it,
so a server that drips is noticed, and never decoded, so bytes can be counted and gone on from.
"""

from __future__ import annotations

import ssl
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from string import punctuation
from time import monotonic
from typing import TYPE_CHECKING, Literal
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPErrorProcessor, HTTPSHandler, Request, build_opener

from dgex_jax import __version__
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dgex_jax.download.limits import Limits

REDIRECTS = {301, 302, 303, 307, 308}
WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
PIECE_BYTES = 1 << 18


class TransientError(Exception):
    """What may be better a little later.

    Attributes
    ----------
    pause
        Seconds the server asks for; ``None`` if it doesn't.
    """

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class _AsItIs(HTTPErrorProcessor):
    """Give every reply to the caller: urllib would read the body of a redirect to its end."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002
        return response

    https_response = http_response


@contextmanager
def ask(
    url: str, limits: Limits, method: Literal["GET", "HEAD"], headers: Mapping[str, str]
) -> Iterator[HTTPResponse]:
    """Send a request and give the reply, its body unread.

    Parameters
    ----------
    url
        Where.
    limits
        Of time and of redirects.
    method, headers
        What is asked for; also of every server redirected to.

    Yields
    ------
    HTTPResponse
        Of any status but a redirect or one that is worth another try.

    Raises
    ------
    TransientError
        Something that may be better a little later.
    DgexError
        A place that is not https, too many redirects, a certificate that is not trusted.
    """
    opener = build_opener(_AsItIs(), HTTPSHandler(context=ssl.create_default_context()))
    asked = {
        "User-Agent": f"dgex-jax/{__version__}",
        "Accept-Encoding": "identity",
        **headers,
    }
    here = url
    for _ in range(limits.redirects + 1):
        _require_safe(here, url, limits)
        request = Request(here, headers=asked, method=method)  # noqa: S310 (checked above)
        with _network_errors(here):
            response = opener.open(request, timeout=limits.timeout)
        with closing(response):
            if response.status in REDIRECTS and response.headers["Location"]:
                here = _redirected(here, response.headers["Location"])
                continue
            if response.status in WORTH_ANOTHER_TRY:
                pause = response.headers.get("Retry-After", "")
                raise TransientError(
                    f"{shown_url(here)}: {status_text(response.status)}",
                    float(pause) if pause.isascii() and pause.isdigit() else None,
                )
            yield response
            return
    raise DgexError(f"{shown_url(url)}: redirects more than {limits.redirects} times")


def pieces(response: HTTPResponse, url: str, limits: Limits) -> Iterator[bytes]:
    """Give the body as it arrives, to its end or the end of the connection.

    Raises
    ------
    TransientError
        The connection broke or came to a stall.
    """
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
                raise TransientError(f"{shown_url(url)}: {n_bytes:,} bytes in {now - start:,.0f} s")
            start, n_bytes = now, 0


def shown_url(url: str) -> str:
    """Write an address without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def status_text(status: int) -> str:
    """Name an HTTP status: ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _redirected(here: str, location: str) -> str:
    # Headers are read as Latin-1; a request takes ASCII alone.
    plain = quote(location, safe=punctuation, encoding="iso-8859-1", errors="replace")
    try:
        place = urljoin(here, plain)
        urlsplit(place)
    except ValueError as error:
        raise DgexError(f"{shown_url(here)}: redirects to no address: {plain[:80]!r}") from error
    return place


def _require_safe(here: str, url: str, limits: Limits) -> None:
    allowed = {"https"}
    if limits.allow_http and urlsplit(url).scheme == "http":
        allowed.add("http")
    if urlsplit(here).scheme not in allowed:
        came = f"{shown_url(url)}: redirects to " if here != url else ""
        raise DgexError(f"{came}{shown_url(here)}: refused: not https")


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException, OverflowError, UnicodeError) as error:
        # The last two: of an address that can't be one, to which a server redirects.
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DgexError(
                f"{shown_url(url)}: its certificate is not trusted: {reason.verify_message}"
            ) from error
        if isinstance(reason, TimeoutError):
            raise TransientError(f"{shown_url(url)}: no answer in time") from error
        cause = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise TransientError(f"{shown_url(url)}: {' '.join(str(cause).split())}") from error
