"""Flip bits at random in all that the product writes and reads back.

    python tests/stress/bitrot.py [--flips 200] [--seed 1] [ARTEFACT ...]

Ends with 1 if a flip was neither found (one line that names the file) nor without any effect on
what was read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.arguments import one_of, positive
from tests.reliability.bitrot import FOUND, HARMLESS, LOSS, choose_flips, count, trial
from tests.reliability.bitrot_artefacts import ARTEFACTS


def main() -> int:
    """Flip, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=one_of(ARTEFACTS),
        metavar="ARTEFACT",
        help=", ".join(ARTEFACTS),
    )
    parser.add_argument("--flips", type=positive, default=200, help="of each, at least (200)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    losses = []
    print("| artefact | files | flips | found | did not matter | losses | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for artefact in [ARTEFACTS[name] for name in options.names or ARTEFACTS]:
        with tempfile.TemporaryDirectory(prefix="dgex-bitrot-") as scratch:
            folder = Path(scratch) / artefact.name
            folder.mkdir()
            artefact.make(folder)
            start = time.monotonic()
            flips = choose_flips(artefact, folder, options.flips, options.seed)
            verdicts = trial(Path(scratch), flips)
            seconds = time.monotonic() - start
        kinds = count(verdicts)
        print(
            f"| {artefact.name} | {len({one.file for one in flips})} | {len(flips)} "
            f"| {kinds[FOUND]} | {kinds[HARMLESS]} | {kinds[LOSS]} | {seconds:.1f} |",
            flush=True,
        )
        losses += [verdict for verdict in verdicts if verdict.kind == LOSS]
    for verdict in losses:
        print(f"{verdict.flip}: {verdict.text}", file=sys.stderr)
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
