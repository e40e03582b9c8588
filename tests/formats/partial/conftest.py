"""Runs of a few profiles, and the bytes of undisturbed files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from dgex_jax.formats import partial

if TYPE_CHECKING:
    from collections.abc import Iterator
from tests.formats.partial.case import GENES, RUN, fill, names


@pytest.fixture(scope="module", autouse=True)
def small_runs() -> Iterator[None]:
    """Runs of `RUN` profiles: a multiple of the unit, of at least so many bytes. No power cuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "RUN_BYTES", 4 * GENES * (RUN - 1))
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the bytes of an undisturbed file."""
    known: dict[str, bytes] = {}

    def made(name: str, **how: Any) -> bytes:
        key = f"{name} {how}"
        if key not in known:
            path = tmp_path_factory.mktemp("straight") / name
            assert fill(path, **how) == []
            assert names(path.parent) == [name]
            known[key] = path.read_bytes()
        return known[key]

    return made
