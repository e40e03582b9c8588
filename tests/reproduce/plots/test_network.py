"""Figure S1 shows the numbers of its table, which are those of the trained network."""

from __future__ import annotations

import pytest

from dgex_jax.train.network import n_parameters
from reproduce.plots.network import draw_network, network_table


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_table_counts_what_the_network_holds(depth):
    table = network_table(943, [300] * depth, [4760, 4761])
    assert list(table.columns) == ["half", "layer", "units", "weights", "biases"]
    for half, n_targets in ((1, 4760), (2, 4761)):
        rows = table[table["half"] == half]
        total = rows["weights"].sum() + rows["biases"].sum()
        assert total == n_parameters(943, n_targets, depth, 300)
        hidden = [f"hidden {number}" for number in range(1, depth + 1)]
        assert list(rows["layer"]) == ["input", *hidden, "output"]
        assert list(rows["units"]) == [943, *[300] * depth, n_targets]


def test_the_figure_names_every_number_of_the_table(texts):
    table = network_table(943, [3000, 600], [4760, 4761])
    figure = draw_network(table)
    words = "\n".join(text.get_text() for text in texts(figure))
    for row in table.itertuples():
        assert f"{row.units:,}" in words
        if row.weights:
            assert f"{row.weights:,} weights\n{row.biases:,} biases" in words
    for half, rows in table.groupby("half"):
        assert f"half {half} of the\ntarget genes" in words
        assert f"{rows['weights'].sum() + rows['biases'].sum():,}\nparameters" in words
    assert words.count("hidden layer 1") == words.count("600 units, tanh") == 2
    assert words.count("units, linear") == 2


def test_layers_are_densely_connected():
    (axes,) = draw_network(network_table(10, [5, 5], [7])).axes
    lines = {
        tuple(map(tuple, segment))
        for group in axes.collections
        if hasattr(group, "get_segments")
        for segment in group.get_segments()
    }
    circles = {
        tuple(centre)
        for group in axes.collections
        if not hasattr(group, "get_segments")
        for centre in group.get_offsets()
    }
    assert len(circles) == 4 * 4
    assert len(lines) == 3 * 4 * 4
    assert {end for line in lines for end in line} == circles


def test_one_network_for_all_targets_speaks_of_no_halves(texts):
    seen = texts(draw_network(network_table(200, [512], [1001])))
    assert any("all target genes" in text.get_text() for text in seen)
    assert not any("half" in text.get_text() for text in seen)
