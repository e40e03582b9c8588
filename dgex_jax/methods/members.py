"""The methods by name, with their defaults, and which of them suit a study's size."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from dgex_jax.io.progress import Progress
from dgex_jax.methods.kernels import KernelModel, without_profiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.methods import Fitted, Tables

FEW = 2000
"""Training profiles below which networks got no further than ridge (measured on 370 to 575), and
from which SampleLasso was no help and takes long."""

NOTHING_BUT_PROFILES = "sample-lasso"


class Home(NamedTuple):
    """Where a method lives: a module of `dgex_jax.methods`, its function, its settings."""

    module: str
    fit: str
    config: str


HOMES: dict[str, Home] = {
    "kernel-ridge": Home("kernel_ridge", "fit_kernel_ridge", "KernelRidgeConfig"),
    "learned-kernel": Home("learned_kernel", "fit_learned_kernel", "LearnedKernelConfig"),
    "sample-lasso": Home("sample_lasso", "fit_sample_lasso", "SampleLassoConfig"),
    "residual-mlp": Home("residual", "fit_residual", "ResidualConfig"),
}


def members_for(n_profiles: int, *, weights_only: bool = False) -> tuple[str, ...]:
    """Name the methods that suit so many training profiles, the quickest first.

    With `weights_only` not that which is nothing but training profiles.
    """
    names: tuple[str, ...] = ("ridge", "knn-ge", "kernel-ridge", "learned-kernel", "residual-mlp")
    if n_profiles < FEW:
        names = ("ridge", "knn-ge", "kernel-ridge", "sample-lasso", "learned-kernel")
    return tuple(one for one in names if not (weights_only and one == NOTHING_BUT_PROFILES))


def fit_member(
    name: str,
    tables: Tables,
    *,
    seed: int = 1,
    profiles: Sequence[str] | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    weights_only: bool = False,
) -> Fitted:
    """Fit ``ridge``, ``knn-ge`` or one of `HOMES` with its defaults.

    `seed` is of what is drawn, `profiles` are the ids of the training profiles, where a method
    keeps them, and `checkpoint` a folder that one which trains for long resumes from. With
    `weights_only` (not for SampleLasso, see `FitOptions`) no training profile is in what is fitted:
    `kernels.without_profiles`.
    """
    progress = progress or Progress()
    if name == "ridge":
        from dgex_jax.methods.linear import fit_ridge  # noqa: PLC0415  (as the others: when asked)

        return fit_ridge(tables)
    if name == "knn-ge":
        from dgex_jax.methods.linear import fit_knn_ge  # noqa: PLC0415

        return fit_knn_ge(tables)
    home = HOMES[name]
    module = import_module(f"dgex_jax.methods.{home.module}")
    config = getattr(module, home.config)
    drawn = {"seed": seed} if "seed" in config.__dataclass_fields__ else {}
    own: dict[str, dict[str, Any]] = {
        "sample-lasso": {"profiles": profiles},
        "residual-mlp": {"checkpoint": checkpoint},
    }
    more = own.get(name, {})
    made: Fitted = getattr(module, home.fit)(tables, config(**drawn), progress, **more)
    if weights_only and isinstance(made, KernelModel):
        made = without_profiles(made, tables, config(**drawn))
    return made
