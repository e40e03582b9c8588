"""The genes of a simulated study: which maps they are in, their ids, their probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.config import MOST_PROBES
from dgex_jax.data.simulation.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.config import SimulationConfig

FIRST_ENSEMBL_NUMBER = 90_000_000_001
"""Far above any number Ensembl has given out, so no simulated gene is taken for a real one."""

PROBE_SUFFIXES = ("_at", "_s_at", "_x_at")
PROBE_SUFFIX_SHARES = (0.66, 0.24, 0.10)


@dataclass(frozen=True)
class Catalogue:
    """Genes and probes. Genes are numbered 0 ... n_genes - 1, probes in array order.

    Attributes
    ----------
    landmarks, targets
        ``(n_lines,)`` gene of each line of the two maps; genes shared by both are in each once.
    n_genes
        Genes in all, those outside the maps included.
    symbols, ensembl
        Made-up symbol and Ensembl id (with version) of each gene.
    gene_of_probe
        ``(n_probes,)`` gene each probe was designed for.
    probe_ids
        Id of each probe.
    landmark_probes, target_probes
        Positions of the probes of each line of the two maps.
    absent_gtex, absent_1000g
        Genes of the maps (and of those outside) that have no row in the file.
    """

    landmarks: NDArray[np.intp]
    targets: NDArray[np.intp]
    n_genes: int
    symbols: tuple[str, ...]
    ensembl: tuple[str, ...]
    gene_of_probe: NDArray[np.intp]
    probe_ids: tuple[str, ...]
    landmark_probes: tuple[NDArray[np.intp], ...]
    target_probes: tuple[NDArray[np.intp], ...]
    absent_gtex: NDArray[np.intp]
    absent_1000g: NDArray[np.intp]

    @property
    def other(self) -> NDArray[np.intp]:
        """Genes outside both maps."""
        return np.setdiff1d(np.arange(self.n_genes), np.r_[self.landmarks, self.targets])

    @property
    def is_first_probe(self) -> NDArray[np.bool_]:
        """``(n_probes,)`` whether a probe is the first of its line, by which the gene is known."""
        first = np.zeros(len(self.gene_of_probe), dtype=bool)
        first[[own[0] for own in (*self.landmark_probes, *self.target_probes)]] = True
        return first

    def map_text(self, kind: str) -> str:
        """Text of ``map_lm.txt`` (`kind` = "landmarks") or ``map_tg.txt`` ("targets").

        A line a gene, tab-separated: symbol, Ensembl id without version, comma-separated probes.
        """
        genes, probes = {
            "landmarks": (self.landmarks, self.landmark_probes),
            "targets": (self.targets, self.target_probes),
        }[kind]
        return "".join(
            f"{self.symbols[gene]}\t{self.ensembl[gene].partition('.')[0]}\t"
            f"{','.join(self.probe_ids[probe] for probe in own)}\n"
            for gene, own in zip(genes, probes, strict=True)
        )


def make_catalogue(config: SimulationConfig) -> Catalogue:
    """Lay out genes, maps and probes of the study."""
    rng = stream(config.seed, "catalogue")
    n_landmarks, n_targets = config.n_mapped
    n_genes = n_landmarks + n_targets - config.n_shared + config.n_other_genes
    genes = rng.permutation(n_genes)
    landmarks = genes[:n_landmarks]
    own_targets = genes[n_landmarks : n_landmarks + n_targets - config.n_shared]
    # The genes at the end of each list are the ones to be dropped, so none of them is shared.
    shared = rng.choice(landmarks[: config.n_landmarks], config.n_shared, replace=False)
    missing_landmarks = landmarks[config.n_landmarks :]
    missing_targets = own_targets[config.n_targets - config.n_shared :]
    targets = rng.permutation(np.r_[own_targets, shared])
    other = genes[n_landmarks + n_targets - config.n_shared :]

    order = rng.permutation(config.n_probes)
    counts = probe_counts(n_targets, config.n_target_probes, rng)
    extra = rng.choice(other, config.extra_probes)
    gene_of_probe = np.empty(config.n_probes, np.intp)
    gene_of_probe[order] = np.r_[landmarks, np.repeat(targets, counts), extra]
    target_probes = np.split(order[n_landmarks : n_landmarks + counts.sum()], counts.cumsum()[:-1])

    shuffle = rng.permutation(n_landmarks)
    versions = rng.integers(1, 13, n_genes)
    # In turn absent from GTEx, from 1000G and from both: each way of losing a gene comes up.
    in_turn = np.r_[missing_landmarks, missing_targets]
    kind = np.arange(len(in_turn)) % 3
    unlisted = rng.choice(other, len(other) // 5, replace=False)
    return Catalogue(
        landmarks=landmarks[shuffle],
        targets=targets,
        n_genes=n_genes,
        symbols=tuple(f"SIM{gene + 1:05d}" for gene in range(n_genes)),
        ensembl=tuple(
            f"ENSG{FIRST_ENSEMBL_NUMBER + gene}.{version}" for gene, version in enumerate(versions)
        ),
        gene_of_probe=gene_of_probe,
        probe_ids=_probe_ids(config.n_probes, rng),
        landmark_probes=tuple(order[:n_landmarks][shuffle, None]),
        target_probes=tuple(np.sort(own) for own in target_probes),
        absent_gtex=np.sort(in_turn[kind != 1]),
        absent_1000g=np.sort(np.r_[in_turn[kind != 0], unlisted]),
    )


def probe_counts(n_targets: int, n_probes: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw the number of probes of each target, `n_probes` in all.

    A geometric distribution cut at 13: with the mean 1.654 of the original's map it gives its
    counts (5,765 targets with 1 probe, 2,201 with 2, 975, 380, 123 ...) within about ten per cent.
    """
    counts = np.minimum(rng.geometric(min(1.0, n_targets / n_probes), n_targets), MOST_PROBES)
    while (lacking := n_probes - int(counts.sum())) != 0:
        step = 1 if lacking > 0 else -1
        able = np.flatnonzero((counts + step >= 1) & (counts + step <= MOST_PROBES))
        counts[rng.choice(able, min(abs(lacking), len(able)), replace=False)] += step
    return counts


def _probe_ids(n_probes: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Ids in the array's style ("200007_at", "221234_s_at"), unique and rising."""
    numbers = 200_000 + np.cumsum(rng.integers(1, 3, n_probes))
    suffixes = rng.choice(PROBE_SUFFIXES, n_probes, p=PROBE_SUFFIX_SHARES)
    return tuple(f"{number}{suffix}" for number, suffix in zip(numbers, suffixes, strict=True))
