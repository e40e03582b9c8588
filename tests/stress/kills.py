"""Kill commands at random moments, start them again, and compare with an undisturbed run.

    python tests/stress/kills.py [--trials 50] [--jobs 2] [prepare train predict zarr reproduce]

The commands are killed side by side, each at moments of its own. Every second kill comes at any
moment, every other one soon after a temporary file was opened. Ends with 1 if a second start fails,
its results differ, or a file had its final name without being whole.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.arguments import one_of, positive
from tests.reliability import running
from tests.reliability.commands import SMALL, raw_flags
from tests.reliability.running import is_under_way, without_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[2]
TESTS = CHECKOUT / "tests"
DGEX = [sys.executable, "-m", "dgex_jax.cli"]
NAMES = ("prepare", "train", "predict", "zarr", "reproduce")
LOCKS = (".lock", ".lock.json")

Contents = dict[str, str]


@dataclass(frozen=True)
class Victim:
    """A command that is killed.

    - `name`: as on the command line.
    - `command`: arguments, of the folder it may write to.
    - `trials`: share of the kills asked for.
    """

    name: str
    command: Callable[[Path], list[str]]
    trials: float = 1.0


@dataclass
class Tally:
    """What came of the kills of one command."""

    kills: int = 0
    while_writing: int = 0
    resumed_in: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Row of the table."""
        middle = sorted(self.resumed_in)[len(self.resumed_in) // 2]
        counts = f"{self.kills} | {self.while_writing} | {len(self.failures)}"
        return f"| {name} | {counts} | {middle:.1f} s |"


def contents(folder: Path) -> Contents:
    """Checksum of each final file below `folder`; one that is not whole is an error."""
    return running.contents(folder, without_seconds)


def unfinished(folder: Path) -> list[str]:
    """Names below `folder` that a second start must not leave behind; locks stay."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(name for name in names if is_under_way(name) and not name.endswith(LOCKS))


def half_written(folder: Path, whole: Contents) -> list[str]:
    """Final names whose content is not that of the undisturbed run.

    Logs grow line by line by design: theirs must be a beginning of the whole one, seen at the end.
    """
    try:
        found = contents(folder)
    except (ValueError, IndexError) as error:
        return [f"a final file can't be read: {error}"]
    return [
        name
        for name, digest in found.items()
        if whole.get(name) != digest and not Path(name).name.startswith("log")
    ]


def writes_now(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether the process or a child of it holds a temporary file below `folder` open."""
    for pid in family(process.pid):
        try:
            handles = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for handle in handles:
            try:
                target = str(handle.readlink())
            except OSError:
                continue
            if target.startswith(f"{folder}/") and is_under_way(target.removeprefix(str(folder))):
                return True
    return False


def family(pid: int) -> list[int]:
    """A process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in family(int(child)))]


def kill_one(
    command: list[str], folder: Path, moments: random.Random, seconds: float, aim: bool
) -> bool | None:
    """Start and kill; whether a temporary file was open, ``None`` if it ended before."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    moment = time.monotonic() + moments.uniform(0.05, seconds)
    while process.poll() is None and time.monotonic() < moment:
        time.sleep(0.002)
    while aim and process.poll() is None and not writes_now(process, folder):
        time.sleep(0.0005)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGSTOP)
    writing = writes_now(process, folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return writing


def torment(victim: Victim, trials: int, scratch: Path, seed: int) -> Tally:
    """Kill `victim` so many times, each in a new folder below `scratch`."""
    tally = Tally()
    moments = random.Random(f"{victim.name} {seed}")
    scratch.mkdir()
    straight = scratch / "straight"
    whole, seconds = undisturbed(victim, straight)
    while tally.kills < trials:
        folder = scratch / "killed"
        folder.mkdir()
        # The same names in all files: the folder is known by one name only.
        writing = kill_one(victim.command(folder), folder, moments, seconds, tally.kills % 2 == 1)
        if writing is not None:
            tally.kills += 1
            tally.while_writing += writing
            if tally.kills % 10 == 0:
                print(f"{victim.name}: {tally.kills} of {trials} kills", file=sys.stderr)
            label = f"{victim.name}, kill {tally.kills}"
            tally.failures += [
                f"{label}: {name} half-written" for name in half_written(folder, whole)
            ]
            start = time.monotonic()
            again = subprocess.run(victim.command(folder), capture_output=True, check=False)
            tally.resumed_in.append(time.monotonic() - start)
            if again.returncode:
                last = again.stderr.decode(errors="replace").strip().splitlines()[-1:]
                tally.failures.append(f"{label}: the second start failed: {last}")
            else:
                found = contents(folder)
                differ = [name for name in {*whole, *found} if whole.get(name) != found.get(name)]
                tally.failures += [f"{label}: {name} differs" for name in sorted(differ)]
                tally.failures += [f"{label}: {name} left behind" for name in unfinished(folder)]
        shutil.rmtree(folder)
    return tally


def undisturbed(victim: Victim, folder: Path) -> tuple[Contents, float]:
    """Run to the end twice (the first time compiles); contents and seconds of the second."""
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        start = time.monotonic()
        subprocess.run(victim.command(folder), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
    return contents(folder), seconds


def victims(raw: Path) -> dict[str, Victim]:
    """Make what the commands read, and the commands."""
    study = TESTS / "tiny.toml"
    simulate = [*DGEX, "simulate", "--study", study, "-o", raw]
    subprocess.run(simulate, check=True, capture_output=True)
    prepare = [*DGEX, "prepare", *raw_flags(raw), "-q", "-o"]
    small = [*SMALL, "-q"]
    model, prepared = raw / "model", raw / "prepared.h5"
    subprocess.run([*prepare, prepared], check=True, capture_output=True)
    train = [*DGEX, "train", prepared, *small, "--epochs", "3", "-o", raw / "run"]
    subprocess.run(train, check=True, capture_output=True)
    subprocess.run([*DGEX, "export", raw / "run", prepared, "-o", model], check=True)
    predict = [*DGEX, "predict", str(model), str(raw / "geo.gctx"), "--platform", "microarray"]
    arrays = [*DGEX, "train", str(TESTS / "golden" / "study_a.npz"), *small, "--epochs", "400"]
    everything = [sys.executable, "-m", "reproduce.all", "--study", str(raw / "two.toml"), "--out"]
    text = study.read_text(encoding="utf-8").replace("[1, 2]", "[1]")
    # Two networks: one architecture, two dropout rates.
    text = text.replace("units = [16, 32]", "units = [16]\ndropout = [0.0, 0.1]")
    raw.joinpath("two.toml").write_text(text, encoding="utf-8")
    found = [
        Victim("prepare", lambda folder: [*prepare, str(folder / "prepared.h5")]),
        Victim("train", lambda folder: [*arrays, "-o", str(folder / "run")]),
        Victim("predict", lambda folder: [*predict, "-q", "-o", str(folder / "out.gctx")]),
        Victim("zarr", lambda folder: [*predict, "-q", "-o", str(folder / "out.zarr")]),
        Victim("reproduce", lambda folder: [*everything, str(folder)], 0.2),
    ]
    return {victim.name: victim for victim in found}


def main() -> int:
    """Kill what was asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", type=one_of(NAMES), help=", ".join(NAMES))
    parser.add_argument("--trials", type=positive, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=positive, default=2, help="commands killed side by side")
    options = parser.parse_args()
    start = time.monotonic()
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="dgex-kills-") as name:
        scratch = Path(name)
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["PYTHONPATH"] = str(CHECKOUT)
        known = victims(scratch / "raw")
        print("| command | kills | with a temporary file open | losses | second start (median) |")
        print("|---|---|---|---|---|", flush=True)
        # The longest first: no core waits for it at the end.
        chosen = [known[one] for one in options.names or reversed(known)]
        with ThreadPoolExecutor(options.jobs) as jobs:
            under_way = {
                jobs.submit(
                    torment,
                    victim,
                    max(1, round(victim.trials * options.trials)),
                    scratch / victim.name,
                    options.seed,
                ): victim.name
                for victim in chosen
            }
            for done in as_completed(under_way):
                print(done.result().line(under_way[done]), flush=True)
                failures += done.result().failures
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes, {options.jobs} side by side")
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
