"""The same files by independent parsers: pandas, h5py by hand, tomllib."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path

MISSING_TEXT = {"", "na", "nan"}


@dataclass
class Content:
    """What a file was read as: ids, values ``(n_profiles, n_genes)`` and everything else."""

    profiles: tuple[str, ...] = ()
    genes: tuple[str, ...] = ()
    values: Any = field(default_factory=lambda: np.empty((0, 0)))
    rest: Any = None


def same(one: Content, other: Content) -> bool:
    """Equal ids, text and numbers, these to the bit (NaN is NaN)."""
    if (one.profiles, one.genes) != (other.profiles, other.genes):
        return False
    if repr(one.rest) != repr(other.rest):
        return False
    ours, theirs = np.asarray(one.values), np.asarray(other.values)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    gaps = np.isnan(ours)
    if not np.array_equal(gaps, np.isnan(theirs)):
        return False
    return bool(np.where(gaps, 0, ours).tobytes() == np.where(gaps, 0, theirs).tobytes())


def text_of(path: Path) -> bytes:
    """The text of a file: one line end for all, no byte order mark, no blank lines at the end."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    content = content.removeprefix(b"\xef\xbb\xbf")
    content = (
        re.sub(rb"\r+\n", b"\n", content) if b"\n" in content else content.replace(b"\r", b"\n")
    )
    content = re.sub(rb"\n{2,}", b"\n", content.lstrip(b"\r\n")).rstrip(b"\r\n")
    return content + b"\n"


def cell_text(cell: str) -> str:
    """Text of bytes that were read as Latin-1: UTF-8 where it is."""
    raw = cell.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def number(cell: str) -> float:
    """A value as the documentation of the readers says: four ways to say that it is missing."""
    if cell.strip().lower() in MISSING_TEXT:
        return float("nan")
    assert "_" not in cell
    value = float(cell)
    return float("nan") if value == -666 else value


def by_pandas(content: bytes, mark: str = "\t", **options: Any) -> list[list[str]]:
    """All cells of a table, as text; every row as wide as the first."""
    frame = pd.read_csv(
        io.BytesIO(content),
        sep=mark,
        header=None,
        dtype=str,
        na_filter=False,
        encoding="latin-1",
        **({"quoting": csv.QUOTE_NONE, "lineterminator": "\n"} | options),
    )
    rows: list[list[str]] = frame.to_numpy().tolist()
    if not options:
        assert content.count(mark.encode()) + content.count(b"\n") == frame.size
    return [[cell_text(cell) for cell in row] for row in rows]


def unended(table: bytes) -> bytes:
    """A table whose rows all end in one separator more than its header has, without these."""
    head, *rows = table.removesuffix(b"\n").split(b"\n")
    wide = head.count(b"\t") + 1
    if rows and all(row.endswith(b"\t") and row.count(b"\t") == wide for row in rows):
        rows = [row.removesuffix(b"\t") for row in rows]
    return b"\n".join([head, *rows]) + b"\n"


def quotes(content: bytes) -> dict[str, Any]:
    """Options for a table in which some cells are quoted."""
    return {"quoting": csv.QUOTE_MINIMAL} if b'"' in content else {}


def matrix(rows: list[list[str]]) -> np.ndarray:
    """Values of the cells, profiles by genes."""
    return np.array([[number(cell) for cell in row] for row in rows], np.float64).T


def gct(path: Path) -> Content:
    """GCT: two lines, then a table."""
    version, sizes, table = text_of(path).split(b"\n", 2)
    version, sizes = version.replace(b'"', b""), sizes.replace(b'"', b"")
    declared = [int(cell) for cell in sizes.rstrip(b"\t ").split(b"\t")]
    n_fields, n_notes = declared[2:] if version.rstrip(b"\t ") == b"#1.3" else (1, 0)
    rows = by_pandas(unended(table), **quotes(table))
    header, notes, body = rows[0], rows[1 : n_notes + 1], rows[n_notes + 1 :]
    first = 1 + n_fields
    assert declared[:2] == [len(body), len(header) - first]
    fields = {name: [row[k] for row in body] for k, name in enumerate(header[:first])}
    fields.pop(header[0], None)
    return Content(
        tuple(header[first:]),
        tuple(row[0] for row in body),
        matrix([row[first:] for row in body]),
        [{row[0]: row[first:] for row in notes}, {name: fields[name] for name in header[1:first]}],
    )


def rpkm(path: Path) -> Content:
    """The GEUVADIS table."""
    content = unended(text_of(path))
    header, *body = by_pandas(content, **quotes(content))
    assert header[:4] == ["TargetID", "Gene_Symbol", "Chr", "Coord"]
    return Content(
        tuple(header[4:]),
        tuple(row[0] for row in body),
        matrix([row[4:] for row in body]),
        {name: [row[k] for row in body] for k, name in enumerate(header[1:4], start=1)},
    )


def delimited(path: Path) -> Content:
    """A table with tabs or commas."""
    content = text_of(path)
    head, _, below = content.partition(b"\n")
    # A header of one cell (R writes it so for one column) leaves it to the next line.
    shown = head if b"\t" in head or b"," in head else below.partition(b"\n")[0]
    mark = "\t" if b"\t" in shown else ","
    quoted = quotes(content)
    (header,) = by_pandas(head + b"\n", mark, **quoted)
    body = by_pandas(below, mark, **quoted)
    columns = header if len(header) == len(body[0]) - 1 else header[1:]
    assert len(columns) == len(body[0]) - 1
    rows = [row[1:] for row in body]
    of_text = [only_text([row[k] for row in rows[:50]]) for k in range(len(columns))]
    kept = [k for k in range(len(columns)) if not of_text[k]]
    rows = [[row[k] for k in kept] for row in rows]
    numbers = [not (only_text(row) and len(row) > 1) for row in rows]
    return Content(
        tuple(columns[k].strip() for k in kept),
        tuple(row[0].strip() for row, is_number in zip(body, numbers, strict=True) if is_number),
        matrix([row for row, is_number in zip(rows, numbers, strict=True) if is_number]),
    )


def only_text(cells: list[str]) -> bool:
    """Whether cells are annotation: texts with letters that begin with no digit, and no number."""
    texts = [cell for cell in cells if cell.strip().lower() not in {"", "na", "nan"}]
    return bool(texts) and all(re.match(r"[^-+.\d]*[^\W\d_]", cell.strip()) for cell in texts)


def gene_map(path: Path) -> Content:
    """A gene map."""
    content = text_of(path)
    rows = []
    for line in content.split(b"\n"):
        if line and (b"\t" in line or not line.startswith(b"#")):
            ((symbol, gene, probes, *more),) = csv.reader([line.decode()], delimiter="\t")
            assert not any(map(str.strip, more))
            of_gene = tuple(one.strip() for one in probes.split(","))
            rows.append((symbol.strip(), gene.strip(), of_gene))
    return Content(rest=rows)


def plain(raw: Any) -> str:
    """Text of an HDF5 string without padding."""
    raw = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else bytes(raw)
    raw = raw.split(b"\0")[0].rstrip(b" ")
    return cell_text(raw.decode("latin-1"))


def column(dataset: Any) -> list[Any]:
    """The values of a dataset of GCTX metadata; `None` where missing."""
    values = dataset[...].ravel()
    if values.dtype.kind in "OS":
        return [plain(value) for value in values]
    cells = values.astype(values.dtype.newbyteorder("=")).tolist()
    if values.dtype.kind == "b":
        return cells
    return [None if cell == -666 or cell != cell else cell for cell in cells]  # noqa: PLR0124


def gctx(path: Path) -> Content:
    """GCTX by h5py alone."""
    with h5py.File(path, "r") as file:
        assert "GCTX1.0" in str(np.ravel(file.attrs.get("version", "GCTX1.0"))[0])
        stored = file["0/DATA/0/matrix"]
        narrow = stored.dtype.kind == "f" and stored.dtype.itemsize <= 4
        values = stored[...].astype(np.float32 if narrow else np.float64)
        values[values == -666] = np.nan
        ids, fields = {}, []
        for axis in ("COL", "ROW"):
            group = file[f"0/META/{axis}"]
            cells = [str(int(x)) if not isinstance(x, str) else x for x in whole(group["id"])]
            ids[axis] = tuple(cells)
            fields.append({name: column(group[name]) for name in group if name != "id"})
    return Content(ids["COL"], ids["ROW"], values, fields)


def whole(dataset: Any) -> list[Any]:
    """Ids as they are stored: -666 is one like any other."""
    values = dataset[...].ravel()
    return [plain(x) for x in values] if values.dtype.kind in "OS" else values.tolist()


def archs4(path: Path) -> Content:
    """ARCHS4 by h5py alone."""
    with h5py.File(path, "r") as file:
        meta = file["meta"]
        assert "transcripts" not in meta
        if isinstance(meta.get("genes"), h5py.Group):
            of_genes = dict(meta["genes"].items())
        else:
            of_genes = {k[5:]: x for k, x in meta.items() if k.startswith("gene_")}
            of_genes |= {"genes": meta["genes"]} if "genes" in meta else {}
        if isinstance(meta.get("samples"), h5py.Group):
            of_samples = dict(meta["samples"].items())
        else:
            of_samples = {k[7:]: x for k, x in meta.items() if k.startswith("Sample_")}
        profiles = tuple(id_text(x) for x in whole(of_samples["geo_accession"]))
        kinds = [name for name in ("ensembl_gene", "symbol", "genes") if name in of_genes][:2]
        ids = {name: [id_text(x) for x in whole(of_genes[name])] for name in kinds}
        good = [name for name in kinds if len({*ids[name]} - {""}) == len(ids[name])]
        name = [*good, kinds[-1]][0]
        values = file["data/expression"][...]
        if values.shape == (len(ids[name]), len(profiles)):
            values = values.T
        assert len({values.shape, values.shape[::-1]}) == 2
        narrow = values.dtype.kind == "f" and values.dtype.itemsize <= 4
        fields = ("series_id", "singlecellprobability", "title")
        fields += ("source_name_ch1", "characteristics_ch1")
        rest = [
            {field: plain_column(of_samples[field]) for field in fields if field in of_samples},
            {field: plain_column(x) for field, x in of_genes.items() if field != name},
        ]
        values = values.astype(np.float32 if narrow else np.float64)
        return Content(profiles, tuple(ids[name]), values, rest)


def id_text(value: Any) -> str:
    """An id as text: whole numbers as decimals."""
    return value if isinstance(value, str) else str(int(value))


def plain_column(dataset: Any) -> list[Any]:
    """The values of a dataset; `None` where a number is NaN."""
    values = dataset[...].ravel()
    if values.dtype.kind in "OS":
        return [plain(value) for value in values]
    return [None if cell != cell else cell for cell in values.tolist()]  # noqa: PLR0124


def h5ad(path: Path) -> Content:
    """AnnData by h5py alone: ids and X."""
    with h5py.File(path, "r") as file:
        profiles, genes = (index_of(file[name]) for name in ("obs", "var"))
        X = file["X"]
        if isinstance(X, h5py.Dataset):
            values, dtype = X[...], X.dtype
        else:
            values, dtype = dense_of(X), X["data"].dtype
        narrow = dtype.kind == "f" and dtype.itemsize <= 4
        return Content(profiles, genes, values.astype(np.float32 if narrow else np.float64))


def index_of(group: Any) -> tuple[str, ...]:
    """Ids of one axis of an AnnData file."""
    name = group.attrs["_index"]
    values = group[name.decode() if isinstance(name, bytes) else name][...].tolist()
    return tuple(x.decode() if isinstance(x, bytes) else str(x) for x in values)


def dense_of(group: Any) -> np.ndarray:
    """A sparse matrix, cell by cell."""
    n_rows, n_columns = (int(n) for n in group.attrs["shape"])
    kind = group.attrs["encoding-type"]
    by_rows = kind in ("csr_matrix", b"csr_matrix")
    data, indices, indptr = (group[name][...] for name in ("data", "indices", "indptr"))
    values = np.zeros((n_rows, n_columns), data.dtype)
    n_major = n_rows if by_rows else n_columns
    assert len(indptr) == n_major + 1
    for major in range(n_major):
        for k in range(int(indptr[major]), int(indptr[major + 1])):
            minor = int(indices[k])
            assert minor >= 0
            cell = (major, minor) if by_rows else (minor, major)
            values[cell] += data[k]
    return values


def study(path: Path) -> Content:
    """What a study file says, as tomllib reads it."""
    return Content(rest=tomllib.loads(path.read_text(encoding="utf-8")))


PARSERS = {
    "gct": gct,
    "gctx": gctx,
    "rpkm": rpkm,
    "table": delimited,
    "map": gene_map,
    "study": study,
    "h5ad": h5ad,
    "archs4": archs4,
}
