"""Figures 2 and 5: densities of errors, and errors by epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from scipy.stats import gaussian_kde, norm

from dgex_jax.plots.by_gene import density_table
from reproduce.plots.lines import draw_densities, draw_epochs
from tests.reproduce.plots.conftest import gene_errors, training


def labelled(figure):
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def test_densities_have_area_one_and_are_scipys_away_from_zero():
    errors = gene_errors()
    table = density_table({"LR": errors["LR"], "KNN-GE": errors["KNN-GE"] + 1})
    for method in ("LR", "KNN-GE"):
        assert trapezoid(table[method], table["MAE"]) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(
        table["KNN-GE"], gaussian_kde(errors["KNN-GE"] + 1)(table["MAE"]), rtol=1e-12, atol=1e-12
    )


def test_errors_at_zero_lose_nothing_below_it():
    near_zero = np.abs(np.random.default_rng(2).normal(size=4000))
    table = density_table({"LR": near_zero}, n_points=2000)
    assert table["MAE"].iloc[0] == 0
    assert trapezoid(table["LR"], table["MAE"]) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(table["LR"], 2 * norm.pdf(table["MAE"]), atol=0.06)


def test_density_lines_are_the_tables_numbers(texts):
    errors = gene_errors()
    table = density_table({"LR": errors["LR"], "D-GEX-10%-9000x3": errors["KNN-GE"]})
    figure = draw_densities(table, "GEO-te")
    lines = labelled(figure)
    assert list(lines) == ["LR", "D-GEX-10%-9000x3"]
    for method, line in lines.items():
        np.testing.assert_array_equal(line.get_xdata(), table["MAE"])
        np.testing.assert_array_equal(line.get_ydata(), table[method])
    assert "MAE of a target gene on GEO-te (standardised units)" in {
        text.get_text() for text in texts(figure)
    }


@pytest.mark.parametrize("n_epochs", [1, 2, 30])
def test_epoch_lines_are_the_tables_numbers(texts, n_epochs):
    table = training().head(n_epochs)
    figure = draw_epochs(table, "D-GEX-9000x2", "GTEx-te")
    lines = labelled(figure)
    assert list(lines) == ["0%", "10%", "25%"]
    for rate, line in lines.items():
        np.testing.assert_array_equal(line.get_xdata(), table["epoch"])
        np.testing.assert_array_equal(line.get_ydata(), table[rate])
    level = next(line for line in figure.axes[0].lines if line.get_label()[0] == "_")
    assert set(level.get_ydata()) == {0.52}
    words = {text.get_text() for text in texts(figure)}
    assert {"LR", "Epoch", "0%", "25%", "D-GEX-9000x2, dropout rate"} <= words


def test_one_rate_and_an_epoch_that_is_missing(texts):
    table = pd.DataFrame({"epoch": [0, 1, 2], "10%": [0.5, 0.4, np.nan], "LR": 0.45})
    figure = draw_epochs(table, "D-GEX-64x1", "GTEx-te")
    np.testing.assert_array_equal(labelled(figure)["10%"].get_ydata(), table["10%"])
    texts(figure)
