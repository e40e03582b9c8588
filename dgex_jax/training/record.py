"""What was run, as JSON: the configuration, its hash, and the mark of a finished piece of work."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.provenance import SEAL, content_sum, file_sha256, sealed, sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DONE = "done.json"
CONFIG = "config.json"


RECORDED = ("versions", "dgex_jax", "numpy")
"""Keys of a configuration that are kept and never compared: by which versions of what it was made.
Another NumPy must not make finished networks train again."""


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give what of a configuration decides whether the work is done again."""
    return {key: value for key, value in config.items() if key not in RECORDED}


def digest(config: Mapping[str, Any]) -> str:
    """Hash the `identity` of a configuration (of JSON values, in any order)."""
    return job_hash(identity(config))


def is_hash_of(stored: object, config: Mapping[str, Any]) -> bool:
    """Whether a stored hash names a configuration; the first versions hashed `RECORDED` as well."""
    return stored in {digest(config), job_hash(config)}


def job_hash(content: Mapping[str, Any]) -> str:
    """Hash all of a configuration, `RECORDED` included."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_done(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether `folder` holds the finished work of this configuration, by whatever versions.

    Raises
    ------
    FormatError
        See `read_done`.
    """
    done = read_done(folder)
    if done is None:
        return False
    stored, old = done.get("config_hash"), read_json(folder / CONFIG)
    if is_hash_of(stored, config):
        return True
    # Of the first versions the hash alone does not tell: what was run lies beside it.
    return old is not None and identity(old) == identity(config) and is_hash_of(stored, old)


def read_done(folder: Path) -> dict[str, Any] | None:
    """Read ``done.json``; ``None`` if there is none.

    Raises
    ------
    FormatError
        It is damaged. Taking the work for not done would throw away what is there.
    """
    path = folder / DONE
    content = read_json(path)
    if content is None and not path.exists():
        return None
    if content is None or content.get(SEAL, content_sum(content)) != content_sum(content):
        raise FormatError(
            f"{path}: damaged, or changed since it was written; remove it to have the work done "
            "again"
        )
    return content


def check_result(path: Path) -> None:
    """Compare a file of finished work with its checksum in ``done.json`` beside it.

    Work that is not finished, and that of older versions, has none: then nothing is compared.

    Raises
    ------
    FormatError
        The file, or ``done.json``, is not what was written, or can't be read.
    """
    files = (read_done(path.parent) or {}).get("files")
    wanted = files.get(path.name) if isinstance(files, dict) else None
    try:
        if wanted is not None and file_sha256(path) != wanted:
            raise FormatError(
                f"{path}: damaged or replaced: its sha256 is not the one in {DONE} beside it"
            )
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


def mark_done(
    folder: Path, config: Mapping[str, Any], *, files: Iterable[str] = (), **facts: Any
) -> None:
    """Write ``done.json``, last of all.

    Parameters
    ----------
    folder, config
        Where, and what decides whether the work is done again.
    files
        Names of files in `folder` whose checksums it holds; those that are not there are left out.
    facts
        What else it says, JSON values; ``provenance`` is a `provenance.record`.

    Raises
    ------
    DgexError
        A file can't be read, or the disk refuses the mark.
    """
    content: dict[str, Any] = {"config_hash": digest(config), **facts}
    try:
        found = sums(folder, files)
    except OSError as error:
        raise DgexError(f"{folder}: can't be read: {one_line(error)}") from error
    if found:
        content["files"] = found
    write_json(folder / DONE, sealed(content))
