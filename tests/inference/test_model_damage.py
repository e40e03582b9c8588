"""Whatever happens to a model's files is found, and said in one line that names the file."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dgex_jax.errors import FormatError
from dgex_jax.inference.modelfile import read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = ("model.json", "weights.safetensors", "genes.tsv", "reference.safetensors")


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


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kept", [0, 1, 9, 0.5, -1])
def test_truncated(model, file, kept) -> None:
    content = (model / file).read_bytes()
    length = int(kept * len(content)) if isinstance(kept, float) else kept % len(content)
    # The last byte of model.json is a line end that says nothing.
    length -= file == "model.json" and kept == -1
    (model / file).write_bytes(content[:length])
    assert ("is empty" if kept == 0 else "damaged") in refusal(model, file)


@pytest.mark.parametrize("file", FILES)
def test_missing_or_something_else(model, file) -> None:
    (model / file).unlink()
    if file == "model.json":
        assert refusal(model) == f"{model}: is no model folder: it has no model.json"
    else:
        assert "no such file" in refusal(model, file)
    (model / file).mkdir()
    assert "is a folder" in refusal(model, file)


def test_what_is_no_model_folder(model, tmp_path) -> None:
    assert refusal(tmp_path / "nothing").endswith("nothing: no such model folder")
    assert refusal(model / "genes.tsv").endswith("genes.tsv: is a file, not a model folder")
    assert refusal(tmp_path).endswith("is no model folder: it has no model.json")


def test_files_of_another_model(model, new_model, tmp_path) -> None:
    write_model(tmp_path / "other", new_model(seed=2))
    for file in FILES[1:]:
        original = (model / file).read_bytes()
        shutil.copyfile(tmp_path / "other" / file, model / file)
        assert "its sha256 is not the one in model.json" in refusal(model, file)
        (model / file).write_bytes(original)
    read_model(model)


def test_single_bits(model, same) -> None:
    """60 bits anywhere, and every bit of the first bytes: found, or the model is the same."""
    whole = read_model(model)
    draw = random.Random(5)
    places = [(file, byte, byte % 8) for file in FILES for byte in range(4)]
    sizes = [(model / file).stat().st_size for file in FILES]
    places += [
        (file, draw.randrange((model / file).stat().st_size), draw.randrange(8))
        for file in draw.choices(FILES, sizes, k=60)
    ]
    n_found = 0
    for file, byte, bit in places:
        original = (model / file).read_bytes()
        changed = bytearray(original)
        changed[byte] ^= 1 << bit
        (model / file).write_bytes(changed)
        try:
            found = read_model(model)
        except FormatError:
            n_found += 1
            refusal(model, file)
        else:
            # White space and the form of a number in model.json say nothing.
            assert file == "model.json"
            same(whole, found)
        (model / file).write_bytes(original)
    assert n_found >= 0.9 * len(places)


JSON = {
    "empty": ("", "is empty"),
    "text": ("no JSON", "damaged: is no JSON (line 1, column 1)"),
    "latin-1": (b'{"a": "\xfc"}', "damaged: is not UTF-8 text (byte 7)"),
    "list": ("[]", "describes no D-GEX model"),
    "number": ("3", "describes no D-GEX model"),
    "other": ('{"format": "bert"}', "describes no D-GEX model"),
    "deep list": ("[" * 100_000, "damaged: "),
    "deep closed list": ("[" * 500 + "]" * 500, "damaged: nested deeper than 32 levels"),
    "deep object": ('{"a":' * 100_000 + "1" + "}" * 100_000, "damaged: "),
    "nan": ('{"format": NaN}', "damaged: NaN is no number"),
    "long number": ('{"format": ' + "9" * 10_000 + "}", "damaged: a number of thousands of digits"),
    "no version": ('{"format": "dgex model"}', "format_version is missing"),
    "no sum": ('{"format": "dgex model", "format_version": 1}', "content_sha256 is missing"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_that_is_no_description(model, name) -> None:
    content, cause = JSON[name]
    path = model / "model.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cause in refusal(model, "model.json")


def test_edited_by_hand(model) -> None:
    text = (model / "model.json").read_text()
    assert '"simulated": true' in text
    (model / "model.json").write_text(text.replace('"simulated": true', '"simulated": false'))
    assert "damaged or edited: its content does not match" in refusal(model, "model.json")


def test_laid_out_anew_is_the_same_model(model, same) -> None:
    """The checksum is of what the JSON says."""
    whole = read_model(model)
    content = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(dict(reversed(content.items()))))
    same(whole, read_model(model))


NEWER = "made by a newer version of this program (model format 2; this one reads up to 1)"
SIGNED = {
    "newer": ({"format_version": 2}, NEWER),
    # A newer version may describe itself otherwise.
    "newer, other keys": ({"format_version": 2, "counts": None, "content_sha256": None}, NEWER),
    "older": ({"format_version": 0}, "format_version = 0: there is no such format"),
    "version as text": ({"format_version": "1"}, "format_version is not a whole number"),
    "version as truth": ({"format_version": True}, "format_version is not a whole number"),
    "no counts": ({"counts": None}, "counts is missing"),
    "counts": ({"counts": []}, "counts is not an object"),
    "no landmarks": ({"counts__landmarks": None}, "counts.landmarks is missing"),
    "half a landmark": ({"counts__landmarks": 7.5}, "counts.landmarks is not a whole number"),
    "zero landmarks": ({"counts__landmarks": 0}, "counts.landmarks = 0: must be at least 1"),
    "parameters": ({"counts__parameters": 1}, "weights.safetensors: 194 parameters, 1 in model"),
    "no halves": ({"half_sizes": None}, "half_sizes is missing"),
    "empty halves": ({"half_sizes": []}, "half_sizes = []: are not those of 9 targets"),
    "three halves": ({"half_sizes": [3, 3, 3]}, "are not those of 9 targets"),
    "negative half": ({"half_sizes": [-1, 10]}, "are not those of 9 targets"),
    "half as text": ({"half_sizes": ["4", "5"]}, "half_sizes is not a whole number"),
    "swapped halves": ({"half_sizes": [5, 4]}, "half sizes are (7, 9, (4, 5)), (7, 9, (5, 4)) in"),
    "selected": ({"selected_on": "te"}, "selected_on = 'te': must be 'va' or '1000G'"),
    "selected list": ({"selected_on": ["va"]}, "selected_on is not text"),
    "no network": ({"network": None}, "network is missing"),
    "layers": ({"network__hidden_layers": 4}, "network.hidden_layers = 4: must be between"),
    "other layers": ({"network__hidden_layers": 1}, "tensor half1/W1 has shape (5, 5), expected"),
    "units": ({"network__units": "5"}, "network.units is not a whole number"),
    "many units": ({"network__units": 6}, "has shape (7, 5), expected (7, 6) by the counts in"),
    "dropout": ({"network__dropout": 1.5}, "network.dropout = 1.5: must be between"),
    "no dropout": ({"network__dropout": None}, "network.dropout is missing"),
    "no record": ({"training": None}, "training is missing"),
    "record": ({"training": "by hand"}, "training is not an object"),
    "no files": ({"files": None}, "files is missing"),
    "files": ({"files": ["genes.tsv"]}, "files is not an object"),
    "no sum of genes": ({"files__genes.tsv": None}, "files.genes.tsv is missing"),
    "sum of genes": ({"files__genes.tsv": 1}, "files.genes.tsv is not text"),
    "own sum": ({"content_sha256": 1}, "content_sha256 is not text"),
}


@pytest.mark.parametrize("name", SIGNED)
def test_content_that_can_not_be_with_valid_checksums(model, signed, name) -> None:
    changes, cause = SIGNED[name]
    signed(model, **changes)
    assert cause in refusal(model)


def replace(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


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
    "order": (cell(3, 0, "target"), "are not the landmarks, then the targets"),
    "one less": (lambda text: "\n".join(text.split("\n")[:-2]), "half sizes are (7, 8, (4, 4))"),
    "mean": (cell(4, 5, "eight"), "line 4: mean: 'eight' is no number"),
    "no mean": (cell(4, 5, ""), "line 4: mean: '' is no number"),
    "nan": (cell(10, 5, "nan"), "line 10: mean: nan is not finite"),
    "inf": (cell(10, 6, "inf"), "line 10: sd: inf is not finite"),
    "negative": (cell(10, 6, "-1"), "line 10: sd: -1.0 is not above 0"),
    "half": (cell(9, 7, "2"), "half is not a run of 1, then a run of 2"),
    "third half": (cell(9, 7, "3"), "half is not a run of 1, then a run of 2"),
    "copy": (cell(9, 8, "yes"), "line 9: copy_of_landmark: 'yes' is neither 0 nor 1"),
    "error": (cell(17, 10, "NaN"), "line 17: MAE_te: NaN is not finite"),
}


@pytest.mark.parametrize("name", TABLES)
def test_gene_tables_that_can_not_be_with_valid_checksums(model, signed, name) -> None:
    change, cause = TABLES[name]
    path = model / "genes.tsv"
    path.write_bytes(change(path.read_bytes().decode()).encode())
    signed(model)
    assert cause in refusal(model, "genes.tsv")


def test_genes_that_are_no_text(model, signed) -> None:
    (model / "genes.tsv").write_bytes(b"\xff\xfe")
    signed(model)
    assert "can't be read: 'utf-8' codec" in refusal(model, "genes.tsv")


TENSORS = {
    "weights.safetensors": {
        "missing": ({"half1/W0": None}, "tensor half1/W0 is missing"),
        "stranger": ({"half9": np.zeros(1, np.float32)}, "tensor half9 belongs to no such model"),
        "third half": ({"half3/W0": np.zeros(1, np.float32)}, "belongs to no such model"),
        "integers": ({"half1/b0": np.zeros(5, np.int32)}, "half1/b0 is of type I32, not F32"),
        "shape": ({"half1/b0": np.zeros(4, np.float32)}, "has shape (4,), expected (5,)"),
        "nan": ({"half2/b2": np.full(5, np.nan, np.float32)}, "bias of output, half 2: 5 values"),
    },
    "reference.safetensors": {
        "missing": ({"landmark_quantile": None}, "tensor landmark_quantile is missing"),
        "stranger": ({"mean": np.zeros(1)}, "tensor mean belongs to no such model"),
        "single": ({"quantile": np.zeros(16, np.float32)}, "is of type F32, not F64"),
        "shape": ({"quantile": np.zeros(15)}, "has shape (15,), expected (16,)"),
        "inf": ({"quantile": np.full(16, np.inf)}, "quantile: 16 values are not finite"),
    },
}


@pytest.mark.parametrize(("file", "name"), [(f, name) for f in TENSORS for name in TENSORS[f]])
def test_tensors_that_can_not_be_with_valid_checksums(model, signed, file, name) -> None:
    changes, cause = TENSORS[file][name]
    tensors = load_file(model / file) | changes
    save_file({one: values for one, values in tensors.items() if values is not None}, model / file)
    signed(model)
    assert cause in refusal(model, file)


@pytest.mark.parametrize("file", [*TENSORS])
def test_files_that_are_no_tensors(model, signed, file) -> None:
    deep = b"[" * 100_000
    for content in (
        pickle.dumps({"half1/W0": 1}),
        b"\x80\x02}q\x00.",
        (8).to_bytes(8, "little") + b"        ",
        len(deep).to_bytes(8, "little") + deep,
        (2**63).to_bytes(8, "little") + b"{}",
    ):
        (model / file).write_bytes(content)
        signed(model)
        assert "can't be read" in refusal(model, file)
