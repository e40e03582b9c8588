"""Time and peak memory of another process.

The kernel counts, for a new process, the memory of the one it was forked from; so a small process
of its own (this file as a script) starts the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class ChildRun:
    """What a finished process took.

    - `seconds`: from its start to its end.
    - `peak_bytes`: largest resident memory, about 10 MB at least (those of the process that starts
      it).
    - `exit_code`: negative: the signal that ended it.
    """

    seconds: float
    peak_bytes: int
    exit_code: int


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> ChildRun:
    """Run a command to its end; its output goes where ours goes."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        subprocess.run(  # noqa: S603  (the caller's own command)
            [sys.executable, __file__, str(result), *command], env=environment, check=True
        )
        return ChildRun(**json.loads(result.read_text(encoding="utf-8")))


def watch(result: Path, command: Sequence[str]) -> None:
    """Run a command and write what it took as JSON."""
    start = time.perf_counter()
    child = subprocess.Popen(command)  # noqa: S603
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    taken = {
        "seconds": seconds,
        "peak_bytes": usage.ru_maxrss * unit,
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    result.write_text(json.dumps(taken), encoding="utf-8")


if __name__ == "__main__":
    watch(Path(sys.argv[1]), sys.argv[2:])
