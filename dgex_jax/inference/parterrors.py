"""The scores of a network's weights, gene by gene, on a part of a prepared study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgex_jax.analysis.scores import RunningScores
from dgex_jax.models.arrays import blocks
from dgex_jax.models.forward import BATCH, Forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dgex_jax.analysis.scores import GeneScores
    from dgex_jax.data.prepared import Prepared
    from dgex_jax.data.progress import Tick
    from dgex_jax.inference.evaluate_genes import SharedGenes

PROFILES_AT_A_TIME = 4 * BATCH


def part_errors(halves: Sequence[Any], study: Prepared, part: str) -> NDArray[np.float64]:
    """MAE of every target on a part, ``(n_targets,)`` float64, standardised units.

    Parameters
    ----------
    halves
        Parameters of each half, as `training.weights.load_weights` gives them.
    study, part
        The study they were trained on, and one of its parts.
    """
    return part_scores(Forward(halves), study, part).mae


def part_scores(
    network: Forward,
    study: Prepared,
    part: str,
    genes: SharedGenes | None = None,
    tick: Tick = lambda _n: None,
) -> GeneScores:
    """Score a network on a part of a study, some profiles at a time.

    Parameters
    ----------
    network
        The network.
    study, part
        A study, and one of its parts.
    genes
        Where the study has the network's genes; ``None``: they are the study's, in its order.
    tick
        Called with the number of profiles just done.

    Returns
    -------
    GeneScores
        Of the targets in `genes`, in that order; standardised units of the study.
    """
    running = RunningScores(study.n_targets if genes is None else len(genes.kept))
    for block in blocks(study.n_profiles(part), PROFILES_AT_A_TIME):
        X = study.X(part, block)
        start = block.start
        for every in network(X if genes is None else X[:, genes.landmarks]):
            rows = slice(start, start + len(every))
            Y = study.Y(part, rows=rows)
            if genes is None:
                running.add(every, Y)
            else:
                running.add(every[:, genes.kept], Y[:, genes.targets])
            tick(len(every))
            start = rows.stop
    return running.scores()
