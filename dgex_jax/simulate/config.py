"""What a simulated study fixes; the defaults are the `demo` study."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

from dgex_jax.config import check_range
from dgex_jax.errors import StudyError

LEAST_SQUARED_DISTANCE = 9.0
"""What pure array noise must put between two arrays; copies lie below 0.25."""


def _within(low: float, high: float, default: float) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class SimulationConfig:
    """Sizes and strengths of a simulated study; all that its files depend on.

    Raises
    ------
    StudyError
        A value out of its range, or values that contradict each other.
    """

    seed: int = _within(0, 2**32 - 1, 1)  # of everything random; no other state enters
    n_profiles: int = _within(2, 10_000_000, 6000)  # GEO profiles, re-deposited copies included
    n_gtex: int = _within(2, 1_000_000, 300)  # samples of the RNA-seq files
    n_1000g: int = _within(2, 1_000_000, 80)
    # Genes every platform has: what is left once preparation has dropped the others.
    n_landmarks: int = _within(1, 100_000, 200)
    n_targets: int = _within(2, 100_000, 1000)
    # Further genes of the two maps, each absent from one of the RNA-seq files (or both).
    missing_landmarks: int = _within(0, 1000, 4)
    missing_targets: int = _within(0, 1000, 12)
    # Genes outside the maps: rows of the RNA-seq files, and what the extra probes measure.
    n_other_genes: int = _within(2, 100_000, 260)
    # Mean number of probes of a target, 1 to 13 each and mostly 1 or 2; landmarks have one.
    probes_per_target: float = _within(1.0, 6.0, 2.8)
    extra_probes: int = _within(0, 100_000, 162)  # probes that belong to no gene of the maps
    # Share of the targets whose gene is a landmark as well, by other probes.
    shared_targets: float = _within(0.0, 1.0, 445 / 9520)
    replicate_share: float = _within(0.0, 0.5, 18149 / 129158)  # GEO profiles that are copies
    n_tissues: int = _within(4, 1000, 40)  # cell states (and one more, the lymphoblastoid line)
    # Transcription factors and pathways: the latent dimensions that genes respond to.
    n_regulators: int = _within(8, 1000, 80)
    # Continuous programmes (cell cycle, interferon, hypoxia ...) that move the regulators.
    n_programmes: int = _within(4, 1000, 12)
    series_size: float = _within(1.0, 10_000.0, 26.0)  # mean number of profiles deposited together
    # Share of the genes whose signal differs between array and RNA-seq.
    platform_discordance: float = _within(0.0, 1.0, 0.15)
    cross_hybridisation: float = _within(0.0, 1.0, 0.2)  # probes that also catch another gene
    # Median sd (log2) of variation of a gene's own, unexplained by any regulator.
    gene_noise: float = _within(0.0, 3.0, 0.28)
    # Sd (log2) of multiplicative noise of one probe on one array. Below the least, two arrays of
    # one sample could be taken for a deposited copy.
    array_noise: float = _within(0.05, 3.0, 0.18)
    # Sd (log2) of a probe's offset in one series (laboratory, batch, pipeline).
    series_noise: float = _within(0.0, 3.0, 0.15)
    library_size: float = _within(1e4, 1e10, 3e7)  # median mapped reads of an RNA-seq sample
    # Median squared biological coefficient of variation of RNA-seq counts.
    dispersion: float = _within(0.0, 10.0, 0.02)

    def __post_init__(self) -> None:
        for one in fields(self):
            check_range(one.name, getattr(self, one.name), *one.metadata["range"])
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
        return self.n_landmarks + self.missing_landmarks, self.n_targets + self.missing_targets

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
