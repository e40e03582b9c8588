"""A run folder of two halves of unequal size, and what decides whether it is made again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.data.prepared import Prepared, open_prepared
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.provenance import SEAL, sealed
from dgex_jax.training import run
from dgex_jax.training.devices import choose_devices
from dgex_jax.training.geneerrors import read_gene_errors
from dgex_jax.training.loop import EpochRecord
from dgex_jax.training.progressline import ProgressLine, clock
from dgex_jax.training.record import digest, is_done, job_hash, read_done, write_json
from dgex_jax.training.run import Conduct, run_config, train_runs

GOLDEN = Path(__file__).parents[1] / "golden"
PARTS = ("va", "te", "1000G", "GTEx")
NETWORK = NetworkConfig(hidden_layers=2, units=8, dropout=0.1)
TRAINING = TrainingConfig(epochs=12, learning_rate=2e-2, monitor_size=300)
N_TARGETS = 39
HALVES = (slice(0, 19), slice(19, 39))

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Prepared:
    """The recorded study without its last target: 19 targets and 20."""
    path = tmp_path_factory.mktemp("study") / "odd.npz"
    with np.load(GOLDEN / "study_a.npz") as arrays:
        odd = {name: arrays[name][:, :N_TARGETS] for name in arrays}
    np.savez(path, **odd)
    return open_prepared(path)


@dataclasses.dataclass(frozen=True)
class Trained:
    folder: Path
    logs: list[pd.DataFrame]
    lines: list[str]


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    lines: list[str] = []
    conduct = Conduct(report=lambda _network, _done, line: lines.append(line))
    (devices, *_), _ = choose_devices(None, 2)
    assert train_runs(study, [NETWORK], TRAINING, [folder], devices, conduct=conduct)
    names = ("log.tsv", "log_half1.tsv", "log_half2.tsv")
    logs = [pd.read_csv(folder / name, sep="\t", dtype=str) for name in names]
    return Trained(folder, logs, lines)


def column(log: pd.DataFrame, name: str) -> np.ndarray:
    return log[name].to_numpy(str).astype(np.float64)


def test_log_is_the_mean_of_both_halves_by_their_genes(trained) -> None:
    both, first, second = trained.logs
    assert len(both) == len(first) == len(second) == 12
    for part in (*PARTS, "tr"):
        errors = [column(log, f"MAE_{part}") for log in (first, second)]
        assert (errors[0] != errors[1]).all()
        mean = (19 * errors[0] + 20 * errors[1]) / 39
        np.testing.assert_allclose(column(both, f"MAE_{part}"), mean, rtol=1e-14)
    for half, log in ((1, first), (2, second)):
        assert list(both[f"learning_rate_half{half}"]) == list(log["learning_rate"])


def forward(weights: dict[str, np.ndarray], half: int, X: np.ndarray) -> np.ndarray:
    W = {name: array.astype(np.float64) for name, array in weights.items()}
    hidden = X.astype(np.float64)
    for layer in range(2):
        hidden = np.tanh(hidden @ W[f"half{half}/W{layer}"] + W[f"half{half}/b{layer}"])
    return hidden @ W[f"half{half}/W2"] + W[f"half{half}/b2"]


@pytest.mark.parametrize(("name", "parts"), [("va", ("va", "te")), ("1000G", ("1000G", "GTEx"))])
def test_each_half_keeps_its_own_best_epoch(study, trained, name, parts) -> None:
    weights = load_file(trained.folder / f"best_{name}.safetensors")
    table = pd.read_csv(trained.folder / "errors.tsv", sep="\t")
    done = json.loads((trained.folder / "done.json").read_text())
    for half, genes in enumerate(HALVES, start=1):
        log = trained.logs[half]
        best = int(np.argmin(column(log, f"MAE_{name}")))
        assert done[f"best_{name}_epochs"][half - 1] == best
        assert weights[f"half{half}/b2"].shape == (genes.stop - genes.start,)
        for part in parts:
            predicted = forward(weights, half, study.X(part))
            by_gene = np.abs(predicted - study.Y(part, genes).astype(np.float64)).mean(axis=0)
            np.testing.assert_allclose(table[f"MAE_{part}"][genes], by_gene, rtol=0, atol=1e-6)
            logged = column(log, f"MAE_{part}")[best]
            assert by_gene.mean() == pytest.approx(logged, abs=1e-7)


def test_errors_table_and_its_reader(trained) -> None:
    table = pd.read_csv(trained.folder / "errors.tsv", sep="\t", dtype=str)
    assert list(table["half"]) == ["1"] * 19 + ["2"] * 20
    errors = read_gene_errors(trained.folder / "errors.tsv")
    assert errors.copy_of_landmark.tolist() == [False] * N_TARGETS
    for part in PARTS:
        assert [repr(float(one)) for one in errors.mae[part]] == list(table[f"MAE_{part}"])


def test_a_line_is_reported_after_each_epoch(trained) -> None:
    assert len(trained.lines) == 12
    best = column(trained.logs[0], "MAE_va")
    for number, line in enumerate(trained.lines):
        assert line.startswith(f"epoch {number + 1:>2}/12  GEO-va {best[number]:.4f} ")
        assert f"(best {best[: number + 1].min():.4f})" in line


def test_what_is_done_is_not_done_again(study, trained, monkeypatch) -> None:
    def fail(*_arguments: object) -> None:
        raise AssertionError("nothing is to be trained")

    monkeypatch.setattr(run, "train_group", fail)
    (devices, *_), _ = choose_devices(None, 2)
    assert not train_runs(study, [NETWORK], TRAINING, [trained.folder], devices)


def changed(config: Any) -> list[Any]:
    """Change one field at a time."""
    other = {"tf32": "highest", "highest": "tf32", "none": "autoencoder", None: 0.5}
    copies = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        new = other.get(value) or (3 - value if field.name == "halves" else value * 0.5)
        if field.type == "int":
            new = int(new) or 2
        needed = {"pretrain": "autoencoder"} if field.name == "pretrain_epochs" else {}
        copies.append(dataclasses.replace(config, **{field.name: new}, **needed))
    return copies


def test_every_setting_makes_another_run(study) -> None:
    ours = run_config(study, NETWORK, TRAINING)
    hashes = {digest(ours)}
    assert json.loads(json.dumps(ours)) == ours
    networks, trainings = changed(NETWORK), changed(TRAINING)
    hashes |= {digest(run_config(study, one, TRAINING)) for one in networks}
    hashes |= {digest(run_config(study, NETWORK, one)) for one in trainings}
    assert len(hashes) == 1 + 3 + 10


@pytest.mark.parametrize("first_versions", [False, True])
def test_other_versions_train_nothing(
    study, trained, tmp_path, monkeypatch, first_versions
) -> None:
    """Versions are recorded, never hashed; runs hashed with theirs stay finished as well."""
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    if first_versions:
        config = json.loads((folder / "config.json").read_text())
        done = {key: value for key, value in read_done(folder).items() if key != SEAL}
        write_json(folder / "done.json", sealed(done | {"config_hash": job_hash(config)}))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr(np, "__version__", "99.1")
    monkeypatch.setattr(jax, "__version__", "99.2")
    monkeypatch.setattr("dgex_jax.training.run.__version__", "99.3")
    assert run_config(study, NETWORK, TRAINING)["versions"]["numpy"] == "99.1"
    (devices, *_), _ = choose_devices(None, 2)
    conduct = Conduct(overwrite=True)
    assert not train_runs(study, [NETWORK], TRAINING, [folder], devices, conduct=conduct)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    other = dataclasses.replace(TRAINING, seed=TRAINING.seed + 1)
    assert not is_done(folder, run_config(study, NETWORK, other))


def test_divergence_leaves_the_log_and_nothing_else(study, tmp_path) -> None:
    (devices, *_), _ = choose_devices(None, 2)
    training = dataclasses.replace(TRAINING, learning_rate=1000.0)
    with pytest.raises(DivergedError, match=r"half [12] .* after epoch \d+ .* rate 1e\+03"):
        train_runs(study, [NETWORK], training, [tmp_path / "run"], devices)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"config.json", "log.tsv", "log_half1.tsv", "log_half2.tsv"}


def test_one_target_makes_no_two_halves(tmp_path) -> None:
    with np.load(GOLDEN / "study_a.npz") as arrays:
        one = {name: arrays[name][:, :1] if name[0] == "Y" else arrays[name] for name in arrays}
    np.savez(tmp_path / "one.npz", **one)
    (devices, *_), _ = choose_devices(None, 1)
    with pytest.raises(DgexError, match=r"one\.npz: 1 target makes no 2 halves; take 1"):
        train_runs(
            open_prepared(tmp_path / "one.npz"), [NETWORK], TRAINING, [tmp_path / "run"], devices
        )
    assert not (tmp_path / "run").exists()


def test_progress_line() -> None:
    line = ProgressLine(epochs=3, half_sizes=(1, 3))

    def record(epoch: int, va: float, seconds: float) -> EpochRecord:
        errors = np.array([[va, 0.0, 0.5, 0.0, 0.0], [va / 2, 0.0, 0.7, 0.0, 0.0]])
        return EpochRecord(epoch, errors, np.array([1e-2, 9e-3], np.float32), seconds)

    first, second, third = (
        line(record(0, 0.8, 90)),
        line(record(1, 1.6, 7)),
        line(record(2, 0.4, 5)),
    )
    assert first == (
        "epoch 1/3  GEO-va 0.5000 (best 0.5000)  1000G-va 0.6500 (best 0.6500)  "
        "rate 1.00e-02/9.00e-03  90.00 s  ? left"
    )
    assert "GEO-va 1.0000 (best 0.5000)" in second
    # The first epoch's 90 s are mostly compilation and say nothing about the rest.
    assert second.endswith("7.00 s  0:07 left")
    assert "GEO-va 0.2500 (best 0.2500)" in third
    assert third.endswith("0:00 left")


def test_clock() -> None:
    seconds = (0, 59.4, 59.6, 3599, 3600, 360_000, float("nan"))
    expected = ["0:00", "0:59", "1:00", "59:59", "1:00:00", "100:00:00", "?"]
    assert [clock(one) for one in seconds] == expected
