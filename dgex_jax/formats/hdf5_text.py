"""Text in HDF5 files: every way of padding it that GCTX writers use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def decode_text(raw: bytes) -> str:
    """Text of `raw`: UTF-8 where that is valid, else Latin-1 (older Matlab writers)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def decode_padded(raw: bytes | str) -> str:
    r"""Text of one HDF5 string without its padding.

    Space-padded, null-padded and null-terminated strings all end here the same way: what follows
    a ``\0`` is not text, and trailing spaces are padding even where the type says otherwise (files
    copied from a space-padded one keep the spaces).
    """
    plain = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
    return decode_text(plain.partition(b"\0")[0].rstrip(b" "))


def encode_fixed(texts: Sequence[str]) -> NDArray[Any]:
    """Null-padded fixed-length strings, the form cmapPy writes.

    Parameters
    ----------
    texts
        ``(n,)`` texts.

    Returns
    -------
    NDArray
        ``(n,)`` bytes strings, one length for all, whose dtype tells h5py the character set:
        ASCII where every text is, else UTF-8.
    """
    encoded = [text.encode() for text in texts]
    charset = "ascii" if all(map(str.isascii, texts)) else "utf-8"
    length = max([1, *map(len, encoded)])
    return np.array(encoded, dtype=h5py.string_dtype(charset, length))
