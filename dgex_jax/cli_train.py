"""``dgex train``: one network, from one seed or from several."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dgex_jax.cli_options import add_train_options, chosen
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from dgex_jax.training.seeds import SeedErrors

    AddCommand = Callable[
        [Any, str, str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser
    ]

EXAMPLES = {
    "train": """examples:
  dgex train prepared.h5 -o runs/3x9000 --hidden-layers 3 --units 9000 --dropout 0.1
  dgex train prepared.h5 -o runs/seeds --units 3000 --seeds 1 2 3   the spread over seeds
  dgex train arrays.npz -o runs/small --hidden-layers 1 --units 300 --halves 1 --epochs 50
""",
}


def add_train(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex train``."""
    command = add_command(commands, "train", "train one network of the paper's kind", train)
    add_train_options(command)


def train(options: argparse.Namespace) -> None:
    """Run ``dgex train``."""
    check_gpus(options.gpus)
    from dgex_jax.compiled import keep_compiled  # noqa: PLC0415
    from dgex_jax.data.prepared import open_prepared  # noqa: PLC0415
    from dgex_jax.training.devices import choose_devices, share_cpu  # noqa: PLC0415
    from dgex_jax.training.run import Conduct, train_runs  # noqa: PLC0415
    from dgex_jax.training.seeds import seed_configs, train_seeds  # noqa: PLC0415
    from dgex_jax.training.stopping import stop_on_signals  # noqa: PLC0415

    network = NetworkConfig(options.hidden_layers, options.units, options.dropout)
    training = training_config(options)
    by_seed = seed_configs(training, options.seeds or ())
    with open_prepared(options.prepared) as study:
        keep_compiled()
        share_cpu(training.halves)
        (devices, *_), note = choose_devices(options.gpus, training.halves)
        if note:
            print(note, file=sys.stderr)
        if training.precision == "tf32" and devices[0].platform == "cpu":
            print("a CPU has no TF32: products are float32", file=sys.stderr)
        with stop_on_signals() as request:
            conduct = Conduct(
                report=lambda _network, _done, line: None if options.quiet else say(line),
                overwrite=options.overwrite,
                wait=not options.no_wait,
                request=request,
            )
            if by_seed:
                trained = train_seeds(study, network, by_seed, options.output, devices, conduct)
            else:
                trained = {
                    options.output: train_runs(
                        study, [network], training, [options.output], devices, conduct=conduct
                    )
                }
    for folder, now in trained.items():
        print(f"{folder}: {'trained' if now else 'was trained before, nothing to do'}")
    if by_seed:
        show_seeds(options.output, tuple(by_seed))


def training_config(options: argparse.Namespace) -> TrainingConfig:
    """Return what the options say of the training, with one seed.

    Raises
    ------
    StudyError
        A setting can't be used, or there are both ``--seed`` and ``--seeds``.
    """
    settings = chosen(options, TrainingConfig)
    if options.seed is not None and options.seeds is not None:
        raise StudyError("--seed and --seeds: give one of them")
    if options.seed is None:
        del settings["seed"]
    return TrainingConfig(**settings)


def show_seeds(runs: Path, seeds: tuple[int, ...]) -> None:
    """Print the errors of each seed and their spread."""
    from dgex_jax.training.seeds import TABLE, read_seed_errors  # noqa: PLC0415

    print("\n".join(seed_lines(read_seed_errors(runs, seeds))))
    print(f"{runs / TABLE}: these errors, a line for each seed and part")


def seed_lines(errors: SeedErrors) -> list[str]:
    """Make a table of the errors of each seed, the genes' spread, and the seeds' spread."""
    from dgex_jax.config import PART_NAMES  # noqa: PLC0415

    mean, sd = errors.over_seeds()
    rows = [["", *(PART_NAMES[part] for part in errors.parts)]]
    for seed, means, sds in zip(errors.seeds, errors.mean, errors.sd_over_genes, strict=True):
        rows.append([f"seed {seed}", *map(_error, means, sds)])
    spread = [f"{value:.4f}" for value in mean] if sd is None else map(_error, mean, sd)
    rows.append(["over seeds", *spread])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    n = len(errors.seeds)
    return [
        f"overall error: mean of the MAE of {errors.n_targets:,} target genes, standardised units",
        *(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
        "a seed: ± standard deviation over genes (ddof 0); over seeds: "
        + ("one seed, no spread" if n == 1 else f"± standard deviation of the {n} means (ddof 1)"),
    ]


def _error(mean: float, sd: float) -> str:
    return f"{mean:.4f} ± {sd:.4f}"


def check_gpus(gpus: int | None) -> None:
    """Raise `StudyError` for a number of GPUs that nothing can be trained on."""
    if gpus is not None and gpus < 1:
        raise StudyError(f"--gpus {gpus}: must be at least 1")


def say(line: str) -> None:
    """Show a progress line at once, also where the output is a file."""
    print(line, flush=True)
