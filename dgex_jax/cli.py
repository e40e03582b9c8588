"""The command line: ``dgex COMMAND``. A flag for each setting comes from `dgex_jax.config`."""

from __future__ import annotations

import dataclasses
import sys
from inspect import cleandoc
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from dgex_jax import __version__, cli_models
from dgex_jax.cli_options import (
    Diagnose,
    OneLineParser,
    check_gpus,
    given_settings,
    json_text,
    run_command,
    say,
    say_prepared,
)
from dgex_jax.config import NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.errors import DgexError, StudyError
from dgex_jax.rawfiles import GeoOnlyFiles, RawFiles

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from dgex_jax.parts import Parts
    from dgex_jax.rawfiles import AnyRawFiles

RAW_FLAGS = {one.metadata["key"] or one.name: one for one in dataclasses.fields(RawFiles)}
GEO_ONLY_FLAGS = {one.name: one for one in dataclasses.fields(GeoOnlyFiles)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 with one line for what the user can mend.

    A command may give another one, such as 1 for what was looked for and found.
    """
    return run_command(parser(), arguments)


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = OneLineParser(
        prog="dgex",
        description="Gene expression inference with deep learning (D-GEX), in JAX.",
        epilog="""examples:
  dgex simulate -o raw/
  dgex prepare study.toml -o prepared.h5
  dgex train prepared.h5 -o runs/3x9000 --hidden-layers 3 --units 9000 --dropout 0.1
""",
    )
    top.add_argument("--version", action="version", version=f"dgex {__version__}")
    top.add_argument(
        "--diagnose",
        action=Diagnose,
        nargs="?",
        const="text",
        choices=["text", "json"],
        help="what to put into a report of a fault: versions, devices, settings; no paths or names",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for run, add_flags in (
        (_download, _download_flags),
        (_simulate, _simulate_flags),
        (_prepare, _prepare_flags),
        (_train, _train_flags),
        (cli_models.fit, cli_models.fit_flags),
        (cli_models.export, cli_models.export_flags),
        (cli_models.info, cli_models.info_flags),
        (cli_models.evaluate, cli_models.evaluate_flags),
        (cli_models.predict, cli_models.predict_flags),
        (_verify, _verify_flags),
    ):
        # The docstring of a command is its help.
        text, _, examples = cleandoc(run.__doc__ or "").partition("\n\nExamples\n--------\n")
        summary = text.split(".")[0]
        command: OneLineParser = commands.add_parser(
            run.__name__.strip("_"),
            help=summary[:1].lower() + summary[1:],
            description=text,
            epilog=f"examples:\n{indent(examples, '  ')}",
        )
        command.set_defaults(run=run)
        add_flags(command)
    return top


def _download_flags(command: OneLineParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help="of --list, or a group of them")
    command.path("--output", "FOLDER", "where the files go")
    command.switch("--study", "write FOLDER/study.toml for the paper's study")
    command.switch("--list", "say what each file is and how it is had")
    command.path("--check", "FOLDER", "verify the files in FOLDER: checksums, shapes, genes")
    command.switch("--quiet", "no progress")


def _download(options: argparse.Namespace) -> None:
    """Fetch the public files of the paper's data and of GSE92743, or check them.

    Examples
    --------
    dgex download --list                                     what there is, and how it is had
    dgex download gtex-v4 geuvadis map-lm map-tg -o data/    the same command resumes after a break
    dgex download --study -o data/                           write data/study.toml for them
    dgex download gse92743 -o data/                          LINCS' training set, unpacked
    dgex download --check data/                              is all that is there sound?
    """
    from dgex_jax.download.sources import find_sources, list_lines, read_sources, refuse_by_hand
    from dgex_jax.io.progress import Progress

    sources = read_sources()
    work = options.names or options.study
    if options.list + (options.check is not None) + bool(work) != 1:
        raise DgexError("give names (or --study) and -o FOLDER, or --list, or --check FOLDER")
    if options.list:
        print("\n".join(list_lines(sources)))
        return
    progress = Progress(not options.quiet)
    if options.check is not None:
        from dgex_jax.download.sources import check_folder, study_line

        findings = []
        for finding in check_folder(options.check, sources, progress):
            say(finding.line)
            findings.append(finding)
        print(study_line(findings))
        bad = [finding.source.name for finding in findings if finding.state == "not sound"]
        if bad:
            raise DgexError(f"{options.check}: not sound: {', '.join(bad)}")
        return
    chosen = find_sources(options.names, sources)
    refuse_by_hand(chosen, options.output or Path("FOLDER"))
    if options.output is None:
        raise DgexError("where the files go is missing: -o FOLDER")
    if chosen:
        from dgex_jax.download.fetch import download

        download(chosen, options.output, report=say, progress=progress)
    if options.study:
        from dgex_jax.download.sources import write_template

        print(f"written: {write_template(options.output, sources)}")


def _simulate_flags(command: OneLineParser) -> None:
    command.path("--study", "STUDY.toml", "its [simulate] table (default: demo)")
    command.path("--output", "FOLDER", "where the files go", required=True)
    command.switch("--quiet", "no progress")


def _simulate(options: argparse.Namespace) -> None:
    """Make the raw files of a simulated study.

    Examples
    --------
    dgex simulate -o raw/                          the raw files of the demo study
    dgex simulate --study study.toml -o raw/       those of another simulated study
    """
    from dgex_jax.prepare.study import read_study
    from dgex_jax.simulate.config import SimulationConfig
    from dgex_jax.simulate.write import simulate

    config: SimulationConfig | None = SimulationConfig()
    if options.study is not None:
        config = read_study(options.study).simulation
    if config is None:
        raise StudyError(f"{options.study}: has no [simulate] table, its files are real")
    for path in dataclasses.astuple(simulate(config, options.output, progress=not options.quiet)):
        print(f"{path} (simulated)")


def _prepare_flags(command: OneLineParser) -> None:
    command.path("study", "STUDY.toml", "a study file", nargs="?")
    command.path("--output", "PREPARED.h5", required=True)
    files = command.add_argument_group(
        "raw files, instead of a study file",
        "all five, or --geo and --landmarks alone: a study without RNA-seq whose genes are probes",
    )
    for flag, one in RAW_FLAGS.items():
        text = one.metadata["meaning"]
        if flag == "landmarks":
            text += f"; for arrays alone, {GEO_ONLY_FLAGS[flag].metadata['meaning']}"
        files.add_argument(
            f"--{flag}", type=Path, metavar="FILE", dest=f"raw_{flag}", help=text.replace("`", "")
        )
    command.settings(PrepareConfig)
    command.switch("--quiet", "no progress")


def _prepare(options: argparse.Namespace) -> None:
    r"""Make one prepared study (HDF5) of raw expression files.

    Examples
    --------
    dgex prepare study.toml -o prepared.h5
    dgex prepare --geo bgedv2_QNORM.gctx --gtex gtex_rpkm.gct.gz --1000g GD462.txt.gz \
        --landmarks map_lm.txt --targets map_tg.txt --seed 1 -o prepared.h5
    dgex prepare --geo bgedv2_QNORM.gctx --landmarks l1000.gctx -o arrays_alone.h5
    """
    from dgex_jax.prepare.of_study import prepare_study
    from dgex_jax.prepare.study import Study, read_study

    given = {flag: path for flag in RAW_FLAGS if (path := getattr(options, f"raw_{flag}"))}
    if options.study is not None:
        if given:
            raise StudyError("give a study file or the five raw files, not both")
        study = read_study(options.study)
    else:
        name = options.output.stem
        study = Study(name=name, title=name, files=_named_files(given), simulation=None)
    changed = given_settings(options, PrepareConfig)
    study = dataclasses.replace(study, prepare=dataclasses.replace(study.prepare, **changed))
    report = prepare_study(study, options.output, progress=not options.quiet)
    say_prepared(report)


def _named_files(given: Mapping[str, Path]) -> AnyRawFiles:
    """Make raw files of those that flags name: all five, or the two of arrays alone."""
    if set(given) == set(GEO_ONLY_FLAGS):
        return GeoOnlyFiles(**given)
    missing = [f"--{flag}" for flag in RAW_FLAGS if flag not in given]
    if missing:
        pair = " and ".join(f"--{flag}" for flag in GEO_ONLY_FLAGS)
        raise StudyError(
            f"no study file, and {', '.join(missing)} missing (for arrays alone give just {pair})"
        )
    return RawFiles(**{one.name: given[flag] for flag, one in RAW_FLAGS.items()})


def _train_flags(command: OneLineParser) -> None:
    command.path("prepared", "PREPARED", "a prepared.h5, or an .npz of ten arrays")
    text = "a run folder; with --seeds the folder of RUN_DIR/seed-1, …"
    command.path("--output", "RUN_DIR", text, required=True)
    command.settings(NetworkConfig)
    command.settings(TrainingConfig)
    command.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="train once for each of these, and show the spread of the errors over seeds",
    )
    command.add_argument(
        "--gpus", type=int, metavar="N", help="GPUs to share the halves (default: what is there)"
    )
    command.switch("--overwrite", "replace another run in RUN_DIR")
    command.switch("--no-wait", "leave if another process works in RUN_DIR")
    command.switch("--quiet", "no line per epoch")


def _train(options: argparse.Namespace) -> None:
    """Train one network of the paper's kind.

    Examples
    --------
    dgex train prepared.h5 -o runs/3x9000 --hidden-layers 3 --units 9000 --dropout 0.1
    dgex train prepared.h5 -o runs/seeds --units 3000 --seeds 1 2 3   the spread over seeds
    dgex train arrays.npz -o runs/small --hidden-layers 1 --units 300 --halves 1 --epochs 50
    """
    check_gpus(options.gpus)
    if options.seed is not None and options.seeds is not None:
        raise StudyError("--seed and --seeds: give one of them")
    from dgex_jax.compiled import keep_compiled
    from dgex_jax.prepare.prepared import open_prepared
    from dgex_jax.train.devices import choose_devices, share_cpu
    from dgex_jax.train.run import stop_on_signals
    from dgex_jax.train.seeds import TABLE, read_seed_errors, seed_configs, train_seeds
    from dgex_jax.train.train import Conduct, train_runs

    network = NetworkConfig(**given_settings(options, NetworkConfig))
    training = TrainingConfig(**given_settings(options, TrainingConfig))
    out, by_seed = options.output, seed_configs(training, options.seeds or ())
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
                trained = train_seeds(study, network, by_seed, out, devices, conduct)
            else:
                now = train_runs(study, [network], training, [out], devices, conduct=conduct)
                trained = {out: now}
    for folder, now in trained.items():
        print(f"{folder}: {'trained' if now else 'was trained before, nothing to do'}")
    if by_seed:
        print("\n".join(seed_lines(read_seed_errors(out, by_seed), study.parts)))
        print(f"{out / TABLE}: these errors, a line for each seed and part")


def seed_lines(errors: pd.DataFrame, parts: Parts) -> list[str]:
    """Make a table of the errors of each seed, the genes' spread, and the seeds' spread."""
    from dgex_jax.io.expression import aligned

    rows = [["", *(parts.label(part) for part in errors["part"].unique())]]
    for seed, of_seed in errors.groupby("seed", sort=False):
        rows.append([f"seed {seed}", *map(_error, of_seed["MAE"], of_seed["sd_over_genes"])])
    n = len(rows) - 1
    means = errors["MAE"].to_numpy().reshape(n, -1)
    mean, sd = means.mean(axis=0), means.std(axis=0, ddof=min(n - 1, 1))
    spread = [f"{value:.4f}" for value in mean] if n == 1 else map(_error, mean, sd)
    rows.append(["over seeds", *spread])
    return [
        f"overall error: mean of the MAE of {errors.targets[0]:,} target genes, standardised units",
        *aligned(rows, "<" * len(rows[0])),
        "a seed: ± standard deviation over genes (ddof 0); over seeds: "
        + ("one seed, no spread" if n == 1 else f"± standard deviation of the {n} means (ddof 1)"),
    ]


def _error(mean: float, sd: float) -> str:
    return f"{mean:.4f} ± {sd:.4f}"


def _verify_flags(command: OneLineParser) -> None:
    command.path(
        "results",
        "RESULTS",
        "a results folder, a run, a model, a prepared study, a prediction, or a folder of these",
    )
    command.path(
        "--inputs",
        "PATH",
        "files that RESULTS was made of and that don't lie in it, or folders that hold them",
        nargs="+",
        default=[],
    )
    command.switch("--json", "all of it as JSON")


def _verify(options: argparse.Namespace) -> int:
    """Recompute checksums and say what is altered, missing or stale.

    Exit code: 0 all is complete and fresh, 1 something is altered, missing or stale, 2 can't be
    verified.

    Examples
    --------
    dgex verify results/demo                         what make left: prepared study, runs, tables …
    dgex verify results/mine --inputs /data/raw      and whether the raw files are still the same
    dgex verify runs/3x9000 --inputs prepared.h5
    dgex verify inferred.gctx --inputs models/l1000 plate.gct --json
    """
    from dgex_jax.verify import as_json, lines, verify

    verdict = verify(options.results, options.inputs)
    if options.json:
        print(json_text(as_json(options.results, verdict)))
    else:
        print("\n".join(lines(verdict)))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
