"""What values look like, and columns that are no profiles."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import Expression, View
from dgex_jax.prepare.looks import Look, Watched, check_look, without_annotation

WIDE = 12_000
GENES = tuple(f"g{n}" for n in range(400))


def profiles(n: int, seed: int = 1) -> np.ndarray:
    """Expression values of a platform: genes differ more than profiles do."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(3, 2, (1, len(GENES))) + rng.normal(0, 0.5, (n, len(GENES))))


def ids(n: int) -> list[str]:
    return [f"p{k}" for k in range(n)]


def seen(values: np.ndarray, names: list[str], *cuts: int) -> Look:
    look = Look(Path("a"), GENES)
    bounds = [0, *cuts, len(values)]
    for start, stop in itertools.pairwise(bounds):
        look.add(values[start:stop], names[start:stop])
    return look


LENGTHS = np.random.default_rng(5).integers(200, 9000, len(GENES)).astype(float)
SCORES = np.random.default_rng(6).uniform(0, 100, len(GENES))


@pytest.mark.parametrize("odd", [LENGTHS, SCORES], ids=["whole numbers", "fractions"])
@pytest.mark.parametrize("n", [1, 2, 5, 30, 700])
@pytest.mark.parametrize("counts", [False, True])
def test_a_column_unlike_all_others(odd, n, counts) -> None:
    values = profiles(n)
    if counts:
        values, odd = np.round(values * 10), np.round(odd)
    place = n // 2
    made = np.insert(values, place, odd, axis=0)
    names = ids(n)
    names.insert(place, "what")
    with pytest.raises(FormatError, match="what"):
        check_look(seen(made, names), "rnaseq", force=False, annotates=True)
    _, warnings = check_look(seen(made, names), "rnaseq", force=True, annotates=True)
    assert len(warnings) == 1
    # Nothing is found among the profiles themselves.
    assert check_look(seen(values, ids(n)), "rnaseq", force=False, annotates=True)[1] == []


def test_a_few_genes_say_nothing() -> None:
    look = Look(Path("a"), GENES[:100])
    made = np.vstack([profiles(5), LENGTHS])[:, :100]
    look.add(made, ids(6))
    assert check_look(look, "rnaseq", force=False, annotates=True)[1] == []


@pytest.mark.parametrize("cuts", [(1,), (511, 513), (100, 101, 600, 1100), (512, 1024)])
def test_any_cut_says_the_same(cuts) -> None:
    values = profiles(1200)
    values[700] = LENGTHS
    names = ids(1200)
    whole, other = seen(values, names), seen(values, names, *cuts)
    for look in (whole, other):
        look.finish()
    assert other.unlike() == whole.unlike()
    assert (other.kind, other.large) == (whole.kind, whole.large)
    z = (values - values.mean(axis=0)) / values.std(axis=0)
    assert seen(z, names, *cuts).fault("rnaseq") == seen(z, names).fault("rnaseq")


def source(values: np.ndarray, names: list[str]) -> Expression:
    return Expression(Path("a.tsv"), values, tuple(names), GENES)


@pytest.mark.parametrize("name", ["anything", "row sums"])
@pytest.mark.parametrize("statistic", [np.sum, np.mean])
def test_the_sum_of_the_others_is_no_profile_whatever_its_name(name, statistic) -> None:
    values = profiles(6)
    made = np.vstack([values, np.round(statistic(values, axis=0), 2)])
    left, notes = without_annotation(source(made, [*ids(6), name]), force=False)
    assert isinstance(left, View)
    assert left.profiles == tuple(ids(6))
    np.testing.assert_array_equal(left.read(), values)
    assert notes == [f"columns of annotation, no profiles: {name!r}"]
    with pytest.raises(FormatError, match="take it out of the table"):
        without_annotation(source(made, [*ids(6), name]), force=False, training=True)


def test_profiles_that_are_all_the_same_are_no_sums() -> None:
    same = source(np.tile(profiles(1), (5, 1)), ids(5))
    assert without_annotation(same, force=False) == (same, [])


def test_nothing_but_annotation() -> None:
    only = source(np.vstack([LENGTHS, SCORES]), ["Length", "GC"])
    with pytest.raises(FormatError, match=r"all its profiles \(Length, GC\) are called as"):
        without_annotation(only, force=False)


def test_one_negative_count_is_seen_among_any_number_of_genes() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(30, (3, WIDE)).astype(float)
    counts[1, 7] = -1
    genes = tuple(f"g{n}" for n in range(WIDE))
    file = Watched(Expression(Path("a"), counts, ("p", "q", "r"), genes))
    file.read()
    with pytest.raises(FormatError, match=r"has 1 negative values .*profile 'q', gene 'g7'"):
        file.verdict("rnaseq", "counts", force=False)


def test_genes_that_nobody_expresses_make_no_sum() -> None:
    values = profiles(3)
    values[:, 30:] = 0
    values[:, :30] = np.random.default_rng(2).integers(1, 1000, (3, 30))
    assert without_annotation(source(values, ids(3)), force=False)[1] == []
    made = np.vstack([values, values.sum(axis=0)])
    left, _ = without_annotation(source(made, [*ids(3), "x"]), force=False)
    assert left.profiles == tuple(ids(3))
