"""Table S5 of the paper for one study: ``python -m reproduce.table_s5 --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import script
from reproduce.tables import table_product

PRODUCT = table_product("tableS5")
main = script("reproduce.table_s5", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
