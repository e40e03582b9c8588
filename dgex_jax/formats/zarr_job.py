"""Which job an unfinished store belongs to: all that decides its bytes, compared key by key."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dgex_jax.formats.zarr_layout import Layout


def identity(
    job: Mapping[str, Any],
    layout: Layout,
    ids: Mapping[str, Sequence[str]],
    metadata: Mapping[str, pd.DataFrame],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe a job as JSON values.

    Parameters
    ----------
    job
        What the caller says it is, JSON values.
    layout
        The cut into shards.
    ids, metadata
        By name; kept as checksums.
    provenance
        JSON values.
    """
    described: dict[str, Any] = {
        "job": job,
        "profiles_per_shard": layout.profiles_per_shard,
        **{name: _checksum([json.dumps(list(texts))]) for name, texts in ids.items()},
        **{name: _checksum(_columns(frame)) for name, frame in metadata.items()},
        "provenance": provenance,
    }
    # What is read back from a file has no tuples.
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def canonical(value: Any) -> str:
    """One text for equal JSON values, whatever the order of their keys (and NaN equals NaN)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def checksum(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return _checksum([canonical(value)])


def first_difference(a: Any, b: Any) -> str | None:
    """Name the first key (``options.scale``) in which two JSON values differ; None if in none."""
    if canonical(a) == canonical(b):
        return None
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return ""
    for key in sorted(a.keys() | b.keys()):
        inner = first_difference(a.get(key), b.get(key)) if key in a and key in b else ""
        if inner is not None:
            return f"{key}.{inner}" if inner else str(key)
    return ""


def _checksum(texts: Iterable[str]) -> str:
    sha = hashlib.sha256()
    for text in texts:
        sha.update(text.encode("utf-8", "surrogatepass"))
    return sha.hexdigest()


def _columns(frame: pd.DataFrame) -> Iterable[str]:
    """Yield each column as a text; a number's shortest text is no other number's."""
    for name in frame.columns:
        column = frame[name]
        kind = [str(name), str(column.dtype)]
        if isinstance(column.dtype, pd.CategoricalDtype):
            kind += [str(column.dtype.ordered), *map(str, column.dtype.categories)]
        yield json.dumps([kind, [str(value) for value in column]])
