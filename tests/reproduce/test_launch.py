"""Networks as jobs: the same results as here, by submitit's local executor; what Slurm is asked."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from dgex_jax.config import JobsConfig, NetworkConfig
from dgex_jax.errors import DgexError
from reproduce import launch, table1
from reproduce.grid import train_here
from reproduce.launch import GroupJob, job_executor
from reproduce.workspace import Options
from tests.reproduce.test_grid import run_results

submitit = pytest.importorskip("submitit")

# submitit's local jobs leave a Popen behind that nobody waits for.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ONE = {"networks": "hidden_layers = [1]\nunits = [6]"}


@pytest.fixture
def untrained(out, write_study, tmp_path, monkeypatch):
    """A copy of the tiny study, one architecture, nothing trained: arguments and run folder."""
    # The jobs' programs are compared with those of this process.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    shutil.rmtree(out / "tiny" / "runs")
    study = write_study(tmp_path / "tiny.toml", replace=ONE)
    return ["--study", str(study), "--out", str(out)], out / "tiny" / "runs"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(launch, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(launch, "SECONDS_BETWEEN_LINES", 0.5)


@pytest.mark.long
def test_jobs_leave_what_training_here_leaves(made, untrained, capsys) -> None:
    arguments, runs = untrained
    assert table1.main([*arguments, "--launcher", "local"]) == 0
    shown = capsys.readouterr().out
    assert "1 jobs submitted" in shown
    assert "0 of 1 jobs done" in shown
    here = run_results(made.space.results / "runs")
    assert run_results(runs) == {
        name: content for name, content in here.items() if name.startswith("10pct-6x1/")
    }
    # Done is done, for any launcher.
    assert table1.main([*arguments, "--launcher", "local"]) == 0
    assert "submitted" not in capsys.readouterr().out


@pytest.mark.long
def test_a_failed_job_is_one_line_with_its_log(untrained, capsys) -> None:
    arguments, runs = untrained
    (runs / "10pct-6x1").mkdir(parents=True)
    (runs / "10pct-6x1" / "log.tsv").mkdir()
    assert table1.main([*arguments, "--launcher", "local"]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "D-GEX-10%-6x1: its job failed: " in told
    assert "can't be written: Is a directory" in told
    assert "_log.err)" in told


def test_a_signal_cancels_the_jobs(untrained, monkeypatch, capfd) -> None:
    arguments, runs = untrained

    class Sleeper(GroupJob):
        """Goes to the job's process by value, being local; a patched `GroupJob` would not."""

        def __call__(self) -> None:
            threading.Event().wait(60)

    monkeypatch.setattr(launch, "GroupJob", Sleeper)
    looks = []

    def look(seconds: float) -> None:
        time.sleep(seconds)
        looks.append(seconds)
        if len(looks) == 3:
            signal.raise_signal(signal.SIGTERM)

    clock = SimpleNamespace(sleep=look, monotonic=time.monotonic)
    monkeypatch.setattr(launch, "time", clock)
    assert table1.main([*arguments, "--launcher", "local"]) == 143
    told = capfd.readouterr().err.splitlines()
    assert "stopped, and its jobs cancelled" in told[-1]
    assert not any("Traceback" in line for line in told)
    log = runs.parent / "jobs" / "launcher.log"
    deadline = time.monotonic() + 5
    while "KeyboardInterrupt" not in log.read_text("utf-8") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert capfd.readouterr().err == ""
    assert not (runs / "10pct-6x1" / "done.json").exists()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A machine with Slurm's commands."""
    for name in ("srun", "sbatch"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def asked(made, tmp_path, options: Options, jobs: JobsConfig) -> dict[str, object]:
    study = dataclasses.replace(made.space.study, jobs=jobs)
    space = dataclasses.replace(made.space, study=study, results=tmp_path)
    return dict(job_executor(space, options)._executor.parameters)


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("jobs", "flags", "parameter", "value"),
    [
        ({"partition": "gpu"}, {}, "partition", "gpu"),
        ({"partition": "gpu"}, {"partition": "long"}, "partition", "long"),
        ({"minutes": 30}, {}, "time", 30),
        ({"minutes": 30}, {"minutes": 90}, "time", 90),
        ({"cpus": 3}, {}, "cpus_per_task", 3),
        ({"memory_gb": 20}, {}, "mem", "20GB"),
        ({"parallel": 5}, {}, "array_parallelism", 5),
        ({}, {"gpus": 2}, "gpus_per_node", 2),
    ],
)
def test_slurm_is_asked_for_what_study_and_flags_say(
    made, tmp_path, jobs, flags, parameter, value
) -> None:
    plain = asked(made, tmp_path, Options(launcher="slurm"), JobsConfig())
    changed = asked(made, tmp_path, Options(launcher="slurm", **flags), JobsConfig(**jobs))
    assert changed.pop(parameter) == value
    assert plain.pop(parameter, None) != value
    assert changed == plain


def test_a_preempted_job_is_submitted_again(made) -> None:
    job = GroupJob(made.space, (NetworkConfig(1, 6, 0.1),), None, train_here)
    again = job.checkpoint()
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function is job


def test_no_cluster_and_no_submitit_are_one_line(made, tmp_path, monkeypatch) -> None:
    space = dataclasses.replace(made.space, results=tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DgexError, match=r"--launcher slurm: .*slurm") as caught:
        job_executor(space, Options(launcher="slurm"))
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(DgexError, match=r"pip install 'dgex-jax\[slurm\]'"):
        job_executor(space, Options(launcher="slurm"))
