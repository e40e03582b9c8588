"""How a matrix of inferred profiles is cut into chunks, shards and parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK_PROFILES = 256
"""Profiles of a chunk: a batch of the network, so that batches and chunks begin together."""

CHUNK_GENES = 4096
"""Genes of a chunk, at most; fewer where that leaves less padding behind the last gene."""

SHARD_BYTES = 1 << 26
"""Size of a shard that is aimed at: few files, and several fit into memory."""


def default_profiles_per_shard(n_genes: int) -> int:
    """Give the multiple of 256 profiles whose float32 values come nearest to 64 MiB."""
    return max(1, round(SHARD_BYTES / (4 * n_genes * CHUNK_PROFILES))) * CHUNK_PROFILES


@dataclass(frozen=True)
class Layout:
    """The cut of a matrix ``(n_profiles, n_genes)``.

    Attributes
    ----------
    n_profiles, n_genes
        Its size, both at least 1.
    profiles_per_shard
        Profiles of a shard (one file), a multiple of 256.
    """

    n_profiles: int
    n_genes: int
    profiles_per_shard: int

    def __post_init__(self) -> None:
        if self.profiles_per_shard < 1 or self.profiles_per_shard % CHUNK_PROFILES:
            raise ValueError(
                f"{self.profiles_per_shard} profiles per shard: not a multiple of {CHUNK_PROFILES}"
            )

    @property
    def chunks(self) -> tuple[int, int]:
        """Profiles and genes of a chunk."""
        columns = -(-self.n_genes // CHUNK_GENES)
        return min(CHUNK_PROFILES, self.n_profiles), -(-self.n_genes // columns)

    @property
    def shards(self) -> tuple[int, int]:
        """Profiles and genes of a shard: whole chunks, all genes."""
        rows, columns = self.chunks
        most = -(-self.n_profiles // rows) * rows
        return min(self.profiles_per_shard, most), -(-self.n_genes // columns) * columns

    @property
    def chunks_per_shard(self) -> tuple[int, int]:
        """Chunks of a shard, along the profiles and along the genes."""
        (rows, columns), (shard_rows, shard_columns) = self.chunks, self.shards
        return shard_rows // rows, shard_columns // columns

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.n_profiles // self.profiles_per_shard)

    def file(self, shard: int) -> str:
        """Name of a shard's file in the store."""
        return f"X/c.{shard}.0"

    def rows(self, shard: int) -> slice:
        """Profiles of a shard."""
        start = shard * self.profiles_per_shard
        return slice(start, min(start + self.profiles_per_shard, self.n_profiles))

    def part(self, i: int, n: int) -> range:
        """Shards of part `i` (from 1) of `n`: contiguous, in sizes that differ by one at most."""
        return range(self.n_shards * (i - 1) // n, self.n_shards * i // n)

    def runs(self, shards: Sequence[int]) -> tuple[slice, ...]:
        """Profiles of ascending shards, neighbours in one run."""
        if not shards:
            return ()
        ends = [place for place, (a, b) in enumerate(pairwise(shards), 1) if b != a + 1]
        bounds = pairwise([0, *ends, len(shards)])
        return tuple(
            slice(self.rows(shards[first]).start, self.rows(shards[last - 1]).stop)
            for first, last in bounds
        )
