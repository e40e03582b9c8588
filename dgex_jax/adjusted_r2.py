"""How well linear models on landmarks, or on a network's last hidden layer, explain each target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax.baselines.arrays import check_matrix
from dgex_jax.baselines.linear import factorise
from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks
from dgex_jax.train.network import MLP
from dgex_jax.train.pylearn2 import layer_names

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class AdjustedR2:
    """Adjusted R² of every target gene, ``(n_targets,)``, on one set of features."""

    values: NDArray[np.float64]  # NaN: a constant target, or any if there is a `reason`
    r2: NDArray[np.float64]  # at most 1, not adjusted; NaN for constant targets
    constant: NDArray[np.bool_]  # targets with the same value in all profiles
    n_profiles: int
    n_features: int
    rank: int  # numerical rank p of the centred design
    reason: str | None  # why no target has a number, as a sentence


@dataclass(frozen=True)
class Comparison:
    """In how many targets one set of features has the larger adjusted R²."""

    n_targets: int
    n_compared: int  # those with a number on both sides
    n_larger: int  # those of them with a strictly larger adjusted R² on the activations

    @property
    def share(self) -> float | None:
        """`n_larger` as a share of `n_compared`, from 0 to 1; ``None`` if there are none."""
        return self.n_larger / self.n_compared if self.n_compared else None


def adjusted_r2(features: ArrayLike, targets: ArrayLike, *, block_size: int = 512) -> AdjustedR2:
    """Fit each target by least squares with an intercept (paper section 3.3, "nonlinearity").

    Adjusted R² is ``1 - (1 - R²)(n - 1)/(n - p - 1)`` for n profiles. Here p is not the number of
    features but the rank of the centred design, so that dependent features cost nothing: how many
    singular values exceed ``eps * max(n_profiles, n_features)`` of the largest, with eps that of
    float64. All of it is float64.

    `features` are ``(n_profiles, n_features)``, the landmarks or the activations of a hidden layer,
    and `targets` ``(n_profiles, n_targets)`` standardised values, of which `block_size` are held in
    float64 at a time: it changes memory and speed, results only by rounding.

    Raises
    ------
    DgexError
        Tables of different lengths, empty ones, values that are not finite, or a bad block size.
    """
    problem = factorise(features, targets, block_size, ("features", "targets"))
    n_profiles, n_features = problem.n_profiles, len(problem.x_mean)
    explained = np.einsum("tr,tr->t", problem.coordinates, problem.coordinates)
    # Centring makes a constant target exactly 0, so this is no question of a tolerance.
    constant = problem.squares == 0
    r2 = np.full(len(explained), np.nan)
    np.divide(explained, problem.squares, out=r2, where=~constant)
    # Rounding can take a perfect fit past 1.
    np.minimum(r2, 1.0, out=r2)
    freedom = n_profiles - problem.rank - 1
    if freedom > 0:
        values, reason = 1 - (1 - r2) * (n_profiles - 1) / freedom, None
    else:
        values = np.full_like(r2, np.nan)
        reason = (
            f"{n_profiles} profiles leave no degrees of freedom for {n_features} features "
            f"(rank {problem.rank})"
        )
    return AdjustedR2(values, r2, constant, n_profiles, n_features, problem.rank, reason)


def compare(raw: ArrayLike, hidden: ArrayLike) -> Comparison:
    """Count targets with a strictly larger adjusted R² on activations than on landmarks.

    `raw` and `hidden` are ``(n_targets,)`` `AdjustedR2.values`, of one half or of both joined, in
    the same order of targets; NaN where there is no number.

    Raises
    ------
    DgexError
        Vectors of different lengths.
    """
    landmarks = np.asarray(raw, dtype=np.float64)
    activations = np.asarray(hidden, dtype=np.float64)
    if landmarks.ndim != 1 or landmarks.shape != activations.shape:
        raise DgexError(
            "adjusted R² of landmarks and of activations: must be of the same targets, "
            f"not {landmarks.shape} and {activations.shape}"
        )
    compared = np.isfinite(landmarks) & np.isfinite(activations)
    larger = activations[compared] > landmarks[compared]
    return Comparison(len(landmarks), int(compared.sum()), int(larger.sum()))


def last_hidden(params: Any, X: ArrayLike, *, block_size: int = 1024) -> NDArray[np.float32]:
    """Activations ``(n_profiles, units)`` of the last hidden layer, no dropout (paper section 3.3).

    `params` are one half of what `dgex_jax.train.record.load_weights` reads: layer name →
    ``kernel`` ``(fan_in, fan_out)`` and ``bias`` ``(fan_out,)``, float32. Products are taken in
    float32, whatever precision the network was trained with. `X` is ``(n_profiles, n_landmarks)``,
    standardised; `block_size` of its profiles are on the device at a time.

    Raises
    ------
    DgexError
        Weights that make no network with a hidden layer, another number of landmarks, an empty
        table, values that are not finite, or a bad block size.
    """
    check_range("block_size", block_size, 1)
    model, n_landmarks = _network(params)
    profiles = check_matrix("X", X, n_genes=n_landmarks)
    n_profiles = profiles.shape[0]
    weights = jax.device_put(params)
    activations = np.empty((n_profiles, model.units), np.float32)
    # A short last block is filled up with zeros: a shape of its own would be compiled again.
    block = np.zeros((min(block_size, n_profiles), n_landmarks), np.float32)
    for rows in blocks(n_profiles, len(block)):
        length = rows.stop - rows.start
        block[:length], block[length:] = profiles[rows], 0
        # np.asarray waits for the result; before that, JAX may still read `block` in place.
        activations[rows] = np.asarray(_activations(model, weights, block))[:length]
    return activations


@partial(jax.jit, static_argnums=0)
def _activations(model: MLP, params: Any, X: jax.Array) -> jax.Array:
    # The unused output layer is left out by the compiler.
    _, state = model.apply({"params": params}, X, mutable=["intermediates"])
    (activations,) = state["intermediates"]["last_hidden"]
    return activations  # type: ignore[no-any-return]


def _network(params: Any) -> tuple[MLP, int]:
    """Return the module that `params` belong to, and its number of landmarks."""
    n_hidden = len(params) - 1
    names = layer_names(len(params))
    if n_hidden < 1 or sorted(params) != sorted(names):
        raise DgexError(
            f"weights: need the layers hidden1, ... and output, not {', '.join(params) or 'none'}"
        )
    shapes = {name: np.shape(params[name]["kernel"]) for name in names}
    if any(len(shape) != 2 or 0 in shape for shape in shapes.values()):
        raise DgexError(f"weights: a kernel is empty or no matrix, shapes {shapes}")
    n_landmarks, units = shapes["hidden1"]
    sizes = [n_landmarks, *[units] * n_hidden, shapes["output"][1]]
    for name, fan_in, fan_out in zip(names, sizes, sizes[1:], strict=False):
        found = (shapes[name], np.shape(params[name]["bias"]))
        if found != ((fan_in, fan_out), (fan_out,)):
            raise DgexError(
                f"weights of {name}: must be {fan_in} x {fan_out} and {fan_out} biases, "
                f"not of shapes {found[0]} and {found[1]}"
            )
    return MLP(n_hidden, units, shapes["output"][1]), n_landmarks
