"""Figures 3, 4 and S2: every gene a point, and the shares on each side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError
from dgex_jax.plots.by_gene import Shares, point_size, shares
from dgex_jax.scores import share_better
from reproduce.plots.panels import draw_genewise
from tests.reproduce.plots.conftest import gene_errors

MAE = "MAE on GTEx-te (standardised units)"
BEST = "D-GEX-10%-9000x3"


def points(axes):
    """Return the offsets of all points of a panel, sorted."""
    every = np.concatenate([np.asarray(group.get_offsets()) for group in axes.collections])
    return every[np.lexsort(every.T)]


def test_points_are_the_tables_numbers_and_axes_are_equal(texts):
    table = gene_errors()
    figure = draw_genewise(table, BEST, ["LR", "KNN-GE"], MAE, copies=True)
    for axes, other in zip(figure.axes, ["LR", "KNN-GE"], strict=True):
        expected = table[[other, BEST]].to_numpy()
        np.testing.assert_array_equal(points(axes), expected[np.lexsort(expected.T)])
        plain, copies = axes.collections
        assert len(copies.get_offsets()) == table["copy_of_landmark"].sum()
        assert plain.get_rasterized()
        assert copies.get_rasterized()
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_xlim()[0] < 0 < expected.max() < axes.get_xlim()[1]
        (diagonal,) = axes.lines
        assert diagonal.get_slope() == 1
        assert len(set(diagonal.get_xy1())) == 1
    seen = {text.get_text() for text in texts(figure)}
    assert {f"LR\n{MAE}", f"KNN-GE\n{MAE}", f"{BEST}\n{MAE}", "(a)", "(b)"} <= seen
    assert {"copies of a landmark gene", "other target genes"} <= seen
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert all(box.width == pytest.approx(box.height) for box in boxes)


def test_shares_count_strictly_better_genes_and_ties():
    ours, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 4.0, 3.0])
    assert shares(ours, other, larger=False) == Shares(ours=2, other=1, equal=1)
    assert shares(ours, other, larger=True) == Shares(ours=1, other=2, equal=1)
    assert shares(ours, other, larger=False).ours / 4 == share_better(ours, other)
    assert Shares(9519, 1, 0).text(9519) == "99.99 % (9,519 genes)"


def corner_texts(axes):
    return {text.get_text(): text.get_position() for text in axes.texts if text.get_text()}


def test_each_share_stands_on_its_side(texts):
    table = pd.DataFrame({"a": [0.5, 0.4, 0.6, 0.5], "b": [0.6, 0.5, 0.5, 0.5]})
    smaller = draw_genewise(table, "a", ["b"], MAE)
    texts(smaller)
    assert corner_texts(smaller.axes[0]) == {
        "b better:\n25.00 % (1 gene)\nequal: 25.00 % (1 gene)": (0.03, 0.97),
        "a better:\n50.00 % (2 genes)": (0.97, 0.03),
    }
    larger = draw_genewise(table, "a", ["b"], "adjusted R²", larger=True)
    texts(larger)
    assert corner_texts(larger.axes[0]) == {
        "a better:\n25.00 % (1 gene)": (0.03, 0.97),
        "b better:\n50.00 % (2 genes)\nequal: 25.00 % (1 gene)": (0.97, 0.03),
    }


@pytest.mark.parametrize(
    ("ours", "other", "place"), [(0.02, 0.9, (0.03, 0.97)), (0.9, 0.02, (0.97, 0.03))]
)
def test_points_in_a_corner_send_its_text_to_the_other(texts, ours, other, place):
    figure = draw_genewise(pd.DataFrame({"a": [ours, 0.5], "b": [other, 0.6]}), "a", ["b"], MAE)
    texts(figure)
    ((text, position),) = corner_texts(figure.axes[0]).items()
    assert {"a better:", "b better:"} <= set(text.splitlines())
    assert position == place


def test_genes_without_a_value_are_in_neither_points_nor_shares():
    table = pd.DataFrame({"a": [0.5, np.nan, 0.7, 0.6], "b": [0.4, 0.3, np.nan, 0.5]})
    (axes,) = draw_genewise(table, "a", ["b"], "adjusted R²", larger=True).axes
    assert len(points(axes)) == 2
    assert "a better:\n100.00 % (2 genes)" in corner_texts(axes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_panel_without_finite_values_is_refused(value):
    with pytest.raises(DgexError, match="a against b"):
        draw_genewise(pd.DataFrame({"a": [0.5], "b": [value]}), "a", ["b"], MAE)


def test_points_shrink_as_they_get_more():
    sizes = [point_size(n) for n in (1, 300, 1000, 9520, 10**6)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (9, 1.5)
