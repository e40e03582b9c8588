"""AnnData zarr stores out, shard by shard, by one process or several together."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.behind import Behind
from dgex_jax.formats.diskspace import require_space
from dgex_jax.formats.h5ad_write import plain_metadata
from dgex_jax.formats.profilewriter import ProfileWriter
from dgex_jax.formats.zarr_check import check_shards
from dgex_jax.formats.zarr_folder import StoreFolders
from dgex_jax.formats.zarr_job import checksum, identity
from dgex_jax.formats.zarr_layout import Layout, default_profiles_per_shard
from dgex_jax.formats.zarr_library import import_zarr
from dgex_jax.formats.zarr_parts import PartLocks
from dgex_jax.formats.zarr_skeleton import ShardEncoder, skeleton
from dgex_jax.locks import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray


class ZarrWriter(ProfileWriter):
    """Write an AnnData zarr store (format 3) profile by profile, or a part of its profiles.

    A context manager (see `ProfileWriter`; its runs begin at multiples of 256). The store grows in
    the folder ``<path>.partial``, a file a shard; whoever finds all shards of all parts there when
    it is done moves it onto `path`. What a process that failed or was killed has finished stays,
    and the same job goes on from it. The bytes of the store depend on neither the parts nor the
    interruptions: what is gone on from is read first, and what is damaged is written anew.

    Memory is bounded by a few shards (of 64 MiB, if `profiles_per_shard` is left alone).

    Parameters
    ----------
    path
        The folder to be written. An older store of this kind is replaced when the new one is
        complete; only one of the same job is left as it is if this process writes one of several
        parts (then it came after the end).
    profiles, genes
        Ids (``obs_names``, ``var_names``), unique, in the order of the values; at least one each.
    profile_metadata, gene_metadata
        ``obs`` and ``var``, indexed by the ids in their order; mixed columns become text.
    provenance
        JSON values, stored as text in ``uns["dgex"]``.
    job
        JSON values that decide the values to come. A partial store is gone on with only where
        these, the ids, the metadata, the provenance and `profiles_per_shard` are all the same.
    part
        Part i (from 1) of n that this process writes: a run of whole shards.
    profiles_per_shard
        A multiple of 256; by default so many that a shard has about 64 MiB.
    report
        Gets a line when another job's partial store is begun anew, when a store is already
        complete, and when another process is waited for.

    Attributes
    ----------
    n_shards
        Shards of the whole store.
    missing
        How many of them are not there, of any part (as found when the block began and ended).
    finished
        Whether the store is in place.

    Raises
    ------
    FormatError
        Ids that come twice, no profiles or genes, metadata that can't be written, and at the end
        missing profiles.
    DgexError
        zarr or anndata is not installed; something else than such a store at `path`; another
        process at the same part; with several parts a partial store of another job; a place that
        can't be written to.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        profile_metadata: pd.DataFrame,
        gene_metadata: pd.DataFrame,
        provenance: Mapping[str, Any],
        *,
        job: Mapping[str, Any],
        part: tuple[int, int] = (1, 1),
        profiles_per_shard: int | None = None,
        report: Callable[[str], None] = say,
    ) -> None:
        super().__init__(path, profiles, genes)
        import_zarr(self.path)
        if not 1 <= part[0] <= part[1]:
            raise DgexError(f"{self.path}: part {part[0]} of {part[1]}: parts are 1 to n of n")
        per_shard = profiles_per_shard or default_profiles_per_shard(len(self.genes))
        self._layout = Layout(len(self.profiles), len(self.genes), per_shard)
        self._obs = plain_metadata(profile_metadata, self.profiles)
        self._var = plain_metadata(gene_metadata, self.genes)
        self._uns = {"dgex": json.dumps(provenance, sort_keys=True)}
        self._identity = identity(
            job,
            self._layout,
            {"profiles": self.profiles, "genes": self.genes},
            {"profile_metadata": self._obs, "gene_metadata": self._var},
            provenance,
        )
        self._part, self._report = part, report
        self._folders = StoreFolders(self.path)
        self._locks = PartLocks(self._folders.place, part, report)
        self._shard_values: NDArray[np.float32] | None = None
        self._encode: ShardEncoder | None = None
        self._put = Behind(self._folders.write, ahead=1)
        self._begun = False
        self.n_shards = self._layout.n_shards
        self.missing = self.n_shards
        self.finished = False

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        self._folders.check()
        with self._locks.output():
            self._locks.take()
            stack.enter_context(self._cleared_up())
            shards = self._begin()
        shards = self._with_damaged(shards)
        runs = self._layout.runs(shards)
        n_profiles = sum(run.stop - run.start for run in runs)
        # What is under way ends before anything is cleared up.
        stack.callback(self._put.close)
        require_space(self._folders.partial, 4 * n_profiles * self._layout.shards[1])
        return runs

    def _begin(self) -> list[int]:
        """Find or make the partial store of this job; give the shards to be written to it."""
        folders, several = self._folders, self._part[1] > 1
        folders.settle()
        folders.check()
        there = folders.partial.exists()
        if several and not there and folders.finished_job() == checksum(self._identity):
            # Other parts may have finished before this one began, if it has no shards.
            self._report(f"{self.path}: is already complete")
            self.finished, self.missing = True, 0
            return []
        key = folders.difference(self._identity) if there else None
        if key is not None:
            if several:
                raise DgexError(
                    f"{folders.partial}: belongs to another job (its {key} differs), at which "
                    "others may be at work; remove it if not"
                )
            self._report(f"{folders.partial}: belongs to another job (its {key} differs), removed")
            folders.discard_partial()
        if key is not None or not there:
            folders.create(self._skeleton(), self._identity)
        else:
            self._mend_metadata()
        self._begun = True
        mine = self._layout.part(*self._part)
        folders.remove_temporaries(lambda shard: shard in mine)
        missing = self._missing()
        self.missing = len(missing)
        return [shard for shard in missing if shard in mine]

    def _skeleton(self) -> dict[str, bytes]:
        job = checksum(self._identity)
        return skeleton(self.path, self._layout, self._obs, self._var, self._uns, job)

    def _mend_metadata(self) -> None:
        """Write what surrounds the values anew if bits of it have flipped since."""
        folders = self._folders
        try:
            damaged = folders.damaged_metadata()
        except FormatError as error:
            self._report(f"{error}; written anew")
        else:
            if damaged is None:
                return
            self._report(f"{folders.partial / damaged}: damaged, written anew")
        for name, data in self._skeleton().items():
            folders.write(name, memoryview(data))

    def _with_damaged(self, missing: list[int]) -> list[int]:
        """Remove shards of this part whose bits have flipped since; they are to be written too."""
        if not self._begun:
            return missing
        found = []
        for shard in self._layout.part(*self._part):
            if shard in missing:
                found.append(shard)
                continue
            try:
                check_shards(self._folders.partial, self._layout, [shard])
            except FormatError as error:
                self._report(f"{error}; written anew")
                # The lock of the part is held: nobody takes the store for complete meanwhile.
                (self._folders.partial / self._layout.file(shard)).unlink(missing_ok=True)
                found.append(shard)
                self.missing += 1
        return found

    def _write(self, start: int, block: FloatArray) -> None:
        layout = self._layout
        if self._shard_values is None:
            rows = min(layout.profiles_per_shard, layout.n_profiles)
            self._shard_values = np.empty((rows, layout.n_genes), np.float32)
        while len(block):
            shard, first = divmod(start, layout.profiles_per_shard)
            size = layout.rows(shard).stop - layout.rows(shard).start
            n = min(len(block), size - first)
            self._shard_values[first : first + n] = block[:n]
            if first + n == size:
                self._write_shard(shard, self._shard_values[:size])
            start, block = start + n, block[n:]

    def _write_shard(self, shard: int, values: NDArray[np.float32]) -> None:
        if self._encode is None:
            self._encode = ShardEncoder(self.path, self._layout)
        # The next shard is filled meanwhile: the disk never waits for it.
        self._put(self._layout.file(shard), self._encode(shard, values))

    def _finish(self) -> None:
        self._put.settle()
        with self._locks.output():
            try:
                if not self.finished:
                    self._finish_if_last()
            finally:
                self._locks.give_back()

    def _finish_if_last(self) -> None:
        self.missing = len(self._missing())
        if self.missing:
            return
        others = self._locks.others_at_work()
        if others:
            # Its last file may not be on the disk yet. As it can't finish before this process has
            # freed its part, it will find itself the last.
            self._report(f"{self.path}: all shards are there; left to {others[0]} to finish")
            return
        self._folders.remove_temporaries(lambda _: True)
        self._folders.put_in_place()
        self.finished = True

    @contextmanager
    def _cleared_up(self) -> Iterator[None]:
        """After an error: keep what is of use to somebody, and free the part."""
        try:
            yield
        except BaseException:
            # What happened first is what the user has to know.
            with suppress(DgexError, OSError), self._locks.output():
                try:
                    self._discard_if_empty()
                finally:
                    self._locks.give_back()
            raise
        finally:
            # Also where the output's lock can't be had.
            self._locks.give_back()

    def _discard_if_empty(self) -> None:
        if self._begun and not self.finished:
            self.missing = len(self._missing())
            if self.missing == self.n_shards and not self._locks.others_at_work():
                self._folders.discard_partial()

    def _missing(self) -> list[int]:
        there = self._folders.is_there
        return [k for k in range(self.n_shards) if not there(self._layout.file(k))]
