"""Adjusted R² and weight hubs of a workspace, recomputed with scikit-learn and NumPy."""

from __future__ import annotations

import dataclasses
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from dgex_jax.config import NetworkConfig
from dgex_jax.errors import FormatError
from dgex_jax.train.pylearn2 import initial_weights
from dgex_jax.train.record import save_weights
from reproduce.analyses import (
    HIDDEN,
    LANDMARKS,
    UNTRAINED,
    nonlinearity,
    write_adjusted_r2,
    write_figure_s2,
    write_figure_s3,
    write_weight_hubs,
)
from reproduce.tables import best_of
from reproduce.workspace import at_rates
from tests.reproduce.conftest import rewrite_done


def adjusted(X, Y) -> np.ndarray:
    n, p = X.shape
    predicted = LinearRegression().fit(X, Y).predict(X)
    return 1 - (1 - r2_score(Y, predicted, multioutput="raw_values")) * (n - 1) / (n - p - 1)


@pytest.fixture(scope="module")
def train(made) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with h5py.File(made.space.prepared) as file:
        rows = file["compendium/split/train"][:]
        X, Y = (file[f"compendium/{kind}"][:][rows].astype(np.float64) for kind in "XY")
        return X, Y, file["target_info/half"][:]


def test_adjusted_r2_of_the_best_network(made, train) -> None:
    X, Y, half = train
    networks = at_rates(made.space.study)
    means = [
        pd.read_csv(made.space.run(one) / "errors.tsv", sep="\t")["MAE_va"].mean()
        for one in networks
    ]
    best = networks[int(np.argmin(means))]
    assert best_of(made.space, networks, "va") == best
    table = pd.read_csv(made.space.tables / "adjusted_r2.csv")
    np.testing.assert_array_equal(table["half"], half)
    np.testing.assert_allclose(table[LANDMARKS], adjusted(X, Y), rtol=0, atol=1e-5)
    tensors = load_file(made.space.run(best) / "best_va.safetensors")
    for number in (1, 2):
        hidden = X
        for layer in range(best.hidden_layers):
            W, b = (tensors[f"half{number}/{kind}{layer}"].astype(float) for kind in "Wb")
            hidden = np.tanh(hidden @ W + b)
        ours = table.loc[table["half"] == number, HIDDEN]
        np.testing.assert_allclose(ours, adjusted(hidden, Y[:, half == number]), atol=1e-4)
    share = (table[HIDDEN] > table[LANDMARKS]).mean()
    text = (made.space.tables / "adjusted_r2.md").read_text(encoding="utf-8")
    assert f"larger adjusted R² on the last hidden layer | {share:.2%} |" in text
    assert "(simulated data)" in text
    assert f"| {best.name} |" in text
    assert "99.99% (preprint, section 3.3" in text


def test_the_control_has_untrained_weights(made, train) -> None:
    X, Y, _ = train
    best = best_of(made.space, at_rates(made.space.study), "va")
    seed = made.space.study.training.seed
    start = initial_weights(seed, X.shape[1], 1, best.hidden_layers, best.units)
    hidden = X
    for layer in range(1, best.hidden_layers + 1):
        weights = start[f"hidden{layer}"]
        hidden = np.tanh(hidden @ weights["kernel"].astype(float) + weights["bias"])
    table = pd.read_csv(made.space.tables / "adjusted_r2.csv")
    np.testing.assert_allclose(table[UNTRAINED], adjusted(hidden, Y), atol=1e-4)
    assert (table[UNTRAINED] - table[HIDDEN]).abs().max() > 1e-3
    share = (table[UNTRAINED] > table[LANDMARKS]).mean()
    text = (made.space.tables / "adjusted_r2.md").read_text(encoding="utf-8")
    assert f"control: the same with initial, untrained weights | {share:.2%} |" in text


@pytest.fixture
def copied(made, tmp_path):
    """A workspace with a copy of the results, to be written to."""
    results = tmp_path / "results"
    shutil.copytree(made.space.results, results)
    return dataclasses.replace(
        made.space, results=results, tables=tmp_path / "tables", figures=tmp_path / "figures"
    )


def test_computed_once_and_again_when_the_network_changed(copied) -> None:
    path = copied.analyses / "adjusted_r2" / "by_target.tsv"
    before = path.stat().st_mtime_ns
    first = nonlinearity(copied)
    assert path.stat().st_mtime_ns == before
    rewrite_done(copied.run(first.network) / "done.json", config_hash="another")
    again = nonlinearity(copied)
    assert path.stat().st_mtime_ns > before
    pd.testing.assert_frame_equal(first.by_target, again.by_target)
    path.write_text("nothing\n")
    with pytest.raises(FormatError, match=r"by_target\.tsv: is no table of adjusted R²"):
        nonlinearity(copied)


def test_too_few_profiles_leave_an_empty_cell_with_the_reason(copied, monkeypatch) -> None:
    """As many landmarks as profiles; the hidden layer is narrower and has its numbers."""
    from reproduce import analyses as module

    genuine = module.load_arrays

    def few(study, n_halves):
        arrays = genuine(study, n_halves)
        kept = {"X": dict(arrays.X), "Y": dict(arrays.Y)}
        for values in kept.values():
            values["tr"] = values["tr"][: arrays.n_landmarks]
        return dataclasses.replace(arrays, **kept)

    monkeypatch.setattr(module, "load_arrays", few)
    shutil.rmtree(copied.analyses)
    text = write_adjusted_r2(copied)
    n = nonlinearity(copied).sizes["profiles"]
    reason = f"{n} profiles leave no degrees of freedom for {n} features (rank {n - 1})"
    assert f"larger adjusted R² on the last hidden layer | (empty: {reason}) |" in text
    table = pd.read_csv(copied.tables / "adjusted_r2.csv")
    assert table[LANDMARKS].isna().all()
    assert table[HIDDEN].notna().all()
    copied.figures.mkdir()
    (copied.figures / "figureS2.png").write_bytes(b"older")
    assert write_figure_s2(copied) == f"figureS2: not drawn: {reason}"
    assert not list(copied.figures.iterdir())


def test_nothing_kept_is_said_and_not_drawn(made, copied) -> None:
    """Of 6 weights none lies 4 standard deviations away."""
    text = (made.space.tables / "weight_hubs.md").read_text(encoding="utf-8")
    assert "| output weights kept | 0 of 90 |" in text
    assert "No output weight lies more than 5 standard deviations from its mean" in text
    assert "nan" not in text
    assert pd.read_csv(made.space.tables / "weight_hubs.csv").empty
    assert not (made.space.figures / "figureS3.png").exists()
    assert "figureS3: not drawn: no weight of D-GEX-10%-6x1" in made.shown
    copied.figures.mkdir()
    (copied.figures / "figureS3.csv").write_bytes(b"older")
    assert write_figure_s3(copied).startswith("figureS3: not drawn")
    assert not list(copied.figures.iterdir())


def test_planted_hubs_are_found_with_their_genes(copied) -> None:
    """Two hidden units carry all large weights: one positive, one negative."""
    grid = dataclasses.replace(copied.study.grid, units=(60,))
    space = dataclasses.replace(copied, study=dataclasses.replace(copied.study, grid=grid))
    with h5py.File(space.prepared) as file:
        landmarks = file["landmark_info/symbol"].asstr()[:]
        targets = file["target_info/symbol"].asstr()[:][file["target_info/half"][:] == 1]
    stream = np.random.default_rng(5)
    W_in = stream.normal(0, 1e-3, (len(landmarks), 60)).astype(np.float32)
    W_out = stream.normal(0, 1e-3, (60, len(targets))).astype(np.float32)
    W_in[3, 7] = 1.0
    W_out[7, :10] = np.linspace(1, 2, 10)
    W_out[41, 10:13] = -1.0
    params = {
        "hidden1": {"kernel": W_in, "bias": np.zeros(60, np.float32)},
        "output": {"kernel": W_out, "bias": np.zeros(len(targets), np.float32)},
    }
    folder = space.run(NetworkConfig(1, 60, 0.1))
    folder.mkdir(parents=True)
    save_weights(folder / "best_va.safetensors", [params, params], {})
    text = write_weight_hubs(space)
    hubs = pd.read_csv(space.tables / "weight_hubs.csv")
    assert list(hubs["unit"]) == [7, 41]
    assert list(hubs["output_connections"]) == [10, 3]
    assert list(hubs["share_positive"]) == [1.0, 0.0]
    assert hubs["target_genes"][0].split(";") == list(targets[:10][::-1])
    assert sorted(hubs["target_genes"][1].split(";")) == sorted(targets[10:13])
    assert hubs["landmark_genes"][0] == landmarks[3]
    assert "| output weights kept | 13 of 900 |" in text
    assert "| output connections held by the hubs (2) | 100.0% |" in text
    assert "| hubs with output connections of one sign | 100.0% |" in text
    assert f"| hidden units without any | {58 / 60:.1%} |" in text
    assert "| 0 | 59 | 58 |" in text
    assert "and 2 more" in text
    assert write_figure_s3(space).endswith("figureS3.png (.pdf, .csv)")
    drawn = pd.read_csv(space.figures / "figureS3.csv")
    assert len(drawn) == 14
    assert set(drawn["data"]) == {"simulated"}
    for row in drawn[drawn["layer"] == "output"].itertuples():
        assert row.gene == targets[row.to]
        assert row.weight == pytest.approx(W_out[row._2, row.to], rel=1e-4)
