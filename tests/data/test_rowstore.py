from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.data.rowstore import RowStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "uint32"])
def test_rows_come_back_in_the_order_asked_for(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (50, 7)).astype(dtype)
    store = RowStore(tmp_path / "rows", 7, dtype)
    for block in np.split(values, [3, 4, 30]):
        store.append(block)
    order = np.random.default_rng(1).permutation(50)[:20]
    assert len(store) == 50
    for read, expected in [
        (store.read(order), values[order]),
        (store.read(slice(5, 9)), values[5:9]),
        (store.read(np.array([2, 2, 1])), values[[2, 2, 1]]),
        (store.read(slice(40, 90)), values[40:]),
    ]:
        np.testing.assert_array_equal(read, expected)
        assert read.dtype == np.dtype(dtype)


def test_what_was_read_is_a_copy(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "rows", 2, "float32")
    store.append(np.zeros((2, 2), dtype=np.float32))
    for rows in (slice(None), np.array([0, 1])):
        read = store.read(rows)
        read += 1.0
        assert type(read) is np.ndarray
        assert not store.read(slice(None)).any()


def test_an_empty_store_has_no_rows(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "rows", 3, "float32")
    assert len(store) == 0
    assert store.read(slice(None)).shape == (0, 3)


def test_other_rows_are_refused(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "rows", 3, "float32")
    with pytest.raises(TypeError, match="rows of 3 float32"):
        store.append(np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(TypeError, match="float64"):
        store.append(np.zeros((2, 3)))
