"""Table S1: how networks are trained, read from the configuration that trains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from dgex_jax.config import GridConfig, TrainingConfig
from dgex_jax.parts import PAPER as PAPER_PARTS
from dgex_jax.train.pylearn2 import (
    BATCH_SEED,
    DECAY,
    FIRST_COMPARISON,
    LOWEST_RATE,
    MONITOR_SEED,
    OUTPUT_RANGE,
    learning_rate_scales,
)
from reproduce.tables import markdown_rows, write_plain
from reproduce.workspace import Needs, Product

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.parts import Parts
    from reproduce.workspace import Workspace

PAPER, SCRIPTS, PYLEARN2 = "paper, section 2.3", "training scripts", "Pylearn2"
HEADER = ("setting", "this study", "the original", "decided by")


class Setting(NamedTuple):
    """One line: this study's value, the original's, and what decides the original's."""

    name: str
    ours: str
    original: str
    decided_by: str


def settings(grid: GridConfig, training: TrainingConfig, parts: Parts) -> list[Setting]:
    """List every setting of the training.

    The original's values are the defaults of the same configuration and the constants of the code
    that trains, which the recorded runs of the original test.
    """
    faithful = GridConfig(), TrainingConfig()
    return [
        *(
            Setting(name, value(grid, training), value(*faithful), source)
            for name, value, source in _CHOSEN
        ),
        *(Setting(name, value, value, source) for name, value, source in _fixed()),
        Setting("epochs that are kept", _kept(parts), _kept(PAPER_PARTS), SCRIPTS),
    ]


def _kept(parts: Parts) -> str:
    return f"each half's best on {', and on '.join(map(parts.label, parts.choosers))}"


def _rate(_: GridConfig, training: TrainingConfig) -> str:
    if training.learning_rate is not None:
        return f"{training.learning_rate:g}"
    shallow, deep = training.initial_rate(1), training.initial_rate(2)
    return f"{shallow:g} with one hidden layer, {deep:g} with two or three"


def _start(_: GridConfig, training: TrainingConfig) -> str:
    if training.pretrain == "none":
        return "random weights"
    return f"a denoising autoencoder ({training.pretrain_epochs} epochs a layer)"


_CHOSEN: tuple[tuple[str, Callable[[GridConfig, TrainingConfig], str], str], ...] = (
    ("hidden layers", lambda grid, _: ", ".join(f"{one:,}" for one in grid.hidden_layers), PAPER),
    (
        "hidden units of each layer",
        lambda grid, _: ", ".join(f"{one:,}" for one in grid.units),
        PAPER,
    ),
    ("dropout rates", lambda grid, _: ", ".join(f"{one:.0%}" for one in grid.dropout), PAPER),
    ("epochs", lambda _, training: f"{training.epochs}", PAPER),
    (
        "profiles of a batch",
        lambda _, training: f"{training.batch_size}, the short last batch too",
        f"{SCRIPTS}, {PYLEARN2}",
    ),
    ("momentum", lambda _, training: f"{training.momentum:g}", SCRIPTS),
    ("learning rate", _rate, "paper, section 2.3; scripts"),
    ("monitored training profiles", lambda _, training: f"{training.monitor_size:,}", SCRIPTS),
    ("seed", lambda _, training: f"{training.seed}", SCRIPTS),
    ("networks the targets are split over", lambda _, training: f"{training.halves}", PAPER),
    ("hidden layers start from", _start, PAPER),
    (
        "precision of products",
        lambda _, training: {"highest": "float32", "tf32": "TF32 where the GPU has it"}[
            training.precision
        ],
        "float32 in Theano",
    ),
)
"""What a study may choose: its name, its value in words, what decides the original's."""


def _fixed() -> list[tuple[str, str, str]]:
    scales = learning_rate_scales(2)
    return [
        ("hidden units' function", "tanh", SCRIPTS),
        ("output units' function", "linear", SCRIPTS),
        ("initial hidden weights", "uniform, ±√(6 / (fan-in + fan-out))", PAPER),
        ("initial output weights", f"uniform, ±{OUTPUT_RANGE:g}", PAPER),
        ("initial biases", "0", SCRIPTS),
        ("error that is minimised", "squared, summed over targets, mean over a batch", PYLEARN2),
        ("weight decay", "none", SCRIPTS),
        ("survivors of dropout", "divided by the include rate while training", PYLEARN2),
        ("dropout of the inputs", "none", PAPER),
        (
            "factor of the learning rate",
            (
                f"{scales['hidden1']['kernel']:g} first hidden layer's weights, "
                f"{scales['hidden2']['kernel']:g} later weights, {scales['output']['bias']:g} bias"
            ),
            SCRIPTS,
        ),
        ("momentum's kind", "not Nesterov, learning rate inside the velocity", PYLEARN2),
        (
            "decay of the learning rate",
            (
                f"by {DECAY:g} when the monitored error exceeds the epoch's before (the first is "
                f"compared with {FIRST_COMPARISON:g})"
            ),
            f"{PAPER}; {SCRIPTS}",
        ),
        ("lowest learning rate", f"{LOWEST_RATE:g}", PAPER),
        ("seed of the batches", f"{list(BATCH_SEED)}", PYLEARN2),
        ("seed of the monitored profiles", f"{MONITOR_SEED}", SCRIPTS),
    ]


def write_settings(space: Workspace) -> str:
    """Write Table S1 as CSV, Markdown and LaTeX; returns the Markdown."""
    rows = settings(space.study.grid, space.study.training, space.study.parts)
    table = pd.DataFrame(rows, columns=list(HEADER))
    shown = [
        [name, ours if ours == original else f"**{ours}**", original, source]
        for name, ours, original, source in rows
    ]
    lines = [
        f"# Table S1 · study {space.study.name}",
        "",
        "How networks are trained. What differs from the original is bold.",
        "",
        *markdown_rows(HEADER, shown),
    ]
    title = f"Table S1, study {space.study.name}. How networks are trained"
    return write_plain(space, "tableS1", table, lines, table, title)


TABLE_S1 = Product(
    "tableS1",
    "Table S1: how networks are trained.",
    lambda _study: Needs(prepared=False),
    write_settings,
)
