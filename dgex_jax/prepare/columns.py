"""Columns of an expression file that are annotation, not values of a profile or of a gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import (
    SAMPLES,
    SHARES,
    STATISTICS,
    View,
    is_annotation_name,
    is_table,
    plain_name,
)
from dgex_jax.prepare.looks import ENOUGH_GENES, FORCE, SAME, UNLIKE, correlation
from dgex_jax.prepare.names import hgnc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dgex_jax.io.expression import AnnotatedSource, FloatArray

SAME_SUM, MOST_SUMS = 1e-2, 0.9
"""Relative difference of a sum from what a table has, rounded, as the sum, and for how many genes:
two profiles are never so much alike."""
REFERENCES = 20
"""Profiles that a column called as annotation is compared with."""


def without_annotation(
    source: AnnotatedSource, *, force: bool, training: bool = False
) -> tuple[AnnotatedSource, list[str]]:
    """Leave out the columns of a file that are annotation of its genes, not profiles.

    They are called so (Entrez ids, lengths, positions, GC content, totals, …), and hold what such
    columns hold: whole numbers, shares, or statistics of the others.

    Returns the source without them, and notes on which were left out. A column of which it can't be
    told raises `FormatError`; with `force` it is taken for a profile. In `training` any of them
    raises it, as they must be taken out of the file, unless `force` leaves them out.
    """
    ids = source.profiles
    called = [
        place
        for place, name in enumerate(ids)
        if is_annotation_name(name) and not name.strip().isdigit()
    ]
    sums = _sums(source)
    if not called and not sums:
        return source, []
    others = _others(ids, (*called, *sums))
    if not len(others):
        raise FormatError(
            f"{source.path}: all its profiles ({', '.join(ids[:5])}) are called as "
            "annotation of genes is: rename them"
        )
    some = others[:: 1 + len(others) // REFERENCES]
    values = np.asarray(source.read(np.array([*called, *some], np.intp)), np.float64)
    every = source.read(others) if is_table(source) else None
    left_out, unsure = sums, []
    for place, column in zip(called, values, strict=False):
        if place in sums:
            continue
        verdict = _is_annotation(plain_name(ids[place]), column, values[len(called) :], every)
        if verdict is None:
            unsure.append(ids[place])
        elif verdict:
            left_out.append(place)
    if unsure and not force:
        raise FormatError(
            f"{source.path}: whether {', '.join(map(repr, unsure))} is a profile or annotation of "
            "the genes, as its name says, can't be told: rename it or take it out of the table; "
            f"{FORCE}"
        )
    notes = [f"{name!r} is called as annotation and taken for a profile" for name in unsure]
    if not left_out:
        return source, notes
    names = _listed(ids, left_out)
    if training and not force:
        raise FormatError(
            f"{source.path}: {names}: annotation of the genes among the profiles; take it out of "
            "the table (--force-platform leaves it out)"
        )
    notes.append(f"columns of annotation, no profiles: {names}")
    return View(source, profile_places=_others(ids, left_out)), notes


def without_sample_annotation(source: AnnotatedSource) -> tuple[AnnotatedSource, list[str]]:
    """Leave out what is annotation of the profiles and no gene, where genes are columns.

    What is written as a gene's approved symbol is (``GC``) is a gene. Returns what is left, and a
    note on what was left out.
    """
    called = [
        place
        for place, name in enumerate(source.genes)
        if (is_annotation_name(name) or plain_name(name) in SAMPLES) and name not in hgnc().previous
    ]
    if not called:
        return source, []
    left = View(source, gene_places=_others(source.genes, called))
    return left, [f"columns of annotation, no genes: {_listed(source.genes, called)}"]


def _others(ids: Sequence[str], places: Iterable[int]) -> NDArray[np.intp]:
    return np.delete(np.arange(len(ids)), list(places))


def _listed(ids: Sequence[str], places: Iterable[int]) -> str:
    return ", ".join(repr(ids[place]) for place in places)


def _sums(source: AnnotatedSource) -> list[int]:
    """Places of the columns of a table that are the sum or the mean of all others."""
    if not is_table(source) or len(source.profiles) < 3:
        return []
    values = np.asarray(source.read(), np.float64)
    some = slice(None, None, 1 + values.shape[1] // ENOUGH_GENES)

    def is_sum(place: int, genes: slice) -> bool:
        there = total[genes] != 0
        column, wanted = values[place, genes][there], total[genes][there]
        return len(wanted) > 0 and any(
            np.mean(np.isclose(times * column, wanted, rtol=SAME_SUM, atol=0)) >= MOST_SUMS
            for times in (2, len(values))
        )

    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(axis=0)
        found = [
            place
            for place in range(len(values))
            if is_sum(place, some) and is_sum(place, slice(None))
        ]
    # Profiles that are all the same are each other's mean.
    return found if len(found) <= 2 else []


def _is_annotation(
    name: str,
    column: NDArray[np.float64],
    others: NDArray[np.float64],
    every: FloatArray | None,
) -> bool | None:
    """Whether a column called as annotation is annotation; ``None`` where it can't be told."""
    known = np.isfinite(column)
    if not known.any():
        return True
    whole, others_whole = (bool(np.all(one[np.isfinite(one)] % 1 == 0)) for one in (column, others))
    r = _resemblance(column, others)
    if name in STATISTICS:
        return True if r < UNLIKE or _is_statistic(column, every) else None
    if name in SHARES:
        return bool(column[known].min() >= 0 and column[known].max() <= 100 and r < SAME)
    return r < SAME or (whole and not others_whole)


def _is_statistic(column: NDArray[np.float64], every: FloatArray | None) -> bool:
    """Whether a column is the sum, the mean or the like of all others."""
    if every is None:
        return False
    known = np.isfinite(column)
    values = np.asarray(every, np.float64)[:, known]
    return any(
        np.allclose(column[known], statistic(values, axis=0), rtol=1e-3, atol=1e-6)
        for statistic in (np.sum, np.mean, np.median, np.std, np.var, np.max, np.min)
    )


def _resemblance(column: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Correlation of log-like values with the mean of the others."""
    mean, values = np.arcsinh(others).mean(axis=0), np.arcsinh(column)
    known = np.isfinite(mean) & np.isfinite(values)
    return correlation(mean[known], values[known]) if known.sum() >= 3 else 0.0
