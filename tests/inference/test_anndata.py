"""AnnData in memory: predicted from and trained on to the bits of the commands on the same file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import dgex_jax
from dgex_jax.cli import main
from dgex_jax.config import NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.errors import DgexError, FormatError, PreparationError, Stopped
from dgex_jax.io.manifest import commit
from dgex_jax.model import anndata as module
from dgex_jax.model import export
from dgex_jax.model.model import read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dgex_jax.model.model import Model, ModelGenes

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

N, EXTRA = 34, 4
"""Profiles, and genes that the model does not know."""


def write(adata: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(path)
    return path


def renamed(adata: Any, **names: Any) -> Any:
    """A copy with other names of an axis, which may come twice."""
    made = adata.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for axis, ids in names.items():
            setattr(made, axis, ids)
    return made


# --- a model applied


@pytest.fixture(scope="module")
def model(new_model: Callable[..., Model]) -> Model:
    """A model of 7 landmarks and 9 targets, all with an id of each kind."""

    def named(genes: ModelGenes, letter: str, first: int) -> ModelGenes:
        n = len(genes)
        return replace(
            genes,
            ensembl=tuple(f"ENSG{first + g:011d}" for g in range(n)),
            symbols=tuple(f"{letter}{g}" for g in range(n)),
            entrez=tuple(str(first + 7 * g) for g in range(n)),
            probes=tuple((f"{letter}{g}_at",) for g in range(n)),
            mean=np.linspace(6, 9, n),
            sd=np.linspace(0.5, 1.5, n),
        )

    made = new_model()
    return replace(
        made,
        landmarks=named(made.landmarks, "L", 780),
        targets=named(made.targets, "T", 5001),
        quantile=np.linspace(2, 14, 16),
        landmark_quantile=np.linspace(3, 12, 7),
    )


@pytest.fixture(scope="module")
def folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    write_model(path, model)
    return path


@pytest.fixture
def adata(model: Model) -> Any:
    """Counts of landmarks, some targets and other genes, with something in every slot."""
    rng = np.random.default_rng(3)
    genes = [*model.landmarks.ensembl, *model.targets.ensembl[:5], *(f"x{n}" for n in range(EXTRA))]
    ids = pd.Index([genes[place] for place in rng.permutation(len(genes))], dtype=object)
    names = pd.Index([f"cell{n:02d}" for n in range(N)], dtype=object)
    obs = pd.DataFrame(
        {
            "tissue": pd.Categorical([f"t{n % 3}" for n in range(N)], ["t2", "t1", "t0"]),
            "age": rng.integers(1, 90, N),
            "other name": rng.normal(size=N),
        },
        index=names,
    )
    var = pd.DataFrame(
        {
            "source": pd.Categorical(["array"] * len(genes)),
            "n_cells": rng.integers(1, 9, len(genes)),
            "variable": rng.uniform(size=len(genes)) < 0.5,
            "score": rng.normal(size=len(genes)),
            "note": [f"note {gene}" for gene in ids],
        },
        index=ids,
    )
    X = rng.poisson(1.5, (N, len(genes))).astype(np.float32)
    made = ad.AnnData(X, obs=obs, var=var, uns={"pca": {"variance": np.arange(3.0)}, "dgex": "old"})
    made.obsm["X_pca"] = rng.normal(size=(N, 2))
    made.obsm["table"] = pd.DataFrame({"a": np.arange(N)}, index=names)
    made.obsp["near"] = sparse.csr_matrix(np.eye(N))
    made.varm["loadings"] = rng.normal(size=(len(genes), 2))
    made.layers["log"] = np.log1p(X)
    return made


def predict(model: Model | Path, adata: Any, platform: str = "rnaseq", **options: Any) -> Any:
    return dgex_jax.predict_anndata(model, adata, platform, **options)  # type: ignore[arg-type]


def by_command(model: Path, adata: Any, folder: Path, *options: str) -> Any:
    """Read what ``dgex predict`` writes for the same object as a file."""
    source, output = write(adata, folder / "input.h5ad"), folder / "output.h5ad"
    assert main(["predict", str(model), str(source), "-o", str(output), "-q", *options]) == 0
    return ad.read_h5ad(output)


def bits(adata: Any) -> bytes:
    return np.ascontiguousarray(adata.X).tobytes()


KINDS: dict[str, Callable[[Any], Any]] = {
    "dense": np.array,
    "fortran": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr array": sparse.csr_array,
    "float64": lambda X: X.astype(np.float64) / 3,
    "int32": lambda X: X.astype(np.int32),
}


@pytest.mark.parametrize("kind", KINDS)
def test_memory_gives_the_bits_of_the_file(kind, adata, folder, tmp_path) -> None:
    adata.X = KINDS[kind](adata.X)
    found = predict(folder, adata, scale="reference")
    other = by_command(folder, adata, tmp_path, "--platform", "rnaseq", "--scale", "reference")
    assert found.X.dtype == np.float32
    assert bits(found) == bits(other)
    assert list(found.var_names) == list(other.var_names)
    for name in other.var.columns:
        ours, theirs = found.var[name], other.var[name]
        if ours.dtype.kind == "f":
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert list(ours.astype(str)) == list(theirs.astype(str))
    told, others = json.loads(found.uns["dgex"]), json.loads(other.uns["dgex"])
    X = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    values = np.ascontiguousarray(X, np.float64 if kind in {"float64", "int32"} else np.float32)
    sha256 = hashlib.sha256(values).hexdigest()
    others["input"] |= {"name": "AnnData", "sha256": sha256}
    # Beside a file, in memory with the rest.
    assert told == {**others, "commit": commit()}


@pytest.mark.parametrize(
    "options",
    [
        {"platform": "standardized", "force_platform": True},
        {"platform": "microarray", "standardize": "input"},
        {"platform": "rnaseq", "standardize": "training"},
        {"platform": "l1000", "scale": "reference"},
        {"platform": "standardized", "input_ids": "symbol", "impute": True, "force_platform": True},
        {"platform": "rnaseq", "ids": "symbol", "genes": ["T8", "5001", "L3"]},
    ],
)
def test_every_option_is_that_of_the_command(options, adata, model, folder, tmp_path) -> None:
    if options.get("input_ids") == "symbol":
        adata.var_names = [f"L{n}" for n in range(1, adata.n_vars + 1)]
    # Counts are neither standardised nor in the range of L1000 values.
    odd = options["platform"] in {"standardized", "l1000"}
    with pytest.warns(UserWarning, match="has no negative|only ") if odd else nullcontext():
        found = predict(model, adata, **options)
    flags = [
        f"--{key.replace('_', '-')}{'' if value is True else f'={value}'}"
        for key, value in (options | {"genes": ",".join(options.get("genes", []))}).items()
        if value
    ]
    other = by_command(folder, adata, tmp_path, *flags)
    assert bits(found) == bits(other)
    assert list(found.var_names) == list(other.var_names)
    if "genes" in options:
        assert list(found.var_names) == ["L3", "T0", "T8"]
        assert list(found.var["note"]) == [f"note {model.landmarks.ensembl[3]}", "", ""]
    told = json.loads(found.uns["dgex"])
    assert told["model"]["sha256"] is None
    assert told["options"] == json.loads(other.uns["dgex"])["options"]


def test_the_input_is_kept_and_not_changed(adata, folder) -> None:
    before = adata.copy()
    found = predict(folder, adata)

    def same(one: Any) -> None:
        pd.testing.assert_frame_equal(one.obs, before.obs)
        np.testing.assert_array_equal(one.obsm["X_pca"], before.obsm["X_pca"])
        pd.testing.assert_frame_equal(one.obsm["table"], before.obsm["table"])
        assert (one.obsp["near"] != before.obsp["near"]).nnz == 0
        np.testing.assert_array_equal(one.uns["pca"]["variance"], np.arange(3.0))

    same(found)
    assert found.obs["tissue"].cat.categories.tolist() == ["t2", "t1", "t0"]
    assert found.uns["input_dgex"] == "old"
    assert json.loads(found.uns["dgex"])["made_by"].startswith("dgex predict")
    assert (len(found.varm), found.raw) == (0, None)
    assert set(found.layers) <= {None}
    for values in (found.X, found.obsm["X_pca"], found.obsp["near"].data):
        values[:] = 0
    found.obs["age"] = found.obsm["table"]["a"] = 0
    found.uns["pca"]["variance"][:] = 0
    same(adata)
    np.testing.assert_array_equal(adata.X, before.X)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert dict(adata.uns)["dgex"] == "old"


def test_columns_of_var_stay_with_the_landmarks(adata, model, folder, tmp_path) -> None:
    made = predict(folder, adata)
    found, n, n_targets = made.var, len(model.landmarks), len(model.targets)
    own = adata.var.loc[list(model.landmarks.ensembl)]
    assert found["source"].tolist() == ["measured"] * n + ["inferred"] * n_targets
    assert found["input_source"].tolist()[:n] == ["array"] * n
    assert found["input_source"].isna().tolist() == [False] * n + [True] * n_targets
    for name in ("n_cells", "variable", "score", "note"):
        assert found[name].tolist()[:n] == own[name].tolist()
    assert found["n_cells"].isna().sum() == found["variable"].isna().sum() == n_targets
    assert set(found["note"].tolist()[n:]) == {""}
    again = ad.read_h5ad(write(made, tmp_path / "result.h5ad"))
    assert again.var["n_cells"].tolist()[:n] == own["n_cells"].tolist()
    assert bits(again) == bits(made)
    lacking = adata[:, [name != model.landmarks.ensembl[2] for name in adata.var_names]]
    var = predict(folder, lacking, impute=True).var
    assert var["source"].iloc[2] == "imputed"
    assert var["note"].iloc[1:4].tolist() == [own["note"].iloc[1], "", own["note"].iloc[3]]


def test_views_backed_objects_and_layers(adata, folder, tmp_path) -> None:
    rng = np.random.default_rng(8)
    rows, columns = rng.permutation(N), rng.permutation(adata.n_vars)
    entire = predict(folder, adata)
    for X in (adata.X, sparse.csr_matrix(adata.X), sparse.csc_matrix(adata.X)):
        adata.X = X
        found = predict(folder, adata[rows][:, columns])
        assert found.obs_names.tolist() == adata.obs_names[rows].tolist()
        np.testing.assert_allclose(found.X, entire.X[rows], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found.obsm["X_pca"], adata.obsm["X_pca"][rows])
        assert type(found.obsm["X_pca"]) is np.ndarray
        assert not found.is_view
        backed = ad.read_h5ad(write(adata, tmp_path / "input.h5ad"), backed="r")
        for one in (backed, backed[:]):
            again = predict(folder, one)
            assert bits(again) == bits(entire)
            pd.testing.assert_frame_equal(again.obs, pd.DataFrame(one.obs))
        backed.file.close()
    with pytest.raises(FormatError, match="has no negative value"):
        predict(folder, adata, "standardized", layer="log")
    with pytest.warns(UserWarning, match=r"has no negative value .*forced"):
        log = predict(folder, adata, "standardized", layer="log", force_platform=True)
    wanted = np.asarray(adata[:, log.var_names[0]].layers["log"])[:, 0]
    np.testing.assert_array_equal(log.X[:, 0], wanted)
    with pytest.raises(FormatError, match="has no layer 'raw'; its layers: 'log'"):
        predict(folder, adata, layer="raw")


def test_genes_in_a_column_or_on_the_other_axis(adata, folder) -> None:
    wanted, turned = predict(folder, adata), predict(folder, adata.T)
    assert bits(turned) == bits(wanted)
    pd.testing.assert_frame_equal(turned.obs, wanted.obs)
    pd.testing.assert_frame_equal(turned.var, wanted.var)
    assert set(turned.obsm) == set(wanted.obsm)
    assert set(turned.obsp) == {"near"}
    adata.var["feature_id"] = pd.Categorical(adata.var_names)
    # Names may come twice where they are not what genes are found by.
    found = predict(
        folder, renamed(adata, var_names=[f"name{n // 2}" for n in range(adata.n_vars)])
    )
    assert bits(found) == bits(wanted)
    assert "in the field 'feature_id'" in json.loads(found.uns["dgex"])["input"]["genes"]


def test_what_can_not_be_used_is_one_line(adata, model, folder) -> None:
    names, ensembl = list(adata.var_names), model.landmarks.ensembl
    twice = [ensembl[1] if name == "x0" else name for name in names]
    missing = adata.copy()
    missing.X[3, names.index(ensembl[0])] = np.nan
    for one, cause in (
        (renamed(adata, var_names=twice), f"there twice: {ensembl[1]!r}"),
        (
            renamed(adata, obs_names=["cell00", *adata.obs_names[:-1]]),
            "duplicate profile id 'cell00' (profiles 1 and 2)",
        ),
        (missing, f"the first is nan in profile 'cell03', gene {ensembl[0]!r}"),
        (
            adata[:, list(ensembl[:5])],
            "2 of 7 landmarks are missing (by Ensembl id on its var): L5, L6",
        ),
        (adata[:5], "has 5 profiles, too few"),
        (ad.AnnData(obs=adata.obs, var=adata.var), "has no X"),
    ):
        with pytest.raises(FormatError) as caught:
            predict(folder, one)
        assert str(caught.value).startswith("AnnData: ")
        assert cause in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(DgexError, match="needs an AnnData object, not a ndarray"):
        predict(folder, adata.X)
    with pytest.raises(DgexError, match="no such model folder"):
        predict(folder / "none", adata)
    adata.X = adata.X * 100 - 90
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        predict(folder, adata, "standardized", force_platform=True)
    texts = [str(one.message) for one in told]
    assert any("are they standardised" in text for text in texts)
    assert any("away from 0, so its values are not standardised" in text for text in texts)


# --- a network trained

PROFILES, GENES, LANDMARKS = 120, 24, 8
NETWORK = NetworkConfig(hidden_layers=1, units=6, dropout=0.1)
TRAINING = TrainingConfig(epochs=4, learning_rate=0.02, monitor_size=50, batch_size=20)
PREPARE = PrepareConfig(duplicates="none", seed=5)
FLAGS = [
    "--hidden-layers",
    "1",
    "--units",
    "6",
    "--dropout",
    "0.1",
    "--epochs",
    "4",
    "--learning-rate",
    "0.02",
]
FLAGS += ["--monitor-size", "50", "--batch-size", "20", "-q"]


def compendium(kind: Callable[[Any], Any] = np.array) -> Any:
    """Sparse counts-like values that a few factors explain."""
    rng = np.random.default_rng(2)
    factors = rng.normal(size=(PROFILES, 3)) @ rng.normal(size=(3, GENES))
    X = np.maximum(factors + rng.normal(scale=0.2, size=factors.shape), 0).astype(np.float32)
    var = pd.DataFrame(
        {
            "is_landmark": np.arange(GENES) % 3 == 0,
            "gene_symbols": pd.Categorical([f"S{g}" for g in range(GENES)]),
            "Entrez": [780.0 + g if g else np.nan for g in range(GENES)],
        },
        index=pd.Index([f"g{g}_at" for g in range(GENES)], dtype=object),
    )
    obs = pd.DataFrame(
        {"tissue": pd.Categorical([f"t{n % 3}" for n in range(PROFILES)])},
        index=pd.Index([f"p{n}" for n in range(PROFILES)], dtype=object),
    )
    return ad.AnnData(kind(X), obs=obs, var=var)


def train(adata: Any, folder: Path, landmarks: Any = "is_landmark", **more: Any) -> Model:
    settings = {"network": NETWORK, "training": TRAINING, "prepare": PREPARE, **more}
    return dgex_jax.train_anndata(adata, folder, landmarks, **settings)


def listed(adata: Any) -> list[str]:
    return list(adata.var_names[adata.var["is_landmark"]])


def plain(model: Model) -> Model:
    """Without what is said of its making."""
    return replace(model, record={})


@dataclass(frozen=True)
class Trained:
    """The same compendium by the function and by the commands."""

    adata: Any
    model: Model
    folder: Path
    commands: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Trained:
    folder, commands = (tmp_path_factory.mktemp(name) for name in ("memory", "commands"))
    adata = compendium(sparse.csr_matrix)
    before = adata.copy()
    model = train(adata, folder / "new")
    assert (adata.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(adata.var, before.var)
    geo, genes, prepared, run, exported = (
        str(commands / name) for name in ("geo.h5ad", "l.txt", "p.h5", "run", "model")
    )
    write(adata, commands / "geo.h5ad")
    (commands / "l.txt").write_text("\n".join(listed(adata)))
    study = ["--geo", geo, "--landmarks", genes, "--duplicates", "none", "--seed", "5"]
    for step in (
        ["prepare", *study, "-o", prepared, "-q"],
        ["train", prepared, "-o", run, *FLAGS],
        ["export", run, prepared, "-o", exported],
    ):
        assert main(step) == 0
    return Trained(adata, model, folder / "new", commands)


def test_the_model_and_what_it_infers_are_those_of_the_commands(both, same, tmp_path) -> None:
    ours, theirs = (read_model(path / "model") for path in (both.folder, both.commands))
    same(ours, both.model)
    same(plain(ours), plain(theirs))
    for name in ("genes.tsv", "reference.safetensors"):
        contents = {(path / "model" / name).read_bytes() for path in (both.folder, both.commands)}
        assert len(contents) == 1
    symbols = dict(zip(both.adata.var_names, both.adata.var["gene_symbols"], strict=True))
    for genes in (ours.landmarks, ours.targets):
        assert list(genes.symbols) == [symbols[probe] for (probe,) in genes.probes]
    assert ours.targets.entrez[ours.targets.probes.index(("g1_at",))] == "781"
    assert ours.record["study"]["raw_files"]["geo"]["name"] == "input.h5ad"
    assert ours.simulated is False
    found = predict(both.model, both.adata, "microarray")
    other = by_command(both.commands / "model", both.adata, tmp_path, "--platform", "microarray")
    assert bits(found) == bits(other)
    assert list(found.var_names) == list(other.var_names)
    assert list(found.obs)[-2:] == ["unlike_training", "reconstructed"]
    pd.testing.assert_frame_equal(found.obs.iloc[:, :-2], both.adata.obs)
    assert found.var["is_landmark"].tolist()[:LANDMARKS] == [True] * LANDMARKS


def test_the_same_call_again_gives_what_is_there(both, same, monkeypatch) -> None:
    def stamps() -> dict[Path, int]:
        files = [path for path in both.folder.rglob("*") if path.is_file()]
        return {path: path.stat().st_mtime_ns for path in files if "lock" not in path.name}

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("done before")

    before = stamps()
    monkeypatch.setattr(module, "make_study", refuse)
    monkeypatch.setattr(module, "write_model", refuse)
    monkeypatch.setattr(export, "export_model", refuse)
    adata = both.adata
    mask = adata.var["is_landmark"].to_numpy()
    for landmarks in ("is_landmark", mask, mask.tolist(), listed(adata), pd.Index(listed(adata))):
        same(train(adata, both.folder, landmarks), both.model)
    # Neither how values are stored nor what is not used makes another object of it.
    dense = compendium()
    dense.obs = dense.obs.drop(columns="tissue")
    dense.layers["log"] = dense.X * 2
    same(train(dense, str(both.folder)), both.model)
    assert stamps() == before


def test_another_training_in_the_folder_is_refused(both, tmp_path) -> None:
    other, symbols = both.adata.copy(), both.adata.copy()
    other.X = other.X * 2
    symbols.var["gene_symbols"] = [f"R{g}" for g in range(GENES)]
    content = (both.folder / "prepared.h5").read_bytes()
    for adata, more, cause in (
        (other, {}, "input.h5ad: holds other profiles or genes"),
        (symbols, {}, "input.h5ad: holds other profiles or genes"),
        (both.adata, {"landmarks": listed(other)[1:]}, "landmarks.txt: holds other landmarks"),
        (both.adata, {"name": "another"}, "prepared.h5: holds another study"),
        (both.adata, {"prepare": PrepareConfig()}, "prepared.h5: holds another study"),
        (both.adata, {"simulated": True}, "prepared.h5: holds another study"),
        (both.adata, {"training": replace(TRAINING, epochs=5)}, "another run"),
    ):
        with pytest.raises(DgexError, match=cause):
            train(adata, both.folder, **more)
    assert (both.folder / "prepared.h5").read_bytes() == content
    (tmp_path / "input.h5ad").write_text("mine")
    with pytest.raises(DgexError, match=r"input\.h5ad: "):
        train(both.adata, tmp_path)
    assert (tmp_path / "input.h5ad").read_text() == "mine"


def test_a_stopped_training_resumes_to_the_same_bits(both, tmp_path, same, monkeypatch) -> None:
    lines: list[str] = []

    def stop_once(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module, "say", stop_once)
    folder = tmp_path / "made" / "new"
    with pytest.raises(Stopped):
        train(both.adata, folder, progress=True)
    assert not (folder / "model").exists()
    found = train(both.adata, folder, progress=True)
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert (folder / "prepared.h5").read_bytes() == (both.folder / "prepared.h5").read_bytes()
    same(plain(found), plain(both.model))


def test_views_layers_and_ensembl_ids(tmp_path) -> None:
    adata = compendium()
    adata.var["gene_ids"] = [f"ENSG{g:011d}.2" if g != 4 else "none" for g in range(GENES)]
    adata.layers["log"] = np.log1p(adata.X)
    places = np.arange(PROFILES)[::-1]
    found = train(adata[places], tmp_path / "t", simulated=True, name="mine", layer="log")
    assert found.simulated is True
    assert found.record["study"]["name"] == "mine"
    ensembl = dict(zip(found.targets.probes, found.targets.ensembl, strict=True))
    assert (ensembl["g1_at",], ensembl["g4_at",]) == ("ENSG00000000001.2", "")
    written = ad.read_h5ad(tmp_path / "t" / "input.h5ad")
    np.testing.assert_array_equal(written.X, np.log1p(compendium().X)[places])
    assert written.obs_names.tolist() == [f"p{n}" for n in places]


@pytest.mark.parametrize("kind", [np.array, sparse.csr_matrix])
def test_a_backed_object_and_overwriting(kind, both, tmp_path, same) -> None:
    folder = tmp_path / "t"
    train(compendium()[::-1], folder)
    backed = ad.read_h5ad(write(compendium(kind), tmp_path / "a.h5ad"), backed="r")
    with pytest.raises(DgexError, match="holds other profiles or genes"):
        train(backed, folder)
    found = train(backed, folder, overwrite=True)
    backed.file.close()
    same(plain(found), plain(both.model))
    same(found, read_model(folder / "model"))
    assert (ad.read_h5ad(folder / "input.h5ad").X != both.adata.X).sum() == 0


@pytest.mark.parametrize(
    ("landmarks", "cause"),
    [
        ("nothing", "var has no column 'nothing' to tell the landmarks"),
        ("gene_symbols", "column 'gene_symbols' of var must be boolean, not object"),
        (["g0_at", "g1"], "1 of 2 landmarks are not in var_names, the first is 'g1'"),
        (["g0_at", "g0_at"], "duplicate landmark id 'g0_at' (landmarks 1 and 2)"),
        ([True, False], "landmarks of shape (2,) for 24 genes"),
        (np.zeros(GENES, bool), "no gene is a landmark"),
        (np.arange(3), "landmarks are a column of var, var_names, or a boolean array"),
        ([["g0_at"]], "landmarks are a column of var, var_names, or a boolean array"),
        ([], ""),
    ],
)
def test_landmarks_that_can_not_be_told(landmarks, cause, tmp_path) -> None:
    with pytest.raises(DgexError) as caught:
        train(compendium(), tmp_path / "t", landmarks)
    assert str(caught.value).startswith(f"AnnData: {cause}")
    assert not (tmp_path / "t").exists()


def test_what_can_not_be_trained_on(tmp_path) -> None:
    adata = compendium()
    for axis, first, cause in (
        ("var_names", "g1_at", r"duplicate gene \(var_names\) id 'g1_at'"),
        ("obs_names", "p1", r"duplicate profile \(obs_names\) id 'p1'"),
        ("var_names", "g0 ", "gene id 'g0 ' has white space"),
    ):
        with pytest.raises(DgexError, match=cause):
            train(renamed(adata, **{axis: [first, *getattr(adata, axis)[1:]]}), tmp_path / "t")
    assert not (tmp_path / "t").exists()
    with pytest.raises(PreparationError, match=r"none is left to infer"):
        train(adata, tmp_path / "u", [True] * GENES)
    adata.X[3, 4] = np.nan
    with pytest.raises(FormatError, match="the first is nan in profile 'p3', gene 'g4_at'"):
        train(adata, tmp_path / "t")
