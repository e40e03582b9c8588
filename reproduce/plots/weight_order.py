"""Where the nodes of the weight map stand: hubs in the middle, genes near their hidden units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Places = NDArray[np.float64]
    Numbers = NDArray[np.int64]

HUB_WIDTH = 0.024  # of the row: a line of text and some air
HUBS_AT_LEAST, HUBS_AT_MOST = 0.3, 0.75  # of the row


@dataclass(frozen=True)
class Layout:
    """Places along the three rows, from 0 (left) to 1, by number of the node.

    Attributes
    ----------
    landmarks, hidden, targets
        ``(n_landmarks,)``, ``(n_hidden,)``, ``(n_targets,)`` float64.
    hubs
        Those with a connection to a target and room for a label, highest output degree first.
    """

    landmarks: Places
    hidden: Places
    targets: Places
    hubs: tuple[int, ...]


def degrees(numbers: Sequence[int] | pd.Series[int], n: int) -> Numbers:
    """Count how often each of the numbers 0 … n - 1 occurs: ``(n,)`` int64."""
    return np.bincount(np.asarray(numbers, dtype=np.int64), minlength=n)


def lay_out(
    table: pd.DataFrame, n_landmarks: int, n_hidden: int, n_targets: int, hubs: Sequence[int]
) -> Layout:
    """Place all nodes so that few lines cross.

    Hidden units go from the middle of their row outwards, hubs first, each by falling output
    degree; hubs get more room than others. Genes follow the mean place of the hidden units they
    are connected with; those without a connection stand at the two ends.

    Parameters
    ----------
    table
        As for `reproduce.plots.weight_map.draw`.
    n_landmarks, n_hidden, n_targets
        Sizes of the layers.
    hubs
        Numbers of hidden units.
    """
    into, out = table[table["layer"] == "input"], table[table["layer"] == "output"]
    n_out, n_in = degrees(out["from"], n_hidden), degrees(into["to"], n_hidden)
    is_hub = np.zeros(n_hidden, dtype=bool)
    is_hub[list(hubs)] = True
    is_hub &= n_out > 0
    ranked = np.lexsort((np.arange(n_hidden), -n_in, -n_out, ~is_hub))
    labelled = ranked[: min(is_hub.sum(), int(HUBS_AT_MOST / HUB_WIDTH))]
    hidden = _hidden_places(ranked, labelled.size)
    return Layout(
        landmarks=_beside(hidden, into["from"], into["to"], n_landmarks),
        hidden=hidden,
        targets=_beside(hidden, out["to"], out["from"], n_targets),
        hubs=tuple(int(unit) for unit in labelled),
    )


def _hidden_places(ranked: Numbers, n_hubs: int) -> Places:
    n = ranked.size
    share = float(np.clip(n_hubs * HUB_WIDTH, HUBS_AT_LEAST, HUBS_AT_MOST)) if n_hubs else 0.0
    if n_hubs == n:
        share = 1.0
    places = np.empty(n)
    places[centre_out(ranked[:n_hubs])] = 0.5 + share * (_even(n_hubs) - 0.5)
    rest = ranked[n_hubs:]
    order, n_left = centre_out(rest), rest.size // 2
    side = (1 - share) / 2
    places[order[:n_left]] = side * _even(n_left)
    places[order[n_left:]] = 1 - side + side * _even(rest.size - n_left)
    return places


def _beside(hidden: Places, genes: pd.Series[int], units: pd.Series[int], n: int) -> Places:
    """Order genes by the mean place of their hidden units; lone ones go to both ends."""
    count = degrees(genes, n)
    near = hidden[units.to_numpy(dtype=np.int64)]
    mean = np.bincount(genes.to_numpy(dtype=np.int64), weights=near, minlength=n) / np.maximum(
        count, 1
    )
    lone = np.flatnonzero(count == 0)
    joined = np.flatnonzero(count)
    order = np.concatenate(
        [
            lone[: lone.size // 2],
            joined[np.argsort(mean[joined], kind="stable")],
            lone[lone.size // 2 :],
        ]
    )
    places = np.empty(n)
    places[order] = _even(n)
    return places


def centre_out(ranked: Numbers) -> Numbers:
    """Arrange ranks around the middle: 0, 1, 2, 3, 4 become 3, 1, 0, 2, 4."""
    return np.concatenate([ranked[1::2][::-1], ranked[0::2]])


def _even(n: int) -> Places:
    """Centres of `n` equal parts of the line from 0 to 1."""
    return (np.arange(n) + 0.5) / max(n, 1)
