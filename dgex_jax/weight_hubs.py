"""The major weights of a network with one hidden layer, and the hidden units they meet in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.baselines.arrays import centre
from dgex_jax.config import check_range
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Hub:
    """A hidden unit with many kept connections to the output layer."""

    unit: int  # counted from 0
    # Units of the input and of the output layer it is connected to, by falling |weight|, then by
    # their own order.
    landmarks: NDArray[np.intp]
    targets: NDArray[np.intp]
    n_positive: int  # kept output weights above 0
    n_negative: int  # and below

    @property
    def in_degree(self) -> int:
        """Number of kept connections from the input layer."""
        return len(self.landmarks)

    @property
    def out_degree(self) -> int:
        """Number of kept connections to the output layer, at least 1."""
        return len(self.targets)

    @property
    def share_positive(self) -> float:
        """Share of its kept output weights above 0."""
        return self.n_positive / self.out_degree

    @property
    def of_one_sign(self) -> bool:
        """Whether all its kept output weights are positive, or all negative."""
        return self.out_degree in (self.n_positive, self.n_negative)


@dataclass(frozen=True)
class WeightHubs:
    """Kept connections of a network, its hubs, and the figures that test the paper's words.

    Shares of units are numbers even if nothing is kept (then 0, and 1 of hidden units without a
    connection); shares of kept connections or of hubs are ``None`` where there are none.
    """

    kept_in: NDArray[np.bool_]  # (n_landmarks, units), weights from the input to the hidden layer
    kept_out: NDArray[np.bool_]  # (units, n_targets), from the hidden to the output layer
    hubs: tuple[Hub, ...]  # of falling output degree, then by unit

    @property
    def in_degree(self) -> NDArray[np.intp]:
        """``(units,)`` kept connections of each hidden unit from the input layer."""
        degree: NDArray[np.intp] = np.count_nonzero(self.kept_in, axis=0)
        return degree

    @property
    def out_degree(self) -> NDArray[np.intp]:
        """``(units,)`` kept connections of each hidden unit to the output layer."""
        degree: NDArray[np.intp] = np.count_nonzero(self.kept_out, axis=1)
        return degree

    @property
    def n_kept_in(self) -> int:
        """Number of kept weights from the input to the hidden layer."""
        return int(np.count_nonzero(self.kept_in))

    @property
    def n_kept_out(self) -> int:
        """Number of kept weights from the hidden to the output layer."""
        return int(np.count_nonzero(self.kept_out))

    @property
    def share_landmarks_connected(self) -> float:
        """Share of input units with a kept connection (the paper: "most")."""
        return float(self.kept_in.any(axis=1).mean())

    @property
    def share_targets_connected(self) -> float:
        """Share of output units with a kept connection (the paper: "most")."""
        return float(self.kept_out.any(axis=0).mean())

    @property
    def share_units_unconnected(self) -> float:
        """Share of hidden units without any kept connection, in or out."""
        return float(((self.in_degree == 0) & (self.out_degree == 0)).mean())

    @property
    def share_held_by_hubs(self) -> float | None:
        """Share of the kept output connections that are the hubs' ("dominated by a few")."""
        held = sum(hub.out_degree for hub in self.hubs)
        return held / self.n_kept_out if self.n_kept_out else None

    @property
    def share_hubs_of_one_sign(self) -> float | None:
        """Share of hubs whose kept output connections are all of one sign (the paper: "lots")."""
        return sum(hub.of_one_sign for hub in self.hubs) / len(self.hubs) if self.hubs else None


def find_hubs(
    W0: ArrayLike,
    W1: ArrayLike,
    *,
    in_sd: float = 4.0,
    out_sd: float = 5.0,
    top_share: float = 0.01,
    at_least: int = 5,
) -> WeightHubs:
    """Keep the major weights and find the hubs (paper section 3.3, "major weights").

    A weight is kept if it lies more than a number of standard deviations (ddof 0) from the mean of
    its input unit's weights, or of its output unit's; on either side. No weight of ``units`` lies
    more than ``sqrt(units - 1)`` away, so fewer than 17 hidden units keep no input weight, fewer
    than 26 no output weight.

    `W0` is ``(n_landmarks, units)`` and `W1` ``(units, n_targets)``; `in_sd` and `out_sd` are the
    paper's 4 and 5 deviations. Hubs are the share `top_share` of the hidden units with the largest
    output degree (rounded down), and `at_least` so many, as far as their degree is above 0; of
    equal degrees the first units. The paper gives no number: 1 % and 5 are this project's.

    Raises
    ------
    DgexError
        Weights that are no matrices, are empty, don't fit together or are not finite, or settings
        out of range.
    """
    check_range("in_sd", in_sd, 0.0)
    check_range("out_sd", out_sd, 0.0)
    check_range("top_share", top_share, 0.0, 1.0)
    check_range("at_least", at_least, 0)
    first, last = _weights("W0", W0), _weights("W1", W1)
    n_units = first.shape[1]
    if last.shape[0] != n_units:
        raise DgexError(
            f"W1: has rows for {last.shape[0]} hidden units, but W0 has columns for {n_units}"
        )
    kept_in = _major(first.T, in_sd).T
    kept_out = _major(last, out_sd)
    degree = np.count_nonzero(kept_out, axis=1)
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
    wanted = max(at_least, math.floor(round(top_share * n_units, 9)))
    hubs = []
    for unit in _falling(degree)[:wanted]:
        if degree[unit] == 0:
            break
        landmarks, targets = np.flatnonzero(kept_in[:, unit]), np.flatnonzero(kept_out[unit])
        outgoing = last[unit, targets]
        hub = Hub(
            unit=int(unit),
            landmarks=landmarks[_falling(np.abs(first[landmarks, unit]))],
            targets=targets[_falling(np.abs(outgoing))],
            n_positive=int(np.count_nonzero(outgoing > 0)),
            n_negative=int(np.count_nonzero(outgoing < 0)),
        )
        hubs.append(hub)
    return WeightHubs(kept_in, kept_out, tuple(hubs))


def _falling(values: NDArray[np.signedinteger] | NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the indices that sort `values` ``(n,)`` falling, of equal ones the first first."""
    return np.argsort(-values, kind="stable")


def _major(weights: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Mark what lies more than `threshold` deviations from its column's mean."""
    distance = centre(weights)[0]
    sd = np.sqrt(np.square(distance).mean(axis=0))
    # Without spread nothing stands out, whatever the threshold.
    kept: NDArray[np.bool_] = (np.abs(distance, out=distance) > threshold * sd) & (sd > 0)
    return kept


def _weights(name: str, values: ArrayLike) -> NDArray[np.floating]:
    weights = np.asarray(values)
    if weights.ndim != 2 or weights.dtype.kind != "f" or weights.size == 0:
        raise DgexError(
            f"{name}: must be a matrix of weights, not {weights.dtype} of shape {weights.shape}"
        )
    bad = np.argwhere(~np.isfinite(weights))
    if len(bad):
        row, column = bad[0]
        raise DgexError(
            f"{name}: {len(bad)} of {weights.size} weights are not finite, the first "
            f"{weights[row, column]} at row {row}, column {column} (counted from 0)"
        )
    return weights
