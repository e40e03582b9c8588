"""All figures of the paper for one study: ``python -m reproduce.all_figures --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import group
from reproduce.products import FIGURES

main = group("reproduce.all_figures", "All figures of the paper.", FIGURES)

if __name__ == "__main__":
    sys.exit(main())
