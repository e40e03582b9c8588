"""What finished work leaves in its folder: ``done.json``, weights, and errors gene by gene.

No JAX here: reports, tables and models read these files too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dgex_jax.errors import FormatError
from dgex_jax.io.files import atomic_path, fill_tensors, one_line, reading
from dgex_jax.io.manifest import (
    digest,
    file_sha256,
    file_sums,
    identity,
    is_hash_of,
    read_json,
    read_sealed,
    sealed,
    write_json,
)
from dgex_jax.train.arrays import halves_of
from dgex_jax.train.pylearn2 import layer_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.prepare.prepared import Prepared

DONE = "done.json"
CONFIG = "config.json"
ERROR = "MAE_"
"""Before the name of a part: its column of errors."""


def is_done(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether `folder` holds the finished work of this configuration, by whatever versions."""
    done = read_done(folder)
    if done is None:
        return False
    stored, old = done.get("config_hash"), read_json(folder / CONFIG)
    # Of the first versions the hash alone does not tell: what was run lies beside it.
    return is_hash_of(stored, config) or (
        old is not None and identity(old) == identity(config) and is_hash_of(stored, old)
    )


def read_done(folder: Path) -> dict[str, Any] | None:
    """Read ``done.json``; ``None`` if there is none.

    Raises `FormatError` if it is damaged: taking the work for not done would throw it away.
    """
    path = folder / DONE
    content = read_sealed(path)
    if content is None and path.exists():
        raise FormatError(
            f"{path}: damaged, or changed since it was written; remove it to have the work done "
            "again"
        )
    return content


def check_result(path: Path) -> None:
    """Raise `FormatError` if a file of finished work is not that of the checksum in ``done.json``.

    Work that is not finished, and that of older versions, has no checksums to compare with.
    """
    files = (read_done(path.parent) or {}).get("files")
    wanted = files.get(path.name) if isinstance(files, dict) else None
    with reading(path):
        if wanted is not None and file_sha256(path) != wanted:
            raise FormatError(
                f"{path}: damaged or replaced: its sha256 is not the one in {DONE} beside it"
            )


def mark_done(
    folder: Path, config: Mapping[str, Any], *, files: Iterable[str] = (), **facts: Any
) -> None:
    """Write ``done.json``, last of all: the hash of `config`, and `facts` (JSON values).

    With the checksums of those of `files` (names) that are in `folder`.
    """
    content: dict[str, Any] = {"config_hash": digest(config), **facts}
    with reading(folder):
        found = file_sums(folder, files)
    write_json(folder / DONE, sealed({**content, **({"files": found} if found else {})}))


def save_weights(path: Path, halves: Sequence[Any], metadata: Mapping[str, str]) -> None:
    """Write the parameters of each half, float32, atomically; the same input gives the same bytes.

    Safetensors ``half1/W0``, ``half1/b0``, … in the order of the layers. `metadata` goes in as one
    JSON string, key ``dgex``: safetensors writes several keys in an order that changes from run to
    run.
    """
    tensors = {
        f"half{half}/{letter}{number}": np.ascontiguousarray(params[name][kind])
        for half, params in enumerate(halves, start=1)
        for number, name in enumerate(layer_names(len(params)))
        for letter, kind in (("W", "kernel"), ("b", "bias"))
    }
    about = {"dgex": json.dumps(dict(metadata), sort_keys=True)}
    with atomic_path(path) as temporary:
        fill_tensors(temporary, tensors, path, about)


def load_weights(path: Path) -> list[Any]:
    """Read the parameters of each half as Flax takes them.

    Raises `FormatError` if the file is missing, damaged (also by the checksum of a finished run),
    or holds other tensors.
    """
    try:
        # By the system: safetensors takes what it may not open for missing.
        with path.open("rb"):
            tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: can't be read as weights: {one_line(error)}") from error
    halves = halves_in(path, tensors)
    if not halves:
        raise FormatError(f"{path}: holds no weights of a D-GEX network (no tensor half1/W0)")
    check_result(path)
    return halves


def halves_in(path: Path, tensors: Mapping[str, Any]) -> list[Any]:
    """Give the parameters of each half that the tensors of a file hold, as Flax takes them."""
    halves: list[Any] = []
    while any(name.startswith(prefix := f"half{len(halves) + 1}/") for name in tensors):
        names = layer_names(sum(name.startswith(f"{prefix}W") for name in tensors))
        try:
            half = {
                name: {"kernel": tensors[f"{prefix}W{i}"], "bias": tensors[f"{prefix}b{i}"]}
                for i, name in enumerate(names)
            }
        except KeyError as error:
            raise FormatError(f"{path}: tensor {error} is missing") from error
        halves.append(half)
    return halves


@dataclass(frozen=True)
class TrainedHalf:
    """One trained network; weights as ``{"hidden1": {"kernel", "bias"}, …}``, float32.

    `best` and `best_epoch` are by validation part (`Parts.choosers`).
    """

    final: Any
    best: Mapping[str, Any]
    best_epoch: Mapping[str, int]


@dataclass(frozen=True)
class TrainedNetwork:
    """Both halves (or the single one), and MAE of every target ``(n_targets,)`` by part."""

    halves: Sequence[TrainedHalf]
    gene_errors: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class GeneErrors:
    """MAE of every target on the parts compared, ``(n_targets,)`` float64 in standardised units.

    NaN where a method says nothing of a target, or of a part.

    `copy_of_landmark` is ``(n_targets,)`` bool.
    """

    mae: Mapping[str, NDArray[np.float64]]
    copy_of_landmark: NDArray[np.bool_]


def write_gene_errors(
    path: Path, study: Prepared, mae: Mapping[str, NDArray[np.float64]], n_halves: int
) -> None:
    """Write one line a target: ids, half, copy flag and the MAEs by part (or nan); atomically."""
    import pandas as pd  # noqa: PLC0415  (a run starts sooner without it)

    half = np.zeros(study.n_targets, np.int64)
    for number, columns in enumerate(halves_of(study, n_halves), start=1):
        half[columns] = number
    table = pd.DataFrame(
        {
            "target": study.targets,
            "symbol": study.symbols,
            "half": half,
            "copy_of_landmark": study.copy_of_landmark.astype(int),
            **{f"{ERROR}{part}": mae[part] for part in study.parts.evaluated},
        }
    )
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="nan")


def read_gene_errors(path: Path) -> GeneErrors:
    """Read what `write_gene_errors` wrote; `FormatError` if it is damaged, or none."""
    import pandas as pd  # noqa: PLC0415

    try:
        # As text first: older pandas read floats to the last bit only on request, newer ones
        # deprecate the request.
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        errors = GeneErrors(
            mae={
                name.removeprefix(ERROR): table[name].to_numpy(str).astype(np.float64)
                for name in map(str, table)
                if name.startswith(ERROR)
            },
            copy_of_landmark=table["copy_of_landmark"].to_numpy(str) == "1",
        )
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is no table of errors per gene ({error})") from error
    if not errors.mae:
        raise FormatError(f"{path}: is no table of errors per gene ({ERROR!r})")
    check_result(path)
    return errors
