"""Every kind of fitted method by its name in a model folder; a class is imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError, FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dgex_jax.methods import Fitted, Float32

KINDS = {
    "network": ("network", "Network"),
    "linear": ("linear", "Linear"),
    "sample_lasso": ("sample_lasso", "SampleLassoModel"),
    "residual": ("residual", "ResidualModel"),
    "kernel": ("kernels", "KernelModel"),
    "stack": ("stack", "StackModel"),
}
"""Kind → module of `dgex_jax.methods` and class."""


def load_fitted(kind: str, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> Fitted:
    """Make the fitted method that a model folder holds.

    Raises `FormatError`: there is no such kind, or its settings and tensors don't fit.
    """
    if kind not in KINDS:
        raise FormatError(f"{kind!r} is no method that this program knows")
    module, name = KINDS[kind]
    try:
        made: Fitted = getattr(import_module(f"dgex_jax.methods.{module}"), name)(settings, tensors)
    except KeyError as error:
        raise FormatError(f"{error} is missing") from error
    except DgexError as error:
        raise FormatError(f"{error}") from error
    except (TypeError, ValueError) as error:
        raise FormatError(f"settings can't be used: {error}") from error
    return made


def in_half_precision(fitted: Fitted) -> Fitted:
    """Round all tensors to what float16 holds; they stay float32.

    Raises `DgexError` for a value that is too large for it.
    """
    rounded = {}
    for name, values in fitted.tensors.items():
        with np.errstate(over="ignore"):
            rounded[name] = values.astype(np.float16).astype(np.float32)
        if not np.isfinite(rounded[name]).all():
            raise DgexError(
                f"half precision: tensor {name} of {fitted.title} has a value of "
                f"{np.abs(values).max():.6g}, float16 holds up to {np.finfo(np.float16).max:g}"
            )
    return load_fitted(fitted.kind, fitted.settings, rounded)
