"""Infer N made-up profiles and discard the results.

``python -m benchmarks.inference_sink N TARGETS``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.madeup_model import made_up_model
from dgex_jax.config import PredictOptions
from dgex_jax.io.expression import positions
from dgex_jax.io.progress import Progress
from dgex_jax.model.predict import inferred
from dgex_jax.model.scale import make_plan

if TYPE_CHECKING:
    from dgex_jax.io.expression import FloatArray, Selection


@dataclass(frozen=True)
class Endless:
    """Profiles that are drawn when they are read; the same table again and again."""

    profiles: tuple[str, ...]
    genes: tuple[str, ...]
    table: FloatArray
    path: Path = Path("made-up")

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """Nothing is known of them."""
        return pd.DataFrame(index=[])

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """Nothing is known of them."""
        return pd.DataFrame(index=[])

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` float32."""
        rows = positions(profiles, len(self.profiles)) % len(self.table)
        return self.table[np.ix_(rows, positions(genes, len(self.genes)))]


def main(n: int, targets: int) -> None:
    """Infer `n` profiles with a network of 300 hidden units."""
    model = made_up_model(300, targets=targets)
    genes = tuple(probe for (probe,) in model.landmarks.probes)
    table = np.random.default_rng(1).uniform(4, 15, (4096, len(genes))).astype(np.float32)
    source = Endless(tuple(f"p{row}" for row in range(n)), genes, table)
    plan = make_plan(model, source, PredictOptions("l1000"), Progress())
    for _ in inferred(plan, slice(0, n)):
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
