"""Table 2 of the paper for one study: ``python -m reproduce.table2 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import table_script
from reproduce.tables import TABLE2

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Make Table 2."""
    return table_script(
        "reproduce.table2",
        "Table 2: overall errors on GTEx-te, D-GEX with 25 % dropout.",
        [TABLE2],
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
