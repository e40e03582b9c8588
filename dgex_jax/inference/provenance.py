"""What an output says about how it was made, and what decides every bit of it."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import h5py
import jax
import numpy as np

import dgex_jax
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.opening import comments_of
from dgex_jax.inference.modelfolder import DESCRIPTION
from dgex_jax.inference.outputgenes import expected_part
from dgex_jax.models.mlp import MLP
from dgex_jax.processor import processor
from dgex_jax.provenance import file_sha256, record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dgex_jax.inference.model import Model
    from dgex_jax.inference.plan import Plan


def provenance(
    plan: Plan, model_sha256: str | None, input_sha256: str | None = None
) -> dict[str, Any]:
    """Give everything that decides an output's values, as JSON values; no date, no path.

    Parameters
    ----------
    plan
        What is done to which file.
    model_sha256
        Checksum that names the model, if it has a file.
    input_sha256
        Checksum of an input without a file; a file is read once more for its own.
    """
    model, match, options = plan.model, plan.match, plan.options
    study = model.record.get("study")
    return {
        "made_by": f"dgex predict {dgex_jax.__version__}",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "jax": jax.__version__,
        },
        "device": told_device(),
        "precision": MLP.precision,
        "model": {
            "sha256": model_sha256,
            "network": model.network.name,
            "selected_on": model.selected_on,
            "study": study.get("name") if isinstance(study, dict) else None,
            "simulated": model.simulated,
        },
        "input": {
            "name": match.source.path.name,
            "sha256": input_sha256 or _sha256(match.source.path),
            "genes": match.naming,
            "second": match.second,
            "renamed": dict(match.renamed),
            "by_other_names": dict(match.by_other_names),
            "notes": list(plan.notes),
            "comments": list(comments_of(match.source)),
        },
        "options": {
            "platform": options.platform,
            "standardize": options.standardized_by,
            "scale": options.scale,
            "impute": options.impute,
            "force_platform": options.force_platform,
        },
        "mapping": plan.route.note,
        "warnings": list(plan.warnings),
        "imputed": plan.imputed,
        "constant": [] if plan.scaling is None else list(plan.scaling.constant),
        "expected_error_on": expected_part(model, options.platform),
    }


def prediction_job(plan: Plan, told: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that decides the bits of an output's values, as JSON values under plain names.

    Two predictions of the same job give the same bits. Beside what an output tells of itself these
    are the weights of a model without a file, the libraries that compute, and the machine: how
    many products a processor adds up at a time changes the last bits of a sum. The number of its
    cores, the block size and file names but the input's don't count.

    Parameters
    ----------
    plan
        What is done to which file.
    told
        Its `provenance`.
    """
    device, model = _device(), dict(told["model"])
    if model["sha256"] is None:
        model["weights"] = _model_sha256(plan.model)
    libraries = {name: version(name) for name in ("jaxlib", "pandas", "scipy")}
    return {
        "model": model,
        "input": told["input"],
        "options": told["options"],
        "mapping": {key: told[key] for key in ("mapping", "imputed", "constant")},
        "software versions": {**told["versions"], **libraries, "dgex": told["made_by"]},
        "precision": told["precision"],
        "device": {
            **told["device"],
            "runtime": device.client.platform_version,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        },
        "processor": processor(),
    }


def prediction_record(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give what lies beside an output of that `provenance`, in the shape of all other outputs.

    The commit is here alone: what is in an output decides whether an interrupted one goes on.
    """
    inputs = {"input": {key: told["input"][key] for key in ("name", "sha256")}}
    if told["model"]["sha256"] is not None:
        inputs["model"] = {"name": DESCRIPTION, "sha256": told["model"]["sha256"]}
    return record("dgex predict", precision=told["precision"], inputs=inputs, device=told["device"])


def told_device() -> dict[str, str]:
    """Name the device that computes, as an output does."""
    device = _device()
    return {"platform": device.platform, "kind": device.device_kind}


def _device() -> jax.Device:
    """Where JAX puts what is not told where to go."""
    (device,) = jax.device_put(np.zeros((), np.float32)).devices()
    return device


def _model_sha256(model: Model) -> str:
    """Checksum of all of a model that decides results."""
    digest = hashlib.sha256()
    arrays = [model.quantile, model.landmark_quantile]
    for genes in (model.landmarks, model.targets):
        arrays += [genes.mean, genes.sd]
    for half in model.halves:
        arrays += [half[layer][kind] for layer in sorted(half) for kind in ("kernel", "bias")]
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
