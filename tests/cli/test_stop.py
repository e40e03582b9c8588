"""``dgex train`` is stopped by signals and killed, and resumes as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dgex_jax.cli import main
from tests.train.case import contents

pytestmark = pytest.mark.long

STUDY = Path(__file__).parents[1] / "golden" / "study_a.npz"
EPOCHS = 400
SETTINGS = ["--hidden-layers", "1", "--units", "8", "--dropout", "0.1", "--epochs", str(EPOCHS)]


def command(folder: Path, *more: str) -> list[str]:
    train = ["train", str(STUDY), "-o", str(folder), *SETTINGS, "--learning-rate", "1e-2"]
    return [sys.executable, "-m", "dgex_jax.cli", *train, *more]


def start(folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(folder), stdout=pipe, stderr=pipe, text=True)


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), capture_output=True, text=True, check=False)


def results(folder: Path) -> dict[str, object]:
    """All that a run leaves, without times."""
    assert not (folder / "checkpoint").exists()
    return {name: one for name, one in contents(folder).items() if not name.endswith("done.json")}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("straight") / "run"
    done = run(folder, "-q")
    assert done.returncode == 0, done.stderr
    return results(folder)


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    """Read the progress until an epoch is done (counted from 1)."""
    assert process.stdout is not None
    for line in process.stdout:
        if int(line.split()[1].split("/")[0]) >= epoch:
            return
    pytest.fail("the training ended too early")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_epoch_saves_and_says_how_to_go_on(
    tmp_path, straight, number, code
) -> None:
    folder = tmp_path / "run"
    with start(folder) as process:
        wait_for_epoch(process, 5)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    last = int(out.splitlines()[-1].split()[1].split("/")[0]) if out else 5
    assert "this epoch is finished and saved first" in err
    assert f"stopped after epoch {last} of {EPOCHS} of D-GEX-10%-8x1; the same command " in err
    assert "Traceback" not in err
    assert not (folder / "done.json").exists()
    again = run(folder)
    assert again.returncode == 0
    assert again.stdout.startswith(f"epoch {last + 1:>3}/{EPOCHS}  ")
    assert results(folder) == straight


def test_killed_at_random_moments_it_ends_as_if_it_was_not(tmp_path, straight) -> None:
    folder, kills = tmp_path / "run", 0
    moments = random.Random(int(os.environ.get("DGEX_TEST_SEED", "1")))
    while kills < 3:
        with start(folder) as process:
            wait_for_epoch(process, 1)
            time.sleep(moments.uniform(0, 0.4))
            process.kill()
        if (folder / "done.json").exists():
            break
        kills += 1
    assert kills >= 2
    again = run(folder)
    assert again.returncode == 0
    # It did go on, rather than start over.
    assert not again.stdout.startswith("epoch   1/")
    assert results(folder) == straight


def test_second_command_waits_or_leaves(tmp_path) -> None:
    folder = tmp_path / "run"
    with start(folder) as process:
        wait_for_epoch(process, 1)
        process.send_signal(signal.SIGSTOP)
        left = run(folder, "--no-wait")
        waiting = subprocess.Popen(command(folder), stderr=subprocess.PIPE, text=True)
        with waiting:
            assert waiting.stderr is not None
            told = waiting.stderr.readline()
            process.send_signal(signal.SIGCONT)
            process.communicate(timeout=60)
            waiting.communicate(timeout=60)
    assert left.returncode == 2
    assert left.stderr.startswith(f"dgex: error: {folder}: in use by process {process.pid} on ")
    assert len(left.stderr.splitlines()) == 1
    assert told.startswith(f"{folder}: waiting for process {process.pid} on ")
    assert process.returncode == waiting.returncode == 0
    # The second found the work done.
    assert main(command(folder)[3:]) == 0
