"""Figure 4 of the paper for one study: ``python -m reproduce.figure4 --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import script
from reproduce.figures import genewise_product

PRODUCT = genewise_product("figure4", "GTEx", "1000G", copies=True)
main = script("reproduce.figure4", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
