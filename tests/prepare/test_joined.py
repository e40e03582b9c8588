"""Several files of one platform as one; pandas' concat is the oracle."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import Expression, notes_of
from dgex_jax.io.open import open_input
from dgex_jax.io.writers import write_gct, write_gctx
from dgex_jax.prepare.genes import ensembl_key
from dgex_jax.prepare.joined import Joined
from tests.prepare.checks import refused

if TYPE_CHECKING:
    from pathlib import Path


def made(path: Path, profiles: str, genes: str, **fields: list[str]) -> Expression:
    names = tuple(profiles.split())
    ids = tuple(genes.split())
    values = np.random.default_rng(len(ids)).normal(size=(len(names), len(ids)))
    metadata = pd.DataFrame(fields, index=pd.Index(names, dtype=object), dtype=object)
    return Expression(path, values.astype(np.float32), names, ids, metadata)


@pytest.fixture
def three(tmp_path) -> list[Expression]:
    return [
        made(tmp_path / "a.gctx", "p1 p2", "g1 ENSG00000000003.4 g2 g3", series=["x", "y"]),
        made(tmp_path / "b.gct", "q1 q2 q3", "g3 g2 other ENSG00000000003.9", sex=["f", "m", "f"]),
        made(tmp_path / "c.gctx", "r1", "g2 ENSG00000000003 g3 one two"),
    ]


GENES = ("ENSG00000000003.4", "g2", "g3")
KEYS = ("ENSG00000000003", "g2", "g3")


@pytest.mark.parametrize("in_files", [False, True])
def test_the_shared_genes_of_all_profiles(three, in_files) -> None:
    with ExitStack() as files:
        sources = three
        if in_files:
            for one in three:
                if one.path.suffix == ".gct":
                    write_gct(one.path, one, version="1.3")
                else:
                    write_gctx(one.path, one)
            sources = [open_input(one.path, files) for one in three]
        joined = Joined(sources)
        frames = [
            pd.DataFrame(one.values, one.profiles, list(map(ensembl_key, one.genes)))[list(KEYS)]
            for one in three
        ]
        truth = pd.concat(frames)
        assert (joined.path, joined.genes) == (three[0].path, GENES)
        assert joined.profiles == tuple(truth.index)
        # Text is read as float64, and so are then all blocks.
        assert {joined.read(slice(n, n + 1)).dtype for n in range(6)} == {joined.read().dtype}
        np.testing.assert_array_equal(joined.read().astype(np.float32), truth)
        rng = np.random.default_rng(1)
        for _ in range(20):
            rows, columns = rng.integers(-6, 6, 7), rng.integers(0, 3, 4)
            chosen = truth.to_numpy()[rows][:, columns]
            np.testing.assert_allclose(joined.read(rows, columns), chosen, rtol=1e-7)
        np.testing.assert_allclose(
            joined.read(slice(1, 4), slice(2)), truth.iloc[1:4, :2], rtol=1e-7
        )
        assert joined.read(slice(0, 0)).shape == (0, 3)
        metadata = joined.profile_metadata
        assert metadata["file"].tolist() == ["a.gctx"] * 2 + ["b.gct"] * 3 + ["c.gctx"]
        assert metadata["series"].tolist() == ["x", "y", "", "", "", ""]
        assert metadata["sex"].tolist() == ["", "", "f", "m", "f", ""]
        assert tuple(metadata.index) == joined.profiles
        assert notes_of(joined) == (
            "a.gctx: 1 of its 4 genes are not in all files",
            "b.gct: 1 of its 4 genes are not in all files",
            "c.gctx: 2 of its 5 genes are not in all files",
        )


def test_files_that_share_profiles_or_no_genes(three, tmp_path) -> None:
    again = made(tmp_path / "d.gct", "s p2", "g1 g2")
    twice = made(tmp_path / "d.gct", "s t", "ENSG00000000003.1 ENSG00000000003.2")
    for other, kind, match in (
        (again, FormatError, f"d.gct: profile 'p2' is in {three[0].path} as well"),
        (made(tmp_path / "d.gct", "s", "x y"), PreparationError, "have no gene in common"),
        (
            twice,
            FormatError,
            "d.gct: rows 'ENSG00000000003.1' and 'ENSG00000000003.2' are the same",
        ),
    ):
        refused(lambda one=other: Joined([*three, one]), re.escape(match), kind)


def test_files_of_one_name_are_told_by_their_folders(tmp_path) -> None:
    sources = [made(tmp_path / one / "a.gct", one, "g h", file=["x"]) for one in "pq"]
    joined = Joined(sources)
    assert joined.profile_metadata["file"].tolist() == [str(one.path) for one in sources]
    assert all("its field 'file' is replaced" in note for note in joined.notes)
