"""What an output says of its making, and the checksums that `verify` compares.

One shape everywhere: `record` (software, commit, device, precision, seeds, checksums of inputs),
inside ``done.json`` of a run, ``model.json`` of a model, and the step records of the reproduction;
for files that are large or hold nothing but a table, in a JSON file beside them (`sidecar`). No
host, user, date or path is in it. None of it decides whether finished work is used again: that is
the configuration's hash (`training.record`), so another commit alone trains nothing anew.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dgex_jax
from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT = "dgex provenance"
FORMAT_VERSION = 1
SUFFIX = ".provenance.json"
SEAL = "content_sha256"
"""The key of a JSON object that holds the checksum of all its others, as in ``model.json``."""

LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "h5py",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "matplotlib",
)
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
REF = re.compile(r"ref: (refs(?:/[\w+-][\w.+-]*)+)")
LARGEST_GIT_FILE = 1 << 24

Json = dict[str, Any]


def record(
    command: str,
    *,
    precision: str,
    inputs: Mapping[str, Mapping[str, str]],
    seeds: Mapping[str, Any] | None = None,
    device: Mapping[str, str] | None = None,
) -> Json:
    """Describe the making of an output, as JSON values.

    Parameters
    ----------
    command
        What made it, such as ``dgex train``.
    precision
        Of the numbers it was computed in.
    inputs
        Role → ``name`` and ``sha256`` (hexadecimal) of each file it was made of.
    seeds
        What is drawn → its seed; empty where nothing is.
    device
        ``platform`` and ``kind`` of the device; ``None`` where JAX computed nothing.
    """
    return {
        "made_by": f"{command} {dgex_jax.__version__}",
        "commit": commit(),
        "versions": software_versions(),
        "device": None if device is None else dict(device),
        "precision": precision,
        "seeds": dict(seeds or {}),
        "inputs": {role: dict(one) for role, one in inputs.items()},
    }


@cache
def software_versions() -> dict[str, str]:
    """Versions of Python, this software and the libraries that results depend on, if installed."""
    found = {"python": platform.python_version(), "dgex_jax": dgex_jax.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """Return the commit of the git checkout that this package lies in; ``None`` for a wheel.

    Changes that are not committed can't be seen without running git.
    """
    return head_commit(Path(dgex_jax.__file__).resolve().parents[1])


def head_commit(checkout: Path) -> str | None:
    """Read the commit that is checked out from the files of ``.git``; git is not run.

    Parameters
    ----------
    checkout
        The folder with ``.git``, which is a folder or (in a worktree) a file that names one.
        Folders above it are none of our business: a virtual environment may lie in any checkout.

    Returns
    -------
    str or None
        ``None`` if there is none, or it can't be told.
    """
    try:
        git = checkout / ".git"
        if git.is_file():
            git = checkout / _text(git).removeprefix("gitdir:").strip()
        head = _text(git / "HEAD").strip()
        if COMMIT.fullmatch(head):
            return head
        named = REF.fullmatch(head)
        if named is None:
            return None
        common = git / "commondir"
        shared = git / _text(common).strip() if common.is_file() else git
        for folder in (git, shared):
            if (folder / named[1]).is_file():
                found = _text(folder / named[1]).strip()
                return found if COMMIT.fullmatch(found) else None
        for line in _text(shared / "packed-refs").splitlines():
            found, _, name = line.partition(" ")
            if name == named[1] and COMMIT.fullmatch(found):
                return found
    except (OSError, ValueError):
        pass
    return None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST_GIT_FILE + 1)
    if len(content) > LARGEST_GIT_FILE:
        raise ValueError("no file of git is that large")
    return content.decode()


def file_sha256(path: Path) -> str:
    """Checksum of a file (hexadecimal), read in pieces; an `OSError` passes through."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Checksum of a file as the record beside it has it; without one the file is read."""
    recorded = read_record(sidecar(path)).get("files")
    known = recorded.get(path.name) if isinstance(recorded, dict) else None
    return known if isinstance(known, str) and path.is_file() else file_sha256(path)


def sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name → checksum of files of a folder, those that are there."""
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def content_sum(content: Mapping[str, Any]) -> str:
    """Checksum of JSON values but their seal, whatever their order and white space."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> Json:
    """Add the checksum of all other keys."""
    return {**content, SEAL: content_sum(content)}


def read_record(path: Path) -> Json:
    """Read a JSON object that has its own checksum; empty where there is none that is whole."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) and is_sealed(content) else {}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether JSON values are those that were sealed."""
    try:
        return content.get(SEAL) == content_sum(content)
    except (ValueError, RecursionError):
        return False


def sidecar(path: Path) -> Path:
    """Name the file beside `path` that holds its record and checksum."""
    return path.with_name(path.name + SUFFIX)


def drop_sidecar(path: Path) -> None:
    """Remove the record of an older file, just before a new one takes its place.

    So that a process that ends in between leaves a file without a record, not with a wrong one.

    Raises
    ------
    DgexError
        The disk refuses it.
    """
    try:
        sidecar(path).unlink(missing_ok=True)
    except OSError as error:
        raise DgexError(f"{sidecar(path)}: can't be removed: {one_line(error)}") from error


def write_sidecar(path: Path, made: Mapping[str, Any], sha256: str | None = None) -> None:
    """Write the record and the checksum of a finished file beside it, atomically.

    Parameters
    ----------
    path
        The file.
    made
        Its `record`.
    sha256
        Its checksum if it is known; else the file is read once.

    Raises
    ------
    DgexError
        The file can't be read, or the disk refuses the record.
    """
    try:
        files = {path.name: sha256 or file_sha256(path)}
    except OSError as error:
        raise DgexError(f"{path}: can't be read: {one_line(error)}") from error
    write_record(sidecar(path), made, files)


def write_record(path: Path, made: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write a record with the checksums of what it tells of; not if just that is there.

    Parameters
    ----------
    path
        Where to.
    made
        The `record`.
    files
        Name (or path relative to the folder that the record belongs to) → checksum.
    """
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **made, "files": dict(files)}
    text = (json.dumps(sealed(content), indent=2) + "\n").encode()
    try:
        if path.read_bytes() == text:
            return
    except OSError:
        pass
    with atomic_path(path) as temporary:
        temporary.write_bytes(text)
