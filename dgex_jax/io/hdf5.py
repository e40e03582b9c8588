"""HDF5 in common: errors in one line, links that lead out, a matrix in parts, text, and the seal.

The seal is a line of JSON behind the end of an HDF5 file, where every reader ignores it: the places
of the chunks that have HDF5's own checksum (Fletcher-32), and the SHA-256 of all other bytes. In
the file format that every program reads, names, attributes, plain datasets and the tables that say
where chunks lie have no checksum: a flipped bit there is read as another value, as a chunk of
zeros, or ends the process. So the seal is compared before HDF5 sees the file. A program that
changes the file through HDF5 drops it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from abc import abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import as_slice, decode_text
from dgex_jax.io.files import (
    HDF5_CAUSE,
    HDF5_MAGIC,
    Closing,
    Unchanged,
    hash_range,
    one_line,
    read_head,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dgex_jax.io.expression import FloatArray, Places

COLUMN_BYTES = 1 << 30
"""The ids, or a field, of one axis: millions of them at hundreds of characters."""
CHUNK_BYTES = 1 << 30
"""A chunk must be in memory as a whole, however few of its values are asked for."""
READ_BYTES = 1 << 25
"""What one HDF5 call may bring in beyond the result itself."""
NEAR_BYTES = 1 << 12
"""In a contiguous matrix, values this near are read together: the disk does so anyway."""

ABSENT = re.compile(r"(?:object|attribute:) ('[^']+')")
"""What HDF5 looked for and did not find, in its own words."""

SEAL_END = re.compile(rb"dgex seal 1 (\d{12})\n")
"""The last bytes of a sealed file, with the length of the line before them."""
SEAL_END_BYTES = 25


@contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into a `FormatError` that names the file."""
    try:
        yield
    except DgexError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path}: needs more memory than there is") from error
    except (OSError, LookupError, ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        # What the system said is a cause; the library's own words are of addresses and calls.
        said = HDF5_CAUSE.findall(str(error)) or [getattr(error, "strerror", None)]
        absent = ABSENT.search(str(error))
        cause = f": {said[-1]}" if said[-1] else f": it has no {absent[1]}" if absent else ""
        raise FormatError(f"{path}: damaged or truncated HDF5 file{cause}") from error


def open_hdf5(path: Path, **options: Any) -> h5py.File:
    """Open a finished file for reading: locks fail on some network disks, so it needs none."""
    return h5py.File(path, "r", locking="best-effort", **options)


class Hdf5File(Closing):
    """An HDF5 file of some `kind` opened for reading in parts; it must not change meanwhile.

    A context manager; `close` it otherwise. Raises `FormatError` for no such file, not HDF5,
    truncated or damaged, and whatever `_look` finds.
    """

    def __init__(self, path: Path | str, kind: str, **options: Any) -> None:
        self.path = Path(path)
        if read_head(self.path) != HDF5_MAGIC:
            raise FormatError(f"{self.path}: is not {kind}: it does not begin as an HDF5 file")
        with hdf5_errors(self.path):
            self._file = open_hdf5(self.path, **options)
        try:
            self._unchanged = Unchanged.of_hdf5(self.path, self._file)
            with hdf5_errors(self.path):
                self._look()
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _look(self) -> None:
        """Read the ids and find the matrix, whose values are not read."""

    @contextmanager
    def _opened(self) -> Iterator[None]:
        if not self._file:
            raise ValueError(f"{self.path}: is closed")
        with hdf5_errors(self.path):
            yield
        self._unchanged.check()

    def _dataset(self, name: str) -> Any:
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError(f"{self.path}: has no dataset /{name}")
        require_inside(self.path, self._file, dataset)
        return dataset

    def _numbers(self, name: str) -> Any:
        matrix = self._dataset(name)
        if matrix.dtype.kind not in "fiu":
            raise FormatError(f"{self.path}: /{name} holds {matrix.dtype}, not numbers")
        return matrix

    def _field(self, name: str, n_ids: int) -> list[str] | NDArray[Any]:
        """Annotation: text as a list of str, numbers and truths as they are stored."""
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError(f"{self.path}: /{name} is not a dataset")
        require_inside(self.path, self._file, dataset)
        if dataset.size != n_ids:
            raise FormatError(f"{self.path}: /{name} has {dataset.size} values for {n_ids} ids")
        values = _read_column(self.path, dataset)
        if values.dtype.kind in "OSU":
            return [decode_padded(value) for value in values.tolist()]
        if values.dtype.kind not in "biuf":
            raise FormatError(
                f"{self.path}: /{name} holds {values.dtype}, neither text nor numbers"
            )
        return values.astype(values.dtype.newbyteorder("="))

    def close(self) -> None:
        """Close the file; ids and metadata already read stay."""
        self._file.close()


def read_ids(path: Path, dataset: Any) -> tuple[str, ...]:
    """Read ids, text or whole numbers, from a column; `FormatError` for anything else."""
    values = _read_column(path, dataset)
    if values.dtype.kind in "OSU":
        return tuple(map(decode_padded, values.tolist()))
    if values.dtype.kind == "f" and np.isfinite(values).all() and np.all(values % 1 == 0):
        return tuple(str(int(value)) for value in values.tolist())
    if values.dtype.kind in "iu":
        return tuple(map(str, values.tolist()))
    raise FormatError(
        f"{path}: {dataset.name} holds {values.dtype}, neither text nor whole numbers"
    )


def _read_column(path: Path, dataset: Any) -> NDArray[Any]:
    """Read a dataset of shape (n,), or (n, 1) or (1, n) as some Matlab writers have it."""
    if dataset.ndim == 0 or max(dataset.shape) != dataset.size:
        raise FormatError(f"{path}: {dataset.name} has no column of values but {dataset.shape}")
    if dataset.dtype.kind == "O" and h5py.check_string_dtype(dataset.dtype) is None:
        raise FormatError(f"{path}: {dataset.name} holds {dataset.dtype}, neither text nor numbers")
    require_column_sizes(path, dataset)
    values: NDArray[Any] = dataset[...].reshape(-1)
    return values


def narrow_dtype(stored: np.dtype[Any]) -> np.dtype[np.floating[Any]]:
    """Dtype in which stored numbers are read: float32 for floats of up to 32 bits, else float64."""
    narrow = stored.kind == "f" and stored.itemsize <= 4
    return np.dtype(np.float32 if narrow else np.float64)


def require_inside(path: Path, file: Any, element: Any) -> None:
    """Raise `FormatError` if an element, or one below it, takes its values from another file.

    HDF5 has three ways: external links, external storage and virtual datasets. By any of them a
    stranger's file could bring what lies elsewhere on the reader's disk into what is made of it.
    """
    for one in _all_below(element):
        stored = isinstance(one, h5py.Dataset) and (one.is_virtual or one.external)
        if stored or one.file.filename != file.filename:
            raise FormatError(f"{path}: {one.name} lies in another file")


def require_column_sizes(path: Path, element: Any) -> None:
    """Raise `FormatError` if a dataset, or one below a group, declares more than a column has.

    A few damaged bytes can declare any size, and whoever reads all of it takes that memory.
    """
    for one in _all_below(element):
        if isinstance(one, h5py.Dataset) and one.nbytes > COLUMN_BYTES:
            raise FormatError(
                f"{path}: {one.name} declares {one.nbytes} bytes, more than ids or annotation "
                f"can have ({COLUMN_BYTES})"
            )


def _all_below(element: Any) -> Iterator[Any]:
    """Give a dataset, or a group with all below it; links may lead in circles."""
    waiting, seen = [element], set()
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, h5py.Group) and one not in seen:
            seen.add(one)
            waiting += one.values()


def read_matrix(
    matrix: Any, rows: Places, columns: Places, dtype: np.dtype[Any], *, turned: bool = False
) -> FloatArray:
    """Read rows and columns of a two-dimensional HDF5 dataset, any order, repeats allowed.

    Beside the result ``(n_rows, n_columns)``, if `turned` ``(n_columns, n_rows)``, at most about
    32 MiB (or one chunk) are in memory at a time. Raises `FormatError` for chunks larger than
    `CHUNK_BYTES`.
    """
    chunk_bytes = math.prod(matrix.chunks or ()) * matrix.dtype.itemsize
    if chunk_bytes > CHUNK_BYTES:
        raise FormatError(
            f"{matrix.file.filename}: {matrix.name} is stored in chunks of {chunk_bytes} bytes (at "
            f"most {CHUNK_BYTES} can be read)"
        )
    shape = len(rows), len(columns)
    result = np.empty(shape[::-1] if turned else shape, dtype)
    if not result.size:
        return result
    part = as_slice(rows), as_slice(columns)
    if not turned and isinstance(part[0], slice) and isinstance(part[1], slice):
        matrix.read_direct(result, part)
    else:
        _gather(matrix, result, rows, columns, turned=turned)
    return result


def _gather(
    matrix: Any, result: FloatArray, rows: Places, columns: Places, *, turned: bool
) -> None:
    """Fill `result` from few larger reads, each touching every chunk it needs once."""
    values = result.T if turned else result
    # NumPy converts while it copies anyway; HDF5 would do it in a pass of its own.
    stored = matrix.dtype.newbyteorder("=")
    itemsize = stored.itemsize
    chunk_rows, chunk_columns = matrix.chunks or (1, NEAR_BYTES // itemsize)
    # Turned, few columns at a time lie nearer to each other where they are read and written.
    widest = chunk_columns if turned else READ_BYTES // (chunk_rows * itemsize)
    cut: dict[int, list[tuple[int, int, slice | Places, Places]]] = {}
    for left, right, here, wanted in _pieces(columns, chunk_columns, widest):
        longest = READ_BYTES // ((right - left) * itemsize)
        if longest not in cut:  # scattered columns are many spans of the same width
            cut[longest] = list(_pieces(rows, chunk_rows, longest))
        for top, bottom, there, needed in cut[longest]:
            block = np.empty((bottom - top, right - left), stored)
            matrix.read_direct(block, np.s_[top:bottom, left:right])
            part = block[as_slice(needed)][:, as_slice(wanted)]
            if isinstance(here, slice) or isinstance(there, slice):
                values[there, here] = part
            else:
                values[np.ix_(there, here)] = part


def _pieces(
    chosen: Places, gap: int, longest: int
) -> Iterator[tuple[int, int, slice | Places, Places]]:
    """Split positions in any order (not none, repeats allowed) into spans to read.

    Positions up to `gap` apart share a span (what lies between comes with the same chunk, or costs
    less than a further call). Spans longer than `longest` are cut, between chunks, into as many
    chunks as fit, or one. Gives for each its start and stop, which of `chosen` lie in it
    (ascending), and where in it they lie.
    """
    longest = max(gap, longest - longest % gap)
    order = np.argsort(chosen, kind="stable")
    ascending = chosen[order]
    breaks = np.flatnonzero(np.diff(ascending) > gap) + 1
    firsts = ascending[np.concatenate([[0], breaks])].tolist()
    lasts = ascending[np.concatenate([breaks - 1, [len(ascending) - 1]])].tolist()
    for first, last in zip(firsts, lasts, strict=True):
        for edge in range(first - first % gap, last + 1, longest):
            start, stop = max(edge, first), min(edge + longest, last + 1)
            places = np.sort(order[slice(*np.searchsorted(ascending, (start, stop)))])
            if len(places):  # a long span is cut also where nothing is chosen
                yield start, stop, as_slice(places), chosen[places] - start


def decode_padded(raw: bytes | str) -> str:
    r"""Text of one HDF5 string without its padding, in every way that GCTX writers pad it.

    What follows a ``\0`` is not text, and trailing spaces are padding even where the type says
    otherwise (files copied from a space-padded one keep the spaces).
    """
    plain = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
    return decode_text(plain.partition(b"\0")[0].rstrip(b" "))


def encode_fixed(texts: Sequence[str]) -> NDArray[Any]:
    """Encode texts as null-padded strings of one length, the form cmapPy writes.

    The dtype tells h5py the character set: ASCII where every text is, else UTF-8.
    """
    encoded = [text.encode() for text in texts]
    charset = "ascii" if all(map(str.isascii, texts)) else "utf-8"
    length = max([1, *map(len, encoded)])
    return np.array(encoded, dtype=h5py.string_dtype(charset, length))


def seal_hdf5(path: Path) -> None:
    """Seal a finished file that has no seal; the same file gets the same one."""
    with h5py.File(path, "r") as file:
        chunks = _chunks(file)
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        content = {"size": size, "chunks": chunks, "sha256": _sha256(stream.fileno(), size, chunks)}
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        stream.write(line + b"dgex seal 1 %012d\n" % len(line))


def check_seal(path: Path) -> bool:
    """Compare a file with its seal, and tell whether it has one (older versions wrote none).

    Reads all of it but the chunks that have a checksum of their own. Raises `FormatError` if the
    file is not the one that was sealed, or can't be read.
    """
    try:
        with path.open("rb") as stream:
            end = max(0, stream.seek(0, os.SEEK_END) - SEAL_END_BYTES)
            stream.seek(end)
            found = SEAL_END.fullmatch(stream.read())
            if found is None:
                return False
            size = max(0, end - int(found[1]))
            stream.seek(size)
            seal = json.loads(stream.read(end - size))
            sha256 = _sha256(stream.fileno(), size, seal["chunks"])
            intact = (seal["size"], seal["sha256"]) == (size, sha256)
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        intact = False
    if not intact:
        raise FormatError(
            f"{path}: damaged: names, attributes or tables in it are not those that were written"
        )
    return True


def _chunks(file: h5py.File) -> list[int]:
    """Where checksummed chunks lie: the first bytes and the ends of runs of them, ascending."""
    places: list[tuple[int, int]] = []

    def see(_name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.fletcher32:
            item.id.chunk_iter(
                lambda chunk: places.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
            )

    file.visititems(see)
    bounds: list[int] = []
    for start, stop in sorted(places):
        if bounds and bounds[-1] == start:
            bounds[-1] = stop
        else:
            bounds += [start, stop]
    return bounds


def _sha256(descriptor: int, size: int, chunks: Sequence[int]) -> str:
    """Checksum of the first `size` bytes but for chunks, and of where these are."""
    digest = hashlib.sha256(json.dumps([size, *chunks]).encode())
    bounds = [0, *chunks, size]
    if bounds != sorted(bounds):
        raise ValueError("places out of order")
    for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
        hash_range(digest, descriptor, start, stop)
    return digest.hexdigest()
