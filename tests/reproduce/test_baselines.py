"""Baselines are fitted piece by piece, and no test set has a say in k or lambda."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest

import reproduce.baselines as module
from dgex_jax.baselines.linear import LinearFit
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.arrays import load_arrays
from reproduce.baselines import METHODS, chosen_values, fit_baselines, tune_lambda


@pytest.fixture
def fit(made, tmp_path, monkeypatch):
    """Fit in a folder of its own; gives the methods fitted, stops before `stop`."""
    space = dataclasses.replace(made.space, results=tmp_path)
    original = module.fit_baseline

    def run(stop: str = "", **changes) -> list[str]:
        fitted = []

        def one(method, *arguments):
            if method == stop:
                raise KeyboardInterrupt
            fitted.append(method)
            return original(method, *arguments)

        monkeypatch.setattr(module, "fit_baseline", one)
        config = dataclasses.replace(space.study.baselines, **changes)
        study = dataclasses.replace(space.study, baselines=config)
        with open_prepared(space.prepared) as prepared:
            arrays = load_arrays(prepared, 2)
            fit_baselines(dataclasses.replace(space, study=study), prepared, arrays, METHODS)
        return fitted

    return space, run


def test_a_killed_run_goes_on_where_it_stopped(made, fit) -> None:
    space, run = fit
    with pytest.raises(KeyboardInterrupt):
        run(stop="LR-L2")
    assert (space.baselines / "LR-L1.tsv").is_file()
    assert run() == ["LR-L2", "KNN-GE", "KNN-profiles"]
    assert run() == []
    assert chosen_values(space) == chosen_values(made.space)
    for path in made.space.baselines.glob("*.tsv"):
        assert (space.baselines / path.name).read_bytes() == path.read_bytes()


def test_only_what_a_setting_changes_is_fitted_again(fit, capsys) -> None:
    _, run = fit
    assert run() == list(METHODS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"baseline {name}" for name in METHODS]
    assert run(k_max=4) == ["KNN-GE", "KNN-profiles"]
    assert run(k_max=4, l2_lambdas=(0.1, 1.0)) == ["LR-L2"]
    assert run(k_max=4, l1_lambdas=(0.1, 1.0)) == ["LR-L1", "LR-L2"]


def test_files_of_a_fit_that_was_stopped_pass_for_no_other(fit) -> None:
    """The mark goes before the files change, else the old settings would seem done."""
    _, run = fit
    run()
    with pytest.raises(KeyboardInterrupt):
        run(stop="KNN-GE", k_max=4)
    assert run() == ["KNN-GE"]


@dataclass(frozen=True)
class Watched(LinearFit):
    """A fit that notes what it predicts."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def predict(self, X):
        self.seen.append((self.lambda_, len(X)))
        return super().predict(X)


def test_test_parts_are_looked_at_once_all_is_chosen(made) -> None:
    with open_prepared(made.space.prepared) as prepared:
        arrays = load_arrays(prepared, 2)
    n_targets, n_landmarks = arrays.Y["tr"].shape[1], arrays.n_landmarks
    rng = np.random.default_rng(0)
    zeros, seen = np.zeros(n_targets), []
    fits = [
        Watched(lambda_, rng.normal(size=(n_targets, n_landmarks)) / 9, zeros, None, 0, seen=seen)
        for lambda_ in (0.3, 0.2, 0.1)
    ]
    measured = tune_lambda(iter(fits), arrays, lambda _: None)
    sizes = {part: len(arrays.X[part]) for part in ("va", "te", "1000G", "GTEx")}
    validation = [(one.lambda_, sizes[part]) for one in fits for part in ("va", "1000G")]
    assert seen[:6] == validation
    best = {part: measured.chosen[part]["lambda"] for part in ("va", "1000G")}
    assert seen[6:] == [(best["va"], sizes["te"]), (best["1000G"], sizes["GTEx"])]
    for part in ("va", "1000G"):
        errors = {
            one.lambda_: np.abs(one.predict(arrays.X[part]) - arrays.Y[part]).mean() for one in fits
        }
        assert best[part] == min(errors, key=errors.get)
        assert measured.errors[part].mean() == pytest.approx(min(errors.values()))
    assert [row["lambda"] for row in measured.curve] == [0.1, 0.2, 0.3]
