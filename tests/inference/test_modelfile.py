"""A model folder comes back to the last bit, and is whole or not there."""

from __future__ import annotations

import builtins
import dataclasses
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from dgex_jax.errors import DgexError
from dgex_jax.inference import modelfile
from dgex_jax.inference.modelfile import read_model, write_model

FILES = ["genes.tsv", "model.json", "reference.safetensors", "weights.safetensors"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"hidden_layers": 1, "half_sizes": (1,)},
        {"hidden_layers": 3, "half_sizes": (1, 2), "selected_on": "1000G"},
        {"bare": True},
    ],
)
def test_round_trip_to_the_last_bit(new_model, same, tmp_path, kind) -> None:
    model = new_model(**kind)
    write_model(tmp_path / "one", model)
    read = read_model(tmp_path / "one")
    same(model, read)
    assert names(tmp_path / "one") == FILES
    # What was read is written in the very bytes it was read from, and so is the model itself.
    write_model(tmp_path / "two", read)
    write_model(tmp_path / "three", model)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")
    assert names(tmp_path) == ["one", "three", "two"]


def test_everybody_may_read_who_may_read_the_folder(new_model, tmp_path) -> None:
    write_model(tmp_path / "model", new_model())
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
    assert modes == {stat.S_IMODE((tmp_path / "plain").stat().st_mode)}


def test_weights_say_that_data_are_simulated(new_model, tmp_path) -> None:
    write_model(tmp_path / "model", new_model())
    with safe_open(tmp_path / "model" / "weights.safetensors", "numpy") as file:
        assert '"data": "simulated"' in file.metadata()["dgex"]


def test_reading_unpickles_and_runs_nothing(new_model, same, tmp_path, monkeypatch) -> None:
    model = new_model()
    write_model(tmp_path / "model", model)

    def fail(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a model must not be able to run code")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, fail)
    read = read_model(tmp_path / "model")
    monkeypatch.undo()
    same(model, read)


def test_a_model_is_replaced_only_on_request(new_model, same, tmp_path) -> None:
    path = tmp_path / "model"
    old, new = new_model(seed=1), new_model(seed=2, bare=True)
    write_model(path, old)
    with pytest.raises(DgexError, match=r"model: holds a model; choose another .* --overwrite"):
        write_model(path, new)
    same(old, read_model(path))
    write_model(path, new, overwrite=True)
    same(new, read_model(path))
    assert names(tmp_path) == ["model"]


def test_a_damaged_model_can_be_replaced(new_model, same, tmp_path) -> None:
    path = tmp_path / "model"
    write_model(path, new_model())
    (path / "model.json").write_bytes(b"{")
    (path / "genes.tsv").unlink()
    write_model(path, new_model(seed=2), overwrite=True)
    same(new_model(seed=2), read_model(path))


def test_folders_of_others_are_left_alone(new_model, tmp_path) -> None:
    model = new_model()
    file = tmp_path / "file"
    file.write_text("mine")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("mine")
    noted = tmp_path / "noted"
    write_model(noted, model)
    (noted / "notes.txt").write_text("mine")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "weights.safetensors").write_text("mine")
    for path, cause in (
        (file, "is a file, not a model folder"),
        (photos, "is no model folder: it holds cat.jpg"),
        (noted, "is no model folder: it holds notes.txt"),
        (weights, "is no model folder: it holds weights.safetensors but no model.json"),
        (file / "model", "can't be"),
        (tmp_path / "no" / "model", "can't be written: No such file or directory"),
    ):
        before = names(tmp_path)
        with pytest.raises(DgexError) as caught:
            write_model(path, model, overwrite=True)
        assert str(caught.value).startswith(f"{path}: {cause}")
        assert "\n" not in str(caught.value)
        assert names(tmp_path) == before
    assert (photos / "cat.jpg").read_text() == (noted / "notes.txt").read_text() == "mine"


def test_empty_folders_links_and_long_names(new_model, same, tmp_path) -> None:
    model = new_model()
    (tmp_path / "empty").mkdir()
    write_model(tmp_path / "empty", model)
    same(model, read_model(tmp_path / "empty"))
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write_model(tmp_path / "link", new_model(seed=2), overwrite=True)
    assert (tmp_path / "link").is_symlink()
    same(new_model(seed=2), read_model(tmp_path / "empty"))
    write_model(tmp_path / ("n" * 250), model)
    same(model, read_model(str(tmp_path / ("n" * 250))))


def with_weights(model, change):
    """The model with its first kernel changed."""
    halves = [{name: dict(layer) for name, layer in half.items()} for half in model.halves]
    halves[0]["hidden1"]["kernel"] = change(halves[0]["hidden1"]["kernel"].copy())
    return dataclasses.replace(model, halves=halves)


def first(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed.flat[0] = value
    return changed


def with_genes(model, **changes):
    return dataclasses.replace(model, targets=dataclasses.replace(model.targets, **changes))


MISFITS = {
    "nan weight": (
        lambda m: with_weights(m, lambda W: first(W, np.nan)),
        "weights.safetensors: kernel of hidden1, half 1: 1 values are not finite",
    ),
    "shape": (lambda m: with_weights(m, lambda W: W[:-1]), "half1/W0 has shape (6, 5), expected"),
    "dtype": (lambda m: with_weights(m, np.float64), "half1/W0 is of type F64, not F32"),
    "half": (lambda m: dataclasses.replace(m, halves=m.halves[:1]), "half2/W0 is missing"),
    "sizes": (lambda m: dataclasses.replace(m, half_sizes=(5, 4)), "expected (5, 5) by the counts"),
    "sum": (lambda m: dataclasses.replace(m, half_sizes=(4, 4)), "are not those of 9 targets"),
    "depth": (
        lambda m: dataclasses.replace(m, network=dataclasses.replace(m.network, hidden_layers=1)),
        "tensor half1/W1 has shape (5, 5), expected (5, 4)",
    ),
    "quantile": (
        lambda m: dataclasses.replace(m, quantile=m.quantile[1:]),
        "tensor quantile has shape (15,), expected (16,)",
    ),
    "infinite quantile": (
        lambda m: dataclasses.replace(m, landmark_quantile=first(m.landmark_quantile, np.inf)),
        "reference.safetensors: landmark_quantile: 1 values are not finite",
    ),
    "nan mean": (lambda m: with_genes(m, mean=first(m.targets.mean, np.nan)), "line 9: mean: nan"),
    "no sd": (lambda m: with_genes(m, sd=first(m.targets.sd, 0.0)), "sd: 0.0 is not above 0"),
    "nan error": (
        lambda m: dataclasses.replace(m, errors={"te": first(m.errors["te"], np.nan)}),
        "genes.tsv: line 9: MAE_te: nan is not finite",
    ),
    "tab": (
        lambda m: with_genes(m, symbols=("a\tb", *m.targets.symbols[1:])),
        "genes.tsv: symbol of a target 'a\\tb': the format can't hold '\\t'",
    ),
    "comma": (
        lambda m: with_genes(m, probes=(("a,b",), *m.targets.probes[1:])),
        "probe of a target 'a,b': the format can't hold ','",
    ),
    "no probe": (
        lambda m: with_genes(m, probes=(("",), *m.targets.probes[1:])),
        "a probe of a target has no name",
    ),
    "selected": (lambda m: dataclasses.replace(m, selected_on="te"), "must be 'va' or '1000G'"),
    "record nan": (
        lambda m: dataclasses.replace(m, record={"seconds": np.nan}),
        "the training record can't be stored as JSON",
    ),
    "record object": (
        lambda m: dataclasses.replace(m, record={"seconds": object()}),
        "the training record can't be stored as JSON",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_pieces_that_do_not_fit_leave_the_old_model(new_model, same, tmp_path, name) -> None:
    change, cause = MISFITS[name]
    path = tmp_path / "model"
    write_model(path, new_model())
    with pytest.raises(DgexError) as caught:
        write_model(path, change(new_model()), overwrite=True)
    assert str(caught.value).startswith(f"{path}: can't be written: ")
    assert cause in str(caught.value)
    assert "tmp." not in str(caught.value)
    same(new_model(), read_model(path))
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_failing_disk_is_named(new_model, same, tmp_path, monkeypatch, exists) -> None:
    path = tmp_path / "model"
    if exists:
        write_model(path, new_model())

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    rename = Path.rename

    def no_second_rename(self: Path, target: Path) -> Path:
        return full() if ".tmp." in self.name else rename(self, target)

    failures = (
        (os, "fsync", full),
        (Path, "write_bytes", full),
        (Path, "rename", no_second_rename),
    )
    for place, name, failure in failures:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, failure)
            with pytest.raises(DgexError, match=r"model: can't be written: .*No space left"):
                write_model(path, new_model(seed=2), overwrite=True)
        assert names(tmp_path) == (["model"] if exists else [])
    if exists:
        same(new_model(), read_model(path))


def test_an_interruption_leaves_nothing(new_model, tmp_path, monkeypatch) -> None:
    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(modelfile, "write_description", stop)
    with pytest.raises(KeyboardInterrupt):
        write_model(tmp_path / "model", new_model())
    assert names(tmp_path) == []
