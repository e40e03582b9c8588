"""A network's shape, and how much work one pass over profiles is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.rates import product_operations
from dgex_jax.train.network import n_parameters


@dataclass(frozen=True)
class Shape:
    """Landmark genes, hidden layers of as many units each, and target genes of one network."""

    n_landmarks: int
    hidden_layers: int
    units: int
    n_targets: int

    def __str__(self) -> str:
        """Write it as ``943 -> 9000 x 3 -> 4760``."""
        return f"{self.n_landmarks} -> {self.units} x {self.hidden_layers} -> {self.n_targets}"

    @property
    def sizes(self) -> list[int]:
        """Units of every layer, inputs and outputs included."""
        return [self.n_landmarks, *[self.units] * self.hidden_layers, self.n_targets]

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return n_parameters(self.n_landmarks, self.n_targets, self.hidden_layers, self.units)

    def training_operations(self, n_profiles: int) -> int:
        """Operations of the matrix products that train on `n_profiles` once.

        Forward, and backward to the weights and, but for the first layer, to its inputs.
        """
        return sum(
            product_operations(n_profiles, fan_in, fan_out) * (2 if layer == 0 else 3)
            for layer, (fan_in, fan_out) in enumerate(pairwise(self.sizes))
        )

    def update_bytes(self, passes: int) -> int:
        """Bytes of `passes` passes over the float32 parameters."""
        return 4 * passes * self.n_parameters
