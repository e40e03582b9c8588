"""A small file written in runs of profiles, whole or stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.formats.gctx import GctxWriter
from dgex_jax.formats.h5ad_write import H5adWriter
from dgex_jax.formats.partial import Resume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


N, GENES, UNIT = 50, 9, 4
RUN = 8
"""Profiles of a run in these tests."""

VALUES = np.random.default_rng(3).normal(size=(N, GENES)).astype(np.float32)
JOB = {"options": {"scale": "reference", "impute": False}, "input": "ab12"}
FORMATS = pytest.mark.parametrize("name", ["a.gctx", "a.h5ad"])


def writer(path: Path, job: Any = JOB, said: Any = None, ids: str = "p") -> GctxWriter | H5adWriter:
    resume = Resume(job, UNIT, (said if said is not None else []).append)
    profiles, genes = [f"{ids}{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
    about = pd.DataFrame({"tissue": ["liver", "brain"] * 25}, index=profiles, dtype=object)
    if path.suffix == ".gctx":
        return GctxWriter(path, profiles, genes, profile_metadata=about, resume=resume)
    pytest.importorskip("anndata")
    return H5adWriter(path, profiles, genes, about, pd.DataFrame(index=genes), {}, resume)


def blocks(pending: Sequence[slice], step: int) -> Iterator[np.ndarray]:
    for run in pending:
        assert run.start % UNIT == 0
        for start in range(run.start, run.stop, step):
            yield VALUES[start : min(start + step, run.stop)]


def fill(path: Path, step: int = 5, stop: int | None = None, **how: Any) -> list[str]:
    """Write what is pending, or raise after `stop` blocks; give what was said."""
    said: list[str] = []
    with writer(path, said=said, **how) as file:
        for count, block in enumerate(blocks(file.pending(), step)):
            if count == stop:
                raise InterruptedError("unplugged")
            file.append(block)
    return said


def stopped(path: Path, step: int = 5, stop: int = 5, **how: Any) -> None:
    with pytest.raises(InterruptedError, match="unplugged"):
        fill(path, step, stop, **how)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
