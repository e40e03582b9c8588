"""The errors of each epoch, as a user reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.config import LOGGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.training.loop import EpochRecord


def history_row(
    record: EpochRecord, half_sizes: Sequence[int], *, validated: bool
) -> dict[str, float]:
    """Return one epoch's errors over all targets, learning rates and time.

    Named as in the log of a run folder; without validation profiles there is no ``MAE_va``.
    """
    weights = np.asarray(half_sizes) / sum(half_sizes)
    errors = dict(zip(LOGGED, (weights @ record.errors).tolist(), strict=True))
    rates = record.learning_rates.tolist()
    names = (
        ["learning_rate"]
        if len(rates) == 1
        else [f"learning_rate_half{half}" for half in range(1, len(rates) + 1)]
    )
    return {
        **{f"MAE_{part}": errors[part] for part in (("tr", "va") if validated else ("tr",))},
        **dict(zip(names, rates, strict=True)),
        "seconds": record.seconds,
    }


def history_line(row: dict[str, float], epoch: int, epochs: int) -> str:
    """Format one epoch, counted from 0, of `epochs`."""
    cells = [f"{name} {value:.4g}" for name, value in row.items() if name != "seconds"]
    return f"epoch {epoch + 1}/{epochs}  {'  '.join(cells)}  {row['seconds']:.2f} s"


def history_table(rows: Sequence[dict[str, float]]) -> pd.DataFrame:
    """Put epochs into a table, a row each, counted from 0."""
    return pd.DataFrame(rows).rename_axis("epoch")
