"""A run folder: logs, results, what decides whether it is made again, and resuming to the bit."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from dgex_jax.cli import main
from dgex_jax.config import NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.io.files import locked
from dgex_jax.io.manifest import SEAL, digest, job_hash, sealed, write_json
from dgex_jax.parts import PAPER
from dgex_jax.prepare.prepare import prepare
from dgex_jax.prepare.prepared import Prepared, open_prepared
from dgex_jax.rawfiles import Compendium, GeoOnlyFiles, OtherSet, StudyFiles
from dgex_jax.train import run as run_module
from dgex_jax.train import train as loop
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.record import is_done, read_done, read_gene_errors
from dgex_jax.train.run import (
    Checkpoints,
    EpochRecord,
    Progress,
    RunLog,
    clock,
    from_arrays,
    run_config,
    to_arrays,
)
from dgex_jax.train.train import Conduct, first_states, train_runs
from tests.train.case import SIDES, contents, devices, run, same

GOLDEN = Path(__file__).parents[1] / "golden"
ERRORS = [f"MAE_{part}" for part in ("va", "te", "1000G", "GTEx", "tr")]
CHANGES = [name.replace("MAE", "d") for name in ERRORS]
CHOSEN = {"va": ("va", "te"), "1000G": ("1000G", "GTEx")}
"""Validation part → the parts that show the errors of its best epoch."""
LOGS = ("log.tsv", "log_half1.tsv", "log_half2.tsv")
NETWORK = NetworkConfig(hidden_layers=2, units=8, dropout=0.1)
TRAINING = TrainingConfig(epochs=12, learning_rate=2e-2, monitor_size=300)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def numbers(table: pd.DataFrame, columns: list[str], kind: Any = np.float64) -> np.ndarray:
    return table[columns].to_numpy(str).astype(kind)


# The log


def records(n_halves: int, n_epochs: int = 4) -> list[EpochRecord]:
    stream = np.random.default_rng(3)
    return [
        EpochRecord(
            epoch,
            stream.uniform(0.1, 0.9, (n_halves, 5)),
            stream.uniform(1e-5, 1e-2, n_halves).astype(np.float32),
            0.25 * epoch,
        )
        for epoch in range(n_epochs)
    ]


def write_log(folder: Path, sizes: tuple[int, ...], epochs: list[EpochRecord]) -> None:
    log = RunLog(folder, sizes, PAPER)
    for number, record in enumerate(epochs, start=2):
        log.append(record)
        # On disk at once, so that a run can be watched and nothing is lost when it is stopped.
        assert len((folder / "log.tsv").read_text().splitlines()) == number


def test_one_half_writes_one_log(tmp_path) -> None:
    write_log(tmp_path, (40,), records(1))
    assert [path.name for path in tmp_path.iterdir()] == ["log.tsv"]
    table = read(tmp_path / "log.tsv")
    pairs = [column for pair in zip(ERRORS, CHANGES, strict=True) for column in pair]
    assert list(table) == ["epoch", *pairs, "learning_rate", "seconds"]
    assert list(table["epoch"]) == ["0", "1", "2", "3"]
    assert list(table["seconds"]) == ["0.0000", "0.2500", "0.5000", "0.7500"]


def test_two_halves_write_a_log_each_and_their_mean_by_genes(tmp_path) -> None:
    epochs = records(2)
    write_log(tmp_path, (19, 20), epochs)
    both, *halves = (read(tmp_path / name) for name in LOGS)
    errors = [numbers(table, ERRORS) for table in halves]
    for half, table in enumerate(halves):
        np.testing.assert_array_equal(errors[half], [one.errors[half] for one in epochs])
        rates = numbers(table, ["learning_rate"], np.float32)[:, 0]
        np.testing.assert_array_equal(rates, [one.learning_rates[half] for one in epochs])
    mean = (19 * errors[0] + 20 * errors[1]) / 39
    np.testing.assert_allclose(numbers(both, ERRORS), mean, rtol=1e-15)
    rates = numbers(both, ["learning_rate_half1", "learning_rate_half2"], np.float32)
    np.testing.assert_array_equal(rates, [one.learning_rates for one in epochs])
    assert "learning_rate" not in both
    assert list(halves[0]) == list(halves[1])
    for table in (both, *halves):
        before = np.vstack([np.full(5, 10.0), numbers(table, ERRORS)[:-1]])
        change = numbers(table, ERRORS) / before - 1
        np.testing.assert_allclose(numbers(table, CHANGES), change, rtol=1e-4)
    # A new log replaces the old; with a history it is the same again.
    for history in (epochs[:1], epochs):
        RunLog(tmp_path, (19, 20), PAPER, history)
        assert [len(read(tmp_path / name)) for name in LOGS] == [len(history)] * 3
    for table, name in zip((both, *halves), LOGS, strict=True):
        pd.testing.assert_frame_equal(read(tmp_path / name), table)


def test_line_of_an_epoch(tmp_path) -> None:
    log = RunLog(tmp_path, (1, 3), PAPER)
    lines = []
    for epoch, (va, seconds) in enumerate([(0.8, 90), (1.6, 7), (0.4, 5)]):
        errors = np.array([[va, 1.0, 0.5, 1.0, 1.0], [va / 2, 1.0, 0.7, 1.0, 1.0]])
        record = EpochRecord(epoch, errors, np.array([1e-2, 9e-3], np.float32), seconds)
        log.append(record)
        lines.append(log.line(record, 3))
    assert lines[0] == (
        "epoch 1/3  GEO-va 0.5000 (best 0.5000)  1000G-va 0.6500 (best 0.6500)  "
        "rate 1.00e-02/9.00e-03  90.00 s  ? left"
    )
    assert "GEO-va 1.0000 (best 0.5000)" in lines[1]
    # The first epoch's 90 s are mostly compilation and say nothing about the rest.
    assert lines[1].endswith("7.00 s  0:07 left")
    assert "GEO-va 0.2500 (best 0.2500)" in lines[2]
    assert lines[2].endswith("0:00 left")


def test_clock() -> None:
    seconds = (0, 59.4, 59.6, 3599, 3600, 360_000, float("nan"))
    expected = ["0:00", "0:59", "1:00", "59:59", "1:00:00", "100:00:00", "?"]
    assert [clock(one) for one in seconds] == expected


# Results of two halves of unequal size


@pytest.fixture(scope="module")
def narrow(tmp_path_factory) -> Prepared:
    """The recorded study without its last target: 19 targets and 20."""
    path = tmp_path_factory.mktemp("study") / "odd.npz"
    with np.load(GOLDEN / "study_a.npz") as arrays:
        np.savez(path, **{name: arrays[name][:, :39] for name in arrays})
    return open_prepared(path)


@dataclasses.dataclass(frozen=True)
class Trained:
    folder: Path
    logs: list[pd.DataFrame]
    lines: list[str]


@pytest.fixture(scope="module")
def trained(narrow, tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    lines: list[str] = []
    conduct = Conduct(report=lambda _network, _done, line: lines.append(line))
    assert train_runs(narrow, [NETWORK], TRAINING, [folder], devices(1), conduct=conduct)
    return Trained(folder, [read(folder / name) for name in LOGS], lines)


def forward(weights: dict[str, np.ndarray], half: int, X: np.ndarray) -> np.ndarray:
    W = {name: array.astype(np.float64) for name, array in weights.items()}
    hidden = X.astype(np.float64)
    last = sum(name.startswith(f"half{half}/W") for name in W) - 1
    for layer in range(last):
        hidden = np.tanh(hidden @ W[f"half{half}/W{layer}"] + W[f"half{half}/b{layer}"])
    return hidden @ W[f"half{half}/W{last}"] + W[f"half{half}/b{last}"]


def check_results(folder: Path, study: Prepared, halves: Any, parts: dict[str, Any]) -> None:
    """Each half keeps its own best epochs, whose errors the table has, gene by gene."""
    table = read(folder / "errors.tsv")
    done = json.loads((folder / "done.json").read_text())
    bests = {name.removeprefix("best_").removesuffix("_epochs") for name in done if "best_" in name}
    assert bests == set(parts)
    errors = read_gene_errors(folder / "errors.tsv")
    for name, watched in parts.items():
        weights = load_file(folder / f"best_{name}.safetensors")
        for half, genes in enumerate(halves, start=1):
            log = read(folder / f"log_half{half}.tsv")
            best = int(np.argmin(numbers(log, [f"MAE_{name}"])))
            assert done[f"best_{name}_epochs"][half - 1] == best
            assert set(table["half"][genes]) == {str(half)}
            for part in watched:
                predicted = forward(weights, half, study.X(part))
                by_gene = np.abs(predicted - study.Y(part, genes).astype(np.float64)).mean(axis=0)
                np.testing.assert_allclose(errors.mae[part][genes], by_gene, rtol=0, atol=1e-6)
                logged = float(log[f"MAE_{part}"][best])
                assert by_gene.mean() == pytest.approx(logged, abs=1e-6)
                texts = [repr(float(one)) for one in errors.mae[part]]
                assert texts == list(table[f"MAE_{part}"])


def test_each_half_keeps_its_own_best_epoch(narrow, trained) -> None:
    check_results(trained.folder, narrow, SIDES, CHOSEN)
    errors = read_gene_errors(trained.folder / "errors.tsv")
    assert errors.copy_of_landmark.tolist() == [False] * 39


def test_a_line_is_reported_after_each_epoch(trained) -> None:
    both, first, second = trained.logs
    assert len(trained.lines) == len(both) == 12
    assert (numbers(first, ERRORS) != numbers(second, ERRORS)).all()
    best = numbers(both, ["MAE_va"])[:, 0]
    for number, line in enumerate(trained.lines):
        assert line.startswith(f"epoch {number + 1:>2}/12  GEO-va {best[number]:.4f} ")
        assert f"(best {best[: number + 1].min():.4f})" in line


# The same job


def test_what_is_done_is_not_done_again(narrow, trained, monkeypatch) -> None:
    monkeypatch.setattr(loop, "train_group", lambda *_: pytest.fail("nothing is to be trained"))
    assert not train_runs(narrow, [NETWORK], TRAINING, [trained.folder], devices(1))


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


def test_every_setting_makes_another_run(narrow) -> None:
    ours = run_config(narrow, NETWORK, TRAINING)
    assert json.loads(json.dumps(ours)) == ours
    hashes = {digest(ours)}
    hashes |= {digest(run_config(narrow, one, TRAINING)) for one in changed(NETWORK)}
    hashes |= {digest(run_config(narrow, NETWORK, one)) for one in changed(TRAINING)}
    assert len(hashes) == 1 + 3 + 10


@pytest.mark.parametrize("first_versions", [False, True])
def test_other_versions_train_nothing(
    narrow, trained, tmp_path, monkeypatch, first_versions
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
    monkeypatch.setattr(run_module, "version", lambda _name: "99.2")
    monkeypatch.setattr(run_module, "__version__", "99.3")
    versions = run_config(narrow, NETWORK, TRAINING)["versions"]
    assert versions == {"dgex_jax": "99.3", "jax": "99.2", "numpy": "99.1"}
    conduct = Conduct(overwrite=True)
    assert not train_runs(narrow, [NETWORK], TRAINING, [folder], devices(1), conduct=conduct)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    other = dataclasses.replace(TRAINING, seed=TRAINING.seed + 1)
    assert not is_done(folder, run_config(narrow, NETWORK, other))


def test_divergence_leaves_the_log_and_nothing_else(narrow, tmp_path) -> None:
    training = dataclasses.replace(TRAINING, learning_rate=1000.0)
    with pytest.raises(DivergedError, match=r"half [12] .* after epoch \d+ .* rate 1e\+03"):
        train_runs(narrow, [NETWORK], training, [tmp_path / "run"], devices(1))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", *LOGS}


def test_a_study_that_can_not_be_halved_leaves_no_trace(tmp_path) -> None:
    with np.load(GOLDEN / "study_a.npz") as arrays:
        one = {name: arrays[name][:, :1] if name[0] == "Y" else arrays[name] for name in arrays}
    np.savez(tmp_path / "one.npz", **one)
    study = open_prepared(tmp_path / "one.npz")
    with pytest.raises(DgexError, match=r"one\.npz: 1 target makes no 2 halves; take 1"):
        train_runs(study, [NETWORK], TRAINING, [tmp_path / "run"], devices(1))
    assert not (tmp_path / "run").exists()


# Studies of arrays alone (tr, va, te)


@pytest.fixture(scope="module")
def arrays_alone(tmp_path_factory) -> Path:
    """The recorded GEO file prepared without RNA-seq."""
    folder, raw = tmp_path_factory.mktemp("alone"), GOLDEN / "preprocess"
    lines = (raw / "map_lm.txt").read_text().splitlines()
    (folder / "landmarks.txt").write_text("\n".join(line.split("\t")[2] for line in lines))
    files = GeoOnlyFiles(raw / "geo.gctx", folder / "landmarks.txt")
    config = PrepareConfig(duplicates="none")
    prepare(files, folder / "p.h5", config, name="made", title="Made", simulated=True)
    return folder / "p.h5"


def command(study: Path, folder: Path, *more: str) -> None:
    flags = [
        "--hidden-layers",
        "1",
        "--units",
        "8",
        "--learning-rate",
        "5e-3",
        "--monitor-size",
        "100",
    ]
    assert main(["train", str(study), "-o", str(folder), *flags, *more]) == 0


def test_a_run_folder_without_the_missing_parts(arrays_alone, tmp_path) -> None:
    folder = tmp_path / "run"
    command(arrays_alone, folder, "--epochs", "2", "-q")
    files = {path.name for path in folder.iterdir()}
    assert files == {"config.json", "done.json", "errors.tsv", "best_va.safetensors", *LOGS}
    table = read(folder / "errors.tsv")
    assert list(table) == ["target", "symbol", "half", "copy_of_landmark", "MAE_va", "MAE_te"]
    with open_prepared(arrays_alone) as study:
        assert list(table["target"]) == list(study.targets)
        check_results(folder, study, study.halves, {"va": CHOSEN["va"]})
    for name in LOGS:
        log = read(folder / name)
        columns = [column for column in log if column.startswith(("MAE_", "d_"))]
        assert columns == ["MAE_va", "d_va", "MAE_te", "d_te", "MAE_tr", "d_tr"]
        assert np.isfinite(numbers(log, columns)).all()


# Studies of other sets


@pytest.fixture(scope="module")
def other_sets(tmp_path_factory) -> Path:
    """The recorded files as a compendium with two validation sets and two test sets.

    Values are taken as they are: some of the 1000G file are below 0.
    """
    raw, path = GOLDEN / "preprocess", tmp_path_factory.mktemp("sets") / "p.h5"
    first, second = raw / "gtex.gct.gz", raw / "1000g.txt.gz"
    sets = {
        "A": OtherSet("rnaseq", first, role="validation"),
        "B": OtherSet("rnaseq", second, role="validation"),
        "C": OtherSet("rnaseq", second, validated_by="A"),
        "D": OtherSet("rnaseq", first, validated_by="va"),
    }
    maps = (raw / "map_lm.txt", raw / "map_tg.txt")
    files = StudyFiles(Compendium((raw / "geo.gctx",), *maps, "mine"), sets)
    config = PrepareConfig(duplicates="none", force_platform=True)
    prepare(files, path, config, name="made", title="Made", simulated=True)
    return path


def test_each_part_shows_the_best_epoch_of_its_own_chooser(other_sets, tmp_path) -> None:
    """With any sets: by gene they are those of the weights kept for their validation part."""
    folder, lines = tmp_path / "run", []
    training = dataclasses.replace(TRAINING, monitor_size=100, learning_rate=3e-3)
    conduct = Conduct(report=lambda _network, _done, line: lines.append(line))
    chosen = {"va": ("va", "te", "D"), "A": ("A", "C"), "B": ("B",)}
    with open_prepared(other_sets) as study:
        assert train_runs(study, [NETWORK], training, [folder], devices(1), conduct=conduct)
        check_results(folder, study, study.halves, chosen)
    bests = [read_done(folder)[f"best_{part}_epochs"] for part in chosen]
    assert len(set(map(tuple, bests))) == 3, "the choosers can't be told apart"
    weights = {path.name for path in folder.glob("*.safetensors")}
    assert weights == {"best_va.safetensors", "best_A.safetensors", "best_B.safetensors"}
    parts = ["va", "te", "A", "B", "C", "D"]
    assert [*read(folder / "errors.tsv")][4:] == [f"MAE_{part}" for part in parts]
    logged = [column for column in read(folder / "log.tsv") if column.startswith("MAE_")]
    assert logged == [f"MAE_{part}" for part in (*parts, "tr")]
    shown = re.findall(r"(\S+) \d\.\d{4} \(best", lines[0])
    assert shown == ["mine-va", "A-va", "B-va"]


def test_the_line_of_an_epoch_has_no_1000g(arrays_alone, tmp_path, capsys) -> None:
    command(arrays_alone, tmp_path / "run", "--epochs", "1", "--halves", "1")
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("epoch 1/1  GEO-va ")
    assert "1000G" not in line
    assert "nan" not in line


# Checkpoints: a training that was interrupted ends exactly as one that was not

EPOCHS = 6
CUT = TrainingConfig(epochs=EPOCHS, learning_rate=3e-2, monitor_size=300)
GROUPS = {
    "one": [NetworkConfig(2, 8, 0.25)],
    "two": [NetworkConfig(1, 6, 0.1), NetworkConfig(1, 6, 0.25)],
}


def folders(out: Path, group: str) -> list[Path]:
    return [out / network.name for network in GROUPS[group]]


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of a group in a folder."""

    study: Prepared
    out: Path
    name: str

    @property
    def folders(self) -> list[Path]:
        return folders(self.out, self.name)

    @property
    def kept(self) -> Path:
        """The folder of checkpoints."""
        return self.folders[0] / "checkpoint"

    def train(self, stop_after: int | None = None, n_devices: int = 1) -> list[int]:
        networks = GROUPS[self.name]
        return run(self.study, networks, CUT, self.folders, stop_after, n_devices)


@pytest.fixture(scope="module")
def straight(study, tmp_path_factory) -> dict[str, dict[str, Any]]:
    found = {}
    for name in GROUPS:
        group = Group(study, tmp_path_factory.mktemp("straight"), name)
        assert group.train() == [*range(1, EPOCHS + 1)]
        found[name] = contents(*group.folders)
    # Eight files a run and no checkpoint left.
    assert [len(one) for one in found.values()] == [8, 16]
    return found


@pytest.fixture
def one(study, tmp_path) -> Group:
    return Group(study, tmp_path, "one")


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("stops", [[1], [3], [EPOCHS - 1], [1, 2, 4], [EPOCHS]])
def test_resumed_equals_straight_to_the_bit(study, straight, tmp_path, name, stops) -> None:
    group, done = Group(study, tmp_path, name), 0
    for stop in [*stops, None]:
        if done < EPOCHS:
            assert group.train(stop) == [*range(done + 1, (stop or EPOCHS) + 1)]
            done = stop
    assert contents(*group.folders) == straight[name]


def test_resumed_from_a_study_of_arrays_alone(arrays_alone, tmp_path) -> None:
    training = dataclasses.replace(TRAINING, epochs=3, monitor_size=100)
    whole, cut = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    with open_prepared(arrays_alone) as study:
        run(study, [NETWORK], training, [whole])
        for stop in (1, None):
            run(study, [NETWORK], training, [cut], stop)
    assert contents(cut) == contents(whole)


@pytest.mark.parametrize("name", GROUPS)
def test_checkpoints_that_a_kill_at_the_very_end_left_are_removed(
    study, straight, tmp_path, name
) -> None:
    stopped, group = (Group(study, tmp_path / out, name) for out in ("stopped", "done"))
    stopped.train(1)
    group.train()
    shutil.copytree(stopped.kept, group.kept)
    again = partial(train_runs, study, GROUPS[name], CUT, group.folders, devices(1))
    with locked(group.folders[0]):
        # Another process may be about to remove them itself.
        assert not again()
        assert group.kept.is_dir()
    assert not again()
    assert not group.kept.exists()
    assert contents(*group.folders) == straight[name]


@pytest.mark.long
def test_resumed_on_other_devices_equals_straight(one, straight) -> None:
    for stop, n_devices in ((2, 2), (4, 1), (None, 2)):
        one.train(stop, n_devices)
    assert contents(*one.folders) == straight["one"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "bit": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-8]),
    "gone": lambda path: path.unlink(),
    "manifest cut": lambda path: path.with_suffix(".json").write_text('{"format_ver'),
    "manifest of a newer format": lambda path: path.with_suffix(".json").write_text(
        path.with_suffix(".json").read_text().replace('"format_version": 2', '"format_version": 3')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_checkpoint_is_skipped_with_a_message(one, straight, capsys, damage) -> None:
    one.train(4)
    assert sorted(path.name for path in one.kept.iterdir()) == [
        f"epoch-00000{epoch}.{suffix}" for epoch in (2, 3) for suffix in ("json", "safetensors")
    ]
    DAMAGES[damage](one.kept / "epoch-000003.safetensors")
    assert one.train() == [4, 5, 6]
    told = capsys.readouterr().err
    assert "epoch-000003.safetensors: damaged checkpoint skipped: " in told
    assert len(told.splitlines()) == 1
    assert contents(*one.folders) == straight["one"]


def test_without_an_intact_checkpoint_training_starts_over(one, straight, capsys) -> None:
    one.train(3)
    for path in one.kept.glob("*.safetensors"):
        flip(path)
    assert one.train() == [*range(1, EPOCHS + 1)]
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert contents(*one.folders) == straight["one"]


def test_a_file_without_manifest_is_no_checkpoint(one, straight) -> None:
    """The manifest is written last: without it the file may be half of one."""
    one.train(3)
    (one.kept / "epoch-000002.json").unlink()
    assert one.train() == [3, 4, 5, 6]
    assert contents(*one.folders) == straight["one"]


def test_a_log_that_ran_ahead_or_is_gone_is_written_anew(one, straight) -> None:
    """As after a kill between the log and the checkpoint."""
    one.train(3)
    with (one.folders[0] / "log.tsv").open("a") as log:
        log.write("3\t0.5\thalf a li")
    (one.folders[0] / "log_half2.tsv").unlink()
    one.train()
    assert contents(*one.folders) == straight["one"]


def test_another_configuration_does_not_resume_from_it(study, one) -> None:
    one.train(3)
    other = dataclasses.replace(CUT, epochs=4)
    assert run(study, GROUPS["one"], other, one.folders, overwrite=True) == [1, 2, 3, 4]
    assert not one.kept.exists()


@pytest.fixture(scope="module")
def progress(study) -> Progress:
    rng = np.random.default_rng(5)
    states = jax.tree.map(
        lambda leaf: rng.normal(size=np.shape(leaf)).astype(np.asarray(leaf).dtype),
        first_states(load_arrays(study, 2), GROUPS["two"], CUT),
    )
    rows = [
        [
            EpochRecord(epoch, rng.normal(size=(2, 5)), np.float32([1e-2, 2e-2]), 0.5)
            for _ in GROUPS["two"]
        ]
        for epoch in range(3)
    ]
    return Progress(rows, states)


def test_round_trip(progress, tmp_path) -> None:
    store = Checkpoints(tmp_path / "one", "hash")
    store.save(progress)
    found = store.newest(progress.states, pytest.fail)
    assert found is not None
    same(found.states, progress.states)
    for row, others in zip(found.records, progress.records, strict=True):
        for ours, theirs in zip(row, others, strict=True):
            same(dataclasses.asdict(ours), dataclasses.asdict(theirs))
    assert Checkpoints(tmp_path / "one", "another").newest(progress.states, pytest.fail) is None


def test_states_of_another_shape_are_refused(progress) -> None:
    arrays = to_arrays(progress)
    name = "state1.params['hidden1']['kernel']"
    with pytest.raises(DgexError, match=r"state1\.params.*float32 of shape \(24, 5\)"):
        from_arrays(arrays | {name: arrays[name][:, :5]}, progress.states)
    del arrays[name]
    with pytest.raises(KeyError, match="hidden1"):
        from_arrays(arrays, progress.states)


def test_saving_takes_no_more_than_its_share_of_the_time(progress, tmp_path, monkeypatch) -> None:
    """A save that takes 2 s is followed by 38 s of training before the next, at 5 %."""
    now = 0.0
    monkeypatch.setattr(run_module.time, "monotonic", lambda: now)
    store = Checkpoints(tmp_path, "hash", 0.05)
    assert store.is_due()

    def slow_checksum(_path: Path) -> str:
        nonlocal now
        now += 2.0
        return "sum"

    monkeypatch.setattr(run_module, "file_sha256", slow_checksum)
    now = 10.0
    store.save(progress)
    assert now == 12.0
    for later, due in ((12.0, False), (49.9, False), (50.1, True)):
        now = later
        assert store.is_due() == due


def test_a_disk_that_refuses_is_one_line(progress, tmp_path) -> None:
    (tmp_path / "checkpoint").write_text("a file where the folder should be")
    with pytest.raises(DgexError, match=r"epoch-000002\.safetensors: can't be written") as caught:
        Checkpoints(tmp_path / "checkpoint", "hash").save(progress)
    assert "\n" not in str(caught.value)
