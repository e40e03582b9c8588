"""A trained model applied to a file, in memory that does not grow with the file."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import jax
import numpy as np
import pandas as pd

import dgex_jax
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import as_slice, blocks, comments_of
from dgex_jax.io.files import Unchanged, say
from dgex_jax.io.manifest import (
    drop_with_sidecar,
    known_sha256,
    processor,
    record,
    write_sidecar,
)
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Behind, Progress
from dgex_jax.methods.network import PRECISION
from dgex_jax.methods.uncertainty import PROFILE_FIELDS, UNLIKE
from dgex_jax.model.match import written_genes
from dgex_jax.model.model import DESCRIPTION, TRUSTED, checksum, known
from dgex_jax.model.outputs import (
    OWNER,
    WHOLE,
    Output,
    check_output,
    files_of,
    is_table_output,
    open_output,
)
from dgex_jax.model.prediction_page import Tally, Told, page_text
from dgex_jax.model.scale import WARNING, Plan, make_plan
from dgex_jax.pages.page import check_page, written_page
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import PredictOptions
    from dgex_jax.io.progress import Listener
    from dgex_jax.model.match import WrittenGenes
    from dgex_jax.model.model import Model

BOUNDS = ("lower", "upper")


@dataclass(frozen=True)
class Prediction:
    """The file written, its size, and what was matched, mapped, standardised and imputed.

    `n_trusted` of its targets have an expected error below `TRUSTED`, on the part `expected_on`;
    both are ``None`` if the model tells no errors. `outputs` are all files written: with an
    interval there may be files for its bounds. `missing_shards`, of an output written in parts,
    are still to be written by other processes. `page` is the report of it, if it was asked for.
    """

    output: Path
    n_profiles: int
    n_landmarks: int
    n_targets: int
    notes: tuple[str, ...]
    n_trusted: int | None
    expected_on: str | None
    missing_shards: int = 0
    outputs: tuple[Path, ...] = ()
    page: Path | None = None


def predict(
    model: Model,
    input_path: Path | str,
    output: Path | str,
    options: PredictOptions,
    *,
    genes: Sequence[str] | None = None,
    model_sha256: str | None = None,
    progress: bool | Listener = False,
    wait: bool = True,
    report: Callable[[str], None] = say,
    part: tuple[int, int] = WHOLE,
    page: Path | str | None = None,
    command: str | None = None,
) -> Prediction:
    """Infer the target genes of every profile of a file (see `open_input`).

    A large prediction to ``.gctx``, ``.h5ad`` or ``.zarr`` that was interrupted is resumed and ends
    in the very bytes of an undisturbed one; all others restart. The output has the landmarks as
    measured, then the targets, or those of `genes` alone, under their ids (`written_genes`); it is
    replaced only on success, and its checksum lies beside it (`manifest.sidecar`).

    `model_sha256` is what the output says the model is; `progress` shows itself, or is called with
    (step, profiles done, profiles in all). `wait`: for another process that writes this output (a
    ``.zarr`` store never does); `report` gets a line when it waits, resumes or restarts. `part` is
    part i (from 1) of n of the profiles, for a ``.zarr`` store: whoever comes last moves it into
    place. `page`, which ends in ``.html``, gets a report on the prediction, after the output; it
    shows `command`, or else this call. Profiles that a resumed prediction has already are inferred
    once more for it. Raises `FormatError` if the input can't be read, matched or standardised, or
    changes meanwhile, `DgexError` if the output or the page can't be written, or is in use and not
    to be waited for, or the model lacks one of `genes`.
    """
    input_path, output = Path(input_path), Path(output)
    layers, fields = further(model, output, options)
    check_output(output, input_path, part, layers, fields)
    page = None if page is None else _checked_page(Path(page), input_path, part)
    show = Progress(progress)
    written = written_genes(model, options.ids, genes)
    unchanged = Unchanged.of(input_path)
    with ExitStack() as files:
        # Its place is taken now, its text comes last.
        write_page = None if page is None else files.enter_context(written_page(page))
        accept = options.accept_wrong_dimensions
        source = open_input(input_path, files, accept_wrong_dimensions=accept)
        plan = make_plan(model, source, options, show)
        source, told = plan.match.source, provenance(plan, model_sha256)
        # Its checksum must be that of the values that were read.
        unchanged.check()
        target = Output(
            path=output,
            profiles=source.profiles,
            genes=written.ids,
            profile_metadata=source.profile_metadata,
            gene_metadata=gene_metadata(plan, written),
            provenance=told,
            job=prediction_job(plan, told),
            wait=wait,
            report=report,
            part=part,
            record=_record(told),
            layers=layers,
            profile_columns=fields,
        )
        targets = written.targets(model)
        tally = None if page is None else Tally(plan, targets, len(source.profiles))
        counts: Counter[str] = Counter()
        infer = partial(_counted, plan, as_slice(written.places), counts, tally)
        with open_output(target) as writer:
            pending = writer.pending()
            left = sum(rows.stop - rows.start for rows in pending)
            with show.step("inferring", left) as tick:

                def write(block: Inferred) -> None:
                    writer.append(block.values, block.bounds, block.fields if fields else None)
                    tick(len(block.values))

                with Behind(write) as put:
                    for block in infer(pending):
                        put(block)
            if page is not None:
                for _ in infer(_others(pending, len(source.profiles))):
                    pass
                drop_with_sidecar(page)
        outputs = tuple(files_of(output, layers, fields))
        notes = (*plan.lines(), *written.notes, *unlike_lines(counts["unlike"], counts["seen"]))
        if tally is not None and write_page is not None:
            write_page(page_text(Told(plan, tally, notes, target, outputs, command)))
    if page is not None:
        _record_page(page, told, output)
    part_expected, n_trusted = plan.expected_on, None
    if part_expected is not None:
        n_trusted = int((model.errors[part_expected][targets] < TRUSTED).sum())
    return Prediction(
        output,
        len(source.profiles),
        len(written.places) - len(targets),
        len(targets),
        notes,
        n_trusted,
        part_expected,
        writer.missing,
        outputs,
        page,
    )


def _checked_page(page: Path, input_path: Path, part: tuple[int, int]) -> Path:
    check_page(page, input_path)
    if part != WHOLE:
        raise DgexError(f"{page}: a report is of a whole output, not of one of its parts")
    return page


def _record_page(page: Path, told: Mapping[str, Any], output: Path) -> None:
    """Write what lies beside a report; the next prediction of the output removes an older one."""
    made = _record(told)
    if output.is_file():
        made["inputs"]["output"] = {"name": output.name, "sha256": known_sha256(output)}
    write_sidecar(page, {**made, OWNER: output.name})


def _others(runs: Sequence[slice], n: int) -> list[slice]:
    """Give the runs of `n` profiles that are not among `runs`, which ascend."""
    stops, starts = [0, *(one.stop for one in runs)], [*(one.start for one in runs), n]
    return [slice(*pair) for pair in zip(stops, starts, strict=True) if pair[0] < pair[1]]


def _counted(
    plan: Plan,
    columns: slice | NDArray[np.intp],
    counts: Counter[str],
    tally: Tally | None,
    runs: Sequence[slice],
) -> Iterator[Inferred]:
    """Infer some runs of profiles, and count them."""
    for block in chain.from_iterable(inferred(plan, rows, columns) for rows in runs):
        counts.update(unlike=block.n_unlike, seen=len(block.values))
        if tally is not None:
            tally.add(block.rows, block.values, block.distances, block.fields)
        yield block


@dataclass(frozen=True)
class Inferred:
    """A batch of profiles: landmarks as given and inferred targets, and how sure they are.

    `rows` are theirs in the file. `values`, and each of `bounds` (`BOUNDS`; none without an
    interval), are ``(n, n_genes)`` float32 in the scale of the plan's options; bounds of a measured
    landmark are its value, those of an imputed one NaN. `distances` ``(n,)`` float64 to training,
    and `fields` ``(n, 2)`` float32, the numbers of each profile named by `PROFILE_FIELDS`, are of a
    model that has them; `n_unlike` profiles are less like training than `UNLIKE` of training
    itself.
    """

    rows: slice
    values: NDArray[np.float32]
    bounds: Mapping[str, NDArray[np.float32]]
    distances: NDArray[np.float64] | None
    fields: NDArray[np.float32] | None
    n_unlike: int


def inferred(
    plan: Plan, rows: slice, columns: slice | NDArray[np.intp] = slice(None)
) -> Iterator[Inferred]:
    """Yield landmarks, then inferred targets, or some of these `columns`, batch by batch.

    `rows`, a run of profiles, begin at a multiple of `BATCH`: the bits of a profile depend on its
    place in the file, on no block size.
    """
    if rows.start % BATCH:
        raise ValueError(f"rows begin at {rows.start}, no multiple of {BATCH}")
    landmarks, targets = plan.model.landmarks, plan.model.targets
    mean = np.concatenate([landmarks.mean, targets.mean])[columns]
    sd = np.concatenate([landmarks.sd, targets.sd])[columns]
    imputed = np.isin(np.arange(len(landmarks) + len(targets))[columns], plan.match.missing)
    full_batches = -(-plan.options.block_size // BATCH) * BATCH
    for block in blocks(rows.stop - rows.start, full_batches):
        first = rows.start + block.start
        X = plan.landmarks(slice(first, rows.start + block.stop))
        start = 0
        for Y in plan.model.method(X):
            of_batch = X[start : start + len(Y)]
            distances, fields, unlike = _certainty(plan, of_batch)
            layers = {"values": Y}
            half = None if distances is None else plan.half_widths(distances)
            if half is not None:
                layers |= {"lower": Y - half, "upper": Y + half}
            wide = {
                name: np.concatenate([of_batch, one], axis=1)[:, columns]
                for name, one in layers.items()
            }
            if plan.options.scale == "reference":
                wide = {name: (one * sd + mean).astype(np.float32) for name, one in wide.items()}
            values = wide.pop("values")
            for bound in wide.values():
                bound[:, imputed] = np.nan
            there = slice(first + start, first + start + len(Y))
            yield Inferred(there, values, wide, distances, fields, unlike)
            start += len(Y)


def further(
    model: Model, output: Path, options: PredictOptions
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the layers and the fields of each profile that an output has beside its values.

    Tables have no place for fields: beside one they are only where an interval is asked for. Raises
    `DgexError` for an interval that the model does not have.
    """
    if options.interval is not None:
        model.interval_for(options.platform).level_place(options.interval)
    asked = options.interval is not None
    holds = model.uncertainty is not None and (asked or not is_table_output(output))
    return BOUNDS if asked else (), PROFILE_FIELDS if holds else ()


def _certainty(
    plan: Plan, X: NDArray[np.float32]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float32] | None, int]:
    """Give distances to training, the fields of each profile, and how many are unlike it."""
    known = plan.model.uncertainty
    if known is None:
        return None, None, 0
    distances = known.distances(X)
    unlike = known.unlike(distances)
    fields = np.stack([unlike, known.reconstructed(X)], axis=1).astype(np.float32)
    return distances, fields, int((unlike > UNLIKE).sum())


def unlike_lines(n: int, of: int) -> list[str]:
    """Warn of profiles that are unlike training, if they are more than one in twenty."""
    if 20 * n <= of:
        return []
    unlike = f"{n:,} of {of:,} profiles are less like training than {UNLIKE:.0%} of its own"
    return [f"{WARNING}{unlike}: larger errors than the expected ones are likely"]


# --- the genes of an output


def gene_metadata(plan: Plan, written: WrittenGenes) -> pd.DataFrame:
    """Say what is known of the genes of an output, a line each.

    ``source`` (measured, imputed or inferred), ``expected_error`` (mean absolute error on the test
    set of the same platform, in the units of the output; missing where there is none) and
    ``expected_r2`` there, with an interval ``interval_width`` (of a profile at the median distance
    from training, in the units of the output), the ids known, and ``mae_…`` of every part in
    standardised units.
    """
    model = plan.model
    source = np.array(["measured"] * len(model.landmarks) + ["inferred"] * len(model.targets))
    source[list(plan.match.missing)] = "imputed"
    columns: dict[str, Any] = {"source": source.astype(object)}
    nothing = np.full(len(model.landmarks), np.nan)
    units = model.targets.sd if plan.options.scale == "reference" else np.ones(1)
    part, interval = plan.expected_on, plan.interval
    if part is not None:
        columns["expected_error"] = np.concatenate([nothing, model.errors[part] * units])
        if part in model.r2:
            columns["expected_r2"] = np.concatenate([nothing, model.r2[part]])
    middle = None if interval is None else plan.half_widths(np.array([interval.centre]))
    if middle is not None:
        columns["interval_width"] = np.concatenate([nothing, 2 * middle[0] * units])
    ids = (model.landmarks + model.targets).columns()
    for name in ("symbol", "ensembl", "entrez", "probes"):
        if any(ids[name]):
            columns[name] = np.array(ids[name], dtype=object)
    for part, errors in model.errors.items():
        columns[f"mae_{part}"] = np.concatenate([nothing, errors])
    lines = pd.DataFrame(columns).iloc[written.places]
    return lines.set_axis(pd.Index(written.ids, dtype=object))


# --- what an output says about how it was made, and what decides every bit of it


def provenance(
    plan: Plan, model_sha256: str | None, input_sha256: str | None = None
) -> dict[str, Any]:
    """Give everything that decides an output's values, as JSON values; no date, no path.

    Checksums name the model, if it has a file, and an input without one; a file is read once more.
    """
    model, match, options = plan.model, plan.match, plan.options
    return {
        "made_by": f"dgex predict {dgex_jax.__version__}",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "jax": jax.__version__,
        },
        "device": told_device(),
        "precision": PRECISION,
        "model": {
            "sha256": model_sha256,
            "method": model.method.title,
            "selected_on": model.selected_on,
            "study": known(model.record, str, "study", "name"),
            "simulated": model.simulated,
        },
        "input": {
            "name": match.source.path.name,
            "sha256": input_sha256 or checksum(match.source.path),
            "genes": match.naming,
            "second": match.second,
            "renamed": dict(match.renamed),
            "by_other_names": dict(match.by_other_names),
            "notes": list(plan.notes),
            "comments": list(comments_of(match.source)),
        },
        "options": {
            "platform": options.platform,
            "standardize": options.standardize,
            "values": options.values,
            "scale": options.scale,
            "impute": options.impute,
            "force_platform": options.force_platform,
            **({} if options.interval is None else {"interval": options.interval}),
        },
        "mapping": plan.route.note,
        "warnings": list(plan.warnings),
        "imputed": plan.imputed,
        "constant": [] if plan.scaling is None else list(plan.scaling.constant),
        "expected_error_on": plan.expected_on,
    }


def prediction_job(plan: Plan, told: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that decides the bits of an output's values, as JSON values under plain names.

    Beside what an output tells of itself (`told`, its `provenance`) these are the weights of a
    model without a file, the libraries that compute, and the machine: how many products a processor
    adds up at a time changes the last bits of a sum. The number of its cores, the block size and
    file names but the input's don't count.
    """
    device, model = _device(), dict(told["model"])
    if model["sha256"] is None:
        model["weights"] = _content_sha256(plan.model)
    libraries = {name: version(name) for name in ("jaxlib", "pandas", "scipy")}
    return {
        "model": model,
        "input": told["input"],
        "options": told["options"],
        "mapping": {key: told[key] for key in ("mapping", "imputed", "constant")},
        "software versions": {**told["versions"], **libraries, "dgex": told["made_by"]},
        "precision": told["precision"],
        "device": {
            **told["device"],
            "runtime": device.client.platform_version,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        },
        "processor": processor(),
    }


def _record(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give what lies beside an output of that `provenance`, in the shape of all other outputs.

    The commit is here alone: what is in an output decides whether an interrupted one is resumed.
    """
    inputs = {"input": {key: told["input"][key] for key in ("name", "sha256")}}
    if told["model"]["sha256"] is not None:
        inputs["model"] = {"name": DESCRIPTION, "sha256": told["model"]["sha256"]}
    return record("dgex predict", precision=PRECISION, inputs=inputs, device=told["device"])


def told_device() -> dict[str, str]:
    """Name the device that computes, as outputs do: ``platform`` and ``kind``."""
    device = _device()
    return {"platform": device.platform, "kind": device.device_kind}


def _device() -> jax.Device:
    """Where JAX puts what is not told where to go."""
    (device,) = jax.device_put(np.zeros((), np.float32)).devices()
    return device


def _content_sha256(model: Model) -> str:
    """Checksum of all of a model that decides results."""
    digest = hashlib.sha256()
    arrays: list[Any] = [model.quantile, model.landmark_quantile]
    for genes in (model.landmarks, model.targets):
        arrays += [genes.mean, genes.sd]
    told = {"kind": model.method.kind, "settings": model.method.settings}
    if model.uncertainty is not None:
        told["uncertainty"] = model.uncertainty.settings()
        tensors = model.uncertainty.tensors()
        arrays += [tensors[name] for name in sorted(tensors)]
    digest.update(json.dumps(told, sort_keys=True).encode())
    arrays += [model.method.tensors[name] for name in sorted(model.method.tensors)]
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
