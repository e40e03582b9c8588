"""Made-up ARCHS4 files, by plain h5py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def write_archs4(
    path: Path,
    values: Any,
    samples: Mapping[str, Any],
    genes: Mapping[str, Any],
    *,
    version: int = 2,
    genes_first: bool | None = None,
    **storage: Any,
) -> Path:
    """Write counts ``(n_samples, n_genes)`` with fields of both axes in the layout of a version.

    Version 1 has its matrix samples by genes and flat names; the field ``genes`` is its symbols.
    `genes_first` turns the matrix against that.
    """
    with h5py.File(path, "w") as file:
        first = version == 2 if genes_first is None else genes_first
        file.create_dataset("data/expression", data=values.T if first else values, **storage)
        groups = (
            ("meta/samples/", "meta/genes/") if version == 2 else ("meta/Sample_", "meta/gene_")
        )
        for group, fields in zip(groups, (samples, genes), strict=True):
            for name, field in fields.items():
                place = "meta/genes" if (version, name) == (1, "genes") else f"{group}{name}"
                file[place] = field if isinstance(field, np.ndarray) else encoded(field)
    return path


def encoded(texts: Sequence[str]) -> Any:
    """Strings of variable length."""
    return np.array([text.encode() for text in texts], dtype=h5py.string_dtype())
