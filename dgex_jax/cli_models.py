"""The commands that make, describe, judge and apply models."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.cli_options import (
    RAW_TRUTH,
    OneLineParser,
    check_raw_truth,
    given_settings,
    json_text,
    part_of,
    raw_truth_flags,
    say,
    say_prepared,
    stopped_by_sigterm,
    warn,
)
from dgex_jax.config import FitOptions, PredictOptions
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    import argparse

    from dgex_jax.config import Scale
    from dgex_jax.model.model import Model
    from dgex_jax.model.predict import Prediction

MODEL = "a model folder, the name of a model (dgex info lists them), or the https address of a .zip"


def export_flags(command: OneLineParser) -> None:
    """Add the flags of ``dgex export``."""
    command.path("run_dir", "RUN_DIR", "of dgex train")
    command.path("prepared", "PREPARED", "the prepared study it was trained on")
    command.path("--output", "MODEL", required=True)
    command.add_argument(
        "--best",
        default="va",
        metavar="PART",
        help="weights of the best epoch on which validation part: va, or a validation set of the "
        "study, such as 1000G for RNA-seq (default: va)",
    )
    command.switch("--overwrite", "replace a model in MODEL")


def export(options: argparse.Namespace) -> None:
    """Make a model that can be used and passed on of a finished run.

    Examples
    --------
    dgex export runs/3x9000 prepared.h5 -o models/geo            for array profiles
    dgex export runs/3x9000 prepared.h5 -o models/rnaseq --best 1000G
    """
    from dgex_jax.model.export import export_model
    from dgex_jax.model.model import refuse_place, write_model

    # Before the work: computing errors of a wide network takes a while.
    refuse_place(options.output, options.overwrite)
    model = export_model(options.run_dir, options.prepared, best=options.best)
    write_model(options.output, model, overwrite=options.overwrite)
    print(_told(options.output, model))


def _told(path: Path, model: Model) -> str:
    """Say what a new model is."""
    data = " (simulated data)" if model.simulated else ""
    genes = f"{len(model.landmarks):,} landmarks to {len(model.targets):,} targets"
    return f"{path}: {model.method.title}{data}, {genes}"


def fit_flags(command: OneLineParser) -> None:
    """Add the flags of ``dgex fit``."""
    text = "a study file, or a study that dgex prepare has made of one"
    command.path("study", "STUDY.toml|PREPARED.h5", text)
    command.path("--output", "MODEL", "a model folder", required=True)
    command.settings(FitOptions)
    command.add_argument(
        "--best",
        default="va",
        metavar="PART",
        help="validation part that chooses: va, or a validation set of the study, such as 1000G "
        "for RNA-seq (default: va)",
    )
    command.path("--prepared", "PREPARED.h5", "keep what is prepared of STUDY.toml here")
    command.switch("--overwrite", "replace a model in MODEL")
    command.switch("--quiet", "no progress")


def fit(options: argparse.Namespace) -> None:
    """Fit the best model for a study: several methods, stacked by their validation errors.

    Below 2,000 training profiles they are ridge, KNN-GE, kernel ridge, SampleLasso and a learned
    kernel; above ridge, KNN-GE, both kernels and an ensemble of residual networks. The paper's
    network is another way: train, then export.

    Examples
    --------
    dgex fit study.toml -o models/mine                           prepare, fit, stack, export
    dgex fit prepared.h5 -o models/rnaseq --best 1000G           for RNA-seq
    dgex fit prepared.h5 -o models/quick --method kernel-ridge   one method alone
    dgex fit prepared.h5 -o models/mine --minutes 10

    A command that was stopped, or killed, resumes the training of networks from MODEL.fit when it
    is given again; the other methods take minutes and begin anew.
    """
    from dgex_jax.compiled import keep_compiled
    from dgex_jax.io.files import locked
    from dgex_jax.io.progress import Progress
    from dgex_jax.model.fit import check_prepared, clear_checkpoints, fit_lines, fit_model
    from dgex_jax.model.model import refuse_place, write_model

    chosen = FitOptions(**given_settings(options, FitOptions))
    # Before the work.
    refuse_place(options.output, options.overwrite)
    keep_compiled()
    work = options.output.with_name(f"{options.output.name}.fit")
    with ExitStack() as files:
        files.enter_context(stopped_by_sigterm())
        prepared = _prepared_of(options, files)
        check_prepared(prepared, options.best)
        files.enter_context(locked(options.output, report=say))
        fitted = fit_model(
            prepared,
            chosen,
            best=options.best,
            progress=Progress(not options.quiet),
            on_member=lambda one: (
                None
                if options.quiet
                else say(f"{one.name}: {one.error:.4f} on validation, {one.seconds:.1f} s")
            ),
            checkpoint=work,
        )
        write_model(options.output, fitted.model, overwrite=options.overwrite)
        clear_checkpoints(work)
    model, parts = fitted.model, fitted.model.parts
    print("\n".join(fit_lines(fitted, parts.label(options.best))))
    print(f"{_told(options.output, model)}, {fitted.seconds:.0f} s")
    for part in parts.tests_of(options.best):
        print(f"{parts.label(part)}: error {model.errors[part].mean():.4f} in standardised units")
    for part, cost in model.record.get("half_precision_cost", {}).items():
        print(f"{parts.label(part)}: {cost:+.6f} of that is what half precision costs")


def _prepared_of(options: argparse.Namespace, files: ExitStack) -> Path:
    """Give the prepared study: the file given, or what is made of a study file."""
    from tempfile import TemporaryDirectory

    from dgex_jax.prepare.of_study import prepare_study
    from dgex_jax.prepare.study import read_study

    given: Path = options.study
    kept: Path | None = options.prepared
    if given.suffix != ".toml":
        if kept is not None:
            raise DgexError(f"--prepared {kept}: {given} is prepared already, leave it out")
        return given
    study = read_study(given)
    if kept is None:
        kept = Path(files.enter_context(TemporaryDirectory(prefix="dgex-fit-"))) / "prepared.h5"
    report = prepare_study(study, kept, progress=not options.quiet)
    say_prepared(report)
    return kept


def info_flags(command: OneLineParser) -> None:
    """Add the flags of ``dgex info``."""
    text = f"{MODEL}; without one, the models that come with this checkout"
    command.add_argument("model", metavar="MODEL", nargs="?", help=text)
    command.switch("--json", "all of it as JSON, with errors and checksums")
    text = "write all of it as one page, with every gene in a table to search"
    command.path("--html", "PAGE.html", f'{text} (pip install "dgex-jax[report]")')


def info(options: argparse.Namespace) -> None:
    """Check a model and say what it is, or say which models there are by name.

    Examples
    --------
    dgex info                       names of models
    dgex info human-mini
    dgex info models/geo
    dgex info models/geo --json
    dgex info models/geo --html geo.html                a model card
    """
    from dgex_jax.model.find import find_model, shipped
    from dgex_jax.model.info import info_lines, model_info

    if options.model is None:
        known = shipped()
        if options.json:
            print(json_text([{**one._asdict(), "path": str(one.path)} for one in known]))
        else:
            none = "no model comes with this installation: give the path of a model folder"
            print("\n".join(one.line for one in known) or none)
        return
    path = find_model(options.model)
    if options.html is not None:
        from dgex_jax.model.card import write_card

        write_card(path, options.html, options.model)
    found = model_info(path)
    print(json_text(found) if options.json else "\n".join(info_lines(options.model, found)))


def evaluate_flags(command: OneLineParser) -> None:
    """Add the flags of ``dgex evaluate``."""
    command.add_argument("model", metavar="MODEL", help=MODEL)
    text = "a prepared study with all landmarks of the model, or an expression file with --truth"
    command.path("prepared", "PREPARED|FILE", text)
    command.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="tr, va, te and the study's sets, such as GTEx (default: all but tr)",
    )
    command.path("--output", "FILE.tsv", "a line for each target gene")
    command.switch("--json", "the table as JSON")
    command.switch("--quiet", "no progress")
    raw_truth_flags(command)


def evaluate(options: argparse.Namespace) -> None:
    """Apply a model to a prepared study, or to raw files, and score it.

    Examples
    --------
    dgex evaluate models/geo prepared.h5                                all parts but tr
    dgex evaluate models/geo other.h5 --parts te GTEx -o by_gene.tsv
    dgex evaluate models/geo prepared.h5 --json
    dgex evaluate models/geo l1000.gctx --platform l1000 --truth rnaseq.gctx --pairs inst_info.txt
    dgex evaluate models/rnaseq tpm.tsv.gz --platform rnaseq --truth tpm.tsv.gz
    """
    from dgex_jax.io.manifest import drop_sidecar, write_sidecar
    from dgex_jax.model.evaluate import (
        evaluate,
        evaluation_json,
        evaluation_lines,
        evaluation_record,
        gene_table_file,
    )
    from dgex_jax.model.find import find_model
    from dgex_jax.model.model import read_model
    from dgex_jax.model.truth import (
        evaluate_files,
        files_json,
        files_lines,
        open_study,
        refuse_study,
    )

    check_raw_truth(options)
    path, progress = find_model(options.model), not options.quiet
    given = [one for one in (options.prepared, options.truth, options.pairs) if one is not None]
    # The place of the table is taken first: scoring a wide network takes a while.
    with gene_table_file(options.output, path, *given) as write:
        model = read_model(path)
        if options.truth is not None:
            refuse_study(options.prepared)
            measured = evaluate_files(
                model,
                options.prepared,
                options.truth,
                PredictOptions(**given_settings(options, PredictOptions, *RAW_TRUTH)),
                truth_platform=options.truth_platform,
                standardize=options.standardize,
                pairs=options.pairs,
                progress=progress,
            )
            write(model, measured)
            made = evaluation_record(path, measured.inputs)
            shown, lines = files_json(path, model, measured), files_lines(path, model, measured)
            for text in measured.warnings:
                warn(text)
        else:
            with open_study(options.prepared) as study:
                found = evaluate(model, study, options.parts, progress=progress)
                write(model, found)
                # Of the file, which was read for it: whether it is the model's own study is shown.
                made = evaluation_record(path, {"prepared": (study.path, study.sha256)})
                shown = evaluation_json(path, model, study, found)
                lines = evaluation_lines(path, model, study, found)
        if options.output is not None:
            drop_sidecar(options.output)
    if options.output is not None:
        write_sidecar(options.output, made)
    print(json_text(shown | {"provenance": made}) if options.json else "\n".join(lines))


def predict_flags(command: OneLineParser) -> None:
    """Add the flags of ``dgex predict``."""
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.path(
        "inputs",
        "INPUT",
        "GCTX, GCT, TSV, CSV, a GEO series matrix (text may be .gz, .bz2 or .xz) or h5ad; "
        "- for standard input; genes by probe, Ensembl id, Entrez id or symbol, as rows or columns",
        nargs="+",
    )
    command.path(
        "--output",
        "OUTPUT",
        "ends in .gctx, .gct, .gct.gz, .tsv, .tsv.gz, .csv, .csv.gz (a line a profile), .parquet, "
        ".h5ad or .zarr; replaced if it is there. The same command resumes a large .gctx, .h5ad or "
        ".zarr that was interrupted. For several inputs a folder, made if missing: an output for "
        "each, by its name",
        required=True,
    )
    command.add_argument(
        "--format",
        metavar="ENDING",
        help="of the outputs in the folder OUTPUT, also for a single input (default: gctx)",
    )
    command.add_argument(
        "--genes",
        metavar="LIST",
        help="write these alone: a file with a gene a line, or ids between commas; by symbol, "
        "Ensembl id, Entrez id or probe. One that the model lacks is refused",
    )
    command.settings(PredictOptions)
    command.add_argument(
        "--shard",
        type=part_of,
        default=(1, 1),
        metavar="I/N",
        help="write part I of N of a .zarr output, as one of N processes or jobs; the last of them "
        "moves it into place",
    )
    command.path(
        "--report",
        "PAGE.html",
        "a page about the prediction: how the input was read and matched, profiles unlike "
        "training, genes by expected error. With several inputs, or --format, a folder of a page "
        "for each "
        '(pip install "dgex-jax[report]")',
    )
    command.switch("--no-wait", "leave if another process writes OUTPUT (.zarr: always)")
    command.switch("--quiet", "no progress")


def predict(options: argparse.Namespace) -> None:
    """Infer the target genes of one or more files.

    Examples
    --------
    dgex predict human-mini plate.gct -o plate_inferred.gctx --platform l1000
    dgex predict models/rnaseq counts.tsv.gz -o inferred.h5ad --platform rnaseq --scale reference
    dgex predict models/l1000 all.gctx -o all.zarr --platform l1000 --shard 3/8    one job of eight
    dgex predict models/l1000 plate.gct -o two.tsv --platform l1000 --genes TP53,MYC --ids symbol
    dgex predict models/l1000 plates/*.gct -o inferred/ --platform l1000 --format parquet
    dgex predict models/l1000 plate.gct -o plate.h5ad --platform l1000 --interval 0.9    with bounds
    dgex predict models/l1000 plate.gct -o out.gctx --platform l1000 --report out.html
    """
    from dgex_jax.compiled import keep_compiled
    from dgex_jax.io.files import ordinary_file
    from dgex_jax.io.manifest import file_sha256
    from dgex_jax.methods.uncertainty import PROFILE_FIELDS
    from dgex_jax.model.find import find_model
    from dgex_jax.model.match import read_gene_list
    from dgex_jax.model.model import DESCRIPTION, read_model
    from dgex_jax.model.outputs import check_output, outputs_in, pages_in
    from dgex_jax.model.predict import BOUNDS, predict
    from dgex_jax.pages.page import check_page

    chosen = PredictOptions(**given_settings(options, PredictOptions))
    inputs, outputs, shard = options.inputs, [options.output], options.shard
    pages = [] if options.report is None else [options.report]
    genes = None if options.genes is None else read_gene_list(options.genes)
    beside = ((), ()) if chosen.interval is None else (BOUNDS, PROFILE_FIELDS)
    if len(inputs) > 1 or options.format is not None:
        outputs = outputs_in(options.output, inputs, options.format or "gctx", *beside)
        pages = pages_in(options.report, outputs) if pages else []
    keep_compiled()
    with stopped_by_sigterm(), ExitStack() as copies:
        paths = [copies.enter_context(ordinary_file(path)) for path in inputs]
        # Before the model, which may be gigabytes, and before anything is written.
        for output in outputs:
            for path in paths:
                check_output(output, path, shard, *beside)
        place = find_model(options.model)
        for page in pages:
            check_page(page, *paths, place)
        model, sha256 = read_model(place), file_sha256(place / DESCRIPTION)
        for number, (given, path, output) in enumerate(zip(inputs, paths, outputs, strict=True)):
            done = predict(
                model,
                path,
                output,
                chosen,
                genes=genes,
                model_sha256=sha256,
                progress=not options.quiet,
                wait=not options.no_wait,
                part=shard,
                page=pages[number] if pages else None,
                command=options.typed,
            )
            _say_prediction(given, done, chosen.scale, shard)
    if not done.missing_shards:
        _say_trusted(options.model, done)


def _say_prediction(given: Path, done: Prediction, scale: Scale, shard: tuple[int, int]) -> None:
    from dgex_jax.model.scale import WARNING

    for note in done.notes:
        if note.startswith(WARNING):
            warn(f"{given}: {note.removeprefix(WARNING)}")
        else:
            print(f"{given}: {note}")
    units = "standardised units" if scale == "standardized" else "the reference scale"
    genes = f"{done.n_landmarks:,} landmarks and {done.n_targets:,} inferred genes"
    print(f"{done.output}: {done.n_profiles:,} profiles x {genes}, {units}")
    for path in done.outputs[1:]:
        print(f"{path}: written beside it")
    if done.page is not None:
        print(f"{done.page}: report")
    if done.missing_shards:
        i, n = shard
        print(
            f"{done.output}: part {i} of {n} is written; {done.missing_shards} shards are missing"
        )


def _say_trusted(model: str, done: Prediction) -> None:
    """Say how many of the inferred genes are worth trusting."""
    from dgex_jax.model.model import ERROR, GENES, TRUSTED

    if done.n_trusted is None:
        print(f"{model}: tells no errors: which genes are worth trusting is not known")
    elif done.n_targets:
        of = f"{done.n_trusted:,} of {done.n_targets:,} inferred genes have an expected error below"
        where = f"{ERROR}{done.expected_on} of {GENES} in {model}"
        print(f"{of} {TRUSTED} standardised units ({where})")
