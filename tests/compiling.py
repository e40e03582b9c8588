"""How tests compile: half the time for those that compare no bits with another program's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import jax

from dgex_jax.train.epoch import epoch_program, gene_errors_program

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def compiled_quickly() -> Iterator[None]:
    """Compile with few optimisations; the programs are dropped, as others compare bit by bit."""
    option = "jax_disable_most_optimizations"
    before = jax.config.values[option]
    jax.config.update(option, True)
    try:
        yield
    finally:
        jax.config.update(option, before)
        epoch_program.cache_clear()
        gene_errors_program.cache_clear()
