"""What a study fixes, as frozen dataclasses. The defaults are the original's.

Each field's text is written here once: study files, flags, estimators and the tables of
``docs/reference/study.md`` take it from its `setting`.
"""

# ruff: noqa: RUF009  (`setting` makes a field)

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path  # noqa: TC003  (a type that study files are checked against)
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

DuplicateRule = Literal["clusters", "all-pairs", "none"]
ScaleOn = Literal["all", "train"]
Partition = Literal["random", "clustered"]
Precision = Literal["highest", "tf32"]
Pretrain = Literal["none", "autoencoder"]
Platform = Literal["standardized", "microarray", "rnaseq", "l1000"]
IdKind = Literal["probe", "ensembl", "entrez", "symbol"]
GeneIds = Literal["symbol", "ensembl", "entrez"]
Standardize = Literal["input", "training"]
Scale = Literal["standardized", "reference"]
SetPlatform = Literal["array", "rnaseq", "l1000"]
Role = Literal["validation", "test"]
Values = Literal["log2", "log1p", "counts", "tpm", "rpkm", "fpkm"]
Normalize = Literal["original", "quantile", "none", "log_cpm"]
Method = Literal[
    "stack", "ridge", "knn-ge", "kernel-ridge", "learned-kernel", "sample-lasso", "residual-mlp"
]


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


def setting(
    default: Any = MISSING,
    meaning: str = "",
    more: str = "",
    *,
    choices: object = None,
    low: float | None = None,
    high: float = float("inf"),
    key: str | None = None,
) -> Any:
    """Make a dataclass field that says what it means and which values it takes.

    Parameters
    ----------
    meaning, more
        What the field means, its values in double quotes; `more` follows in
        ``docs/reference/study.md`` and in Python's help, and is left out of ``--help``.
    choices
        The `Literal` whose values it takes.
    low, high
        The range of a number, or of each number of a tuple.
    key
        Its name in the study file and as a flag, where that is no name in Python.
    """
    told = {"meaning": meaning, "more": more, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=told | {"key": key})


def describe(kind: type[Any], *names: str) -> str:
    """Document settings of a dataclass (all, if none is named), as a section of numpydoc."""
    lines = []
    for one in fields(kind):
        if not names or one.name in names:
            lines += [one.name, "   "]
            # By hand: for all of them textwrap takes as long as the other imports of `dgex --help`.
            for word in f"{one.metadata['meaning']}{one.metadata['more']}.".split(" "):
                lines += ["   "] if len(lines[-1]) + len(word) > 95 else []
                lines[-1] += f" {word}"
    return "\n".join(lines)


def documented(kind: type[T]) -> type[T]:
    """Decorate a dataclass of settings: its docstring lists what they mean."""
    kind.__doc__ = f"{kind.__doc__}\n\nAttributes\n----------\n{describe(kind)}\n"
    return kind


@dataclass(frozen=True)
class Settings:
    """Base of the dataclasses: every value is checked against its `setting` as one is made."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value, rule = getattr(self, one.name), one.metadata
            for item in value if isinstance(value, tuple) else (value,):
                if item is None and one.default is None:
                    continue
                if rule["choices"] is not None:
                    check_choice(one.name, item, rule["choices"])
                elif rule["low"] is not None:
                    check_range(one.name, item, rule["low"], rule["high"])
            growing = isinstance(value, tuple) and one.name != "files"
            if growing and (not value or list(value) != sorted(set(value))):
                raise StudyError(f"{one.name} = {list(value)}: must grow, without repeats")


@documented
@dataclass(frozen=True)
class PrepareConfig(Settings):
    """How raw files become a prepared study; the defaults follow the original scripts."""

    duplicates: DuplicateRule = setting(
        "clusters",
        'which profiles are dropped as copies: "clusters" (the original): inside each of 100 '
        "k-means clusters the later one of every pair closer than 1.0; "
        '"all-pairs" (departure): every pair is compared, so no pair is split by clustering; '
        '"none" (departure): nothing is dropped',
        choices=DuplicateRule,
    )
    scale_on: ScaleOn = setting(
        "all",
        'profiles that GEO\'s reference quantile, means and deviations are taken over: "all" (the '
        'original), so the test set leaks into the scaling; "train" (departure): GEO-tr alone',
        choices=ScaleOn,
    )
    normalize: Normalize | None = setting(
        None,
        'how profiles of all files come on one scale: "original": arrays by ranks on the mean '
        "quantile, RNA-seq by dense ranks on it (default of a study by `[files]`); "
        '"quantile": all by ranks on the mean quantile of the compendium (default of a study by '
        '`[compendium]`); "none": values as they are; "log_cpm": counts per million of all genes '
        "of the file (of several files: of the genes that all have; reads of no gene, as "
        "`N_unmapped`, don't count), log2(x + 1)",
        choices=Normalize,
    )
    max_zero_share: float = setting(
        1.0,
        "genes that are 0 (of logarithms: 0 or below) in more than this share of the compendium's "
        "profiles are left out",
        " (ours)",
        low=0.0,
        high=1.0,
    )
    min_genes: int = setting(
        0,
        "profiles of the compendium with fewer genes above 0 are left out",
        " (ours)",
        low=0,
    )
    partition: Partition = setting(
        "random",
        'halves of the targets, a network each: "random" (the original): of the shuffled targets; '
        '"clustered" (departure, proposed in the paper\'s discussion): targets of similar '
        "expression go to the same half",
        ". Two k-means clusters of the targets' correlations over up to 2,000 profiles of GEO-tr "
        "(none of validation or test), moved to halves of the usual sizes; within a half the "
        "shuffled order stays",
        choices=Partition,
    )
    seed: int = setting(
        1,
        "of k-means and of the shuffles of profiles, landmarks and targets",
        "; the original's shuffles have none, so its split is lost (ours)",
        low=0,
        high=2**32 - 1,
    )
    block_size: int = setting(
        1024,
        "profiles in memory at a time; changes memory and speed, never the result",
        " (ours)",
        low=1,
    )
    accept_wrong_dimensions: bool = setting(
        False,
        "read a GCT file whose dimension line is wrong, trusting its table",
        " (ours; such files are refused otherwise)",
    )
    force_platform: bool = setting(
        False,
        "accept a raw file whose values don't look like its platform's (z-scores, negative counts) "
        "or a profile that looks like annotation of the genes; the report and the file say so",
        " (ours; such files are refused otherwise)",
    )


@documented
@dataclass(frozen=True)
class NetworkConfig(Settings):
    """One architecture of the grid (paper section 2.3)."""

    hidden_layers: int = setting(3, "number of hidden layers, 1 to 3", low=1, high=3)
    units: int = setting(9000, "hidden units of each hidden layer", low=1, high=1_000_000)
    dropout: float = setting(0.1, "dropout rate of the hidden units", low=0.0, high=0.99)

    @property
    def name(self) -> str:
        """The paper's name of the network, as in ``D-GEX-10%-9000x3``."""
        return f"D-GEX-{self.dropout:.4%}".rstrip("%").rstrip("0").rstrip(".") + (
            f"%-{self.units}x{self.hidden_layers}"
        )


@documented
@dataclass(frozen=True)
class GridConfig(Settings):
    """The networks of a study: every depth, width and dropout rate (paper section 2.3)."""

    hidden_layers: tuple[int, ...] = setting(
        (1, 2, 3), "numbers of hidden layers, 1 to 3, growing", " (paper section 2.3)"
    )
    units: tuple[int, ...] = setting(
        (3000, 6000, 9000),
        "hidden units of each hidden layer, growing",
        " (paper section 2.3). With three widths, the paper's value stands beside the network of "
        "the same rank",
    )
    dropout: tuple[float, ...] = setting(
        (0.0, 0.1, 0.25), "dropout rates, growing", " (paper section 2.3)"
    )
    side_by_side: int = setting(
        0,
        "the rates of an architecture with up to this many hidden units train side by side, as one "
        "batched program with one checkpoint",
        "; errors agree with training one by one within 1e-6, not to the bit, so the setting is "
        "part of what names a run. 0: never, since on CPUs it is nowhere faster; on a GPU it "
        "should pay for networks too small to fill it (not measured yet). All networks of a group "
        "are trained, also for a table that needs one of its rates (ours)",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
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


@documented
@dataclass(frozen=True)
class BaselineConfig(Settings):
    """The methods D-GEX is compared with (paper sections 2.4 and 2.5)."""

    k_max: int = setting(
        100,
        "KNN-GE: k is tuned from 1 to this, or to the number of landmarks if that is smaller",
        " (ours; the paper says only that k is tuned). The same for KNN-profiles, up to the number "
        "of GEO-tr's profiles",
        low=1,
    )
    l1_lambdas: tuple[float, ...] = setting(
        geometric(-5, -1),
        "the lambdas of LR-L1, growing",
        " (ours; the paper says only that lambda is tuned): (1/2n)|y - Xw - b|² + λ|w|₁",
        low=1e-12,
        high=1e12,
    )
    l2_lambdas: tuple[float, ...] = setting(
        geometric(-5, 1),
        "the lambdas of LR-L2, growing",
        " (ours): (1/2n)|y - Xw - b|² + (λ/2)|w|²",
        low=1e-12,
        high=1e12,
    )
    weights: Path | None = setting(
        None,
        "GCTX file of LINCS' own regression weights, log2 on log2, genes by Entrez id: the row "
        "LINCS-OLS of the sets' tables",
        " (GSE92743). Never measured on the compendium, all of which was in their fit",
    )


@documented
@dataclass(frozen=True)
class JobsConfig(Settings):
    """What each job asks for where networks train as jobs of a cluster (``--launcher slurm``)."""

    partition: str = setting(
        "", "partition of the cluster; empty for its default", " (`--partition` overrides)"
    )
    minutes: int = setting(
        240,
        "time limit of a job",
        " (`--minutes` overrides); one that reaches it is resumed by a second job",
        low=1,
    )
    cpus: int = setting(8, "CPU cores of a job", low=1)
    memory_gb: int = setting(64, "memory of a job, in GB", low=1)
    parallel: int = setting(27, "jobs that run at the same time, at most", low=1)


PAPER_RATES = {1: 5e-4, 2: 3e-4, 3: 3e-4}

PRETRAIN_EPOCHS = 50
"""Chosen on the demo study by GEO-va alone: a tenth of the gain of 100 is lost, half of their time
saved (10 % dropout, 128 units x 2, 60 epochs: 0.4742 without; 0.4732, 0.4714, 0.4694 and 0.4688
after 10, 20, 50 and 100)."""


@documented
@dataclass(frozen=True)
class TrainingConfig(Settings):
    """How one network is trained; the defaults are the original's (paper Table S1)."""

    epochs: int = setting(
        200,
        "passes over the training profiles (GEO-tr); log.tsv counts epochs from 0, the original's "
        "logs count them from 1",
        low=1,
    )
    batch_size: int = setting(
        200,
        "profiles an update",
        "; the short last batch of an epoch is trained on as well",
        low=1,
    )
    learning_rate: float | None = setting(
        None,
        'initial rate; "auto" is 5e-4 for one hidden layer and 3e-4 for two or three, whatever the '
        "study's size; a number is the rate of all depths (departure)",
        low=1e-12,
        high=1e3,
    )
    monitor_size: int = setting(
        5000,
        "training profiles whose error steers the rate",
        " (times 0.9 when it grew since the last epoch, not below 1e-5); all of GEO-tr if that is "
        "smaller",
        low=1,
    )
    momentum: float = setting(
        0.5, "share of the velocity kept from update to update", low=0.0, high=1.0
    )
    seed: int = setting(
        1,
        "of the initial weights, and with the half's number of the dropout masks",
        " (batch orders and monitored profiles have fixed seeds, as in the original)",
        low=0,
        high=2**32 - 1,
    )
    halves: int = setting(
        2,
        "2: two networks, each infers half of the targets with its own learning rate and best "
        "epochs; 1 (departure): one network infers all",
        low=1,
        high=2,
    )
    precision: Precision = setting(
        "highest",
        '"highest" (the original): float32 products; "tf32" (departure): factors rounded to 10 '
        "bits on GPUs that have TF32, nothing on a CPU",
        choices=Precision,
    )
    pretrain: Pretrain = setting(
        "none",
        '"none" (the original): hidden layers start as drawn; "autoencoder" (departure, after the '
        "paper's discussion): as trained by a stacked denoising autoencoder on the landmarks",
        " of GEO-tr (Vincent et al. 2010), one layer after the other: a quarter of each layer's "
        "inputs set to 0, a linear decoder of its own, mean squared error, Adam at 1e-3, the seed "
        "and batch size above. Both halves share them; the output layer starts as without. Its "
        "time is not part of the log's seconds",
        choices=Pretrain,
    )
    pretrain_epochs: int = setting(
        PRETRAIN_EPOCHS,
        "passes over the training profiles for the autoencoder of each hidden layer; refused "
        'unless pretrain is "autoencoder"',
        " (ours)",
        low=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pretrain == "none" and self.pretrain_epochs != PRETRAIN_EPOCHS:
            raise StudyError(
                f"pretrain_epochs = {self.pretrain_epochs}: means nothing without "
                "pretrain = 'autoencoder'"
            )

    def initial_rate(self, hidden_layers: int) -> float:
        """Learning rate of the first epoch for a network of `hidden_layers` layers."""
        return PAPER_RATES[hidden_layers] if self.learning_rate is None else self.learning_rate


@documented
@dataclass(frozen=True)
class FitOptions(Settings):
    """What ``dgex fit`` fits."""

    method: Method = setting(
        "stack",
        '"stack": the methods that suit the number of profiles, combined by their validation '
        "errors; or one of them alone",
        choices=Method,
    )
    minutes: float | None = setting(
        None,
        "begin no further method of the stack once this time is over (default: fit them all)",
        low=1e-4,
        high=1e6,
    )
    seed: int = setting(1, "of all that is drawn", low=0, high=2**32 - 1)
    weights_only: bool = setting(
        False,
        "put no training profile into the model, so that it can be passed on: kernels get made-up "
        "centres, distances are those to means of 10 profiles at least, SampleLasso is left out",
    )
    half_precision: bool = setting(
        False,
        "store the weights as float16, which takes half the space; the error it costs on each part "
        "is measured and recorded; refused where a weight is too large for it",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights_only and self.method == "sample-lasso":
            raise StudyError(
                "weights_only: sample-lasso is nothing but training profiles; take another method"
            )


ALIKE: dict[SetPlatform, tuple[Platform, ...]] = {
    "array": ("microarray", "l1000"),
    "rnaseq": ("rnaseq",),
    "l1000": ("l1000", "microarray"),
}
"""Platforms of an input whose values are on the scale of a compendium's, its own first."""


@documented
@dataclass(frozen=True)
class PredictOptions(Settings):
    """How a model is applied to a file."""

    platform: Platform = setting(
        meaning='what the values are: "standardized" (taken as they are), or to be mapped on the '
        "reference scale",
        choices=Platform,
    )
    standardize: Standardize | None = setting(
        None,
        "by means and deviations of the input (as the paper; 30 profiles at least) or of training "
        "(default: training for the platform that the model was trained on, of arrays also l1000; "
        "else input)",
        choices=Standardize,
    )
    scale: Scale = setting(
        "standardized",
        "of the results: standardised units, or the reference scale of the training data",
        choices=Scale,
    )
    impute: bool = setting(
        False,
        "take the training mean for landmarks that the input lacks, and say so in the output",
    )
    input_ids: IdKind | None = setting(
        None, "look for these alone in the input (default: any)", choices=IdKind
    )
    ids: GeneIds | None = setting(
        None,
        "name the genes of the output by these; one without, or one that shares its own with "
        "another gene, keeps the model's id (default: the model's ids, Ensembl where it has them)",
        choices=GeneIds,
    )
    block_size: int = setting(
        512, "profiles read at a time; changes memory and speed, never a result", low=1
    )
    accept_wrong_dimensions: bool = setting(
        False, "read a GCT file whose dimension line is wrong, trusting its table"
    )
    force_platform: bool = setting(
        False,
        "accept values that don't look like those of the platform (z-scores, negative counts), or "
        "a profile that looks like annotation of the genes; the output says so",
    )
    interval: float | None = setting(
        None,
        "write for each value the bounds that this share of measured values lies between, such as "
        "0.9 (docs/reference/methods.md)",
        low=0.01,
        high=0.999,
    )
    values: Values | None = setting(
        None,
        "what the values are, of the platform of a model whose study was not normalised by ranks "
        '(`normalize` "none" or "log_cpm"; default: as those of training)',
        choices=Values,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.standardize is not None and self.platform == "standardized":
            raise StudyError(
                f"standardize = {self.standardize!r}: values of platform 'standardized' are "
                "taken as they are"
            )

    def settled(self, trained_on: SetPlatform) -> PredictOptions:
        """Return the options with `standardize` as it is for a model of this platform."""
        if self.platform == "standardized" or self.standardize is not None:
            return self
        alike = self.platform in ALIKE[trained_on]
        return replace(self, standardize="training" if alike else "input")
