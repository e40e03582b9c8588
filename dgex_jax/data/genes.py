"""Which genes a study keeps: those that every platform measures, and why the others go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.genemap import match_ensembl
from dgex_jax.errors import FormatError, PreparationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.data.annotation import Annotation
    from dgex_jax.data.genemap import GeneMap
    from dgex_jax.data.probelist import ProbeList
    from dgex_jax.formats.expression import ExpressionSource

NOT_ON_ARRAY = "missing on the array"
NOT_IN = {"GTEx": "missing in GTEx", "1000G": "missing in 1000G"}


@dataclass(frozen=True)
class DroppedGene:
    """A gene of the maps that some platform lacks; `cause` lists them, joined by ``; ``.

    `ensembl` is empty in a study of arrays alone.
    """

    role: str
    symbol: str
    ensembl: str
    cause: str
    probes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its symbol, or its probes if it has none."""
        return self.symbol or ",".join(self.probes)


@dataclass(frozen=True)
class PartialGene:
    """A kept gene that lacks some of its probes; its value is the mean over the others."""

    role: str
    symbol: str
    ensembl: str
    missing_probes: tuple[str, ...]


@dataclass(frozen=True)
class StudyGenes:
    """Kept genes of one role (or of both, landmarks first), with where each platform has them.

    Attributes
    ----------
    symbols, ids
        ``(n_genes,)`` names as in the gene map, Ensembl ids; in a study of arrays alone symbols as
        far as known, and probe ids.
    probes
        For each gene the columns of its probes in the GEO file, in the map's order.
    columns
        For ``GTEx`` and ``1000G`` the ``(n_genes,)`` columns in their files; empty without them.
    """

    symbols: tuple[str, ...]
    ids: tuple[str, ...]
    probes: tuple[tuple[int, ...], ...]
    columns: Mapping[str, NDArray[np.intp]]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, order: NDArray[np.intp]) -> StudyGenes:
        """Return the genes in another order."""
        return StudyGenes(
            tuple(self.symbols[g] for g in order),
            tuple(self.ids[g] for g in order),
            tuple(self.probes[g] for g in order),
            {name: columns[order] for name, columns in self.columns.items()},
        )

    def __add__(self, other: StudyGenes) -> StudyGenes:
        return StudyGenes(
            self.symbols + other.symbols,
            self.ids + other.ids,
            self.probes + other.probes,
            {n: np.concatenate([self.columns[n], other.columns[n]]) for n in self.columns},
        )


@dataclass(frozen=True)
class Selection:
    """The genes of a study and what became of the others.

    Attributes
    ----------
    landmarks, targets
        Kept genes, in the order of their maps until `shuffled`.
    dropped, partial
        In the order of the maps, landmarks first.
    """

    landmarks: StudyGenes
    targets: StudyGenes
    dropped: tuple[DroppedGene, ...]
    partial: tuple[PartialGene, ...]

    @property
    def all_genes(self) -> StudyGenes:
        """Landmarks, then targets: the genes that quantile normalisation ranks.

        A gene that is both stands twice, as in the original.
        """
        return self.landmarks + self.targets

    @property
    def copy_of_landmark(self) -> NDArray[np.bool_]:
        """``(n_targets,)``: the target's Ensembl id is a kept landmark's too.

        On the array these are other probes; in RNA-seq the target is a copy of an input (445 of
        the paper's 9,520 targets). Never so in a study of arrays alone.
        """
        if not self.landmarks.columns:
            return np.zeros(len(self.targets), dtype=bool)
        return match_ensembl(self.targets.ids, self.landmarks.ids) >= 0

    def shuffled(self, landmarks: NDArray[np.intp], targets: NDArray[np.intp]) -> Selection:
        """Return the same genes in the given orders."""
        return replace(
            self, landmarks=self.landmarks.take(landmarks), targets=self.targets.take(targets)
        )

    def with_targets(self, order: NDArray[np.intp]) -> Selection:
        """Return the same genes, the targets in the given order."""
        return replace(self, targets=self.targets.take(order))


def select_genes(
    landmarks: GeneMap,
    targets: GeneMap,
    geo: ExpressionSource,
    rna: Mapping[str, ExpressionSource],
) -> Selection:
    """Keep the landmarks and targets that the array and both RNA-seq data sets have.

    Parameters
    ----------
    landmarks, targets
        The gene maps.
    geo
        The array; only its probe ids are looked at.
    rna
        Sources ``GTEx`` and ``1000G``; only their gene ids are looked at.

    Raises
    ------
    PreparationError
        No landmark or no target is on every platform.
    FormatError
        Two rows of a file are the same gene of the study.
    """
    place = {probe: column for column, probe in enumerate(geo.genes)}
    kept, dropped, partial = {}, [], []
    for role, genes in (("landmark", landmarks), ("target", targets)):
        _match(genes.path, genes.ensembl, genes.ensembl)
        columns = {n: _match(s.path, genes.ensembl, s.genes) for n, s in rna.items()}
        chosen = []
        for g, (symbol, ensembl) in enumerate(zip(genes.symbols, genes.ensembl, strict=True)):
            missing = tuple(p for p in genes.probes[g] if p not in place)
            causes = [NOT_ON_ARRAY] if len(missing) == len(genes.probes[g]) else []
            causes += [NOT_IN[name] for name, found in columns.items() if found[g] < 0]
            if causes:
                probes = genes.probes[g]
                dropped.append(DroppedGene(role, symbol, ensembl, "; ".join(causes), probes))
                continue
            chosen.append(g)
            if missing:
                partial.append(PartialGene(role, symbol, ensembl, missing))
        if not chosen:
            files = ", ".join(str(source.path) for source in (geo, *rna.values()))
            raise PreparationError(
                f"{genes.path}: none of its {len(genes)} {role} genes is in all of {files}"
            )
        places = tuple(tuple(place[p] for p in known if p in place) for known in genes.probes)
        every = StudyGenes(genes.symbols, genes.ensembl, places, columns)
        kept[role] = every.take(np.array(chosen, dtype=np.intp))
    return Selection(kept["landmark"], kept["target"], tuple(dropped), tuple(partial))


def select_probes(landmarks: ProbeList, geo: ExpressionSource, annotation: Annotation) -> Selection:
    """Take the probes of an array as genes: some are landmarks, all others targets (section 3.4).

    Parameters
    ----------
    landmarks
        The landmark probes; those that the array lacks are dropped.
    geo
        The array; only its probe ids are looked at.
    annotation
        Gives the symbols.

    Raises
    ------
    PreparationError
        No landmark is on the array, or no probe is left for a target.
    FormatError
        A probe id that can't be stored in a list.
    """
    comma = next((probe for probe in geo.genes if "," in probe), None)
    if comma is not None:
        raise FormatError(f"{geo.path}: probe id {comma!r} holds a comma, which separates probes")
    place = {probe: column for column, probe in enumerate(geo.genes)}
    chosen = [place[probe] for probe in landmarks.probes if probe in place]
    if not chosen:
        raise PreparationError(
            f"{landmarks.path}: none of its {len(landmarks.probes)} landmark probes "
            f"(the first is {landmarks.probes[0]!r}) is in {geo.path}"
        )
    others = sorted(set(range(len(geo.genes))) - set(chosen))
    if not others:
        raise PreparationError(
            f"{landmarks.path}: has all {len(chosen)} probes of {geo.path}, none is left to infer"
        )

    def genes(columns: list[int]) -> StudyGenes:
        ids = tuple(geo.genes[column] for column in columns)
        symbols = tuple(annotation.symbols.get(probe, "") for probe in ids)
        return StudyGenes(symbols, ids, tuple((column,) for column in columns), {})

    dropped = tuple(
        DroppedGene("landmark", annotation.symbols.get(probe, ""), "", NOT_ON_ARRAY, (probe,))
        for probe in landmarks.probes
        if probe not in place
    )
    return Selection(genes(chosen), genes(others), dropped, ())


def _match(path: Path, wanted: tuple[str, ...], available: tuple[str, ...]) -> NDArray[np.intp]:
    """Find `wanted` among the ids of a file, which is named if two of them are one gene."""
    try:
        return match_ensembl(wanted, available)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
