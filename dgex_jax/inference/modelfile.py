"""A model on disk: one folder of four files, written whole or not at all (docs/models.md).

``model.json``
    What it is, how it was trained, and the checksums.
``weights.safetensors``
    ``half1/W0``, ``half1/b0``, … float32 (`training.weights`).
``genes.tsv``
    Landmarks and targets: ids, means and deviations, errors to expect.
``reference.safetensors``
    ``quantile`` (if the study has one) and ``landmark_quantile``, float64.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line, read_head
from dgex_jax.inference.model import Model
from dgex_jax.inference.modelfolder import (
    DESCRIPTION,
    GENES,
    REFERENCE,
    WEIGHTS,
    model_folder,
)
from dgex_jax.inference.modelgenes import GeneTable, read_genes, write_genes
from dgex_jax.inference.modeljson import (
    Description,
    file_sha256,
    read_description,
    write_description,
)
from dgex_jax.training.weights import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig

QUANTILE, LANDMARK_QUANTILE = "quantile", "landmark_quantile"
Shapes = dict[str, tuple[int, ...]]


def write_model(path: Path | str, model: Model, *, overwrite: bool = False) -> None:
    """Write a model folder; the same model gives the same bytes.

    Parameters
    ----------
    path
        The folder.
    model
        The model.
    overwrite
        Replace a model that is there.

    Raises
    ------
    DgexError
        The folder holds something else (or a model, without `overwrite`), can't be written, or
        the model's pieces don't fit each other.
    """
    path = Path(path)
    with model_folder(path, overwrite=overwrite) as folder:
        try:
            _fill(folder, model)
            read_model(folder)
        except (DgexError, OSError, SafetensorError) as error:
            # Nobody has seen the temporary folder, nor need know which writer failed how.
            cause = one_line(error).removeprefix(f"{folder}").lstrip(": /")
            cause = cause.replace("can't be written: ", "")
            raise DgexError(f"{path}: can't be written: {cause}") from error


def _fill(folder: Path, model: Model) -> None:
    write_genes(folder / GENES, model)
    about = {"network": model.network.name, "selected_on": model.selected_on}
    if model.simulated:
        about["data"] = "simulated"
    save_weights(folder / WEIGHTS, model.halves, about)
    tensors = {LANDMARK_QUANTILE: model.landmark_quantile}
    if model.quantile is not None:
        tensors[QUANTILE] = model.quantile
    (folder / REFERENCE).write_bytes(
        save({name: np.ascontiguousarray(values) for name, values in tensors.items()})
    )
    write_description(folder / DESCRIPTION, model)


def read_model(path: Path | str) -> Model:
    """Read a model folder and check all of it.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    Model
        As it was written, to the last bit.

    Raises
    ------
    FormatError
        No such folder, no model, one made by a newer version, a file is missing or damaged, its
        pieces don't fit each other, or a value is not finite (with the file).
    """
    path = Path(path)
    about = open_description(path)
    genes = read_genes(path / GENES)
    _check_genes(path / GENES, genes, about)
    reference = _read_reference(path / REFERENCE, about)
    return Model(
        landmarks=genes.landmarks,
        targets=genes.targets,
        network=about.network,
        halves=_read_weights(path / WEIGHTS, about),
        half_sizes=about.half_sizes,
        selected_on=about.selected_on,
        quantile=reference.get(QUANTILE),
        landmark_quantile=reference[LANDMARK_QUANTILE],
        errors=genes.errors,
        record=about.record,
        copy_of_landmark=genes.copy_of_landmark,
    )


def open_description(path: Path) -> Description:
    """Read ``model.json`` of a model folder and verify the checksums of the other files.

    Raises
    ------
    FormatError
        See `read_model`.
    """
    if not path.is_dir():
        cause = "is a file, not a model folder" if path.exists() else "no such model folder"
        raise FormatError(f"{path}: {cause}")
    if not (path / DESCRIPTION).exists():
        raise FormatError(f"{path}: is no model folder: it has no {DESCRIPTION}")
    about = read_description(path / DESCRIPTION)
    for name, wanted in about.sha256.items():
        file = path / name
        read_head(file)
        try:
            found = file_sha256(file)
        except OSError as error:
            raise FormatError(f"{file}: can't be read: {one_line(error)}") from error
        if found != wanted:
            raise FormatError(
                f"{file}: damaged or replaced: its sha256 is not the one in {DESCRIPTION}"
            )
    return about


def _check_genes(path: Path, genes: GeneTable, about: Description) -> None:
    found = (len(genes.landmarks), len(genes.targets), genes.half_sizes)
    wanted = (about.n_landmarks, about.n_targets, about.half_sizes)
    if found != wanted:
        raise FormatError(
            f"{path}: landmarks, targets and half sizes are {found}, {wanted} in {DESCRIPTION}"
        )


def _weight_shapes(network: NetworkConfig, n_landmarks: int, half_sizes: Sequence[int]) -> Shapes:
    shapes: Shapes = {}
    for half, n_targets in enumerate(half_sizes, start=1):
        sizes = [n_landmarks, *[network.units] * network.hidden_layers, n_targets]
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            shapes[f"half{half}/W{layer}"] = (fan_in, fan_out)
            shapes[f"half{half}/b{layer}"] = (fan_out,)
    return shapes


def _read_weights(path: Path, about: Description) -> list[Any]:
    shapes = _weight_shapes(about.network, about.n_landmarks, about.half_sizes)
    _check_tensors(path, shapes, "F32")
    n_parameters = sum(int(np.prod(shape)) for shape in shapes.values())
    if n_parameters != about.n_parameters:
        raise FormatError(
            f"{path}: {n_parameters} parameters, {about.n_parameters} in {DESCRIPTION}"
        )
    halves = load_weights(path)
    for number, half in enumerate(halves, start=1):
        for name, layer in half.items():
            for kind, values in layer.items():
                _check_finite(path, f"{kind} of {name}, half {number}", values)
    return halves


def _read_reference(path: Path, about: Description) -> dict[str, NDArray[np.float64]]:
    shapes: Shapes = {LANDMARK_QUANTILE: (about.n_landmarks,)}
    _check_tensors(path, shapes, "F64", {QUANTILE: (about.n_landmarks + about.n_targets,)})
    try:
        tensors: dict[str, NDArray[np.float64]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    for name, values in tensors.items():
        _check_finite(path, name, values)
    return tensors


def _check_tensors(
    path: Path, needed: Shapes, dtype: str, allowed: Mapping[str, tuple[int, ...]] | None = None
) -> None:
    """Check names, shapes and dtype of all tensors, before their values are read."""
    wanted = {**needed, **(allowed or {})}
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: tuple(one.get_shape()) for name, one in slices.items()}
            dtypes = {name: one.get_dtype() for name, one in slices.items()}
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    for name in needed:
        if name not in found:
            raise FormatError(f"{path}: tensor {name} is missing")
    for name, shape in found.items():
        if name not in wanted:
            raise FormatError(f"{path}: tensor {name} belongs to no such model")
        if shape != wanted[name]:
            raise FormatError(
                f"{path}: tensor {name} has shape {shape}, expected {wanted[name]} by the counts "
                f"in {DESCRIPTION}"
            )
        if dtypes[name] != dtype:
            raise FormatError(f"{path}: tensor {name} is of type {dtypes[name]}, not {dtype}")


def _check_finite(path: Path, name: str, values: NDArray[Any]) -> None:
    n_bad = int(values.size - np.isfinite(values).sum())
    if n_bad:
        raise FormatError(f"{path}: {name}: {n_bad} values are not finite")
