from __future__ import annotations

import numpy as np
import pytest

from dgex_jax.data.genemap import read_gene_map
from dgex_jax.data.genes import select_genes
from dgex_jax.data.normalize import ProbeMeans, dense_rank_indices, standardise
from dgex_jax.data.ranking import Ranked, blocks_of, rank_dtype, rank_geo, rank_rna, store_profiles
from dgex_jax.data.summation import mean_and_deviation
from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.opening import open_expression


def _ignore(_: int) -> None:
    pass


@pytest.mark.parametrize("block_size", [13, 1024])
def test_float64_values_are_the_originals(golden_raw, expected, tmp_path, block_size) -> None:
    """Quantile and all standardised values of the recorded study, matched by id, to 1e-12."""
    raw, options = golden_raw, {"block_size": block_size, "tick": _ignore}
    with open_expression(raw.geo) as geo:
        rna = {"GTEx": open_expression(raw.gtex), "1000G": open_expression(raw.thousand_genomes)}
        chosen = select_genes(read_gene_map(raw.landmarks), read_gene_map(raw.targets), geo, rna)
        genes = chosen.all_genes
        probes = store_profiles(geo, np.arange(len(geo.genes)), tmp_path / "probes", **options)
        kept = np.flatnonzero(np.isin(geo.profiles, expected["profiles"]))
        ranks, quantile = rank_geo(
            probes,
            kept,
            ProbeMeans(genes.probes),
            np.ones(len(kept), dtype=bool),
            tmp_path / "geo",
            n_genes=len(genes),
            **options,
        )
        ranked = {"geo": Ranked(tuple(np.array(geo.profiles)[kept]), ranks)}
    for name, prefix in (("GTEx", "gtex"), ("1000G", "kg")):
        ranked[prefix] = rank_rna(rna[name], genes.columns[name], tmp_path / name, **options)
        assert ranked[prefix].n_clipped == 0
    np.testing.assert_allclose(quantile, expected["quantile"], rtol=0, atol=1e-12)
    ids = {"geo": "profiles", "gtex": "gtex_samples", "kg": "kg_samples"}
    for prefix, data in ranked.items():
        rows = np.arange(len(data.profiles))
        values = np.concatenate(list(data.values(quantile, rows, block_size)))
        mean, deviation = mean_and_deviation(
            lambda data=data, rows=rows: data.values(quantile, rows, block_size), len(genes)
        )
        scaled = standardise(values, mean, deviation)
        scaled = scaled[_places(data.profiles, expected[ids[prefix]])]
        n_landmarks = len(chosen.landmarks)
        parts = {
            "X": scaled[:, :n_landmarks][
                :, _places(genes.ids[:n_landmarks], "landmarks", expected)
            ],
            "Y": scaled[:, n_landmarks:][:, _places(genes.ids[n_landmarks:], "targets", expected)],
        }
        for kind, found in parts.items():
            np.testing.assert_allclose(found, expected[f"{prefix}_{kind}"], rtol=0, atol=1e-12)


def _places(have, wanted, expected=None) -> np.ndarray:
    wanted = wanted if expected is None else expected[wanted]
    place = {name: i for i, name in enumerate(have)}
    assert len(place) == len(wanted)
    return np.array([place[name] for name in wanted])


def _source(values: np.ndarray, tmp_path) -> Expression:
    n_profiles, n_genes = values.shape
    return Expression(
        tmp_path / "made.gct",
        values,
        tuple(f"p{i}" for i in range(n_profiles)),
        tuple(f"g{i}" for i in range(n_genes)),
    )


def test_missing_and_infinite_values_are_counted_and_refused(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(9, 6))
    values[4, 2] = np.nan
    values[7, 5] = np.inf
    source = _source(values, tmp_path)
    options = {"block_size": 2, "tick": _ignore}
    text = r"made.gct: 1 missing and 1 infinite values; .* profile 'p4', gene 'g2'"
    with pytest.raises(FormatError, match=text):
        store_profiles(source, np.arange(6), tmp_path / "a", **options)
    with pytest.raises(FormatError, match=text):
        rank_rna(source, np.arange(6), tmp_path / "b", **options)
    with pytest.raises(FormatError, match="1 missing and 0 infinite"):
        rank_rna(source, np.array([4, 2, 0, 2]), tmp_path / "twice", **options)
    unaffected = np.array([0, 1, 3, 4])
    assert len(rank_rna(source, unaffected, tmp_path / "c", **options).ranks) == 9


def test_the_quantile_is_the_mean_of_the_reference_profiles_alone(tmp_path, stored) -> None:
    values = np.random.default_rng(1).normal(size=(40, 5))
    reference = np.random.default_rng(2).random(30) < 0.5
    rows = np.sort(np.random.default_rng(3).permutation(40)[:30])
    options = {"n_genes": 5, "block_size": 7, "tick": _ignore}
    means = ProbeMeans([[g] for g in range(5)])
    ranks, quantile = rank_geo(stored(values), rows, means, reference, tmp_path / "r", **options)
    by_hand = np.sort(values[rows][reference], axis=1).mean(axis=0)
    np.testing.assert_allclose(quantile, by_hand, rtol=1e-15)
    np.testing.assert_array_equal(
        ranks.read(slice(None)), np.argsort(np.argsort(values[rows], axis=1), axis=1)
    )


def test_clips_are_added_up_over_blocks(tmp_path) -> None:
    values = np.tile(np.arange(49.0), (5, 1))
    ranked = rank_rna(
        _source(values, tmp_path), np.arange(49), tmp_path / "r", block_size=2, tick=_ignore
    )
    assert ranked.n_clipped == 5
    assert ranked.ranks.read(slice(None)).min() == 0


def test_a_gene_asked_for_twice_is_ranked_twice(tmp_path) -> None:
    values = np.random.default_rng(4).normal(size=(6, 8))
    columns = np.array([5, 2, 7, 2, 5, 0])
    source = _source(values, tmp_path)
    ranked = rank_rna(source, columns, tmp_path / "r", block_size=4, tick=_ignore)
    expected, _ = dense_rank_indices(values[:, columns])
    np.testing.assert_array_equal(ranked.ranks.read(slice(None)), expected)


def test_ranks_fit_their_dtype() -> None:
    assert rank_dtype(10_463) == np.uint16
    assert rank_dtype(2**16) == np.uint16
    assert rank_dtype(2**16 + 1) == np.uint32


def test_blocks_cover_everything_once() -> None:
    assert [list(range(20))[part] for part in blocks_of(20, 8)] == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 20)),
    ]
    assert list(blocks_of(0, 8)) == []
