"""The errors of one method, gene by gene, as a table on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import EVALUATED
from dgex_jax.errors import FormatError
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.training.record import check_result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.data.prepared import Prepared

"""Those of a study of arrays alone."""


@dataclass(frozen=True)
class GeneErrors:
    """MAE of every target gene on the parts that are compared.

    Attributes
    ----------
    mae
        Part (`EVALUATED`, or `EVALUATED[:2]` of a study of arrays alone) → ``(n_targets,)``
        float64, standardised units.
    copy_of_landmark
        ``(n_targets,)`` bool.
    """

    mae: Mapping[str, NDArray[np.float64]]
    copy_of_landmark: NDArray[np.bool_]


def write_gene_errors(
    path: Path, study: Prepared, mae: Mapping[str, NDArray[np.float64]], n_halves: int
) -> None:
    """Write one line a target: ids, half, copy flag and the MAEs by part; atomically."""
    import pandas as pd  # noqa: PLC0415  (a run begins sooner without it)

    halves = study.halves if n_halves == 2 else (slice(0, study.n_targets),)
    half = np.zeros(study.n_targets, np.int64)
    for number, columns in enumerate(halves, start=1):
        half[columns] = number
    table = pd.DataFrame(
        {
            "target": study.targets,
            "symbol": study.symbols,
            "half": half,
            "copy_of_landmark": study.copy_of_landmark.astype(int),
            **{f"MAE_{part}": mae[part] for part in EVALUATED if part in study.parts},
        }
    )
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False)


def read_gene_errors(path: Path) -> GeneErrors:
    """Read what `write_gene_errors` wrote.

    Raises
    ------
    FormatError
        The file is missing, is no such table, or is not the one of its finished run.
    """
    import pandas as pd  # noqa: PLC0415

    try:
        # As text first: older pandas read floats to the last bit only on request, newer ones
        # deprecate the request.
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        rna = any(f"MAE_{part}" in table for part in EVALUATED if part not in EVALUATED[:2])
        errors = GeneErrors(
            mae={
                part: table[f"MAE_{part}"].to_numpy(str).astype(np.float64)
                for part in (EVALUATED if rna else EVALUATED[:2])
            },
            copy_of_landmark=table["copy_of_landmark"].to_numpy(str) == "1",
        )
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is no table of errors per gene ({error})") from error
    check_result(path)
    return errors
