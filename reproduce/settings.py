"""Table S1: how networks are trained, read from the configuration that trains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.config import GridConfig, TrainingConfig
from dgex_jax.training.pylearn2 import (
    BATCH_SEED,
    DECAY,
    FIRST_COMPARISON,
    LOWEST_RATE,
    MONITOR_SEED,
    OUTPUT_RANGE,
    learning_rate_scales,
)
from reproduce.render import markdown_rows
from reproduce.renderlatex import plain_latex
from reproduce.tables import write_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class Setting:
    """One line: this study's value, the original's, and what decides the original's."""

    name: str
    ours: str
    original: str
    decided_by: str


def settings(grid: GridConfig, training: TrainingConfig) -> list[Setting]:
    """List every setting of the training.

    The original's values are the defaults of the same configuration and the constants of the code
    that trains, which the recorded runs of the original test.
    """
    faithful_grid, faithful = GridConfig(), TrainingConfig()
    scales = learning_rate_scales(2)
    rates = {
        one: f"{one.initial_rate(1):g} with one hidden layer, {one.initial_rate(2):g} with two or "
        "three"
        for one in (training, faithful)
    }
    if training.learning_rate is not None:
        rates[training] = f"{training.learning_rate:g}"
    fixed = [
        ("hidden units' function", "tanh", "training scripts"),
        ("output units' function", "linear", "training scripts"),
        ("initial hidden weights", "uniform, ±√(6 / (fan-in + fan-out))", "paper, section 2.3"),
        ("initial output weights", f"uniform, ±{OUTPUT_RANGE:g}", "paper, section 2.3"),
        ("initial biases", "0", "training scripts"),
        ("error that is minimised", "squared, summed over targets, mean over a batch", "Pylearn2"),
        ("weight decay", "none", "training scripts"),
        ("survivors of dropout", "divided by the include rate while training", "Pylearn2"),
        ("dropout of the inputs", "none", "paper, section 2.3"),
        (
            "factor of the learning rate",
            (
                f"{scales['hidden1']['kernel']:g} first hidden layer's weights, "
                f"{scales['hidden2']['kernel']:g} later weights, {scales['output']['bias']:g} bias"
            ),
            "training scripts",
        ),
        ("momentum's kind", "not Nesterov, learning rate inside the velocity", "Pylearn2"),
        (
            "decay of the learning rate",
            (
                f"by {DECAY:g} when the monitored error exceeds the epoch's before (the first is "
                f"compared with {FIRST_COMPARISON:g})"
            ),
            "paper, section 2.3; training scripts",
        ),
        ("lowest learning rate", f"{LOWEST_RATE:g}", "paper, section 2.3"),
        ("seed of the batches", f"{list(BATCH_SEED)}", "Pylearn2"),
        ("seed of the monitored profiles", f"{MONITOR_SEED}", "training scripts"),
        ("epochs that are kept", "each half's best on GEO-va, and on 1000G-va", "training scripts"),
    ]
    return [
        Setting(
            "hidden layers",
            listed(grid.hidden_layers),
            listed(faithful_grid.hidden_layers),
            "paper, section 2.3",
        ),
        Setting(
            "hidden units of each layer",
            listed(grid.units),
            listed(faithful_grid.units),
            "paper, section 2.3",
        ),
        Setting(
            "dropout rates",
            listed(f"{rate:.0%}" for rate in grid.dropout),
            listed(f"{rate:.0%}" for rate in faithful_grid.dropout),
            "paper, section 2.3",
        ),
        Setting("epochs", f"{training.epochs}", f"{faithful.epochs}", "paper, section 2.3"),
        Setting(
            "profiles of a batch",
            f"{training.batch_size}, the short last batch too",
            f"{faithful.batch_size}, the short last batch too",
            "training scripts, Pylearn2",
        ),
        Setting("momentum", f"{training.momentum:g}", f"{faithful.momentum:g}", "training scripts"),
        Setting("learning rate", rates[training], rates[faithful], "paper, section 2.3; scripts"),
        Setting(
            "monitored training profiles",
            f"{training.monitor_size:,}",
            f"{faithful.monitor_size:,}",
            "training scripts",
        ),
        Setting("seed", f"{training.seed}", f"{faithful.seed}", "training scripts"),
        Setting(
            "networks the targets are split over",
            f"{training.halves}",
            f"{faithful.halves}",
            "paper, section 2.3",
        ),
        Setting(
            "hidden layers start from",
            started_from(training),
            started_from(faithful),
            "paper, section 2.3",
        ),
        Setting(
            "precision of products", precision(training), precision(faithful), "float32 in Theano"
        ),
        *(Setting(name, value, value, source) for name, value, source in fixed),
    ]


def listed(values: Iterable[int | str]) -> str:
    """Join values with commas."""
    return ", ".join(f"{one:,}" if isinstance(one, int) else one for one in values)


def started_from(training: TrainingConfig) -> str:
    """Say how hidden layers are initialised."""
    if training.pretrain == "none":
        return "random weights"
    return f"a denoising autoencoder ({training.pretrain_epochs} epochs a layer)"


def precision(training: TrainingConfig) -> str:
    """Say in what numbers products are taken."""
    return {"highest": "float32", "tf32": "TF32 where the GPU has it"}[training.precision]


HEADER = ("setting", "this study", "the original", "decided by")


def write_settings(space: Workspace) -> str:
    """Write Table S1 as CSV, Markdown and LaTeX; returns the Markdown."""
    rows = [
        [one.name, one.ours, one.original, one.decided_by]
        for one in settings(space.study.grid, space.study.training)
    ]
    table = pd.DataFrame(rows, columns=list(HEADER))
    title = f"Table S1, study {space.study.name}. How networks are trained"
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
    markdown = "\n".join(lines) + "\n"
    write_texts(
        space.tables,
        "tableS1",
        csv=table.to_csv(index=False, lineterminator="\n"),
        md=markdown,
        tex=plain_latex(table, title),
    )
    return markdown
