"""GCTX and AnnData by other writers and by ours are read to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.formats.gctx import Gctx, write_gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.h5ad_write import H5adWriter
from tests.fuzz import tables
from tests.fuzz.oracle import Content, same
from tests.fuzz.readers import fields_of, our_gctx, our_h5ad
from tests.fuzz.strategies import DOUBLES, QUICK, SINGLES, TEXT, expression, unpadded
from tests.fuzz.test_text_formats import lists, memory

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.tables import Table

UNPADDED = TEXT.filter(unpadded)
STORAGE = ({}, {"chunks": True}, {"chunks": True, "compression": "gzip", "shuffle": True})


def stored(table: Table, dtype: type) -> Content:
    """What a reader shall find."""
    fields = [lists(table.profile_fields), lists(table.gene_fields)]
    return Content(table.profiles, table.genes, table.values.astype(dtype), fields)


@pytest.mark.parametrize(("dtype", "numbers"), [(np.float32, SINGLES), (np.float64, DOUBLES)])
@given(data=st.data(), storage=st.sampled_from(STORAGE))
@QUICK
def test_gctx(tmp_path: Path, dtype, numbers, data, storage) -> None:
    table = data.draw(expression(UNPADDED, numbers, UNPADDED))
    # HDF5 gives the fields in the order of their names.
    order = [dict(sorted(fields.items())) for fields in (table.profile_fields, table.gene_fields)]
    table = tables.Table(table.profiles, table.genes, table.values, *order)
    wanted = stored(table, dtype)
    tables.write_gctx(tmp_path / "a.gctx", table, dtype, **storage)
    assert same(our_gctx(tmp_path / "a.gctx"), wanted)
    whole = memory(table, tmp_path / "b.gctx")
    write_gctx(tmp_path / "b.gctx", whole, dtype=dtype, compression=storage.get("compression"))
    assert same(our_gctx(tmp_path / "b.gctx"), wanted)
    with Gctx(tmp_path / "b.gctx") as file:
        for k in range(len(table.profiles)):
            assert same(
                Content(values=file.read(slice(k, k + 1))), Content(values=wanted.values[k : k + 1])
            )


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", "i4", "i8", "u4", ">f4", "f2", ">f8"])
def test_gctx_of_other_numbers(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 1, 100], [3, 2, 127]]).astype(kind)
    path = tmp_path / "a.gctx"
    tables.write_gctx(path, tables.Table(("p", "q"), ("a", "b", "c"), values), np.dtype(kind))
    narrow = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    with Gctx(path) as file:
        wanted = values.astype(np.float32 if narrow else np.float64)
        np.testing.assert_array_equal(file.read(), wanted, strict=True)


@pytest.mark.parametrize("layout", ["dense", "csr", "csc"])
@given(table=expression(UNPADDED, SINGLES.filter(np.isfinite), gaps=False))
@QUICK
def test_h5ad(tmp_path: Path, layout: str, table: Table) -> None:
    small = tables.Table(table.profiles, table.genes, np.clip(table.values, -1e30, 1e30))
    path = tmp_path / "a.h5ad"
    tables.write_h5ad(path, small, layout)
    # A sparse matrix has no negative zeros.
    wanted = small.values.astype(np.float32)
    if layout != "dense":
        wanted = np.where(wanted == 0, np.float32(0), wanted)
    assert same(our_h5ad(path), Content(small.profiles, small.genes, wanted))


@given(table=expression(UNPADDED, SINGLES))
@QUICK
def test_h5ad_of_our_writer(tmp_path: Path, table: Table) -> None:
    path = tmp_path / "b.h5ad"
    obs, var = (
        pd.DataFrame(index=pd.Index(ids, dtype=object)) for ids in (table.profiles, table.genes)
    )
    with H5adWriter(path, table.profiles, table.genes, obs, var, {"a": 1}) as writer:
        writer.append(table.values.astype(np.float32))
    assert same(our_h5ad(path), Content(table.profiles, table.genes, table.values.astype("f4")))
    with H5ad(path) as file:
        assert fields_of(file.profile_metadata) == {}
