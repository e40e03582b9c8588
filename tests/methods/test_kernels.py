"""Kernel ridge regression and the learnt kernel: plain oracles, brute force, bits that repeat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import kernel_ridge
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dgex_jax import KernelRidge, LearnedKernel
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Tables, kernels, mean_error
from dgex_jax.methods import learned_kernel as learned
from dgex_jax.methods.kernel_ridge import KernelRidgeConfig, fit_kernel_ridge
from dgex_jax.methods.kernels import (
    ROWS,
    Kernel,
    KernelModel,
    SolverConfig,
    descend,
    made_model,
    median_square,
    solve,
    without_profiles,
)
from dgex_jax.methods.learned_kernel import LearnedKernelConfig, Spectrum, fit_learned_kernel
from dgex_jax.train.arrays import BATCH

pytestmark = pytest.mark.usefixtures("quick_compilation")

if TYPE_CHECKING:
    from collections.abc import Callable

N, N_LANDMARKS, N_TARGETS = 90, 8, 5
KERNEL = Kernel((0.1, 1.0, 0.7, 0.4), (9.0, 4.0, 0.5), np.linspace(0.2, 1.8, N_LANDMARKS))
QUICK = LearnedKernelConfig(steps=15)


def drawn(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets bend over the first landmarks; the last ones say nothing."""
    X = rng.normal(size=(n, N_LANDMARKS))
    bent = np.tanh(X[:, :3] @ np.random.default_rng(9).normal(size=(3, N_TARGETS)))
    Y = bent + rng.normal(0, 0.1, (n, N_TARGETS))
    return X.astype(np.float32), Y.astype(np.float32)


def made(n: int = N, seed: int = 0, groups: Any = None) -> Tables:
    rng = np.random.default_rng(seed)
    return Tables(*drawn(n, rng), *drawn(40, rng), groups)


def groups_of(n: int) -> np.ndarray:
    """Series of one to some profiles, not side by side."""
    return np.array([f"GSE{number}" for number in np.random.default_rng(4).integers(0, 12, n)])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_kernel_is_the_sum_of_four(seed: int) -> None:
    """Each as scikit-learn computes it, in NumPy and in JAX; a profile of zeros is no NaN."""
    X, new = made(seed=seed).X, made(7, seed + 2).X
    new[3] = 0.0
    new[4] = 2.0
    left, right = (table.astype(float) * np.sqrt(KERNEL.weights) for table in (X, new))
    distance = euclidean_distances(left, right)
    centred = [table - table.mean(axis=1, keepdims=True) for table in (left, right)]
    parts = [
        left @ right.T,
        np.exp(-(distance**2) / 9.0),
        np.exp(-distance / 4.0),
        np.exp((cosine_similarity(*centred) - 1.0) / 0.5),
    ]
    wanted = sum(a * part for a, part in zip(KERNEL.amplitudes, parts, strict=True))
    assert_allclose(KERNEL.matrix(X, new), wanted, rtol=1e-10)
    left, right = (
        learned.rows_of(jnp.asarray(one), jnp.sqrt(jnp.asarray(KERNEL.weights, jnp.float32)))
        for one in (X, new)
    )
    in_jax = learned.mixture(jnp, left, right, KERNEL.amplitudes, KERNEL.lengths, 0.0)
    assert_allclose(in_jax, wanted, rtol=0, atol=2e-4)


def test_made_up_centres_that_span_a_kernel_solve_it(monkeypatch) -> None:
    """A linear kernel has as many dimensions as landmarks: any so many centres do."""
    tables = made()
    kernel = Kernel((0.1, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0), KERNEL.weights)
    solution = solve(kernel, 0.3, tables, SolverConfig(), lambda _n: None)
    exact = made_model("any", kernel, solution, **{"lambda": 0.3, "shrinkage": 0.5})
    # Nothing but the first lambda, or the best of more.
    monkeypatch.setattr(kernels, "LAMBDA_FACTORS", (1.0,))
    model = without_profiles(exact, tables, SolverConfig(centres=20))
    assert_allclose(model.predict(tables.X_val), exact.predict(tables.X_val), atol=1e-3)
    assert model.settings == {**exact.settings, "centres": "made up", "shrinkage": None}
    monkeypatch.undo()
    chosen = without_profiles(exact, tables, SolverConfig(centres=20))
    errors = [mean_error(one, tables.X_val, tables.Y_val) for one in (chosen, model)]
    assert errors[0] <= errors[1] + 1e-6
    assert model.tensors["centres"].shape == (20, N_LANDMARKS)
    apart = np.abs(model.tensors["centres"][:, None] - tables.X).max(axis=2)
    assert apart.min() > 1e-2


def test_equals_scikit_learns_kernel_ridge() -> None:
    """RBF by its gamma, and any kernel matrix."""
    tables = made()
    config = KernelRidgeConfig(scales=(0.5,), linear=(0.0,), lambdas=(0.3,))
    model = fit_kernel_ridge(tables, config, Progress())
    gamma = 2.0 / median_square(tables.X, 1)
    theirs = kernel_ridge.KernelRidge(alpha=0.3, kernel="rbf", gamma=gamma)
    theirs.fit(tables.X.astype(float), tables.Y)
    wanted = theirs.predict(tables.X_val.astype(float))
    assert_allclose(model.predict(tables.X_val), wanted, rtol=0, atol=1e-6)
    assert (model.title, model.settings["lambda"]) == ("kernel-ridge", 0.3)

    theirs = kernel_ridge.KernelRidge(alpha=0.3, kernel="precomputed")
    theirs.fit(KERNEL.matrix(tables.X, tables.X), tables.Y)
    mixed = made_model("any", KERNEL, solve(KERNEL, 0.3, tables, SolverConfig(), lambda _n: None))
    wanted = theirs.predict(KERNEL.matrix(tables.X_val, tables.X))
    assert_allclose(mixed.predict(tables.X_val), wanted, rtol=0, atol=2e-6)


def test_validation_chooses_the_best_of_the_neighbours() -> None:
    tables = made()
    config = KernelRidgeConfig()
    chosen = fit_kernel_ridge(tables, config, Progress())
    best = mean_error(chosen, tables.X_val, tables.Y_val)
    grids = {"scales": config.scales, "linear": config.linear, "lambdas": config.lambdas}
    at = dict(zip(grids, ("scale", "linear", "lambda"), strict=True))
    here = {name: (chosen.settings[at[name]],) for name in grids}
    for name, grid in grids.items():
        place = grid.index(here[name][0])
        for near in {max(place - 1, 0), min(place + 1, len(grid) - 1)} - {place}:
            other = fit_kernel_ridge(
                tables, replace(config, **(here | {name: (grid[near],)})), Progress()
            )
            assert mean_error(other, tables.X_val, tables.Y_val) >= best - 1e-7


def test_the_descent_finds_the_lowest_point_of_a_valley_and_tries_none_twice() -> None:
    grid, seen = tuple(map(float, range(9))), []

    def error(a: float, b: float) -> float:
        seen.append((a, b))
        return (a - 6.0) ** 2 + (b - a / 2) ** 2

    assert descend(error, {"a": grid, "b": grid}, {"a": 4.0, "b": 4.0}) == {"a": 6.0, "b": 3.0}
    assert len(set(seen)) == len(seen) < 81


def test_nystroem_with_all_profiles_is_exact_and_with_few_is_near() -> None:
    n = 2 * ROWS + 76
    tables = made(n)
    ticks: list[int] = []
    solutions = [
        made_model("any", KERNEL, solve(KERNEL, 0.3, tables, config, ticks.append))
        for config in (
            SolverConfig(),
            SolverConfig(exact_limit=n - 1, centres=n),
            SolverConfig(exact_limit=n - 1, centres=n // 2),
            # An n x n matrix does not fit.
            SolverConfig(centres=n // 2, memory_gb=7.9e-9 * n * n),
        )
    ]
    exact, whole, half, half_again = (model.predict(tables.X_val) for model in solutions)
    assert sum(ticks) == 4 * n
    assert_allclose(whole, exact, rtol=0, atol=1e-5)
    assert 1e-5 < np.abs(half - exact).mean() < 0.1
    assert_array_equal(half, half_again)
    assert solutions[2].tensors["centres"].shape == (n // 2, N_LANDMARKS)
    config = SolverConfig(exact_limit=1, memory_gb=1e-3, centres=5000)
    with pytest.raises(DgexError, match=r"memory_gb = 0\.001: 1100 centres need 0\.019 GB; raise"):
        solve(KERNEL, 0.3, tables, config, ticks.append)


def brute_force(tables: Tables, lambda_: float, groups: np.ndarray) -> np.ndarray:
    """What each profile misses when its group is left out and the rest is solved anew."""
    missed = np.empty(tables.Y.shape)
    for one in np.unique(groups):
        out = groups == one
        known = KERNEL.matrix(tables.X, tables.X[~out])
        dual = np.linalg.solve(known[~out] + lambda_ * np.eye((~out).sum()), tables.Y[~out])
        missed[out] = tables.Y[out] - known[out] @ dual
    return missed


@pytest.mark.parametrize("groups", [None, groups_of(N)], ids=["profiles", "groups"])
def test_closed_form_of_those_left_out_is_brute_force(groups: Any) -> None:
    """That by gene of the eigenvectors, and that over genes which is learnt on."""
    tables = made(groups=groups)
    wanted = brute_force(tables, 0.2, np.arange(N) if groups is None else groups)
    spectrum = Spectrum(KERNEL.matrix(tables.X, tables.X), tables.Y)
    errors = spectrum.left_out(0.2, groups)
    assert_allclose(errors, np.abs(wanted).mean(axis=0), rtol=1e-8)
    values = {"amplitudes": KERNEL.amplitudes, "lengths": KERNEL.lengths}
    values |= {"weights": KERNEL.weights, "noise": 0.2 - learned.LOWEST_NOISE}
    params = {name: jnp.asarray(np.log(value), jnp.float32) for name, value in values.items()}
    ((X, YY, together),) = learned._batches(tables, LearnedKernelConfig(steps=1))
    error = learned.left_out_error(params, jnp.float32(0.0), X, YY, together)
    assert float(error) == pytest.approx(np.sqrt(np.square(wanted).mean(axis=1)).mean(), rel=1e-4)


def test_a_gene_has_the_lambda_that_is_best_for_those_left_out() -> None:
    """Genes of noise alone want larger ones."""
    tables = made()
    Y = np.hstack([tables.Y, np.random.default_rng(5).normal(size=(N, 3)).astype(np.float32)])
    spectrum = Spectrum(KERNEL.matrix(tables.X, tables.X), Y)
    own = learned.own_factors(spectrum, 0.2, None)
    errors = np.stack([spectrum.left_out(0.2 * one, None) for one in learned.RIDGES])
    assert_array_equal(own, np.array(learned.RIDGES)[errors.argmin(axis=0)])
    assert own[N_TARGETS:].min() > own[:N_TARGETS].max()

    dual, shrinkage = learned.solve_by_gene(KERNEL, 0.2, tables)
    lambdas = 0.2 * own[:N_TARGETS] ** shrinkage
    known = KERNEL.matrix(tables.X, tables.X)
    wanted = [
        np.linalg.solve(known + one * np.eye(N), gene)
        for one, gene in zip(lambdas, tables.Y.T, strict=True)
    ]
    assert_allclose(dual.T, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "groups"),
    [(QUICK, None), (QUICK, groups_of(N)), (replace(QUICK, whole_limit=10, batch_size=60), None)],
    ids=["all", "groups", "batches"],
)
def test_learning_lowers_the_error_and_finds_the_landmarks_that_say_something(
    config: LearnedKernelConfig, groups: Any
) -> None:
    tables = made(groups=groups)
    done: list[int] = []
    kernel, _, errors = learned.learn(tables, config, done.append)
    assert len(errors) == len(done) == 15
    assert np.mean(errors[-3:]) < 0.95 * np.mean(errors[:3])
    assert kernel.weights.mean() == pytest.approx(1.0, abs=1e-6)
    assert kernel.weights[:3].min() > kernel.weights[3:].max()
    if groups is not None:
        assert errors != learned.learn(made(), config, done.append)[2]


def fitted_of_each() -> list[KernelModel]:
    tables = made()
    few = replace(QUICK, exact_limit=50, centres=50)
    return [
        fit_kernel_ridge(tables, KernelRidgeConfig(), Progress()),
        fit_learned_kernel(tables, QUICK, Progress()),
        fit_learned_kernel(tables, few, Progress()),
    ]


def test_a_model_is_its_settings_and_tensors_and_repeats_to_the_bit() -> None:
    X = made(2 * BATCH + 3, 3).X
    X[7] = 0.0
    for model, again in zip(fitted_of_each(), fitted_of_each(), strict=True):
        inferred = model.predict(X)
        assert inferred.dtype == np.float32
        assert np.isfinite(inferred).all()
        assert_array_equal(again.predict(X), inferred)
        copy = KernelModel(
            model.settings, {name: one.copy() for name, one in model.tensors.items()}
        )
        assert_array_equal(copy.predict(X), inferred)
        assert_array_equal(model.predict(X[BATCH:]), inferred[BATCH:])
        assert_array_equal(model.predict(X[: BATCH + 9]), inferred[: BATCH + 9])
        assert {one.dtype for one in model.tensors.values()} == {np.dtype(np.float32)}
        places, heaviest = model.heaviest(3)
        weights = model.tensors["weights"]
        # Of a kernel that weighs all alike, none.
        told = np.sort(weights)[::-1][: 3 if np.ptp(weights) else 0]
        assert_array_equal(heaviest, told)
        assert_array_equal(heaviest, weights[places])
    assert model.settings["shrinkage"] is None
    assert model.tensors["centres"].shape == (50, N_LANDMARKS)
    for name, tensor in (("dual", model.tensors["dual"][:-1]), ("weights", -weights)):
        with pytest.raises(DgexError, match=r"don't go together|not below 0"):
            KernelModel(model.settings, model.tensors | {name: tensor})


TO_CHECK = [KernelRidge(), LearnedKernel(steps=5)]


@pytest.mark.long
@parametrize_with_checks(TO_CHECK)
def test_convention(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", TO_CHECK, ids=str)
def test_an_estimator_fits_what_its_method_does(estimator: Any) -> None:
    """On standardised tables, with groups kept whole, in or out of double precision."""
    rng = np.random.default_rng(0)
    (X, Y), groups = drawn(120, rng), groups_of(120)
    X, Y = 7.0 + 3.0 * X, 5.0 * Y - 2.0
    model = clone(estimator).set_params(random_state=3).fit(X, Y, groups=groups)
    assert model.score(X, Y) > 0.8
    ((kept, _),) = GroupShuffleSplit(1, test_size=0.1, random_state=3).split(X, groups=groups)
    scaled = StandardScaler().fit(X[kept]).transform(X[kept])
    assert_allclose(model.method_.tensors["centres"], scaled, atol=1e-5)
    with jax.enable_x64(True):
        again = clone(model).fit(X, Y, groups=groups)
    assert_array_equal(again.predict(X), model.predict(X))
    wanted = model.method_.predict(model.x_scaler_.transform(X).astype(np.float32))
    assert_allclose(model.predict(X), model.y_scaler_.inverse_transform(wanted), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (KernelRidge(scales=(1.0, 0.5)), r"scales = \[1\.0, 0\.5\]: must grow"),
        (KernelRidge(lambdas=0), "lambdas = 0.0: must be between"),
        (KernelRidge(linear="a"), "linear = 'a': must be a number"),
        (KernelRidge(exact_limit=0), "exact_limit = 0: must be at least 1"),
        (LearnedKernel(steps=0), "steps = 0: must be at least 1"),
        (LearnedKernel(rate=float("nan")), "rate = nan: must be between"),
        (LearnedKernel(batch_size=1.5), r"batch_size = 1\.5: must be a whole number"),
        (LearnedKernel(validation_fraction=None), "give validation profiles"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(model: Any, cause: str) -> None:
    X, Y = drawn(30, np.random.default_rng(0))
    with pytest.raises(ValueError, match=cause):
        model.fit(X, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_what_can_not_be_learnt_is_refused() -> None:
    with pytest.raises(DgexError, match="groups: all training profiles are of one"):
        fit_learned_kernel(made(groups=np.zeros(N)), QUICK, Progress())
    with pytest.raises(DivergedError, match=r"no longer finite after step \d+: lower rate"):
        learned.learn(made(), replace(QUICK, rate=10.0), lambda _n: None)
