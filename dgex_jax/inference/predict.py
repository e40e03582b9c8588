"""A trained model applied to a file, in memory that does not grow with the file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.progress import Progress
from dgex_jax.data.ranking import blocks_of
from dgex_jax.formats.behind import Behind
from dgex_jax.formats.unchanged import Unchanged
from dgex_jax.inference.inputs import open_input
from dgex_jax.inference.network import BATCH, Network
from dgex_jax.inference.outputgenes import output_genes
from dgex_jax.inference.outputs import WHOLE, Output, check_output, open_output
from dgex_jax.inference.plan import Plan, make_plan
from dgex_jax.inference.provenance import prediction_job, prediction_record, provenance
from dgex_jax.locks import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from dgex_jax.data.progress import Listener
    from dgex_jax.inference.model import Model
    from dgex_jax.inference.options import PredictOptions


@dataclass(frozen=True)
class Prediction:
    """What was done.

    Attributes
    ----------
    output
        The file written.
    n_profiles, n_landmarks, n_targets
        Its size.
    notes
        What was matched, mapped, standardised and imputed, a line each.
    missing_shards
        What other processes have still to write, for an output written in parts; 0 once it is
        whole and in place.
    """

    output: Path
    n_profiles: int
    n_landmarks: int
    n_targets: int
    notes: tuple[str, ...]
    missing_shards: int = 0


def predict(
    model: Model,
    input_path: Path | str,
    output: Path | str,
    options: PredictOptions,
    *,
    model_sha256: str | None = None,
    progress: bool | Listener = False,
    wait: bool = True,
    report: Callable[[str], None] = say,
    part: tuple[int, int] = WHOLE,
) -> Prediction:
    """Infer the target genes of every profile of a file.

    A large prediction to ``.gctx``, ``.h5ad`` or ``.zarr`` that was interrupted goes on where it
    stopped (see `formats.partial`, `formats.zarr_write`) and ends in the very bytes of an
    undisturbed one; ``.gct`` begins anew. Several processes can write one ``.zarr`` store.

    Parameters
    ----------
    model
        The model.
    input_path
        GCTX, GCT, a tab- or comma-separated table, or AnnData; which of them it is, its axis of
        genes and their ids are found in the file.
    output
        ``.gctx``, ``.gct``, ``.gct.gz``, ``.h5ad`` or ``.zarr``: landmarks as measured, then the
        targets. Replaced only on success. Beside a file lies its checksum (`provenance.sidecar`).
    options
        How.
    model_sha256
        What the output says the model is.
    progress
        ``True``: on standard error; a callable gets (step, profiles done, profiles in all).
    wait
        Whether to wait for another process that writes this output (a ``.zarr`` store never does).
    report
        Gets a line when it waits, goes on where it stopped, or throws away what it can't use.
    part
        Part i (from 1) of n of the profiles, for a ``.zarr`` store: whoever comes last moves it
        into place.

    Returns
    -------
    Prediction
        What was done.

    Raises
    ------
    FormatError
        The input can't be read, matched or standardised.
    DgexError
        The output can't be written, or is in use and `wait` is false.
    """
    input_path, output = Path(input_path), Path(output)
    check_output(output, input_path, part)
    show = Progress(progress)
    unchanged = Unchanged.of(input_path)
    with ExitStack() as files:
        source = open_input(
            input_path, files, accept_wrong_dimensions=options.accept_wrong_dimensions
        )
        plan = make_plan(model, source, options, show)
        ids, gene_metadata = output_genes(plan)
        source, told = plan.match.source, provenance(plan, model_sha256)
        # Its checksum must be that of the values that were read.
        unchanged.check()
        n_profiles = len(source.profiles)
        target = Output(
            output,
            source.profiles,
            ids,
            source.profile_metadata,
            gene_metadata,
            told,
            prediction_job(plan, told),
            wait,
            report,
            part,
            prediction_record(told),
        )
        with open_output(target) as writer:
            network, pending = Network(model), writer.pending()
            left = sum(rows.stop - rows.start for rows in pending)
            with show.step("inferring", left) as tick:

                def write(block: NDArray[np.float32]) -> None:
                    writer.append(block)
                    tick(len(block))

                with Behind(write) as put:
                    for rows in pending:
                        for block in inferred(plan, network, rows):
                            put(block)
    return Prediction(
        output,
        n_profiles,
        len(model.landmarks),
        len(model.targets),
        tuple(plan.lines()),
        writer.missing,
    )


def inferred(plan: Plan, network: Network, rows: slice) -> Iterator[NDArray[np.float32]]:
    """Yield landmarks and inferred targets of a run of profiles, batch by batch.

    Parameters
    ----------
    plan, network
        What is done to the file.
    rows
        Which profiles; it begins at a multiple of `network.BATCH`.

    Yields
    ------
    NDArray
        ``(n, n_landmarks + n_targets)`` float32 in the scale of the plan's options, n <= `BATCH`.
        The bits of a profile depend on its place in the file, on no block size.
    """
    if rows.start % BATCH:
        raise ValueError(f"rows begin at {rows.start}, no multiple of {BATCH}")
    n_landmarks = len(plan.model.landmarks)
    whole_batches = -(-plan.options.block_size // BATCH) * BATCH
    scale = Rescale(plan)
    for block in blocks_of(rows.stop - rows.start, whole_batches):
        X = plan.landmarks(slice(rows.start + block.start, rows.start + block.stop))
        start = 0
        for Y in network(X):
            values = np.empty((len(Y), n_landmarks + Y.shape[1]), np.float32)
            values[:, :n_landmarks] = X[start : start + len(Y)]
            values[:, n_landmarks:] = Y
            start += len(Y)
            yield scale(values)


class Rescale:
    """Standardised units to the scale that a plan's options ask for."""

    def __init__(self, plan: Plan) -> None:
        landmarks, targets = plan.model.landmarks, plan.model.targets
        self._wanted = plan.options.scale == "reference"
        self._mean = np.concatenate([landmarks.mean, targets.mean])
        self._sd = np.concatenate([landmarks.sd, targets.sd])

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values ``(n, n_landmarks + n_targets)``, by the means and deviations of training."""
        return (values * self._sd + self._mean).astype(np.float32) if self._wanted else values
