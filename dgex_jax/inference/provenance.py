"""What an output says about how it was made."""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING, Any

import h5py
import jax
import numpy as np

import dgex_jax
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.inference.outputs import expected_part

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.inference.plan import Plan


def provenance(plan: Plan, model_sha256: str | None) -> dict[str, Any]:
    """Give everything that decides an output's values, as JSON values; no date, no path.

    Parameters
    ----------
    plan
        What is done to which file; it is read once more for its checksum.
    model_sha256
        Checksum that names the model, if it has a file.
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
        "model": {
            "sha256": model_sha256,
            "network": model.network.name,
            "selected_on": model.selected_on,
            "study": study.get("name") if isinstance(study, dict) else None,
            "simulated": model.simulated,
        },
        "input": {
            "name": match.source.path.name,
            "sha256": _sha256(match.source.path),
            "genes": match.naming,
        },
        "options": {
            "platform": options.platform,
            "standardize": options.standardized_by,
            "scale": options.scale,
            "impute": options.impute,
        },
        "mapping": plan.route.note,
        "imputed": plan.imputed,
        "constant": [] if plan.scaling is None else list(plan.scaling.constant),
        "expected_error_on": expected_part(model, options.platform),
    }


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
