"""The optional packages zarr and anndata, and what they say that is of no concern here."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDED = {"zarr": (3, 1), "anndata": (0, 12)}

HARMLESS = (
    # Readers that know nothing of it read the same metadata node by node.
    "Consolidated metadata is currently not part",
    # Texts: what anndata itself writes and reads.
    r"The (codec|dtype|data type) .* (is currently not part|does not have a)",
    # Anndata asks pandas 3 about it at each write.
    "The 'future.infer_string' option is deprecated",
)


def import_zarr(path: Path) -> tuple[Any, Any]:
    """Import the optional packages that `path` needs.

    Returns
    -------
    zarr, anndata
        The modules.

    Raises
    ------
    DgexError
        One is not installed, or too old (with the command that installs them).
    """
    modules = []
    for name, needed in NEEDED.items():
        least = ".".join(map(str, needed))
        try:
            modules.append(importlib.import_module(name))
            found = importlib.metadata.version(name)
        except ImportError as error:
            raise DgexError(_need(path, f"{name} >= {least}")) from error
        if tuple(map(int, re.findall(r"\d+", found)[:2])) < needed:
            raise DgexError(_need(path, f"{name} >= {least}, not {found}"))
    return modules[0], modules[1]


def _need(path: Path, what: str) -> str:
    return f'{path}: a .zarr store needs {what}: pip install "dgex-jax[anndata]"'


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of zarr and anndata quiet that `HARMLESS` lists, and no others."""
    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message)
        yield
