"""Shuffles, sizes of the parts, and halves of the targets: at random or by clusters."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from dgex_jax.config import PrepareConfig
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.split import (
    STREAMS,
    clustered_order,
    half_slices,
    random_stream,
    shuffled,
    split_sizes,
)
from tests.prepare.checks import datasets

CLUSTERED = PrepareConfig(duplicates="none", partition="clustered")


def test_the_papers_sizes() -> None:
    sizes = split_sizes(111_009)
    assert sizes == (88_807, 11_101, 11_101)
    assert sizes.slices["test"] == slice(99_908, 111_009)
    assert half_slices(9_520) == (slice(0, 4_760), slice(4_760, 9_520))
    assert half_slices(45) == (slice(0, 22), slice(22, 45))


def test_streams_are_legacy_numpy_and_independent() -> None:
    expected = np.random.RandomState([7, STREAMS["targets"]]).permutation(100)
    np.testing.assert_array_equal(shuffled(7, "targets", 100), expected)
    assert len(set(STREAMS.values())) == len(STREAMS)
    orders = {tuple(shuffled(7, name, 100)) for name in STREAMS}
    assert len(orders) == len(STREAMS)
    assert tuple(shuffled(8, "targets", 100)) not in orders
    assert random_stream(2**32 - 1, "profiles").randint(10) in range(10)


def halves(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = (order[half] for half in half_slices(len(order)))
    return first, second


def planted(n_first: int, n_second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets of two clusters, shuffled, each with a scale and a mean of its own."""
    rng = np.random.default_rng(seed)
    is_second = rng.permutation(np.arange(n_first + n_second) >= n_first)
    signals = rng.normal(size=(60, 2))
    values = signals[:, is_second.astype(int)] + 0.5 * rng.normal(size=(60, len(is_second)))
    scales = np.exp(rng.normal(size=len(is_second)))
    return values * scales + 10 * rng.normal(size=len(is_second)), is_second


@pytest.mark.parametrize("n_first", [0, 3, 12, 24])
def test_unequal_clusters_make_equal_halves(n_first) -> None:
    """The smaller cluster stays whole, filled up from the larger one."""
    values, is_second = planted(n_first, 25 - n_first, 2)
    order = clustered_order(values, seed=1)
    assert sorted(order) == list(range(25))
    first, second = halves(order)
    assert (len(first), len(second)) == (12, 13)
    for half in (first, second):
        np.testing.assert_array_equal(half, np.sort(half))
    smaller = np.flatnonzero(is_second if is_second.sum() < 12 else ~is_second)
    assert set(smaller) <= set(first) or set(smaller) <= set(second)


def spread(values: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Squared distance of unit vectors from the means of their halves, by correlations.

    Of n vectors of length 1 that is n minus the sum of all their products over n.
    """
    products = np.corrcoef(values.T)
    return sum(len(h) - products[np.ix_(h, h)].sum() / len(h) for h in (one, other))


def test_no_halves_at_all_are_tighter() -> None:
    """Of few targets every partition can be tried."""
    values, _ = planted(4, 7, 4)
    first, second = halves(clustered_order(values.copy(), seed=1))
    everything = set(range(11))
    tightest = min(
        spread(values, np.array(half), np.array(sorted(everything - set(half))))
        for half in combinations(range(11), 5)
    )
    assert spread(values, first, second) == pytest.approx(tightest, rel=1e-12)


def test_alike_and_constant_targets() -> None:
    np.testing.assert_array_equal(clustered_order(np.ones((7, 5)), 1), np.arange(5))
    np.testing.assert_array_equal(clustered_order(np.arange(7.0)[:, None], 1), [0])
    values, is_second = planted(10, 10, 5)
    constant = np.insert(values, [3, 9], 0.1, axis=1)
    first, second = halves(clustered_order(constant, seed=1))
    kept = np.delete(np.arange(22), [3, 10])
    for half in (first, second):
        assert len({bool(is_second[np.searchsorted(kept, t)]) for t in half if t in kept}) == 1


@pytest.mark.parametrize("n_targets", [45, 44])
@pytest.mark.parametrize("scale_on", ["all", "train"])
def test_all_of_a_target_moves_together(
    run_prepare, golden_raw, tmp_path, n_targets, scale_on
) -> None:
    """By id nothing but the half differs from the random study's file."""
    lines = golden_raw.targets.read_text().splitlines()[:n_targets]
    (tmp_path / "targets.txt").write_text("\n".join(lines) + "\n")
    files = replace(golden_raw, targets=tmp_path / "targets.txt")
    found = {}
    for name in ("random", "clustered"):
        config = replace(CLUSTERED, scale_on=scale_on, partition=name)
        run_prepare(files, tmp_path / f"{name}.h5", config)
        found[name] = datasets(tmp_path / f"{name}.h5")
    random, clustered = found["random"], found["clustered"]
    assert random.keys() == clustered.keys()
    place = {target: column for column, target in enumerate(random["targets"])}
    order = np.array([place[target] for target in clustered["targets"]])
    assert sorted(order) == list(range(n_targets))
    assert not np.array_equal(order, np.arange(n_targets))
    moved = {
        "targets",
        *(f"target_info/{name}" for name in ("symbol", "probes", "entrez", "copy_of_landmark")),
    }
    moved |= {
        f"{group}/{kind}"
        for group in ("compendium", "sets/GTEx", "sets/1000G")
        for kind in ("Y_mean", "Y_sd")
    }
    for name, values in random.items():
        by_target = values[order] if name in moved else values
        wanted = values[:, order] if name.endswith("/Y") else by_target
        np.testing.assert_array_equal(clustered[name], wanted, err_msg=name)
    sizes = [n_targets // 2, n_targets - n_targets // 2]
    assert np.bincount(clustered["target_info/half"])[1:].tolist() == sizes
    # In a half the targets stay as they were shuffled.
    for half in halves(order):
        np.testing.assert_array_equal(half, np.sort(half))
    with open_prepared(tmp_path / "clustered.h5") as study:
        for half, size in zip(study.halves, sizes, strict=True):
            assert study.Y("te", half).shape[1] == size


def test_targets_of_a_half_are_more_alike_on_profiles_never_looked_at(
    run_prepare, golden_raw, tmp_path
) -> None:
    alike = {}
    for name in ("random", "clustered"):
        run_prepare(golden_raw, tmp_path / f"{name}.h5", replace(CLUSTERED, partition=name))
        with open_prepared(tmp_path / f"{name}.h5") as study:
            Y = np.concatenate([study.Y("va"), study.Y("te")])
            n_profiles = study.n_profiles("tr")
            values = study.Y("tr")
        columns = half_slices(Y.shape[1])
        first, second = (np.arange(Y.shape[1])[half] for half in columns)
        alike[name] = spread(Y, first, second), spread(values, first, second)
    assert n_profiles == 240
    assert alike["clustered"][0] < alike["random"][0] - 0.5
    assert alike["clustered"][1] < alike["random"][1] - 0.5


@pytest.mark.parametrize("scale_on", ["all", "train"])
def test_profiles_of_validation_and_test_do_not_count(
    run_prepare, disturb, golden_raw, tmp_path, scale_on
) -> None:
    config = replace(CLUSTERED, scale_on=scale_on)
    run_prepare(golden_raw, tmp_path / "before.h5", config)
    old = datasets(tmp_path / "before.h5")

    def targets_after(part: str) -> list[str]:
        rows = np.concatenate([old[f"compendium/split/{name}"] for name in part.split()])
        changed = disturb(set(old["compendium/profiles"][rows]))
        run_prepare(changed, tmp_path / "after.h5", config)
        new = datasets(tmp_path / "after.h5")
        np.testing.assert_array_equal(new["compendium/profiles"], old["compendium/profiles"])
        assert (new["compendium/X"][rows] != old["compendium/X"][rows]).any()
        return new["targets"].tolist()

    assert targets_after("validation test") == old["targets"].tolist()
    assert targets_after("train") != old["targets"].tolist()
