"""What a preparation did, for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dgex_jax.parts import Parts
    from dgex_jax.prepare.genes import LostGene

N_GENES_NAMED = 5


@dataclass(frozen=True)
class PrepareReport:
    """What a preparation did."""

    output: Path
    parts: Parts
    counts: Mapping[str, int]
    """Every count by name; those that were not made are left out."""
    split: Mapping[str, int]
    """Profiles of the compendium in ``train``, ``validation`` and ``test``."""
    dropped: tuple[LostGene, ...]
    partial: tuple[LostGene, ...]
    notes: tuple[str, ...]
    """What the raw files were taken for and what was left out of them."""
    warnings: tuple[str, ...]
    """What a user should look at."""

    def lines(self) -> list[str]:
        """Return a summary for people, a fact a line."""
        counts, name = self.counts, self.parts.compendium
        kept, read = (counts[count_key(name, f"profiles_{what}")] for what in ("kept", "read"))
        split = ", ".join(f"{n:,} {part}" for part, n in self.split.items())
        by = f" by {counts['groups']:,} groups" if "groups" in counts else ""
        lines = [f"{name}: {kept:,} of {read:,} profiles kept ({split}{by})", *self.notes]
        lines.append(self._duplicates())
        lines += [
            f"{one.name}: {counts[count_key(one.name, 'profiles')]:,} profiles ({one.role})"
            for one in self.parts.sets
        ]
        genes = f"{counts['landmarks']:,} landmarks, {counts['targets']:,} targets"
        lines.append(f"genes: {genes}" if self.parts.sets else f"no further set; rows: {genes}")
        if self.parts.sets:
            copies = "targets that copy a landmark outside the compendium (same gene)"
            lines.append(f"{copies}: {counts['targets_copying_a_landmark']:,}")
        for (role, cause), n in sorted(Counter((g.role, g.cause) for g in self.dropped).items()):
            names = [
                gene.symbol or ",".join(gene.probes)
                for gene in self.dropped
                if (gene.role, gene.cause) == (role, cause)
            ]
            shown = ", ".join(names[:N_GENES_NAMED])
            more = f" and {n - N_GENES_NAMED:,} more" if n > N_GENES_NAMED else ""
            lines.append(f"dropped: {n:,} {role}{'' if n == 1 else 's'} {cause}: {shown}{more}")
        for gene in self.partial:
            probes = ", ".join(gene.probes)
            lines.append(f"{gene.role} {gene.symbol} ({gene.ensembl}) lacks {probes}: mean of rest")
        for one in self.parts.sets:
            if clipped := counts.get(count_key(one.name, "indices_clipped")):
                text = f"{clipped:,} values with quantile index -1, clipped to 0"
                lines.append(f"{one.name}: {text}")
        return [*lines, f"written: {self.output}"]

    def _duplicates(self) -> str:
        pairs = self.counts.get(count_key(self.parts.compendium, "close_pairs"))
        if pairs is None:
            return "duplicates: not looked for"
        text = f"duplicates: {pairs:,} close pairs"
        straddling = self.counts.get(
            count_key(self.parts.compendium, "close_pairs_straddling_clusters")
        )
        if straddling is not None:
            text += f", {straddling:,} of them split by clustering and not compared"
        return text


def count_key(name: str, count: str) -> str:
    """Name a count of the compendium or of a set: ``geo_profiles_read``."""
    return f"{name.lower()}_{count}"
