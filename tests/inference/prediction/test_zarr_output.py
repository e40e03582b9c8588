"""Predictions as a zarr store: the values of every other format, by one process or several."""

from __future__ import annotations

import hashlib
import json
import warnings

import h5py
import numpy as np
import pytest

from dgex_jax.cli import main
from dgex_jax.errors import DgexError
from dgex_jax.formats import zarr_write
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import write_gctx
from dgex_jax.formats.zarr_check import check_zarr
from dgex_jax.inference.modelfile import write_model
from dgex_jax.inference.network import BATCH
from dgex_jax.inference.options import PredictOptions
from dgex_jax.inference.predict import predict

pytest.importorskip("zarr")
RNASEQ = PredictOptions("rnaseq", scale="reference", block_size=300)
N = 5 * BATCH + 37
SHARDS = 6


@pytest.fixture(autouse=True)
def small_shards(monkeypatch) -> None:
    """A shard is a batch."""
    monkeypatch.setattr(zarr_write, "default_profiles_per_shard", lambda _: BATCH)


@pytest.fixture(scope="module")
def many(model, tmp_path_factory):
    """Five whole batches of profiles and a piece, with raw values."""
    rng = np.random.default_rng(13)
    genes = tuple(dict.fromkeys([*model.landmarks.ensembl, *model.targets.ensembl]))
    values = rng.gamma(2, 3, (N, len(genes))).astype(np.float32)
    path = tmp_path_factory.mktemp("many") / "many.gctx"
    write_gctx(path, Expression(path, values, tuple(f"s{k}" for k in range(N)), genes))
    return path


def digest(folder) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def alone(many, model, tmp_path_factory):
    """The store as one process writes it."""
    path = tmp_path_factory.mktemp("alone") / "out.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_write, "default_profiles_per_shard", lambda _: BATCH)
        assert predict(model, many, path, RNASEQ).missing_shards == 0
    return path


def test_anndata_reads_the_values_of_the_gctx_file(many, model, alone, tmp_path) -> None:
    anndata = pytest.importorskip("anndata")
    predict(model, many, tmp_path / "out.gctx", RNASEQ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's own, of pandas
        found = anndata.read_zarr(alone)
    with h5py.File(tmp_path / "out.gctx") as file:
        np.testing.assert_array_equal(found.X, file["0/DATA/0/matrix"][...])
        assert list(found.obs_names) == [name.decode() for name in file["0/META/COL/id"]]
        assert list(found.var_names) == [name.decode() for name in file["0/META/ROW/id"]]
        assert json.loads(found.uns["dgex"]) == json.loads(file.attrs["provenance"])
    assert found.var["source"].value_counts().to_dict() == {"inferred": 45, "measured": 20}
    assert check_zarr(alone) == SHARDS


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 2, 1, 3)])
def test_parts_in_any_order_make_the_same_store(many, model, alone, tmp_path, order) -> None:
    path = tmp_path / "out.zarr"
    left = []
    for number in order:
        assert not path.exists()
        left.append(predict(model, many, path, RNASEQ, part=(number, 4)).missing_shards)
    assert left[0] < SHARDS
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert digest(path) == digest(alone)


def test_a_store_that_was_interrupted_goes_on(many, model, alone, tmp_path) -> None:
    path, inferred = tmp_path / "out.zarr", 0

    def stop(step: str, done: int, _total: int) -> None:
        if step == "inferring" and done >= 3 * BATCH:
            raise KeyboardInterrupt

    def count(step: str, done: int, _total: int) -> None:
        nonlocal inferred
        inferred = done if step == "inferring" else inferred

    with pytest.raises(KeyboardInterrupt):
        predict(model, many, path, RNASEQ, progress=stop)
    assert not path.exists()
    predict(model, many, path, RNASEQ, progress=count)
    assert inferred == N - 3 * BATCH
    assert digest(path) == digest(alone)


def test_parts_with_other_options_are_refused(many, model, tmp_path) -> None:
    path = tmp_path / "out.zarr"
    predict(model, many, path, RNASEQ, part=(1, 2))
    other = PredictOptions("rnaseq", scale="standardized")
    with pytest.raises(DgexError, match=r"belongs to another job \(its .* differs\)"):
        predict(model, many, path, other, part=(2, 2))


def test_parts_on_the_command_line(many, model, alone, tmp_path, capsys) -> None:
    folder, path = tmp_path / "model", tmp_path / "out.zarr"
    write_model(folder, model)

    def run(*more: str, output=path) -> int:
        words = ["predict", folder, many, "-o", output, "--platform", "rnaseq", "-q", *more]
        return main([str(word) for word in words])

    assert run("--scale", "reference", "--shard", "2/2") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"{path}: part 2 of 2 is written; 3 shards are missing"
    assert run("--scale", "reference", "--shard", "1/2") == 0
    assert "missing" not in capsys.readouterr().out.splitlines()[-1]
    found = digest(path)
    # The command knows the model's file, the function does not.
    assert {name: found[name] for name in found if name.startswith("X/c")} == {
        name: sha for name, sha in digest(alone).items() if name.startswith("X/c")
    }
    assert run("--shard", "1/2", output=tmp_path / "out.gctx") == 2
    error = capsys.readouterr().err
    assert error.endswith("only an output that ends in .zarr can be written in parts\n")
    for wrong in ("0/2", "3/2", "1", "a/2", "1/2/3"):
        with pytest.raises(SystemExit, match="2"):
            run("--shard", wrong)
        assert "is no part I/N" in capsys.readouterr().err


def test_a_folder_that_is_no_store_stays(many, model, tmp_path) -> None:
    path = tmp_path / "out.zarr"
    path.mkdir()
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(DgexError, match="is in the way"):
        predict(model, many, path, RNASEQ)
    assert (path / "thesis.txt").read_text() == "mine"
