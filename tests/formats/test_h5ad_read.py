"""AnnData read a part at a time, from memory and from files of every age."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dgex_jax.errors import FormatError
from dgex_jax.formats.anndata_source import AnnDataSource
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.opening import kind_of, open_expression

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ad = pytest.importorskip("anndata")

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:The '{option}' option:Warning")
    for option in ("mode.chained_assignment", "future.infer_string")
]
"""What anndata itself does with views and files under pandas 3."""

N, G = 11, 7
HERE = Path("here")
KINDS = ("dense", "fortran", "csr", "csc", "csr array", "int64", "bool", "float16", "float64")


def values() -> np.ndarray:
    """Small whole numbers, many of them 0: every dtype holds them."""
    rng = np.random.default_rng(4)
    return np.where(rng.uniform(size=(N, G)) < 0.5, 0, rng.integers(1, 9, (N, G))).astype("f4")


def of_kind(kind: str) -> Any:
    X = values()
    match kind:
        case "dense":
            return X
        case "fortran":
            return np.asfortranarray(X)
        case "csr":
            return sparse.csr_matrix(X)
        case "csc":
            return sparse.csc_matrix(X)
        case "csr array":
            return sparse.csr_array(X)
    return X.astype(kind)


def made(X: Any, **more: Any) -> Any:
    obs = pd.DataFrame(
        {"tissue": pd.Categorical([f"t{n % 3}" for n in range(N)])},
        index=pd.Index([f"p{n}" for n in range(N)], dtype=object),
    )
    var = pd.DataFrame(
        {"symbol": [f"S{g}" for g in range(G)]},
        index=pd.Index([f"g{g}" for g in range(G)], dtype=object),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.AnnData(X, obs=obs, var=var, **more)


def write(adata: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(path)
    return path


def check(source: AnnDataSource, wanted: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    scattered = (rng.integers(0, N, 5), rng.integers(0, G, 4))
    for rows, columns in (
        (None, None),
        (slice(2, 6), None),
        (slice(6, 9), scattered[1]),
        (scattered[0], scattered[1]),
        (scattered[0], slice(1, 4)),
        (np.array([-1]), np.array([3, 2, 3])),
        (slice(4, 4), None),
    ):
        left = slice(None) if rows is None else rows
        right = slice(None) if columns is None else columns
        found = source.read(rows, columns)
        assert found.dtype == source.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted[left][:, right])


@pytest.mark.parametrize("kind", KINDS)
def test_memory_file_and_backed_object_read_alike(kind, tmp_path) -> None:
    X = of_kind(kind)
    narrow = kind in {"dense", "fortran", "csr", "csc", "csr array", "float16"}
    wanted = (X.toarray() if sparse.issparse(X) else X).astype("f4" if narrow else "f8")
    adata = made(X)
    check(AnnDataSource(HERE, adata.X, adata.obs, adata.var), wanted)
    path = write(adata, tmp_path / "a.h5ad")
    with H5ad(path) as source:
        check(source, wanted)
        assert source.profiles == tuple(f"p{n}" for n in range(N))
        assert source.gene_metadata["symbol"].tolist() == [f"S{g}" for g in range(G)]
        assert source.profile_metadata["tissue"].dtype == "category"
    backed = ad.read_h5ad(path, backed="r")
    check(AnnDataSource(HERE, backed.X, backed.obs, backed.var), wanted)
    backed.file.close()


def test_what_is_read_is_a_copy() -> None:
    X = values()
    source = AnnDataSource(HERE, X, *(getattr(made(X), name) for name in ("obs", "var")))
    source.read()[:] = 99
    np.testing.assert_array_equal(X, values())


def test_a_view_is_what_it_shows() -> None:
    for kind in ("dense", "csr", "csc"):
        view = made(of_kind(kind))[::-2, [4, 1, 2]]
        assert view.is_view
        source = AnnDataSource(HERE, view.X, view.obs, view.var)
        np.testing.assert_array_equal(source.read(), values()[::-2][:, [4, 1, 2]])
        assert source.genes == ("g4", "g1", "g2")


@pytest.mark.parametrize(
    ("X", "cause"),
    [
        (np.ma.masked_less(values(), 3), "X is a MaskedArray, neither an array nor"),
        (sparse.coo_matrix(values()), "X is a coo_matrix, neither an array nor a CSR or CSC"),
        (values().astype(complex), "X holds complex128, not numbers"),
        (values().astype(str), "X holds <U32, not numbers"),
    ],
)
def test_what_is_no_matrix_of_numbers(X, cause) -> None:
    adata = made(values())
    with pytest.raises(FormatError) as caught:
        AnnDataSource(HERE, X, adata.obs, adata.var)
    assert str(caught.value).startswith(f"here: {cause}")


def test_no_profiles_or_no_genes() -> None:
    adata = made(values())
    for rows, columns, cause in ((0, G, "no profiles"), (N, 0, "no genes")):
        with pytest.raises(FormatError, match=cause):
            AnnDataSource(
                HERE, values()[:rows, :columns], adata.obs.iloc[:rows], adata.var.iloc[:columns]
            )


class Counting:
    """A matrix that counts how often it is cut."""

    def __init__(self, X: Any) -> None:
        self._X, self.cuts = X, 0
        self.format, self.dtype = X.format, X.dtype

    def __getitem__(self, key: Any) -> Any:
        self.cuts += 1
        return self._X[key]


@pytest.mark.parametrize(("kind", "once"), [("csc", True), ("csr", False)])
def test_a_matrix_by_columns_is_brought_into_memory_once(kind, once) -> None:
    adata, X = made(values()), Counting(of_kind(kind))
    source = AnnDataSource(HERE, X, adata.obs, adata.var)
    for start in range(N):
        np.testing.assert_array_equal(source.read(slice(start, start + 1))[0], values()[start])
    assert X.cuts == (1 if once else N)


def test_nothing_but_x_obs_and_var_is_looked_at(tmp_path) -> None:
    path = write(made(values(), layers={"counts": values()}), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        file["layers/counts"].attrs["encoding-type"] = "nothing known"
    with pytest.raises(Exception, match=r"nothing known|layers"):
        ad.read_h5ad(path)
    gc.collect()
    with H5ad(path) as source:
        np.testing.assert_array_equal(source.read(), values())


def test_files_of_before_2020(tmp_path) -> None:
    """Tables were compound datasets, sparse matrices told of themselves by other attributes."""
    path = tmp_path / "old.h5ad"
    X = of_kind("csr")
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(X, name)
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", X.shape
        ids = [(f"p{n}", n) for n in range(N)]
        file["obs"] = np.array(ids, dtype=[("index", "S3"), ("age", "i4")])
        file["var"] = np.array([(f"g{g}",) for g in range(G)], dtype=[("index", "S3")])
    assert kind_of(path) == "h5ad"
    with H5ad(path) as source:
        check(source, values())
        assert source.profiles[:2] == ("p0", "p1")
        assert source.profile_metadata["age"].tolist() == list(range(N))


def test_open_expression_knows_anndata(tmp_path) -> None:
    path = write(made(values()), tmp_path / "a.gctx")
    source = open_expression(path, genes=["g1"])
    assert isinstance(source, H5ad)
    with source:
        assert source.genes == tuple(f"g{g}" for g in range(G))
        np.testing.assert_array_equal(source.read(), values())
