"""Made-up files in the very form of public ones, for the example studies; pandas reads them."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import dgex_jax.prepare
from dgex_jax.prepare.hgnc import hgnc
from tests.io.archs4_file import write_archs4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

EXAMPLES = Path(__file__).parents[2] / "reproduce" / "studies" / "examples"
N_LANDMARKS, N_GENES = 60, 300
PAR_Y = "PLCXD1"
"""Has a copy on chromosome Y, whose id differs by its ending alone."""


@dataclass(frozen=True)
class Public:
    """A study in a folder, and the logarithms of its files, as pandas reads these.

    `logs` and `sets` are profiles x rows, by their ids in the (first) file; `groups` has
    the ids that each profile is split by.
    """

    study: Path
    logs: pd.DataFrame
    sets: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    groups: Mapping[str, set[str]] = field(default_factory=dict)
    counts: pd.DataFrame | None = None


@cache
def real_genes() -> pd.DataFrame:
    """Some landmarks of L1000 and other genes of HGNC, by symbol.

    With their ids (Ensembl's with a version), the symbol of about 2010 (`old`), and whether they
    are a `landmark`.
    """
    folder = Path(dgex_jax.prepare.__file__).parent
    table = pd.read_csv(folder / "l1000_landmarks.tsv", sep="\t", comment="#", dtype=str)
    renamed = table[table["symbol"] != table["l1000_symbol"]].head(4)
    others = table.drop(renamed.index).sample(N_LANDMARKS - 4, random_state=1)
    rows = {
        one.symbol: (one.ensembl.split("|")[0], one.entrez, one.l1000_symbol, True)
        for one in pd.concat([renamed, others]).itertuples()
    }
    plain = [
        name
        for name, ids in hgnc().ids.items()
        if len(ids.ensembl) == len(ids.entrez) == 1
        if name not in {*table["symbol"], *table["l1000_symbol"]} and name.isalnum()
    ]
    rng = np.random.default_rng(1)
    for name in [PAR_Y, *rng.choice(plain, N_GENES - N_LANDMARKS - 1, replace=False).tolist()]:
        ids = hgnc().ids[name]
        rows[name] = ids.ensembl[0], ids.entrez[0], name, False
    genes = pd.DataFrame.from_dict(rows, "index", columns=["ensembl", "entrez", "old", "landmark"])
    genes["ensembl"] += [f".{n % 17 + 1}" for n in range(len(genes))]
    return genes.sample(frac=1, random_state=2)


def expression(profiles: Iterable[str], seed: int = 1) -> pd.DataFrame:
    """Made-up log2(x + 1), genes by symbol x profiles; some are mostly 0."""
    names, genes, rng = list(profiles), real_genes(), np.random.default_rng(seed)
    same = np.random.default_rng(0)
    level, factors = same.uniform(0.5, 11, len(genes)), same.normal(0, 0.6, (len(genes), 3))
    values = level[:, None] + factors @ rng.normal(size=(3, len(names)))
    values += rng.normal(0, 0.5, values.shape)
    rare = same.permutation(len(genes))[: len(genes) // 15]
    values[rare] *= rng.random((len(rare), len(names))) < 0.3
    return pd.DataFrame(values.clip(0), genes.index, names)


def _study(folder: Path, name: str) -> Path:
    shutil.copy(EXAMPLES / f"{name}.toml", folder)
    return folder / f"{name}.toml"


def _write(path: Path, head: str, table: pd.DataFrame, corner: str) -> None:
    """Write a table, genes in rows, through gzip, under lines of another form."""
    with gzip.open(path, "wt", newline="\n") as file:
        file.write(head)
        table.to_csv(file, sep="\t", index_label=corner, float_format="%.7g")


def per_million(counts: pd.DataFrame) -> pd.DataFrame:
    """Logarithms of counts, profiles x genes, per million of all genes."""
    return np.log2(counts.mul(1e6 / counts.sum(axis=1), axis=0) + 1)


def gtex_v8(folder: Path) -> Public:
    """GCT 1.2 of TPM; genes of one name, a copy on chromosome Y; donors with several tissues."""
    donors = [f"GTEX-{1117 + 31 * n:X}F" for n in range(30)]
    samples = [
        f"{donor}-{n:02d}26-SM-5{k}GZZ" for k, donor in enumerate(donors) for n in range(k % 4 + 1)
    ]
    table = (2 ** expression(samples) - 1).set_axis(real_genes()["ensembl"]).round(4)
    table.insert(0, "Description", real_genes()["old"].to_list())
    copy = f"{real_genes().loc[PAR_Y, 'ensembl']}_PAR_Y"
    for one, name in (
        ("ENSG00000199900.1", "Y_RNA"),
        ("ENSG00000200959.1", "Y_RNA"),
        (copy, PAR_Y),
    ):
        table.loc[one] = [name, *[0.0] * len(samples)]
    path = folder / "GTEx_Analysis_2017-06-05_v8_RNASeQCv1.1.9_gene_tpm.gct.gz"
    _write(path, f"#1.2\n{len(table)}\t{len(samples)}\n", table, "Name")
    donor_of = {one: "-".join(one.split("-")[:2]) for one in samples}
    lines = [f"{one}\t{donor}\n" for one, donor in donor_of.items()]
    (folder / "tissue_donor.tsv").write_text("".join(lines))
    read = pd.read_csv(path, sep="\t", skiprows=2, index_col=0).drop(columns="Description").T
    groups = {one: {donor} for one, donor in donor_of.items()}
    return Public(_study(folder, "gtex_v8"), np.log2(read + 1), groups=groups)


def recount3(folder: Path) -> Public:
    """Sums of coverage, under lines of comment."""
    runs = [f"SRR55793{n}" for n in range(27, 97)]
    depth = np.random.default_rng(3).uniform(20, 200, len(runs))
    sums = ((2 ** expression(runs) - 1) * depth).round().astype(int)
    table = sums.set_axis(real_genes()["ensembl"])
    table.loc["ENSG00000999999.1"] = 10**6
    path = folder / "sra.gene_sums.SRP107565.G026.gz"
    _write(path, "##annotation=G026\n##date.generated=2019-12-19\n", table, "gene_id")
    read = pd.read_csv(path, sep="\t", comment="#", index_col=0).T
    return Public(_study(folder, "recount3"), per_million(read), counts=read)


def gdc(folder: Path) -> Public:
    """Tumours, and of some patients normal tissue."""
    samples = [f"TCGA-D8-A1{n}-01A" for n in range(20, 92)]
    samples += [one.replace("-01A", "-11A") for one in samples[:9]]
    table = expression(samples).set_axis(real_genes()["ensembl"])
    table.loc[f"{real_genes().loc[PAR_Y, 'ensembl']}_PAR_Y"] = 0.0
    path = folder / "TCGA-BRCA.star_tpm.tsv.gz"
    _write(path, "", table, "Ensembl_ID")
    read = pd.read_csv(path, sep="\t", index_col=0).T
    return Public(_study(folder, "gdc"), read)


def xena(folder: Path) -> Public:
    """Symbols of about 2010; a row without one; one file lacks genes, in another order."""
    logs = {}
    for seed, (cohort, centre, n) in enumerate(
        (("LUAD", 69, 50), ("COAD", 17, 40), ("BRCA", 97, 36))
    ):
        samples = [f"TCGA-{centre}-{7000 + k}-01" for k in range(n)]
        table = expression(samples, seed).set_axis(real_genes()["old"]).round(4)
        table.loc["?|100130426"] = 0.0
        table.loc["NOTHING_KNOWN"] = table.iloc[1]
        if cohort == "COAD":
            table = table.drop(table.index[7:9]).iloc[::-1]
        path = folder / f"TCGA.{cohort}.HiSeqV2.gz"
        _write(path, "", table, "sample")
        logs[cohort] = pd.read_csv(path, sep="\t", index_col=0).T
    joined = pd.concat([logs["LUAD"], logs["COAD"]], join="inner")
    return Public(_study(folder, "xena"), joined, {"BRCA": logs["BRCA"]})


def depmap(folder: Path) -> Public:
    """Profiles by rows, no corner, symbol and Entrez id in one name."""
    lines = [f"ACH-{n:06d}" for n in range(1, 81)]
    genes = real_genes()
    names = genes["old"] + " (" + genes["entrez"] + ")"
    path = folder / "OmicsExpressionProteinCodingGenesTPMLogp1.csv"
    expression(lines).set_axis(names).T.to_csv(path)
    return Public(_study(folder, "depmap"), pd.read_csv(path, index_col=0))


def archs4(folder: Path, version: int = 2) -> Public:
    """Counts; some samples are single cells, some of two series."""
    rng, genes, n = np.random.default_rng(4), real_genes(), 90
    samples = [f"GSM{1000 + k}" for k in range(n)]
    depth = rng.uniform(5, 50, n)
    counts = ((2 ** expression(samples).T - 1).mul(depth, axis=0)).round().astype(np.uint32)
    single = np.where(np.arange(n) % 15 == 3, 0.9, 0.1)
    link = "," if version == 2 else "Xx-xX"
    of = [[f"GSE{k // 3}"] + [f"GSE{1 + k // 3}"] * (k % 21 == 2) for k in range(n)]
    write_archs4(
        folder / "human_gene_v2.5.h5",
        counts.to_numpy(),
        {
            "geo_accession": samples,
            "series_id": [link.join(one) for one in of],
            "singlecellprobability": single,
        },
        {"symbol": genes.index.to_list(), "ensembl_gene": genes["ensembl"].to_list()}
        if version == 2
        else {"genes": genes.index.to_list()},
        version=version,
    )
    counts.columns = genes.index if version == 1 else genes["ensembl"]
    groups = dict(zip(samples, map(set, of), strict=True))
    return Public(_study(folder, "archs4"), per_million(counts[single < 0.5]), groups=groups)


MAKERS: dict[str, Callable[[Path], Public]] = {
    one.__name__: one for one in (gtex_v8, recount3, gdc, xena, depmap, archs4)
}


@cache
def landmark_rows() -> set[str]:
    """Ids, of every form above, of the rows that are landmarks."""
    genes = real_genes()[real_genes()["landmark"]]
    return {
        *genes.index,
        *genes["old"],
        *genes["ensembl"],
        *(genes["old"] + " (" + genes["entrez"] + ")"),
    }
