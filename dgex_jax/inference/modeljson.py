"""``model.json``: what a model is, and the checksums of its files and of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from dgex_jax.config import CHOSEN_PARTS, NetworkConfig
from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.formats.access import one_line, read_head
from dgex_jax.inference.modelfolder import DESCRIPTION, MODEL_FILES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dgex_jax.inference.model import Model

FORMAT = "dgex model"
FORMAT_VERSION = 1
MAX_DEPTH = 32
"""Of nested JSON: far more than a training record needs, far less than Python's stack."""

OWN_SUM = "content_sha256"
KINDS = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Description:
    """What ``model.json`` says, checked.

    Attributes
    ----------
    content
        All of it, as JSON values.
    network, half_sizes, selected_on, record
        As in `model.Model`.
    n_landmarks, n_targets, n_parameters
        Counts.
    sha256
        Name of each other file → checksum (hexadecimal).
    """

    content: Mapping[str, Any]
    network: NetworkConfig
    half_sizes: tuple[int, ...]
    selected_on: str
    n_landmarks: int
    n_targets: int
    n_parameters: int
    record: Mapping[str, Any]
    sha256: Mapping[str, str]


def file_sha256(path: Path) -> str:
    """Checksum of a file (hexadecimal); an `OSError` passes through."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_description(path: Path, model: Model) -> None:
    """Write ``model.json`` for the other files, which lie beside it already.

    Raises
    ------
    DgexError
        The training record is not made of JSON values.
    """
    files = [name for name in MODEL_FILES if name != DESCRIPTION]
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "network": dataclasses.asdict(model.network),
        "half_sizes": list(model.half_sizes),
        "selected_on": model.selected_on,
        "counts": {
            "landmarks": len(model.landmarks),
            "targets": len(model.targets),
            "parameters": model.n_parameters,
        },
        "training": dict(model.record),
        "files": {name: file_sha256(path.with_name(name)) for name in files},
    }
    try:
        check_depth(content)
        content[OWN_SUM] = content_sum(content)
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        path.write_bytes(f"{text}\n".encode())
    except (TypeError, ValueError) as error:
        cause = one_line(error)
        raise DgexError(f"the training record can't be stored as JSON: {cause}") from error


def read_description(path: Path) -> Description:
    """Read ``model.json`` and check all that can be checked without the other files.

    Raises
    ------
    FormatError
        No such file, damaged, no description of a model, or one made by a newer version.
    """
    read_head(path)
    try:
        content = json.loads(path.read_bytes().decode(), parse_constant=_no_number)
        check_depth(content)
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: damaged: {_json_fault(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FormatError(f"{path}: describes no D-GEX model (format is not {FORMAT!r})")
    version = _take(path, content, "format_version", int)
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path}: made by a newer version of this program (model format {version}; this one "
            f"reads up to {FORMAT_VERSION})"
        )
    if version < 1:
        raise FormatError(f"{path}: format_version = {version}: there is no such format")
    own = _take(path, content, OWN_SUM, str)
    rest = {key: value for key, value in content.items() if key != OWN_SUM}
    if content_sum(rest) != own:
        raise FormatError(f"{path}: damaged or edited: its content does not match {OWN_SUM}")
    return _described(path, content)


def _described(path: Path, content: dict[str, Any]) -> Description:
    counts = _take(path, content, "counts", dict)
    n_landmarks, n_targets, n_parameters = (
        _take(path, counts, key, int, "counts.") for key in ("landmarks", "targets", "parameters")
    )
    half_sizes = _take(path, content, "half_sizes", list)
    for size in half_sizes:
        _check(path, "half_sizes", size, int)
    if len(half_sizes) not in {1, 2} or min(half_sizes) < 1 or sum(half_sizes) != n_targets:
        raise FormatError(
            f"{path}: half_sizes = {half_sizes}: are not those of {n_targets} targets"
        )
    if n_landmarks < 1:
        raise FormatError(f"{path}: counts.landmarks = {n_landmarks}: must be at least 1")
    selected_on = _take(path, content, "selected_on", str)
    if selected_on not in CHOSEN_PARTS:
        raise FormatError(
            f"{path}: selected_on = {selected_on!r}: must be {' or '.join(map(repr, CHOSEN_PARTS))}"
        )
    files = _take(path, content, "files", dict)
    names = [name for name in MODEL_FILES if name != DESCRIPTION]
    return Description(
        content=content,
        network=_network(path, _take(path, content, "network", dict)),
        half_sizes=tuple(half_sizes),
        selected_on=selected_on,
        n_landmarks=n_landmarks,
        n_targets=n_targets,
        n_parameters=n_parameters,
        record=_take(path, content, "training", dict),
        sha256={name: _take(path, files, name, str, "files.") for name in names},
    )


def _network(path: Path, content: dict[str, Any]) -> NetworkConfig:
    try:
        return NetworkConfig(
            hidden_layers=_take(path, content, "hidden_layers", int, "network."),
            units=_take(path, content, "units", int, "network."),
            dropout=_take(path, content, "dropout", float, "network."),
        )
    except StudyError as error:
        raise FormatError(f"{path}: network.{error}") from error


def content_sum(content: Mapping[str, Any]) -> str:
    """Checksum of JSON values, whatever the order of keys and the white space of their file."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _json_fault(error: ValueError | RecursionError) -> str:
    """Say why a file is no JSON of a model."""
    if isinstance(error, json.JSONDecodeError):
        return f"is no JSON (line {error.lineno}, column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text (byte {error.start})"
    if isinstance(error, _NotOurs):
        return str(error)
    deep = isinstance(error, RecursionError)
    return "nested too deeply" if deep else "a number of thousands of digits"


class _NotOurs(ValueError):  # noqa: N818
    """JSON that no model has."""


def check_depth(content: Any) -> None:
    """Raise `ValueError` for JSON values nested deeper than `MAX_DEPTH`."""
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise _NotOurs(f"nested deeper than {MAX_DEPTH} levels")


def _take(path: Path, content: Mapping[str, Any], key: str, kind: type, above: str = "") -> Any:
    """Return ``content[key]``, once it is of the kind wanted."""
    if key not in content:
        raise FormatError(f"{path}: {above}{key} is missing")
    return _check(path, f"{above}{key}", content[key], kind)


def _check(path: Path, name: str, value: Any, kind: type) -> Any:
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or isinstance(value, bool):
        raise FormatError(f"{path}: {name} is not {KINDS[kind]}")
    return value


def _no_number(text: str) -> NoReturn:
    raise _NotOurs(f"{text} is no number")
