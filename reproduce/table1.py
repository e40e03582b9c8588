"""Table 1 of the paper for one study: ``python -m reproduce.table1 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import table_script
from reproduce.tables import TABLE1

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Make Table 1."""
    return table_script(
        "reproduce.table1",
        "Table 1: overall errors on GEO-te, D-GEX with 10 % dropout.",
        [TABLE1],
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
