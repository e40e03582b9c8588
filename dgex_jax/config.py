"""What a study fixes, as frozen dataclasses. The defaults are the original's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DuplicateRule = Literal["clusters", "all-pairs", "none"]
ScaleOn = Literal["all", "train"]
Partition = Literal["random", "clustered"]
Precision = Literal["highest", "tf32"]
Pretrain = Literal["none", "autoencoder"]
Platform = Literal["standardized", "microarray", "rnaseq", "l1000"]
IdKind = Literal["probe", "ensembl", "entrez", "symbol"]


PARTS = ("tr", "va", "te", "1000G", "GTEx")
"""The parts of a prepared study: GEO's three, then those of RNA-seq (paper section 2.1)."""
EVALUATED = PARTS[1:]
"""Those a method is judged on."""
LOGGED = (*EVALUATED, "tr")
"""Those whose errors each epoch logs, in the order of the log's columns."""
PART_NAMES = {
    "tr": "GEO-tr",
    "va": "GEO-va",
    "te": "GEO-te",
    "1000G": "1000G-va",
    "GTEx": "GTEx-te",
}
"""As the paper calls them."""
CHOSEN_PARTS = {"va": ("va", "te"), "1000G": ("1000G", "GTEx")}
"""Which best epoch → the part it was chosen on, and the part of its kind that tests it unseen."""


def check_choice(key: str, value: object, kind: object) -> None:
    """Raise `StudyError` unless `value` is one of the literals of `kind`."""
    choices = get_args(kind)
    if value not in choices:
        raise StudyError(f"{key} = {value!r}: must be one of {', '.join(map(repr, choices))}")


def check_range(key: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise `StudyError` unless low <= `value` <= high (NaN is refused)."""
    if not low <= value <= high:
        wanted = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
        raise StudyError(f"{key} = {value}: must be {wanted}")


@dataclass(frozen=True)
class RawFiles:
    """The five raw files of a study (paper section 2.1)."""

    geo: Path
    gtex: Path
    thousand_genomes: Path
    landmarks: Path
    targets: Path


@dataclass(frozen=True)
class GeoOnlyFiles:
    """The two raw files of a study of arrays alone, without RNA-seq (paper section 3.4).

    Attributes
    ----------
    geo
        The array profiles.
    landmarks
        Which of the array's probes are landmarks: a list, or an expression file by probe.
    """

    geo: Path
    landmarks: Path


AnyRawFiles = RawFiles | GeoOnlyFiles


@dataclass(frozen=True)
class PrepareConfig:
    """How raw files become a prepared study; the defaults follow the original scripts.

    Attributes
    ----------
    duplicates
        ``clusters`` (the original: pairs inside k-means clusters), ``all-pairs`` (exact), ``none``.
    scale_on
        ``all`` (the original: GEO quantile, means and deviations over all profiles, test set
        included) or ``train`` (GEO-tr alone: no leak).
    partition
        ``random`` (the original: the halves of the shuffled targets) or ``clustered`` (targets of
        similar expression over GEO-tr go to the same half, as the paper's discussion proposes).
    seed
        Seeds k-means and the shuffles of profiles, landmarks and targets.
    block_size
        Profiles held in memory at a time; changes memory and speed, never a result.
    accept_wrong_dimensions
        Read GCT files whose dimension line is wrong, trusting the table instead.
    force_platform
        Go on where the values of a raw file don't look like those of its platform.
    """

    duplicates: DuplicateRule = "clusters"
    scale_on: ScaleOn = "all"
    partition: Partition = "random"
    seed: int = 1
    block_size: int = 1024
    accept_wrong_dimensions: bool = False
    force_platform: bool = False

    def __post_init__(self) -> None:
        check_choice("duplicates", self.duplicates, DuplicateRule)
        check_choice("scale_on", self.scale_on, ScaleOn)
        check_choice("partition", self.partition, Partition)
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_range("block_size", self.block_size, 1)


@dataclass(frozen=True)
class NetworkConfig:
    """One architecture of the grid (paper section 2.3).

    Attributes
    ----------
    hidden_layers
        Number of hidden layers (1 to 3).
    units
        Hidden units of each hidden layer.
    dropout
        Dropout rate of every hidden layer's outputs; the include rate is ``1 - dropout``.
    """

    hidden_layers: int = 3
    units: int = 9000
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_range("hidden_layers", self.hidden_layers, 1, 3)
        check_range("units", self.units, 1, 1_000_000)
        check_range("dropout", self.dropout, 0.0, 0.99)

    @property
    def name(self) -> str:
        """The paper's name of the network, as in ``D-GEX-10%-9000x3``."""
        return f"D-GEX-{self.dropout:.4%}".rstrip("%").rstrip("0").rstrip(".") + (
            f"%-{self.units}x{self.hidden_layers}"
        )


@dataclass(frozen=True)
class GridConfig:
    """The networks of a study: every depth, width and dropout rate (paper section 2.3).

    Attributes
    ----------
    hidden_layers
        Numbers of hidden layers, each 1 to 3.
    units
        Hidden units of each hidden layer.
    dropout
        Dropout rates.
    side_by_side
        The rates of an architecture with up to this many hidden units train side by side, as one
        batched program and one checkpoint; wider networks train one by one. The batched program
        agrees with the single one within 1e-6 in each logged error, not to the bit.
    """

    hidden_layers: tuple[int, ...] = (1, 2, 3)
    units: tuple[int, ...] = (3000, 6000, 9000)
    dropout: tuple[float, ...] = (0.0, 0.1, 0.25)
    # 0, because on CPUs side by side is nowhere faster (benchmarks/side_by_side.py).
    side_by_side: int = 0

    def __post_init__(self) -> None:
        check_range("side_by_side", self.side_by_side, 0)
        for key in ("hidden_layers", "units", "dropout"):
            values = getattr(self, key)
            if list(values) != sorted(set(values)):
                raise StudyError(f"{key} = {list(values)}: must grow, without repeats")
        for layers, units in self.shapes():
            for dropout in self.dropout:
                NetworkConfig(layers, units, dropout)

    def shapes(self) -> list[tuple[int, int]]:
        """Every (hidden layers, units), shallow before deep and narrow before wide."""
        return [(layers, units) for layers in self.hidden_layers for units in self.units]

    def groups(self, rates: Sequence[float]) -> list[tuple[NetworkConfig, ...]]:
        """Networks that train together, for some of the dropout rates.

        Fixed by the study: a group that trains side by side holds all its rates, whichever are
        asked for and whatever is trained already. The rates of one architecture stand together,
        since they share a compiled program.
        """
        groups: list[tuple[NetworkConfig, ...]] = []
        for layers, units in self.shapes():
            if units <= self.side_by_side:
                groups.append(tuple(NetworkConfig(layers, units, rate) for rate in self.dropout))
            else:
                groups += [(NetworkConfig(layers, units, rate),) for rate in rates]
        return groups


def geometric(low: int, high: int) -> tuple[float, ...]:
    """Ten values from ``10**low`` to ``10**high`` at equal ratios, to three digits."""
    return tuple(float(f"{10 ** (low + (high - low) * step / 9):.3g}") for step in range(10))


@dataclass(frozen=True)
class BaselineConfig:
    """The methods D-GEX is compared with.

    Attributes
    ----------
    k_max
        KNN-GE: k is tuned from 1 to this, or to the number of landmarks if that is smaller; the
        same for the nearest profiles, where GEO-tr's profiles are the limit.
    l1_lambdas, l2_lambdas
        The lambdas of LR-L1 and LR-L2, growing (paper section 2.4 says only that they are tuned).
    """

    k_max: int = 100
    l1_lambdas: tuple[float, ...] = geometric(-5, -1)
    l2_lambdas: tuple[float, ...] = geometric(-5, 1)

    def __post_init__(self) -> None:
        check_range("k_max", self.k_max, 1)
        for key in ("l1_lambdas", "l2_lambdas"):
            values = getattr(self, key)
            for value in values:
                check_range(key, value, 1e-12, 1e12)
            if not values or list(values) != sorted(set(values)):
                raise StudyError(f"{key} = {list(values)}: must grow, without repeats")


@dataclass(frozen=True)
class JobsConfig:
    """What each job asks for where networks train as jobs of a cluster (``--launcher slurm``).

    Attributes
    ----------
    partition
        Of the cluster; empty for its default.
    minutes
        Time limit of a job; a job that reaches it goes on in a second one.
    cpus
        CPU cores of a job.
    memory_gb
        Memory of a job.
    parallel
        Jobs that run at the same time, at most.
    """

    partition: str = ""
    minutes: int = 240
    cpus: int = 8
    memory_gb: int = 64
    parallel: int = 27

    def __post_init__(self) -> None:
        for key in ("minutes", "cpus", "memory_gb", "parallel"):
            check_range(key, getattr(self, key), 1)


PAPER_RATES = {1: 5e-4, 2: 3e-4, 3: 3e-4}

PRETRAIN_EPOCHS = 50
"""Chosen on the demo study by GEO-va alone: a tenth of the gain of 100 is lost, half of their time
saved (10 % dropout, 128 units x 2, 60 epochs: 0.4742 without; 0.4732, 0.4714, 0.4694 and 0.4688
after 10, 20, 50 and 100)."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one network is trained; the defaults are the original's (paper Table S1).

    Attributes
    ----------
    epochs
        Passes over GEO-tr.
    batch_size
        Profiles per update; the short last batch of an epoch is trained on as well.
    learning_rate
        Initial learning rate; ``None`` ("auto") is the paper's: 5e-4 for one hidden layer,
        3e-4 for two or three. It is never rescaled to the study's size.
    monitor_size
        Training profiles whose error steers the learning rate (fewer if GEO-tr is smaller).
    momentum
        Share of the velocity kept from update to update.
    seed
        Seeds the initial weights and, by half, the dropout masks.
    halves
        2: each half of the targets is a network of its own (the original); 1: all in one.
    precision
        ``highest`` (float32 products, the original) or ``tf32`` (a named departure: on recent GPUs
        the factors of matrix products are rounded to 10 bits).
    pretrain
        ``none`` (the original) or ``autoencoder``: hidden layers start from those of a stacked
        denoising autoencoder of GEO-tr's landmarks, the output layer as it does without.
    pretrain_epochs
        Passes over GEO-tr for each hidden layer's autoencoder; refused without one.
    """

    epochs: int = 200
    batch_size: int = 200
    learning_rate: float | None = None
    monitor_size: int = 5000
    momentum: float = 0.5
    seed: int = 1
    halves: int = 2
    precision: Precision = "highest"
    pretrain: Pretrain = "none"
    pretrain_epochs: int = PRETRAIN_EPOCHS

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        if self.learning_rate is not None:
            check_range("learning_rate", self.learning_rate, 1e-12, 1e3)
        check_range("monitor_size", self.monitor_size, 1)
        check_range("momentum", self.momentum, 0.0, 1.0)
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_range("halves", self.halves, 1, 2)
        check_choice("precision", self.precision, Precision)
        check_choice("pretrain", self.pretrain, Pretrain)
        check_range("pretrain_epochs", self.pretrain_epochs, 1)
        if self.pretrain == "none" and self.pretrain_epochs != PRETRAIN_EPOCHS:
            raise StudyError(
                f"pretrain_epochs = {self.pretrain_epochs}: means nothing without "
                "pretrain = 'autoencoder'"
            )

    def initial_rate(self, hidden_layers: int) -> float:
        """Learning rate of the first epoch for a network of `hidden_layers` layers."""
        return PAPER_RATES[hidden_layers] if self.learning_rate is None else self.learning_rate
