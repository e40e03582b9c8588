"""The network of a model: `models.forward` in float32, whatever the model was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.models.forward import BATCH, Forward

if TYPE_CHECKING:
    from dgex_jax.inference.model import Model

__all__ = ["BATCH", "Network"]


class Network(Forward):
    """Both halves of a model on the default device; no cut of a file into blocks changes a bit.

    Called with standardised landmarks ``(n_profiles, n_landmarks)`` float32, whose first row begins
    a batch of `BATCH`; yields targets batch by batch.

    Parameters
    ----------
    model
        The model; products are taken in float32.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model.halves)
