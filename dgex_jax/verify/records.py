"""The records of every kind of output, read as `Piece`. What stands in them is not trusted."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.provenance import FORMAT_VERSION, SEAL, is_sealed
from dgex_jax.verify.pieces import Piece, Source

if TYPE_CHECKING:
    from dgex_jax.verify.pieces import State

LARGEST = 1 << 26
SHA256 = re.compile(r"[0-9a-f]{64}")
ALTERED: State = "altered"
Content = dict[str, Any]


def beside(path: Path) -> Piece:
    """Read the record beside a file (``<name>.provenance.json``)."""
    return _record(path, path.parent, in_folder=False)


def of_step(path: Path) -> Piece:
    """Read the record of a step (``<results>/provenance/<step>.json``)."""
    return _record(path, path.parent.parent, in_folder=True)


def _record(path: Path, folder: Path, *, in_folder: bool) -> Piece:
    content, cause = _read(path)
    if content is None:
        return Piece(path, faults={path: (ALTERED, cause)})
    try:
        if content["format_version"] > FORMAT_VERSION:
            return Piece(path, faults={path: ("unknown", "made by a newer version of dgex")})
        files = _files(folder, content["files"], deep=in_folder)
        sources = _sources(content["inputs"], folder if in_folder else None)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return Piece(path, faults={path: (ALTERED, f"no record of dgex: {one_line(error)}")})
    return Piece(path, files, sources)


def of_folder(path: Path) -> Piece:
    """Read ``done.json`` of a run, of an analysis, or of another finished step."""
    content, cause = _read(path)
    if content is None:
        return Piece(path, faults={path: (ALTERED, cause)})
    try:
        files = _files(path.parent, content.get("files", {}), deep=False)
        sources = _sources((content.get("provenance") or {}).get("inputs", {}), None)
    except (TypeError, AttributeError, ValueError) as error:
        return Piece(path, faults={path: (ALTERED, f"no record of dgex: {one_line(error)}")})
    if SEAL not in content:
        return Piece(path, files, sources, {path: ("unknown", "written by a version without sums")})
    return Piece(path, files, sources)


def of_model(path: Path) -> Piece:
    """Read ``model.json``."""
    content, cause = _read(path)
    if content is None:
        return Piece(path, faults={path: (ALTERED, cause)})
    try:
        files = _files(path.parent, content["files"], deep=False)
        training = content["training"]
        made = training.get("provenance") or {}
        sources = _sources((made.get("export") or {}).get("inputs", {}), None)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return Piece(path, faults={path: (ALTERED, f"no model.json of dgex: {one_line(error)}")})
    return Piece(path, files, sources)


def of_store(path: Path) -> Piece:
    """Check a zarr store, whose checksums are its own, and read what it was made of."""
    from dgex_jax.formats.zarr_check import check_zarr  # noqa: PLC0415 (zarr is an optional extra)
    from dgex_jax.formats.zarr_library import import_zarr, quiet  # noqa: PLC0415

    try:
        zarr, _ = import_zarr(path)
    except DgexError as error:
        return Piece(path, faults={path: ("unknown", str(error))})
    try:
        check_zarr(path)
        with quiet():
            told = json.loads(str(zarr.open_group(path, mode="r")["uns/dgex"][()]))
        named = {"input": told["input"], "model": {"name": "model.json", **told["model"]}}
        known = {role: one for role, one in named.items() if one["sha256"] is not None}
        return Piece(path, sources=_sources(known, None))
    except (DgexError, KeyError, TypeError, ValueError) as error:
        file, _, cause = str(error).partition(": ")
        place = next((one for one in path.rglob("*") if str(one) == file), None)
        if place is None and file.startswith(f"{path}{os.sep}") and ".." not in file:
            return Piece(path, faults={path / file[len(str(path)) + 1 :]: ("missing", "")})
        return Piece(path, faults={place or path: (ALTERED, cause or str(error))})


def _read(path: Path) -> tuple[Content | None, str]:
    """Read a JSON object; ``None`` and why, if it is not the one that was written."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        content = json.loads(data.decode())
    except OSError as error:
        raise DgexError(f"{path}: can't be read: {one_line(error)}") from error
    except (ValueError, RecursionError) as error:
        return None, f"no JSON: {one_line(error)}"
    if not isinstance(content, dict):
        return None, "no JSON object"
    if SEAL in content:
        # The seal is of the values; the bytes have to be those that our writers make of them.
        forms = (json.dumps(content, indent=2, ensure_ascii=plain) for plain in (True, False))
        if not is_sealed(content) or data.decode() not in {f"{form}\n" for form in forms}:
            return None, f"its content does not match its {SEAL}"
    elif path.name != "done.json":
        return None, f"it has no {SEAL}"
    return content, ""


def _files(folder: Path, files: dict[str, str], *, deep: bool) -> dict[Path, str]:
    return {_place(folder, name, deep=deep): _sum(one) for name, one in files.items()}


def _sources(inputs: dict[str, dict[str, str]], folder: Path | None) -> tuple[Source, ...]:
    found = []
    for role, one in inputs.items():
        name = one["name"]
        # A step names what lies in its results by their place there.
        known = folder is not None and role == name
        place = _place(folder, name, deep=True) if folder is not None and known else None
        if place is None and ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name!r} is no name of a file")
        found.append(Source(name, _sum(one["sha256"]), place))
    return tuple(found)


def _place(folder: Path, name: str, *, deep: bool) -> Path:
    """Where a named file lies: in `folder` itself or, of a `deep` record, in the study's folders.

    These may be ``../../tables/<study>``: two levels up, once, at the beginning.
    """
    parts = PurePosixPath(name).parts
    down = [part for part in parts if part != ".."]
    up = len(parts) - len(down)
    plain = bool(down) and "/" not in down and list(parts[up:]) == down and "\0" not in name
    if not plain or (up not in {0, 2} if deep else (up, len(down)) != (0, 1)):
        raise ValueError(f"{name!r} is no place of an output")
    return Path(os.path.normpath(folder / name))


def _sum(text: str) -> str:
    if not SHA256.fullmatch(text):
        raise ValueError(f"{text!r} is no sha256")
    return text
