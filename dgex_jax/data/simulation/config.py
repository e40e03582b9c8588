"""What a simulated study fixes; the defaults are the `demo` study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dgex_jax.config import check_range
from dgex_jax.errors import StudyError

LEAST_SQUARED_DISTANCE = 9.0
"""What pure array noise must put between two arrays; copies lie below 0.25."""

MOST_PROBES = 13
"""The most probes a gene of the original's target map has."""


@dataclass(frozen=True)
class SimulationConfig:
    """Sizes and strengths of a simulated study.

    Attributes
    ----------
    seed
        Of everything random; no other state enters.
    n_profiles
        GEO profiles in the raw file, re-deposited copies included.
    n_gtex, n_1000g
        Samples of the two RNA-seq files.
    n_landmarks, n_targets
        Genes every platform has: what is left once preparation has dropped the others.
    missing_landmarks, missing_targets
        Further genes of the two maps, each absent from one of the RNA-seq files (or both).
    n_other_genes
        Genes outside the maps: rows of the RNA-seq files, and what the extra probes measure.
    probes_per_target
        Mean number of probes of a target, 1 to 13 each and mostly 1 or 2; landmarks have one.
    extra_probes
        Probes on the array that belong to no gene of the maps.
    shared_targets
        Share of the targets whose gene is a landmark as well, by other probes.
    replicate_share
        Share of the GEO profiles that are re-deposited copies of another one.
    n_tissues
        Tissue-like cell states (and one more, the lymphoblastoid line).
    n_regulators
        Transcription factors and pathways: the latent dimensions that genes respond to.
    n_programmes
        Continuous programmes (cell cycle, interferon, hypoxia ...) that move the regulators.
    series_size
        Mean number of profiles deposited together.
    platform_discordance
        Share of the genes whose signal differs between array and RNA-seq.
    cross_hybridisation
        Share of the probes that also catch another gene.
    gene_noise
        Median sd (log2) of variation of a gene's own, unexplained by any regulator.
    array_noise
        Sd (log2) of multiplicative noise of one probe on one array.
    series_noise
        Sd (log2) of a probe's offset in one series (laboratory, batch, pipeline).
    library_size
        Median number of mapped reads of an RNA-seq sample.
    dispersion
        Median squared biological coefficient of variation of RNA-seq counts.

    Raises
    ------
    StudyError
        A value out of its range, or values that contradict each other.
    """

    seed: int = 1
    n_profiles: int = 6000
    n_gtex: int = 300
    n_1000g: int = 80
    n_landmarks: int = 200
    n_targets: int = 1000
    missing_landmarks: int = 4
    missing_targets: int = 12
    n_other_genes: int = 260
    probes_per_target: float = 2.8
    extra_probes: int = 162
    shared_targets: float = 445 / 9520
    replicate_share: float = 18149 / 129158
    n_tissues: int = 40
    n_regulators: int = 80
    n_programmes: int = 12
    series_size: float = 26.0
    platform_discordance: float = 0.15
    cross_hybridisation: float = 0.2
    gene_noise: float = 0.28
    array_noise: float = 0.18
    series_noise: float = 0.15
    library_size: float = 3e7
    dispersion: float = 0.02

    def __post_init__(self) -> None:
        for key, low, high in (
            ("seed", 0, 2**32 - 1),
            ("n_profiles", 2, 10_000_000),
            ("n_gtex", 2, 1_000_000),
            ("n_1000g", 2, 1_000_000),
            ("n_landmarks", 1, 100_000),
            ("n_targets", 2, 100_000),
            ("missing_landmarks", 0, 1000),
            ("missing_targets", 0, 1000),
            ("n_other_genes", 2, 100_000),
            ("probes_per_target", 1.0, 6.0),
            ("extra_probes", 0, 100_000),
            ("shared_targets", 0.0, 1.0),
            ("replicate_share", 0.0, 0.5),
            ("n_tissues", 4, 1000),
            ("n_regulators", 8, 1000),
            ("n_programmes", 4, 1000),
            ("series_size", 1.0, 10_000.0),
            ("platform_discordance", 0.0, 1.0),
            ("cross_hybridisation", 0.0, 1.0),
            ("gene_noise", 0.0, 3.0),
            # Below this, two arrays of one sample could be taken for a deposited copy.
            ("array_noise", 0.05, 3.0),
            ("series_noise", 0.0, 3.0),
            ("library_size", 1e4, 1e10),
            ("dispersion", 0.0, 10.0),
        ):
            check_range(key, getattr(self, key), low, high)
        if self.n_shared > self.n_landmarks:
            raise StudyError(
                f"shared_targets = {self.shared_targets}: makes {self.n_shared} targets share a "
                f"gene with one of {self.n_landmarks} landmarks"
            )
        noise = 2 * self.n_probes * self.array_noise**2
        if noise < LEAST_SQUARED_DISTANCE:
            raise StudyError(
                f"n_targets = {self.n_targets}: with {self.n_probes} probes and array_noise = "
                f"{self.array_noise} two arrays of one sample come out too close to distance 1.0, "
                "below which preparation takes them for copies"
            )

    @property
    def n_copies(self) -> int:
        """Re-deposited profiles among `n_profiles`."""
        return round(self.replicate_share * self.n_profiles)

    @property
    def n_shared(self) -> int:
        """Targets whose gene is a landmark too."""
        return round(self.shared_targets * self.n_targets)

    @property
    def n_mapped(self) -> tuple[int, int]:
        """Lines of the landmark and of the target map."""
        return (
            self.n_landmarks + self.missing_landmarks,
            self.n_targets + self.missing_targets,
        )

    @property
    def n_target_probes(self) -> int:
        """Probes of all genes of the target map together."""
        return round(self.probes_per_target * self.n_mapped[1])

    @property
    def n_probes(self) -> int:
        """Probes on the array."""
        return self.n_mapped[0] + self.n_target_probes + self.extra_probes

    @classmethod
    def paper(cls, seed: int = 1) -> Self:
        """Give the paper's sizes: 129,158 (18,149 copies) x 22,268 probes, 943 / 9,520 genes."""
        return cls(
            seed=seed,
            n_profiles=129_158,
            n_gtex=2921,
            n_1000g=462,
            n_landmarks=943,
            n_targets=9520,
            missing_landmarks=0,
            missing_targets=0,
            n_other_genes=3700,
            probes_per_target=15_744 / 9520,
            extra_probes=22_268 - 943 - 15_744,
            n_tissues=100,
            n_regulators=150,
            n_programmes=20,
        )
