"""Checks of profile and gene ids that every format shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def check_ids(path: Path, kind: str, ids: Sequence[str]) -> None:
    """Raise `FormatError` unless `ids` are there, none is empty and none comes twice.

    Parameters
    ----------
    path
        The file, for the text of the error.
    kind
        ``profile`` or ``gene``.
    ids
        In file order.
    """
    if not ids:
        raise FormatError(f"{path}: has no {kind}s")
    if len(set(ids)) < len(ids) or "" in ids:
        first: dict[str, int] = {}
        for place, name in enumerate(ids, start=1):
            if not name:
                raise FormatError(f"{path}: the id of {kind} {place} is empty")
            if name in first:
                raise FormatError(
                    f"{path}: duplicate {kind} id {name!r} ({kind}s {first[name]} and {place})"
                )
            first[name] = place


def check_storable(path: Path, what: str, texts: Sequence[str], forbidden: str) -> None:
    r"""Raise `FormatError` if a text would not survive being written and read again.

    Parameters
    ----------
    path
        The file to be written.
    what
        What the texts are (``gene id``, ``profile field 'series'``).
    texts
        The texts.
    forbidden
        Characters the format can't hold (a tab in GCT, ``\0`` in HDF5).
    """
    for text in texts:
        bad = next((character for character in forbidden if character in text), None)
        if bad is not None:
            raise FormatError(f"{path}: {what} {text!r}: the format can't hold {bad!r}")
