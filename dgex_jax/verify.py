"""Whether results are what was written, and made of what is still there (``dgex verify``).

A file is altered where its bytes are not those that its own record has. What was made of other
files is stale where *their* record tells of other bytes than they had then, or (raw files have no
record) where they hold other bytes; and where they are stale themselves. So a flipped bit names one
file, and a repeated step names all that was made before of what it was. What stands in a record is
not trusted: it names no place outside.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.files import is_temporary, one_line, reading
from dgex_jax.io.manifest import FORMAT_VERSION, SEAL, SUFFIX, file_sha256, is_sealed, sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

State = Literal["whole", "altered", "missing", "stale", "unknown"]
"""As written; other bytes than recorded; not there; whole, but what it was made of is another by
now; nothing is recorded of it."""

STORE, MODEL, DONE, STEPS = "zarr.json", "model.json", "done.json", "provenance"
LOCK_ENDINGS = (".lock", ".lock.json")
RAW, RUNS, RAW_SUFFIX = "raw", "runs", ".raw"
"""Where simulated raw files lie: ``raw/`` of results, ``prepared.h5.raw/`` of ``dgex prepare``."""
LARGEST_RECORD = 1 << 26
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class Finding:
    """What became of one file (`place`, relative to what was verified), and why."""

    place: str
    state: State
    cause: str = ""


@dataclass(frozen=True)
class Verdict:
    """A `Finding` a file, sorted by place, and what could not be compared.

    `not_compared` has the name of each file that is not here → the first record that names it.
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

    That is a results folder, a run, a model, a zarr store, any folder of these; or a file with its
    record beside it. `inputs` are files, and folders with files, that results were made of and that
    don't lie in it. Raises `DgexError` if there is no such place, or dgex recorded no checksum of
    anything in it.
    """
    for path in (results, *inputs):
        if not path.exists():
            raise DgexError(f"{path}: no such file or folder")
    # Not resolved: what a link is called is what it is known by.
    top, *given = (Path(os.path.abspath(path)) for path in (results, *inputs))  # noqa: PTH100
    return _Check(top, given).verdict()


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield a line a file, sorted by place, then what was not compared, then the counts."""
    places = max((len(one.place) for one in verdict.findings), default=0)
    for one in verdict.findings:
        yield f"{one.place:<{places}}  {one.state:<7}  {one.cause}".rstrip()
    for name, user in verdict.not_compared.items():
        yield f"{name}: is not here, so whether {user} is still of it was not compared (--inputs)"
    counts = ", ".join(f"{verdict.count(state)} {state}" for state in get_args(State))
    yield f"{len(verdict.findings)} files: {counts}"


def as_json(results: Path, verdict: Verdict) -> dict[str, Any]:
    """Give all that `lines` says as JSON values."""
    return {
        "results": str(results),
        "good": verdict.good,
        "counts": {state: verdict.count(state) for state in get_args(State)},
        "files": [vars(one) for one in verdict.findings],
        "not_compared": [
            {"name": name, "needed_by": user} for name, user in verdict.not_compared.items()
        ],
    }


# Records


class _Source(NamedTuple):
    """A file that others were made of; `place` if the record tells it."""

    name: str
    sha256: str
    place: Path | None = None


class _Piece(NamedTuple):
    """One record (of a zarr store, its folder), what it tells of, and what is wrong already."""

    record: Path
    files: Mapping[Path, str] = MappingProxyType({})
    sources: tuple[_Source, ...] = ()
    faults: Mapping[Path, tuple[State, str]] = MappingProxyType({})


def _collect(results: Path) -> tuple[list[_Piece], list[Path]]:
    """Read all records, and list all files outside zarr stores but locks and temporary ones."""
    if results.is_file():
        record = sidecar(results)
        if not record.is_file():
            raise DgexError(f"{results}: nothing is recorded of it: there is no {record.name}")
        return [_read_record(record)], [results, record]

    def fail(error: OSError) -> None:
        raise DgexError(f"{error.filename}: can't be read: {one_line(error)}") from error

    pieces, files = [], []
    for folder, below, names in os.walk(results, onerror=fail):
        if STORE in names:
            below.clear()
            pieces.append(_read_store(Path(folder)))
            continue
        below[:] = sorted(name for name in below if not _is_passing(name))
        for path in (Path(folder, name) for name in sorted(names) if not _is_passing(name)):
            files.append(path)
            is_step = path.parent.name == STEPS and path.suffix == ".json"
            if is_step or path.name.endswith(SUFFIX) or path.name in {MODEL, DONE}:
                pieces.append(_read_record(path))
    if not pieces:
        raise DgexError(f"{results}: holds nothing that dgex recorded")
    return pieces, files


def _is_passing(name: str) -> bool:
    return is_temporary(name) or (name.startswith(".") and name.endswith(LOCK_ENDINGS))


def _read_record(path: Path) -> _Piece:
    """Read ``<file>.provenance.json``, ``provenance/<step>.json``, a run's or a model's record."""
    in_folder = path.parent.name == STEPS and not path.name.endswith(SUFFIX)
    kind = path.name if path.name in {MODEL, DONE} and not in_folder else "record"
    folder = path.parent.parent if in_folder else path.parent
    try:
        content = made = _read_json(path)
    except FormatError as error:
        return _Piece(path, faults={path: ("altered", str(error))})
    try:
        if kind == DONE:
            made = content.get("provenance") or {}
        elif kind == MODEL:
            made = (content["training"].get("provenance") or {}).get("export") or {}
        elif content["format_version"] > FORMAT_VERSION:
            return _Piece(path, faults={path: ("unknown", "made by a newer version of dgex")})
        written = content.get("files", {}).items()
        files = {_place(folder, name, deep=in_folder): _sum(one) for name, one in written}
        sources = _sources(made.get("inputs", {}), folder if in_folder else None)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        cause = f"no {'record' if kind == DONE else kind} of dgex: {one_line(error)}"
        return _Piece(path, faults={path: ("altered", cause)})
    old: tuple[State, str] = ("unknown", "written by a version without sums")
    return _Piece(path, files, sources, {} if SEAL in content else {path: old})


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; `FormatError` if it is not the one that was written."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_RECORD + 1).decode()
        content = json.loads(text)
    except OSError as error:
        raise DgexError(f"{path}: can't be read: {one_line(error)}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"no JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise FormatError("no JSON object")
    # The first versions wrote done.json without: it told of no files either.
    if SEAL not in content and (path.name != DONE or {"files", "provenance"} & content.keys()):
        raise FormatError(f"it has no {SEAL}")
    # The seal is of the values; the bytes have to be those that our writers make of them.
    forms = (json.dumps(content, indent=2, ensure_ascii=plain) for plain in (True, False))
    if SEAL in content and not (is_sealed(content) and text in {f"{form}\n" for form in forms}):
        raise FormatError(f"its content does not match its {SEAL}")
    return content


def _read_store(path: Path) -> _Piece:
    """Check a zarr store, whose checksums are its own, and read what it was made of."""
    from dgex_jax.io.zarr import check_zarr, import_zarr, quiet  # noqa: PLC0415

    try:
        zarr, _ = import_zarr(path)
    except DgexError as error:
        return _Piece(path, faults={path: ("unknown", str(error))})
    try:
        check_zarr(path)
        with quiet():
            told = json.loads(str(zarr.open_group(path, mode="r")["uns/dgex"][()]))
        named = {"input": told["input"], "model": {"name": MODEL, **told["model"]}}
        known = {role: one for role, one in named.items() if one["sha256"] is not None}
        return _Piece(path, sources=_sources(known, None))
    except (DgexError, KeyError, TypeError, ValueError) as error:
        name, _, cause = str(error).partition(": ")
        inside = name.startswith(f"{path}{os.sep}") and ".." not in name
        place = Path(name) if inside else path
        found: tuple[State, str] = ("altered", cause or str(error))
        return _Piece(path, faults={place: found if place.exists() else ("missing", "")})


def _sources(inputs: dict[str, dict[str, str]], folder: Path | None) -> tuple[_Source, ...]:
    found = []
    for role, one in inputs.items():
        name, place = one["name"], None
        if folder is not None and role == name:
            # A step names what lies in its results by their place there.
            place = _place(folder, name, deep=True)
        elif ".." in name.split("/"):
            raise ValueError(f"{name!r} is no name of a file")
        found.append(_Source(name, _sum(one["sha256"]), place))
    return tuple(found)


def _place(folder: Path, name: str, *, deep: bool) -> Path:
    """Where a named file lies: in `folder` itself or, of a `deep` record, in the study's folders.

    These may be ``../../tables/<study>``: two levels up, once, at the beginning.
    """
    parts = name.split("/")
    down = parts[2:] if deep and parts[:2] == ["..", ".."] else parts
    if not down or {"", ".", ".."} & {*down} or "\0" in name or not (deep or len(down) == 1):
        raise ValueError(f"{name!r} is no place of an output")
    return Path(os.path.normpath(folder / name))


def _sum(text: str) -> str:
    if not SHA256.fullmatch(text):
        raise ValueError(f"{text!r} is no sha256")
    return text


# Comparison


class _Check:
    def __init__(self, results: Path, inputs: Sequence[Path]) -> None:
        self._top = results if results.is_dir() else results.parent
        self._inputs = inputs
        self._found: dict[Path, Finding] = {}
        self._not_here: dict[str, str] = {}
        self._recorded: dict[Path, str | None] = {}
        self._made_with: dict[Path, Path] = {}  # file → record
        self._sha256 = cache(_sha256)
        self._pieces, self._files = _collect(results)
        for piece in self._pieces:
            for place, fault in piece.faults.items():
                self._recorded.setdefault(place, None)
                self._note(place, *fault)
            for place, sha256 in piece.files.items():
                self._recorded[place], self._made_with[place] = sha256, piece.record
        for piece in self._pieces:
            # A record that is whole stands for itself.
            if piece.record not in self._recorded and piece.record.is_file():
                self._recorded[piece.record] = self._sha256(piece.record)
                self._made_with[piece.record] = piece.record

    def verdict(self) -> Verdict:
        for place, sha256 in self._recorded.items():
            found = self._sha256(place) if sha256 is not None else None
            if sha256 is not None and found is None:
                self._note(place, "missing", "was written, and is not there")
            elif found != sha256:
                self._note(place, "altered", "its bytes are not those that were written")
        causes = self._staleness()
        for piece in self._pieces:
            cause = causes.get(piece.record, "")
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

    def _staleness(self) -> dict[Path, str]:
        """Give the records of what is stale, and why."""
        causes: dict[Path, str] = {}
        links = []
        for piece in self._pieces:
            for source in piece.sources:
                place, user = self._locate(piece, source), self._name(piece.record)
                if place is None:
                    self._not_here.setdefault(source.name, user)
                    continue
                links.append((piece.record, place))
                if self._differs(place, source, user):
                    causes.setdefault(piece.record, f"made of another {self._name(place)}")
        n_before = -1
        while n_before != len(causes):
            n_before = len(causes)
            for record, place in links:
                if self._made_with.get(place) in causes:
                    causes.setdefault(record, f"made of {self._name(place)}, which is stale")
        return causes

    def _differs(self, place: Path, source: _Source, user: str) -> bool:
        if place in self._recorded:
            return self._recorded[place] not in {None, source.sha256}
        found = self._sha256(place)
        if found is None:
            self._note(place, "missing", f"{user} was made of it")
        elif found == source.sha256:
            self._note(place, "whole")
        else:
            self._note(place, "altered", f"is not the file that {user} tells of")
        return found not in {None, source.sha256}

    def _locate(self, piece: _Piece, source: _Source) -> Path | None:
        """Find what a piece was made of: where its record says, above it, or among the inputs."""
        if source.place is not None:
            return source.place
        base = source.name.rpartition("/")[2]
        given = []
        for path in self._inputs:
            places = (path / source.name, path / base) if path.is_dir() else (path,)
            given += [one for one in places if one.name == base and self._sha256(one) is not None]
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

    def _name(self, place: Path) -> str:
        return os.path.relpath(place, self._top).replace(os.sep, "/")


def _sha256(path: Path) -> str | None:
    """Checksum of a file; ``None`` if there is none."""
    with reading(path):
        return file_sha256(path) if path.is_file() else None
