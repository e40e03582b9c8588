"""The grid on several sets of devices: each network once, the same bits, nothing lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import jax
import pytest

from dgex_jax.config import NetworkConfig
from dgex_jax.errors import DivergedError, Stopped
from dgex_jax.train.run import StopRequest
from reproduce import all as all_tables
from reproduce import grid, table1, table_s3
from reproduce.grid import share_out

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURES = {"networks": "hidden_layers = [1]\nunits = [6, 9]"}


def run_results(runs: Path) -> dict[str, object]:
    """Every file of every run, without times and devices."""
    found: dict[str, object] = {}
    for path in sorted(runs.glob("*/*")):
        content: object = path.read_bytes()
        if path.name == "done.json":
            content = json.loads(path.read_text())
            del content["seconds"], content["devices"], content["files"], content["content_sha256"]
            del content["provenance"]["commit"]
        elif path.name.startswith("log"):
            content = [line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()]
        found[f"{path.parent.name}/{path.name}"] = content
    return found


@pytest.fixture
def untrained(out, write_study, tmp_path):
    """A copy of the prepared tiny study, two architectures, nothing trained: (study, out)."""
    shutil.rmtree(out / "tiny" / "runs")
    study = write_study(tmp_path / "tiny.toml", replace=ARCHITECTURES)
    return study, out


def expected(made) -> dict[str, object]:
    """Results of those architectures as trained with the whole study, in one process."""
    runs = run_results(made.space.results / "runs")
    return {name: content for name, content in runs.items() if "x1/" in name}


def test_the_whole_grid_is_trained(made) -> None:
    runs = {path.name for path in (made.space.results / "runs").iterdir() if path.is_dir()}
    rates, shapes = ("0", "10", "25"), ("6x1", "9x1", "6x2", "9x2")
    assert runs == {f"{rate}pct-{shape}" for rate in rates for shape in shapes}


@pytest.mark.long
def test_two_sets_of_devices_in_threads_give_the_same_bits(
    made, untrained, monkeypatch, capsys
) -> None:
    if jax.local_device_count() < 2:
        pytest.skip("needs 2 devices")
    study, out = untrained
    sets = [(device,) for device in jax.local_devices()[:2]]
    monkeypatch.setattr(grid, "choose_devices", lambda *_: (sets, None))
    used: dict[str, set[str]] = {}
    genuine = grid.train_runs

    def watched(prepared, networks, training, folders, devices, **named):
        used.setdefault(threading.current_thread().name, set()).add(str(devices[0]))
        return genuine(prepared, networks, training, folders, devices, **named)

    monkeypatch.setattr(grid, "train_runs", watched)
    assert table_s3.main(["--study", str(study), "--out", str(out)]) == 0
    # Two threads, each with a device of its own.
    assert sorted(map(len, used.values())) == [1, 1]
    assert set.union(*used.values()) == {str(device) for (device,) in sets}
    assert "6 networks trained" in capsys.readouterr().out
    assert run_results(out / "tiny" / "runs") == expected(made)


def command(study: Path, out: Path) -> list[str]:
    """The whole grid and every method, in a process of its own that compiles as the fixture."""
    script = (
        "import jax, sys; jax.config.update('jax_disable_most_optimizations', True)\n"
        "from reproduce import table_s3; sys.exit(table_s3.main(sys.argv[1:]))"
    )
    return [sys.executable, "-c", script, "--study", str(study), "--out", str(out)]


@pytest.mark.slow
def test_killed_in_the_middle_a_second_start_ends_as_if_it_was_not(write_study, tmp_path) -> None:
    """The whole path, from raw files on; a kill as each of two networks has begun."""
    study = write_study(
        tmp_path / "tiny.toml",
        {
            "networks": "hidden_layers = [1]\nunits = [6]",
            "training": "epochs = 500\nmonitor_size = 50\nbatch_size = 50\nlearning_rate = 1e-2",
        },
    )
    out, straight = tmp_path / "out", tmp_path / "straight"
    moments = random.Random(3)
    for network in ("[1/3", "[2/3"):
        with subprocess.Popen(
            command(study, out), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(network):
                    break
            time.sleep(moments.uniform(0, 0.2))
            process.kill()
            assert process.wait() == -9
    for folder in (out, straight):
        done = subprocess.run(command(study, folder), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    killed = run_results(out / "tiny" / "runs")
    assert len(killed) == 3 * 8
    assert killed == run_results(straight / "tiny" / "runs")
    for path in (straight / "tiny" / "baselines").rglob("*.tsv"):
        same = out / path.relative_to(straight)
        assert same.read_bytes() == path.read_bytes()


@pytest.mark.long
@pytest.mark.parametrize(("devices", "gpus"), [(4, 4), (1, 1)])
def test_any_number_of_devices_gives_the_same_bits(untrained, made, devices, gpus) -> None:
    """In a process of its own, whose CPU is four devices (or one)."""
    study, out = untrained
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    done = subprocess.run(
        [*command(study, out), "--gpus", str(gpus)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{gpus} GPU(s) asked for, none here: training on {devices} CPU" in done.stderr
    assert f"on {devices} cpu device(s)" in done.stdout
    assert run_results(out / "tiny" / "runs") == expected(made)


def networks(n: int) -> list[tuple[NetworkConfig, ...]]:
    return [(NetworkConfig(1, units, 0.1),) for units in range(1, n + 1)]


def test_each_group_is_trained_once_the_largest_first() -> None:
    seen: list[int] = []
    share_out(
        networks(20),
        [(), ()],
        StopRequest(),
        lambda group, _devices, _request: seen.append(group[0].units),
    )
    assert sorted(seen) == list(range(1, 21))
    assert seen[0] in {19, 20}
    assert seen[-1] in {1, 2}


def test_an_error_stops_the_others_after_their_epoch_and_is_the_one_told() -> None:
    both = threading.Barrier(2, timeout=10)

    def train(group, _devices, request) -> None:
        if request.asked:
            raise Stopped("stopped before the next", 0)
        both.wait()
        if group[0].units == 5:
            raise DivergedError("training diverged")
        while not request.asked:
            pass
        raise Stopped("stopped after epoch 3", 0)

    with pytest.raises(DivergedError, match="training diverged"):
        share_out(networks(5), [(), ()], StopRequest(), train)


@pytest.mark.long
def test_a_rate_that_the_study_lacks(out, write_study, tmp_path, capsys) -> None:
    """What needs it says so; `reproduce.all` leaves that out, and says so."""
    text = "hidden_layers = [1]\nunits = [6]\ndropout = [0.0, 0.25]"
    study = write_study(tmp_path / "tiny.toml", replace={"networks": text})
    arguments = ["--study", str(study), "--out", str(out)]
    assert table1.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.endswith("networks.dropout = [0.0, 0.25] lacks the rate 0.1, which is asked for\n")
    assert all_tables.main(arguments) == 0
    shown = capsys.readouterr()
    left_out = [line.split(" is left out: ")[0] for line in shown.err.splitlines()]
    assert left_out == ["table1", "figure1", "figure5", "figureS3", "weight-hubs", "departures"]
    assert "# Table 2" in shown.out
    assert "# Table 1" not in shown.out
    report = (out / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "lacks the rate 0.1" in report


def test_side_by_side_groups_train_whole_and_agree(untrained, made, write_study, capsys) -> None:
    """`make table1` needs 10 % alone, but a group is fixed by the study: all its rates."""
    study, out = untrained
    text = ARCHITECTURES["networks"] + "\nside_by_side = 6"
    write_study(study, replace={"networks": text})
    assert table1.main(["--study", str(study), "--out", str(out)]) == 0
    assert "4 networks trained" in capsys.readouterr().out
    runs, alone = run_results(out / "tiny" / "runs"), expected(made)
    assert {name.split("/")[0] for name in runs} == {
        "0pct-6x1", "10pct-6x1", "25pct-6x1", "10pct-9x1",
    }  # fmt: skip
    assert runs["10pct-9x1/errors.tsv"] == alone["10pct-9x1/errors.tsv"]
    for name in ("0pct-6x1", "10pct-6x1", "25pct-6x1"):
        config = json.loads((out / "tiny" / "runs" / name / "config.json").read_text())
        assert config["side_by_side"] == [0.0, 0.1, 0.25]
        ours, theirs = (
            [
                [float(cell) for cell in line.split("\t")[1:]]
                for line in content[f"{name}/log.tsv"][1:]
            ]
            for content in (runs, alone)
        )
        for mine, other in zip(ours, theirs, strict=True):
            assert mine == pytest.approx(other, rel=0, abs=1e-6)
    # All of it is done, also for the other commands.
    assert table_s3.main(["--study", str(study), "--out", str(out)]) == 0
    assert "2 networks trained" in capsys.readouterr().out
