"""The options of ``dgex prepare`` and ``dgex train``: a flag for each setting, and a few more."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dgex_jax.config import (
    DuplicateRule,
    NetworkConfig,
    Partition,
    Precision,
    Pretrain,
    ScaleOn,
    TrainingConfig,
)

if TYPE_CHECKING:
    import argparse

RAW_FLAGS = {
    "geo": "array profiles to train on (GCTX or GCT)",
    "gtex": "RNA-seq samples to test on (GCTX, GCT or RPKM table)",
    "1000g": "RNA-seq samples to validate on",
    "landmarks": "map of the landmark genes (symbol, Ensembl id, probes); for arrays alone a list "
    "of probes, or a GCTX or GCT file whose rows they are",
    "targets": "map of the target genes",
}

GEO_ONLY_FLAGS = ("geo", "landmarks")
"""The raw files of a study of arrays alone: all other probes are targets (paper section 3.4)."""


def add_prepare_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``dgex prepare``."""
    command.add_argument("study", nargs="?", type=Path, metavar="STUDY.toml", help="a study file")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="PREPARED.h5")
    files = command.add_argument_group(
        "raw files, instead of a study file",
        "all five, or --geo and --landmarks alone: a study without RNA-seq whose genes are probes",
    )
    for flag, what in RAW_FLAGS.items():
        files.add_argument(f"--{flag}", type=Path, metavar="FILE", dest=f"raw_{flag}", help=what)
    command.add_argument("--duplicates", choices=get_args(DuplicateRule), help=help_of("clusters"))
    command.add_argument("--scale-on", choices=get_args(ScaleOn), help=help_of("all"))
    command.add_argument("--partition", choices=get_args(Partition), help=help_of("random"))
    command.add_argument("--seed", type=int, help="of k-means and all shuffles (default: 1)")
    command.add_argument(
        "--block-size", type=int, metavar="N", help="profiles in memory at a time (default: 1024)"
    )
    command.add_argument(
        "--accept-wrong-dimensions",
        action="store_const",
        const=True,
        help="read GCT files whose dimension line is wrong",
    )
    command.add_argument(
        "--force-platform",
        action="store_const",
        const=True,
        help="go on where the values of a raw file don't look like those of its platform "
        "(z-scores, negative counts), or a profile like annotation; the report says so",
    )
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")


def add_train_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``dgex train``."""
    command.add_argument(
        "prepared", type=Path, metavar="PREPARED", help="a prepared.h5, or an .npz of ten arrays"
    )
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="RUN_DIR",
        help="a run folder; with --seeds the folder of RUN_DIR/seed-1, …",
    )
    network, training = NetworkConfig(), TrainingConfig()
    for name, kind in (("hidden_layers", int), ("units", int), ("dropout", float)):
        add_value(command, name, kind, getattr(network, name))
    for name, kind in (
        ("epochs", int),
        ("batch_size", int),
        ("monitor_size", int),
        ("halves", int),
        ("momentum", float),
    ):
        add_value(command, name, kind, getattr(training, name))
    command.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help=f"of initial weights and dropout masks (default: {training.seed})",
    )
    command.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="train once for each of these, and show the spread of the errors over seeds",
    )
    command.add_argument(
        "--learning-rate",
        type=learning_rate,
        default=None,
        metavar="RATE",
        help="default: auto, the paper's (5e-4 for one hidden layer, 3e-4 for two or three)",
    )
    command.add_argument(
        "--precision",
        choices=get_args(Precision),
        default=training.precision,
        help="default: highest (float32); tf32 is a departure for recent GPUs",
    )
    command.add_argument(
        "--pretrain",
        choices=get_args(Pretrain),
        default=training.pretrain,
        help=help_of(training.pretrain),
    )
    command.add_argument(
        "--pretrain-epochs",
        type=int,
        default=training.pretrain_epochs,
        metavar="N",
        help=f"of each hidden layer's autoencoder (default: {training.pretrain_epochs})",
    )
    command.add_argument(
        "--gpus", type=int, metavar="N", help="GPUs to share the halves (default: what is there)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace another run in RUN_DIR")
    command.add_argument(
        "--no-wait", action="store_true", help="leave if another process works in RUN_DIR"
    )
    command.add_argument("-q", "--quiet", action="store_true", help="no line per epoch")


def chosen(options: argparse.Namespace, kind: type[Any]) -> dict[str, Any]:
    """Return what `options` say for each field of a configuration."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(kind)}


def help_of(default: str) -> str:
    """Help text of a choice whose faithful value is the default."""
    return f"default: {default}, as the original; the others are departures (see README)"


def add_value(
    command: argparse.ArgumentParser, name: str, kind: type[int] | type[float], default: object
) -> None:
    """Add ``--some-name VALUE`` for the configuration field ``some_name``."""
    command.add_argument(
        f"--{name.replace('_', '-')}",
        type=kind,
        default=default,
        metavar="N" if kind is int else "X",
        help=f"default: {default}",
    )


def learning_rate(value: str) -> float | None:
    """Read ``auto`` or a number."""
    return None if value == "auto" else float(value)
