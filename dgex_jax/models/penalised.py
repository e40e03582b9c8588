"""What ridge and lasso have in common: one fit per lambda, and checks of the lambdas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.models.linear import predict_linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class LinearFit:
    """A penalised linear model of all target genes at one lambda.

    Attributes
    ----------
    lambda_
        Weight of the penalty, the same for all targets.
    coef
        ``(n_targets, n_landmarks)`` float64.
    intercept
        ``(n_targets,)`` float64, not penalised.
    gap
        ``(n_targets,)`` float64, duality gap as a share of the target's ``|y|^2 / n`` (y centred);
        ``None`` where the solution is in closed form.
    iterations
        Of the solver, until the last target was done; 0 for a closed form.
    mean_iterations
        Of the solver, mean over targets, each of which stops when it is done: what the fit cost.
    """

    lambda_: float
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    gap: NDArray[np.float64] | None
    iterations: int
    mean_iterations: float = 0.0

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.

        Returns
        -------
        NDArray
            ``(n_profiles, n_targets)`` float64.

        Raises
        ------
        DgexError
            Another number of landmarks, or values that are not finite.
        """
        return predict_linear(X, self.coef, self.intercept)


def check_lambdas(lambdas: Sequence[float]) -> list[float]:
    """Return the lambdas as floats; raise `DgexError` unless all are finite and above 0."""
    values = [float(one) for one in lambdas]
    if not values:
        raise DgexError("lambda: needs at least one value")
    for one in values:
        if not 0.0 < one < np.inf:
            raise DgexError(f"lambda = {one}: must be above 0 and finite")
    return values
