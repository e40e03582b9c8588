from __future__ import annotations

from itertools import pairwise

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import MiniBatchKMeans

from dgex_jax.io.progress import Progress
from dgex_jax.prepare import duplicates as closepairs
from dgex_jax.prepare import duplicates as clusters
from dgex_jax.prepare.duplicates import (
    close_pairs,
    cluster_profiles,
    drop_later,
    find_duplicates,
)

SILENT = Progress(show=False)


def _pairs(profiles, **options) -> set[tuple[int, int]]:
    found = [tuple(map(int, p)) for part in _parts(profiles, **options) for p in part]
    assert len(found) == len(set(found))
    return set(found)


def _parts(profiles, seed: int = 1, max_distance: float = 1.0) -> list[np.ndarray]:
    return list(close_pairs(profiles, seed=seed, progress=SILENT, max_distance=max_distance))


def _golden_profiles(golden):
    with h5py.File(golden / "preprocess" / "geo.gctx") as file:
        ids = [name.decode().strip() for name in file["0/META/COL/id"][:]]
        return ids, file["0/DATA/0/matrix"][:]


def test_one_cluster_keeps_exactly_what_the_original_kept(golden, expected, stored) -> None:
    ids, values = _golden_profiles(golden)
    profiles = stored(values)
    labels = cluster_profiles(profiles, seed=1, progress=SILENT, n_clusters=1)
    result = drop_later(len(ids), _parts(profiles), labels)
    assert set(np.array(ids)[result.kept]) == set(expected["profiles"])
    assert result.n_straddling == 0
    assert result.kept.sum() == 260


def test_close_pairs_of_the_recorded_study_are_those_of_scipy(golden, stored) -> None:
    _, values = _golden_profiles(golden)
    apart = squareform(pdist(values.astype(np.float64)))
    expected = {(i, j) for i, j in np.argwhere(np.triu(apart < 1.0, 1))}
    assert _pairs(stored(values)) == expected
    assert len(expected) >= 40


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_probes", [2, 70, 300])
def test_screen_never_loses_a_pair(stored, monkeypatch, dtype, n_probes) -> None:
    """Distances all around the threshold, several tiles, any seed, far from the origin."""
    monkeypatch.setattr(closepairs, "TILE", 16)
    rng = np.random.default_rng(n_probes)
    base = rng.normal(0.0, 4.0, (30, n_probes)).repeat(4, axis=0)
    steps = rng.normal(size=base.shape)
    steps *= rng.uniform(0.3, 0.9, (len(base), 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    values = (base + steps + 1000.0).astype(dtype)
    apart = squareform(pdist(values.astype(np.float64)))
    expected = {(i, j) for i, j in np.argwhere(np.triu(apart < 1.0, 1))}
    assert 20 < len(expected) < 180 or n_probes == 2
    for seed in (1, 2):
        assert _pairs(stored(values), seed=seed) == expected


def test_pairs_across_tiles_along_the_first_axis(stored, monkeypatch) -> None:
    """Profiles on a line, each just close enough to the next one only."""
    monkeypatch.setattr(closepairs, "TILE", 8)
    values = np.zeros((100, 3))
    values[:, 1] = 0.99 * np.random.default_rng(6).permutation(100)
    order = np.argsort(values[:, 1])
    expected = {tuple(sorted(pair)) for pair in pairwise(order)}
    assert _pairs(stored(values)) == expected


def test_threshold_is_strict_and_exact(stored) -> None:
    below, above = np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)
    for distance, close in [(below, True), (1.0, False), (above, False)]:
        values = np.zeros((2, 3))
        values[1, 0] = distance
        assert (_pairs(stored(values)) == {(0, 1)}) is close
    # 0.5² · 4 = 1 exactly, in float32, far from the origin, and one step below.
    values = np.full((3, 4), 4096.0, dtype=np.float32)
    values[1] += 0.5
    values[2] += 0.5
    values[2, 0] -= 2.0**-11
    assert _pairs(stored(values)) == {(0, 2), (1, 2)}


def test_the_pair_that_float32_products_get_wrong(stored) -> None:
    """Squared distance 1.00004 came out as 1.25 from float32 norms and products."""
    rng = np.random.default_rng(0)
    first = rng.normal(8.0, 2.0, 22_268)
    step = rng.normal(size=first.size)
    for squared, close in [(0.99996, True), (1.00004, False)]:
        second = first + step * np.sqrt(squared) / np.linalg.norm(step)
        assert (_pairs(stored(np.array([first, second]))) == {(0, 1)}) is close


def test_identical_profiles_and_a_single_one(stored) -> None:
    assert _pairs(stored(np.ones((4, 3)))) == {(i, j) for i in range(4) for j in range(i + 1, 4)}
    assert _pairs(stored(np.ones((1, 3)))) == set()


@pytest.mark.parametrize(
    ("pairs", "labels", "kept", "counts"),
    [
        # With a ~ b ~ c, c goes because of b although b itself is gone and a is not close to c.
        ([[0, 1], [1, 2]], None, [1, 0, 0, 1], (2, None)),
        ([[0, 1], [1, 2], [2, 5], [3, 4]], [0, 0, 0, 1, 2, 0], [1, 0, 0, 1, 1, 0], (4, 1)),
        ([[0, 1], [1, 2]], [0, 1, 1], [1, 1, 0], (2, 1)),
    ],
    ids=["chain", "order", "clusters"],
)
def test_the_later_of_a_pair_goes_whatever_the_order_of_pairs(pairs, labels, kept, counts) -> None:
    given, clusters = np.array(pairs), None if labels is None else np.array(labels)
    for parts in ([given], list(given[:, None]), [given[1:], given[:1]]):
        result = drop_later(len(kept), parts, clusters)
        np.testing.assert_array_equal(result.kept, np.array(kept, bool))
        assert (result.n_close, result.n_straddling) == counts


def test_rules(golden, stored) -> None:
    _, values = _golden_profiles(golden)
    profiles = stored(values)
    exact = find_duplicates(profiles, "all-pairs", seed=1, progress=SILENT)
    faithful = find_duplicates(profiles, "clusters", seed=1, progress=SILENT)
    nothing = find_duplicates(profiles, "none", seed=1, progress=SILENT)
    assert exact.kept.sum() == 260
    assert exact.n_straddling is None
    assert faithful.n_close == exact.n_close
    assert (exact.kept <= faithful.kept).all()
    assert faithful.kept.sum() - exact.kept.sum() <= faithful.n_straddling
    assert nothing.kept.all()
    assert (nothing.n_close, nothing.n_straddling) == (None, None)


def _blobs(n: int = 240) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.normal(0.0, 60.0, (6, 40)).repeat(n // 6, axis=0) + rng.normal(size=(n, 40))


def test_clusters_find_separate_groups(stored) -> None:
    values = _blobs()
    labels = cluster_profiles(stored(values), seed=3, progress=SILENT, n_clusters=6)
    groups = labels.reshape(6, -1)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0])) == 6


def test_clusters_are_seeded_and_in_float64(stored) -> None:
    values = _blobs().astype(np.float32)
    first, again, wide = (
        cluster_profiles(stored(v), seed=3, progress=SILENT)
        for v in (values, values, values.astype(np.float64))
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, wide)


def test_streamed_clustering_is_about_as_good_as_fit(stored, monkeypatch) -> None:
    """Same data, same batches: inertia within a few per cent of scikit-learn's own `fit`."""
    monkeypatch.setattr(clusters, "BATCH", 100)
    monkeypatch.setattr(clusters, "FIRST_PROFILES", 300)
    values = np.random.default_rng(9).normal(size=(1_050, 8)) * [9, 5, 3, 2, 1, 1, 1, 1]
    labels = cluster_profiles(stored(values), seed=1, progress=SILENT, n_clusters=12)
    centres = np.array([values[labels == c].mean(axis=0) for c in np.unique(labels)])
    assert len(centres) == 12
    inertia = ((values - centres[labels]) ** 2).sum()
    fits = [
        MiniBatchKMeans(12, batch_size=100, max_iter=10, random_state=s).fit(values).inertia_
        for s in range(5)
    ]
    assert inertia < 1.1 * np.mean(fits)


def test_stopping_rule_is_that_of_fit(monkeypatch) -> None:
    """Fed with the inertias of a run of `fit`, it stops at the same step."""
    seen: list[float] = []
    original = MiniBatchKMeans._mini_batch_convergence

    def spy(self, *arguments):
        seen.append(float(arguments[-1]))
        return original(self, *arguments)

    monkeypatch.setattr(MiniBatchKMeans, "_mini_batch_convergence", spy)
    values = np.random.default_rng(2).normal(size=(2_000, 5))
    model = MiniBatchKMeans(10, batch_size=100, random_state=0).fit(values)
    rule = clusters._SmoothedInertia(len(values))
    stops = [rule.stalled(inertia, 100) for inertia in seen[1:]]
    assert stops.index(True) == len(stops) - 1 == model.n_steps_ - 2


@pytest.mark.parametrize("n_profiles", [1, 2, 5, 101, 1_001])
def test_studies_smaller_than_a_batch_and_short_last_batches(stored, n_profiles: int) -> None:
    values = np.random.default_rng(n_profiles).normal(size=(n_profiles, 4))
    values[-1] = values[0]
    labels = cluster_profiles(stored(values), seed=1, progress=SILENT)
    assert labels.shape == (n_profiles,)
    assert labels.max() < min(100, n_profiles)
    assert labels[-1] == labels[0]
