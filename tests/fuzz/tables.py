"""Valid files of every kind, written without the project's own writers."""

from __future__ import annotations

import csv
import io
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from tests.io import archs4_file

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BOM = b"\xef\xbb\xbf"
NAMES = (
    *("g 1", "µ-gène", '"quoted', "it's", "#hash", "-1", "1e5", "NAN1", "日本", "=1+1", "a,b", "É"),
    *("200814_at", "ENSG00000182378.7", "x" * 300, "a\\tb", "{}", "%s", "é", "0", "7"),
)
LETTERS = "aZ09 _-.,;'\"#%&|\\/<>=+*éµ日😀\x85\u2028\ufeff\x0b\x7f"
NUMBERS = (0.0, -0.0, 1e-300, 5e-324, 1.7976931348623157e308, 0.1, -12.034, 1e15, 1e22, 123456789.0)


@dataclass(frozen=True)
class Table:
    """What a valid file holds: unique ids, NaN where missing, fields of a text an id."""

    profiles: tuple[str, ...]
    genes: tuple[str, ...]
    values: NDArray[np.float64]
    profile_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gene_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)


def random_table(draw: random.Random) -> Table:
    """A small table with awkward ids and numbers."""
    n_profiles, n_genes = draw.randint(1, 5), draw.randint(1, 8)
    profiles, genes = (random_ids(draw, n) for n in (n_profiles, n_genes))
    cells = [random_number(draw) for _ in range(n_profiles * n_genes)]
    return Table(
        profiles,
        genes,
        np.array(cells).reshape(n_profiles, n_genes),
        {f"p{k}": random_ids(draw, n_profiles) for k in range(draw.randint(0, 2))},
        {f"f {k}": random_ids(draw, n_genes) for k in range(draw.randint(0, 2))},
    )


def random_ids(draw: random.Random, n: int) -> tuple[str, ...]:
    """Unique ids."""
    odd = [*draw.sample(NAMES, draw.randint(0, 3)), random_text(draw)]
    some = dict.fromkeys(draw.sample(odd, min(n, len(odd)) if draw.random() < 0.8 else 0))
    return (*some, *(f"id{k}" for k in range(n - len(some))))


def random_text(draw: random.Random) -> str:
    """A text that every format can hold: no tab, line end or zero byte, no spaces around it."""
    text = "".join(draw.choices(LETTERS, k=draw.randint(1, 8))).strip()
    return f"t{text}" if draw.random() < 0.5 else text.lstrip("#\ufeff") or "t"


def random_number(draw: random.Random) -> float:
    """Any number or, rarely, NaN."""
    if draw.random() < 0.1:
        return float("nan")
    if draw.random() < 0.1:
        (number,) = struct.unpack("d", draw.randbytes(8))
        return float("nan") if number == -666 else number
    return draw.choice(NUMBERS) if draw.random() < 0.2 else round(draw.gauss(0, 5), 4)


def number_text(value: float) -> str:
    """The shortest text that is read as `value` again."""
    return "NaN" if np.isnan(value) else repr(float(value))


def joined(rows: Sequence[Sequence[str]]) -> bytes:
    """Tab-separated lines; a cell that begins with a quote is quoted."""
    lines = io.StringIO()
    csv.writer(lines, delimiter="\t", lineterminator="\n").writerows(rows)
    return lines.getvalue().encode()


def gct_bytes(table: Table, version: str = "1.2") -> bytes:
    """A GCT file; 1.2 has `Description` alone."""
    fields = dict(table.gene_fields)
    notes = dict(table.profile_fields)
    if version == "1.2":
        fields, notes = {"Description": ["NA"] * len(table.genes)}, {}
    sizes = [len(table.genes), len(table.profiles)]
    sizes += [len(fields), len(notes)] if version == "1.3" else []
    rows = [[f"#{version}"], list(map(str, sizes)), ["Name", *fields, *table.profiles]]
    rows += [[name, *["na"] * len(fields), *texts] for name, texts in notes.items()]
    for k, gene in enumerate(table.genes):
        cells = map(number_text, table.values[:, k])
        rows.append([gene, *(texts[k] for texts in fields.values()), *cells])
    return joined(rows)


def rpkm_bytes(table: Table) -> bytes:
    """A GEUVADIS table."""
    rows = [["TargetID", "Gene_Symbol", "Chr", "Coord", *table.profiles]]
    for k, gene in enumerate(table.genes):
        rows.append([gene, f"S{k}", "X", str(k), *map(number_text, table.values[:, k])])
    return joined(rows)


def delimited_bytes(table: Table, mark: str, *, corner: bool = True) -> bytes:
    """A table as pandas writes it; without `corner` the header is a cell shorter, as in R."""
    frame = pd.DataFrame(table.values.T, index=list(table.genes), columns=list(table.profiles))
    text = frame.to_csv(sep=mark, na_rep="NA", index_label="gene", lineterminator="\n")
    return (text if corner else text.removeprefix(f"gene{mark}")).encode()


def gene_map_bytes(genes: Sequence[tuple[str, str, Sequence[str]]]) -> bytes:
    """A gene map: symbol, Ensembl id, probes."""
    return joined([[symbol, ensembl, ",".join(probes)] for symbol, ensembl, probes in genes])


def random_map(draw: random.Random) -> list[tuple[str, str, list[str]]]:
    """Genes of a map."""
    n = draw.randint(1, 8)
    symbols = [draw.choice(NAMES) for _ in range(n)]
    return [
        (symbol, f"ENSG{k:011d}", [f"{k}{j}_at" for j in range(draw.randint(1, 3))])
        for k, symbol in enumerate(symbols)
    ]


def write_gctx(path: Path, table: Table, dtype: Any = np.float32, **storage: Any) -> None:
    """A GCTX file by plain h5py."""
    with h5py.File(path, "w") as file:
        file.attrs["version"] = np.bytes_(b"GCTX1.0")
        with np.errstate(over="ignore"):  # infinite is what float32 makes of 1e308
            file.create_dataset("0/DATA/0/matrix", data=table.values.astype(dtype), **storage)
        for axis, ids, fields in (
            ("COL", table.profiles, table.profile_fields),
            ("ROW", table.genes, table.gene_fields),
        ):
            for name, texts in {"id": ids, **fields}.items():
                encoded = [text.encode() for text in texts]
                kind = h5py.string_dtype("utf-8", max(1, *map(len, encoded), 1))
                file[f"0/META/{axis}/{name}"] = np.array(encoded, dtype=kind)


def write_archs4(path: Path, table: Table, version: int, **storage: Any) -> None:
    """An ARCHS4 file of counts, with Ensembl ids in version 2."""
    counts = np.nan_to_num(np.clip(table.values, 0, 2**32 - 1)).astype(np.uint32)
    numbers = np.arange(len(table.profiles)) / 7
    samples = {"geo_accession": table.profiles, "singlecellprobability": numbers}
    samples |= dict(zip(("title", "series_id"), table.profile_fields.values(), strict=False))
    genes: dict[str, Sequence[str]] = {"genes": table.genes}
    if version == 2:
        genes = {"symbol": table.genes, "ensembl_gene": [f"E{k}" for k in range(len(table.genes))]}
    archs4_file.write_archs4(path, counts, samples, genes, version=version, **storage)


def write_h5ad(path: Path, table: Table, layout: str = "dense") -> None:
    """An AnnData file by plain h5py, as anndata's on-disk specification says."""
    values = np.nan_to_num(np.clip(table.values, -1e30, 1e30)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            described(file.create_group(name), "dict", "0.1.0")
        for name, ids in (("obs", table.profiles), ("var", table.genes)):
            group = file.create_group(name)
            described(group, "dataframe", "0.2.0")
            group.attrs["_index"] = "_index"
            group.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
            index = group.create_dataset("_index", data=list(ids), dtype=h5py.string_dtype())
            described(index, "string-array", "0.2.0")
        if layout == "dense":
            described(file.create_dataset("X", data=values), "array", "0.2.0")
            return
        group = file.create_group("X")
        described(group, f"{layout}_matrix", "0.1.0")
        group.attrs["shape"] = np.array(values.shape)
        by_rows = values if layout == "csr" else values.T
        places = [np.flatnonzero(row) for row in by_rows]
        group["data"] = np.concatenate([r[p] for r, p in zip(by_rows, places, strict=True)])
        group["indices"] = np.concatenate(places).astype(np.int32)
        group["indptr"] = np.cumsum([0, *map(len, places)]).astype(np.int32)


def described(element: Any, kind: str, version: str) -> None:
    """Mark an element of an AnnData file with what it is."""
    element.attrs.update({"encoding-type": kind, "encoding-version": version})


def random_study(draw: random.Random) -> dict[str, Any]:
    """What a study file says."""
    content: dict[str, Any] = {
        "name": draw.choice(["a", "b-1.x", "é_2"]),
        "title": f"One {random_text(draw)}",
    }
    if draw.random() < 0.5:
        keys = ["geo", "landmarks"]
        keys += ["gtex", "1000g", "targets"] if draw.random() < 0.7 else []
        content["files"] = {key: f"../data/{key} 1.txt" for key in keys}
    else:
        content["simulate"] = {"seed": draw.randint(0, 9), "n_profiles": draw.randint(3000, 5000)}
    sections: dict[str, dict[str, Any]] = {
        "prepare": {
            "duplicates": draw.choice(["clusters", "all-pairs", "none"]),
            "scale_on": draw.choice(["all", "train"]),
            "seed": draw.randint(0, 2**31 - 1),
            "block_size": draw.randint(1, 10**6),
            "accept_wrong_dimensions": draw.random() < 0.5,
        },
        "networks": {
            "units": sorted(draw.sample(range(1, 10**5), draw.randint(1, 5))),
            "hidden_layers": [1, 2],
            "dropout": [draw.choice([0.0, 0.1, 0.25, 0]), 0.5],
        },
        "training": {
            "epochs": draw.randint(1, 10**6),
            "learning_rate": draw.choice(["auto", 1, draw.uniform(1e-12, 1)]),
            "momentum": draw.choice([0, draw.uniform(0, 0.999)]),
            "precision": draw.choice(["highest", "tf32"]),
            "halves": 2,
        },
        "baselines": {"k_max": draw.randint(1, 1000)},
    }
    for name, values in sections.items():
        if draw.random() < 0.6:
            content[name] = {key: values[key] for key in values if draw.random() < 0.7}
    return content


def toml_bytes(content: Mapping[str, Any]) -> bytes:
    """Tables of plain values as TOML."""
    out = io.StringIO()
    for key, value in content.items():
        if not isinstance(value, dict):
            out.write(f"{json.dumps(key)} = {toml_value(value)}\n")
    for key, value in content.items():
        if isinstance(value, dict):
            out.write(f"[{json.dumps(key)}]\n")
            out.writelines(f"{json.dumps(k)} = {toml_value(v)}\n" for k, v in value.items())
    return out.getvalue().encode("utf-8", "surrogatepass")


def toml_value(value: Any) -> str:
    """One value as TOML; a `Raw` text as it is."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    return repr(value)


class Raw(str):
    """Text that stands in TOML as it is."""

    __slots__ = ()
