"""Major weights and hubs are those that plain loops find, and planted ones are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.errors import DgexError
from dgex_jax.weight_hubs import find_hubs

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANDMARKS, UNITS, TARGETS = 30, 120, 80

PLANTED = {  # unit → (landmarks, their sign), (targets, their signs)
    17: ((0, 3), 1, range(40), 1),
    5: ((1,), 1, range(40, 70), -1),
    99: ((2, 4, 6), -1, range(60, 80), 0),
    64: ((), 1, range(10), 1),
    30: ((), 1, range(70, 74), -1),
    31: ((), 1, range(70, 72), -1),
}
"""Hidden units with large weights; sign 0: as many positive as negative ones."""


def _random(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Uniform weights: none lies 4 deviations away from the mean."""
    rng = np.random.default_rng(seed)
    W0 = rng.uniform(-0.02, 0.02, (LANDMARKS, UNITS)).astype(np.float32)
    return W0, rng.uniform(-0.01, 0.01, (UNITS, TARGETS)).astype(np.float32)


def _planted() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    W0, W1 = _random()
    for unit, (landmarks, in_sign, targets, out_sign) in PLANTED.items():
        W0[list(landmarks), unit] = in_sign * (1 + np.arange(len(landmarks)))
        for number, target in enumerate(targets):
            W1[unit, target] = (out_sign or (-1) ** number) * (2 + number / 1000)
    return W0, W1


@pytest.mark.parametrize(("in_sd", "out_sd"), [(4.0, 5.0), (1.5, 2.5), (0.0, 1.0)])
def test_kept_weights_are_those_that_plain_loops_keep(in_sd: float, out_sd: float) -> None:
    rng = np.random.default_rng(1)
    W0 = rng.standard_t(3, (20, 150)).astype(np.float32) + np.float32(0.5)
    W1 = rng.standard_t(3, (150, 25)).astype(np.float32) - np.float32(0.5)
    found = find_hubs(W0, W1, in_sd=in_sd, out_sd=out_sd)
    for weights, kept, threshold in ((W0, found.kept_in, in_sd), (W1.T, found.kept_out.T, out_sd)):
        for row, mask in zip(weights.tolist(), kept, strict=True):
            mean = sum(row) / 150
            sd = (sum((w - mean) ** 2 for w in row) / 150) ** 0.5
            assert mask.tolist() == [abs(w - mean) > threshold * sd for w in row]
    assert found.n_kept_in == found.kept_in.sum() > 0
    assert found.n_kept_out == found.kept_out.sum() > 0


def test_planted_hubs_are_found_with_their_signs_and_connections() -> None:
    found = find_hubs(*_planted())
    # 1 % of 120 units is 1, so the least number of hubs counts: 31 is left out.
    assert [hub.unit for hub in found.hubs] == [17, 5, 99, 64, 30]
    for hub in found.hubs:
        landmarks, _, targets, sign = PLANTED[hub.unit]
        assert (hub.in_degree, hub.out_degree) == (len(landmarks), len(targets))
        assert hub.landmarks.tolist() == list(landmarks)[::-1]
        assert hub.targets.tolist() == list(targets)[::-1]
        assert hub.share_positive == {1: 1.0, -1: 0.0, 0: 0.5}[sign]
        assert hub.of_one_sign == (sign != 0)
    assert found.in_degree[[99, 17, 5, 0]].tolist() == [3, 2, 1, 0]
    assert found.out_degree[[17, 31, 0]].tolist() == [40, 2, 0]


def test_figures_that_test_the_papers_words() -> None:
    found = find_hubs(*_planted())
    assert found.n_kept_in == 6
    assert found.n_kept_out == 106
    assert found.share_landmarks_connected == pytest.approx(6 / LANDMARKS)
    assert found.share_targets_connected == 1.0
    assert found.share_units_unconnected == pytest.approx((UNITS - 6) / UNITS)
    assert found.share_held_by_hubs == pytest.approx(104 / 106)
    assert found.share_hubs_of_one_sign == pytest.approx(4 / 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_sign_nor_mean_nor_scale_of_a_unit_matters(dtype: type) -> None:
    """Two-sided around the mean: negating all weights swaps the signs and nothing else."""
    W0, W1 = (weights.astype(dtype, order="F") for weights in _planted())
    before = W0.copy(), W1.copy()
    found, mirrored = find_hubs(W0, W1), find_hubs(-W0, -W1)
    shifts = np.random.default_rng(5).normal(size=LANDMARKS)[:, np.newaxis]
    moved = find_hubs(
        W0.astype(float) + shifts, W1.astype(float) * np.geomspace(1e-3, 1e3, TARGETS)
    )
    for other in (mirrored, moved, find_hubs(*_planted())):
        np.testing.assert_array_equal(other.kept_in, found.kept_in)
        np.testing.assert_array_equal(other.kept_out, found.kept_out)
    for one, other in zip(found.hubs, mirrored.hubs, strict=True):
        assert (one.n_positive, one.n_negative) == (other.n_negative, other.n_positive)
        assert (one.unit, *one.landmarks) == (other.unit, *other.landmarks)
        np.testing.assert_array_equal(one.targets, other.targets)
    np.testing.assert_array_equal(W0, before[0])
    np.testing.assert_array_equal(W1, before[1])


def test_permuted_hidden_units_permute_the_result() -> None:
    W0, W1 = _planted()
    order = np.random.default_rng(2).permutation(UNITS)
    found, permuted = find_hubs(W0, W1), find_hubs(W0[:, order], W1[order])
    np.testing.assert_array_equal(permuted.in_degree, found.in_degree[order])
    np.testing.assert_array_equal(permuted.out_degree, found.out_degree[order])
    assert [int(order[hub.unit]) for hub in permuted.hubs] == [hub.unit for hub in found.hubs]
    for one, other in zip(permuted.hubs, found.hubs, strict=True):
        np.testing.assert_array_equal(one.targets, other.targets)
        np.testing.assert_array_equal(one.landmarks, other.landmarks)


def _flat_degrees() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """1,000 units, every target connected to one of its own: all output degrees are 1 or 0."""
    W1 = np.zeros((1000, 40), np.float32)
    W1[np.arange(40) * 20 + 7, np.arange(40)] = 1
    return np.zeros((3, 1000), np.float32), W1


def test_hubs_are_one_percent_and_of_equal_degrees_the_first() -> None:
    found = find_hubs(*_flat_degrees())
    assert [hub.unit for hub in found.hubs] == [number * 20 + 7 for number in range(10)]
    assert found.share_held_by_hubs == 0.25
    assert found.share_units_unconnected == 0.96


@pytest.mark.parametrize(
    ("top_share", "at_least", "n_hubs"),
    [(0.01, 20, 20), (0.0, 0, 0), (0.029, 0, 29), (0.0299, 0, 29), (1.0, 5, 40)],
)
def test_number_of_hubs_is_a_setting_and_never_more_than_have_a_connection(
    top_share: float, at_least: int, n_hubs: int
) -> None:
    found = find_hubs(*_flat_degrees(), top_share=top_share, at_least=at_least)
    assert len(found.hubs) == n_hubs
    assert all(hub.out_degree == 1 for hub in found.hubs)


CONSTANT = np.full((4, 50), 0.1, np.float32), np.full((50, 6), -0.3, np.float32)


@pytest.mark.parametrize(
    ("weights", "threshold"),
    [(_random(), 4.0), (CONSTANT, 4.0), (CONSTANT, 0.0), ([0 * W for W in CONSTANT], 0.0)],
    ids=["uniform", "constant", "constant at any threshold", "zero"],
)
def test_nothing_kept_is_an_empty_result(
    weights: tuple[NDArray, NDArray], threshold: float
) -> None:
    found = find_hubs(*weights, in_sd=threshold, out_sd=threshold)
    assert (found.n_kept_in, found.n_kept_out, found.hubs) == (0, 0, ())
    assert not found.in_degree.any()
    assert not found.out_degree.any()
    assert found.share_held_by_hubs is None
    assert found.share_hubs_of_one_sign is None
    assert found.share_landmarks_connected == found.share_targets_connected == 0.0
    assert found.share_units_unconnected == 1.0


@pytest.mark.parametrize(
    ("units", "n_in", "n_out"), [(16, 0, 0), (18, 1, 0), (25, 1, 0), (27, 1, 1)]
)
def test_a_few_hidden_units_can_keep_nothing(units: int, n_in: int, n_out: int) -> None:
    """The farthest one of n values can lie is sqrt(n - 1) deviations."""
    W0, W1 = np.zeros((1, units)), np.zeros((units, 1))
    W0[0, 3] = W1[3, 0] = 1.0
    found = find_hubs(W0, W1)
    assert (found.n_kept_in, found.n_kept_out) == (n_in, n_out)


def test_a_kept_weight_of_zero_has_no_sign() -> None:
    W1 = np.ones((50, 2))
    W1[4] = 0.0
    (hub,) = find_hubs(np.ones((2, 50)), W1).hubs
    assert (hub.unit, hub.out_degree, hub.n_positive, hub.n_negative) == (4, 2, 0, 0)
    assert not hub.of_one_sign


@pytest.mark.parametrize(
    ("W0", "W1", "settings", "cause"),
    [
        (np.ones(3), np.ones((3, 2)), {}, r"W0: must be a matrix of weights, not float64 of shape"),
        (np.ones((0, 3)), np.ones((3, 2)), {}, r"W0: must be a matrix .* of shape \(0, 3\)"),
        (np.ones((2, 3), int), np.ones((3, 2)), {}, "W0: must be a matrix of weights, not int64"),
        (np.ones((2, 3)), np.ones((4, 2)), {}, "W1: has rows for 4 hidden units, .* columns for 3"),
        (np.ones((2, 3)), np.full((3, 2), np.nan), {}, "W1: 6 of 6 .* nan at row 0, column 0"),
        (*_random(), {"in_sd": -1.0}, "in_sd"),
        (*_random(), {"out_sd": np.nan}, "out_sd"),
        (*_random(), {"top_share": 1.5}, "top_share"),
        (*_random(), {"at_least": -1}, "at_least"),
    ],
)
def test_what_does_not_fit_is_refused(
    W0: NDArray, W1: NDArray, settings: dict[str, float], cause: str
) -> None:
    with pytest.raises(DgexError, match=cause):
        find_hubs(W0, W1, **settings)
