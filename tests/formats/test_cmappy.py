"""The format's own library reads what is written here, and the other way round."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import Gctx, write_gctx

if TYPE_CHECKING:
    from pathlib import Path

    from cmapPy.pandasGEXpress.GCToo import GCToo

pytest.importorskip("cmapPy", reason="cmapPy is not installed (it needs pandas 2)")
pytestmark = pytest.mark.filterwarnings("ignore")  # cmapPy's own, of pandas


def parse(path: Path) -> GCToo:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cmapPy.pandasGEXpress.parse import parse as read

    return read(str(path))


def made_up(path: Path) -> Expression:
    values = np.random.default_rng(5).normal(size=(7, 11)).astype(np.float32)
    values[2, 3] = np.nan
    profiles = tuple(f"profile {k}" for k in range(7))
    genes = tuple(f"{k}_at" for k in range(11))
    return Expression(
        path,
        values,
        profiles,
        genes,
        profile_metadata=pd.DataFrame(
            {"cell": list("abcdefg"), "dose": np.arange(7) / 8}, index=profiles
        ),
        gene_metadata=pd.DataFrame({"symbol": [f"G{k}" for k in range(11)]}, index=genes),
    )


def test_cmappy_reads_what_is_written(tmp_path: Path) -> None:
    made = made_up(tmp_path / "a.gctx")
    write_gctx(made.path, made)
    found = parse(made.path)
    values = found.data_df.loc[list(made.genes), list(made.profiles)].to_numpy().T
    np.testing.assert_array_equal(values, made.values)
    cells = found.col_metadata_df.loc[list(made.profiles)]
    assert cells["cell"].tolist() == list("abcdefg")
    np.testing.assert_array_equal(cells["dose"], np.arange(7) / 8)
    symbols = found.row_metadata_df.loc[list(made.genes), "symbol"]
    assert symbols.tolist() == made.gene_metadata["symbol"].tolist()


def test_what_cmappy_writes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its writer uses a name that NumPy 2 has no longer.
    monkeypatch.setattr(np, "string_", np.bytes_, raising=False)
    from cmapPy.pandasGEXpress.GCToo import GCToo
    from cmapPy.pandasGEXpress.write_gctx import write

    made = made_up(tmp_path / "a.gctx")
    frame = pd.DataFrame(made.values.T, index=list(made.genes), columns=list(made.profiles))
    theirs = GCToo(frame, made.gene_metadata, made.profile_metadata)
    write(theirs, str(tmp_path / "theirs.gctx"))
    with Gctx(tmp_path / "theirs.gctx") as found:
        profiles = [found.profiles.index(name) for name in made.profiles]
        genes = [found.genes.index(name) for name in made.genes]
        np.testing.assert_array_equal(found.read(profiles, genes), made.values)
        assert found.gene_metadata["symbol"].tolist() == [
            f"G{gene.removesuffix('_at')}" for gene in found.genes
        ]
