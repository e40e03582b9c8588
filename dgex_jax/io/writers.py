"""Expression files out, profile by profile: GCT and GCTX; what all writers share.

`write_gct` and `write_gctx` write what is in memory. Every writer is complete under its name or
leaves an older file as it was; GCTX and AnnData resume if asked to (see `partial`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import MISSING, check_ids, check_storable
from dgex_jax.io.files import atomic_path, final_place, one_line, require_space, temporary_folder
from dgex_jax.io.hdf5 import encode_fixed
from dgex_jax.io.lines import GEUVADIS_COLUMNS, fill_lines, write_lines
from dgex_jax.io.partial import PartialMatrices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import DTypeLike, NDArray

    from dgex_jax.io.expression import Expression, FloatArray
    from dgex_jax.io.partial import Resume

FORBIDDEN = "\t\n\r\0"
QUOTE = '"'
GENES_AT_A_TIME = 256
VALUES_AT_A_TIME = 1 << 22


class ProfileWriter(ABC):
    """Base of the writers that get an output's values profile by profile.

    A context manager. Inside it, whoever has the values asks for `pending` and appends those
    profiles, in that order, in blocks of any size; the output appears under `path` when the block
    ends without an error and all of them have arrived. An older one stays as it was until then.
    Metadata have a line an id, indexed by the ids in their order. `layers` name further values
    ``(n_profiles, n_genes)``, and `profile_columns` numbers of each profile (float32 metadata),
    that come with the values; not every format has a place for them. When the block has ended,
    `missing` pieces are still to be written by other processes, and `sha256` is the checksum
    (hexadecimal) of the file, where writing it gave that.

    Subclasses give `_open` (and enter on its stack whatever must be closed, removed or moved) and
    `_write`, and where the end is more than that, `_finish`. Raises `FormatError` for ids that
    are missing or come twice, and at the end for missing profiles; `DgexError` for a place that
    can't be written to.
    """

    missing = 0
    sha256: str | None = None

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        profile_metadata: pd.DataFrame | None = None,
        gene_metadata: pd.DataFrame | None = None,
        layers: Sequence[str] = (),
        profile_columns: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        self.profiles, self.genes = tuple(profiles), tuple(genes)
        check_ids(self.path, "profile", self.profiles)
        check_ids(self.path, "gene", self.genes)
        both = (profile_metadata, gene_metadata)
        tables = (pd.DataFrame() if one is None else one for one in both)
        self.profile_metadata, self.gene_metadata = tables
        self.layers, self.profile_columns = tuple(layers), tuple(profile_columns)
        for name in self.profile_columns:
            if name in self.profile_metadata.columns:
                raise FormatError(f"{self.path}: the profiles have a field {name!r} already")
        self._left: list[slice] = []
        self._stack, self._finished = ExitStack(), False

    @abstractmethod
    def _open(self, stack: ExitStack) -> Sequence[slice]:
        """Make ready to write; give the runs of profiles that are to be written, ascending."""

    @abstractmethod
    def _write(self, start: int, blocks: Sequence[FloatArray], columns: FloatArray) -> None:
        """Write profiles from `start` on, which are known to fit.

        `blocks` are the values and those of each of `layers`, ``(n, n_genes)``; `columns` are those
        of `profile_columns`, ``(n, n_columns)`` float32.
        """

    def _finish(self) -> None:  # noqa: B027
        """Do what is left when all profiles are there, before what is open is closed and moved."""

    @property
    def _widths(self) -> list[int]:
        """Values a profile has in each matrix: the values, the layers, and each column."""
        return [len(self.genes)] * (1 + len(self.layers)) + [1] * len(self.profile_columns)

    def pending(self) -> Sequence[slice]:
        """Give the runs of profiles still to be appended, ascending; none if all are there.

        Right after the start they begin at multiples of the writer's unit. A file that resumes
        lists only what is missing.
        """
        return tuple(self._left)

    def append(
        self,
        block: FloatArray,
        layers: Mapping[str, FloatArray] | None = None,
        profile_values: FloatArray | None = None,
    ) -> None:
        """Add the next profiles ``(n, n_genes)`` of one run of `pending`, NaN where missing.

        With them come those of each of `layers`, of the same shape, and of `profile_columns`,
        ``(n, n_columns)``. Raises `FormatError` for a shape that doesn't fit, values that are
        lacking or have no place, and values the format can't hold.
        """
        layers = layers or {}
        columns = np.empty((len(block), 0)) if profile_values is None else profile_values
        run = self._left[0] if self._left else slice(len(self.profiles), len(self.profiles))
        stop = run.start + len(block)
        if block.shape != (len(block), len(self.genes)) or stop > run.stop:
            raise FormatError(
                f"{self.path}: a block of shape {block.shape} does not fit at profile {run.start} "
                f"of {len(self.profiles)} x {len(self.genes)} genes"
            )
        shapes = {name: layer.shape for name, layer in layers.items()}
        if shapes != dict.fromkeys(self.layers, block.shape):
            raise FormatError(f"{self.path}: layers {shapes} do not fit a block of {block.shape}")
        if columns.shape != (len(block), len(self.profile_columns)):
            raise FormatError(
                f"{self.path}: profile values of shape {columns.shape} do not fit {len(block)} "
                f"profiles x {len(self.profile_columns)} columns"
            )
        blocks = [block, *(layers[name] for name in self.layers)]
        with self._disk_errors():
            self._write(run.start, blocks, np.asarray(columns, np.float32))
        self._left[:1] = [slice(stop, run.stop)] if stop < run.stop else []

    def finish(self) -> None:
        """Complete the output, but for its name, which it gets when the block ends.

        For whoever has something to do between; the end of the block does it otherwise. Raises
        `FormatError` for missing profiles.
        """
        missing = sum(run.stop - run.start for run in self._left)
        if missing:
            there, n = len(self.profiles) - missing, len(self.profiles)
            raise FormatError(f"{self.path}: not written: {there} of {n} profiles")
        if not self._finished:
            with self._disk_errors():
                self._finish()
            self._finished = True

    def __enter__(self) -> Self:
        with ExitStack() as stack, self._disk_errors():
            self._left = [run for run in self._open(stack) if run.start < run.stop]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *stopped: Any) -> None:
        with self._disk_errors():
            if stopped[0] is not None:
                self._stack.__exit__(*stopped)
                return
            with self._stack:
                self.finish()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn what a disk (or HDF5, with a `RuntimeError`) says into one line."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise DgexError(f"{self.path}: can't be written: {one_line(error)}") from error


# Text


class GctWriter(ProfileWriter):
    """Write a GCT 1.3 file profile by profile (gzip-compressed if the suffix is ``.gz``).

    Metadata are stored as text, -666 where missing. As the format has a line a gene, values
    (float32) wait in a scratch folder beside the file; in memory are a few genes of all profiles at
    a time, and all `profile_columns`. An interrupted file restarts. Raises as `ProfileWriter`, and
    `FormatError` for ids or metadata the format can't hold.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        profile_metadata: pd.DataFrame,
        gene_metadata: pd.DataFrame,
        profile_columns: Sequence[str] = (),
    ) -> None:
        about = profile_metadata, gene_metadata
        super().__init__(path, profiles, genes, *about, profile_columns=profile_columns)

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        # Ids, metadata and places that can't be written are refused here, not after hours.
        next(_gct_lines(self.path, self, "1.3"))
        place = final_place(self.path)
        require_space(self.path, 4 * len(self.profiles) * len(self.genes))
        folder = temporary_folder(place.with_name(f"{place.name}.values"))
        self._scratch = stack.enter_context(folder) / "values"
        self._pieces: list[tuple[int, int]] = []
        self._columns: list[FloatArray] = []
        return [slice(0, len(self.profiles))]

    def _write(self, _start: int, blocks: Sequence[FloatArray], columns: FloatArray) -> None:
        (block,) = blocks
        self._columns.append(columns)
        with self._scratch.open("ab") as file:
            self._pieces.append((file.tell(), len(block)))
            # Gene by gene inside a block, so that some genes of it are one piece of the file.
            file.write(np.ascontiguousarray(block.T, dtype=np.float32).data)

    def _finish(self) -> None:
        index = pd.Index(self.profiles, dtype=object)
        about = self.profile_metadata
        about = about.copy() if len(about.columns) else pd.DataFrame(index=index)
        columns = np.concatenate(self._columns).T
        for name, values in zip(self.profile_columns, columns, strict=True):
            # As objects: the text of a float32 has the digits it takes and no others.
            about[name] = pd.Series(list(values), index=about.index, dtype=object)
        self.profile_metadata = about
        temporary = self._stack.enter_context(atomic_path(self.path))
        fill_lines(temporary, self.path, _gct_lines(self.path, self, "1.3"))

    def read(self, _profiles: slice, genes: slice) -> NDArray[np.float32]:
        """Values ``(n_profiles, n_genes)`` of all profiles and some genes, as appended."""
        start, stop, _ = genes.indices(len(self.genes))
        values = np.empty((stop - start, len(self.profiles)), np.float32)
        column = 0
        with self._scratch.open("rb") as file:
            for place, n in self._pieces:
                file.seek(place + 4 * start * n)
                piece = np.fromfile(file, np.float32, (stop - start) * n)
                values[:, column : column + n] = piece.reshape(-1, n)
                column += n
        return values.T


def write_gct(
    path: Path | str, expression: Expression, *, version: Literal["1.2", "1.3"] = "1.2"
) -> None:
    """Write a GCT file (gzip-compressed if the suffix is ``.gz``), all or nothing.

    Version 1.2 has place for the gene field ``Description`` (``NA`` where there is none) and no
    other metadata; 1.3 holds all of it, as text, -666 where it is missing. Values get as many
    digits as it takes to read the same value of the same dtype again. Raises `FormatError` for ids
    or metadata the format can't hold, `DgexError` for a place that can't be written to.
    """
    path = Path(path)
    if version not in ("1.2", "1.3"):
        raise ValueError(f"GCT version {version!r}: must be '1.2' or '1.3'")
    write_lines(path, _gct_lines(path, expression, version))


def write_rpkm(path: Path | str, expression: Expression) -> None:
    """Write a GEUVADIS table as `write_gct` writes GCT.

    Of the metadata it has place for ``Gene_Symbol``, ``Chr`` and ``Coord`` of the genes alone.
    """
    path, (corner, *fields) = Path(path), GEUVADIS_COLUMNS
    write_lines(path, _table_lines(path, expression, corner, fields))


def _gct_lines(path: Path, expression: Expression | GctWriter, version: str) -> Iterator[str]:
    """Yield the lines of a GCT file; ids and metadata are checked before the first."""
    size = [len(expression.genes), len(expression.profiles)]
    if version == "1.2":
        table = _table_lines(path, expression, "Name", ["Description"])
    else:
        fields = _names(path, expression.gene_metadata)
        profile_fields = _names(path, expression.profile_metadata)
        size += [len(fields), len(profile_fields)]
        table = _table_lines(path, expression, "id", fields, profile_fields, str(MISSING))
    header = next(table)
    yield f"#{version}\n"
    yield "\t".join(map(str, size)) + "\n"
    yield header
    yield from table


def _table_lines(
    path: Path,
    expression: Expression | GctWriter,
    corner: str,
    fields: Sequence[str],
    profile_fields: Sequence[str] = (),
    missing: str = "NA",
) -> Iterator[str]:
    """Yield the header, a line for each of `profile_fields`, and a line a gene with its `fields`.

    Raises `FormatError`, before the first, for ids and metadata that the table can't hold.
    """
    profiles, genes = expression.profiles, expression.genes
    for kind, ids in (("profile", profiles), ("gene", genes)):
        check_ids(path, kind, ids)
        check_storable(path, f"{kind} id", ids, FORBIDDEN)
    texts = _annotation(path, expression.profile_metadata, profiles, profile_fields, missing)
    by_field = _annotation(path, expression.gene_metadata, genes, fields, missing)
    yield _joined([corner, *fields, *profiles]) + "\n"
    for field, cells in zip(profile_fields, texts, strict=True):
        yield _joined([field, *[missing] * len(fields), *cells]) + "\n"
    notes = zip(genes, *by_field, strict=True)
    for texts_of_gene, numbers in zip(notes, _value_rows(path, expression), strict=True):
        yield "\t".join([_joined(texts_of_gene), *numbers]) + "\n"


def _names(path: Path, metadata: pd.DataFrame) -> list[str]:
    names = [str(name) for name in metadata.columns]
    if len(set(names)) < len(names) or names != list(metadata.columns) or "" in names:
        raise FormatError(f"{path}: metadata fields must be distinct names, not {names}")
    check_storable(path, "metadata field", names, FORBIDDEN)
    return names


def _joined(cells: Iterable[str]) -> str:
    """Join texts; one that begins with a quote is quoted, as readers take those off."""
    texts = (f'"{cell.replace(QUOTE, 2 * QUOTE)}"' if cell[:1] == QUOTE else cell for cell in cells)
    return "\t".join(texts)


def _annotation(
    path: Path, metadata: pd.DataFrame, ids: Sequence[str], fields: Sequence[str], missing: str
) -> list[list[str]]:
    """Give the texts of each of `fields`; those of one that the metadata has not are `missing`."""
    if len(metadata.columns) and tuple(metadata.index) != tuple(ids):
        raise FormatError(f"{path}: the index of the metadata is not the ids")
    columns = []
    for field in fields:
        values = metadata[field] if field in metadata.columns else [missing] * len(ids)
        columns.append([missing if pd.isna(value) else str(value) for value in values])
        check_storable(path, f"field {field!r}", columns[-1], FORBIDDEN)
    return columns


def _value_rows(path: Path, expression: Expression | GctWriter) -> Iterator[list[str]]:
    """Yield the texts ``(n_profiles,)`` of the values of each gene, ``NaN`` where there is none."""
    # By blocks: a column of the matrix at a time would miss the cache at every value.
    step = max(1, min(GENES_AT_A_TIME, VALUES_AT_A_TIME // len(expression.profiles)))
    for start in range(0, len(expression.genes), step):
        block = np.ascontiguousarray(expression.read(slice(None), slice(start, start + step)).T)
        check_unlike_missing(path, block.T, expression.profiles, expression.genes[start:])
        for row in block:
            texts = map(str, row.tolist() if row.dtype == np.float64 else row)
            yield ["NaN" if text == "nan" else text for text in texts]


def check_unlike_missing(
    path: Path, values: FloatArray, profiles: Sequence[str], genes: Sequence[str]
) -> None:
    """Raise `FormatError` for a value of -666: in a table of text that means missing."""
    taken = np.argwhere(values == MISSING)
    if len(taken):
        profile, gene = taken[0]
        raise FormatError(
            f"{path}: profile {profiles[profile]!r}, gene {genes[gene]!r}: -666 can't be stored, "
            "it means missing"
        )


# HDF5


class MatrixWriter(ProfileWriter):
    """Base of the writers whose values are matrices of an HDF5 file.

    With `resume` an interrupted file resumes; one process at a time, which the caller takes care
    of.
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)
    _resume: Resume | None = None
    _partial: PartialMatrices | None = None
    _matrices: Sequence[Any] = ()

    @abstractmethod
    def _lay_out(self, path: Path, dcpl: Any) -> AbstractContextManager[Sequence[Any]]:
        """Write all but the values; give the matrices, created with `dcpl`, and close the file.

        They are that of the values, of each layer, and (one-dimensional) each profile column.
        """

    def _stored(self, start: int, block: FloatArray) -> FloatArray:  # noqa: ARG002
        """Give values as they are stored (inf where too large), if the format can hold them."""
        with np.errstate(over="ignore"):
            return np.asarray(block, self.dtype)

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        n, what = len(self.profiles), (self._widths, self.dtype)
        if self._resume is not None:
            self._partial = stack.enter_context(
                PartialMatrices(self.path, n, *what, self._resume, self._lay_out_early)
            )
            return [slice(self._partial.done, n)]
        temporary = stack.enter_context(atomic_path(self.path))
        require_space(self.path, n * sum(self._widths) * self.dtype.itemsize)
        self._matrices = stack.enter_context(self._lay_out(temporary, None))
        return [slice(0, n)]

    def _write(self, start: int, blocks: Sequence[FloatArray], columns: FloatArray) -> None:
        stored = [self._stored(start, block) for block in blocks]
        stored += list(np.asarray(columns, self.dtype).T)
        if self._partial is not None:
            self._partial.write(start, stored)
            return
        for matrix, values in zip(self._matrices, stored, strict=True):
            matrix[start : start + len(values)] = values

    def __exit__(self, *stopped: Any) -> None:
        super().__exit__(*stopped)
        if self._partial is not None:
            self.sha256 = self._partial.sha256

    def _lay_out_early(self, path: Path) -> list[int]:
        """Lay out the file with places for its matrices from the start on; give those places."""
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        with self._lay_out(path, plan) as matrices:
            return [int(matrix.id.get_offset()) for matrix in matrices]


class GctxWriter(MatrixWriter):
    """Write a GCTX 1.0 file profile by profile (see `ProfileWriter`).

    `dtype`, float32 or float64, is that of the matrix and of `profile_columns`. Metadata that are
    numbers (and truth values, as 0 and 1) are stored as numbers, everything else as text, which
    loses trailing spaces (readers take them for padding); missing text and integers become -666.
    `src` (where the values come from) and `attributes` (JSON values) become root attributes. With
    `resume` an interrupted file resumes where it stopped (see `partial`).

    Raises as `ProfileWriter`, and `FormatError` for ids or metadata the format can't hold and for a
    value that would be read back as another: -666, or a float64 beyond float32's range.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        *,
        dtype: DTypeLike = np.float32,
        profile_metadata: pd.DataFrame | None = None,
        gene_metadata: pd.DataFrame | None = None,
        src: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        resume: Resume | None = None,
        profile_columns: Sequence[str] = (),
    ) -> None:
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype {dtype}: a GCTX matrix is float32 or float64")
        about = profile_metadata, gene_metadata
        super().__init__(path, profiles, genes, *about, profile_columns=profile_columns)
        self.dtype, self._resume = np.dtype(dtype), resume
        self._fields = {
            "COL": _fields(self.path, "profile", self.profiles, self.profile_metadata),
            "ROW": _fields(self.path, "gene", self.genes, self.gene_metadata),
        }
        self._attributes: dict[str, Any] = {"version": np.bytes_(b"GCTX1.0")}
        if src is not None:
            self._attributes["src"] = np.bytes_(src.encode())
        for name, value in (attributes or {}).items():
            # Text of variable length may be longer than the 64 KB of a fixed one.
            self._attributes[name] = json.dumps(value, sort_keys=True)

    def _stored(self, start: int, block: FloatArray) -> FloatArray:
        stored = super()._stored(start, block)
        bad = stored == MISSING
        if stored.dtype != block.dtype:
            bad |= np.isinf(stored) & np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise FormatError(
                f"{self.path}: profile {self.profiles[start + row]!r}, gene "
                f"{self.genes[column]!r}: {block[row, column]} can't be stored as {self.dtype}"
                f" ({MISSING} means missing)"
            )
        return stored

    @contextmanager
    def _lay_out(self, path: Path, dcpl: Any) -> Iterator[Any]:
        with h5py.File(path, "w") as file:
            file.attrs.update(self._attributes)
            for axis, fields in self._fields.items():
                for name, values in fields.items():
                    file.create_dataset(f"0/META/{axis}/{name}", data=values, compression="gzip")
            n, options = len(self.profiles), {"dtype": self.dtype, "dcpl": dcpl}
            matrix = file.create_dataset("0/DATA/0/matrix", (n, len(self.genes)), **options)
            names = [f"0/META/COL/{name}" for name in self.profile_columns]
            yield [matrix, *(file.create_dataset(name, (n,), **options) for name in names)]


def write_gctx(path: Path | str, expression: Expression, **options: Any) -> None:
    """Write `expression` with its metadata and dtype as GCTX 1.0.

    `options` are keywords of `GctxWriter`, which count more.
    """
    settings: dict[str, Any] = {
        "dtype": expression.values.dtype,
        "profile_metadata": expression.profile_metadata,
        "gene_metadata": expression.gene_metadata,
    } | options
    with GctxWriter(path, expression.profiles, expression.genes, **settings) as writer:
        writer.append(expression.values)


def _fields(
    path: Path, kind: str, ids: tuple[str, ...], metadata: pd.DataFrame
) -> dict[str, NDArray[Any]]:
    """Make the datasets of one axis, ids first."""
    padded = next((name for name in ids if name.endswith(" ")), None)
    if padded is not None:
        raise FormatError(f"{path}: {kind} id {padded!r}: the format can't hold a trailing space")
    fields = {"id": _text_field(path, f"{kind} id", ids)}
    if metadata.columns.empty:
        return fields
    if tuple(metadata.index) != ids:
        raise FormatError(f"{path}: the index of the {kind} metadata is not the {kind} ids")
    for name in metadata.columns:
        if not isinstance(name, str) or name in {"", ".", "id"} or "/" in name or name in fields:
            raise FormatError(f"{path}: {name!r} can't be the name of a {kind} field")
        fields[name] = _field(path, f"{kind} field {name!r}", metadata[name])
    return fields


def _field(path: Path, what: str, column: pd.Series[Any]) -> NDArray[Any]:
    if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
        return column.to_numpy(np.int8)
    if pd.api.types.is_integer_dtype(column.dtype):
        missing = column.isna().to_numpy()
        dtype = np.dtype(np.uint64 if column.dtype in ("uint64", "UInt64") else np.int64)
        if missing.any() and dtype == np.uint64:
            raise FormatError(f"{path}: {what}: an unsigned field can't hold missing values")
        return column.to_numpy(dtype, na_value=MISSING if missing.any() else 0)
    if pd.api.types.is_float_dtype(column.dtype):
        narrow = column.dtype in ("float32", "Float32")
        return column.to_numpy(np.float32 if narrow else np.float64, na_value=np.nan)
    return _text_field(path, what, [str(MISSING if pd.isna(value) else value) for value in column])


def _text_field(path: Path, what: str, texts: Sequence[str]) -> NDArray[Any]:
    check_storable(path, what, texts, "\0")
    return encode_fixed(texts)
