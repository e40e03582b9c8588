"""The packed names of genes: what they hold, how they are packed, and how genes are completed."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import dgex_jax.prepare.hgnc as module
from dgex_jax.io.expression import Genes
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.hgnc import IDS, SYMBOLS, complete_genes, hgnc

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKED = Path(module.__file__).parent
SOURCE = "HUGO Gene Nomenclature Committee, genenames.org; CC0."


def table(shared: Path) -> pd.DataFrame:
    path = shared / "genes" / "hgnc.tsv.gz"
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def packed(genes: pd.DataFrame) -> dict[str, str]:
    """The texts of the packed tables."""
    digits = genes["ensembl"].str.replace(r"ENSG0*", "", regex=True)
    symbols = genes["symbol"] + "\t" + genes["previous_symbols"]
    ids = digits + "\t" + genes["entrez"]
    return {
        name: "\n".join([f"# HGNC: {what}. {SOURCE}", *lines.str.rstrip("\t")]) + "\n"
        for name, what, lines in (
            (SYMBOLS, "approved symbol, previous symbols", symbols),
            (IDS, f"Ensembl ids, Entrez ids of the genes of {SYMBOLS}", ids),
        )
    }


def test_the_tables_are_packed_from_hgnc(shared: Path) -> None:
    genes = table(shared)
    for name, text in packed(genes).items():
        assert lzma.decompress((PACKED / name).read_bytes()).decode() == text
    ids = hgnc().ids
    assert list(ids) == genes["symbol"].tolist()
    for column in ("ensembl", "entrez"):
        read = ["|".join(getattr(one, column)) for one in ids.values()]
        assert read == genes[column].tolist()


def wanted(*rows: tuple[str, str, str]) -> Genes:
    ensembl, symbols, entrez = zip(*rows, strict=True)
    return Genes(ensembl, symbols, entrez, ((),) * len(rows))


def rows(genes: Genes) -> list[tuple[str, str, str]]:
    return list(zip(genes.ensembl, genes.symbols, genes.entrez, strict=True))


TP53, AARS1 = ("ENSG00000141510", "TP53", "7157"), ("ENSG00000090861", "AARS1", "16")
ABCF1, COPY = "ENSG00000204574", "ENSG00000206490"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        *(([known], [TP53]) for known in ((TP53[0], "", ""), ("", "TP53", ""), ("", "", "7157"))),
        ([("ENSG00000141510.18", "", "")], [("ENSG00000141510.18", "TP53", "7157")]),
        ([("", "AARS", "")], [("ENSG00000090861", "AARS", "16")]),
        # The present symbol is there as well, or HGNC knows nothing, or two things.
        ([("", "AARS", ""), ("", "AARS1", "")], [("", "AARS", ""), AARS1]),
        ([("", "no gene", "")], [("", "no gene", "")]),
        ([("", "TP53", "16")], [("", "TP53", "16")]),
        ([("", "AMY1", "")], [("", "AMY1", "")]),
        # Haplotypes have ids of their own; each of them is the gene, but two rows are not.
        ([("", "", "23")], [("", "ABCF1", "23")]),
        ([(COPY, "", "")], [(COPY, "ABCF1", "23")]),
        ([(COPY, "", ""), (ABCF1, "", "")], [(COPY, "", ""), (ABCF1, "", "")]),
        ([("ENSGR0000124334", "IL9R", "")], [("ENSGR0000124334", "IL9R", "")]),
    ],
)
def test_what_means_one_gene_is_filled(
    given: Sequence[tuple[str, str, str]], found: Sequence[tuple[str, str, str]]
) -> None:
    assert rows(complete_genes(wanted(*given))) == list(found)


def test_one_of_several_ids_is_taken_where_it_alone_is_there() -> None:
    genes = wanted(("", "", "23"))
    for among, ensembl in (((ABCF1, "x"), ABCF1), ((ABCF1, COPY), "")):
        assert rows(complete_genes(genes, among=among)) == [(ensembl, "ABCF1", "23")]
    twins = wanted(("", "AARS", ""), ("", "AARS1", ""))
    assert complete_genes(twins, repeated=True).entrez == ("16", "16")


def test_most_genes_of_the_real_maps_are_completed_by_each_id_alone(shared: Path) -> None:
    """The map's own ids are the truth; Entrez ids go to the symbol and back."""
    genes = read_gene_map(shared / "genes" / "map_tg.txt")
    none = ("",) * len(genes)
    by_symbol = complete_genes(Genes(none, genes.symbols, none, genes.probes), among=genes.ensembl)
    known = [(a, b) for a, b in zip(by_symbol.ensembl, genes.ensembl, strict=True) if a]
    assert len(known) > 0.98 * len(genes)
    assert sum(a == b for a, b in known) > 0.99 * len(known)


if __name__ == "__main__":
    from tests.conftest import SHARED

    for name, text in packed(table(SHARED)).items():
        preset = 9 | lzma.PRESET_EXTREME
        PACKED.joinpath(name).write_bytes(lzma.compress(text.encode(), preset=preset))
