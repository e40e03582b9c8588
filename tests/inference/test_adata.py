"""AnnData in memory: the same numbers as the command gives for it as a file."""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

import dgex_jax
from dgex_jax.cli import main
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.inference.modelfile import write_model
from dgex_jax.provenance import commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dgex_jax.inference.model import Model, ModelGenes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ad = pytest.importorskip("anndata")

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:The '{option}' option:Warning")
    for option in ("mode.chained_assignment", "future.infer_string")
]
"""What anndata itself does with views and files under pandas 3."""

N, EXTRA = 34, 4
"""Profiles, and genes that the model does not know."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


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
    order = rng.permutation(len(genes))
    ids = pd.Index([genes[place] for place in order], dtype=object)
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


def write(adata: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(path)
    return path


def by_command(model: Path, source: Path, *options: str) -> Any:
    """Read what ``dgex predict`` writes."""
    output = source.with_name("output.h5ad")
    command = ["predict", str(model), str(source), "-o", str(output), "-q", *options]
    assert main(command) == 0
    return ad.read_h5ad(output)


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
    found = dgex_jax.predict_anndata(folder, adata, "rnaseq", scale="reference")
    path = write(adata, tmp_path / "input.h5ad")
    other = by_command(folder, path, "--platform", "rnaseq", "--scale", "reference")
    assert found.X.dtype == np.float32
    assert found.X.tobytes() == np.ascontiguousarray(other.X).tobytes()
    for name in other.var.columns:
        ours, theirs = found.var[name], other.var[name]
        assert ours.dtype.kind == "f" or list(ours.astype(str)) == list(theirs.astype(str))
        if ours.dtype.kind == "f":
            np.testing.assert_array_equal(ours, theirs)
    assert list(found.var_names) == list(other.var_names)
    told, others = json.loads(found.uns["dgex"]), json.loads(other.uns["dgex"])
    X = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    values = np.ascontiguousarray(X, np.float64 if kind in {"float64", "int32"} else np.float32)
    assert told.pop("input") == {
        **others.pop("input"),
        "name": "AnnData",
        "sha256": hashlib.sha256(values).hexdigest(),
    }
    # Beside a file, in memory with the rest.
    assert told.pop("commit") == commit()
    assert told == others


@pytest.mark.parametrize(
    "options",
    [
        {"platform": "standardized", "force_platform": True},
        {"platform": "microarray", "standardize": "input"},
        {"platform": "rnaseq", "standardize": "training"},
        {"platform": "l1000", "scale": "reference"},
        {"platform": "standardized", "ids": "symbol", "impute": True, "force_platform": True},
    ],
)
def test_every_option_is_that_of_the_command(options, adata, model, folder, tmp_path) -> None:
    if options.get("ids") == "symbol":
        adata.var_names = [f"L{n}" for n in range(1, adata.n_vars + 1)]
    # Counts are neither standardised nor in the range of L1000 values.
    odd = options["platform"] in {"standardized", "l1000"}
    with pytest.warns(UserWarning, match="has no negative|only ") if odd else nullcontext():
        found = dgex_jax.predict_anndata(model, adata, **options)
    flags = [
        f"--{key.replace('_', '-')}" if value is True else f"--{key}={value}"
        for key, value in options.items()
    ]
    other = by_command(folder, write(adata, tmp_path / "input.h5ad"), *flags)
    assert found.X.tobytes() == np.ascontiguousarray(other.X).tobytes()
    told = json.loads(found.uns["dgex"])
    assert told["model"]["sha256"] is None
    assert told["options"] == json.loads(other.uns["dgex"])["options"]


def test_the_input_is_kept_and_not_changed(adata, folder) -> None:
    before = adata.copy()
    found = dgex_jax.predict_anndata(folder, adata, "rnaseq")
    pd.testing.assert_frame_equal(found.obs, before.obs)
    assert found.obs["tissue"].cat.categories.tolist() == ["t2", "t1", "t0"]
    np.testing.assert_array_equal(found.obsm["X_pca"], before.obsm["X_pca"])
    pd.testing.assert_frame_equal(found.obsm["table"], before.obsm["table"])
    assert (found.obsp["near"] != before.obsp["near"]).nnz == 0
    np.testing.assert_array_equal(found.uns["pca"]["variance"], np.arange(3.0))
    assert found.uns["input_dgex"] == "old"
    assert json.loads(found.uns["dgex"])["made_by"].startswith("dgex predict")
    assert (len(found.varm), found.raw) == (0, None)
    assert set(found.layers) <= {None}
    found.X[:] = 0
    found.obs["age"] = 0
    found.obsm["X_pca"][:] = 0
    found.obsm["table"]["a"] = 0
    found.obsp["near"].data[:] = 0
    found.uns["pca"]["variance"][:] = 0
    np.testing.assert_array_equal(adata.X, before.X)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    np.testing.assert_array_equal(adata.obsm["X_pca"], before.obsm["X_pca"])
    pd.testing.assert_frame_equal(adata.obsm["table"], before.obsm["table"])
    assert adata.obsp["near"].nnz == N
    assert adata.obsp["near"].sum() == N
    assert dict(adata.uns)["dgex"] == "old"
    np.testing.assert_array_equal(adata.uns["pca"]["variance"], np.arange(3.0))


def test_columns_of_var_stay_with_the_landmarks(adata, model, folder, tmp_path) -> None:
    found = dgex_jax.predict_anndata(folder, adata, "rnaseq").var
    n = len(model.landmarks)
    own = adata.var.loc[list(model.landmarks.ensembl)]
    assert found["source"].tolist() == ["measured"] * n + ["inferred"] * len(model.targets)
    assert found["input_source"].tolist()[:n] == ["array"] * n
    assert found["input_source"].isna().tolist() == [False] * n + [True] * len(model.targets)
    for name in ("n_cells", "variable", "score", "note"):
        assert found[name].tolist()[:n] == own[name].tolist()
    assert found["n_cells"].isna().sum() == found["variable"].isna().sum() == len(model.targets)
    assert set(found["note"].tolist()[n:]) == {""}
    whole = dgex_jax.predict_anndata(folder, adata, "rnaseq")
    again = ad.read_h5ad(write(whole, tmp_path / "result.h5ad"))
    assert again.var["n_cells"].tolist()[:n] == own["n_cells"].tolist()
    assert again.X.tobytes() == whole.X.tobytes()
    lacking = adata[:, [name != model.landmarks.ensembl[2] for name in adata.var_names]]
    var = dgex_jax.predict_anndata(folder, lacking, "rnaseq", impute=True).var
    assert var["source"].iloc[2] == "imputed"
    assert var["note"].iloc[1:4].tolist() == [own["note"].iloc[1], "", own["note"].iloc[3]]


def test_views_backed_objects_and_layers(adata, folder, tmp_path) -> None:
    rng = np.random.default_rng(8)
    rows, columns = rng.permutation(N), rng.permutation(adata.n_vars)
    whole = dgex_jax.predict_anndata(folder, adata, "rnaseq")
    for X in (adata.X, sparse.csr_matrix(adata.X), sparse.csc_matrix(adata.X)):
        adata.X = X
        found = dgex_jax.predict_anndata(folder, adata[rows][:, columns], "rnaseq")
        assert found.obs_names.tolist() == adata.obs_names[rows].tolist()
        np.testing.assert_allclose(found.X, whole.X[rows], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found.obsm["X_pca"], adata.obsm["X_pca"][rows])
        assert type(found.obsm["X_pca"]) is np.ndarray
        assert not found.is_view
        path = write(adata, tmp_path / "input.h5ad")
        backed = ad.read_h5ad(path, backed="r")
        for one in (backed, backed[:]):
            again = dgex_jax.predict_anndata(folder, one, "rnaseq")
            assert again.X.tobytes() == whole.X.tobytes()
            pd.testing.assert_frame_equal(again.obs, pd.DataFrame(one.obs))
        backed.file.close()
    with pytest.raises(FormatError, match="has no negative value"):
        dgex_jax.predict_anndata(folder, adata, layer="log")
    with pytest.warns(UserWarning, match=r"has no negative value .*forced"):
        log = dgex_jax.predict_anndata(folder, adata, layer="log", force_platform=True)
    np.testing.assert_array_equal(
        log.X[:, 0], np.asarray(adata[:, log.var_names[0]].layers["log"])[:, 0]
    )
    with pytest.raises(FormatError, match="has no layer 'raw'; its layers: 'log'"):
        dgex_jax.predict_anndata(folder, adata, layer="raw")


def test_genes_in_a_column_or_on_the_other_axis(adata, folder) -> None:
    wanted = dgex_jax.predict_anndata(folder, adata, "rnaseq")
    turned = dgex_jax.predict_anndata(folder, adata.T, "rnaseq")
    assert turned.X.tobytes() == wanted.X.tobytes()
    pd.testing.assert_frame_equal(turned.obs, wanted.obs)
    pd.testing.assert_frame_equal(turned.var, wanted.var)
    assert set(turned.obsm) == set(wanted.obsm)
    assert set(turned.obsp) == {"near"}
    adata.var["feature_id"] = pd.Categorical(adata.var_names)
    # Names may come twice where they are not what genes are found by.
    adata.var_names = [f"name{n // 2}" for n in range(adata.n_vars)]
    found = dgex_jax.predict_anndata(folder, adata, "rnaseq")
    assert found.X.tobytes() == wanted.X.tobytes()
    assert "in the field 'feature_id'" in json.loads(found.uns["dgex"])["input"]["genes"]


def test_what_can_not_be_used_is_one_line(adata, model, folder) -> None:
    names = list(adata.var_names)
    twice = adata.copy()
    unknown = next(place for place, name in enumerate(names) if name.startswith("x"))
    names[unknown] = model.landmarks.ensembl[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice.var_names = names
    same = adata.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same.obs_names = ["cell00", *adata.obs_names[:-1]]
    missing = adata.copy()
    missing.X[3, names.index(model.landmarks.ensembl[0])] = np.nan
    few = adata[:, list(model.landmarks.ensembl[:5])]
    for one, cause in (
        (twice, f"there twice: {model.landmarks.ensembl[1]!r}"),
        (same, "duplicate profile id 'cell00' (profiles 1 and 2)"),
        (missing, f"the first is nan in profile 'cell03', gene {model.landmarks.ensembl[0]!r}"),
        (few, "2 of 7 landmarks are missing (by Ensembl id on its var): L5, L6"),
        (adata[:5], "has 5 profiles, too few"),
        (ad.AnnData(obs=adata.obs, var=adata.var), "has no X"),
    ):
        with pytest.raises(FormatError) as caught:
            dgex_jax.predict_anndata(folder, one, "rnaseq")
        assert str(caught.value).startswith("AnnData: ")
        assert cause in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(DgexError, match="needs an AnnData object, not a ndarray"):
        dgex_jax.predict_anndata(folder, adata.X)
    with pytest.raises(DgexError, match="no such model folder"):
        dgex_jax.predict_anndata(folder / "none", adata)
    adata.X = adata.X * 100 - 90
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dgex_jax.predict_anndata(folder, adata, force_platform=True)
    texts = [str(one.message) for one in told]
    assert any("are they standardised" in text for text in texts)
    assert any("away from 0, so its values are not standardised" in text for text in texts)
