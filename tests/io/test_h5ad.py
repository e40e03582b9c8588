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
from dgex_jax.io.h5ad import AnnDataSource, H5ad
from dgex_jax.io.lines import kind_of
from dgex_jax.io.open import open_expression

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
RNG = np.random.default_rng(4)
# Small whole numbers, many of them 0: every dtype holds them.
VALUES = np.where(RNG.uniform(size=(N, G)) < 0.5, 0, RNG.integers(1, 9, (N, G))).astype("f4")
KINDS: dict[str, Any] = {
    "dense": np.array,
    "fortran": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr array": sparse.csr_array,
}
NUMBERS = ("int64", "bool", "float16", "float64")


def of_kind(kind: str) -> Any:
    return KINDS[kind](VALUES) if kind in KINDS else VALUES.astype(kind)


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


def source_of(adata: Any) -> AnnDataSource:
    return AnnDataSource(HERE, adata.X, adata.obs, adata.var)


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


@pytest.mark.parametrize("kind", [*KINDS, *NUMBERS])
def test_memory_file_and_backed_object_read_alike(kind, tmp_path) -> None:
    X = of_kind(kind)
    wanted = (X.toarray() if sparse.issparse(X) else X).astype(
        "f4" if kind in {*KINDS, "float16"} else "f8"
    )
    adata = made(X)
    check(source_of(adata), wanted)
    path = write(adata, tmp_path / "a.h5ad")
    with H5ad(path) as source:
        check(source, wanted)
        assert source.profiles == tuple(f"p{n}" for n in range(N))
        assert source.gene_metadata["symbol"].tolist() == [f"S{g}" for g in range(G)]
        assert source.profile_metadata["tissue"].dtype == "category"
    backed = ad.read_h5ad(path, backed="r")
    check(source_of(backed), wanted)
    backed.file.close()


def test_what_is_read_is_a_copy() -> None:
    adata = made(VALUES.copy())
    source_of(adata).read()[:] = 99
    np.testing.assert_array_equal(adata.X, VALUES)


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_a_view_is_what_it_shows(kind) -> None:
    view = made(of_kind(kind))[::-2, [4, 1, 2]]
    assert view.is_view
    np.testing.assert_array_equal(source_of(view).read(), VALUES[::-2][:, [4, 1, 2]])
    assert source_of(view).genes == ("g4", "g1", "g2")


@pytest.mark.parametrize(
    ("X", "cause"),
    [
        (np.ma.masked_less(VALUES, 3), "X is a MaskedArray, neither an array nor"),
        (sparse.coo_matrix(VALUES), "X is a coo_matrix, neither an array nor a CSR or CSC"),
        (VALUES.astype(complex), "X holds complex128, not numbers"),
        (VALUES.astype(str), "X holds <U32, not numbers"),
        (VALUES[:0], "has no profiles"),
        (VALUES[:, :0], "has no genes"),
    ],
)
def test_what_is_no_matrix_of_numbers(X, cause) -> None:
    adata = made(VALUES)
    with pytest.raises(FormatError, match=f"^here: {cause}"):
        AnnDataSource(HERE, X, adata.obs.iloc[: X.shape[0]], adata.var.iloc[: X.shape[1]])


class Counting:
    """A matrix that counts how often it is cut."""

    def __init__(self, X: Any) -> None:
        self._X, self.cuts = X, 0
        self.format, self.dtype = X.format, X.dtype

    def __getitem__(self, key: Any) -> Any:
        self.cuts += 1
        return self._X[key]


@pytest.mark.parametrize(("kind", "cuts"), [("csc", 1), ("csr", N)])
def test_a_matrix_by_columns_is_brought_into_memory_once(kind, cuts) -> None:
    adata, X = made(VALUES), Counting(of_kind(kind))
    source = AnnDataSource(HERE, X, adata.obs, adata.var)
    for start in range(N):
        np.testing.assert_array_equal(source.read(slice(start, start + 1))[0], VALUES[start])
    assert X.cuts == cuts


def test_nothing_but_x_obs_and_var_is_looked_at(tmp_path) -> None:
    path = write(made(VALUES, layers={"counts": VALUES}), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        file["layers/counts"].attrs["encoding-type"] = "nothing known"
    with pytest.raises(Exception, match=r"nothing known|layers"):
        ad.read_h5ad(path)
    gc.collect()
    with H5ad(path) as source:
        np.testing.assert_array_equal(source.read(), VALUES)


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
    with open_expression(path, genes=["g1"]) as source:  # type: ignore[union-attr]
        assert isinstance(source, H5ad)
        check(source, VALUES)
        assert source.genes == tuple(f"g{g}" for g in range(G))
        assert source.profiles[:2] == ("p0", "p1")
        assert source.profile_metadata["age"].tolist() == list(range(N))
