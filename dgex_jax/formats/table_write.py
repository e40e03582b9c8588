"""What writing GCT and GEUVADIS tables has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.formats.ids import check_ids, check_storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dgex_jax.formats.expression import FloatArray

FORBIDDEN = "\t\n\r\0"
QUOTE = '"'
GENES_AT_A_TIME = 256
VALUES_AT_A_TIME = 1 << 22


class WholeGenes(Protocol):
    """What is written gene by gene: an `Expression`, or values that wait on disk."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profile ids."""

    @property
    def genes(self) -> tuple[str, ...]:
        """Gene ids."""

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a profile."""

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene."""

    def read(self, profiles: slice, genes: slice) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of all profiles and a run of genes."""


def check_texts(path: Path, profiles: Sequence[str], genes: Sequence[str]) -> None:
    """Raise `FormatError` unless the ids are unique and hold no tab or line end."""
    check_ids(path, "profile", profiles)
    check_ids(path, "gene", genes)
    check_storable(path, "profile id", profiles, FORBIDDEN)
    check_storable(path, "gene id", genes, FORBIDDEN)


def joined(cells: Iterable[str]) -> str:
    """Join the cells of a line; one that begins with a quote is quoted, as readers take those off.

    Parameters
    ----------
    cells
        Texts without tabs and line ends.
    """
    texts = (f'"{cell.replace(QUOTE, 2 * QUOTE)}"' if cell[:1] == QUOTE else cell for cell in cells)
    return "\t".join(texts)


def annotation_texts(
    path: Path,
    metadata: pd.DataFrame,
    ids: Sequence[str],
    fields: Sequence[str],
    missing: str = "NA",
) -> list[list[str]]:
    """Text of the annotation columns.

    Parameters
    ----------
    path
        The file to be written, for the text of errors.
    metadata
        Indexed by `ids` in their order (or without columns).
    ids
        ``(n_ids,)``.
    fields
        Columns wanted; one that is not in `metadata` is missing throughout.
    missing
        What stands for a missing text.

    Returns
    -------
    list of list of str
        For each id its texts.
    """
    if len(metadata.columns) and tuple(metadata.index) != tuple(ids):
        raise FormatError(f"{path}: the index of the metadata is not the ids")
    columns = []
    for field in fields:
        if field not in metadata.columns:
            columns.append([missing] * len(ids))
            continue
        texts = [missing if pd.isna(value) else str(value) for value in metadata[field]]
        check_storable(path, f"field {field!r}", texts, FORBIDDEN)
        columns.append(texts)
    return [list(texts) for texts in zip(*columns, strict=True)] or [[] for _ in ids]


def value_rows(path: Path, expression: WholeGenes, digits: int | None) -> Iterator[list[str]]:
    """Text of the values, gene by gene.

    Parameters
    ----------
    path
        The file to be written, for the text of errors.
    expression
        Values ``(n_profiles, n_genes)``.
    digits
        Significant digits; ``None`` for as many as it takes to read the same value of the same
        dtype again.

    Yields
    ------
    list of str
        ``(n_profiles,)`` texts of one gene; ``NaN`` where there is no value.

    Raises
    ------
    FormatError
        A value of -666, which would be read as missing.
    """
    # By blocks: a column of the matrix at a time would miss the cache at every value.
    step = max(1, min(GENES_AT_A_TIME, VALUES_AT_A_TIME // len(expression.profiles)))
    for start in range(0, len(expression.genes), step):
        genes = slice(start, start + step)
        block = np.ascontiguousarray(expression.read(slice(None), genes).T)
        taken = np.argwhere(block == -666)
        if len(taken):
            gene, profile = taken[0]
            raise FormatError(
                f"{path}: profile {expression.profiles[profile]!r}, gene "
                f"{expression.genes[start + gene]!r}: -666 can't be stored, it means missing"
            )
        for row in block:
            numbers = row.tolist() if digits is not None or row.dtype == np.float64 else row
            texts = map(str, numbers) if digits is None else (f"{x:.{digits}g}" for x in numbers)
            yield ["NaN" if text == "nan" else text for text in texts]
