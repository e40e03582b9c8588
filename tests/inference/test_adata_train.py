"""A model trained on AnnData: that of the commands on the same file, bit for bit."""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

import dgex_jax
from dgex_jax.cli import main
from dgex_jax.config import NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.errors import DgexError, FormatError, PreparationError, Stopped
from dgex_jax.inference import adata_train, export
from dgex_jax.inference.modelfile import read_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dgex_jax.inference.model import Model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ad = pytest.importorskip("anndata")

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    *(
        pytest.mark.filterwarnings(f"ignore:The '{option}' option:Warning")
        for option in ("mode.chained_assignment", "future.infer_string")
    ),
]
"""What anndata itself does with views and files under pandas 3."""

N, G, LANDMARKS = 120, 24, 8
NETWORK = NetworkConfig(hidden_layers=1, units=6, dropout=0.1)
TRAINING = TrainingConfig(epochs=4, learning_rate=0.02, monitor_size=50, batch_size=20)
PREPARE = PrepareConfig(duplicates="none", seed=5)
FLAGS = ["--hidden-layers", "1", "--units", "6", "--dropout", "0.1", "--epochs", "4"]
FLAGS += ["--learning-rate", "0.02", "--monitor-size", "50", "--batch-size", "20", "-q"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


def compendium(kind: Callable[[Any], Any] = np.array) -> Any:
    """Sparse counts-like values that a few factors explain."""
    rng = np.random.default_rng(2)
    factors = rng.normal(size=(N, 3)) @ rng.normal(size=(3, G))
    X = np.maximum(factors + rng.normal(scale=0.2, size=(N, G)), 0).astype(np.float32)
    var = pd.DataFrame(
        {
            "is_landmark": np.arange(G) % 3 == 0,
            "gene_symbols": pd.Categorical([f"S{g}" for g in range(G)]),
            "Entrez": [780.0 + g if g else np.nan for g in range(G)],
        },
        index=pd.Index([f"g{g}_at" for g in range(G)], dtype=object),
    )
    obs = pd.DataFrame(
        {"tissue": pd.Categorical([f"t{n % 3}" for n in range(N)])},
        index=pd.Index([f"p{n}" for n in range(N)], dtype=object),
    )
    return ad.AnnData(kind(X), obs=obs, var=var)


def train(adata: Any, folder: Path, landmarks: Any = "is_landmark", **more: Any) -> Model:
    settings = {"network": NETWORK, "training": TRAINING, "prepare": PREPARE, **more}
    return dgex_jax.train_anndata(adata, folder, landmarks, **settings)


def listed(adata: Any) -> list[str]:
    return list(adata.var_names[adata.var["is_landmark"]])


@dataclass(frozen=True)
class Trained:
    """The same compendium by the function and by the commands."""

    adata: Any
    model: Model
    folder: Path
    commands: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    folder, commands = (tmp_path_factory.mktemp(name) for name in ("memory", "commands"))
    adata = compendium(sparse.csr_matrix)
    before = adata.copy()
    model = train(adata, folder / "new")
    assert (adata.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(adata.var, before.var)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(commands / "geo.h5ad")
    (commands / "l.txt").write_text("\n".join(listed(adata)))
    study = ["prepare", "--geo", str(commands / "geo.h5ad"), "--landmarks", str(commands / "l.txt")]
    prepared, run = str(commands / "p.h5"), str(commands / "run")
    steps = [
        [*study, "-o", prepared, "--duplicates", "none", "--seed", "5", "-q"],
        ["train", prepared, "-o", run, *FLAGS],
        ["export", run, prepared, "-o", str(commands / "model")],
    ]
    for step in steps:
        assert main(step) == 0
    return Trained(adata, model, folder / "new", commands)


def test_the_model_is_that_of_the_commands(trained, same) -> None:
    ours, theirs = (read_model(path / "model") for path in (trained.folder, trained.commands))
    same(ours, trained.model)
    same(replace(ours, record={}), replace(theirs, record={}))
    for name in ("genes.tsv", "reference.safetensors"):
        assert (trained.folder / "model" / name).read_bytes() == (
            trained.commands / "model" / name
        ).read_bytes()
    symbols = dict(zip(trained.adata.var_names, trained.adata.var["gene_symbols"], strict=True))
    for genes in (ours.landmarks, ours.targets):
        assert list(genes.symbols) == [symbols[probe] for (probe,) in genes.probes]
        assert "" not in genes.symbols
    entrez = {
        probe: one for (probe,), one in zip(ours.targets.probes, ours.targets.entrez, strict=True)
    }
    assert entrez["g1_at"] == "781"
    assert ours.record["study"]["raw_files"]["geo"]["name"] == "input.h5ad"
    assert ours.simulated is False


def test_and_so_is_what_it_infers(trained) -> None:
    source, output = trained.commands / "geo.h5ad", trained.commands / "inferred.h5ad"
    command = ["predict", str(trained.commands / "model"), str(source), "-o", str(output)]
    assert main([*command, "--platform", "microarray", "-q"]) == 0
    found = dgex_jax.predict_anndata(trained.model, trained.adata, "microarray")
    other = ad.read_h5ad(output)
    assert found.X.tobytes() == np.ascontiguousarray(other.X).tobytes()
    assert list(found.var_names) == list(other.var_names)
    pd.testing.assert_frame_equal(found.obs, trained.adata.obs)
    assert found.var["is_landmark"].tolist()[:LANDMARKS] == [True] * LANDMARKS


def test_the_same_call_again_gives_what_is_there(trained, same, monkeypatch) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("done before")

    monkeypatch.setattr(adata_train, "make_study", refuse)
    monkeypatch.setattr(adata_train, "write_model", refuse)
    monkeypatch.setattr(export, "export_model", refuse)
    adata = trained.adata
    mask = adata.var["is_landmark"].to_numpy()
    for landmarks in ("is_landmark", mask, mask.tolist(), listed(adata), pd.Index(listed(adata))):
        same(train(adata, trained.folder, landmarks), trained.model)
    # Neither how values are stored nor what is not used makes another object of it.
    dense = compendium()
    dense.obs = dense.obs.drop(columns="tissue")
    dense.layers["log"] = dense.X * 2
    same(train(dense, str(trained.folder)), trained.model)
    after = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    assert {path for path in stamps if "lock" not in path.name} <= set(after)
    assert all(
        after[path] == stamp
        for path, stamp in stamps.items()
        if path.is_file() and "lock" not in path.name
    )


def test_another_training_in_the_folder_is_refused(trained, tmp_path) -> None:
    other = trained.adata.copy()
    other.X = other.X * 2
    renamed = trained.adata.copy()
    renamed.var["gene_symbols"] = [f"R{g}" for g in range(G)]
    content = (trained.folder / "prepared.h5").read_bytes()
    for adata, more, cause in (
        (other, {}, "input.h5ad: holds other profiles or genes"),
        (renamed, {}, "input.h5ad: holds other profiles or genes"),
        (trained.adata, {"landmarks": listed(other)[1:]}, "landmarks.txt: holds other landmarks"),
        (trained.adata, {"name": "another"}, "prepared.h5: holds another study"),
        (trained.adata, {"prepare": PrepareConfig()}, "prepared.h5: holds another study"),
        (trained.adata, {"simulated": True}, "prepared.h5: holds another study"),
        (trained.adata, {"training": replace(TRAINING, epochs=5)}, "another run"),
    ):
        with pytest.raises(DgexError, match=cause):
            train(adata, trained.folder, **more)
    assert (trained.folder / "prepared.h5").read_bytes() == content
    (tmp_path / "input.h5ad").write_text("mine")
    with pytest.raises(DgexError, match=r"input\.h5ad: "):
        train(trained.adata, tmp_path)
    assert (tmp_path / "input.h5ad").read_text() == "mine"


def test_a_stopped_training_goes_on_to_the_same_bits(trained, tmp_path, same, monkeypatch) -> None:
    lines: list[str] = []

    def stop_once(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(adata_train, "say", stop_once)
    folder = tmp_path / "made" / "new"
    with pytest.raises(Stopped):
        train(trained.adata, folder, progress=True)
    assert not (folder / "model").exists()
    found = train(trained.adata, folder, progress=True)
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert (folder / "prepared.h5").read_bytes() == (trained.folder / "prepared.h5").read_bytes()
    record = {"record": {}}
    same(replace(found, **record), replace(trained.model, **record))


def test_views_layers_and_ensembl_ids(tmp_path) -> None:
    adata = compendium()
    adata.var["gene_ids"] = [f"ENSG{g:011d}.2" if g != 4 else "none" for g in range(G)]
    adata.layers["log"] = np.log1p(adata.X)
    places = np.arange(N)[::-1]
    found = train(adata[places], tmp_path / "t", simulated=True, name="mine", layer="log")
    assert found.simulated is True
    assert found.record["study"]["name"] == "mine"
    targets = found.targets
    ensembl = {probe: one for (probe,), one in zip(targets.probes, targets.ensembl, strict=True)}
    assert (ensembl["g1_at"], ensembl["g4_at"]) == ("ENSG00000000001.2", "")
    written = ad.read_h5ad(tmp_path / "t" / "input.h5ad")
    np.testing.assert_array_equal(written.X, np.log1p(compendium().X)[places])
    assert written.obs_names.tolist() == [f"p{n}" for n in places]


@pytest.mark.parametrize("kind", [np.array, sparse.csr_matrix])
def test_a_backed_object_and_overwriting(kind, trained, tmp_path, same) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compendium(kind).write_h5ad(tmp_path / "a.h5ad")
    folder = tmp_path / "t"
    train(compendium()[::-1], folder)
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(DgexError, match="holds other profiles or genes"):
        train(backed, folder)
    found = train(backed, folder, overwrite=True)
    backed.file.close()
    same(replace(found, record={}), replace(trained.model, record={}))
    same(found, read_model(folder / "model"))
    assert (ad.read_h5ad(folder / "input.h5ad").X != trained.adata.X).sum() == 0


@pytest.mark.parametrize(
    ("landmarks", "cause"),
    [
        ("nothing", "AnnData: var has no column 'nothing' to tell the landmarks"),
        ("gene_symbols", "AnnData: column 'gene_symbols' of var must be boolean, not object"),
        (["g0_at", "g1"], "AnnData: 1 of 2 landmarks are not in var_names, the first is 'g1'"),
        (["g0_at", "g0_at"], "AnnData: duplicate landmark id 'g0_at' (landmarks 1 and 2)"),
        ([True, False], "AnnData: landmarks of shape (2,) for 24 genes"),
        (np.zeros(G, bool), "AnnData: no gene is a landmark"),
        (np.arange(3), "AnnData: landmarks are a column of var, var_names, or a boolean array"),
        ([["g0_at"]], "AnnData: landmarks are a column of var, var_names, or a boolean array"),
        ([], "AnnData: "),
    ],
)
def test_landmarks_that_can_not_be_told(landmarks, cause, tmp_path) -> None:
    with pytest.raises(DgexError) as caught:
        train(compendium(), tmp_path / "t", landmarks)
    assert str(caught.value).startswith(cause)
    assert not (tmp_path / "t").exists()


def test_what_can_not_be_trained_on(tmp_path) -> None:
    twice = compendium()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice.var_names = ["g1_at", *twice.var_names[1:]]
    with pytest.raises(FormatError, match=r"duplicate gene \(var_names\) id 'g1_at'"):
        train(twice, tmp_path / "t")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice.obs_names = ["p1", *twice.obs_names[1:]]
    with pytest.raises(FormatError, match=r"duplicate profile \(obs_names\) id 'p1'"):
        train(twice, tmp_path / "t")
    spaced = compendium()
    spaced.var_names = ["g0 ", *spaced.var_names[1:]]
    with pytest.raises(DgexError, match="gene id 'g0 ' has white space"):
        train(spaced, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    missing = compendium()
    missing.X[3, 4] = np.nan
    with pytest.raises(FormatError, match="the first is nan in profile 'p3', gene 'g4_at'"):
        train(missing, tmp_path / "t")
    with pytest.raises(PreparationError, match=r"none is left to infer"):
        train(compendium(), tmp_path / "u", [True] * G)
