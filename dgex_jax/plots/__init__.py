"""Pictures of errors, trainings, intervals, predictions and weights, for papers and notebooks.

Each function draws arrays or tables, on the axes it is given (under your own settings of
Matplotlib) or on those of a new figure in the style of this project's figures, and returns the
axes. A new figure is not Pyplot's, so that nothing stays open; a notebook shows the axes returned
as their picture, and ``ax.figure.savefig("errors.pdf")`` saves it. Settings of Matplotlib are left
as they are.

Needs Matplotlib: ``pip install "dgex-jax[plots]"``.
"""

from __future__ import annotations

from dgex_jax.errors import DgexError

try:
    import matplotlib as mpl  # noqa: F401
except ImportError as error:
    text = 'dgex_jax.plots needs Matplotlib: pip install "dgex-jax[plots]"'
    raise DgexError(text) from error

from dgex_jax.plots.by_gene import errors_by_gene, genewise
from dgex_jax.plots.curves import learning_curve, training_curves
from dgex_jax.plots.heat import heat_map
from dgex_jax.plots.intervals import against_truth, calibration, coverage_by_gene
from dgex_jax.plots.weight_map import hubs

__all__ = [
    "against_truth",
    "calibration",
    "coverage_by_gene",
    "errors_by_gene",
    "genewise",
    "heat_map",
    "hubs",
    "learning_curve",
    "training_curves",
]
