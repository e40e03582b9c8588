"""A small zarr store: its values, who writes it, what is in it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.formats.zarr_write import ZarrWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


N_PROFILES, N_GENES, PER_SHARD = 1500, 9, 256
PROVENANCE = {"made_by": "dgex", "options": {"scale": "reference"}, "imputed": ["g1"]}
JOB = {"model": "ab", "options": {"scale": "reference", "platform": "rnaseq"}}


def values(n_profiles: int = N_PROFILES, n_genes: int = N_GENES) -> NDArray[np.float32]:
    X = np.random.default_rng(n_profiles).normal(size=(n_profiles, n_genes)).astype(np.float32)
    # Chunks of what readers take for missing are values like any others.
    X[256:512] = 0
    X[512:768] = np.nan
    X[-1, :3] = [np.inf, -np.inf, -0.0][:n_genes]
    return X


def writer(path: Path, n_profiles: int = N_PROFILES, n_genes: int = N_GENES, **options: Any) -> Any:
    profiles = [f"p{i}" for i in range(n_profiles)]
    genes = [f"g{i}" for i in range(n_genes)]
    obs = pd.DataFrame(
        {
            "tissue": [("liver", "brain", None)[i % 3] for i in range(n_profiles)],
            "dose": np.arange(n_profiles) / 3,
            "note": [f"né {i}" for i in range(n_profiles)],
        },
        index=profiles,
    )
    var = pd.DataFrame({"expected_error": np.linspace(0, 1, n_genes)}, index=genes)
    settings: dict[str, Any] = {
        "job": JOB,
        "profiles_per_shard": PER_SHARD,
        "provenance": PROVENANCE,
    } | options
    provenance = settings.pop("provenance")
    return ZarrWriter(path, profiles, genes, obs, var, provenance, **settings)


def blocks(X: NDArray[np.float32], run: slice, size: int = 256) -> Iterator[NDArray[np.float32]]:
    for start in range(run.start, run.stop, size):
        yield X[start : min(start + size, run.stop)]


def write(path: Path, X: NDArray[np.float32] | None = None, **options: Any) -> ZarrWriter:
    """All that a process has to write; blocks as the network gives them."""
    X = values() if X is None else X
    with writer(path, *X.shape, **options) as out:
        for run in out.pending():
            for block in blocks(X, run):
                out.append(block)
    return out


def hashes(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in store.rglob("*")
        if file.is_file()
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Interrupted(BaseException):
    """Something other than an error, like Ctrl-C."""


def interrupted(path: Path, after: int, **options: Any) -> None:
    """Write `after` profiles in small blocks, then fail."""
    X = values()
    with writer(path, **options) as out:
        done = 0
        for run in out.pending():
            for block in blocks(X, run, 100):
                if done >= after:
                    raise Interrupted
                out.append(block)
                done += len(block)


def partial_of(path: Path, **options: Any) -> None:
    with pytest.raises(Interrupted):
        interrupted(path, 600, **options)


SCALED = JOB | {"options": {"scale": "standardized", "platform": "rnaseq"}}
