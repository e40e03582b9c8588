"""Table S1 of the paper for one study: ``python -m reproduce.table_s1 --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import script
from reproduce.product import Needs, Product
from reproduce.settings import write_settings

PRODUCT = Product(
    "tableS1",
    "Table S1: how networks are trained.",
    lambda _study: Needs(prepared=False),
    write_settings,
)
main = script("reproduce.table_s1", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
