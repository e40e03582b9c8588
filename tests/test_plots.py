"""Pictures show what they are given: each point, share and number, and nothing changes outside."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dgex_jax import plots
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.plots.style import BEYOND, LOOKS, looks_of
from dgex_jax.weight_hubs import find_hubs

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    Draw = Callable[..., Axes]

RNG = np.random.default_rng(4)
N = 200
OURS = RNG.gamma(20, 0.02, N)
OTHER = np.where(np.arange(N) < 7, OURS, OURS * RNG.normal(1.1, 0.1, N))
TRUTH = RNG.normal(size=(50, 40))
PREDICTED = TRUTH + RNG.normal(0, 0.5, TRUTH.shape)
LOWER, UPPER = PREDICTED - 0.8, PREDICTED + 0.8
EPOCHS = np.arange(12)
LOG = pd.DataFrame(
    {"epoch": EPOCHS, "MAE_va": 0.4 + 0.01 * (EPOCHS - 5) ** 2, "MAE_te": 0.9 - 0.01 * EPOCHS}
)
CURVE = pd.DataFrame(
    [(n, method, 1 / np.log(n)) for method in ("mine", "LR") for n in (400, 100, 200)],
    columns=["n_train", "method", "error"],
)
W_IN, W_OUT = RNG.normal(0, 0.1, (30, 40)), RNG.normal(0, 0.1, (40, 60))
W_IN[:10, 3], W_OUT[3, :20] = 4, -4

DRAWN: dict[str, Draw] = {
    "errors_by_gene": lambda **more: plots.errors_by_gene({"D-GEX": OURS, "mine": OTHER}, **more),
    "genewise": lambda **more: plots.genewise(OURS, OTHER, copies=OURS > 0.5, **more),
    "training_curves": lambda **more: plots.training_curves(LOG, **more),
    "learning_curve": lambda **more: plots.learning_curve(CURVE, **more),
    "calibration": lambda **more: plots.calibration([0.5, 0.9], {"LR": [0.4, 0.95]}, **more),
    "coverage_by_gene": lambda **more: plots.coverage_by_gene(LOWER, UPPER, TRUTH, 0.9, **more),
    "against_truth": lambda **more: plots.against_truth(
        PREDICTED[:, 0], TRUTH[:, 0], LOWER[:, 0], UPPER[:, 0], **more
    ),
    "heat_map": lambda **more: plots.heat_map(PREDICTED, groups=np.arange(50) % 3, **more),
    "hubs": lambda **more: plots.hubs(W_IN, W_OUT, **more),
}


def written(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def lines(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label → x and y, of all lines with a label."""
    handles, labels = axes.get_legend_handles_labels()
    own = [one[0] if isinstance(one, tuple) else one for one in handles]
    return {
        label: (np.asarray(one.get_xdata()), np.asarray(one.get_ydata()))
        for label, one in zip(labels, own, strict=True)
        if hasattr(one, "get_xdata")
    }


def test_the_page_shows_every_function() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "plots.md"
    shown = re.findall(r"autofunction:: dgex_jax\.plots\.(\w+)", page.read_text(encoding="utf-8"))
    assert set(shown) == set(DRAWN) == set(plots.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_the_axes_given_are_returned_and_a_new_figure_is_nobodys(name: str) -> None:
    before = dict(mpl.rcParams)
    given = Figure().subplots()
    assert DRAWN[name](ax=given) is given
    new = DRAWN[name]()
    assert new is not given
    assert new.figure.axes[0] is new
    assert plt.get_fignums() == []
    assert new._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert dict(mpl.rcParams) == before


def test_every_gene_is_a_point_and_shares_are_numpys() -> None:
    axes = plots.genewise(OURS, OTHER, names=("mine", "LR"), copies=np.arange(N) < 20)
    points = np.concatenate([np.asarray(one.get_offsets()) for one in axes.collections])
    assert sorted(map(tuple, points)) == sorted(zip(OTHER, OURS, strict=True))
    for name, count in (
        ("mine better:", (OURS < OTHER).sum()),
        ("LR better:", (OURS > OTHER).sum()),
        ("equal:", 7),
    ):
        assert f"{name} {100 * count / N:.2f} % ({count} genes)" in written(axes).replace("\n", " ")


def test_each_method_has_a_curve_of_area_one() -> None:
    curves = lines(plots.errors_by_gene({"D-GEX": OURS, "mine": OTHER[:50]}))
    assert list(curves) == ["D-GEX", "mine"]
    for x, y in curves.values():
        assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("parts", [None, ["te"], {"te": "GTEx-te", "va": "GEO-va"}])
def test_training_curves_are_the_logs_and_ring_the_best_epoch_of_validation(
    parts, tmp_path
) -> None:
    LOG.to_csv(tmp_path / "log.tsv", sep="\t", index=False)
    axes = plots.training_curves(tmp_path, parts)
    drawn, wanted = lines(axes), list(parts or ["va", "te"])
    for label, part in zip(drawn, wanted, strict=True):
        np.testing.assert_allclose(drawn[label][1], LOG[f"MAE_{part}"])
    rings = next(line for line in axes.lines if line.get_linestyle() == "None")
    assert set(rings.get_xdata()) == {5}
    np.testing.assert_allclose(rings.get_ydata(), [LOG[f"MAE_{part}"][5] for part in wanted])
    assert any("va: 5" in text for text in axes.get_legend_handles_labels()[1])


def test_learning_curves_are_sorted_and_write_no_two_sizes_on_each_other() -> None:
    table = pd.concat([CURVE, pd.DataFrame({"n_train": [390], "method": "LR", "error": 0.2})])
    axes = plots.learning_curve(table.assign(sd=0.1))
    for method, (x, y) in lines(axes).items():
        rows = table[table["method"] == method].sort_values("n_train")
        np.testing.assert_array_equal(np.stack([x, y]), rows[["n_train", "error"]].to_numpy().T)
    assert [one.get_text() for one in axes.get_xticklabels()] == ["100", "200", "400"]


def test_calibration_has_a_point_a_level() -> None:
    reached = {"LR": [0.45, 0.99, 0.7], "mine": np.array([0.3, 0.8, 0.6])}
    drawn = lines(plots.calibration([0.5, 0.95, 0.8], reached))
    np.testing.assert_array_equal(drawn["LR"], [[0.5, 0.8, 0.95], [0.45, 0.7, 0.99]])
    np.testing.assert_array_equal(drawn["mine"][1], [0.3, 0.6, 0.8])


def test_coverage_counts_every_gene_once_bounds_inside() -> None:
    axes = plots.coverage_by_gene(
        TRUTH, TRUTH + (RNG.random(TRUTH.shape) - 0.3).clip(0), TRUTH, 0.5
    )
    assert "mean: 100.0 %" in axes.get_legend_handles_labels()[1]
    axes = DRAWN["coverage_by_gene"]()
    share = ((LOWER <= TRUTH) & (TRUTH <= UPPER)).mean(axis=0)
    for bar in axes.patches:
        inside = (bar.get_x() < share) & (share < bar.get_x() + bar.get_width())
        assert bar.get_height() == inside.sum()
    assert sum(bar.get_height() for bar in axes.patches) == share.size
    assert f"mean: {100 * share.mean():.1f} %" in axes.get_legend_handles_labels()[1]


def test_against_truth_writes_numpys_r_and_mae_and_draws_the_bounds() -> None:
    x, y = TRUTH[:, 1], PREDICTED[:, 1]
    axes = plots.against_truth(y, x, LOWER[:, 1], UPPER[:, 1], gene="TP53")
    text = written(axes)
    assert f"r = {np.corrcoef(x, y)[0, 1]:.3f}" in text
    assert f"MAE = {np.abs(x - y).mean():.3f}" in text
    bars = next(one for one in axes.collections if isinstance(one, LineCollection))
    np.testing.assert_allclose(
        np.array(bars.get_segments())[:, :, 1], np.stack([LOWER[:, 1], UPPER[:, 1]], axis=1)
    )
    assert "no r" in written(plots.against_truth(np.ones(5), x[:5]))


def test_the_heat_map_has_the_most_variable_genes_and_each_group_beside_its_profile() -> None:
    scale = RNG.permutation(np.linspace(0.1, 3, 40))
    table = pd.DataFrame(
        RNG.normal(size=(12, 40)) * scale,
        index=[f"p{n}" for n in range(12)],
        columns=[f"g{g}" for g in range(40)],
    )
    groups = pd.Series(["b", "a", "c"] * 4, index=table.index)
    axes = plots.heat_map(table, n_genes=10, groups=groups)
    genes = [one.get_text() for one in axes.get_xticklabels()]
    profiles = [one.get_text() for one in axes.get_yticklabels()]
    assert set(genes) == set(table.var().nlargest(10).index)
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(np.asarray(shown), table.loc[profiles, genes])
    assert axes.images[0].norm.vmin == -axes.images[0].norm.vmax
    strip = axes.child_axes[0].images[0]
    codes = np.asarray(strip.get_array())[:, 0]
    assert ["abc"[code] for code in codes] == list(groups[profiles])


def test_hubs_are_those_found() -> None:
    found = find_hubs(W_IN, W_OUT, at_least=1)
    axes = plots.hubs(W_IN, W_OUT, found)
    assert [hub.unit for hub in found.hubs] == [3]
    assert f"3 ({found.hubs[0].out_degree})" in written(axes)
    assert f"60\ntarget genes,\n{found.kept_out.any(axis=0).sum()} of them" in written(axes)


def test_looks_of_one_picture_all_differ_and_known_methods_keep_theirs() -> None:
    names = ["D-GEX-10%-9000x3", "D-GEX", "stack", "kernel-ridge", "mine", *map(str, range(20))]
    looks = looks_of(names)
    assert list(looks) == names
    assert len(set(looks.values())) == len(names)
    assert looks["D-GEX-10%-9000x3"] == LOOKS["D-GEX"]
    assert (looks["stack"], looks["kernel-ridge"]) == (BEYOND["stack"], LOOKS["LR"])
    assert looks_of(["kernel-ridge", "LR"])["LR"] == LOOKS["LR"]
    with pytest.raises(DgexError, match="at most"):
        looks_of(map(str, range(65)))


NAN = np.where(np.arange(N) == 3, np.nan, OURS)
INDEXED = pd.Series(OURS), pd.Series(OTHER, index=np.arange(N)[::-1])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda ax: plots.genewise(OURS, OTHER[1:], ax=ax), "200 numbers"),
        (lambda ax: plots.genewise(OURS, NAN, ax=ax), r"first nan at gene 3"),
        (lambda ax: plots.genewise(*INDEXED, ax=ax), "another order"),
        (lambda ax: plots.genewise(OURS, OTHER, copies=[1] * N, ax=ax), "200 booleans"),
        (lambda ax: plots.errors_by_gene({"mine": NAN}, ax=ax), "not finite"),
        (lambda ax: plots.errors_by_gene({"mine": -OURS}, ax=ax), "not negative"),
        (lambda ax: plots.errors_by_gene({}, ax=ax), "no method"),
        (lambda ax: plots.errors_by_gene({"mine": [0.5]}, ax=ax), "two genes"),
        (lambda ax: plots.errors_by_gene({"mine": [0.5, 0.5]}, ax=ax), "two genes"),
        (lambda ax: plots.errors_by_gene({"MAE": OURS}, ax=ax), "called MAE"),
        (lambda ax: plots.training_curves(LOG.head(0), ax=ax), "numbers"),
        (lambda ax: plots.training_curves(LOG, ["tr"], ax=ax), "no part tr; its parts: va, te"),
        (lambda ax: plots.training_curves(LOG, chosen_on="1000G", ax=ax), "no part 1000G"),
        (lambda ax: plots.training_curves(LOG, {"va": "A", "te": "A"}, ax=ax), "one label"),
        (lambda ax: plots.training_curves(LOG.assign(MAE_te=np.inf), ax=ax), "not finite"),
        (lambda ax: plots.learning_curve(CURVE.drop(columns="error"), ax=ax), "no column error"),
        (lambda ax: plots.learning_curve(pd.concat([CURVE, CURVE]), ax=ax), "once"),
        (lambda ax: plots.learning_curve(CURVE.assign(n_train=0), ax=ax), "above 0"),
        (lambda ax: plots.calibration([0.5], {"LR": [0.5, 0.6]}, ax=ax), "LR must be 1 number"),
        (lambda ax: plots.calibration([50], {"LR": [49]}, ax=ax), "from 0 to 1"),
        (lambda ax: plots.coverage_by_gene(LOWER, UPPER[1:], TRUTH, 0.9, ax=ax), "50 profiles"),
        (lambda ax: plots.coverage_by_gene(UPPER, LOWER, TRUTH, 0.9, ax=ax), "above its upper"),
        (lambda ax: plots.coverage_by_gene(LOWER, UPPER, TRUTH, 90, ax=ax), "between 0 and 1"),
        (lambda ax: plots.against_truth(OURS, OTHER, OURS, ax=ax), "both bounds"),
        (lambda ax: plots.against_truth(OURS, OTHER, OURS + 1, OURS + 2, ax=ax), "outside"),
        (lambda ax: plots.heat_map(np.full((2, 2), np.inf), ax=ax), "not finite"),
        (lambda ax: plots.heat_map(TRUTH, groups=["a"], ax=ax), "50 names"),
        (lambda ax: plots.heat_map(TRUTH, groups=np.arange(50), ax=ax), "8 at most"),
        (lambda ax: plots.heat_map(TRUTH, n_genes=0, ax=ax), "at least one gene"),
        (
            lambda ax: plots.heat_map(
                pd.DataFrame(TRUTH), groups=pd.Series("a", np.arange(50)[::-1]), ax=ax
            ),
            "other profiles",
        ),
        (lambda ax: plots.hubs(W_IN, W_OUT.T, ax=ax), "hidden units"),
        (lambda ax: plots.hubs(W_IN[1:], W_OUT, find_hubs(W_IN, W_OUT), ax=ax), "shapes"),
        (lambda ax: plots.hubs(np.ones((3, 4)), np.ones((4, 3)), ax=ax), "no weight was kept"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_drawn(draw: Draw, message: str) -> None:
    axes = Figure().subplots()
    with pytest.raises(DgexError, match=message) as caught:
        draw(axes)
    assert "\n" not in str(caught.value)
    assert not axes.has_data()
    assert not axes.texts


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"log\.tsv: is no log of a run"):
        plots.training_curves(tmp_path)


def test_without_matplotlib_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("dgex_jax.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delattr("dgex_jax.plots")
    with pytest.raises(DgexError, match=r'pip install "dgex-jax\[plots\]"'):
        importlib.import_module("dgex_jax.plots")
