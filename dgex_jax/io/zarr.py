"""AnnData zarr stores out, shard by shard, by one process or several; and whether one is intact.

A store grows in the folder ``<path>.partial`` and is moved onto its path by whoever writes its last
shard. Its manifest says of which job it is and has the checksum of every file: a shard is listed
once it is complete under its name and on the disk. zarr itself makes a shard's bytes in memory; its
own `LocalStore` renames, too, but waits for no disk, and TensorStore, which does, can't write the
texts of AnnData.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import re
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.files import (
    locked,
    move_whole,
    one_line,
    reading,
    remove_folder,
    replace_folder,
    require_space,
    restore_folder,
    say,
    sync,
    temporary_folder,
    temporary_path,
)
from dgex_jax.io.h5ad import ENCODING, matrix_names, plain_metadata
from dgex_jax.io.manifest import file_sha256, read_record, write_record
from dgex_jax.io.partial import differences
from dgex_jax.io.progress import Behind
from dgex_jax.io.writers import ProfileWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager, ExitStack

    import pandas as pd

    from dgex_jax.io.expression import FloatArray

MANIFEST = "X/dgex.json"
"""Where zarr doesn't look for arrays, so that no reader warns of it."""

FORMAT = {"format": "dgex store", "format_version": 2}
ROOT = "zarr.json"
CHUNK_PROFILES = 256
"""Profiles of a chunk: a batch of the network, so that batches and chunks begin together."""

CHUNK_GENES = 4096
"""Genes of a chunk, at most; fewer where that leaves less padding behind the last gene."""

SHARD_BYTES = 1 << 26
"""Size of a shard that is aimed at: few files, and several fit into memory."""

NEEDED = {"zarr": (3, 1), "anndata": (0, 12)}
HARMLESS = (
    # Readers that know nothing of it read the same metadata node by node.
    "Consolidated metadata is currently not part",
    # Texts: what anndata itself writes and reads.
    r"The (codec|dtype|data type) .* (is currently not part|does not have a)",
    # Anndata asks pandas 3 about it at each write.
    "The 'future.infer_string' option is deprecated",
)


def default_profiles_per_shard(n_genes: int) -> int:
    """Give the multiple of 256 profiles whose float32 values come nearest to 64 MiB."""
    return max(1, round(SHARD_BYTES / (4 * n_genes * CHUNK_PROFILES))) * CHUNK_PROFILES


class ZarrWriter(ProfileWriter):
    """Write an AnnData zarr store (format 3) profile by profile, or a part of its profiles.

    A `ProfileWriter` whose runs begin at multiples of 256. What a process that failed or was killed
    has finished stays, and the same job resumes from it: shards that are there are read first, and
    written again if they are damaged. The bytes of the store depend on neither the parts nor the
    interruptions. Memory is bounded by a few shards. An older store of ours at `path` is replaced
    when the new one is complete; only one of the same job is left as it is if this process writes
    one of several parts (then it came after the end).

    ``obs`` and ``var`` are the metadata, indexed by the ids in their order; mixed columns become
    text. `layers` are AnnData's, with a shard for each of ``X``, and `profile_columns` the last of
    ``obs``. `provenance` (JSON values) is stored as text in ``uns["dgex"]``. `job` has the JSON
    values that decide all of the store's bytes: a partial store of another job is removed, or
    refused (`DgexError`) if others may be at work on it. `part` i (from 1) of n is written by this
    process: contiguous shards; `DgexError` if another process is at it. `profiles_per_shard` is a
    multiple of 256, by default so many that a shard has about 64 MiB. `report` gets a line when a
    partial store is removed or shards of it are written again, and when the store is complete
    already.

    `n_shards` are all of the store, `missing` those that are not there, of any part (as found when
    the block began and ended); 0 once the store is in place.
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
        layers: Sequence[str] = (),
        profile_columns: Sequence[str] = (),
    ) -> None:
        further = layers, profile_columns
        super().__init__(path, profiles, genes, profile_metadata, gene_metadata, *further)
        self._zarr, self._anndata = import_zarr(self.path)
        if not 1 <= part[0] <= part[1]:
            raise DgexError(f"{self.path}: part {part[0]} of {part[1]}: parts are 1 to n of n")
        n, n_genes = self._shape = len(self.profiles), len(self.genes)
        self._per_shard = profiles_per_shard or default_profiles_per_shard(n_genes)
        if self._per_shard < 1 or self._per_shard % CHUNK_PROFILES:
            raise ValueError(
                f"{self._per_shard} profiles per shard: not a multiple of {CHUNK_PROFILES}"
            )
        self.n_shards = self.missing = -(-n // self._per_shard)
        self._obs = plain_metadata(profile_metadata, self.profiles)
        self._var = plain_metadata(gene_metadata, self.genes)
        self._uns = {"dgex": json.dumps(provenance, sort_keys=True)}
        layout = {"shape": (n, *self._widths), "profiles_per_shard": self._per_shard}
        # As it is read back: without tuples.
        self._job = json.loads(json.dumps({**job, "layout": layout}))
        self._part, self._report = part, report
        self._place = self.path.resolve()
        self._partial = self._place.with_name(f"{self._place.name}.partial")
        self._part_name = f"{self._place.name}.part-{part[0]}-of-{part[1]}"
        self._names, self._encoded = matrix_names(self), dict[str, Any]()
        self._arrays = self._new_arrays(self._zarr.storage.MemoryStore(self._encoded))
        rows = min(self._per_shard, n)
        self._values = [np.empty((rows, *array.shape[1:]), np.float32) for array in self._arrays]
        self._put = Behind(self._commit, ahead=1)

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        check_place(self.path)
        with self._lock():
            stack.enter_context(locked(self._place.with_name(self._part_name), wait=False))
            stack.callback(self._lock_file().unlink, missing_ok=True)
            stack.push(self._discard_if_empty)
            runs = self._begin()
        # What is under way ends before anything is cleared up.
        stack.callback(self._put.close)
        n_profiles = sum(run.stop - run.start for run in runs)
        require_space(self._partial, 4 * n_profiles * self._shape[1])
        return runs

    def _begin(self) -> list[slice]:
        """Find or make the partial store of this job; give the profiles to be written to it."""
        several = self._part[1] > 1
        restore_folder(self._place)
        if self._partial.exists():
            cause = self._difference()
            if cause and (several or self._others()):
                raise DgexError(
                    f"{self._partial}: {cause}; others may be at work on it, remove it if not"
                )
            if cause:
                self._report(f"{self._partial}: {cause}, removed")
                remove_folder(self._partial, self._partial)
        elif several and read_record(self._place / MANIFEST).get("job") == self._job:
            # Other parts may have finished before this one began, if it has no shards.
            self._report(f"{self.path}: is already complete")
            self.missing = 0
            return []
        if not self._partial.exists():
            self._create()
        return self._unwritten()

    def _difference(self) -> str:
        """Say why the partial store can't be resumed; empty if it can."""
        found = read_record(self._partial / MANIFEST)
        if not found:
            return "its manifest is damaged or of another version"
        other = differences(found["job"], self._job)
        if other:
            return f"belongs to another job (its {', '.join(other)} differs)"
        shards = {name for shard in range(self.n_shards) for name in self._shard_files(shard)}
        for name, checksum in found["files"].items():
            if name not in shards and _sha256(self._partial / name) != checksum:
                return f"its {name} is damaged"
        return ""

    def _unwritten(self) -> list[slice]:
        """Give the profiles of this part whose shards are missing or damaged, in runs."""
        (i, n), files = self._part, self._files()
        runs: list[slice] = []
        for shard in range(self.n_shards * (i - 1) // n, self.n_shards * i // n):
            rows = self._rows(shard)
            for name in self._shard_files(shard):
                if name in files and _sha256(self._partial / name) != files[name]:
                    self._report(f"{self._partial / name}: damaged, is written again")
                    del files[name]
            if self._has(files, shard):
                continue
            if runs and runs[-1].stop == rows.start:
                rows = slice(runs.pop().start, rows.stop)
            runs.append(rows)
        self._write_manifest(self._partial, files)
        self._count(files)
        return runs

    def _write(self, start: int, blocks: Sequence[FloatArray], columns: FloatArray) -> None:
        left = [*blocks, *columns.T]
        while len(left[0]):
            shard, first = divmod(start, self._per_shard)
            rows = self._rows(shard)
            size = rows.stop - rows.start
            n = min(len(left[0]), size - first)
            for values, block in zip(self._values, left, strict=True):
                values[first : first + n] = block[:n]
            if first + n == size:
                for array, values in zip(self._arrays, self._values, strict=True):
                    array[rows] = values[:size]
                # The next shard is filled meanwhile: the disk never waits for it.
                for name in self._shard_files(shard):
                    self._put(name, memoryview(self._encoded.pop(name).as_buffer_like()))
            start, left = start + n, [block[n:] for block in left]

    def _commit(self, name: str, data: memoryview) -> None:
        """Write a file of a shard: complete under its name and on the disk, then listed."""
        file, sha256 = self._partial / name, hashlib.sha256()
        temporary = temporary_path(file)
        try:
            # While the disk takes it.
            with Behind(sha256.update) as add:
                add(data)
                temporary.write_bytes(data)
                sync(temporary, os.O_RDWR)
            with self._lock():
                files = self._files()
                move_whole(temporary, file)
                self._write_manifest(self._partial, files | {name: sha256.hexdigest()})
        finally:
            temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._put.settle()
        with self._lock():
            files = self._files()
            self._count(files)
            # Another process that wrote the last shard has moved it.
            if self.missing or not self._partial.exists():
                return
            check_place(self.path)
            for name in self._names:
                for left in (self._partial / name).iterdir():
                    if f"{name}/{left.name}" not in {*files, MANIFEST}:
                        left.unlink()
            for folder in (*(self._partial / name for name in self._names), self._partial):
                sync(folder, os.O_RDONLY)
            replace_folder(self._partial, self._place)
            for file in self._others():
                file.unlink(missing_ok=True)

    def _create(self) -> None:
        """Make the partial store with all but its values; complete or not at all."""
        files = self._metadata()
        with temporary_folder(self._partial) as new:
            for name, data in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(data)
                sync(new / name, os.O_RDWR)
            self._write_manifest(
                new, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            )
            for folder in [new, *(inner for inner in new.rglob("*") if inner.is_dir())]:
                sync(folder, os.O_RDONLY)
            new.rename(self._partial)
            sync(self._place.parent, os.O_RDONLY)

    def _metadata(self) -> dict[str, bytes]:
        """Make all files of the store but those of its values, by zarr in memory."""
        content: dict[str, Any] = {}
        store = self._zarr.storage.MemoryStore(content)
        # What zstd packs has no checksum of its own, and a reader gets other values.
        packed = self._zarr.codecs.ZstdCodec(level=3, checksum=True)
        options = {"shards": None, "compressors": [packed]}
        try:
            with quiet(), self._zarr.config.set({"array.write_empty_chunks": True}):
                data = self._anndata.AnnData(obs=self._obs, var=self._var, uns=self._uns)
                data.strings_to_categoricals()
                group = self._zarr.open_group(store, mode="w", zarr_format=3)
                self._anndata.io.write_elem(group, "/", data, dataset_kwargs=options)
                if "X" in group:
                    del group["X"]
                self._new_arrays(store)
                if self.profile_columns:
                    about = group["obs"].attrs
                    about["column-order"] = [*about["column-order"], *self.profile_columns]
                self._zarr.consolidate_metadata(store)
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{self.path}: can't be written: {one_line(error)}") from error
        return {name: buffer.to_bytes() for name, buffer in content.items()}

    def _new_arrays(self, store: Any) -> list[Any]:
        """Make an array for the values, each layer, and (one-dimensional) each profile column."""
        return [self._new_array(store, name) for name in self._names]

    def _new_array(self, store: Any, name: str) -> Any:
        n, n_genes = self._shape
        rows, columns = min(CHUNK_PROFILES, n), -(-n_genes // CHUNK_GENES)
        chunks = rows, -(-n_genes // columns)
        dimensions = 1 if name.startswith("obs/") else 2
        return self._zarr.create_array(
            store,
            name=name,
            shape=self._shape[:dimensions],
            chunks=chunks[:dimensions],
            shards=(min(self._per_shard, -(-n // rows) * rows), columns * chunks[1])[:dimensions],
            dtype="float32",
            filters=None,
            # zstd makes predictions smaller by a tenth only, and its bytes depend on its version.
            compressors=[self._zarr.codecs.Crc32cCodec()],
            # What is missing is read as missing, not as the mean of a gene.
            fill_value=np.nan,
            # One file a shard, no folder around each.
            chunk_key_encoding={"name": "default", "separator": "."},
            attributes=ENCODING,
            zarr_format=3,
            # Chunks of zeros (or NaN) are there as well: what isn't there is damage.
            config={"write_empty_chunks": True},
        )

    def _rows(self, shard: int) -> slice:
        start = shard * self._per_shard
        return slice(start, min(start + self._per_shard, self._shape[0]))

    def _shard_files(self, shard: int) -> list[str]:
        """Name the files that hold the profiles of a shard."""
        return [_shard_name(shard, name) for name in self._names]

    def _has(self, files: Mapping[str, str], shard: int) -> bool:
        return all(name in files for name in self._shard_files(shard))

    def _lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the output, for moments: to begin, to list a shard, to finish."""
        return locked(self._partial, report=lambda _line: None)

    def _lock_file(self) -> Path:
        return self._place.with_name(f".{self._part_name}.lock")

    def _others(self) -> list[Path]:
        """Lock files of other parts: at work, or killed."""
        start, own = f".{self._place.name}.part-", self._lock_file().name
        files = self._place.parent.iterdir()
        return [one for one in files if one.name.startswith(start) and own not in one.name]

    def _files(self) -> dict[str, str]:
        """Give the listed files of this job's store, unfinished or in place, with checksums."""
        for folder in (self._partial, self._place):
            found = read_record(folder / MANIFEST)
            if found.get("job") == self._job:
                return dict(found["files"])
        raise DgexError(f"{self._partial}: was removed or replaced by another process")

    def _write_manifest(self, folder: Path, files: Mapping[str, str]) -> None:
        write_record(folder / MANIFEST, {**FORMAT, "job": self._job}, dict(sorted(files.items())))

    def _count(self, files: Mapping[str, str]) -> None:
        self.missing = sum(not self._has(files, shard) for shard in range(self.n_shards))

    def _discard_if_empty(self, kind: object, _error: object, _trace: object) -> None:
        """After an error: keep a partial store only if it has a shard, or others may write one."""
        if kind is None:
            return
        # What happened first is what the user has to know.
        with suppress(DgexError, OSError), self._lock():
            self._count(self._files())
            if self.missing == self.n_shards and not self._others():
                remove_folder(self._partial, self._partial)


def check_place(path: Path) -> None:
    """Raise `DgexError` where no store can be written: no folder, or something else is there."""
    place = path.resolve()
    if not place.parent.is_dir():
        raise DgexError(f"{path}: can't be written: not in a folder that is there")
    for folder, name in ((place, path), (place.with_name(f"{place.name}.partial"), None)):
        ours = (folder / MANIFEST).is_file() or _first_version(folder) is not None
        if folder.exists() and not ours:
            raise DgexError(f"{name or folder}: is in the way: not a zarr store written by dgex")


# Checking


def check_zarr(path: Path | str) -> int:
    """Compare every file of a store with the checksum in its manifest; count its shards.

    Stores of format version 1 have no checksums of shards in a manifest: zarr reads them, whose
    chunks have some. Raises `FormatError` for the first file that is missing or damaged, or if
    there is no such store, or its manifest is missing or damaged; `DgexError` for a store of
    version 1 where zarr is not installed.
    """
    path = Path(path)
    found = read_record(path / MANIFEST)
    if not found and (path / MANIFEST).is_file():
        raise FormatError(f"{path / MANIFEST}: damaged, or changed since it was written")
    ours = found or _first_version(path)
    if ours is None:
        if (path / ROOT).is_file():
            raise FormatError(f"{path / ROOT}: damaged, or no zarr store written by dgex")
        raise FormatError(f"{path}: no zarr store written by dgex")
    for name, checksum in ours["files"].items():
        with reading(path / name):
            if file_sha256(path / name) != checksum:
                raise FormatError(f"{path / name}: damaged, or changed since it was written")
    if not found:
        _check_shards(path, ours["profiles_per_shard"])
    return len(list(path.glob("X/c.*")))


def _first_version(path: Path) -> dict[str, Any] | None:
    """Give what a store of format version 1 says of itself in its root; ``None`` where none is."""
    try:
        ours = json.loads((path / ROOT).read_bytes())["attributes"]["dgex"]
        known = isinstance(ours["job"], str) and isinstance(ours["files"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ours if known else None


def _check_shards(path: Path, per_shard: int) -> None:
    zarr, _ = import_zarr(path)
    with quiet():
        X = zarr.open_array(zarr.storage.LocalStore(path, read_only=True), path="X", mode="r")
    for start in range(0, X.shape[0], per_shard):
        file = path / _shard_name(start // per_shard)
        if not file.is_file():
            raise FormatError(f"{file}: can't be read: No such file or directory")
        try:
            # It compares the checksums of the index and of every chunk.
            X[start : start + per_shard]
        except (OSError, ValueError, RuntimeError, LookupError, TypeError, OverflowError) as error:
            cause = "damaged: a chunk or the index has not the bytes of its checksum"
            raise FormatError(f"{file}: {cause}") from error


def _shard_name(shard: int, array: str = "X") -> str:
    return f"{array}/c.{shard}" if array.startswith("obs/") else f"{array}/c.{shard}.0"


def _sha256(file: Path) -> str | None:
    return file_sha256(file) if file.is_file() else None


# The libraries


def import_zarr(path: Path) -> tuple[Any, Any]:
    """Import the optional packages zarr and anndata, which `path` needs.

    Raises `DgexError` if one is not installed, or too old (with the command that installs them).
    """
    modules = []
    for name, needed in NEEDED.items():
        what = f"{name} >= {'.'.join(map(str, needed))}"
        try:
            modules.append(importlib.import_module(name))
            found = importlib.metadata.version(name)
        except ImportError:
            found = ""
        if tuple(map(int, re.findall(r"\d+", found)[:2])) < needed:
            what += f", not {found}" if found else ""
            raise DgexError(f'{path}: a .zarr store needs {what}: pip install "dgex-jax[anndata]"')
    return modules[0], modules[1]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of zarr and anndata quiet that `HARMLESS` lists, and no others."""
    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message)
        yield
