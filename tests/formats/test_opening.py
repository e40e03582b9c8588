"""What a file is, is decided by what it holds."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression, ExpressionSource
from dgex_jax.formats.gct import write_gct
from dgex_jax.formats.gctx import Gctx, write_gctx
from dgex_jax.formats.opening import open_expression
from dgex_jax.formats.rpkm import write_rpkm

MADE = Expression(Path("x"), np.array([[1.0, 2], [3, 4], [5, 6]]), ("a", "b", "c"), ("g", "h"))


def test_every_format_under_a_misleading_name(tmp_path: Path) -> None:
    write_gctx(tmp_path / "a.txt", MADE)
    write_gct(tmp_path / "b.gctx", MADE)
    write_gct(tmp_path / "c.gct.gz", MADE, version="1.3")
    (tmp_path / "c.gct.gz").rename(tmp_path / "c.gctx")
    write_rpkm(tmp_path / "d.gct", MADE)
    for name in ("a.txt", "b.gctx", "c.gctx", "d.gct"):
        source: ExpressionSource = open_expression(tmp_path / name)
        assert source.path == tmp_path / name
        assert (source.profiles, source.genes) == (MADE.profiles, MADE.genes)
        np.testing.assert_array_equal(source.read(), MADE.values)
        np.testing.assert_array_equal(source.read(np.array([2, 0]), slice(1, None)), [[6.0], [2.0]])
        if isinstance(source, Gctx):
            source.close()


def test_options_reach_the_text_readers(tmp_path: Path) -> None:
    write_gct(tmp_path / "a", MADE)
    wrong = (tmp_path / "a").read_text().replace("2\t3\n", "9\t3\n", 1)
    (tmp_path / "a").write_text(wrong)
    with pytest.raises(FormatError, match="says 9 rows, the file has 2"):
        open_expression(tmp_path / "a")
    found = open_expression(tmp_path / "a", genes=["h"], accept_wrong_dimensions=True)
    assert found.genes == ("h",)
    write_rpkm(tmp_path / "b", MADE)
    assert open_expression(tmp_path / "b", genes=["h"]).genes == ("h",)
    write_gctx(tmp_path / "c", MADE)
    with Gctx(tmp_path / "c") as lazy:
        assert lazy.genes == ("g", "h")


def test_what_is_none_of_them_is_refused(tmp_path: Path) -> None:
    write_gctx(tmp_path / "a.gctx", MADE)
    packed = tmp_path / "a.gctx.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.gctx").read_bytes()))
    other = tmp_path / "other"
    other.write_text("gene a b\n")
    cut = tmp_path / "cut"
    cut.write_bytes(gzip.compress(b"#1.2\n")[:12])
    old = tmp_path / "old"
    old.write_text("#1.0\n")
    for path, match in (
        (packed, "gzip-compressed HDF5 file; unpack it first"),
        (other, "is no table of tab- or comma-separated cells: it begins with b'gene a"),
        (cut, "truncated gzip file"),
        (old, "is not GCT 1.2 or 1.3"),
        (tmp_path / "missing", "no such file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(FormatError, match=match) as caught:
            open_expression(path)
        assert str(caught.value).startswith(str(path))
