"""Figure 3 of the paper for one study: ``python -m reproduce.figure3 --help``."""

from __future__ import annotations

import sys

from reproduce.commandline import script
from reproduce.figures import genewise_product

PRODUCT = genewise_product("figure3", "te", "va", copies=False)
main = script("reproduce.figure3", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
