"""``make model``: the model to start with, ``models/human-mini``, and its card.

It is trained by ``dgex fit`` on public arrays, which lie beside the checkout and are no part of it
(``reproduce/studies/human-mini.toml``), and judged on series that were held out and on RNA-seq.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax import cli
from dgex_jax.cli_options import OneLineParser, run_command
from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError
from dgex_jax.io.files import atomic_path, make_folder
from dgex_jax.io.lines import write_lines
from dgex_jax.io.open import open_expression
from dgex_jax.model.model import TRUSTED, read_model, write_model
from dgex_jax.model.truth import TRUTH, evaluate_files
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.hgnc import hgnc
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.probelist import landmark_file, read_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from dgex_jax.model.model import Model
    from dgex_jax.model.truth import FilesEvaluation
    from dgex_jax.prepare.prepared import Prepared

ROOT = Path(__file__).parents[1]
NAME = "human-mini"
STUDY = ROOT / "reproduce" / "studies" / f"{NAME}.toml"
RESULTS = ROOT / "results" / NAME
MODEL = ROOT / "models" / NAME
TEMPLATE = ROOT / "reproduce" / "starter.md"
CARD = ROOT / "models" / "README.md"
OPTIONS = ("--method", "kernel-ridge", "--weights-only", "--half-precision")
"""What its validation part chooses of what fits (docs/reference/methods.md)."""

SHARED = ROOT.parent / "shared"
DATA = SHARED / "data" / "human_mini"
ARRAYS = (DATA / "geo_u133a_n529x22215.gctx", DATA / "geo_u133_more_n293x22215.gctx")
MAP = SHARED / "genes" / "map_tg.txt"
RNASEQ = {
    "148 tumours (TCGA)": DATA / "tcga_rnaseq_n148x9419.gct.gz",
    "69 lymphoblastoid lines": DATA / "lcl_rnaseq_n69x17310.txt.gz",
}
LEVEL = 0.9
FIRST_SOURCES = (
    "ramhiser/datamicroarray, bioc/KEGGdzPathwaysGEO, bioc/KEGGandMetacoreDzPathwaysGEO",
    "MIT; GPL-2; GPL-2",
)
"""Of the first file, which does not say them."""


def gene_rows(targets: Path) -> Iterator[tuple[str, str, str, str]]:
    """Give probe, symbol, Ensembl and Entrez id of the landmarks' probes and of all other genes'.

    Landmarks are measured by the probe that LINCS chose, so their other probes are left out;
    `targets` is a map of the original study's form. Genes that HGNC does not know are left out.
    """
    columns = dict(read_text(landmark_file("l1000")).columns)
    landmarks = list(
        zip(*(columns[name] for name in ("probe", "symbol", "ensembl", "entrez")), strict=True)
    )
    yield from landmarks
    known_symbols = {"", *columns["symbol"]}
    taken = set(columns["probe"])
    table, others = hgnc(), read_gene_map(targets)
    for old, ensembl, probes in zip(others.symbols, others.ensembl, others.probes, strict=True):
        symbol = table.gene_by(ensembl, old, "") or table.gene_by(ensembl, "", "")
        if symbol in known_symbols:
            continue
        entrez = table.ids[symbol].entrez
        for probe in probes:
            if probe not in taken:
                yield probe, symbol, ensembl, entrez[0] if len(entrez) == 1 else ""


def series_rows() -> Iterator[tuple[str, str]]:
    """Give the GEO series of each profile: some are told apart in the files by their tissue.

    ``GSE6956AA`` and ``GSE6956C`` are one, of which a half would tell about the other.
    """
    for array in ARRAYS:
        opened = open_expression(array)
        names = opened.profile_metadata["series"]
        for profile, name in zip(opened.profiles, names, strict=True):
            accession = re.search(r"GSE\d+", name)
            yield profile, accession[0] if accession else name


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write tab-separated rows."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def without_probes(model: Model) -> Model:
    """Leave out which probes the targets were measured by: the map that says so is not ours."""
    nothing = ((),) * len(model.targets)
    return dataclasses.replace(model, targets=dataclasses.replace(model.targets, probes=nothing))


# --- the card


def card(model: Model, study: Prepared) -> str:
    """Fill in ``starter.md``: what the model is, by what was measured."""
    parts = ("tr", "va", "te")
    counts = {f"n_{part}": study.n_profiles(part) for part in parts}
    (covered,) = (one for one in model.record["coverage"]["te"] if one["level"] == LEVEL)
    error, r2 = model.errors["te"].mean(), np.nanmedian(model.r2["te"])
    first = f"| {counts['n_te']} arrays, held-out series | {len(model.targets):,} | {error:.4f} | "
    alone = _from_landmarks_alone(model, study)
    scores = [
        f"{first}{r2:.3f} | {covered['values']:.1%} |",
        _row(f"the same {counts['n_te']}, of which nothing but landmarks is known", alone),
    ]
    for name, path in RNASEQ.items():
        found = evaluate_files(model, path, path, PredictOptions("rnaseq", impute=True))
        missing = len(found.plans[0].match.missing)
        scores.append(_row(f"{name}, RNA-seq, {missing} landmarks missing", found))
    return TEMPLATE.read_text(encoding="utf-8").format(
        **counts,
        **{f"series_{part}": _series(study, part) for part in parts},
        n_all=sum(counts.values()),
        n_landmarks=len(model.landmarks),
        n_targets=len(model.targets),
        n_parameters=model.n_parameters,
        n_trusted=int((model.errors["te"] < TRUSTED).sum()),
        options=" ".join(OPTIONS),
        megabytes=sum(path.stat().st_size for path in MODEL.iterdir()) / 1e6,
        cost=model.record["half_precision_cost"]["te"],
        guess=float(np.abs(study.Y("te")).mean()),
        scores="\n".join(scores),
        sources="\n".join(_source_rows()),
    )


def _series(study: Prepared, part: str) -> str:
    groups = study.groups(part)
    names = [] if groups is None else sorted(set(groups.tolist()))
    return f"{len(names)} series: {', '.join(names)}"


def _row(name: str, found: FilesEvaluation) -> str:
    one = found.parts[TRUTH]
    r2 = "" if one.every.r2 is None else f"{one.every.r2[1]:.3f}"
    covered = "" if one.coverage is None else f"{one.coverage.values:.1%}"
    return f"| {name} | {one.every.n_genes:,} | {one.every.mae.mean:.4f} | {r2} | {covered} |"


def _from_landmarks_alone(model: Model, study: Prepared) -> FilesEvaluation:
    """Judge the model on the arrays held out as on a file that has nothing but landmarks."""
    columns = dict(read_text(RESULTS / "genes.tsv").columns)
    probes: dict[str, list[str]] = {}
    for probe, symbol in zip(columns["probe"], columns["symbol"], strict=True):
        probes.setdefault(symbol, []).append(probe)
    wanted = set(study.profiles("te") or ())
    lines: dict[str, Sequence[float]] = {}
    for array in ARRAYS:
        opened = open_expression(array)
        place = {probe: column for column, probe in enumerate(opened.genes)}
        every = opened.read()
        of_gene = [[place[one] for one in some if one in place] for some in probes.values()]
        for row, profile in enumerate(opened.profiles):
            if profile in wanted:
                lines[profile] = [float(every[row, some].mean()) for some in of_gene]
    n, paths = len(model.landmarks), (RESULTS / "landmarks.tsv", RESULTS / "held_out.tsv")
    # The gene table begins with the landmarks.
    for path, genes in zip(paths, (slice(n), slice(None)), strict=True):
        rows = [["profile", *list(probes)[genes]]]
        rows += [[name, *map(repr, values[genes])] for name, values in lines.items()]
        write_lines(path, ("\t".join(row) + "\n" for row in rows))
    options = PredictOptions("microarray")
    return evaluate_files(
        model, *paths, options, truth_platform="microarray", standardize="training"
    )


def _source_rows() -> Iterator[str]:
    """Say where the arrays are from, as their files do; of the first file by `FIRST_SOURCES`."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for path, (source, licence) in zip(ARRAYS, (FIRST_SOURCES, ("", "")), strict=True):
        for row in open_expression(path).profile_metadata.to_dict("records"):
            key = row.get("source", source), row.get("licence", licence)
            found.setdefault(key, Counter())[row["series"]] += 1
    for (source, licence), series in found.items():
        listed = ", ".join(f"{name} ({n})" for name, n in sorted(series.items()))
        yield f"| {source} | {licence} | {listed} |"


# --- the command


def run(_options: argparse.Namespace) -> None:
    """Train the model, judge it and write its card."""
    for path in (*ARRAYS, MAP, *RNASEQ.values()):
        if not path.is_file():
            raise DgexError(
                f"{path}: no such file: what {NAME} is trained and judged on is no part of this "
                "repository"
            )
    for folder in (RESULTS, MODEL.parent):
        make_folder(folder)
    write_rows(RESULTS / "genes.tsv", (("probe", "symbol", "ensembl", "entrez"), *gene_rows(MAP)))
    write_rows(RESULTS / "series.tsv", series_rows())
    prepared, fitted = RESULTS / "prepared.h5", RESULTS / "model"
    words = ["fit", STUDY, "-o", fitted, "--prepared", prepared, "--overwrite", *OPTIONS]
    if cli.main([str(one) for one in words]):
        raise DgexError(f"{MODEL}: not made, see above")
    write_model(MODEL, without_probes(read_model(fitted)), overwrite=True)
    with open_prepared(prepared) as study, atomic_path(CARD) as temporary:
        temporary.write_text(card(read_model(MODEL), study), encoding="utf-8")
    print(f"{MODEL}: written, and its card {CARD}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the model."""
    command = OneLineParser(
        prog="python -m reproduce.starter",
        description="Train models/human-mini, judge it, and write its card.",
    )
    command.set_defaults(run=run)
    return run_command(command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
