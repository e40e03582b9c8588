"""A file brought into its partial file, each attempt going on where the last one ended."""

from __future__ import annotations

import shutil
from time import sleep
from typing import TYPE_CHECKING, TypeVar

from dgex_jax.download.remote import TransientError, ask, pieces, status_text
from dgex_jax.download.reply import ChangedError, check_size, length_of, read_reply
from dgex_jax.download.sources import shown_size
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from dgex_jax.data.progress import Progress, Tick
    from dgex_jax.download.limits import Limits
    from dgex_jax.download.partial import Kept, Partial
    from dgex_jax.download.reply import Reply
    from dgex_jax.download.sources import Source

MEGABYTE = 10**6
T = TypeVar("T")


def ask_size(source: Source, limits: Limits, report: Callable[[str], None]) -> int | None:
    """Ask a server how long a file is; ``None`` if it doesn't say.

    Raises
    ------
    DgexError
        There is no such file, too long a one, or nobody answers.
    """

    def attempt() -> int | None:
        with ask(source.url, limits, "HEAD", {}) as response:
            if response.status in {404, 410}:
                raise DgexError(f"{source.url}: {status_text(response.status)}")
            if response.status != 200:
                return None
            total = length_of(source, response.headers)
            check_size(source, total)
            return total

    return _patiently(attempt, lambda: 0, limits, report)


def transfer(
    source: Source,
    partial: Partial,
    limits: Limits,
    report: Callable[[str], None],
    progress: Progress,
) -> None:
    """Bring a whole file into `partial`.

    Parameters
    ----------
    source
        The file. Where its sha256 is known, what is kept may be gone on from even if the server
        gives no means to tell whether it is the same file.
    partial
        What is kept of it; whole when this returns, as far as the server's word goes.
    limits
        Of time, size and attempts.
    report, progress
        Told of what happens, in lines, and of bytes.

    Raises
    ------
    DgexError
        It can't be had, is not what it should be, or the disk takes no more.
    """

    def attempt() -> None:
        kept = _to_go_on_from(source, partial)
        if kept is None or not kept.whole:
            _once(source, partial, kept, limits, report, progress)

    def reached() -> int:
        return partial.kept.n_bytes if partial.kept is not None else 0

    _patiently(attempt, reached, limits, report)


def _to_go_on_from(source: Source, partial: Partial) -> Kept | None:
    kept = partial.kept
    if kept is None or kept.url != source.url or not (kept.validator or source.sha256):
        # A whole one of which nothing more is known may still be checked and used.
        return kept if kept is not None and kept.url == source.url and kept.whole else None
    return kept


def _once(
    source: Source,
    partial: Partial,
    kept: Kept | None,
    limits: Limits,
    report: Callable[[str], None],
    progress: Progress,
) -> None:
    headers = {}
    if kept is not None:
        headers["Range"] = f"bytes={kept.n_bytes}-"
        if kept.validator:
            headers["If-Range"] = kept.validator
    with ask(source.url, limits, "GET", headers) as response:
        try:
            reply = read_reply(source, response, kept)
        except ChangedError:
            partial.discard()
            raise
        _require_space(partial, reply)
        if kept is not None:
            place = f"goes on at byte {kept.n_bytes:,}" if reply.start else "begins anew"
            report(f"{source.file}: {place}")
        with _opened(partial, source, reply), _shown(progress, source, reply) as tick:
            if reply.total is None or reply.start < reply.total:
                _copy(source, partial, reply, pieces(response, source.url, limits), tick)
            partial.finish()


def _copy(
    source: Source, partial: Partial, reply: Reply, arriving: Iterator[bytes], tick: Tick
) -> None:
    limit = reply.total or source.size or source.max_size
    done = start = reply.start
    for piece in arriving:
        done += len(piece)
        if done > limit:
            partial.discard()
            raise DgexError(f"{source.file}: more than {limit:,} bytes arrived: refused")
        partial.write(piece)
        tick((done - start) // MEGABYTE)
        start += (done - start) // MEGABYTE * MEGABYTE
        if done == reply.total:
            return
    if reply.total is not None:
        raise TransientError(f"{source.file}: ended after {done:,} of {reply.total:,} bytes")


def _opened(partial: Partial, source: Source, reply: Reply) -> Partial:
    return (
        partial.go_on() if reply.start else partial.begin(source.url, reply.validator, reply.total)
    )


def _shown(progress: Progress, source: Source, reply: Reply) -> AbstractContextManager[Tick]:
    if reply.total is None:
        text, end = f"{source.file} (of unknown size, at most)", source.max_size
    else:
        text, end = source.file, reply.total
    return progress.step(text, -(-(end - reply.start) // MEGABYTE), unit="MB")


def _require_space(partial: Partial, reply: Reply) -> None:
    if reply.total is None:
        return
    needed, free = reply.total - reply.start, shutil.disk_usage(partial.path.parent).free
    if needed > free:
        raise DgexError(
            f"{partial.path}: needs {shown_size(needed)}, the disk has {shown_size(free)} free"
        )


def _patiently(
    attempt: Callable[[], T],
    reached: Callable[[], int],
    limits: Limits,
    report: Callable[[str], None],
) -> T:
    """Try until it works, or fails too often in a row without headway."""
    best, failures = reached(), 0
    while True:
        try:
            return attempt()
        except TransientError as error:
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
