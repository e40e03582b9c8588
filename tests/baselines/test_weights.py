"""Published weights predict what NumPy's least squares predicts; other files are refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dgex_jax.baselines.weights import read_weights, standardised_prediction
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gctx
from dgex_jax.prepare.normalize import OFFSET

LANDMARKS = tuple(str(100 + n) for n in range(9))
TARGETS = tuple(str(2000 + n) for n in range(25))


def save(path, values, columns, rows):
    write_gctx(path, Expression(path, np.asarray(values), tuple(columns), tuple(rows)))
    return path


@pytest.fixture
def fit(tmp_path):
    """Raw log2 values, what ``lstsq`` makes of them, and a function that writes it as a file."""
    rng = np.random.default_rng(5)
    X = rng.normal(8.0, 2.0, (60, len(LANDMARKS)))
    Y = X @ rng.normal(size=(9, 25)) / 3 + rng.normal(6.0, 1.0, (60, 25))
    design = np.column_stack([np.ones(len(X)), X])
    weights = np.linalg.lstsq(design, Y, rcond=None)[0]

    def write(name="OFFSET", at=0, *, turned=False, values=weights):
        ids = [*LANDMARKS[:at], name, *LANDMARKS[at:]]
        moved = np.insert(values[1:], at, values[0], axis=0)
        axes = (TARGETS, ids) if turned else (ids, TARGETS)
        return save(tmp_path / "weights.gctx", moved.T if turned else moved, *axes)

    return SimpleNamespace(X=X, Y=Y, weights=weights, predicted=design @ weights, write=write)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("name", "at", "listed"),
    [("OFFSET", 0, False), ("(Intercept)", 9, False), ("0", 4, False), ("1", 4, True)],
)
def test_weights_of_least_squares_predict_as_it_does(fit, name, at, turned, listed) -> None:
    known = {*LANDMARKS, "99"} if listed else None
    read = read_weights(fit.write(name, at, turned=turned), known)
    assert (read.landmarks, read.targets, read.intercept_id) == (LANDMARKS, TARGETS, name)
    assert read.coefficients.dtype == read.intercept.dtype == np.float64
    np.testing.assert_array_equal(read.coefficients, fit.weights[1:])
    np.testing.assert_array_equal(read.intercept, fit.weights[0])
    # In the order of a study, which has other genes as well and not all of these.
    rng = np.random.default_rng(1)
    order, chosen = rng.permutation(9), rng.permutation(25)[:20]
    landmarks = [*(LANDMARKS[place] for place in order), "77", "", ""]
    targets = ["", *(TARGETS[place] for place in chosen), "88"]
    X = np.column_stack([fit.X[:, order], rng.normal(size=(60, 3))])
    weights = read.aligned(landmarks, targets)
    assert weights.known.tolist() == [False, *[True] * 20, False]
    assert weights.held == ()
    # Standardised by whatever a study standardises by: what is at the means is inferred as 0.
    (mean, x_sd), y_sd = (rng.normal(size=12), rng.gamma(2.0, size=12)), rng.gamma(2.0, size=22)
    standardised = (X - mean) / (x_sd + OFFSET)
    at_the_means = np.append(1, mean[:9]) @ fit.weights[[0, *(1 + order)]]
    wanted = (fit.predicted - at_the_means)[:, chosen] / (y_sd[1:-1] + OFFSET)
    found = standardised_prediction(weights, standardised, x_sd, y_sd)
    np.testing.assert_allclose(found[:, 1:-1], wanted, rtol=1e-9, atol=1e-9)
    assert np.isnan(found[:, [0, -1]]).all()
    narrow = standardised_prediction(weights, standardised.astype(np.float32), x_sd, y_sd)
    assert narrow.dtype == np.float64
    np.testing.assert_allclose(narrow, found, rtol=0, atol=1e-3)


@pytest.mark.parametrize("absent", [(), (1, 4)])
def test_standardised_by_its_training_it_is_the_regression_itself(fit, absent) -> None:
    """With the intercept and all; a landmark that a study lacks is held at its mean."""
    there = [place for place in range(9) if place not in absent]
    weights = read_weights(fit.write()).aligned([LANDMARKS[place] for place in there], TARGETS)
    assert weights.held == tuple(LANDMARKS[place] for place in absent)
    # Profiles of another platform, by means and deviations of the training profiles.
    other = 0.7 * fit.X[::-1] + 3
    held = other.copy()
    held[:, absent] = fit.X.mean(axis=0)[[*absent]]
    predicted = np.column_stack([np.ones(len(held)), held]) @ fit.weights
    wanted = (predicted - fit.Y.mean(axis=0)) / (fit.Y.std(axis=0) + OFFSET)
    standardised = (other - fit.X.mean(axis=0)) / (fit.X.std(axis=0) + OFFSET)
    deviations = fit.X.std(axis=0)[there], fit.Y.std(axis=0)
    found = standardised_prediction(weights, standardised[:, there], *deviations)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("landmarks", "targets", "match"),
    [
        ([*LANDMARKS, "103"], TARGETS, "has landmarks twice: 103"),
        (LANDMARKS, ["5", ""], "has no weights for any target"),
        (["5", "6"], TARGETS, "has none of the 9 landmarks of these weights"),
    ],
)
def test_studies_that_these_weights_are_not_for(fit, landmarks, targets, match) -> None:
    with pytest.raises(DgexError, match=match):
        read_weights(fit.write()).aligned(landmarks, targets)


def test_files_that_could_be_misread_are_refused(fit, tmp_path) -> None:
    def refused(path, match, known=None) -> None:
        with pytest.raises(DgexError, match=match) as error:
            read_weights(path, known)
        assert str(path) in str(error.value)

    none = r"can't be told: 0 of its 10 columns and 0 of its 25 rows are no Entrez id"
    refused(fit.write("1"), none)
    two = r"2 of its 10 columns \(101, OFFSET\) and 25 of its 25 rows .* are no landmark"
    refused(fit.write(at=4), two, [name for name in LANDMARKS if name != "101"])
    odd = [*TARGETS[:-1], "TP53"]
    ids = ["OFFSET", *LANDMARKS]
    refused(save(tmp_path / "both.gctx", fit.weights, ids, odd), "1 of its 25 rows .TP53.")
    path = save(tmp_path / "symbols.gctx", fit.weights, ids, odd)
    refused(path, "targets that are no Entrez ids: TP53", LANDMARKS)
    holes = fit.weights.copy()
    holes[3, 7] = np.nan
    refused(fit.write(values=holes), "1 missing .* profile '102', gene '2007'")
