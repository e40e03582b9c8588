"""What a file is, by what it holds, and in one line what it is instead of an expression file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import HDF5_MAGIC, read_head
from dgex_jax.formats.hdf5_errors import hdf5_errors
from dgex_jax.formats.lines import BOM, open_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

FileKind = Literal["gctx", "h5ad", "gct", "geuvadis", "series matrix", "table"]
"""GCTX; AnnData; GCT; the GEUVADIS table; a GEO series matrix; any other table of separated cells,
of which only its ids can tell whether its rows or its columns are the genes."""

GEUVADIS_COLUMNS = ("TargetID", "Gene_Symbol", "Chr", "Coord")
"""The first columns of the published table; a column for each sample follows."""

HEAD_BYTES = 1 << 14

AS_TEXT = "save the table as tab-separated text"
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
    b"\xff\xfe": "is UTF-16 text; save the table as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save the table as UTF-8",
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

HDF5_KINDS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (
        lambda file: (
            "matrix/barcodes" in file
            or any(f"{name}/barcodes" in file and f"{name}/indptr" in file for name in file)
        ),
        "is a 10x Genomics HDF5 file; write an .h5ad of it (scanpy: read_10x_h5, then write_h5ad)",
    ),
    (
        lambda file: "data/expression" in file and "meta" in file,
        "is an ARCHS4 HDF5 file; write the samples you want as a table (the package archs4py)",
    ),
    (
        lambda file: "row_attrs" in file and "col_attrs" in file,
        "is a loom file; write an .h5ad of it (scanpy: read_loom, then write_h5ad)",
    ),
    (
        lambda file: "assays" in file and "cell.names" in file,
        "is a Seurat file (.h5Seurat); write an .h5ad of it (R: SeuratDisk's Convert)",
    ),
    (
        lambda file: "prepare" in file.attrs and "landmarks" in file,
        "is a prepared study, not an expression file",
    ),
)


def kind_of(path: Path | str) -> FileKind:
    """Tell the kind of a file from what it holds, never from its name.

    Raises
    ------
    FormatError
        It can't be read, or is of a kind that holds no expression table, which is named with what
        to do. Text of no known format is a ``table``.
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
    _refuse_other(path, head)
    if re.match(rb'\s*"?!(Series|Sample)_', head) or b"\n!series_matrix_table_begin" in head:
        return "series matrix"
    return "table"


def _refuse_other(path: Path, head: bytes) -> None:
    if head.startswith(b"PK\x03\x04"):
        inside = (
            f"is an Excel workbook (.xlsx); {AS_TEXT}"
            if b"xl/" in head or b"[Content_Types].xml" in head
            else "is a NumPy archive (.npz); write a table with its ids"
            if b".npy" in head[:100]
            else "is a zip archive; unpack it first"
        )
        raise FormatError(f"{path}: {inside}")
    if head[257:262] == b"ustar":
        raise FormatError(f"{path}: is a tar archive; unpack it first (tar -x)")
    for magic, what in BY_FIRST_BYTES.items():
        if head.startswith(magic):
            raise FormatError(f"{path}: {what}")
    if b"\0" in head:
        if len(head) > 8 and any(head[first:8:2] == bytes(4) for first in (0, 1)):
            raise FormatError(f"{path}: is UTF-16 text; save the table as UTF-8")
        raise FormatError(f"{path}: is neither HDF5 nor text: it begins with {head[:8]!r}")
    text = head[:200].decode("latin-1").lstrip()
    for pattern, what in BY_FIRST_WORDS.items():
        if re.match(pattern, text, re.IGNORECASE):
            raise FormatError(f"{path}: {what}")


def _kind_of_hdf5(path: Path) -> FileKind:
    with hdf5_errors(path), h5py.File(path, "r", locking="best-effort") as file:
        if "0/META" in file or "0/DATA" in file:
            return "gctx"
        if "obs" in file and "var" in file:
            return "h5ad"
        for test, what in HDF5_KINDS:
            if test(file):
                raise FormatError(f"{path}: {what}")
        names = ", ".join(repr(name) for name in list(file)[:5]) or "nothing"
    raise FormatError(
        f"{path}: is an HDF5 file, but neither GCTX (no group /0/DATA) nor AnnData (no obs and "
        f"var): it holds {names}"
    )
