"""The command line: ``dgex simulate``, ``dgex prepare`` and ``dgex train``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from dgex_jax import __version__
from dgex_jax.config import (
    DuplicateRule,
    NetworkConfig,
    Precision,
    RawFiles,
    ScaleOn,
    TrainingConfig,
)
from dgex_jax.errors import DgexError, Stopped, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.data.study import Study

EXAMPLES = {
    "dgex": """examples:
  dgex simulate -o raw/
  dgex prepare study.toml -o prepared.h5
  dgex train prepared.h5 -o runs/3x9000 --hidden-layers 3 --units 9000 --dropout 0.1
""",
    "simulate": """examples:
  dgex simulate -o raw/                          the raw files of the demo study
  dgex simulate --study study.toml -o raw/       those of another simulated study
""",
    "prepare": """examples:
  dgex prepare study.toml -o prepared.h5
  dgex prepare --geo bgedv2_QNORM.gctx --gtex gtex_rpkm.gct.gz --1000g GD462.txt.gz \\
      --landmarks map_lm.txt --targets map_tg.txt --seed 1 -o prepared.h5
""",
    "train": """examples:
  dgex train prepared.h5 -o runs/3x9000 --hidden-layers 3 --units 9000 --dropout 0.1
  dgex train arrays.npz -o runs/small --hidden-layers 1 --units 300 --halves 1 --epochs 50
""",
}
RAW_FLAGS = ("geo", "gtex", "1000g", "landmarks", "targets")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 with one line for what the user can mend."""
    return run_command(parser(), arguments)


def run_command(commands: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run what `commands` makes of `arguments` (its ``run`` function), errors shown as one line."""
    options = commands.parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except (DgexError, OSError, MemoryError) as error:
        sys.stdout.flush()
        print(f"{commands.prog}: error: {one_line(error)}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{commands.prog}: {stopped}", file=sys.stderr)
        return 128 + stopped.signal_number
    except KeyboardInterrupt:
        print(f"{commands.prog}: stopped", file=sys.stderr)
        return 130
    return 0


def one_line(error: Exception) -> str:
    """Say what happened in one line."""
    text = " ".join(str(error).split())
    return f"not enough memory: {text}".rstrip(": ") if isinstance(error, MemoryError) else text


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = command_parser("dgex", "Gene expression inference with deep learning (D-GEX), in JAX.")
    top.add_argument("--version", action="version", version=f"dgex {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_simulate(commands)
    add_prepare(commands)
    add_train(commands)
    return top


def command_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Build a parser whose help ends with examples."""
    return OneLineParser(
        prog=name,
        description=description,
        epilog=EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_command(
    commands: Any, name: str, summary: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    """Add a command whose help ends with examples."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    return command


def add_simulate(commands: Any) -> None:
    """Add ``dgex simulate``."""
    command = add_command(commands, "simulate", "make the raw files of a simulated study", simulate)
    command.add_argument(
        "--study", type=Path, metavar="STUDY.toml", help="its [simulate] table (default: demo)"
    )
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the files go"
    )


def add_prepare(commands: Any) -> None:
    """Add ``dgex prepare``."""
    command = add_command(
        commands, "prepare", "make one prepared study (HDF5) of raw expression files", prepare
    )
    command.add_argument("study", nargs="?", type=Path, metavar="STUDY.toml", help="a study file")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="PREPARED.h5")
    files = command.add_argument_group("the five raw files, instead of a study file")
    for flag, what in {
        "geo": "array profiles to train on (GCTX or GCT)",
        "gtex": "RNA-seq samples to test on (GCTX, GCT or RPKM table)",
        "1000g": "RNA-seq samples to validate on",
        "landmarks": "map of the landmark genes (symbol, Ensembl id, probes)",
        "targets": "map of the target genes",
    }.items():
        files.add_argument(f"--{flag}", type=Path, metavar="FILE", dest=f"raw_{flag}", help=what)
    command.add_argument("--duplicates", choices=get_args(DuplicateRule), help=help_of("clusters"))
    command.add_argument("--scale-on", choices=get_args(ScaleOn), help=help_of("all"))
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
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")


def help_of(default: str) -> str:
    """Help text of a choice whose faithful value is the default."""
    return f"default: {default}, as the original; the others are departures (see README)"


def add_train(commands: Any) -> None:
    """Add ``dgex train``."""
    command = add_command(commands, "train", "train one network of the paper's kind", train)
    command.add_argument(
        "prepared", type=Path, metavar="PREPARED", help="a prepared.h5, or an .npz of ten arrays"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="RUN_DIR")
    network, training = NetworkConfig(), TrainingConfig()
    for name, kind in (("hidden_layers", int), ("units", int), ("dropout", float)):
        add_value(command, name, kind, getattr(network, name))
    for name, kind in (
        ("epochs", int),
        ("batch_size", int),
        ("monitor_size", int),
        ("seed", int),
        ("halves", int),
        ("momentum", float),
    ):
        add_value(command, name, kind, getattr(training, name))
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
        "--gpus", type=int, metavar="N", help="GPUs to share the halves (default: what is there)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace another run in RUN_DIR")
    command.add_argument(
        "--no-wait", action="store_true", help="leave if another process works in RUN_DIR"
    )
    command.add_argument("-q", "--quiet", action="store_true", help="no line per epoch")


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


def simulate(options: argparse.Namespace) -> None:
    """Run ``dgex simulate``."""
    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.write import simulate as make_files
    from dgex_jax.data.study import read_study

    config: SimulationConfig | None = SimulationConfig()
    if options.study is not None:
        config = read_study(options.study).simulation
    if config is None:
        raise StudyError(f"{options.study}: has no [simulate] table, its files are real")
    raw = make_files(config, options.output, progress=True)
    for path in dataclasses.astuple(raw):
        print(f"{path} (simulated)")


def prepare(options: argparse.Namespace) -> None:
    """Run ``dgex prepare``."""
    from dgex_jax.data.prepare import prepare as make_study
    from dgex_jax.data.simulation.write import is_simulated
    from dgex_jax.data.study import Study, read_study

    given = {flag: getattr(options, f"raw_{flag}") for flag in RAW_FLAGS}
    missing = [f"--{flag}" for flag, path in given.items() if path is None]
    if options.study is not None:
        if len(missing) < len(RAW_FLAGS):
            raise StudyError("give a study file or the five raw files, not both")
        study = read_study(options.study)
    else:
        if missing:
            raise StudyError(f"no study file, and {', '.join(missing)} missing")
        name = options.output.stem
        files = RawFiles(*(given[flag] for flag in RAW_FLAGS))
        study = Study(name=name, title=name, files=files, simulation=None)
    changed = {
        key: getattr(options, key)
        for key in ("duplicates", "scale_on", "seed", "block_size", "accept_wrong_dimensions")
        if getattr(options, key) is not None
    }
    study = dataclasses.replace(study, prepare=dataclasses.replace(study.prepare, **changed))
    files = study.files or simulate_beside(options.output, study, progress=not options.quiet)
    report = make_study(
        files,
        options.output,
        study.prepare,
        name=study.name,
        title=study.title,
        simulated=study.simulated or is_simulated(files),
        settings=study.preparation_settings(),
        progress=not options.quiet,
    )
    print("\n".join(report.lines()))


def simulate_beside(output: Path, study: Study, *, progress: bool) -> RawFiles:
    """Make the raw files of a simulated study in the folder ``<output>.raw``."""
    from dgex_jax.data.simulation.write import simulate as make_files

    if study.simulation is None:
        raise AssertionError("a study has real or simulated files")
    if output.is_dir() or not output.parent.is_dir():
        # Before the simulation, which would make the folder and leave its files there.
        raise StudyError(f"{output}: can't be written: not a file in a folder that is there")
    folder = output.with_name(f"{output.name}.raw")
    print(f"simulating raw files of study {study.name!r} in {folder}", flush=True)
    return make_files(study.simulation, folder, progress=progress)


def train(options: argparse.Namespace) -> None:
    """Run ``dgex train``."""
    check_gpus(options.gpus)
    from dgex_jax.data.prepared import open_prepared
    from dgex_jax.training.devices import choose_devices, share_cpu
    from dgex_jax.training.run import Conduct, train_runs
    from dgex_jax.training.stopping import stop_on_signals

    network = NetworkConfig(options.hidden_layers, options.units, options.dropout)
    training = TrainingConfig(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        monitor_size=options.monitor_size,
        momentum=options.momentum,
        seed=options.seed,
        halves=options.halves,
        precision=options.precision,
    )
    with open_prepared(options.prepared) as study:
        share_cpu(training.halves)
        (devices, *_), note = choose_devices(options.gpus, training.halves)
        if note:
            print(note, file=sys.stderr)
        if training.precision == "tf32" and devices[0].platform == "cpu":
            print("a CPU has no TF32: products are float32", file=sys.stderr)
        with stop_on_signals() as request:
            trained = train_runs(
                study,
                [network],
                training,
                [options.output],
                devices,
                conduct=Conduct(
                    report=lambda _network, _done, line: None if options.quiet else say(line),
                    overwrite=options.overwrite,
                    wait=not options.no_wait,
                    request=request,
                ),
            )
    print(f"{options.output}: {'trained' if trained else 'was trained before, nothing to do'}")


def check_gpus(gpus: int | None) -> None:
    """Raise `StudyError` for a number of GPUs that nothing can be trained on."""
    if gpus is not None and gpus < 1:
        raise StudyError(f"--gpus {gpus}: must be at least 1")


def say(line: str) -> None:
    """Show a progress line at once, also where the output is a file."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
