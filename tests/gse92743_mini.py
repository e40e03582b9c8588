"""Files of exactly the names and forms of GSE92743, small: simulated, or made of real arrays.

As in the published files the matrices lack a few of the landmarks that the weights have, profiles
of the pairs have other ids on each platform and stand in another order, and the rows of the L1000
file that are no landmarks are what the weights infer. Columns of ``inst_info.txt`` are our own: the
published ones are not known.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.io.expression import Expression
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import write_gctx
from dgex_jax.prepare.genes import read_gene_map

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

LANDMARKS = """
16:AARS1 23536:ADAT1 230:ALDOC 10123:ARL4C 6790:AURKA 329:BIRC2 9854:C2CD2L 840:CASP7 896:CCND3
1001:CDH3 1062:CENPE 64428:CIAO3 91949:COG7 1429:CRYZ 9267:CYTH1 1677:DFFB 1786:DNMT1 55837:EAPP
60528:ELAC2 2109:ETFB 23014:FBXO21 4303:FOXO4 9710:GARRE1 2770:GNAI1 2958:GTF2A2 9709:HERPUD1
3251:HPRT1 23463:ICMT 3553:IL1B 23210:JMJD6 10112:KIF20A 3978:LIG1 10892:MALT1 4154:MBNL1
55793:MINDY1 4482:MSRA 9918:NCAPD2 8508:NIPSNAP1 2063:NR2F6 4931:NVL 9924:PAN2 55825:PECR
8503:PIK3R3 57048:PLSCR3 5480:PPIC 5627:PROS1 9491:PSMF1 5829:PXN 5900:RALGDS 6009:RHEB 6195:RPS6KA1
949:SCARB1 6499:SKIC2 2542:SLC37A4 51375:SNX7 8878:SQSTM1 10273:STUB1 23061:TBC1D9B 7016:TESK1
7082:TJP1 9868:TOMM70 57761:TRIB3
"""
"""Entrez ids and symbols of 62 of the 978 landmarks."""

LAMBDA = 0.1
"""Of the ridge that stands for least squares where profiles are fewer than landmarks."""


@dataclass(frozen=True)
class Mini:
    """The seven files, and by what method the weights were fitted on the training profiles."""

    training: Path
    rnaseq: Path
    l1000: Path
    holdout: Path
    weights: Path
    genes: Path
    pairs: Path
    fitted_by: str


@dataclass(frozen=True)
class _World:
    """Log2 values ``(n, n_genes)`` by platform, landmarks first; the pairs row by row."""

    entrez: Sequence[str]
    symbols: Sequence[str]
    n_landmarks: int
    training: Doubles
    l1000: Doubles
    rnaseq: Doubles
    holdout: Doubles


def write_simulated(
    folder: Path,
    *,
    n_profiles: int = 600,
    n_targets: int = 240,
    n_pairs: int = 80,
    n_unmeasured: int = 2,
    seed: int = 1,
) -> Mini:
    """Write a miniature of a seeded low-rank model: 62 landmarks, made-up targets.

    `n_unmeasured` landmarks are in the weights alone.
    """
    rng = np.random.default_rng(seed)
    known = [one.split(":") for one in LANDMARKS.split()]
    entrez = [one for one, _ in known] + [str(100_000_001 + n) for n in range(n_targets)]
    symbols = [one for _, one in known] + [f"MADEUP{n}" for n in range(n_targets)]
    loadings = rng.normal(size=(12, len(entrez))) * rng.gamma(2.0, 0.3, len(entrez))
    level = rng.normal(8.0, 2.0, len(entrez))

    def profiles(n: int) -> Doubles:
        return level + rng.normal(size=(n, 12)) @ loadings

    def noisy(values: Doubles, sd: float) -> Doubles:
        return values + rng.normal(0.0, sd, values.shape)

    truth, held_out = profiles(n_pairs), profiles(n_pairs // 2)
    world = _World(
        entrez,
        symbols,
        len(known),
        noisy(profiles(n_profiles), 0.3),
        noisy(truth, 0.5),
        _sequenced(truth, rng),
        noisy(held_out, 0.5),
    )
    return _write(folder, world, n_unmeasured, rng)


def write_real(
    folder: Path, shared: Path, *, n_pairs: int = 80, n_unmeasured: int = 8, seed: int = 1
) -> Mini:
    """Write a miniature of the real arrays in `shared`; only its pairs are simulated.

    A landmark is its L1000 probe, a target the mean of its probes, with the one Entrez id that HGNC
    has for its Ensembl id. `n_pairs` profiles are kept from the training file, and half as many for
    the hold-out: of these what L1000 and RNA-seq would give is made by noise.
    """
    rng = np.random.default_rng(seed)
    entrez, symbols, probes = _real_genes(shared)
    n_landmarks = sum(1 for _ in _rows(shared / "genes" / "l1000_landmarks.tsv"))
    with Gctx(shared / "data" / "human_mini" / "geo_u133a_n529x22215.gctx") as file:
        place = {probe: column for column, probe in enumerate(file.genes)}
        values = file.read().astype(np.float64)
    genes = np.column_stack([values[:, [place[p] for p in own]].mean(axis=1) for own in probes])
    genes = genes[rng.permutation(len(genes))]
    pairs, held_out, training = np.split(genes, [n_pairs, n_pairs + n_pairs // 2])

    def measured(values: Doubles) -> Doubles:
        return values + rng.normal(0.0, 0.5, values.shape)

    world = _World(
        entrez,
        symbols,
        n_landmarks,
        training,
        measured(pairs),
        _sequenced(pairs, rng),
        measured(held_out),
    )
    return _write(folder, world, n_unmeasured, rng)


def _real_genes(shared: Path) -> tuple[list[str], list[str], list[tuple[str, ...]]]:
    """Entrez ids, symbols and probes, landmarks first."""
    by_ensembl = {row["ensembl"]: row for row in _rows(shared / "genes" / "hgnc.tsv.gz")}
    landmarks = [*_rows(shared / "genes" / "l1000_landmarks.tsv")]
    found = [(row["entrez"], row["symbol"], (row["probe"],)) for row in landmarks]
    taken = {one[0] for one in found} | {""}
    targets = read_gene_map(shared / "genes" / "map_tg.txt")
    with Gctx(shared / "data" / "human_mini" / "geo_u133a_n529x22215.gctx") as file:
        there = set(file.genes)
    for ensembl, own in zip(targets.ensembl, targets.probes, strict=True):
        row = by_ensembl.get(ensembl, {"entrez": "", "symbol": ""})
        present = tuple(probe for probe in own if probe in there)
        if present and "|" not in row["entrez"] and row["entrez"] not in taken:
            found.append((row["entrez"], row["symbol"], present))
            taken.add(row["entrez"])
    entrez, symbols, probes = zip(*found, strict=True)
    return [*entrez], [*symbols], [*probes]


def _rows(path: Path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter="\t")


def _sequenced(values: Doubles, rng: np.random.Generator) -> Doubles:
    """What another platform makes of the same samples: each gene with its own offset and slope."""
    n_genes = values.shape[1]
    mean = values.mean(axis=0)
    seen = mean + rng.normal(0.0, 1.0, n_genes) + (values - mean) * rng.uniform(0.7, 1.3, n_genes)
    return np.maximum(seen + rng.normal(0.0, 0.4, values.shape), 0.0)


def _quantiles_of(values: Doubles, reference: Doubles) -> Doubles:
    """Give each profile the same values, by rank."""
    return reference[values.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")]


def fit_weights(X: Doubles, Y: Doubles) -> tuple[Doubles, str]:
    """Intercept and coefficients ``(1 + p, t)`` of LR, of ridge where ``n <= p + 1``."""
    design = np.column_stack([np.ones(len(X)), X])
    if len(X) > design.shape[1]:
        return np.linalg.lstsq(design, Y, rcond=None)[0], "least squares"
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    dual = np.linalg.solve(x @ x.T + len(X) * LAMBDA * np.eye(len(X)), y)
    coefficients = x.T @ dual
    intercept = Y.mean(axis=0) - X.mean(axis=0) @ coefficients
    return np.vstack([intercept, coefficients]), f"ridge, lambda {LAMBDA}"


def _write(folder: Path, world: _World, n_unmeasured: int, rng: np.random.Generator) -> Mini:
    p, n_pairs = world.n_landmarks, len(world.l1000)
    reference = np.sort(world.training, axis=1).mean(axis=0)
    training, l1000, rnaseq, holdout = (
        # In float32 from here on, so that the weights are fitted on what the file has.
        _quantiles_of(one, reference).astype(np.float32).astype(np.float64)
        for one in (world.training, world.l1000, world.rnaseq, world.holdout)
    )
    weights, fitted_by = fit_weights(training[:, :p], training[:, p:])
    for inferred in (l1000, holdout):
        inferred[:, p:] = weights[0] + inferred[:, :p] @ weights[1:]
    kept = np.arange(n_unmeasured, len(world.entrez))
    rows = rng.permutation(kept)
    entrez = [world.entrez[row] for row in rows]
    folder.mkdir(parents=True, exist_ok=True)

    def save(stem: str, values: Doubles, columns: Sequence[str], genes: Sequence[str]) -> Path:
        path = folder / f"GSE92743_Broad_{stem}_n{len(columns)}x{len(genes)}.gctx"
        content = Expression(path, values.astype(np.float32), tuple(columns), tuple(genes))
        write_gctx(path, content)
        return path

    def matrix(stem: str, values: Doubles, ids: Sequence[str]) -> Path:
        return save(stem, values[:, rows], ids, entrez)

    def table(name: str, lines: Sequence[Sequence[object]]) -> Path:
        path = folder / f"GSE92743_Broad_GTEx_{name}.txt"
        path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
        return path

    by_l1000 = [f"GTEX_REP_A{n:03d}:L{n % 24:02d}" for n in range(n_pairs)]
    by_rnaseq = [f"GTEX-SIM{n:04d}-0226-SM-{9 * n + 1:05d}" for n in range(n_pairs)]
    other, third = rng.permutation(n_pairs), rng.permutation(n_pairs)
    head = ["pr_gene_id", "pr_gene_symbol", "pr_gene_title", "pr_is_lm", "pr_is_bing"]
    lines = [
        [world.entrez[row], world.symbols[row], f"gene {world.symbols[row]}", int(row < p), 1]
        for row in kept
    ]
    pairs = [[by_l1000[n], by_rnaseq[n], "simulated pair"] for n in third]
    arrays = [f"GSM{5000 + n}" for n in range(len(training))]
    return Mini(
        matrix("Affymetrix_training_Level3_Q2NORM", training, arrays),
        matrix("GTEx_RNAseq_Log2RPKM_q2norm", rnaseq[other], [by_rnaseq[n] for n in other]),
        matrix("GTEx_L1000_Level3_Q2NORM", l1000, by_l1000),
        matrix(
            "GTEx_L1000_Holdout_Level3_Q2NORM",
            holdout,
            [f"GTEX_HOLD_A{n:03d}:P{n % 16:02d}" for n in range(len(holdout))],
        ),
        save("OLS_WEIGHTS", weights, ["OFFSET", *world.entrez[:p]], world.entrez[p:]),
        table("gene_info", [head, *lines]),
        table("inst_info", [["inst_id", "rnaseq_inst_id", "kind"], *pairs]),
        fitted_by,
    )
