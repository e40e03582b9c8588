"""Weights on disk, and the checksums and hashes that ``done.json`` tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.train.pylearn2 import initial_weights
from dgex_jax.train.record import load_weights, read_gene_errors, save_weights
from tests.train.case import same

if TYPE_CHECKING:
    from collections.abc import Callable


def halves(hidden_layers: int = 2) -> list[Any]:
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
            assert (kernel.shape, bias.shape) == (shape, shape[1:])
            assert kernel.dtype == bias.dtype == np.float32
    assert not tensors
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["dgex"]) == {"network": "one"}
    same(load_weights(path), halves(hidden_layers))
    assert [one.name for one in tmp_path.iterdir()] == ["best.safetensors"]


def test_the_same_weights_give_the_same_bytes(tmp_path) -> None:
    metadata = {f"key{number}": "value" for number in range(8)}
    for number in range(4):
        save_weights(tmp_path / f"{number}.safetensors", halves(), metadata)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_columns_of_a_wider_array_are_stored_right(tmp_path) -> None:
    """Weights cut out of a padded array are no contiguous memory."""
    wide = initial_weights(1, 7, 9, 1, 5)
    cut = wide | {"output": {kind: leaf[..., :6] for kind, leaf in wide["output"].items()}}
    save_weights(tmp_path / "w.safetensors", [cut], {})
    same(load_weights(tmp_path / "w.safetensors"), [cut])


def rewritten(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    return lambda path: save_file(change(load_file(path)), path)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "can't be read as weights"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "can't be read as weights"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-10]), "can't be read as weights"),
    "text": (lambda path: path.write_text("no weights at all"), "can't be read as weights"),
    "lacking": (
        rewritten(lambda all_: {name: one for name, one in all_.items() if name != "half2/b1"}),
        "tensor 'half2/b1' is missing",
    ),
    "other": (
        rewritten(lambda _all: {"weight": np.ones(3, np.float32)}),
        "holds no weights of a D-GEX network",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_are_no_weights(tmp_path, fault) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, halves(), {})
    spoil, cause = FAULTS[fault]
    spoil(path)
    with pytest.raises(FormatError, match=cause) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_place_that_can_not_be_written(tmp_path) -> None:
    with pytest.raises(DgexError, match="nowhere"):
        save_weights(tmp_path / "nowhere" / "w.safetensors", halves(), {})
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_errors_has_any_parts_but_at_least_one(tmp_path) -> None:
    path = tmp_path / "errors.tsv"
    table = pd.DataFrame({"target": ["a"], "copy_of_landmark": ["0"]})
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(FormatError, match=r"no table of errors per gene \('MAE_'\)") as told:
        read_gene_errors(path)
    assert str(told.value).startswith(f"{path}: ")
    table.assign(MAE_mine="0.25", MAE_te="0.5").to_csv(path, sep="\t", index=False)
    found = {part: mae.tolist() for part, mae in read_gene_errors(path).mae.items()}
    assert found == {"mine": [0.25], "te": [0.5]}
