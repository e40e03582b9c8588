"""Text, plain or compressed, line by line, and what kind a file is by what it holds."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import h5py

from dgex_jax.errors import FormatError
from dgex_jax.io.files import GZIP_MAGIC, HDF5_MAGIC, atomic_path, one_line, read_head, writing
from dgex_jax.io.hdf5 import hdf5_errors, open_hdf5

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

BUFFER_BYTES = 1 << 20
HEAD_BYTES = 1 << 14
BOM = b"\xef\xbb\xbf"

COMPRESSED: dict[bytes, tuple[str, Any]] = {
    GZIP_MAGIC: ("gzip", gzip.GzipFile),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ": ("xz", lzma.LZMAFile),
}
"""First bytes of the compressed files that Python's own library reads."""

LONGEST_LINE = 1 << 27
MOST_COLUMNS = 1 << 22
MOST_LINES = 1 << 22
"""Limits of a text file, several times what the largest public matrices have. A gzip file of 1 MB
may hold a line, or lines, of 1 GB: it is refused when it passes them."""

Line = tuple[int, bytes]
"""Line number (from 1) and the line without its end."""

FileKind = Literal["gctx", "h5ad", "archs4", "gct", "geuvadis", "series matrix", "table"]
"""GCTX; AnnData; ARCHS4; GCT; the GEUVADIS table; a GEO series matrix; any other table of separated
cells, of which only its ids can tell whether its rows or its columns are the genes."""

GEUVADIS_COLUMNS = ("TargetID", "Gene_Symbol", "Chr", "Coord")
"""The first columns of the published table; a column for each sample follows."""

AS_TEXT = "save the table as tab-separated text"
UTF_16 = "is UTF-16 text; save the table as UTF-8"
BY_FIRST_BYTES = {
    b"\xd0\xcf\x11\xe0": f"is an old Excel workbook; {AS_TEXT}",
    b"PAR1": f"is a Parquet file; {AS_TEXT} (pandas: read_parquet, then to_csv)",
    b"ARROW1": f"is a Feather (Arrow) file; {AS_TEXT}",
    b"FEA1": f"is a Feather file; {AS_TEXT}",
    b"\x93NUMPY": "is a NumPy array, which has no ids; write it as a table with the ids of both",
    b"\x28\xb5\x2f\xfd": "is zstd-compressed (zst); unpack it first (unzstd)",
    b"\x04\x22\x4d\x18": "is lz4-compressed; unpack it first (unlz4)",
    b"7z\xbc\xaf\x27\x1c": "is a 7-Zip archive; unpack it first",
    b"Rar!": "is a RAR archive; unpack it first",
    b"%PDF": "is a PDF document",
    b"\xff\xfe": UTF_16,
    b"\xfe\xff": UTF_16,
    b"X\n\x00\x00\x00": f"is an R object (.rds); {AS_TEXT} (R: write.table)",
    b"RDX": f"is an R workspace (.RData); {AS_TEXT} (R: write.table)",
    b"\x80\x04\x95": f"is a Python pickle, which is never opened here; {AS_TEXT}",
    b"\x80\x05\x95": f"is a Python pickle, which is never opened here; {AS_TEXT}",
    b"MATLAB 5.0 MAT": f"is a MATLAB file; {AS_TEXT}",
    b"\x89PNG": "is a picture",
    b"BAM\x01": "is a BAM file of reads; count them first (featureCounts, say)",
    b"version https://git-lfs": "is a Git-LFS pointer, not the file; fetch it (git lfs pull)",
    b"%%MatrixMarket": "is a MatrixMarket file, whose ids are in other files; write an .h5ad of "
    "them (scanpy: read_10x_mtx, then write_h5ad)",
    b"[CEL]": "is a CEL file of raw intensities; normalise the arrays first (R: affy's rma)",
    b"CDF\x01": "is a NetCDF file",
}
"""What people hand over instead of a table, by its first bytes (those inside, if compressed)."""

BY_NAME_IN_ZIP = {
    b"xl/": f"is an Excel workbook (.xlsx); {AS_TEXT}",
    b"[Content_Types].xml": f"is an Excel workbook (.xlsx); {AS_TEXT}",
    b".npy": "is a NumPy archive (.npz); write a table with its ids",
}

BY_FIRST_WORDS: dict[str, str] = {
    r"<!doctype html|<html": "is a web page (HTML), not the file itself: the download went wrong",
    r"<\?xml|<!doctype|<[a-z]+[ >]": "is XML, not a table",
    r"[{\[]\s*[\"{\[\d]": "is JSON, not a table",
    r"\^(database|series|platform|sample|dataset)": "is a GEO SOFT file; take the series matrix of "
    "the same series (…_series_matrix.txt.gz)",
    r"@HD\t|@SQ\t": "is a SAM file of reads; count them first (featureCounts, say)",
    r"##fileformat=VCF": "is a VCF file of variants",
    r"##gff-version|#gtf": "is a GFF file of gene models",
}
"""The same by patterns for the first text in it."""

BY_NAMES_INSIDE = {
    ("barcodes",): "is a 10x Genomics HDF5 file; write an .h5ad of it (scanpy: read_10x_h5, then "
    "write_h5ad)",
    ("row_attrs", "col_attrs"): "is a loom file; write an .h5ad of it (scanpy: read_loom, then "
    "write_h5ad)",
    ("assays", "cell.names"): "is a Seurat file (.h5Seurat); write an .h5ad of it (R: SeuratDisk's "
    "Convert)",
    ("prepare", "landmarks"): "is a prepared study, not an expression file",
}
"""The same for HDF5 files, by names in them, in their groups, and of their attributes."""


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """Open `path`, decompressed if it begins as a gzip, bzip2 or xz file, whatever its name.

    What goes wrong inside the block is a `FormatError` that names the file.
    """
    head = read_head(path)
    kind, reader = next(
        (found for magic, found in COMPRESSED.items() if head.startswith(magic)), ("", None)
    )
    try:
        if reader is None:
            with path.open("rb", BUFFER_BYTES) as plain:
                yield plain
        else:
            with reader(path, "rb") as packed, io.BufferedReader(packed, BUFFER_BYTES) as file:
                yield file
    except EOFError as error:
        raise FormatError(f"{path}: truncated {kind} file") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise FormatError(f"{path}: damaged {kind} file") from error
    except OSError as error:
        if error.errno is None:  # bzip2 says so, and a call to the system never does
            raise FormatError(f"{path}: damaged {kind} file") from error
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


def read_lines(path: Path) -> Generator[Line]:
    """Give the lines of `path` that are not blank, to the very end.

    Reading to the end matters: only there does a compressed file say whether it is complete. Lines
    may end as on Unix, Windows or an old Macintosh (a carriage return alone). Raises `FormatError`
    if the file is missing, may not be read, is truncated or damaged, holds zero bytes, or passes a
    limit (`LONGEST_LINE` bytes, `MOST_LINES`, `MOST_COLUMNS`).
    """
    with open_bytes(path) as file:
        for number, raw in enumerate(_raw_lines(file), start=1):
            line = raw.removeprefix(BOM) if number == 1 else raw
            line = line.rstrip(b"\r\n")
            _check_line(path, number, line)
            if line:
                yield number, line


def _raw_lines(file: Any) -> Iterator[bytes]:
    head = file.peek(BUFFER_BYTES)
    if b"\r" in head and b"\n" not in head:
        with io.TextIOWrapper(file, "latin-1", newline="\r") as text:
            while line := text.readline(LONGEST_LINE + 1):
                yield line.encode("latin-1")
    else:
        while raw := file.readline(LONGEST_LINE + 1):
            yield raw


def _check_line(path: Path, number: int, line: bytes) -> None:
    if number > MOST_LINES:
        raise FormatError(f"{path}: has more than {MOST_LINES} lines: no table is that long")
    if len(line) > LONGEST_LINE:
        raise FormatError(f"{path}: line {number}: is longer than {LONGEST_LINE} bytes")
    if len(line) > MOST_COLUMNS and max(line.count(b"\t"), line.count(b",")) >= MOST_COLUMNS:
        raise FormatError(f"{path}: line {number}: has more than {MOST_COLUMNS} columns")
    if b"\0" in line:
        raise FormatError(f"{path}: line {number}: has a zero byte, which no text has")
    if b"\r" in line:
        raise FormatError(
            f"{path}: line {number}: has a carriage return in its midst: its lines end in two ways"
        )


def unquoted(path: Path, line: Line, separator: str) -> bytes:
    """Cells of a line with quotes, tab-separated and without them.

    Raises `FormatError` for quotes that don't end on the line, text behind a closing quote, a tab
    inside a cell.
    """
    number, raw = line
    text = raw.decode("latin-1")  # every byte as it is: cells are decoded one by one
    try:
        (cells,) = csv.reader([text], delimiter=separator, strict=True)
    except csv.Error as error:
        cause = "text behind a closing quote" if text.count('"') % 2 == 0 else "an open quote"
        raise FormatError(
            f"{path}: line {number}: {cause}: a quoted cell must end where the cell does"
        ) from error
    if any("\t" in cell for cell in cells):
        raise FormatError(f"{path}: line {number}: a tab inside a quoted cell")
    return "\t".join(cells).encode("latin-1")


def read_cells(path: Path) -> Generator[tuple[int, list[str]]]:
    """Give the number and the cells, without spaces around them, of each line that is no comment.

    Tabs or commas separate cells, or spaces as R's ``write.table`` has them, behind quotes. Raises
    `FormatError` as `read_lines`, and for text that is not UTF-8 or an open quote.
    """
    mark = ""
    for number, raw in read_lines(path):
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: line {number}: is not UTF-8 text") from error
        if text.startswith("#"):
            continue
        mark = mark or next((one for one in ("\t", ",", '" ') if one in text), "")
        try:
            (row,) = csv.reader([text], delimiter=mark[-1:] or "\t", strict=True)
        except csv.Error as error:
            raise FormatError(f"{path}: line {number}: a quote that is not closed") from error
        yield number, [cell.strip() for cell in row]


def tabbed(path: Path, lines: Iterable[Line]) -> Iterator[Line]:
    """Give tab-separated lines without the quotes around cells."""
    for line in lines:
        yield (line[0], unquoted(path, line, "\t")) if b'"' in line[1] else line


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write `lines` (each with its end), through gzip if the suffix is ``.gz``; all or nothing.

    Equal lines give equal files (see `packed`).
    """
    with atomic_path(path) as temporary:
        fill_lines(temporary, path, lines)


def fill_lines(temporary: Path, path: Path, lines: Iterable[str]) -> None:
    """Write lines as `write_lines` does, to the file that is to become `path`."""
    with writing(path), packed(temporary, path) as file:
        file.writelines(line.encode() for line in lines)


@contextmanager
def packed(temporary: Path, path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file that is to become `path`, compressed by gzip if that has the suffix ``.gz``.

    The gzip header holds no time and no name, so equal content gives equal files.
    """
    with temporary.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
                yield file
        else:
            yield raw


def kind_of(path: Path | str) -> FileKind:
    """Tell the kind of a file from what it holds, never from its name.

    Text of no known format is a ``table``. Raises `FormatError` if it can't be read, or is of a
    kind that holds no expression table, which is named with what to do.
    """
    path = Path(path)
    if read_head(path) == HDF5_MAGIC:
        return _kind_of_hdf5(path)
    with open_bytes(path) as file:
        head = file.read(HEAD_BYTES).removeprefix(BOM)
    if head.startswith(HDF5_MAGIC):
        raise FormatError(f"{path}: is a gzip-compressed HDF5 file; unpack it first (gunzip)")
    if head.startswith(b"#1."):
        return "gct"
    cells = head.partition(b"\n")[0].replace(b'"', b"").rstrip(b"\r").decode("latin-1").split("\t")
    if tuple(cells[:4]) == GEUVADIS_COLUMNS:
        return "geuvadis"
    if other := _other_kind(head):
        raise FormatError(f"{path}: {other}")
    if re.match(rb'\s*"?!(Series|Sample)_', head) or b"\n!series_matrix_table_begin" in head:
        return "series matrix"
    return "table"


def _other_kind(head: bytes) -> str | None:
    """Say what a file is that is no table, and what to do; nothing if it may be one."""
    if head.startswith(b"PK\x03\x04"):
        inside = (what for name, what in BY_NAME_IN_ZIP.items() if name in head)
        return next(inside, "is a zip archive; unpack it first")
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it first (tar -x)"
    for magic, what in BY_FIRST_BYTES.items():
        if head.startswith(magic):
            return what
    if b"\0" in head:
        wide = len(head) > 8 and any(head[first:8:2] == bytes(4) for first in (0, 1))
        return UTF_16 if wide else f"is neither HDF5 nor text: it begins with {head[:8]!r}"
    text = head[:200].decode("latin-1").lstrip()
    found = (what for words, what in BY_FIRST_WORDS.items() if re.match(words, text, re.IGNORECASE))
    return next(found, None)


def _kind_of_hdf5(path: Path) -> FileKind:
    with hdf5_errors(path), open_hdf5(path) as file:
        if "0/META" in file or "0/DATA" in file:
            return "gctx"
        if "obs" in file and "var" in file:
            return "h5ad"
        if "meta" in file and "data/expression" in file:
            return "archs4"
        groups = [one for name in file if isinstance(one := file.get(name), h5py.Group)]
        inside = {*file, *file.attrs, *(name for group in groups for name in group)}
        for wanted, what in BY_NAMES_INSIDE.items():
            if inside >= {*wanted}:
                raise FormatError(f"{path}: {what}")
        names = ", ".join(repr(name) for name in list(file)[:5]) or "nothing"
    raise FormatError(
        f"{path}: is an HDF5 file, but neither GCTX (no group /0/DATA), AnnData (no obs and "
        f"var) nor ARCHS4 (no meta and data/expression): it holds {names}"
    )
