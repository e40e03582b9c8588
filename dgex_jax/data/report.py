"""What a preparation did, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dgex_jax.data.genes import DroppedGene, PartialGene

N_GENES_NAMED = 5


@dataclass(frozen=True)
class PrepareReport:
    """Counts of one preparation.

    Attributes
    ----------
    output
        The prepared study.
    profiles
        Profiles read of ``GEO``, ``GTEx`` and ``1000G``; of arrays alone ``GEO``.
    n_kept
        GEO profiles left after removing duplicates.
    n_close_pairs
        Pairs of GEO profiles closer than the threshold; ``None`` if nobody looked.
    n_straddling
        How many of these clustering split; ``None`` without clusters.
    split
        GEO profiles of ``train``, ``validation`` and ``test``.
    n_landmarks, n_targets
        Genes kept.
    n_copies
        Targets with a kept landmark's Ensembl id: copies of an input on the RNA-seq side.
    n_clipped
        RNA-seq values of ``GTEx`` and ``1000G`` whose quantile index was -1 and was clipped to 0.
    dropped, partial
        Genes some platform lacks; kept genes that lack some of their probes.
    notes, warnings
        What the raw files were taken for and what was left out of them; what to look at.
    """

    output: Path
    profiles: Mapping[str, int]
    n_kept: int
    n_close_pairs: int | None
    n_straddling: int | None
    split: Mapping[str, int]
    n_landmarks: int
    n_targets: int
    n_copies: int
    n_clipped: Mapping[str, int]
    dropped: tuple[DroppedGene, ...]
    partial: tuple[PartialGene, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Every count by name; those that were not made are left out."""
        counts = {
            "geo_profiles_read": self.profiles["GEO"],
            "geo_profiles_kept": self.n_kept,
            "geo_close_pairs": self.n_close_pairs,
            "geo_close_pairs_straddling_clusters": self.n_straddling,
            "gtex_profiles": self.profiles.get("GTEx"),
            "1000g_profiles": self.profiles.get("1000G"),
            "landmarks": self.n_landmarks,
            "targets": self.n_targets,
            "targets_copying_a_landmark": self.n_copies,
            "gtex_indices_clipped": self.n_clipped.get("GTEx"),
            "1000g_indices_clipped": self.n_clipped.get("1000G"),
            "genes_dropped": len(self.dropped),
            "genes_with_missing_probes": len(self.partial),
        }
        return {name: count for name, count in counts.items() if count is not None}

    def lines(self) -> list[str]:
        """Return a summary for people, a fact a line."""
        split = ", ".join(f"{n:,} {name}" for name, n in self.split.items())
        lines = [
            f"GEO: {self.n_kept:,} of {self.profiles['GEO']:,} profiles kept ({split})",
            *self.notes,
            self._duplicates(),
            *self._genes(),
        ]
        for (role, cause), n in sorted(Counter((g.role, g.cause) for g in self.dropped).items()):
            genes = [g for g in self.dropped if (g.role, g.cause) == (role, cause)]
            lines.append(f"dropped: {_count(n, role)} {cause}: {_named(genes)}")
        for gene in self.partial:
            probes = ", ".join(gene.missing_probes)
            lines.append(f"{gene.role} {gene.symbol} ({gene.ensembl}) lacks {probes}: mean of rest")
        for name, n in self.n_clipped.items():
            if n:
                lines.append(f"{name}: {n:,} values with quantile index -1, clipped to 0")
        return [*lines, f"written: {self.output}"]

    def _genes(self) -> list[str]:
        if "GTEx" not in self.profiles:
            probes = f"{self.n_landmarks:,} landmarks, {self.n_targets:,} targets"
            return [
                "no RNA-seq: a study of arrays alone, its genes are probes",
                f"probes: {probes}",
            ]
        return [
            f"GTEx: {self.profiles['GTEx']:,} profiles; 1000G: {self.profiles['1000G']:,} profiles",
            f"genes: {self.n_landmarks:,} landmarks, {self.n_targets:,} targets",
            f"targets that copy a landmark in GTEx and 1000G (same Ensembl id): {self.n_copies:,}",
        ]

    def _duplicates(self) -> str:
        if self.n_close_pairs is None:
            return "duplicates: not looked for"
        text = f"duplicates: {self.n_close_pairs:,} close pairs"
        if self.n_straddling is not None:
            text += f", {self.n_straddling:,} of them split by clustering and not compared"
        return text


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _named(genes: list[DroppedGene]) -> str:
    names = ", ".join(gene.name for gene in genes[:N_GENES_NAMED])
    more = len(genes) - N_GENES_NAMED
    return names + (f" and {more:,} more" if more > 0 else "")
