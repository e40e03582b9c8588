"""A child process that judges files one after the other, with its memory watched.

Standard input has a JSON object a line: ``kind`` and ``path``, and for a file to be made first the
``seed`` of its faults. Standard output answers each by a line.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from pathlib import Path

from tests.fuzz.readers import SUFFIX, verdict, write_case

ADDRESSES = 16 << 30
"""Of address space: keeps a fault of memory from taking the machine with it."""


def peak_bytes() -> int:
    """Largest resident size since `forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("the kernel tells no VmHWM")


def forget_peak() -> None:
    """Count the peak from here on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def judge(task: dict[str, str]) -> dict[str, object]:
    """Make the file if a seed is given, and read it."""
    path = Path(task["path"])
    if "seed" in task:
        write_case(task["kind"], path, random.Random(task["seed"]))
    forget_peak()
    before, start = peak_bytes(), time.process_time()
    outcome, why = verdict(task["kind"], path)
    seconds = time.process_time() - start
    return {
        "outcome": outcome,
        "why": why,
        "seconds": seconds,
        "bytes": peak_bytes() - before,
    }


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for kind in SUFFIX:
        # The first of each kind imports what the others then share.
        folder = Path(sys.argv[1])
        path = folder / f"warm{SUFFIX[kind]}"
        write_case(kind, path, random.Random(0))
        verdict(kind, path)
        path.unlink()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
