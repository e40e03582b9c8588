"""Files fetched into a folder, each under its name only when it is whole and verified.

pooch keeps the table of names, addresses and checksums, verifies what is there or arrives, and
moves it into place. Its own downloader starts over after every break and takes whatever comes, so
it is given another one (its documented way), which brings the file into ``<name>.partial`` first.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgex_jax.data.progress import Progress
from dgex_jax.download.limits import Limits
from dgex_jax.download.partial import Partial
from dgex_jax.download.sources import refuse_by_hand, shown_size
from dgex_jax.download.sums import add_sum, read_sums
from dgex_jax.download.transfer import ask_size, transfer
from dgex_jax.download.whole import require_whole
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.atomic import sync
from dgex_jax.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dgex_jax.download.sources import Source

    Report = Callable[[str], None]


def download(
    sources: Sequence[Source],
    folder: Path,
    *,
    limits: Limits | None = None,
    report: Report = print,
    progress: Progress | None = None,
) -> None:
    """Fetch files into a folder; what is there already is verified instead.

    Parameters
    ----------
    sources
        The files.
    folder
        Made if missing. It also gets ``SHA256SUMS``, which later downloads and checks are against
        where no sha256 is published.
    limits
        Of patience and size (default: those of `Limits`).
    report
        Gets a line for everything worth one.
    progress
        Told of every megabyte (default: nobody is).

    Raises
    ------
    DgexError
        A file that is not had by download, no room on the disk, a file that can't be had or is
        not what it should be. What had arrived stays in ``<name>.partial`` where it can be gone
        on from, and the text says so.
    """
    limits, progress = limits or Limits(), progress or Progress()
    refuse_by_hand(sources, folder)
    pooch = _pooch()
    _check_room([s for s in sources if not (folder / s.file).exists()], folder, limits, report)
    for source in sources:
        with locked(folder / source.file, report=report):
            _fetch(pooch, source, folder, limits, report, progress)


def _check_room(sources: Sequence[Source], folder: Path, limits: Limits, report: Report) -> None:
    """Show what is to come, and raise `DgexError` if the disk can't take it."""
    needed = 0
    for source in sources:
        told = ask_size(source, limits, report)
        size = told or source.size or source.about
        text = f"{told:,} bytes" if told is not None else "of a size the server doesn't tell"
        partial = Partial(folder / source.file, limits)
        have = partial.kept.n_bytes if partial.kept is not None else 0
        report(f"{source.file}: {text}" + (f", {have:,} of them kept" if have else ""))
        needed += max(size - have, 0)
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(above).free
    if needed > free:
        raise DgexError(
            f"{folder}: {shown_size(needed)} are still to come, the disk has "
            f"{shown_size(free)} free"
        )


def _fetch(
    pooch: Any, source: Source, folder: Path, limits: Limits, report: Report, progress: Progress
) -> None:
    final, partial = folder / source.file, Partial(folder / source.file, limits)
    there = final.exists() or final.is_symlink()
    if there and not final.is_file():
        raise DgexError(f"{final}: can't be written: it is not an ordinary file")
    recorded = read_sums(folder).get(source.file, "")
    known = source.sha256 or recorded
    if there:
        report(f"{source.file}: is there, checking it")
        if not known:
            require_whole(final, source.format)
    _remove_links(partial)
    arrived: list[Path] = []

    def bring(url: str, output_file: str, _pooch: object) -> None:  # noqa: ARG001
        # pooch made an empty file, which a kill would leave behind.
        Path(output_file).unlink()
        transfer(source, partial, limits, report, progress)
        report(f"{source.file}: all here, checking it")
        require_whole(partial.path, source.format)
        arrived.append(partial.path)
        _link(partial.path, Path(output_file))

    store = pooch.Pooch(
        path=folder,
        base_url="",
        registry={source.file: known or None},
        urls={source.file: source.url},
        retry_if_failed=0,
        allow_updates=False,
    )
    with _quiet(pooch), _faults(source, partial, report):
        try:
            store.fetch(source.file, downloader=bring)
        except ValueError as error:
            wrong = next(iter(arrived), final if there else None)
            if isinstance(error, DgexError) or wrong is None:
                raise
            # pooch's, of the sha256.
            found = pooch.file_hash(str(wrong)) if wrong.exists() else "another"
            raise _wrong_sum(source, final if there else None, found, known) from error
    sync(folder, os.O_RDONLY)
    partial.discard()
    sha256 = known or pooch.file_hash(str(final))
    if sha256 != recorded:
        add_sum(folder, source.file, sha256)
    report(_done_text(source, final, sha256, recorded, there=there))


@contextmanager
def _faults(source: Source, partial: Partial, report: Report) -> Iterator[None]:
    """Throw away what is not the file, keep its beginning, and say so."""
    try:
        yield
    except FormatError as error:
        partial.discard()
        raise DgexError(
            f"{source.file}: what arrived is not it, nothing is kept: {error}"
        ) from error
    except DgexError as error:
        raise DgexError(f"{error}{_kept_text(partial)}") from error
    except BaseException:
        report(f"{source.file}: stopped{_kept_text(partial)}")
        raise


def _wrong_sum(source: Source, there: Path | None, found: str, known: str) -> DgexError:
    says = "published" if source.sha256 else "noted in SHA256SUMS"
    if there is not None:
        return DgexError(
            f"{there}: its sha256 is {found}, not the {known} {says}; move it away to fetch it"
        )
    return FormatError(f"its sha256 is {found}, not the {known} {says}")


def _done_text(source: Source, final: Path, sha256: str, recorded: str, *, there: bool) -> str:
    state = "was there" if there else "fetched"
    why = "none is published: noted in SHA256SUMS, to check against from now on"
    if source.sha256:
        why = "as published"
    elif recorded:
        why = "as noted in SHA256SUMS"
    return f"{final}: {state}, {final.stat().st_size:,} bytes, sha256 {sha256} ({why})"


def _kept_text(partial: Partial) -> str:
    if partial.kept is None:
        return ""
    n_bytes = f"{partial.kept.n_bytes:,}"
    return f"; {n_bytes} bytes are kept in {partial.path.name}, the same command goes on there"


def _link(path: Path, name: Path) -> None:
    """Give a file another name, and leave it its own where the file system can do that.

    So a kill while pooch reads it for its checksum costs nothing.
    """
    try:
        os.link(path, name)
    except OSError:
        path.replace(name)


def _remove_links(partial: Partial) -> None:
    """Remove the names that killed downloads left."""
    if partial.path.exists():
        for path in partial.path.parent.glob("tmp*"):
            if path.is_file() and path.samefile(partial.path):
                path.unlink()


def _pooch() -> Any:
    try:
        return import_module("pooch")
    except ModuleNotFoundError as error:
        raise DgexError("downloading needs pooch: pip install 'dgex-jax[download]'") from error


@contextmanager
def _quiet(pooch: Any) -> Iterator[None]:
    """Keep pooch from logging beside our lines."""
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
