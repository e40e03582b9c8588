"""One small example of each figure, and what every figure must do right."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from dgex_jax.plots.by_gene import density_table
from reproduce.plots import lines, network, panels, style

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    Example = tuple[Callable[[], Figure], pd.DataFrame]

BEST = "D-GEX-10%-9000x3"
NOTE = "simulated data"


def grid_table(
    widths: tuple[int, ...] = (3000, 6000, 9000), depths: tuple[int, ...] = (1, 2, 3)
) -> pd.DataFrame:
    rows = [("LR", None, None, None, 0.378, 0.1), ("KNN-GE", None, None, None, 0.587, 0.1)]
    rows += [
        ("D-GEX", depth, width, 0.1, 0.35 - 0.005 * depth - 2e-6 * width, 0.1)
        for depth in depths
        for width in widths
    ]
    columns = ["method", "hidden_layers", "units", "dropout", "mean", "sd"]
    return pd.DataFrame(rows, columns=columns)


def gene_errors(n: int = 300) -> pd.DataFrame:
    draws = np.random.default_rng(5)
    ours = draws.gamma(20, 0.02, n)
    return pd.DataFrame(
        {
            "target": [f"ENSG{gene:011}" for gene in range(n)],
            "copy_of_landmark": np.arange(n) % 10 == 0,
            "LR": ours * draws.normal(1.1, 0.1, n),
            "KNN-GE": ours * draws.normal(1.5, 0.3, n),
            BEST: ours,
        }
    )


def connections(n_landmarks: int = 12, n_hidden: int = 20, n_targets: int = 30) -> pd.DataFrame:
    draws = np.random.default_rng(3)
    into = {"layer": "input", "from": draws.integers(n_landmarks, size=25)}
    into["to"] = draws.integers(n_hidden, size=25)
    out = {"layer": "output", "from": np.minimum(draws.geometric(0.3, 60), n_hidden - 1)}
    out["to"] = draws.integers(n_targets, size=60)
    table = pd.concat([pd.DataFrame(into), pd.DataFrame(out)], ignore_index=True)
    return table.assign(weight=draws.normal(size=85))


def training() -> pd.DataFrame:
    epoch = np.arange(30)
    rates = {f"{rate}%": 0.5 + 0.1 / (1 + epoch) - rate * 1e-4 * epoch for rate in (0, 10, 25)}
    return pd.DataFrame({"epoch": epoch, **rates, "LR": 0.52})


def _examples() -> dict[str, Example]:
    errors, wide, single = gene_errors(), grid_table(), grid_table((128,), (2,))
    density = density_table({name: errors[name] for name in ("LR", "KNN-GE", BEST)})
    layers = network.network_table(943, [9000, 9000, 9000], [4760, 4760])
    mae = "MAE on GTEx-te (standardised units)"
    return {
        "architectures": (lambda: lines.draw_architectures(wide, "GEO-te", NOTE), wide),
        "one_network": (lambda: lines.draw_architectures(single, "GEO-te", NOTE), single),
        "densities": (lambda: lines.draw_densities(density, "GEO-te", NOTE), density),
        "genewise": (
            lambda: panels.draw_genewise(
                errors, BEST, ["LR", "KNN-GE"], mae, copies=True, note=NOTE
            ),
            errors,
        ),
        "adjusted_r2": (
            lambda: panels.draw_genewise(
                errors, "KNN-GE", ["LR"], "adjusted R² on GEO-tr", larger=True, note=NOTE
            ),
            errors,
        ),
        "epochs": (
            lambda: lines.draw_epochs(training(), "D-GEX-9000x2", "GTEx-te", note=NOTE),
            training(),
        ),
        "network": (lambda: network.draw_network(layers, note=NOTE), layers),
        "weight_map": (
            lambda: panels.draw_weight_map(connections(), 12, 20, 30, [1, 2, 3, 4, 5], NOTE),
            connections(),
        ),
    }


EXAMPLES = _examples()


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture(params=["architectures", "genewise", "network", "weight_map"])
def varied(request: pytest.FixtureRequest) -> Example:
    """Examples that hold every kind of artist: a PDF takes its time."""
    return EXAMPLES[request.param]


@pytest.fixture
def texts() -> Callable[[Figure], list[Text]]:
    """The texts one sees, once every one lies on the canvas and none on another."""

    def check(figure: Figure) -> list[Text]:
        style.settle(figure)
        renderer = FigureCanvasAgg(figure).get_renderer()
        seen = _visible(figure)
        boxes = {text: text.get_window_extent(renderer) for text in seen}
        for text, box in boxes.items():
            inside = figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
            inside &= figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
            assert inside, f"{text.get_text()!r} is cut off"
            assert text.get_fontsize() >= 7
        upright = [text for text in seen if text.get_rotation() % 90 == 0]
        for one, other in combinations(upright, 2):
            apart = not boxes[one].padded(-1).overlaps(boxes[other].padded(-1))
            assert apart, f"{one.get_text()!r} lies on {other.get_text()!r}"
        return seen

    return check


def _visible(figure: Figure) -> list[Text]:
    hidden: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = axes.axison and axis.get_visible()
            for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=True):
                if not (shown and low <= place <= high):
                    hidden |= {tick.label1, tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]
