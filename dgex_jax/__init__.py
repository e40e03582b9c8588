"""D-GEX in JAX: infer target genes from landmark genes (Chen et al. 2016).

The names below are imported when they are first used, so that importing the package stays light;
JAX is loaded by `DGEXRegressor` and `SampleLasso`, and by `predict_anndata` and `train_anndata`
once they are called. `plots` is imported so too, and needs Matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgex_jax.estimators.baselines import KNNGE, LR, LRL1, LRL2
    from dgex_jax.estimators.methods import (
        KernelRidge,
        LearnedKernel,
        ResidualMLP,
        SampleLasso,
        Stack,
    )
    from dgex_jax.estimators.network import DGEXRegressor
    from dgex_jax.model.anndata import predict_anndata, train_anndata
    from dgex_jax.prepare.prepared import open_prepared

__version__ = "0.2.0"
__all__ = [
    "KNNGE",
    "LR",
    "LRL1",
    "LRL2",
    "DGEXRegressor",
    "KernelRidge",
    "LearnedKernel",
    "ResidualMLP",
    "SampleLasso",
    "Stack",
    "open_prepared",
    "predict_anndata",
    "train_anndata",
]

_HOMES = {
    "DGEXRegressor": "dgex_jax.estimators.network",
    "KNNGE": "dgex_jax.estimators.baselines",
    "LR": "dgex_jax.estimators.baselines",
    "LRL1": "dgex_jax.estimators.baselines",
    "LRL2": "dgex_jax.estimators.baselines",
    "SampleLasso": "dgex_jax.estimators.methods",
    "Stack": "dgex_jax.estimators.methods",
    "ResidualMLP": "dgex_jax.estimators.methods",
    "KernelRidge": "dgex_jax.estimators.methods",
    "LearnedKernel": "dgex_jax.estimators.methods",
    "open_prepared": "dgex_jax.prepare.prepared",
    "predict_anndata": "dgex_jax.model.anndata",
    "train_anndata": "dgex_jax.model.anndata",
}


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("dgex_jax.plots")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
