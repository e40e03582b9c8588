"""Raw files of a study as people have them: the same study, or a refusal by the true cause."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PrepareConfig
from dgex_jax.data.genemap import read_gene_map
from dgex_jax.errors import FormatError
from dgex_jax.formats.opening import open_expression

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = PrepareConfig(duplicates="none")


@pytest.fixture
def gtex(golden_raw) -> pd.DataFrame:
    """Genes by profiles."""
    found = open_expression(golden_raw.gtex)
    return pd.DataFrame(found.values.T, index=list(found.genes), columns=list(found.profiles))


@pytest.fixture
def symbols(golden_raw, gtex) -> list[str]:
    """The symbols of its genes in the maps, others where they are in none."""
    known: dict[str, str] = {}
    for path in (golden_raw.landmarks, golden_raw.targets):
        genes = read_gene_map(path)
        known |= {
            gene.partition(".")[0]: symbol
            for gene, symbol in zip(genes.ensembl, genes.symbols, strict=True)
        }
    return [known.get(gene.partition(".")[0], f"other{n}") for n, gene in enumerate(gtex.index)]


def contents(path: Path) -> dict[str, Any]:
    found = {}
    with h5py.File(path) as file:
        for name in ("GTEx/X", "GTEx/Y", "landmarks", "targets", "GTEx/profiles"):
            found[name] = file[name][()]
    return found


def same(one: Path, other: Path) -> None:
    ours, theirs = contents(one), contents(other)
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def tabbed(frame: pd.DataFrame, **options: Any) -> str:
    return frame.to_csv(sep="\t", index_label="gene", **options)


SHAPES: dict[str, Callable[[pd.DataFrame, list[str]], str]] = {
    "rows end in a tab": lambda frame, _: "".join(
        f"{line}{chr(9) * (n > 0)}\n" for n, line in enumerate(tabbed(frame).splitlines())
    ),
    "comments": lambda frame, _: f"# a\n# b\tc\n{tabbed(frame)}",
    "Ensembl|symbol": lambda frame, symbols: tabbed(
        frame.set_axis([f"{a}|{b}" for a, b in zip(frame.index, symbols, strict=True)], axis=0)
    ),
    "text beside": lambda frame, symbols: tabbed(
        frame.assign(biotype="coding", Chr=["X", *["chr1"] * (len(frame) - 1)], name=symbols)
    ),
    "GCT, quoted, other ids": lambda frame, _: (
        f"#1.2\n{len(frame)}\t{frame.shape[1]}\n"
        + frame.set_axis([f"row {n}" for n in range(len(frame))], axis=0)
        .pipe(lambda made: made.set_index(pd.Index(frame.index, name="Description"), append=True))
        .rename_axis(["Name", "Description"])
        .to_csv(sep="\t", quoting=2)
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_study(shape, gtex, symbols, golden_raw, run_prepare, tmp_path) -> None:
    run_prepare(golden_raw, tmp_path / "plain.h5", QUICK)
    (tmp_path / "odd").write_text(SHAPES[shape](gtex, symbols))
    run_prepare(replace(golden_raw, gtex=tmp_path / "odd"), tmp_path / "odd.h5", QUICK)
    same(tmp_path / "odd.h5", tmp_path / "plain.h5")


def test_annotation_must_be_taken_out(gtex, golden_raw, run_prepare, tmp_path) -> None:
    for name in ("Length", "Entrez_Gene_Id", "cds_end"):
        made = gtex.copy()
        made.insert(3, name, np.arange(len(made)) * 37 + 1000)
        (tmp_path / "odd").write_text(tabbed(made))
        raw = replace(golden_raw, gtex=tmp_path / "odd")
        with pytest.raises(FormatError, match=f"'{name}': annotation of the genes among"):
            run_prepare(raw, tmp_path / "p.h5", QUICK)
        run_prepare(golden_raw, tmp_path / "plain.h5", QUICK)
        forced = replace(QUICK, force_platform=True)
        report = run_prepare(raw, tmp_path / "p.h5", forced)
        same(tmp_path / "p.h5", tmp_path / "plain.h5")
        assert f"GTEx: columns of annotation, no profiles: {name!r}" in report.notes
        told = json.loads((tmp_path / "p.h5.provenance.json").read_text())
        assert list(report.notes) == told["notes"]
        (tmp_path / "p.h5").unlink()


def test_z_scores_and_negative_counts(gtex, golden_raw, run_prepare, tmp_path) -> None:
    spread = gtex.std(axis=1).replace(0, 1)
    z = gtex.sub(gtex.mean(axis=1), axis=0).div(spread, axis=0)
    counts = (gtex * 100).round()
    counts.iloc[2, 3] = -1
    for made, cause in ((z, "its values are"), (counts, "has 1 negative values")):
        (tmp_path / "odd").write_text(tabbed(made))
        with pytest.raises(FormatError, match=cause) as caught:
            run_prepare(replace(golden_raw, gtex=tmp_path / "odd"), tmp_path / "p.h5", QUICK)
        assert str(caught.value).startswith(str(tmp_path / "odd"))
        assert not (tmp_path / "p.h5").exists()
