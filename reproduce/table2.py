"""Table 2 of the paper for one study: ``python -m reproduce.table2 --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import script
from reproduce.tables import table_product

PRODUCT = table_product("table2")
main = script("reproduce.table2", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
