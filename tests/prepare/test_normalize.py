"""Ranks, means and standardising are the original's; blocks and scratch files change no bit."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from scipy.stats import rankdata

from dgex_jax.io.expression import Expression
from dgex_jax.io.open import open_expression
from dgex_jax.prepare.genes import read_gene_map, select_genes
from dgex_jax.prepare.normalize import (
    Normalised,
    ProbeMeans,
    RowStore,
    RowSum,
    Rule,
    dense_rank_indices,
    mean_and_deviation,
    normalise_compendium,
    normalise_set,
    quantile_ranks,
    rank_dtype,
    standardise,
    store_profiles,
)
from tests.prepare.checks import refused

PAPER_GENES = 10_463


def _ignore(_: int) -> None:
    pass


def _values(n_profiles: int = 6, n_genes: int = 80, decimals: int = 1) -> np.ndarray:
    """Values with plenty of ties."""
    return np.round(np.random.default_rng(3).normal(7.0, 2.0, (n_profiles, n_genes)), decimals)


def test_gene_value_is_the_mean_of_its_probes() -> None:
    values = np.random.default_rng(0).normal(8.0, 2.0, (5, 30)).astype(np.float32)
    probes = [[3], [0, 5, 3], list(range(10, 23)), [29, 1]]
    means = ProbeMeans(probes)(values)
    expected = [values.T[columns].astype(np.float64).mean(axis=0) for columns in probes]
    np.testing.assert_array_equal(means, np.array(expected).T)
    assert means.dtype == np.float64


def test_a_whole_row_of_ties_and_a_signed_zero() -> None:
    ranks, _ = quantile_ranks(np.array([[2.0, 2.0, 2.0, 2.0], [0.0, -0.0, 1.0, -1.0]]))
    np.testing.assert_array_equal(ranks, [[1, 1, 1, 1], [1, 1, 3, 0]])


def _original_index(rank: int, n_distinct: int, n_genes: int) -> int:
    """The original's line, in Python floats."""
    return int((float(rank) / float(n_distinct)) * n_genes) - 1


def test_rna_index_is_the_original_formula_with_ties() -> None:
    values = _values()
    indices, n_clipped = dense_rank_indices(values)
    for value, index in zip(values, indices, strict=True):
        dense = rankdata(value, method="dense")
        expected = [_original_index(int(r), int(dense.max()), value.size) for r in dense]
        np.testing.assert_array_equal(index, expected)
    assert n_clipped == 0


def test_float_rounding_of_the_paper_is_kept() -> None:
    indices, n_clipped = dense_rank_indices(np.arange(float(PAPER_GENES))[None])
    exact = [Fraction(r, PAPER_GENES) * PAPER_GENES - 1 for r in range(1, PAPER_GENES + 1)]
    lower = np.array([int(e) for e in exact]) - indices[0]
    assert set(lower) == {0, 1}
    assert lower.sum() == 650
    assert n_clipped == 0


def test_negative_indices_are_clipped_and_counted() -> None:
    clipping = []
    for n_genes in range(2, 110):
        indices, n_clipped = dense_rank_indices(np.arange(float(n_genes))[None])
        assert indices.min() == 0
        assert n_clipped == sum(_original_index(r, n_genes, n_genes) < 0 for r in range(1, n_genes))
        if n_clipped:
            clipping.append(n_genes)
    assert clipping == [49, 98, 103, 107]


def test_mean_is_right_where_plain_addition_loses_digits() -> None:
    rows = np.array([[1e16, 3.0], [1.0, 0.1], [-1e16, 0.1], [1.0, 0.1]])
    total = RowSum(2)
    total.add(rows)
    exact = [math.fsum(column) / 4 for column in rows.T]
    assert exact[0] == 0.5
    np.testing.assert_array_equal(total.mean(), exact)
    assert rows.mean(axis=0)[0] != exact[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "uint32"])
def test_rows_come_back_as_copies_in_the_order_asked_for(tmp_path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (50, 7)).astype(dtype)
    store = RowStore(tmp_path / "rows", 7, dtype)
    assert len(store) == 0
    assert store.read(slice(None)).shape == (0, 7)
    for block in np.split(values, [3, 4, 30]):
        store.append(block)
    assert len(store) == 50
    order = np.random.default_rng(1).permutation(50)[:20]
    for rows in (order, slice(5, 9), np.array([2, 2, 1]), slice(40, 90)):
        read = store.read(rows)
        np.testing.assert_array_equal(read, values[rows])
        assert read.dtype == np.dtype(dtype)
        assert type(read) is np.ndarray
        read += 1
    np.testing.assert_array_equal(store.read(slice(None)), values)
    for other in (np.zeros((2, 8), dtype), np.zeros((2, 7), "int8")):
        with pytest.raises(TypeError, match=f"rows of 7 {dtype} expected"):
            store.append(other)


@pytest.mark.parametrize("block_size", [13, 1024])
def test_float64_values_are_the_originals(golden_raw, expected, tmp_path, block_size) -> None:
    """Quantile and all standardised values of the recorded study, matched by id, to 1e-12."""
    raw, options = golden_raw, {"block_size": block_size, "tick": _ignore}
    with open_expression(raw.geo) as geo:
        rna = {"GTEx": open_expression(raw.gtex), "1000G": open_expression(raw.thousand_genomes)}
        sides = {name: (file, file) for name, file in rna.items()}
        chosen = select_genes(read_gene_map(raw.landmarks), read_gene_map(raw.targets), geo, sides)
        genes = chosen.all_genes
        probes = store_profiles(geo, np.arange(len(geo.genes)), tmp_path / "probes", **options)
        kept = np.flatnonzero(np.isin(geo.profiles, expected["profiles"]))
        everyone, means = np.ones(len(kept), dtype=bool), ProbeMeans(genes.probes)
        ranks, quantile = normalise_compendium(
            probes, kept, means, everyone, tmp_path / "geo", by_rank=True, **options
        )
        ranked = {"geo": Normalised(tuple(np.array(geo.profiles)[kept]), ranks, quantile)}
    for name, prefix in (("GTEx", "gtex"), ("1000G", "kg")):
        found = normalise_set(rna[name], genes.columns[name], tmp_path / name, "dense", **options)
        assert found.n_clipped == 0
        ranked[prefix] = replace(found, quantile=quantile)
    np.testing.assert_allclose(quantile, expected["quantile"], rtol=0, atol=1e-12)
    ids = {"geo": "profiles", "gtex": "gtex_samples", "kg": "kg_samples"}
    n = len(chosen.landmarks)
    places = {
        "X": _places(genes.ids[:n], expected["landmarks"]),
        "Y": n + _places(genes.ids[n:], expected["targets"]),
    }
    for prefix, data in ranked.items():
        rows = np.arange(len(data.profiles))
        values = np.concatenate(list(data.values(rows, block_size)))
        mean, deviation = mean_and_deviation(
            lambda data=data, rows=rows: data.values(rows, block_size), len(genes)
        )
        scaled = standardise(values, mean, deviation)
        scaled = scaled[_places(data.profiles, expected[ids[prefix]])]
        for kind, columns in places.items():
            wanted = expected[f"{prefix}_{kind}"]
            np.testing.assert_allclose(scaled[:, columns], wanted, rtol=0, atol=1e-12)


def _places(have, wanted) -> np.ndarray:
    place = {name: i for i, name in enumerate(have)}
    assert len(place) == len(wanted)
    return np.array([place[name] for name in wanted])


def _source(values: np.ndarray, tmp_path) -> Expression:
    profiles, genes = (tuple(f"{c}{i}" for i in range(99)) for c in "pg")
    n, n_genes = values.shape
    return Expression(tmp_path / "made.gct", values, profiles[:n], genes[:n_genes])


def test_missing_and_infinite_values_are_counted_and_refused(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(9, 6))
    values[4, 2] = np.nan
    values[7, 5] = np.inf
    source = _source(values, tmp_path)
    options = {"block_size": 2, "tick": _ignore}
    text = r"made.gct: 1 missing and 1 infinite values; .* profile 'p4', gene 'g2'"
    refused(lambda: store_profiles(source, np.arange(6), tmp_path / "a", **options), text)
    for rule in get_args(Rule):

        def normalised(columns, rule=rule):
            return normalise_set(source, np.array(columns), tmp_path / rule, rule, **options)

        refused(lambda of=normalised: of(range(6)), text)
        (tmp_path / rule).unlink()
        refused(lambda of=normalised: of([4, 2, 0, 2]), "1 missing and 0 infinite")
        (tmp_path / rule).unlink()
        assert len(normalised([0, 1, 3, 4]).stored) == 9


@pytest.mark.parametrize("by_rank", [True, False])
def test_the_quantile_is_the_mean_of_reference_profiles_alone(tmp_path, stored, by_rank) -> None:
    values = np.random.default_rng(1).normal(size=(40, 5))
    reference = np.random.default_rng(2).random(30) < 0.5
    rows = np.sort(np.random.default_rng(3).permutation(40)[:30])
    options = {"by_rank": by_rank, "block_size": 7, "tick": _ignore}
    means = ProbeMeans([[g] for g in range(5)])
    found, quantile = normalise_compendium(
        stored(values), rows, means, reference, tmp_path / "r", **options
    )
    by_hand = np.sort(values[rows][reference], axis=1).mean(axis=0)
    np.testing.assert_allclose(quantile, by_hand, rtol=1e-15)
    by_hand = np.argsort(np.argsort(values[rows], axis=1), axis=1)
    wanted = by_hand if by_rank else values[rows].astype(np.float32)
    np.testing.assert_array_equal(found.read(slice(None)), wanted)


def test_clips_are_added_up_and_a_gene_asked_for_twice_counts_twice(tmp_path) -> None:
    options = {"block_size": 2, "tick": _ignore}
    clipped = _source(np.tile(np.arange(49.0), (5, 1)), tmp_path)
    ranked = normalise_set(clipped, np.arange(49), tmp_path / "a", "dense", **options)
    assert ranked.n_clipped == 5
    assert ranked.stored.read(slice(None)).min() == 0
    values = _values(6, 8)
    columns = np.array([5, 2, 7, 2, 5, 0])
    chosen = values[:, columns]
    by_hand = {
        "dense": dense_rank_indices(chosen)[0],
        "ranks": (rankdata(chosen, axis=1) - 1).astype(int),
        "values": chosen.astype(np.float32),
    }
    assert by_hand.keys() == set(get_args(Rule))
    for rule, wanted in by_hand.items():
        source = _source(values, tmp_path)
        ranked = normalise_set(source, columns, tmp_path / rule, rule, **options)
        np.testing.assert_array_equal(ranked.stored.read(slice(None)), wanted)


def test_ranks_fit_their_dtype() -> None:
    sizes = (10_463, 2**16, 2**16 + 1)
    assert [rank_dtype(n) for n in sizes] == [np.uint16, np.uint16, np.uint32]
