"""Many damaged files over the readers, in child processes that may die, hang or swell.

Run as a module (``python -m tests.fuzz.drive FOLDER``) it is such a child: standard input has a
JSON object a line, ``kind`` and ``path``, and for a file to be made first the ``seed`` of its
faults; standard output answers each by a line.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fuzz.readers import SUFFIX, verdict, write_case

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 5.0
"""Of processor time for one small file."""
PATIENCE = 20.0
"""Seconds of processor time (the clock says little on a busy machine) after which it hangs."""
CLOCK = 900.0
"""Seconds on the clock after which a process that uses no processor hangs too."""
PEAK_BYTES = 256 << 20
"""What reading one small file may take beyond what the process has already."""
BARE_BYTES = 128 << 20
"""What a process takes that has imported h5py and nothing else, at most."""
ADDRESSES = 16 << 30
"""Of address space: keeps a fault of memory from taking the machine with it."""
A_CHILD = 2000
"""Files a child process reads."""


@dataclass
class Tally:
    """What came of the files of one kind."""

    cases: int = 0
    read: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    library: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    peak: int = 0

    def add(self, answer: dict[str, Any], path: Path) -> bool:
        """Count one answer; whether it is as it should be."""
        self.cases += 1
        self.seconds += answer["seconds"]
        self.slowest = max(self.slowest, answer["seconds"])
        self.peak = max(self.peak, answer["bytes"])
        why = answer["why"] if answer["outcome"] == "failed" else ""
        if answer["seconds"] > SECONDS:
            why = f"took {answer['seconds']:.1f} s"
        if answer["bytes"] > PEAK_BYTES:
            why = f"took {answer['bytes'] >> 20} MiB"
        if why and (answer.get("lost") or why.startswith("took")) and bare_fault(path):
            self.library.append(f"{path.stem}: {why}, also by h5py alone")
        elif why:
            self.failures.append(f"{path.stem}: {why}")
        elif answer["outcome"] == "read":
            self.read += 1
        else:
            self.refused += 1
        return not why


def bare_fault(path: Path) -> bool:
    """Whether plain h5py hangs, swells or dies too: no reader that uses it can do better."""
    if path.suffix not in {".gctx", ".h5ad", ".h5"} or not path.exists():
        return False
    command = [sys.executable, "-m", "tests.fuzz.bare", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT) as process:
        if not answers(process, PATIENCE):
            process.kill()
            return True
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode < 0 or usage.ru_maxrss << 10 > BARE_BYTES + PEAK_BYTES


def answers(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait until a process writes a line or ends; whether it did before `patience` was over."""
    assert process.stdout is not None
    start, begun = processor_seconds(process.pid), time.monotonic()
    while True:
        ready, _, _ = select.select([process.stdout], [], [], min(0.5, patience))
        if ready:
            return True
        if processor_seconds(process.pid) - start > patience or time.monotonic() - begun > CLOCK:
            return False


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """A process that reads files one by one; a new one takes the place of one that died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def ask(self, task: dict[str, str]) -> dict[str, Any]:
        """The answer to one task; a death or a hang is a failure."""
        if self._process is None or self._answered >= A_CHILD:
            self.stop()
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        failed = {"outcome": "failed", "seconds": 0.0, "bytes": 0, "lost": True}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        if not answers(process, PATIENCE):
            self.stop()
            return {**failed, "why": f"no answer in {PATIENCE:.0f} s"}
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            process.wait()
            why = f"the process died ({process.returncode})"
            self.stop()
            return {**failed, "why": why}
        self._answered += 1
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._answered = 0
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.drive", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            env=os.environ | one_thread | {"PYTHONPATH": str(CHECKOUT)},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process


def drive(kinds: Iterable[str], cases: int, seed: int, keep: Path | None) -> dict[str, Tally]:
    """Judge `cases` damaged files of each kind (see `SUFFIX`).

    The same seed makes the same files; those that failed are left in `keep`.
    """
    tallies = {}
    with tempfile.TemporaryDirectory(prefix="dgex-fuzz-") as name, Child(Path(name)) as child:
        for kind in kinds:
            tally = tallies[kind] = Tally()
            for case in range(cases):
                label = f"{kind}-{seed}-{case}"
                path = Path(name) / f"{label}{SUFFIX[kind]}"
                answer = child.ask({"kind": kind, "path": str(path), "seed": label})
                if not tally.add(answer, path) and keep is not None and path.exists():
                    keep.mkdir(parents=True, exist_ok=True)
                    path.rename(keep / path.name)
                path.unlink(missing_ok=True)
    return tallies


def peak_bytes() -> int:
    """Largest resident size since it was last reset (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def judge(task: dict[str, str]) -> dict[str, object]:
    """Make the file if a seed is given, and read it."""
    path = Path(task["path"])
    if "seed" in task:
        write_case(task["kind"], path, random.Random(task["seed"]))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, start = peak_bytes(), time.process_time()
    outcome, why = verdict(task["kind"], path)
    seconds = time.process_time() - start
    return {"outcome": outcome, "why": why, "seconds": seconds, "bytes": peak_bytes() - before}


def main(folder: Path) -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for kind in SUFFIX:
        # The first of each kind imports what the others then share.
        path = folder / f"warm{SUFFIX[kind]}"
        write_case(kind, path, random.Random(0))
        verdict(kind, path)
        path.unlink()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
