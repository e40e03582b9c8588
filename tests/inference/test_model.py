"""A model folder comes back to the last bit, is complete or not there; all damage is found."""

from __future__ import annotations

import builtins
import dataclasses
import json
import os
import pickle
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.methods.kinds import in_half_precision
from dgex_jax.methods.network import Network
from dgex_jax.model import model as module
from dgex_jax.model.model import MODEL_FILES, read_model, write_model
from dgex_jax.parts import ARRAYS_ALONE

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def model(new_model, tmp_path) -> Path:
    """A model folder to be damaged."""
    path = tmp_path / "model"
    write_model(path, new_model())
    return path


def refusal(model: Path, file: str | None = None) -> str:
    """The one line that `model` is refused with; it begins with the path of `file`."""
    with pytest.raises(FormatError) as caught:
        read_model(model)
    text = str(caught.value)
    assert "\n" not in text
    if file is not None:
        assert text.startswith(f"{model / file}: ")
    return text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- round trips


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
    assert names(tmp_path / "one") == sorted(MODEL_FILES)
    # What was read is written in the very bytes it was read from, and so is the model itself.
    write_model(tmp_path / "two", read)
    write_model(tmp_path / "three", model)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")
    assert names(tmp_path) == ["one", "three", "two"]


def test_modes_and_simulated_data(model, tmp_path) -> None:
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in model.iterdir()}
    assert modes == {stat.S_IMODE((tmp_path / "plain").stat().st_mode)}
    with safe_open(model / "weights.safetensors", "numpy") as file:
        assert '"data": "simulated"' in file.metadata()["dgex"]


def test_reading_unpickles_and_runs_nothing(model, new_model, same, monkeypatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a model must not be able to run code")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, fail)
    read = read_model(model)
    monkeypatch.undo()
    same(new_model(), read)


def test_a_model_is_replaced_only_on_request(model, new_model, same, tmp_path) -> None:
    new = new_model(seed=2, bare=True)
    with pytest.raises(DgexError, match=r"model: holds a model; choose another .* --overwrite"):
        write_model(model, new)
    same(new_model(), read_model(model))
    write_model(model, new, overwrite=True)
    same(new, read_model(model))
    # A damaged one as well.
    (model / "model.json").write_bytes(b"{")
    (model / "genes.tsv").unlink()
    write_model(model, new, overwrite=True)
    same(new, read_model(model))
    assert names(tmp_path) == ["model"]


def test_folders_of_others_are_left_alone(new_model, tmp_path) -> None:
    places = {name: tmp_path / name for name in ("file", "photos", "noted", "weights")}
    places["file"].write_text("mine")
    write_model(places["noted"], new_model())
    strangers = ("photos/cat.jpg", "noted/notes.txt", "weights/weights.safetensors")
    for name in strangers:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for path, cause in (
        (places["file"], "is a file, not a model folder"),
        (places["photos"], "is no model folder: it holds cat.jpg"),
        (places["noted"], "is no model folder: it holds notes.txt"),
        (places["weights"], "is no model folder: it holds weights.safetensors but no model.json"),
        (places["file"] / "model", "can't be"),
        (tmp_path / "no" / "model", "can't be written: No such file or directory"),
    ):
        before = names(tmp_path)
        with pytest.raises(DgexError) as caught:
            write_model(path, new_model(), overwrite=True)
        assert str(caught.value).startswith(f"{path}: {cause}")
        assert "\n" not in str(caught.value)
        assert names(tmp_path) == before
    assert {(tmp_path / name).read_text() for name in strangers} == {"mine"}


def test_empty_folders_links_and_long_names(new_model, same, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for seed, name in enumerate(("empty", "link", "n" * 250), start=1):
        write_model(tmp_path / name, new_model(seed=seed), overwrite=name == "link")
        same(new_model(seed=seed), read_model(str(tmp_path / name)))
    assert (tmp_path / "link").is_symlink()
    same(new_model(seed=2), read_model(tmp_path / "empty"))


# --- models whose pieces don't fit, and disks that fail


def first(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed.flat[0] = value
    return changed


def with_weights(model, change):
    """The model with its first kernel changed."""
    tensors = {**model.method.tensors, "half1/W0": change(model.method.tensors["half1/W0"].copy())}
    return {"method": Network(model.method.settings, tensors)}


def with_targets(model, **changes):
    return {"targets": dataclasses.replace(model.targets, **changes)}


def with_first(model, name, value):
    return with_targets(model, **{name: (value, *getattr(model.targets, name)[1:])})


MISFITS = {
    "weight": (
        lambda m: with_weights(m, lambda W: first(W, np.nan)),
        "weights.safetensors: half1/W0: 1 values are not finite",
    ),
    "dtype": (lambda m: with_weights(m, np.float64), "half1/W0 is float64, not float32"),
    "quantile": (lambda m: {"quantile": m.quantile[1:]}, "has shape (15,), expected (16,)"),
    "sd": (lambda m: with_targets(m, sd=first(m.targets.sd, 0.0)), "sd: 0.0 is not above 0"),
    "tab": (lambda m: with_first(m, "symbols", "a\tb"), "'a\\tb': the format can't hold '\\t'"),
    "comma": (lambda m: with_first(m, "probes", ("a,b",)), "probe of a target 'a,b': the format"),
    "no probe": (lambda m: with_first(m, "probes", ("",)), "a probe of a target has no name"),
    "selected": (lambda _: {"selected_on": "te"}, "must be 'va' or '1000G'"),
    "nan": (lambda _: {"record": {"seconds": np.nan}}, "record can't be stored as JSON: Out of"),
    "object": (lambda _: {"record": {"seconds": object()}}, "record can't be stored as JSON"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_pieces_that_do_not_fit_leave_the_old_model(model, new_model, same, tmp_path, name) -> None:
    change, cause = MISFITS[name]
    misfit = dataclasses.replace(new_model(), **change(new_model()))
    with pytest.raises(DgexError) as caught:
        write_model(model, misfit, overwrite=True)
    assert str(caught.value).startswith(f"{model}: can't be written: ")
    assert cause in str(caught.value)
    assert "tmp." not in str(caught.value)
    same(new_model(), read_model(model))
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

    for place, name, failure in (
        (os, "fsync", full),
        (Path, "write_bytes", full),
        (Path, "rename", no_second_rename),
    ):
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

    monkeypatch.setattr(module, "fill_tensors", stop)
    with pytest.raises(KeyboardInterrupt):
        write_model(tmp_path / "model", new_model())
    assert names(tmp_path) == []


# --- damage, which checksums find


@pytest.mark.parametrize("file", MODEL_FILES)
@pytest.mark.parametrize("kept", [0, 1, 9, 0.5, -1])
def test_truncated(model, file, kept) -> None:
    content = (model / file).read_bytes()
    length = int(kept * len(content)) if isinstance(kept, float) else kept % len(content)
    # The last byte of model.json is a line end that says nothing.
    length -= file == "model.json" and kept == -1
    (model / file).write_bytes(content[:length])
    assert ("is empty" if kept == 0 else "damaged") in refusal(model, file)


@pytest.mark.parametrize("file", MODEL_FILES)
def test_missing_or_something_else(model, new_model, tmp_path, file) -> None:
    original = (model / file).read_bytes()
    (model / file).unlink()
    if file == "model.json":
        assert refusal(model) == f"{model}: is no model folder: it has no model.json"
    else:
        assert "no such file" in refusal(model, file)
        write_model(tmp_path / "other", new_model(seed=2))
        shutil.copyfile(tmp_path / "other" / file, model / file)
        assert "its sha256 is not the one in model.json" in refusal(model, file)
        (model / file).write_bytes(original)
        read_model(model)
        (model / file).unlink()
    (model / file).mkdir()
    assert "is a folder" in refusal(model, file)


def test_what_is_no_model_folder(model, tmp_path) -> None:
    assert refusal(tmp_path / "nothing").endswith("nothing: no such model folder")
    assert refusal(model / "genes.tsv").endswith("genes.tsv: is a file, not a model folder")
    assert refusal(tmp_path).endswith("is no model folder: it has no model.json")


def test_the_checksum_is_of_what_the_json_says(model, same) -> None:
    undamaged, text = read_model(model), (model / "model.json").read_text()
    content = dict(reversed(json.loads(text).items()))
    (model / "model.json").write_text(json.dumps(content))
    same(undamaged, read_model(model))
    (model / "model.json").write_text(text.replace('"simulated": true', '"simulated": false'))
    assert "damaged or edited: its content does not match" in refusal(model, "model.json")


JSON = {
    "empty": ("", "is empty"),
    "text": ("no JSON", "damaged: is no JSON (Expecting value: line 1 column 1 (char 0))"),
    "latin-1": (b'{"a": "\xfc"}', "damaged: is no JSON ('utf-8' codec can't decode byte 0xfc in"),
    "list": ("[]", "describes no D-GEX model"),
    "number": ("3", "describes no D-GEX model"),
    "other": ('{"format": "bert"}', "describes no D-GEX model"),
    "deep list": ("[" * 100_000, "damaged: "),
    "deep object": ('{"a":' * 100_000 + "1" + "}" * 100_000, "damaged: "),
    "nan": ('{"format": NaN}', "describes no D-GEX model"),
    "long number": ('{"format": ' + "9" * 10_000 + "}", "damaged: is no JSON (Exceeds the limit"),
    "no version": ('{"format": "dgex model"}', "format_version = None: there is no such format"),
    "no sum": ('{"format": "dgex model", "format_version": 1}', "damaged or edited"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_that_is_no_description(model, name) -> None:
    content, cause = JSON[name]
    path = model / "model.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cause in refusal(model, "model.json")


# --- contents that can't be, with valid checksums

NEWER = "made by a newer version of this program (model format 5; this one reads up to 4)"
SIGNED = {
    "newer": ({"format_version": 5}, NEWER),
    # A newer version may describe itself otherwise.
    "newer, other keys": ({"format_version": 5, "counts": None, "content_sha256": None}, NEWER),
    "older": ({"format_version": 0}, "format_version = 0: there is no such format"),
    "version as truth": ({"format_version": True}, "format_version = True: there is no such"),
    "no counts": ({"counts": None}, "counts is missing or not an object"),
    "no landmarks": ({"counts__landmarks": None}, "counts = {'targets': 9, 'parameters': 194}, bu"),
    "parameters": ({"counts__parameters": 1}, "'parameters': 194} by the other files"),
    "no halves": (
        {"method__settings__half_sizes": None},
        "settings are hidden_layers, units, dropout, not",
    ),
    "swapped halves": (
        {"method__settings__half_sizes": [5, 4]},
        "half1/W2 has shape (5, 4), expected (5, 5)",
    ),
    "selected": ({"selected_on": "te"}, "selected_on = 'te': must be 'va' or '1000G'"),
    "selected list": ({"selected_on": ["va"]}, "selected_on = ['va']: must be 'va' or '1000G'"),
    "no parts": ({"parts": None}, "model.json: parts: can't be used: "),
    "other parts": ({"parts": ARRAYS_ALONE.to_json()}, "line 1: are not the columns of a model's"),
    "parts without choice": (
        {"selected_on": "1000G", "parts": ARRAYS_ALONE.to_json()},
        "must be 'va'",
    ),
    "strange platform": ({"parts__platform": "chip"}, "parts: can't be used: platform = 'chip'"),
    "layers": ({"method__settings__hidden_layers": 4}, "hidden_layers = 4: must be between"),
    "units": ({"method__settings__units": "5"}, "model.json: method: can't be used: "),
    "part of a layer": (
        {"method__settings__hidden_layers": 2.0},
        "can't be used: no such network: NetworkConf",
    ),
    "many units": ({"method__settings__units": 6}, "has shape (7, 5), expected (7, 6)"),
    "strange network": ({"method__settings__depth": 6}, "model.json: method: can't be used: "),
    "dropout": ({"method__settings__dropout": 1.5}, "dropout = 1.5: must be between"),
    "no dropout": (
        {"method__settings__dropout": None},
        "settings are hidden_layers, units, half_sizes, not",
    ),
    "no record": ({"training": None}, "training is missing or not an object"),
    "files": ({"files": ["genes.tsv"]}, "files is missing or not an object"),
    "no sum of genes": ({"files__genes.tsv": None}, "genes.tsv: damaged or replaced: its sha256"),
    "strange precision": (
        {"weights_stored_as": "int8"},
        "weights_stored_as = 'int8': must be 'float16' or 'float32'",
    ),
    "other precision": ({"weights_stored_as": "float16"}, "is float32, not float16"),
    "own sum": ({"content_sha256": 1}, "damaged or edited: its content does not match"),
}


@pytest.mark.parametrize("name", SIGNED)
def test_signed_descriptions(model, signed, name) -> None:
    changes, cause = SIGNED[name]
    signed(model, **changes)
    assert cause in refusal(model)


def replace(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def cell(line: int, column: int, new: str) -> Callable[[str], str]:
    """Change one cell; `line` counted from 1."""

    def change(text: str) -> str:
        rows = [row.split("\t") for row in text.split("\n")]
        rows[line - 1][column] = new
        return "\n".join("\t".join(row) for row in rows)

    return change


TABLES = {
    "other header": (replace("symbol", "name"), "line 1: are not the columns"),
    "other part": (replace("MAE_te", "MAE_test"), "line 1: are not the columns"),
    "no lines": (lambda text: text.split("\n")[0], "are not the landmarks, then the targets"),
    "short line": (replace("\nlandmark\t", "\n"), "line 2: 12 columns, not 13"),
    "blank line": (lambda text: text + "\n", "line 18: 1 columns, not 13"),
    "role": (cell(3, 0, "gene"), "are not the landmarks, then the targets"),
    "mean": (cell(4, 5, "eight"), "mean: could not convert string to float: 'eight'"),
    "nan": (cell(10, 5, "nan"), "mean: 1 values are not finite"),
    "inf": (cell(10, 6, "inf"), "sd: 1 values are not finite"),
    "negative": (cell(10, 6, "-1"), "sd: -1.0 is not above 0"),
    "half": (cell(9, 7, "2"), "half is not a run of 1, then a run of 2"),
    "copy": (cell(9, 8, "yes"), "copy_of_landmark is neither 0 nor 1"),
    "error": (cell(17, 10, "NaN"), "MAE_te: 1 values are not finite"),
    "no text": (b"\xff\xfe", "can't be read: 'utf-8' codec"),
}


@pytest.mark.parametrize("name", TABLES)
def test_signed_gene_tables(model, signed, name) -> None:
    change, cause = TABLES[name]
    path = model / "genes.tsv"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        text = path.read_text(encoding="utf-8")
        assert change(text) != text
        path.write_text(change(text), encoding="utf-8")
    signed(model)
    assert cause in refusal(model, "genes.tsv")


DEEP = b"[" * 100_000
WEIGHTS, REFERENCE = MODEL_FILES[1], MODEL_FILES[3]
TENSORS = [
    (WEIGHTS, {"half1/W0": None}, "tensor half1/W0 is missing"),
    (WEIGHTS, {"half9": np.zeros(1, np.float32)}, "tensor half9 belongs to no such model"),
    (WEIGHTS, {"half3/W0": np.zeros(1, np.float32)}, "belongs to no such model"),
    (WEIGHTS, {"half1/b0": np.zeros(5, np.int32)}, "half1/b0 is int32, not float32"),
    (WEIGHTS, {"half1/b0": np.zeros(4, np.float32)}, "has shape (4,), expected (5,)"),
    (WEIGHTS, {"half2/b2": np.full(5, np.nan, np.float32)}, "half2/b2: 5 values are not finite"),
    (REFERENCE, {"landmark_quantile": None}, "tensor landmark_quantile is missing"),
    (REFERENCE, {"mean": np.zeros(1)}, "tensor mean belongs to no such model"),
    (REFERENCE, {"quantile": np.zeros(16, np.float32)}, "is float32, not float64"),
    (REFERENCE, {"quantile": np.zeros(15)}, "has shape (15,), expected (16,)"),
    (REFERENCE, {"quantile": np.full(16, np.inf)}, "quantile: 16 values are not finite"),
    *(
        (file, content, "can't be read")
        for file in (WEIGHTS, REFERENCE)
        for content in (
            pickle.dumps({"half1/W0": 1}),
            b"\x80\x02}q\x00.",
            (8).to_bytes(8, "little") + b"        ",
            len(DEEP).to_bytes(8, "little") + DEEP,
            (2**63).to_bytes(8, "little") + b"{}",
        )
    ),
]


@pytest.mark.parametrize(("file", "change", "cause"), TENSORS)
def test_signed_tensors(model, signed, file, change, cause) -> None:
    if isinstance(change, bytes):
        (model / file).write_bytes(change)
    else:
        tensors = load_file(model / file) | change
        left = {name: values for name, values in tensors.items() if values is not None}
        save_file(left, model / file)
    signed(model)
    assert cause in refusal(model, file)


# --- half precision


def test_half_precision_is_stored_in_half_the_space_and_read_as_float32(
    new_model, same, tmp_path
) -> None:
    model = new_model()
    halved = dataclasses.replace(model, method=in_half_precision(model.method), half_precision=True)
    write_model(tmp_path / "half", halved)
    assert json.loads((tmp_path / "half" / "model.json").read_text())["format_version"] == 4
    for values in load_file(tmp_path / "half" / "weights.safetensors").values():
        assert values.dtype == np.float16
    read = read_model(tmp_path / "half")
    same(halved, read)
    assert read.half_precision
    for name, values in model.method.tensors.items():
        np.testing.assert_allclose(read.method.tensors[name], values, rtol=1e-3, atol=1e-7)
    # Values that would change when they are stored are never.
    refused = dataclasses.replace(model, half_precision=True)
    with pytest.raises(DgexError, match=r"half precision: tensor \S+ has values that float16"):
        write_model(tmp_path / "other", refused)
    assert not (tmp_path / "other").exists()


def test_half_precision_refuses_what_is_too_large(new_model) -> None:
    method = new_model().method
    large = {name: values * np.float32(1e5) for name, values in method.tensors.items()}
    with pytest.raises(
        DgexError, match=r"half precision: tensor \S+ of .*float16 holds up to 65504"
    ):
        in_half_precision(type(method)(method.settings, large))
