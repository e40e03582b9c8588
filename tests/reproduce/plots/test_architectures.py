"""Figure 1 shows the table: each depth a line, each other method a level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError
from reproduce.plots.lines import draw_architectures, split_levels
from reproduce.plots.style import spread
from tests.reproduce.plots.conftest import grid_table


def series(figure):
    """Label → y values of all labelled lines of all panels."""
    return {
        line.get_label(): np.asarray(line.get_ydata())
        for axes in figure.axes
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def levels(figure):
    """Return the heights of the horizontal lines, in any panel."""
    return sorted(
        line.get_ydata()[0]
        for axes in figure.axes
        for line in axes.lines
        if line.get_label().startswith("_") and list(line.get_xdata()) == [0, 1]
    )


@pytest.mark.parametrize("depths", [(1, 2, 3), (2,)])
@pytest.mark.parametrize("widths", [(3000, 6000, 9000), (128,), tuple(range(1000, 13000, 1000))])
def test_the_lines_are_the_tables_numbers(texts, widths, depths):
    table = grid_table(widths, depths)
    figure = draw_architectures(table.sample(frac=1, random_state=1), "GEO-te")
    lines = series(figure)
    assert list(lines) == [str(depth) for depth in depths]
    for depth in depths:
        expected = table[table["hidden_layers"] == depth].sort_values("units")["mean"]
        np.testing.assert_array_equal(lines[str(depth)], expected)
    assert levels(figure) == sorted(table[table["units"].isna()]["mean"])
    words = [text.get_text() for text in texts(figure)]
    assert {"LR", "KNN-GE", *(f"{width:,}" for width in widths)} <= set(words)
    assert any("GEO-te" in text and "standardised units" in text for text in words)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.lines:
            if line.get_transform() != axes.transAxes:
                assert (np.asarray(line.get_ydata()) > low).all()
                assert (np.asarray(line.get_ydata()) < high).all()


def test_methods_far_away_get_a_panel_of_their_own():
    methods = {"LR": 0.378, "KNN-GE": 0.587, "Mean": 0.8, "LR-L1": 0.1}
    above, near, below = split_levels([0.32, 0.342], methods)
    assert set(above) == {"KNN-GE", "Mean"}
    assert set(near) == {"LR"}
    assert set(below) == {"LR-L1"}
    assert split_levels([0.4], {"LR": 0.6, "KNN-GE": 0.5}) == ({}, {"LR": 0.6, "KNN-GE": 0.5}, {})


def test_every_method_is_drawn_wherever_it_lies(texts):
    table = grid_table()
    more = [("Mean", 0.8), ("LR-L1", 0.378), ("LR-L2", 0.3781), ("KNN-profiles", 0.05)]
    rows = [{"method": method, "mean": mean, "sd": 0.1} for method, mean in more]
    table = pd.concat(
        [pd.DataFrame(rows).reindex(columns=table.columns).astype(table.dtypes), table]
    )
    figure = draw_architectures(table, "GEO-te")
    assert len(figure.axes) == 3
    assert levels(figure) == sorted(table[table["units"].isna()]["mean"])
    assert {method for method, _ in more} <= {text.get_text() for text in texts(figure)}


def test_two_rates_or_a_network_twice_or_none_are_refused():
    table = grid_table()
    two_rates = table.assign(dropout=[None, None, *np.linspace(0, 0.5, 9)])
    for bad in (two_rates, pd.concat([table, table.tail(1)]), table.head(2)):
        with pytest.raises(DgexError, match="every network once"):
            draw_architectures(bad, "GEO-te")


def test_places_move_as_little_as_needed_and_keep_their_order():
    np.testing.assert_allclose(spread([0.5, 0.5, 0.1], 0.1), [0.45, 0.55, 0.1])
    np.testing.assert_allclose(spread([0.1, 0.3], 0.1), [0.1, 0.3])
    wanted = np.random.default_rng(0).random(8)
    places = spread(wanted, 0.06)
    assert (np.argsort(places) == np.argsort(wanted)).all()
    assert np.diff(np.sort(places)).min() > 0.06 - 1e-12
    assert places.mean() == pytest.approx(wanted.mean())
