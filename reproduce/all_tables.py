"""All tables of the paper for one study: ``python -m reproduce.all_tables --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import group
from reproduce.products import TABLES

main = group("reproduce.all_tables", "All tables of the paper.", TABLES)

if __name__ == "__main__":
    sys.exit(main())
