"""An evaluation gene by gene, as a table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.ids import check_storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.inference.evaluate import Evaluation
    from dgex_jax.inference.model import Model


@contextmanager
def gene_table_file(
    path: Path | None, model: Path, prepared: Path
) -> Iterator[Callable[[Model, Evaluation], None]]:
    """Take the place of a table, give a function that writes it; a table is whole or not there.

    Parameters
    ----------
    path
        Where the table shall be; ``None``: nowhere, and the function does nothing.
    model, prepared
        What is evaluated, on what: not to be written over.

    Raises
    ------
    DgexError
        `path` is the study, doesn't end in ``.tsv``, is in the model folder, or can't be written.
    """
    if path is None:
        yield lambda _model, _found: None
        return
    place = path.resolve()
    if place == prepared.resolve():
        raise DgexError(f"{path}: is the study, it is not written over")
    if path.suffix.lower() != ".tsv":
        raise DgexError(f"{path}: the table is tab-separated, its name ends in .tsv")
    if model.resolve() in (place, *place.parents):
        raise DgexError(f"{path}: a model folder holds nothing but the model, choose another place")
    with atomic_path(path) as temporary:
        yield lambda model, found: _write(temporary, gene_table(path, model, found))


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def gene_table(path: Path, model: Model, found: Evaluation) -> str:
    """Make the table: a line a shared target, tab-separated.

    Columns ``ensembl``, ``symbol``, ``entrez``, ``probes``, ``copy_of_landmark`` (0 or 1), then of
    each part ``MAE_te``, ``r_te``, ``R2_te``, …: decimal, as many digits as give the same float64
    again, empty where not defined.

    Raises
    ------
    FormatError
        An id of the model holds a tab or a line end (`path` is where the table shall be).
    """
    genes, kept = model.targets, found.shared.kept.tolist()
    ids: dict[str, Sequence[str]] = {
        "ensembl": genes.ensembl,
        "symbol": genes.symbols,
        "entrez": genes.entrez,
        "probes": [",".join(probes) for probes in genes.probes],
    }
    columns: dict[str, Sequence[str]] = {
        name: [texts[place] for place in kept] for name, texts in ids.items()
    }
    for name, texts in columns.items():
        check_storable(path, f"{name} of a target", texts, "\t\n\r")
    columns["copy_of_landmark"] = ["1" if copy else "0" for copy in found.shared.copies.tolist()]
    for part, one in found.parts.items():
        values = {"MAE": one.genes.mae, "r": one.genes.r, "R2": one.genes.r2}
        columns |= {f"{name}_{part}": _texts(column) for name, column in values.items()}
    rows = zip(*columns.values(), strict=True)
    return "".join("\t".join(row) + "\n" for row in (tuple(columns), *rows))


def _texts(values: NDArray[np.float64]) -> list[str]:
    return ["" if np.isnan(value) else repr(value) for value in values.tolist()]
