"""Checksums, and what an output says of its making: one form of record for everything.

`record` (software, commit, device, precision, seeds, checksums of inputs) stands inside
``done.json`` of a run, ``model.json`` of a model, and the step records of the reproduction; for
files that are large or hold nothing but a table it is in a JSON file beside them (`sidecar`). No
host, user, date or path is in it, and none of it decides whether finished work is used again.
Each such JSON object holds the checksum of its other values under `SEAL`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgex_jax import __version__
from dgex_jax.errors import DgexError
from dgex_jax.io.files import atomic_path, final_place, one_line, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT = "dgex provenance"
FORMAT_VERSION = 1
SUFFIX = ".provenance.json"
SEAL = "content_sha256"

LIBRARIES = (
    *("numpy", "scipy", "scikit-learn", "pandas", "h5py"),
    *("jax", "jaxlib", "flax", "optax", "matplotlib"),
)
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
GIT_SECONDS = 10

RECORDED = ("versions", "dgex_jax", "numpy")
"""Keys of a configuration that are kept and never compared: by which versions of what it was made.
Another NumPy must not make finished networks train again."""

Json = dict[str, Any]


# Checksums


def file_sha256(path: Path) -> str:
    """Checksum of a file (hexadecimal), read in pieces; an `OSError` passes through."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name → checksum of files of a folder, those that are there."""
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def known_sha256(path: Path) -> str:
    """Checksum of a file as the record beside it has it; without one the file is read."""
    recorded = read_record(sidecar(path)).get("files")
    known = recorded.get(path.name) if isinstance(recorded, dict) else None
    return known if isinstance(known, str) and path.is_file() else file_sha256(path)


def content_sum(content: Mapping[str, Any]) -> str:
    """Checksum of a JSON object but its `SEAL`, whatever the order and white space of its file."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> Json:
    """Add the checksum of all other keys."""
    return {**content, SEAL: content_sum(content)}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether JSON values are those that were sealed."""
    try:
        return content.get(SEAL) == content_sum(content)
    except (ValueError, RecursionError):
        return False


# The same job?


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give what of a configuration decides whether the work is done again."""
    return {key: value for key, value in config.items() if key not in RECORDED}


def digest(config: Mapping[str, Any]) -> str:
    """Hash the `identity` of a configuration (of JSON values, in any order)."""
    return job_hash(identity(config))


def job_hash(content: Mapping[str, Any]) -> str:
    """Hash all of a configuration, `RECORDED` included."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_hash_of(stored: object, config: Mapping[str, Any]) -> bool:
    """Whether a stored hash names a configuration; the first versions hashed `RECORDED` as well."""
    return stored in {digest(config), job_hash(config)}


# How something was made


def record(
    command: str,
    *,
    precision: str,
    inputs: Mapping[str, Mapping[str, Any]],
    seeds: Mapping[str, Any] | None = None,
    device: Mapping[str, str] | None = None,
) -> Json:
    """Describe the making of an output, as JSON values.

    `command` is what made it, such as ``dgex train``, and `precision` that of the numbers it was
    computed in. `inputs` has role → ``name`` and ``sha256`` (hexadecimal) of each file it was made
    of, if not more; `seeds` what is drawn → its seed; `device` the ``platform`` and ``kind`` of the
    device, ``None`` where JAX computed nothing.
    """
    return {
        "made_by": f"{command} {__version__}",
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
    found = {"python": platform.python_version(), "dgex_jax": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """Give the commit of the checkout that this package lies in, if any, without its changes."""
    return head_commit(Path(__file__).resolve().parents[2])


def head_commit(checkout: Path) -> str | None:
    """Ask git for the commit that is checked out; ``None`` if there is none, or no git.

    Only of the folder that holds ``.git``: a virtual environment may lie in any checkout.
    """
    git, place = shutil.which("git"), checkout / ".git"
    if git is None or not place.exists():
        return None
    # Named as it is, it is read whoever owns it, and whatever GIT_DIR says.
    command = [git, "--git-dir", str(place), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        said = subprocess.run(  # noqa: S603 (nothing of it is a user's)
            command, capture_output=True, check=True, stdin=subprocess.DEVNULL, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = said.stdout.decode("ascii", "replace").strip()
    return found if COMMIT.fullmatch(found) else None


def processor() -> dict[str, str]:
    """Describe the processor by what libraries choose instructions, and an order of sums, by.

    ``machine``, and where the system tells (Linux does) ``model name`` and ``flags`` (ARM:
    ``Features``) of the first core.
    """
    described = {"machine": platform.machine()}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return described
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "flags", "Features"}:
            described.setdefault(name.strip(), value.strip())
    return described


# Records


def sidecar(path: Path) -> Path:
    """Name the file beside `path` that holds its record and checksum."""
    return path.with_name(path.name + SUFFIX)


def read_json(path: Path) -> Json | None:
    """Read a JSON object; ``None`` if there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_sealed(path: Path) -> Json | None:
    """Read a JSON object; ``None`` also if its checksum is wrong (older ones have none)."""
    content = read_json(path)
    return None if content is None or (SEAL in content and not is_sealed(content)) else content


def read_record(path: Path) -> Json:
    """Read a sealed JSON object; empty where there is none, or not the one that was written."""
    content = read_sealed(path) or {}
    return content if SEAL in content else {}


def write_record(path: Path, made: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write a `record` with the checksums of what it tells of; not if just that is there.

    `files` has names (or paths relative to the folder that the record belongs to) → checksums.
    Raises `DgexError` if the disk refuses it.
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


def write_sidecar(path: Path, made: Mapping[str, Any], sha256: str | None = None) -> None:
    """Write the `record` and the checksum of a finished file beside it, atomically.

    The file is read once if its checksum is not given. Raises `DgexError` if it can't be read, or
    the disk refuses the record.
    """
    with reading(path):
        files = {path.name: sha256 or file_sha256(path)}
    write_record(sidecar(path), made, files)


def drop_sidecar(path: Path) -> None:
    """Remove the record of an older file, just before a new one takes its place.

    So that a process that ends in between leaves a file without a record, not with a wrong one.
    Raises `DgexError` if the disk refuses it.
    """
    _remove(sidecar(path))


def drop_with_sidecar(path: Path) -> None:
    """Remove an older file and then its record, which says whose it is.

    Raises `DgexError` if the disk refuses it.
    """
    _remove(final_place(path))
    _remove(sidecar(path))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DgexError(f"{path}: can't be removed: {one_line(error)}") from error
