"""What scripts of the tests take on their command line; anything else is one line, exit code 2."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """Give argparse a type: one of some names.

    Its own ``choices`` refuses, in Python 3.11, an empty list of them.
    """
    names = tuple(known)

    def name(text: str) -> str:
        if text not in names:
            raise ArgumentTypeError(f"{text}: not one of {', '.join(names)}")
        return text

    return name


def positive(text: str) -> int:
    """Read a whole number from 1 on, as argparse's type."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text}: not a whole number from 1 on")
    return int(text)
