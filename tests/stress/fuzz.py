"""Damaged files over every reader: each is read as an independent parser reads it, or refused.

    python tests/stress/fuzz.py [--cases 12000] [--seed 0] [--keep FOLDER] [kind ...]

Refused means by one line that names the file. Ends with 1 if a reader does anything else: another
exception, other values, more than 5 s or 256 MiB for one small file, the death of its process.
Where h5py alone hangs, swells or dies over a file, that is counted apart (libhdf5): no reader that
uses it can know before.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.arguments import one_of, positive
from tests.fuzz.drive import drive
from tests.fuzz.readers import SUFFIX


def main() -> int:
    """Drive and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", type=one_of(SUFFIX), help=", ".join(SUFFIX))
    parser.add_argument("--cases", type=positive, default=12_000, help="over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    kinds = options.kinds or list(SUFFIX)
    failures = []
    columns = ["reader", "files", "read as the independent parser", "refused", "failures"]
    columns += ["libhdf5", "seconds", "slowest", "peak MiB"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for kind in kinds:
        each = -(-options.cases // len(kinds))
        (tally,) = drive([kind], each, options.seed, options.keep).values()
        counts = [tally.cases, tally.read, tally.refused, len(tally.failures), len(tally.library)]
        costs = [f"{tally.seconds:.1f}", f"{tally.slowest:.2f}", f"{tally.peak / 2**20:.0f}"]
        print(f"| {' | '.join([kind, *map(str, counts), *costs])} |", flush=True)
        print("\n".join([*tally.failures, *tally.library]), file=sys.stderr, flush=True)
        failures += tally.failures
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
