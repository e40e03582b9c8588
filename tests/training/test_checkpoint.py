"""A training that was cut short ends exactly as one that was not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.data.prepared import Prepared, open_prepared
from dgex_jax.errors import DgexError, Stopped
from dgex_jax.locks import locked
from dgex_jax.training import checkpoint
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.checkpoint import Checkpoints, from_arrays, to_arrays
from dgex_jax.training.loop import EpochRecord, Progress, first_states
from dgex_jax.training.run import Conduct, train_runs
from dgex_jax.training.stopping import StopRequest

GOLDEN = Path(__file__).parents[1] / "golden"
EPOCHS = 6
TRAINING = TrainingConfig(epochs=EPOCHS, learning_rate=3e-2, monitor_size=300)
GROUPS = {
    "one": [NetworkConfig(2, 8, 0.25)],
    "two": [NetworkConfig(1, 6, 0.1), NetworkConfig(1, 6, 0.25)],
}

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def study() -> Prepared:
    return open_prepared(GOLDEN / "study_a.npz")


def folders(out: Path, group: str) -> list[Path]:
    return [out / network.name for network in GROUPS[group]]


def train(
    study: Prepared, out: Path, group: str, stop_after: int | None = None, n_devices: int = 1
) -> list[int]:
    """Train a group, all checkpoints written; returns the epochs that were trained (from 1)."""
    request, seen = StopRequest(), []

    def report(network: NetworkConfig, done: int, _line: str) -> None:
        if network == GROUPS[group][0]:
            seen.append(done)
        if done == stop_after:
            request.ask(15)

    devices = jax.local_devices()[:n_devices]
    conduct = Conduct(report=report, request=request, checkpoint_share=1.0)
    start = partial(train_runs, study, GROUPS[group], TRAINING, folders(out, group), devices)
    if stop_after in {None, EPOCHS}:
        assert start(conduct=conduct)
    else:
        with pytest.raises(Stopped, match=f"after epoch {stop_after} of {EPOCHS}") as stopped:
            start(conduct=conduct)
        assert stopped.value.signal_number == 15
    return seen


def contents(out: Path, group: str) -> dict[str, Any]:
    """Every file of the runs, without the times and the names of the devices."""
    found: dict[str, Any] = {}
    for folder in folders(out, group):
        for path in sorted(folder.iterdir()):
            content: Any = path.read_bytes()
            if path.name == "done.json":
                content = json.loads(content)
                for key in ("seconds", "devices", "files", "content_sha256"):
                    del content[key]
                del content["provenance"]["commit"]
            elif path.name.startswith("log"):
                content = [line.rsplit("\t", 1)[0] for line in content.decode().splitlines()]
            found[f"{folder.name}/{path.name}"] = content
    return found


@pytest.fixture(scope="module")
def straight(study, tmp_path_factory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("straight")
    for group in GROUPS:
        assert train(study, out, group) == [*range(1, EPOCHS + 1)]
    # Eight files a run and no checkpoint left.
    assert [len(contents(out, group)) for group in GROUPS] == [8, 16]
    return {group: contents(out, group) for group in GROUPS}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("stops", [[1], [3], [EPOCHS - 1], [1, 2, 4], [EPOCHS]])
def test_resumed_equals_straight_to_the_bit(study, straight, tmp_path, group, stops) -> None:
    done = 0
    for stop in [*stops, None]:
        if done < EPOCHS:
            trained = train(study, tmp_path, group, stop)
            assert trained == [*range(done + 1, (stop or EPOCHS) + 1)]
            done = trained[-1]
    assert contents(tmp_path, group) == straight[group]


@pytest.mark.parametrize("group", GROUPS)
def test_checkpoints_that_a_kill_at_the_very_end_left_are_removed(
    study, straight, tmp_path, group
) -> None:
    train(study, tmp_path / "stopped", group, 1)
    train(study, tmp_path / "done", group)
    first = folders(tmp_path / "done", group)[0]
    left = first / "checkpoint"
    shutil.copytree(folders(tmp_path / "stopped", group)[0] / "checkpoint", left)
    devices = jax.local_devices()[:1]
    again = partial(
        train_runs, study, GROUPS[group], TRAINING, folders(tmp_path / "done", group), devices
    )
    with locked(first):
        # Another process may be about to remove them itself.
        assert not again()
        assert left.is_dir()
    assert not again()
    assert not left.exists()
    assert contents(tmp_path / "done", group) == straight[group]


@pytest.mark.long
def test_resumed_on_other_devices_equals_straight(study, straight, tmp_path) -> None:
    if jax.local_device_count() < 2:
        pytest.skip("needs 2 devices")
    train(study, tmp_path, "one", 2, n_devices=2)
    train(study, tmp_path, "one", 4, n_devices=1)
    train(study, tmp_path, "one", n_devices=2)
    assert contents(tmp_path, "one") == straight["one"]


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
        path.with_suffix(".json").read_text().replace('"format_version": 1', '"format_version": 2')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_checkpoint_is_skipped_with_a_message(
    study, straight, tmp_path, capsys, damage
) -> None:
    train(study, tmp_path, "one", 4)
    kept = folders(tmp_path, "one")[0] / "checkpoint"
    assert sorted(path.name for path in kept.iterdir()) == [
        "epoch-000002.json",
        "epoch-000002.safetensors",
        "epoch-000003.json",
        "epoch-000003.safetensors",
    ]
    DAMAGES[damage](kept / "epoch-000003.safetensors")
    assert train(study, tmp_path, "one") == [4, 5, 6]
    told = capsys.readouterr().err
    assert "epoch-000003.safetensors: damaged checkpoint skipped: " in told
    assert len(told.splitlines()) == 1
    assert contents(tmp_path, "one") == straight["one"]


def test_without_a_whole_checkpoint_training_starts_over(study, straight, tmp_path, capsys) -> None:
    train(study, tmp_path, "one", 3)
    kept = folders(tmp_path, "one")[0] / "checkpoint"
    for path in kept.glob("*.safetensors"):
        flip(path)
    assert train(study, tmp_path, "one") == [*range(1, EPOCHS + 1)]
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert contents(tmp_path, "one") == straight["one"]


def test_a_file_without_manifest_is_no_checkpoint(study, straight, tmp_path) -> None:
    """The manifest is written last: without it the file may be half of one."""
    train(study, tmp_path, "one", 3)
    (folders(tmp_path, "one")[0] / "checkpoint" / "epoch-000002.json").unlink()
    assert train(study, tmp_path, "one") == [3, 4, 5, 6]
    assert contents(tmp_path, "one") == straight["one"]


def test_a_log_that_ran_ahead_or_is_gone_is_written_anew(study, straight, tmp_path) -> None:
    """As after a kill between the log and the checkpoint."""
    train(study, tmp_path, "one", 3)
    folder = folders(tmp_path, "one")[0]
    with (folder / "log.tsv").open("a") as log:
        log.write("3\t0.5\thalf a li")
    (folder / "log_half2.tsv").unlink()
    train(study, tmp_path, "one")
    assert contents(tmp_path, "one") == straight["one"]


def test_another_configuration_does_not_go_on_from_it(study, tmp_path) -> None:
    train(study, tmp_path, "one", 3)
    seen: list[int] = []
    conduct = Conduct(report=lambda _network, done, _line: seen.append(done), overwrite=True)
    other = dataclasses.replace(TRAINING, epochs=4)
    paths = folders(tmp_path, "one")
    assert train_runs(study, GROUPS["one"], other, paths, jax.local_devices()[:1], conduct=conduct)
    assert seen == [1, 2, 3, 4]
    assert not (paths[0] / "checkpoint").exists()


def progress(study: Prepared) -> Progress:
    arrays = load_arrays(study, 2)
    rng = np.random.default_rng(5)
    states = jax.tree.map(
        lambda leaf: rng.normal(size=np.shape(leaf)).astype(np.asarray(leaf).dtype),
        first_states(arrays, GROUPS["two"], TRAINING),
    )
    records = [
        [
            EpochRecord(epoch, rng.normal(size=(2, 5)), np.float32([1e-2, 2e-2]), 0.5)
            for _ in GROUPS["two"]
        ]
        for epoch in range(3)
    ]
    return Progress(records, states)


def test_round_trip(study, tmp_path) -> None:
    written = progress(study)
    store = Checkpoints(tmp_path / "one", "hash")
    store.save(written)
    read = store.newest(written.states, pytest.fail)
    assert read is not None
    for ours, theirs in zip(read.states, written.states, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        dtypes = [np.asarray(leaf).dtype for leaf in jax.tree.leaves(ours)]
        assert dtypes == [np.asarray(leaf).dtype for leaf in jax.tree.leaves(theirs)]
    for row, others in zip(read.records, written.records, strict=True):
        for ours, theirs in zip(row, others, strict=True):
            assert (ours.epoch, ours.seconds) == (theirs.epoch, theirs.seconds)
            np.testing.assert_array_equal(ours.errors, theirs.errors)
            np.testing.assert_array_equal(ours.learning_rates, theirs.learning_rates)
    assert Checkpoints(tmp_path / "one", "another").newest(written.states, pytest.fail) is None


def test_states_of_another_shape_are_refused(study) -> None:
    written = progress(study)
    arrays = to_arrays(written)
    name = "state1.params['hidden1']['kernel']"
    with pytest.raises(DgexError, match=r"state1\.params.*float32 of shape \(24, 5\)"):
        from_arrays(arrays | {name: arrays[name][:, :5]}, written.states)
    del arrays[name]
    with pytest.raises(KeyError, match="hidden1"):
        from_arrays(arrays, written.states)


def test_saving_takes_no_more_than_its_share_of_the_time(study, tmp_path, monkeypatch) -> None:
    """A save that takes 2 s is followed by 38 s of training before the next, at 5 %."""
    now = 0.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    store = Checkpoints(tmp_path, "hash", 0.05)
    assert store.is_due()

    def slow_checksum(_path: Path) -> str:
        nonlocal now
        now += 2.0
        return "sum"

    monkeypatch.setattr(checkpoint, "sha256", slow_checksum)
    now = 10.0
    store.save(progress(study))
    assert now == 12.0
    for later, due in ((12.0, False), (49.9, False), (50.1, True)):
        now = later
        assert store.is_due() == due


def test_a_disk_that_refuses_is_one_line(study, tmp_path) -> None:
    (tmp_path / "checkpoint").write_text("a file where the folder should be")
    with pytest.raises(DgexError, match=r"epoch-000002\.safetensors: can't be written") as caught:
        Checkpoints(tmp_path / "checkpoint", "hash").save(progress(study))
    assert "\n" not in str(caught.value)
