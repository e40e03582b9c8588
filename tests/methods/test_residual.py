"""Residual networks: they begin at ridge, members are independent, and resuming gives the bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
from jax.nn import gelu
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from dgex_jax import ResidualMLP
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Tables, mean_error, residual
from dgex_jax.methods.linear import fit_ridge
from dgex_jax.methods.residual import ResidualConfig, ResidualModel, fit_residual
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_compilation")

N_LANDMARKS, N_TARGETS = 6, 4
SMALL = ResidualConfig(
    2, 24, 0.05, 0.1, epochs=12, learning_rate=0.03, batch_size=16, members=2, seed=3
)
SILENT = Progress(False)


def made(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets that are far from linear in the landmarks."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_LANDMARKS)).astype(np.float32)
    weights = np.random.default_rng(99).normal(size=(N_LANDMARKS, N_TARGETS))
    Y = np.abs(X @ weights) + 0.3 * X[:, :1] + rng.normal(0, 0.1, (n, N_TARGETS))
    return X, Y.astype(np.float32)


TABLES = Tables(*made(90, 0), *made(40, 1))


@pytest.fixture(scope="module")
def straight() -> ResidualModel:
    return fit_residual(TABLES, SMALL, SILENT)


def assert_same(one: ResidualModel, other: ResidualModel) -> None:
    assert one.settings == other.settings
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert_array_equal(tensor, other.tensors[name], strict=True)


def test_without_training_it_is_ridge_and_never_worse_on_validation(
    straight: ResidualModel,
) -> None:
    ridge = fit_ridge(TABLES)
    error = mean_error(ridge, TABLES.X_val, TABLES.Y_val)
    for config in (replace(SMALL, epochs=0), replace(SMALL, epochs=2, learning_rate=1e-12)):
        model = fit_residual(TABLES, config, SILENT)
        assert_allclose(model.predict(TABLES.X_val), ridge.predict(TABLES.X_val), atol=1e-6)
    # Validation targets of other profiles: whatever is learnt makes them worse.
    astray = Tables(TABLES.X, TABLES.Y, TABLES.X_val, TABLES.Y_val[::-1])
    spoilt = fit_residual(astray, replace(SMALL, learning_rate=0.1), SILENT)
    assert max(spoilt.settings["best_epochs"]) < SMALL.epochs
    assert min(straight.settings["best_epochs"]) > 0
    assert mean_error(straight, TABLES.X_val, TABLES.Y_val) < 0.95 * error
    assert straight.settings["lambda"] == ridge.settings["lambda"]


def test_infers_the_mean_of_its_members_in_any_company(straight: ResidualModel) -> None:
    def member(number: int, X: np.ndarray) -> np.ndarray:
        """One member in NumPy, float64."""
        weights = {
            name.removeprefix(f"member{number}/"): tensor.astype(float)
            for name, tensor in straight.tensors.items()
            if name.startswith(f"member{number}/")
        }
        hidden, layer = X, 1
        while f"hidden{layer}/kernel" in weights:
            hidden = np.asarray(
                gelu(hidden @ weights[f"hidden{layer}/kernel"] + weights[f"hidden{layer}/bias"])
            )
            layer += 1
        assert layer == 3
        linear = X @ weights["linear/kernel"] + weights["linear/bias"]
        return linear + hidden @ weights["output/kernel"]

    X, _ = made(BATCH + 3, 2)
    together = straight.predict(X)
    members = [member(number, X) for number in (1, 2)]
    assert np.abs(members[0] - members[1]).max() > 0.01
    assert_allclose(together, np.mean(members, axis=0), atol=1e-5)
    for rows in (slice(0, 1), slice(5, 70), slice(len(X) - 1, None)):
        assert_array_equal(straight.predict(X[rows]), together[rows])
    assert_array_equal(
        ResidualModel(straight.settings, straight.tensors).predict(X), together, strict=True
    )
    errors = [np.abs(member(number, TABLES.X_val) - TABLES.Y_val).mean() for number in (1, 2)]
    assert_allclose(straight.settings["validation_errors"], errors, rtol=1e-5)
    for broken, cause in (
        ({"member2/linear/bias": np.zeros(3, np.float32)}, r"member2/linear/bias is of shape"),
        ({"member1/linear/kernel": np.zeros((3, 4), np.float32)}, "is of shape"),
    ):
        with pytest.raises(DgexError, match=cause):
            ResidualModel(straight.settings, straight.tensors | broken)
    with pytest.raises(DgexError, match="14 tensors are too many for 1 members"):
        ResidualModel(straight.settings | {"members": 1}, straight.tensors)
    with pytest.raises(KeyError, match="member3"):
        ResidualModel(straight.settings | {"members": 3}, straight.tensors)


@pytest.mark.long
def test_a_member_is_the_one_it_is_alone_and_on_several_devices(
    straight: ResidualModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(residual.spread(2)) == 2  # by tests/conftest.py
    assert len(residual.spread(3)) == 1
    alone = fit_residual(TABLES, replace(SMALL, members=1), SILENT)
    devices = tuple(jax.local_devices()[:1])
    monkeypatch.setattr(residual, "spread", lambda _n_members: devices)
    together = fit_residual(TABLES, SMALL, SILENT)
    for one in (alone, together):
        for name, tensor in one.tensors.items():
            assert_allclose(tensor, straight.tensors[name], atol=1e-5)
    other = fit_residual(TABLES, replace(SMALL, seed=4), SILENT)
    assert not np.allclose(other.predict(TABLES.X), straight.predict(TABLES.X), atol=1e-3)


@pytest.mark.parametrize("case", ["whole", "damaged", "all damaged", "another", "finished"])
def test_a_resumed_training_gives_the_bits_of_a_straight_one(
    case: str,
    straight: ResidualModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, done = tmp_path / "kept", 0

    def stop(_name: str, ticks: int, _total: int) -> None:
        nonlocal done
        done = ticks
        if ticks == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("dgex_jax.train.run.Checkpoints.is_due", lambda _self: True)
    if case == "finished":
        fit_residual(TABLES, SMALL, SILENT, folder)
    else:
        first = replace(SMALL, seed=9) if case == "another" else SMALL
        with pytest.raises(KeyboardInterrupt):
            fit_residual(TABLES, first, Progress(stop), folder)
    kept = sorted(folder.glob("ensemble/epoch-*.safetensors"))
    assert len(kept) == 2
    for path in {"damaged": kept[1:], "all damaged": kept}.get(case, []):
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    ticks: list[int] = []
    resumed = fit_residual(
        TABLES, SMALL, Progress(lambda _name, done, _total: ticks.append(done)), folder
    )
    assert_same(resumed, straight)
    first_tick = {"whole": 4, "damaged": 3, "finished": 12}.get(case, 0)
    assert (ticks[0], ticks[-1]) == (first_tick, SMALL.epochs)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == {"damaged": 1, "all damaged": 3, "another": 1}.get(case, 0)
    assert all("damaged checkpoint skipped" in line or "begins anew" in line for line in said)


@pytest.mark.long
def test_a_search_takes_the_settings_of_least_validation_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # With so much noise fewer units learn better.
    noise = np.random.default_rng(5).normal(0, 1, TABLES.Y.shape).astype(np.float32)
    tables = replace(TABLES, Y=TABLES.Y + noise)
    more = {"hidden_layers": 1, "input_dropout": 0.0, "dropout": 0.0, "members": 1}
    config = replace(SMALL, search=True, epochs=24, learning_rate=0.1, **more)
    model = fit_residual(tables, config, SILENT, tmp_path)
    searched = model.settings.pop("searched")
    assert [list(one.values())[:3] for one in searched] == [
        [24, 0.0, 24],
        [24, pytest.approx(0.3), 24],
        [12, 0.0, 24],
        [24, 0.0, 12],
    ]
    best = dict(min(searched, key=lambda one: one["validation_error"]))
    # A candidate is the first member of the ensemble.
    assert [best.pop("validation_error")] == model.settings["validation_errors"]
    chosen = replace(config, search=False, **best)
    assert chosen != replace(config, search=False)
    assert_same(model, fit_residual(tables, chosen, SILENT))
    assert_same(model, fit_residual(tables, chosen, SILENT, tmp_path))
    assert capsys.readouterr().err == ""


def test_a_folder_of_other_files_is_no_place_for_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "ensemble"
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(DgexError, match=r"is no folder of checkpoints: it holds mine\.txt"):
        fit_residual(TABLES, SMALL, SILENT, tmp_path)
    assert (folder / "mine.txt").read_text() == "precious"


# The checks have tables of a few profiles.
TO_CHECK = ResidualMLP(1, 8, 0.0, 0.0, epochs=3, learning_rate=0.01, members=1, random_state=0)


@pytest.mark.slow
@parametrize_with_checks([TO_CHECK])
def test_convention(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"hidden_layers": 0}, "hidden_layers = 0: must be between 1 and 3"),
        ({"units": 8.0}, r"units = 8\.0: must be a whole number"),
        ({"dropout": 1.0}, r"dropout = 1\.0: must be between"),
        ({"input_dropout": float("nan")}, "input_dropout = nan: must be between"),
        ({"members": 0}, "members = 0: must be between"),
        ({"epochs": -1}, "epochs = -1: must be at least 0"),
        ({"search": "no"}, "search = 'no': must be True or False"),
        ({"validation_fraction": None}, "give validation profiles"),
        ({"learning_rate": 1e3, "dropout": 0.5}, "training diverged: its validation error is no"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused_in_one_line(changed: dict[str, Any], cause: str) -> None:
    X, Y = made(40, 0)
    model = ResidualMLP(1, 8, epochs=30, members=2, random_state=1).set_params(**changed)
    kind = DivergedError if "learning_rate" in changed else DgexError
    with pytest.raises(kind, match=cause) as caught:
        model.fit(X, Y)
    assert "\n" not in str(caught.value)
