"""What is asked of kept files (``v1``, ``v1_alone``, ``v2``): checksums of all that is in them.

What is read is compared by checksums. What is computed from it is not: processors and versions of
XLA add up float32 products in another order, so single numbers differ in their last bits
(`COMPUTED`), and a training carries such differences on from batch to batch (`TRAINED`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.train.record import load_weights, read_gene_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dgex_jax.prepare.prepared import Prepared

NETWORK = NetworkConfig(hidden_layers=1, units=5, dropout=0.1)
TRAINING = TrainingConfig(epochs=5, learning_rate=0.06, monitor_size=20, batch_size=10)
COMPUTED = {"rtol": 1e-5, "atol": 1e-5}
TRAINED = {"rtol": 1e-3, "atol": 0.0}


def study_sums(study: Prepared) -> dict[str, Any]:
    """Checksums of all that every format of a prepared study holds."""
    arrays = {}
    for part in study.parts:
        for kind, values in (("X", study.X(part)), ("Y", study.Y(part))):
            mean, deviation = study.scaling(part, kind)
            about = {"": values, "mean of ": mean, "deviation of ": deviation}
            arrays |= {f"{what}{kind} {part}": array for what, array in about.items()}
    quantile = study.quantile
    assert quantile is not None
    arrays |= {"quantile": quantile, "copies": study.copy_of_landmark}
    return {
        "name": study.name,
        "title": study.title,
        "landmarks": list(study.landmarks),
        "targets": list(study.targets),
        "symbols": [*study.landmark_symbols, *study.symbols],
        "arrays": array_sums(arrays),
    }


def weight_sums(run: Path) -> dict[str, str]:
    """Checksums of the weights of a run."""
    arrays = {
        f"{path.stem} half{half} {name} {kind}": values
        for path in run.glob("best_*.safetensors")
        for half, params in enumerate(load_weights(path), start=1)
        for name, layer in params.items()
        for kind, values in layer.items()
    }
    return array_sums(arrays)


def errors_of(run: Path) -> dict[str, list[float]]:
    """MAE of every target by part."""
    return {part: mae.tolist() for part, mae in read_gene_errors(run / "errors.tsv").mae.items()}


def array_sums(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Name → type, shape and the beginning of the checksum."""
    found = {}
    for name, values in arrays.items():
        array = np.asarray(values)
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        found[name] = f"{array.dtype.str} {'x'.join(map(str, array.shape))} {digest}"
    return found


def checksum(folder: Path) -> str:
    """One checksum of all files, but for the one it is kept in and what tells about them."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name not in {"README.md", "SHA256"}:
            whole.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return whole.hexdigest()
