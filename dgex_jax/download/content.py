"""What an expression file or gene map holds, and whether a study can use it, in a few words."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.genemap import is_ensembl, match_ensembl, read_gene_map, strip_version
from dgex_jax.download.whole import require_whole
from dgex_jax.errors import FormatError
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.opening import kind_of, open_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.data.genemap import GeneMap
    from dgex_jax.download.sources import Source

PROBE = re.compile(r".+_at")
N_SHOWN = 3
EVERY = 100
"""Of a table whose genes nobody asks for, every row of so many is read for its values."""


@dataclass(frozen=True)
class Content:
    """What was found in a file.

    Attributes
    ----------
    text
        All of it, for people.
    faults
        What keeps a study from using it as the file it is meant to be.
    """

    text: str
    faults: tuple[str, ...] = ()


def look_into(path: Path, source: Source, maps: Mapping[str, GeneMap]) -> Content:
    """Open a file and see whether it is what the paper's study needs.

    Of a GCTX file the values of its first, middle and last profile are read; of a table those of
    the study's genes, or of every hundredth row where no gene maps are there.

    Parameters
    ----------
    path, source
        The file, and what it should be.
    maps
        Gene maps by role, ``landmarks`` and ``targets``, those that are there.

    Raises
    ------
    FormatError
        It can't be read as what it should be.
    """
    if source.format == "gene map":
        genes = read_gene_map(path)
        first = ", ".join(genes.symbols[:N_SHOWN])
        return Content(f"{len(genes):,} genes ({first}, …)", _other_shape(source, 0, len(genes)))
    if source.format == "gctx.gz" and path.name == source.file:
        require_whole(path, source.format)
        return Content("gzip-compressed GCTX, whole; unpack it before use (gunzip)")
    wanted = "gctx" if source.format == "gctx.gz" else source.format
    if (found := kind_of(path)) != wanted:
        raise FormatError(f"{path}: is no {wanted} file but {found}")
    return _of_expression(path, source, maps)


def _of_expression(path: Path, source: Source, maps: Mapping[str, GeneMap]) -> Content:
    rows: list[str] = []
    keep = _wanted(maps)

    def is_kept(gene: str) -> bool:
        rows.append(gene)
        return keep(gene) if maps else len(rows) % EVERY == 1

    with ExitStack() as files:
        opened = open_expression(path, genes=is_kept)
        if isinstance(opened, Gctx | H5ad):
            files.enter_context(opened)
            rows = list(opened.genes)
            n = len(opened.profiles)
            values = opened.read(np.unique(np.array([0, n // 2, n - 1])))
        else:
            values = opened.read()
    kind = id_kind(rows)
    shape = f"{len(opened.profiles):,} profiles x {len(rows):,} {kind}s"
    ids = f"{', '.join(rows[:N_SHOWN])}, …; profiles {opened.profiles[0]}, …"
    numbers, no_numbers = _range_of(values)
    parts = [f"{shape} ({ids})", numbers]
    faults = [*_other_shape(source, len(opened.profiles), len(rows)), *no_numbers]
    for role, genes in maps.items() if source.role else ():
        found = _count(genes, rows, kind)
        parts.append(f"{found:,} of {len(genes):,} {role}")
        if not found:
            faults.append(f"none of the {role} is in it")
    return Content("; ".join(parts), tuple(faults))


def id_kind(ids: Sequence[str]) -> str:
    """Name what most of some ids are: Ensembl genes, Entrez genes, probes, or just genes."""
    kinds: dict[str, Callable[[str], bool]] = {
        "Ensembl gene": is_ensembl,
        "probe": lambda name: PROBE.fullmatch(name) is not None,
        "Entrez gene": str.isdigit,
    }
    for name, test in kinds.items():
        if sum(map(test, ids)) * 2 > len(ids):
            return name
    return "gene"


def _wanted(maps: Mapping[str, GeneMap]) -> Callable[[str], bool]:
    wanted = {gene for genes in maps.values() for gene in genes.ensembl}
    wanted |= {probe for genes in maps.values() for probes in genes.probes for probe in probes}
    return lambda gene: gene in wanted or strip_version(gene) in wanted


def _count(genes: GeneMap, rows: Sequence[str], kind: str) -> int:
    """Count the genes of a map that a file has, by probe or by Ensembl id."""
    if kind == "Ensembl gene":
        return int((match_ensembl(genes.ensembl, rows) >= 0).sum())
    there = set(rows)
    return sum(not there.isdisjoint(probes) for probes in genes.probes)


def _other_shape(source: Source, n_profiles: int, n_genes: int) -> tuple[str, ...]:
    pairs = (("profiles", n_profiles, source.profiles), ("genes", n_genes, source.genes))
    other = [
        f"{expected:,} {name}" for name, found, expected in pairs if expected and found != expected
    ]
    return (f"not the {' and '.join(other)} of {source.shape_from}",) if other else ()


def _range_of(values: np.ndarray) -> tuple[str, tuple[str, ...]]:
    known = values[np.isfinite(values)]
    if not known.size:
        return "no values", ("it has no values",)
    text = f"values {known.min():.4g} to {known.max():.4g}"
    missing = values.size - known.size
    return text + (f", {missing:,} of {values.size:,} missing" if missing else ""), ()
