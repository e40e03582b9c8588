"""What the figures draw is what was measured (how they look: tests/reproduce/plots)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import NetworkConfig
from reproduce.tables import best_of
from reproduce.workspace import at_rates

DRAWN = ["figure1", "figure2", "figure3", "figure4", "figure5", "figureS1", "figureS2"]


def numbers(made, name) -> pd.DataFrame:
    return pd.read_csv(made.space.figures / f"{name}.csv")


def errors(made, name) -> pd.DataFrame:
    folder = made.space.baselines
    path = made.space.run(name) / "errors.tsv" if name not in {"LR", "KNN-GE"} else None
    return pd.read_csv(path or folder / f"{name}.tsv", sep="\t")


def test_every_figure_is_there_in_three_forms(made) -> None:
    found = {path.name for path in made.space.figures.iterdir()}
    assert found == {f"{name}.{suffix}" for name in DRAWN for suffix in ("png", "pdf", "csv")}
    for name in DRAWN:
        assert (made.space.figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (made.space.figures / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert set(numbers(made, name)["data"]) == {"simulated"}


def test_figure1_is_table1(made) -> None:
    table = pd.read_csv(made.space.tables / "table1.csv")
    figure = numbers(made, "figure1")
    assert list(figure["method"]) == ["LR", "KNN-GE", *["D-GEX"] * 4]
    wanted = table[table["method"].isin(["LR", "KNN-GE", "D-GEX"])]
    for column in ("hidden_layers", "units", "dropout", "mean", "sd"):
        np.testing.assert_array_equal(figure[column], wanted[column])


@pytest.mark.parametrize(
    ("name", "part", "selected"), [("figure3", "te", "va"), ("figure4", "GTEx", "1000G")]
)
def test_gene_by_gene(made, name, part, selected) -> None:
    best = best_of(made.space, at_rates(made.space.study), selected)
    figure = numbers(made, name)
    assert len(figure) == 31
    assert figure["copy_of_landmark"].sum() == 3
    for column, source in (("LR", "LR"), ("KNN-GE", "KNN-GE"), (best.name, best)):
        np.testing.assert_allclose(figure[column], errors(made, source)[f"MAE_{part}"], rtol=1e-4)


def test_densities_are_those_of_the_errors(made) -> None:
    figure = numbers(made, "figure2")
    best = best_of(made.space, at_rates(made.space.study), "va")
    x = figure.iloc[:, 0].to_numpy()
    for column, source in (("LR", "LR"), ("KNN-GE", "KNN-GE"), (best.name, best)):
        density = figure[column].to_numpy()
        mean = errors(made, source)["MAE_te"].mean()
        assert np.trapezoid(density, x) == pytest.approx(1, abs=0.02)
        assert np.trapezoid(density * x, x) == pytest.approx(mean, rel=0.02)


def test_figure5_is_the_logs(made) -> None:
    figure = numbers(made, "figure5")
    for rate in (0.0, 0.1, 0.25):
        log = pd.read_csv(made.space.run(NetworkConfig(2, 9, rate)) / "log.tsv", sep="\t")
        np.testing.assert_allclose(figure[f"{rate:.0%}"], log["MAE_GTEx"], rtol=1e-4)
        np.testing.assert_array_equal(figure["epoch"], log["epoch"])
    lr = errors(made, "LR")["MAE_GTEx"].mean()
    np.testing.assert_allclose(figure["LR"], lr, rtol=1e-4)


def test_figure_s1_counts_the_weights_of_the_largest_network(made) -> None:
    figure = numbers(made, "figureS1")
    n_landmarks = 12
    assert list(figure["units"]) == [n_landmarks, 9, 9, 15, n_landmarks, 9, 9, 16]
    weights = figure["weights"].sum() + figure["biases"].sum()
    expected = sum(
        (n_landmarks + 1) * 9 + (9 + 1) * 9 + (9 + 1) * n_targets for n_targets in (15, 16)
    )
    assert weights == expected


def test_figure_s2_is_the_table(made) -> None:
    figure, table = numbers(made, "figureS2"), pd.read_csv(made.space.tables / "adjusted_r2.csv")
    np.testing.assert_array_equal(figure.iloc[:, 2], table["adjusted_r2_hidden"])
    np.testing.assert_array_equal(figure.iloc[:, 3], table["adjusted_r2_landmarks"])
