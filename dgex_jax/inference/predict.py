"""A trained model applied to a file, in memory that does not grow with the file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.progress import Progress
from dgex_jax.data.ranking import blocks_of
from dgex_jax.inference.inputs import open_input
from dgex_jax.inference.network import BATCH, Network
from dgex_jax.inference.outputs import check_output, open_output, output_genes
from dgex_jax.inference.plan import Plan, make_plan
from dgex_jax.inference.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """

    output: Path
    n_profiles: int
    n_landmarks: int
    n_targets: int
    notes: tuple[str, ...]


def predict(
    model: Model,
    input_path: Path | str,
    output: Path | str,
    options: PredictOptions,
    *,
    model_sha256: str | None = None,
    progress: bool | Listener = False,
) -> Prediction:
    """Infer the target genes of every profile of a file.

    Parameters
    ----------
    model
        The model.
    input_path
        GCTX, GCT, a tab- or comma-separated table, or AnnData; which of them it is, its axis of
        genes and their ids are found in the file.
    output
        ``.gctx``, ``.gct``, ``.gct.gz`` or ``.h5ad``: landmarks as measured, then the targets.
        Replaced only on success.
    options
        How.
    model_sha256
        What the output says the model is.
    progress
        ``True``: on standard error; a callable gets (step, profiles done, profiles in all).

    Returns
    -------
    Prediction
        What was done.

    Raises
    ------
    FormatError
        The input can't be read, matched or standardised.
    DgexError
        The output can't be written.
    """
    input_path, output = Path(input_path), Path(output)
    check_output(output, input_path)
    show = Progress(progress)
    with ExitStack() as files:
        source = open_input(
            input_path, files, accept_wrong_dimensions=options.accept_wrong_dimensions
        )
        plan = make_plan(model, source, options, show)
        ids, gene_metadata = output_genes(plan)
        profiles = plan.match.source.profiles
        with (
            open_output(
                output,
                profiles,
                ids,
                profile_metadata=plan.match.source.profile_metadata,
                gene_metadata=gene_metadata,
                provenance=provenance(plan, model_sha256),
            ) as writer,
            show.step("inferring", len(profiles)) as tick,
        ):
            for block in inferred(plan, Network(model), slice(0, len(profiles))):
                writer.append(block)
                tick(len(block))
    return Prediction(
        output, len(profiles), len(model.landmarks), len(model.targets), tuple(plan.lines())
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
