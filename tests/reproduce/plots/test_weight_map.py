"""Figure S3: each kept weight a line of its sign's colour between its two nodes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba

from dgex_jax.errors import DgexError
from dgex_jax.plots.weight_map import (
    HUB_WIDTH,
    HUBS_AT_MOST,
    NEGATIVE,
    POSITIVE,
    centre_out,
    degrees,
    lay_out,
    line_look,
)
from reproduce.plots.panels import draw_weight_map
from tests.reproduce.plots.conftest import connections

SIZES = (12, 20, 30)


def drawn_connections(figure):
    """Every connection as (x start, x end, is positive); those of the input layer first."""
    lines = []
    for group in figure.axes[0].collections:
        if not isinstance(group, LineCollection):
            continue
        colours = group.get_colors()
        segments = group.get_segments()
        if len(segments) == 0 or abs(np.diff(segments[0][:, 1])[0]) < 0.5:
            continue
        positive = [tuple(c[:3]) == to_rgba(POSITIVE)[:3] for c in colours]
        negative = [tuple(c[:3]) == to_rgba(NEGATIVE)[:3] for c in colours]
        assert all(p != n for p, n in zip(positive, negative, strict=True))
        lines.append(sorted((s[0, 0], s[1, 0], p) for s, p in zip(segments, positive, strict=True)))
        assert group.get_rasterized()
    return lines


def expected(part, start, end):
    return sorted(
        (start[row["from"]], end[row["to"]], row["weight"] > 0) for _, row in part.iterrows()
    )


def test_each_weight_is_a_line_between_its_nodes_in_its_colour(texts):
    table, hubs = connections(), [1, 2, 3]
    layout = lay_out(table, *SIZES, hubs)
    figure = draw_weight_map(table, *SIZES, hubs)
    into, out = table[table["layer"] == "input"], table[table["layer"] == "output"]
    first, second = drawn_connections(figure)
    assert first == expected(into, layout.landmarks, layout.hidden)
    assert second == expected(out, layout.hidden, layout.targets)
    n_out = degrees(out["from"], 20)
    words = {text.get_text() for text in texts(figure)}
    assert {f"{unit} ({n_out[unit]})" for unit in hubs} <= words
    for name, size, used in (
        ("landmark genes", 12, into["from"]),
        ("hidden units", 20, [*into["to"], *out["from"]]),
        ("target genes", 30, out["to"]),
    ):
        assert f"{size}\n{name},\n{len(set(used))} of them\nconnected" in words


@pytest.mark.parametrize("layer", ["input", "output"])
def test_one_layer_alone_is_drawn(layer):
    table = connections()
    table = table[table["layer"] == layer]
    figure = draw_weight_map(table, *SIZES, hubs=[1, 2])
    assert [len(lines) for lines in drawn_connections(figure)] == [len(table)]


def test_nothing_kept_or_something_impossible_is_an_error():
    table = connections()
    with pytest.raises(ValueError, match="no weight was kept"):
        draw_weight_map(table.head(0), *SIZES, hubs=[])
    with pytest.raises(DgexError, match="neither input nor output"):
        draw_weight_map(table.assign(layer="hidden"), *SIZES, hubs=[])
    for kind, numbers in (
        ("landmark genes", (8, 20, 30)),
        ("hidden units", (12, 5, 30)),
        ("target genes", (12, 20, 3)),
    ):
        with pytest.raises(DgexError, match=f"{kind} must be numbered"):
            draw_weight_map(table, *numbers, hubs=[])
    with pytest.raises(DgexError, match="hubs must be numbered from 0 to 19"):
        draw_weight_map(table, *SIZES, hubs=[20])


def test_hubs_stand_in_the_middle_and_only_connected_ones_count():
    table = connections()
    n_out = degrees(table[table["layer"] == "output"]["from"], 20)
    lone = int(np.flatnonzero(n_out == 0)[0])
    layout = lay_out(table, *SIZES, [3, 1, lone])
    assert layout.hubs == tuple(sorted([1, 3], key=lambda unit: -n_out[unit]))
    distance = np.abs(layout.hidden - 0.5)
    others = np.delete(distance, [1, 3])
    assert max(distance[1], distance[3]) < others.min()


def test_nodes_of_a_row_all_have_places_of_their_own():
    layout = lay_out(connections(), *SIZES, [1, 2])
    for places in (layout.landmarks, layout.hidden, layout.targets):
        assert len(np.unique(places)) == places.size
        assert 0 < places.min() < places.max() < 1


def test_genes_stand_in_the_order_of_their_hidden_units():
    table = pd.DataFrame(
        {
            "layer": "output",
            "from": [0, 1, 2, 0, 2],
            "to": [4, 2, 0, 1, 1],
            "weight": 1.0,
        }
    )
    layout = lay_out(table, 3, 3, 6, hubs=[])
    units = {0: [2], 2: [1], 4: [0], 1: [0, 2]}
    means = {gene: np.mean(layout.hidden[near]) for gene, near in units.items()}
    order = sorted(means, key=lambda gene: layout.targets[gene])
    assert [means[gene] for gene in order] == sorted(means.values())
    lone = layout.targets[[3, 5]]
    assert lone.min() == layout.targets.min()
    assert lone.max() == layout.targets.max()


def test_more_hubs_than_fit_are_labelled_by_degree(texts):
    n = 60
    table = pd.DataFrame(
        {
            "layer": "output",
            "from": np.repeat(np.arange(n), np.arange(n) + 1),
            "to": np.concatenate([np.arange(k + 1) for k in range(n)]),
            "weight": -1.0,
        }
    )
    layout = lay_out(table, 5, 100, n, range(n))
    n_fit = int(HUBS_AT_MOST / HUB_WIDTH)
    assert layout.hubs == tuple(range(n - 1, n - 1 - n_fit, -1))
    seen = {text.get_text() for text in texts(draw_weight_map(table, 5, 100, n, range(n)))}
    assert f"{n_fit} of {n} hub units: number (connections to targets)" in seen


def test_centre_out_and_fainter_lines():
    np.testing.assert_array_equal(centre_out(np.arange(5)), [3, 1, 0, 2, 4])
    looks = [line_look(n) for n in (1, 300, 3000, 30000, 10**7)]
    assert looks == sorted(looks, reverse=True)
    assert looks[0] == looks[1] == (0.8, 0.9)
    assert looks[-1] == (0.2, 0.05)
