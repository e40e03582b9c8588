"""The command line: ``dgex simulate`` and ``dgex prepare``, and where the other commands hang."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dgex_jax import __version__
from dgex_jax.cli_download import EXAMPLES as DOWNLOAD_EXAMPLES
from dgex_jax.cli_download import add_download
from dgex_jax.cli_model import EXAMPLES as MODEL_EXAMPLES
from dgex_jax.cli_model import add_evaluate, add_export, add_info
from dgex_jax.cli_options import GEO_ONLY_FLAGS, RAW_FLAGS, add_prepare_options, chosen
from dgex_jax.cli_predict import EXAMPLES as PREDICT_EXAMPLES
from dgex_jax.cli_predict import add_predict
from dgex_jax.cli_train import EXAMPLES as TRAIN_EXAMPLES
from dgex_jax.cli_train import add_train, check_gpus
from dgex_jax.cli_verify import EXAMPLES as VERIFY_EXAMPLES
from dgex_jax.cli_verify import add_verify
from dgex_jax.config import GeoOnlyFiles, PrepareConfig, RawFiles
from dgex_jax.errors import DgexError, Stopped, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dgex_jax.config import AnyRawFiles
    from dgex_jax.data.study import Study

__all__ = [
    "OneLineParser",
    "add_command",
    "check_gpus",
    "command_parser",
    "main",
    "parser",
    "run_command",
]

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
  dgex prepare --geo bgedv2_QNORM.gctx --landmarks l1000.gctx -o arrays_alone.h5
""",
    **TRAIN_EXAMPLES,
    **DOWNLOAD_EXAMPLES,
    **MODEL_EXAMPLES,
    **PREDICT_EXAMPLES,
    **VERIFY_EXAMPLES,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 with one line for what the user can mend.

    A command may give another one, such as 1 for what was looked for and found.
    """
    return run_command(parser(), arguments)


def run_command(commands: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run what `commands` makes of `arguments` (its ``run`` function), errors shown as one line."""
    options = commands.parse_args(arguments)
    run: Callable[[argparse.Namespace], int | None] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
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
    return code or 0


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
    add_download(commands, add_command)
    add_simulate(commands)
    add_prepare(commands)
    add_train(commands, add_command)
    add_export(commands, add_command)
    add_info(commands, add_command)
    add_evaluate(commands, add_command)
    add_predict(commands, add_command)
    add_verify(commands, add_command)
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
    commands: Any, name: str, summary: str, run: Callable[[argparse.Namespace], int | None]
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
    add_prepare_options(command)


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

    given = {flag: path for flag in RAW_FLAGS if (path := getattr(options, f"raw_{flag}"))}
    if options.study is not None:
        if given:
            raise StudyError("give a study file or the five raw files, not both")
        study = read_study(options.study)
    else:
        name = options.output.stem
        study = Study(name=name, title=name, files=named_files(given), simulation=None)
    changed = {
        key: value for key, value in chosen(options, PrepareConfig).items() if value is not None
    }
    study = dataclasses.replace(study, prepare=dataclasses.replace(study.prepare, **changed))
    raw: AnyRawFiles = study.files or simulate_beside(
        options.output, study, progress=not options.quiet
    )
    report = make_study(
        raw,
        options.output,
        study.prepare,
        name=study.name,
        title=study.title,
        simulated=study.simulated or is_simulated(raw),
        settings=study.preparation_settings(),
        progress=not options.quiet,
    )
    print("\n".join(report.lines()))
    for text in report.warnings:
        print(f"dgex: warning: {text}", file=sys.stderr)


def named_files(given: Mapping[str, Path]) -> AnyRawFiles:
    """Make raw files of those that flags name: all five, or the two of arrays alone."""
    if set(given) == set(GEO_ONLY_FLAGS):
        return GeoOnlyFiles(*(given[flag] for flag in GEO_ONLY_FLAGS))
    missing = [f"--{flag}" for flag in RAW_FLAGS if flag not in given]
    if missing:
        pair = " and ".join(f"--{flag}" for flag in GEO_ONLY_FLAGS)
        raise StudyError(
            f"no study file, and {', '.join(missing)} missing (for arrays alone give just {pair})"
        )
    return RawFiles(*(given[flag] for flag in RAW_FLAGS))


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


if __name__ == "__main__":
    sys.exit(main())
