"""What every refusal of a file must be: one short, printable line that begins with its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_LINE = 5000
"""An error is a line to be read, not the file over again."""


def is_refusal(text: str, path: Path) -> bool:
    return text.startswith(f"{path}: ") and text.isprintable() and len(text) <= LONGEST_LINE


def refused(read: Callable[..., Any], path: Path, match: str = "", **options: Any) -> None:
    """Assert that reading fails by such a line, which matches a pattern."""
    with pytest.raises(DgexError, match=match) as caught:
        read(path, **options)
    assert is_refusal(str(caught.value), path), caught.value
