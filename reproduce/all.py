"""All tables of one study, from raw files: ``python -m reproduce.all --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import table_script
from reproduce.tables import TABLE1, TABLE2

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all tables."""
    return table_script(
        "reproduce.all",
        "The whole grid of a study and its tables (so far 1 and 2), from raw files to results.",
        [TABLE1, TABLE2],
        arguments,
        whole_grid=True,
    )


if __name__ == "__main__":
    sys.exit(main())
