from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.models.mlp import MLP
from dgex_jax.training.pylearn2 import initial_weights
from dgex_jax.training.weights import load_weights, save_weights


def halves(hidden_layers: int = 2) -> list:
    return [initial_weights(seed, 7, 4 + seed, hidden_layers, 5) for seed in (1, 2)]


@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_tensors_are_named_in_the_order_of_the_layers(tmp_path, hidden_layers) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, halves(hidden_layers), {"network": "one"})
    tensors = load_file(path)
    sizes = [7, *[5] * hidden_layers]
    for half, n_targets in ((1, 5), (2, 6)):
        for layer, shape in enumerate(zip(sizes, [*sizes[1:], n_targets], strict=True)):
            kernel, bias = tensors.pop(f"half{half}/W{layer}"), tensors.pop(f"half{half}/b{layer}")
            assert kernel.shape == shape
            assert bias.shape == shape[1:]
            assert kernel.dtype == bias.dtype == np.float32
    assert not tensors
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["dgex"]) == {"network": "one"}


def test_the_same_weights_give_the_same_bytes(tmp_path) -> None:
    metadata = {f"key{number}": "value" for number in range(8)}
    for number in range(4):
        save_weights(tmp_path / f"{number}.safetensors", halves(), metadata)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_round_trip_infers_the_same(tmp_path) -> None:
    path = tmp_path / "best.safetensors"
    written = halves()
    save_weights(path, written, {})
    X = np.random.default_rng(1).normal(size=(3, 7)).astype(np.float32)
    for before, after in zip(written, load_weights(path), strict=True):
        model = MLP(2, 5, before["output"]["bias"].size)
        ours, theirs = (model.apply({"params": params}, X) for params in (before, after))
        np.testing.assert_array_equal(ours, theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_columns_of_a_wider_array_are_stored_right(tmp_path) -> None:
    """Weights cut out of a padded array are no contiguous memory."""
    wide = initial_weights(1, 7, 9, 1, 5)
    cut = wide | {
        "output": {"kernel": wide["output"]["kernel"][:, :6], "bias": wide["output"]["bias"][:6]}
    }
    save_weights(tmp_path / "w.safetensors", [cut], {})
    read = load_weights(tmp_path / "w.safetensors")[0]["output"]["kernel"]
    np.testing.assert_array_equal(read, wide["output"]["kernel"][:, :6])


def test_files_that_are_no_weights(tmp_path) -> None:
    good = tmp_path / "good.safetensors"
    save_weights(good, halves(), {})
    tensors = load_file(good)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-10])
    text = tmp_path / "text.safetensors"
    text.write_text("no weights at all")
    lacking = tmp_path / "lacking.safetensors"
    save_file({name: one for name, one in tensors.items() if name != "half2/b1"}, lacking)
    other = tmp_path / "other.safetensors"
    save_file({"weight": np.ones(3, np.float32)}, other)
    for path, cause in (
        (tmp_path / "nothing.safetensors", "can't be read as weights"),
        (tmp_path, "can't be read as weights"),
        (cut, "can't be read as weights"),
        (text, "can't be read as weights"),
        (lacking, "tensor 'half2/b1' is missing"),
        (other, "holds no weights of a D-GEX network"),
    ):
        with pytest.raises(FormatError, match=cause) as caught:
            load_weights(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_place_that_can_not_be_written(tmp_path) -> None:
    with pytest.raises(DgexError, match="nowhere"):
        save_weights(tmp_path / "nowhere" / "w.safetensors", halves(), {})
    assert list(tmp_path.iterdir()) == []
