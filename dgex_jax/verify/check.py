"""Records compared with the files as they are, and with each other.

A file is altered where its bytes are not those that its own record has. What was made of other
files is stale where *their* record tells of other bytes than they had then, or (raw files have no
record) where they hold other bytes; and where they are stale themselves. So a flipped bit names one
file, and a step done anew names all that was made before of what it was.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.provenance import file_sha256
from dgex_jax.verify.collect import collect
from dgex_jax.verify.pieces import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.verify.pieces import Piece, Source, State

RAW, RUNS = "raw", "runs"
RAW_SUFFIX = ".raw"
"""Where simulated raw files lie: ``raw/`` of results, ``prepared.h5.raw/`` of ``dgex prepare``."""


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Attributes
    ----------
    findings
        A file each, sorted by place.
    not_compared
        Name of a file that is not here → the first record that names it.
    """

    findings: tuple[Finding, ...]
    not_compared: dict[str, str]

    def count(self, state: State) -> int:
        """Count the files in one state."""
        return sum(one.state == state for one in self.findings)

    @property
    def good(self) -> bool:
        """Whether nothing is altered, missing or stale."""
        return all(one.state in {"whole", "unknown"} for one in self.findings)


def verify(results: Path, inputs: Sequence[Path] = ()) -> Verdict:
    """Recompute every checksum of `results`.

    Parameters
    ----------
    results
        A results folder, a run, a model, a zarr store, any folder of these; or a file with its
        record beside it.
    inputs
        Files, and folders with files, that results were made of and that don't lie in `results`.

    Raises
    ------
    DgexError
        There is no such place, or dgex recorded no checksum of anything in it.
    """
    for path in (results, *inputs):
        if not path.exists():
            raise DgexError(f"{path}: no such file or folder")
    # Not resolved: what a link is called is what it is known by.
    top, *given = (Path(os.path.abspath(path)) for path in (results, *inputs))  # noqa: PTH100
    pieces, files = collect(top)
    return _Check(top, pieces, files, given).verdict()


class _Check:
    def __init__(
        self, results: Path, pieces: Sequence[Piece], files: Sequence[Path], inputs: Sequence[Path]
    ) -> None:
        self._top = results if results.is_dir() else results.parent
        self._pieces, self._files, self._inputs = pieces, files, inputs
        self._found: dict[Path, Finding] = {}
        self._not_here: dict[str, str] = {}
        self._sha256 = cache(_sha256)
        self._recorded: dict[Path, str | None] = {}
        self._maker: dict[Path, Piece] = {}
        for piece in pieces:
            for place, fault in piece.faults.items():
                self._recorded.setdefault(place, None)
                self._note(place, *fault)
            for place, sha256 in piece.files.items():
                self._recorded[place], self._maker[place] = sha256, piece
        for piece in pieces:
            # A record that is whole stands for itself.
            if piece.record not in self._recorded and piece.record.is_file():
                self._recorded[piece.record] = self._sha256(piece.record)
                self._maker[piece.record] = piece

    def verdict(self) -> Verdict:
        """Compare everything."""
        for place, sha256 in self._recorded.items():
            if sha256 is not None:
                self._compare(place, sha256)
        causes = {id(piece): self._staleness(piece) for piece in self._pieces}
        for _ in self._pieces:
            # One round for each step of the longest way from raw files on, at most.
            if not self._pass_on(causes):
                break
        for piece in self._pieces:
            cause = causes[id(piece)]
            for place in {piece.record, *piece.files} - piece.faults.keys():
                self._note(place, "stale" if cause else "whole", cause)
        if all(one.state == "unknown" for one in self._found.values()):
            raise DgexError(f"{self._top}: no checksum is recorded of anything in it")
        for path in self._files:
            self._note(path, "unknown", "nothing is recorded of it")
        return Verdict(tuple(sorted(self._found.values())), dict(sorted(self._not_here.items())))

    def _note(self, place: Path, state: State, cause: str = "") -> None:
        """Keep the first finding of a place, but one that knows more than ``unknown``."""
        older = self._found.get(place)
        if older is None or (older.state == "unknown" and state != "unknown"):
            self._found[place] = Finding(self._name(place), state, cause)

    def _compare(self, place: Path, sha256: str) -> None:
        found = self._sha256(place)
        if found is None:
            self._note(place, "missing", "was written, and is not there")
        elif found != sha256:
            self._note(place, "altered", "its bytes are not those that were written")

    def _staleness(self, piece: Piece) -> str:
        """Say why a piece is stale by what it was made of; empty if it is not."""
        cause = ""
        for source in piece.sources:
            place = self._locate(piece, source)
            if place is None:
                self._not_here.setdefault(source.name, self._name(piece.record))
            elif self._differs(place, source, self._name(piece.record)):
                cause = cause or f"made of another {self._name(place)}"
        return cause

    def _differs(self, place: Path, source: Source, user: str) -> bool:
        if place in self._recorded:
            recorded = self._recorded[place]
            return recorded is not None and recorded != source.sha256
        found = self._sha256(place)
        if found is None:
            self._note(place, "missing", f"{user} was made of it")
            return False
        if found == source.sha256:
            self._note(place, "whole")
            return False
        self._note(place, "altered", f"is not the file that {user} tells of")
        return True

    def _pass_on(self, causes: dict[int, str]) -> bool:
        """Make stale what was made of something stale; whether there was any."""
        changed = False
        for piece in self._pieces:
            if causes[id(piece)]:
                continue
            for source in piece.sources:
                place = self._locate(piece, source)
                maker = self._maker.get(place) if place is not None else None
                if place is not None and maker is not None and causes[id(maker)]:
                    causes[id(piece)] = f"made of {self._name(place)}, which is stale"
                    changed = True
                    break
        return changed

    def _locate(self, piece: Piece, source: Source) -> Path | None:
        """Find what a piece was made of: where its record says, above it, or among the inputs."""
        if source.place is not None:
            return source.place
        given = [path for path in self._given(source.name) if self._sha256(path) is not None]
        if given:
            return next((one for one in given if self._sha256(one) == source.sha256), given[0])
        folder = piece.record if piece.record.is_dir() else piece.record.parent
        while True:
            beside = (folder / f"{file.name}{RAW_SUFFIX}" for file in piece.files)
            for place in (folder, folder / RAW, folder / RUNS, *beside):
                path = place / source.name
                if path != piece.record and path.is_file():
                    return path
            if folder == self._top or self._top not in folder.parents:
                return None
            folder = folder.parent

    def _given(self, name: str) -> list[Path]:
        base = name.rpartition("/")[2]
        found = []
        for path in self._inputs:
            if path.is_dir():
                found += [path / name, path / base]
            elif path.name == base:
                found.append(path)
        return found

    def _name(self, place: Path) -> str:
        return os.path.relpath(place, self._top).replace(os.sep, "/")


def _sha256(path: Path) -> str | None:
    """Checksum of a file; ``None`` if there is none."""
    if not path.is_file():
        return None
    try:
        return file_sha256(path)
    except OSError as error:
        raise DgexError(f"{path}: can't be read: {one_line(error)}") from error
