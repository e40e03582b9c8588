"""The readers under test: a valid file to damage, and what each makes of a file."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.errors import DgexError
from dgex_jax.io.archs4 import Archs4
from dgex_jax.io.delimited import read_delimited
from dgex_jax.io.gct import read_gct, read_rpkm
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.h5ad import H5ad
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.study import FILE_KEYS, read_study
from tests.fuzz import tables
from tests.fuzz.mutate import flip_bits, mutate_study, mutate_text
from tests.fuzz.mutate_hdf5 import mutate_hdf5
from tests.fuzz.oracle import PARSERS, Content, same
from tests.io.refusing import is_refusal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from dgex_jax.io.expression import Expression

SUFFIX = {"gct": ".gct", "gctx": ".gctx", "rpkm": ".txt", "table": ".tsv", "map": ".txt"}
SUFFIX |= {"study": ".toml", "h5ad": ".h5ad", "archs4": ".h5"}


def fields_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Annotation as plain lists, `None` where a number is missing."""
    return {
        name: [
            None if not isinstance(cell, str) and pd.isna(cell) else cell
            for cell in frame.iloc[:, place].tolist()
        ]
        for place, name in enumerate(frame.columns)
    }


def of_expression(found: Expression, rest: Any = None) -> Content:
    return Content(found.profiles, found.genes, found.values, rest)


def our_gct(path: Path) -> Content:
    found = read_gct(path)
    return of_expression(found, [fields_of(found.profile_metadata), fields_of(found.gene_metadata)])


def our_rpkm(path: Path) -> Content:
    found = read_rpkm(path)
    return of_expression(found, fields_of(found.gene_metadata))


def our_map(path: Path) -> Content:
    found = read_gene_map(path)
    return Content(rest=list(zip(found.symbols, found.ensembl, found.probes, strict=True)))


def values_of(file: Gctx | H5ad | Archs4) -> Any:
    """All values; scattered selections, which take another way through the file, are the same."""
    values = file.read()
    if values.size:
        rows, columns = (np.r_[n - 1 : -1 : -2, 0] for n in values.shape)
        wanted = values[np.ix_(rows, columns)]
        np.testing.assert_array_equal(file.read(rows, columns), wanted, strict=True)
    return values


def our_gctx(path: Path) -> Content:
    with Gctx(path) as file:
        fields = [fields_of(file.profile_metadata), fields_of(file.gene_metadata)]
        return Content(file.profiles, file.genes, values_of(file), fields)


def our_h5ad(path: Path) -> Content:
    with H5ad(path) as file:
        return Content(file.profiles, file.genes, values_of(file))


def our_archs4(path: Path) -> Content:
    with Archs4(path) as file:
        fields = [fields_of(file.profile_metadata), fields_of(file.gene_metadata)]
        return Content(file.profiles, file.genes, values_of(file), fields)


def our_study(path: Path) -> Content:
    """All settings of a study by the keys of its file."""
    study = read_study(path)
    sections: dict[str, Any] = {
        "prepare": study.prepare,
        "networks": study.grid,
        "training": study.training,
        "baselines": study.baselines,
        "jobs": study.jobs,
    }
    if study.simulation is not None:
        sections["simulate"] = study.simulation
    content: dict[str, Any] = {"name": study.name, "title": study.title}
    content |= {name: dataclasses.asdict(value) for name, value in sections.items()}
    if study.files is not None:
        given = dataclasses.asdict(study.files)
        content["files"] = {k: given[name] for k, name in FILE_KEYS.items() if name in given}
        content["folder"] = path.parent
    return Content(rest=content)


def agree(ours: Content, theirs: Content) -> bool:
    """Whether each key of a study file has its value; otherwise see `same`."""
    if not isinstance(theirs.rest, dict) or "title" not in theirs.rest:
        return same(ours, theirs)
    for key, given in theirs.rest.items():
        found = ours.rest.get(key)
        if key == "files":
            folder = ours.rest["folder"]
            if found != {name: folder / Path(text).expanduser() for name, text in given.items()}:
                return False
        elif isinstance(given, dict):
            if not all(equal(found[name], value) for name, value in given.items()):
                return False
        elif found != given:
            return False
    return True


def equal(found: Any, given: Any) -> bool:
    """Whether a setting is the TOML value."""
    if given == "auto":
        return found is None or found == given
    if isinstance(given, list):
        return found == tuple(given)
    return bool(found == given) and isinstance(found, bool) == isinstance(given, bool)


OURS: dict[str, Callable[[Path], Content]] = {
    "gct": our_gct,
    "gctx": our_gctx,
    "rpkm": our_rpkm,
    "table": lambda path: of_expression(read_delimited(path)),
    "map": our_map,
    "study": our_study,
    "h5ad": our_h5ad,
    "archs4": our_archs4,
}


def write_case(kind: str, path: Path, draw: random.Random, *, damage: bool = True) -> None:
    """A valid file of `kind`, with faults drawn at random if it is to be damaged."""
    if kind in {"gctx", "h5ad", "archs4"}:
        write_hdf5(kind, path, draw)
        if damage:
            mutate_hdf5(path, draw)
    elif kind == "study":
        content = tables.random_study(draw)
        faulty = damage and draw.random() < 0.6
        text = tables.toml_bytes(mutate_study(content, draw) if faulty else content)
        path.write_bytes(plain_faults(text, draw) if damage and draw.random() < 0.5 else text)
    else:
        content = text_file(kind, draw)
        path.write_bytes(mutate_text(content, draw) if damage else content)


def plain_faults(text: bytes, draw: random.Random) -> bytes:
    """Faults in text that is never compressed."""
    changed = mutate_text(text, draw)
    return flip_bits(text, draw) if changed.startswith(b"\x1f\x8b") else changed


def write_hdf5(kind: str, path: Path, draw: random.Random) -> None:
    table = tables.random_table(draw)
    while kind == "archs4" and len(table.profiles) == len(table.genes):
        table = tables.random_table(draw)
    if kind == "h5ad":
        tables.write_h5ad(path, table, draw.choice(["dense", "csr", "csc"]))
        return
    storage = draw.choice([{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
    if draw.random() < 0.3:
        storage = {**storage, "chunks": True, "fletcher32": True}
    if kind == "archs4":
        tables.write_archs4(path, table, draw.choice([1, 2]), **storage)
        return
    tables.write_gctx(path, table, draw.choice([np.float32, np.float64]), **storage)


def text_file(kind: str, draw: random.Random) -> bytes:
    """A valid text file, plain."""
    table = tables.random_table(draw)
    if kind == "gct":
        content = tables.gct_bytes(table, draw.choice(["1.2", "1.3"]))
    elif kind == "rpkm":
        content = tables.rpkm_bytes(table)
    elif kind == "map":
        content = tables.gene_map_bytes(tables.random_map(draw))
    else:
        mark = draw.choice("\t\t,")
        content = tables.delimited_bytes(table, mark, corner=draw.random() < 0.7)
    if draw.random() < 0.2:
        content = content.replace(b"\n", b"\r\n")
    return tables.BOM + content if draw.random() < 0.1 else content


def verdict(kind: str, path: Path) -> tuple[str, str]:
    """Read a file: ``read`` (as the independent parser), ``refused`` or ``failed``, and why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = OURS[kind](path)
    except DgexError as error:
        text = str(error)
        if is_refusal(text, path):
            return "refused", text
        return "failed", f"no short line that begins with the file: {text[:300]!r} ({len(text)})"
    except Exception as error:  # noqa: BLE001  (whatever it is: that is the fault looked for)
        return "failed", f"{type(error).__name__}: {error}"[:300]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = PARSERS[kind](path)
    except Exception as error:  # noqa: BLE001
        why = f"read what the other parser refuses: {type(error).__name__}: {error}"
        return "failed", why[:300]
    if agree(found, wanted):
        return "read", ""
    return "failed", f"read as {found}, by the other parser as {wanted}"[:2000]
