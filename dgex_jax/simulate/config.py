"""What a simulated study fixes; the defaults are the `demo` study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dgex_jax.config import Settings, documented, setting
from dgex_jax.errors import StudyError

LEAST_SQUARED_DISTANCE = 9.0
"""What pure array noise must put between two arrays; copies lie below 0.25."""


@documented
@dataclass(frozen=True)
class SimulationConfig(Settings):
    """Sizes and strengths of a simulated study; all that its files depend on."""

    seed: int = setting(1, "of everything random in the raw files", low=0, high=2**32 - 1)
    n_profiles: int = setting(
        6000, "GEO profiles in the raw file, re-deposited copies included", low=2, high=10_000_000
    )
    n_gtex: int = setting(300, "GTEx samples", low=2, high=1_000_000)
    n_1000g: int = setting(80, "1000 Genomes samples", low=2, high=1_000_000)
    n_landmarks: int = setting(200, "landmark genes that every platform has", low=1, high=100_000)
    n_targets: int = setting(1000, "target genes that every platform has", low=2, high=100_000)
    missing_landmarks: int = setting(
        4, "further genes of the landmark map, each absent from an RNA-seq file", low=0, high=1000
    )
    missing_targets: int = setting(
        12, "further genes of the target map, each absent from an RNA-seq file", low=0, high=1000
    )
    n_other_genes: int = setting(
        260,
        "genes outside both maps: rows of the RNA-seq files, and what the extra probes measure",
        low=2,
        high=100_000,
    )
    probes_per_target: float = setting(
        2.8,
        "mean number of probes of a target, 1 to 13 each and mostly 1 or 2 (landmarks have one)",
        low=1.0,
        high=6.0,
    )
    extra_probes: int = setting(
        162, "probes that belong to no gene of the maps", low=0, high=100_000
    )
    shared_targets: float = setting(
        445 / 9520,
        "share of the targets whose gene is a landmark too (445 of 9,520, as in the paper)",
        low=0.0,
        high=1.0,
    )
    replicate_share: float = setting(
        18149 / 129158,
        "share of GEO profiles that are re-deposited copies (18,149 of 129,158, as in the paper)",
        low=0.0,
        high=0.5,
    )
    n_tissues: int = setting(
        40, "tissue-like cell states (and one more, the lymphoblastoid line)", low=4, high=1000
    )
    n_regulators: int = setting(
        80,
        "transcription factors and pathways: the latent dimensions that genes respond to",
        low=8,
        high=1000,
    )
    n_programmes: int = setting(
        12,
        "continuous programmes (cell cycle, interferon, hypoxia ...) that move the regulators",
        low=4,
        high=1000,
    )
    series_size: float = setting(
        26.0, "mean number of profiles deposited together", low=1.0, high=10_000.0
    )
    platform_discordance: float = setting(
        0.15, "share of the genes whose signal differs between array and RNA-seq", low=0.0, high=1.0
    )
    cross_hybridisation: float = setting(
        0.2, "share of the probes that also catch another gene", low=0.0, high=1.0
    )
    gene_noise: float = setting(
        0.28,
        "median sd (log2) of a gene's own variation, unexplained by any regulator",
        low=0.0,
        high=3.0,
    )
    # Below 0.05 two arrays of one sample could be taken for a deposited copy.
    array_noise: float = setting(
        0.18, "sd (log2) of the noise of a probe on an array", low=0.05, high=3.0
    )
    series_noise: float = setting(
        0.15,
        "sd (log2) of a probe's offset in a series (laboratory, batch, pipeline)",
        low=0.0,
        high=3.0,
    )
    library_size: float = setting(
        3e7, "median number of mapped reads of an RNA-seq sample", low=1e4, high=1e10
    )
    dispersion: float = setting(
        0.02, "median squared biological coefficient of variation of the counts", low=0.0, high=10.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
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
