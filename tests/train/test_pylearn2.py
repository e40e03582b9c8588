"""The original's random streams, against Python 2.7 and the recorded runs."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from dgex_jax.train.pylearn2 import (
    batch_orders,
    initial_weights,
    learning_rate_scales,
    monitored_profiles,
)

# Answers of Python 2.7.18: random.seed(0); x = random.sample(range(n), k): n, k, the first of x,
# and the sum of (j + 1)·x[j], which tells orders apart. The first table draws from a pool, the
# second redraws repeats; 21, 85 and 1045 are the largest populations of the first kind for their k.
# The last are the paper's.
POOL = [
    (1, 1, [0], 0),
    (5, 3, [4, 3, 1], 13),
    (10, 10, [8, 6, 3, 1, 7, 2, 5, 0, 4, 9], 241),
    (21, 5, [17, 15, 7, 4, 8], 124),
    (85, 6, [71, 63, 34, 21, 41, 32], 780),
    (100, 30, [84, 75, 41, 25, 49, 38], 27_775),
    (1045, 300, [882, 791, 438, 269, 532, 421], 24_059_731),
    (4000, 1000, [3377, 3031, 1681, 1034, 2043, 1617], 1_005_976_373),
    (5000, 5000, [4222, 3789, 2102, 1293, 2554, 2022], 31_177_667_662),
    (6000, 5000, [5066, 4546, 2522, 1552, 3065, 2427], 37_760_075_487),
]
REDRAW = [
    (22, 5, [18, 16, 9, 5, 11], 152),
    (86, 6, [72, 65, 36, 22, 43, 34], 817),
    (277, 6, [233, 209, 116, 71, 141, 112], 2_660),
    (278, 6, [234, 210, 116, 71, 142, 112], 2_668),
    (1046, 300, [883, 792, 439, 270, 534, 423], 22_972_486),
    (1207, 300, [1019, 914, 507, 312, 617, 488], 26_619_594),
    (88_807, 5000, [74990, 67311, 37349, 22993, 45404, 35960], 561_222_072_915),
]


@pytest.mark.parametrize(("n", "k", "first", "checksum"), POOL + REDRAW)
def test_sample_is_python_27s(n, k, first, checksum) -> None:
    drawn = monitored_profiles(n, k)
    assert drawn.dtype == np.int32
    assert drawn[: len(first)].tolist() == first
    assert (np.arange(1, k + 1) * drawn.astype(np.int64)).sum() == checksum
    assert len(set(drawn.tolist())) == len(drawn) == k


@pytest.mark.parametrize("n", [3, 5, 4999])
def test_smaller_studies_monitor_every_profile(n) -> None:
    assert sorted(monitored_profiles(n, 5000)) == list(range(n))


def test_batch_orders_of_the_papers_size() -> None:
    first, second = islice(batch_orders(88_807), 2)
    assert first[:5].tolist() == [15584, 19386, 52119, 55241, 72747]
    assert second[:3].tolist() == [3267, 71774, 52702]
    for order in (first, second):
        assert order.dtype == np.int32
        np.testing.assert_array_equal(np.sort(order), np.arange(88_807))


def test_first_weights_of_the_papers_narrowest_network() -> None:
    kernel = initial_weights(1, 943, 4760, 1, 3000)["hidden1"]["kernel"]
    assert kernel.shape == (943, 3000)
    np.testing.assert_allclose(
        kernel[0, :3], [-0.00647374, 0.01718917, -0.03899984], rtol=0, atol=5e-9
    )


@pytest.mark.parametrize(("name", "layers", "units"), [("one", 1, 48), ("two", 2, 32)])
def test_recorded_streams_follow_from_the_seeds(golden, name, layers, units) -> None:
    with np.load(golden / f"run_a_{name}_layer{'s' * (layers > 1)}.npz") as run:
        recorded = dict(run)
    params = initial_weights(1, 24, 40, layers, units)
    for layer, key in enumerate([*(f"hidden{i + 1}" for i in range(layers)), "output"]):
        for kind, letter in (("kernel", "W"), ("bias", "b")):
            drawn = params[key][kind]
            assert drawn.dtype == np.float32
            np.testing.assert_array_equal(drawn, recorded[f"init_{letter}{layer}"])
    orders = np.stack(list(islice(batch_orders(1207), len(recorded["orders"]))))
    np.testing.assert_array_equal(orders, recorded["orders"])
    np.testing.assert_array_equal(monitored_profiles(1207, 300), recorded["monitor"])


def test_weight_seeds_differ_and_each_repeats_itself() -> None:
    kernels = [initial_weights(seed, 4, 3, 2, 5)["hidden2"]["kernel"] for seed in (1, 2, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], kernels[1])


def test_later_weights_learn_three_times_as_fast() -> None:
    assert learning_rate_scales(3) == {
        "hidden1": {"kernel": 1.0, "bias": 1.0},
        "hidden2": {"kernel": 3.0, "bias": 1.0},
        "hidden3": {"kernel": 3.0, "bias": 1.0},
        "output": {"kernel": 3.0, "bias": 1.0},
    }
    assert learning_rate_scales(1)["output"] == {"kernel": 3.0, "bias": 1.0}
