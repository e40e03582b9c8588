"""Figure S1 of the paper for one study: ``python -m reproduce.figure_s1 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from dgex_jax.config import NetworkConfig
from dgex_jax.data.prepared import open_prepared
from dgex_jax.training.start import build_model
from dgex_jax.training.weights import layer_names
from reproduce.commandline import script
from reproduce.figures import note, write_figure
from reproduce.plots.network import draw, network_table
from reproduce.product import Needs, Product

if TYPE_CHECKING:
    from dgex_jax.config import TrainingConfig
    from reproduce.workspace import Workspace


def largest(space: Workspace) -> NetworkConfig:
    """Return the deepest and widest network of the study."""
    grid = space.study.grid
    return NetworkConfig(max(grid.hidden_layers), max(grid.units), max(grid.dropout))


def layer_sizes(
    network: NetworkConfig, training: TrainingConfig, n_landmarks: int, n_targets: int
) -> list[int]:
    """Read the sizes of the layers, input and output among them, off the model's own parameters."""
    model = build_model(network, training, n_targets)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, n_landmarks)))["params"]
    kernels = [shapes[name]["kernel"].shape for name in layer_names(len(shapes))]
    return [kernels[0][0], *(int(kernel[1]) for kernel in kernels)]


def write(space: Workspace) -> str:
    """Write the figure."""
    network, training = largest(space), space.study.training
    with open_prepared(space.prepared) as study:
        n_landmarks = study.n_landmarks
        halves = study.halves if training.halves == 2 else (slice(0, study.n_targets),)
        targets = [one.stop - one.start for one in halves]
    sizes = [layer_sizes(network, training, n_landmarks, one) for one in targets]
    table = network_table(sizes[0][0], sizes[0][1:-1], [one[-1] for one in sizes])
    return write_figure(space, "figureS1", draw(table, note=note(space)), table)


PRODUCT = Product(
    "figureS1", "Figure S1: the architecture of the largest network.", lambda _study: Needs(), write
)
main = script("reproduce.figure_s1", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
