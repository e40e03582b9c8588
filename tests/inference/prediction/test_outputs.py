"""Outputs of every format, read again by others."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import warnings
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import Expression
from dgex_jax.io.gct import read_gct
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.h5ad import H5ad
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.model.match import written_genes
from dgex_jax.model.outputs import Output, open_output
from dgex_jax.model.predict import gene_metadata, predict
from dgex_jax.model.scale import make_plan

PLAIN = PredictOptions("standardized")


def matrix(path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["0/DATA/0/matrix"][...]


@pytest.mark.parametrize("scale", ["standardized", "reference"])
@pytest.mark.parametrize("name", ["a.gctx", "a.gct", "a.gct.gz", "a.h5ad"])
def test_outputs_hold_the_same(name, scale, model, table, tmp_path, write, oracle) -> None:
    if name == "a.h5ad":
        pytest.importorskip("anndata")
    path = write(table, tmp_path / "in.gctx", "gctx")
    options = PredictOptions("standardized", scale=scale)
    done = predict(model, path, tmp_path / name, options, model_sha256="ab12")
    assert (done.n_profiles, done.n_landmarks, done.n_targets) == (40, 20, 45)
    landmarks = table.values[:, [table.genes.index(gene) for gene in model.landmarks.ensembl]]
    expected = np.concatenate([landmarks, oracle(model, landmarks)], axis=1)
    if scale == "reference":
        sd = np.concatenate([model.landmarks.sd, model.targets.sd])
        expected = expected * sd + np.concatenate([model.landmarks.mean, model.targets.mean])
    values, profiles, genes, tissue, sources, error = read_independently(tmp_path / name)
    np.testing.assert_allclose(values, expected, rtol=0, atol=5e-5)
    assert values.astype(np.float32).tobytes() == plain_matrix(model, path, options, tmp_path)
    assert profiles == list(table.profiles)
    copies = set(model.landmarks.ensembl) & set(model.targets.ensembl)
    assert copies
    assert genes == [
        *model.landmarks.ensembl,
        *(f"{gene}:inferred" if gene in copies else gene for gene in model.targets.ensembl),
    ]
    assert tissue == [f"t{n % 3}" for n in range(40)]
    assert sources == ["measured"] * 20 + ["inferred"] * 45
    unit = model.targets.sd if scale == "reference" else 1
    np.testing.assert_allclose(error[20:], model.errors["te"] * unit, rtol=1e-12)
    assert np.isnan(error[:20]).all()
    # The empty lock files stay, as beside every output.
    hidden = [child.name for child in tmp_path.iterdir() if child.name.startswith(".")]
    assert all(child.endswith(".lock") for child in hidden)
    assert not list(tmp_path.glob("*.partial*"))


def plain_matrix(model, path, options, folder) -> bytes:
    """Bits of the GCTX output."""
    predict(model, path, folder / "plain.gctx", options)
    return matrix(folder / "plain.gctx").tobytes()


def read_independently(path):
    """Values, ids and metadata by h5py, csv or anndata, without this package's readers."""
    if path.suffix == ".gctx":
        with h5py.File(path) as file:
            meta = file["0/META"]
            text = [
                [value.decode() for value in meta[name][...]]
                for name in ("COL/id", "ROW/id", "COL/tissue", "ROW/source")
            ]
            told = json.loads(file.attrs["provenance"])
            assert (told["model"]["sha256"], told["model"]["simulated"]) == ("ab12", True)
            assert told["device"] == {"platform": "cpu", "kind": "cpu"}
            assert told["precision"] == "highest"
            return file["0/DATA/0/matrix"][...], *text, meta["ROW/expected_error"][...]
    if path.suffix == ".h5ad":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import anndata

            data = anndata.read_h5ad(path)
        assert json.loads(data.uns["dgex"])["model"]["sha256"] == "ab12"
        return (
            data.X,
            list(data.obs_names),
            list(data.var_names),
            list(data.obs["tissue"]),
            list(data.var["source"]),
            data.var["expected_error"].to_numpy(),
        )
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))
    assert rows[0] == ["#1.3"]
    assert rows[1][:2] == ["65", "40"]
    n_fields, n_profile_fields = map(int, rows[1][2:])
    header, about = rows[2], {row[0]: row[n_fields + 1 :] for row in rows[3 : 3 + n_profile_fields]}
    assert set(about["dgex_model"]) == {"D-GEX-10%-7x2 ab12 (trained on simulated data)"}
    body = pd.DataFrame(rows[3 + n_profile_fields :], columns=header)
    values = body[header[n_fields + 1 :]].to_numpy(str).astype(np.float64).T
    error = body["expected_error"].to_numpy(str).astype(np.float64)
    return (
        values,
        header[n_fields + 1 :],
        list(body["id"]),
        about["tissue"],
        list(body["source"]),
        np.where(error == -666, np.nan, error),
    )


def test_own_readers_read_all_of_it(model, table, tmp_path, write) -> None:
    path = write(table, tmp_path / "in.gctx", "gctx")
    for name in ("a.gctx", "a.gct.gz"):
        predict(model, path, tmp_path / name, PLAIN)
    with Gctx(tmp_path / "a.gctx") as source:
        text = read_gct(tmp_path / "a.gct.gz")
        assert text.values.astype(np.float32).tobytes() == source.read().tobytes()
        assert text.genes == source.genes
        for field in ("source", "symbol", "ensembl", "entrez", "probes"):
            assert list(text.gene_metadata[field]) == list(source.gene_metadata[field])
        assert list(source.gene_metadata["symbol"]) == [
            *model.landmarks.symbols,
            *model.targets.symbols,
        ]
        for part in ("va", "te", "GTEx"):
            np.testing.assert_array_equal(
                source.gene_metadata[f"mae_{part}"].to_numpy()[20:], model.errors[part]
            )


def test_ids_of_other_models(model, table, tmp_path) -> None:
    """Without Ensembl ids an output goes by probe, then by symbol."""

    def bare(genes, **changes):
        return replace(genes, ensembl=("",) * len(genes), **changes)

    arrays = replace(model, landmarks=bare(model.landmarks), targets=bare(model.targets))
    file = Expression(tmp_path / "a", table.values[:, :20], table.profiles, model.landmarks.symbols)
    ids = (written := written_genes(arrays)).ids
    metadata = gene_metadata(make_plan(arrays, file, PLAIN, Progress()), written)
    assert ids[:20] == tuple(",".join(probes) for probes in model.landmarks.probes)
    assert "ensembl" not in metadata.columns
    named = replace(
        arrays,
        landmarks=bare(model.landmarks, probes=((),) * 20),
        targets=bare(model.targets, probes=((),) * 45),
        errors={},
    )
    ids = (written := written_genes(named)).ids
    metadata = gene_metadata(make_plan(named, file, PLAIN, Progress()), written)
    assert ids[:20] == model.landmarks.symbols
    assert list(metadata.columns) == ["source", "symbol", "entrez"]


@pytest.mark.parametrize("name", ["a.gctx", "a.gct"])
def test_awkward_profile_fields_are_carried(name, model, table, tmp_path) -> None:
    fields = {"id": "x", "a/b": "two\tcells", "a_b": "y", "input_id": None}
    say = pd.DataFrame(fields, index=pd.Index(table.profiles, dtype=object), dtype=object)
    file = Expression(tmp_path / "in.gct", table.values, table.profiles, table.genes, say)
    ids = (written := written_genes(model)).ids
    genes = gene_metadata(make_plan(model, file, PLAIN, Progress()), written)
    told = {"made_by": "me", "options": {}, "mapping": "", "input": {"sha256": "1"}}
    told["model"] = {"simulated": False, "method": "n", "sha256": None}
    with open_output(Output(tmp_path / name, table.profiles, ids, say, genes, told, {})) as writer:
        assert writer.pending() == (slice(0, 40),)
        writer.append(np.zeros((40, 65), np.float32))
        assert writer.pending() == ()
    with ExitStack() as files:
        found = open_input(tmp_path / name, files).profile_metadata
    first = {name: found[name].iloc[0] for name in ("input_id", "a_b", "a_b_", "input_id_")}
    assert first == {"input_id": "x", "a_b": "two cells", "a_b_": "y", "input_id_": "-666"}


@pytest.mark.parametrize("name", ["a.gctx", "a.gct.gz"])
def test_a_small_disk_is_told_first(name, model, table, tmp_path, write, monkeypatch) -> None:
    path = write(table, tmp_path / "in.gctx", "gctx")
    (tmp_path / name).write_text("older")
    values = 4 * 40 * 65

    def seen(step: str, *_: int) -> None:
        assert step != "inferring"

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9, free=9999))
    with pytest.raises(DgexError) as caught:
        predict(model, path, tmp_path / name, PLAIN, progress=seen)
    assert str(caught.value) == (
        f"{tmp_path / name}: can't be written: needs {values:,} bytes, the disk has 9,999 free"
    )
    assert (tmp_path / name).read_text() == "older"
    assert {child.name for child in tmp_path.iterdir()} == {"in.gctx", name, f".{name}.lock"}
    # A network drive that does not tell.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    predict(model, path, tmp_path / name, PLAIN)
    assert (tmp_path / name).read_bytes() != b"older"


def test_h5ad_obs_of_any_type_are_carried(model, table, tmp_path) -> None:
    anndata = pytest.importorskip("anndata")
    index = [pd.Index(ids, dtype=object) for ids in (table.profiles, table.genes)]
    obs = pd.DataFrame(
        {
            "age": np.arange(40),
            "dose": np.linspace(0, 1, 40),
            "kind": pd.Categorical(pd.Series(["a", "b"] * 20, dtype=object)),
            "some": pd.array([1, None] * 20, dtype="Int64"),
            "yes": [True, False] * 20,
        },
        index=index[0],
    )
    path = tmp_path / "in.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(table.values, obs=obs, var=pd.DataFrame(index=index[1])).write_h5ad(path)
    for name in ("a.h5ad", "a.gctx", "a.gct"):
        predict(model, path, tmp_path / name, PLAIN)
    with H5ad(tmp_path / "a.h5ad") as found, Gctx(tmp_path / "a.gctx") as other:
        for frame in (found.profile_metadata, other.profile_metadata):
            assert frame["age"].tolist() == list(range(40))
            assert frame["kind"].tolist() == ["a", "b"] * 20
            assert frame["some"].isna().tolist() == [False, True] * 20
            np.testing.assert_array_equal(frame["dose"], np.linspace(0, 1, 40))
            assert [bool(value) for value in frame["yes"]] == [True, False] * 20
    assert read_gct(tmp_path / "a.gct").profile_metadata["kind"].tolist() == ["a", "b"] * 20
