"""Summary statistics of simulated data beside those of real data (see docs/simulator.md).

Bands hold for the simulated study *and* for the real miniature, measured alike: 529 profiles, 200
landmarks and 1,000 targets, quantile normalised, standardised. No method is compared with another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.platforms import make_world
from dgex_jax.simulate.write import geo_block, sequenced

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GEO_BANDS = {
    "variance in 3 components": (0.22, 0.38),
    "variance in 10 components": (0.48, 0.62),
    "variance in 50 components": (0.72, 0.81),
    "variance within series": (0.38, 0.55),
    "median |correlation| of two genes": (0.11, 0.17),
    "95 % |correlation| of two genes": (0.34, 0.47),
    "best landmark's |correlation|, median": (0.48, 0.63),
    "a cubic's gain over a line, median": (0.018, 0.036),
    "a cubic's gain over a line, 95 %": (0.10, 0.19),
    "median skewness": (-0.4, -0.05),
    "ridge MAE": (0.41, 0.50),
}
RNASEQ_BANDS = {
    "lines": {
        "sd, median": (0.45, 0.65),
        "variance in 1 component": (0.16, 0.26),
        "variance in 5 components": (0.50, 0.60),
        "variance in 20 components": (0.72, 0.83),
    },
    "tissues": {
        "sd, median": (0.7, 1.0),
        "variance in 1 component": (0.09, 0.15),
        "variance in 5 components": (0.30, 0.40),
        "variance in 20 components": (0.58, 0.68),
    },
}


def normalise(probes: NDArray[np.floating]) -> NDArray[np.float64]:
    reference = np.sort(probes, axis=1).mean(axis=0, dtype=float)
    return reference[probes.argsort(axis=1).argsort(axis=1)]


def standardise(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)


def variance_in(values: NDArray[np.float64], *n_components: int) -> list[float]:
    scaled = standardise(values)
    share = np.linalg.eigvalsh(scaled @ scaled.T)[::-1]
    return [float(share[:n].sum() / share.sum()) for n in n_components]


def cubic_gain(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Share of a line's squared error that a cubic takes away."""
    powers = np.vander(x, 4, increasing=True)
    line, cubic = (
        np.square(y - powers[:, :n] @ np.linalg.lstsq(powers[:, :n], y)[0]).mean() for n in (2, 4)
    )
    return float((line - cubic) / line)


def ridge_mae(X: NDArray[np.float64], Y: NDArray[np.float64], penalty: float) -> float:
    """Held-out MAE of plain ridge regression: how much landmarks tell of targets."""
    order = np.random.default_rng(0).permutation(len(X))
    train, test = np.split(order, [int(0.8 * len(X))])
    gram = X[train] @ X[train].T + penalty * np.eye(len(train))
    fitted = X[test] @ X[train].T @ np.linalg.solve(gram, Y[train])
    return float(np.abs(fitted - Y[test]).mean())


def describe(
    X: NDArray[np.float64], Y: NDArray[np.float64], series: NDArray[np.integer]
) -> dict[str, float]:
    values = standardise(np.c_[X, Y])
    X, Y = values[:, : X.shape[1]], values[:, X.shape[1] :]
    within = values.copy()
    for one in np.unique(series):
        within[series == one] -= within[series == one].mean(axis=0)
    correlation = np.abs(np.corrcoef(values.T)[np.triu_indices(values.shape[1], 1)])
    with_landmarks = np.abs(X.T @ Y / len(X))
    gains = [
        cubic_gain(X[:, with_landmarks[:, k].argmax()], Y[:, k]) for k in range(0, Y.shape[1], 3)
    ]
    first, tenth, fiftieth = variance_in(values, 3, 10, 50)
    return {
        "variance in 3 components": first,
        "variance in 10 components": tenth,
        "variance in 50 components": fiftieth,
        "variance within series": float(within.var(axis=0).mean() / values.var(axis=0).mean()),
        "median |correlation| of two genes": float(np.median(correlation)),
        "95 % |correlation| of two genes": float(np.quantile(correlation, 0.95)),
        "best landmark's |correlation|, median": float(np.median(with_landmarks.max(axis=0))),
        "a cubic's gain over a line, median": float(np.median(gains)),
        "a cubic's gain over a line, 95 %": float(np.quantile(gains, 0.95)),
        "median skewness": float(np.median((values**3).mean(axis=0))),
        "ridge MAE": ridge_mae(X, Y, 100.0),
    }


def describe_rnaseq(values: NDArray[np.floating]) -> dict[str, float]:
    """Statistics of ``(n_samples, n_genes)`` RNA-seq values."""
    logs = np.log2(values.astype(float) + 0.1)
    first, fifth, twentieth = variance_in(logs, 1, 5, 20)
    return {
        "sd, median": float(np.median(logs.std(axis=0))),
        "variance in 1 component": first,
        "variance in 5 components": fifth,
        "variance in 20 components": twentieth,
    }


def outside(found: dict[str, float], bands: dict[str, tuple[float, float]]) -> dict[str, float]:
    assert found.keys() == bands.keys()
    return {key: found[key] for key, (low, high) in bands.items() if not low <= found[key] <= high}


@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_arrays_look_like_real_ones(seed: int) -> None:
    config = SimulationConfig(
        seed=seed,
        n_profiles=529,
        replicate_share=0.0,
        missing_landmarks=0,
        missing_targets=0,
        probes_per_target=15_744 / 9520,
        extra_probes=0,
    )
    world = make_world(config)
    probes = normalise(geo_block(world, np.arange(529)))
    X, Y = (
        np.column_stack([probes[:, own].mean(axis=1) for own in lines])
        for lines in (world.catalogue.landmark_probes, world.catalogue.target_probes)
    )
    assert not outside(describe(X, Y, world.deposits.series), GEO_BANDS)


@pytest.mark.long
def test_the_bands_are_those_of_real_arrays(shared: Path) -> None:
    with h5py.File(shared / "data/human_mini/geo_u133a_n529x22215.gctx") as file:
        probes = normalise(file["0/DATA/0/matrix"][:].astype(float))
        ids = [probe.decode().strip() for probe in file["0/META/ROW/id"][:]]
        series = np.unique(file["0/META/COL/series"][:], return_inverse=True)[1]
    place = {probe: position for position, probe in enumerate(ids)}
    rng = np.random.default_rng(1)
    chosen = []
    for name, n in (("map_lm.txt", 200), ("map_tg.txt", 1000)):
        lines = pd.read_csv(shared / "genes" / name, sep="\t", header=None)[2]
        own = [
            [place[probe] for probe in line.split(",") if probe in place]
            for line in lines.iloc[rng.choice(len(lines), n, replace=False)]
        ]
        chosen.append(np.column_stack([probes[:, line].mean(axis=1) for line in own]))
    assert not outside(describe(*chosen, series), GEO_BANDS)


def test_simulated_rnaseq_looks_like_real_rnaseq() -> None:
    world = make_world(SimulationConfig(n_gtex=148, n_1000g=69))
    for part, kind in (("1000G", "lines"), ("GTEx", "tissues")):
        found = describe_rnaseq(sequenced(world, part))
        assert not outside(found, RNASEQ_BANDS[kind]), part


def test_the_bands_are_those_of_real_rnaseq(shared: Path) -> None:
    folder = shared / "data/human_mini"
    lines = pd.read_csv(folder / "lcl_rnaseq_n69x17310.txt.gz", sep="\t").iloc[:, 4:]
    tumours = pd.read_csv(folder / "tcga_rnaseq_n148x9419.gct.gz", sep="\t", skiprows=2)
    found = {"lines": lines, "tissues": tumours.iloc[:, 2:]}
    for kind, table in found.items():
        assert not outside(describe_rnaseq(table.to_numpy(float).T), RNASEQ_BANDS[kind]), kind
