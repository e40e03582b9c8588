"""The readers under test: a valid file to damage, and what each makes of a file."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.data.genemap import read_gene_map
from dgex_jax.data.study import FILE_KEYS, Study, read_study
from dgex_jax.errors import DgexError
from dgex_jax.formats.delimited import read_delimited
from dgex_jax.formats.gct import read_gct
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.rpkm import read_rpkm
from tests.fuzz import tables
from tests.fuzz.mutate import flip_bits, mutate_study, mutate_text
from tests.fuzz.mutate_hdf5 import mutate_hdf5
from tests.fuzz.oracle import PARSERS, Content, same

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from dgex_jax.formats.expression import Expression

SUFFIX = {"gct": ".gct", "gctx": ".gctx", "rpkm": ".txt", "table": ".tsv", "map": ".txt"}
SUFFIX |= {"study": ".toml", "h5ad": ".h5ad"}
LONGEST_LINE = 5000
"""An error is a line to be read, not the file over again."""


def fields_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Annotation as plain lists, `None` where a number is missing."""
    return {
        name: [
            None if not isinstance(cell, str) and pd.isna(cell) else cell
            for cell in frame.iloc[:, place].tolist()
        ]
        for place, name in enumerate(frame.columns)
    }


def of_expression(found: Expression) -> Content:
    """Ids and values of a text file."""
    return Content(found.profiles, found.genes, found.values)


def our_gct(path: Path) -> Content:
    found = read_gct(path)
    content = of_expression(found)
    content.rest = [fields_of(found.profile_metadata), fields_of(found.gene_metadata)]
    return content


def our_rpkm(path: Path) -> Content:
    found = read_rpkm(path)
    content = of_expression(found)
    content.rest = fields_of(found.gene_metadata)
    return content


def our_map(path: Path) -> Content:
    found = read_gene_map(path)
    return Content(rest=list(zip(found.symbols, found.ensembl, found.probes, strict=True)))


def our_gctx(path: Path) -> Content:
    with Gctx(path) as file:
        fields = [fields_of(file.profile_metadata), fields_of(file.gene_metadata)]
        values = file.read()
        # Scattered selections take another way through the file.
        if values.size:
            rows, columns = (np.r_[n - 1 : -1 : -2, 0] for n in values.shape)
            np.testing.assert_array_equal(
                file.read(rows, columns), values[np.ix_(rows, columns)], strict=True
            )
        return Content(file.profiles, file.genes, values, fields)


def our_h5ad(path: Path) -> Content:
    with H5ad(path) as file:
        values = file.read()
        if values.size:
            rows, columns = (np.r_[n - 1 : -1 : -2, 0] for n in values.shape)
            np.testing.assert_array_equal(
                file.read(rows, columns), values[np.ix_(rows, columns)], strict=True
            )
        return Content(file.profiles, file.genes, values)


def our_study(path: Path) -> Content:
    return Content(rest=said(read_study(path), path.parent))


def said(study: Study, folder: Path) -> dict[str, Any]:
    """All settings of a study by the keys of its file."""
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
        content["folder"] = folder
    return content


def agree(ours: Content, theirs: Content) -> bool:
    """Whether each key of a study file has its value; otherwise see `same`."""
    if not isinstance(theirs.rest, dict) or "title" not in theirs.rest:
        return same(ours, theirs)
    for key, given in theirs.rest.items():
        found = ours.rest.get(key)
        if not isinstance(given, dict):
            if found != given:
                return False
        elif key == "files":
            folder = ours.rest["folder"]
            paths = {name: folder / Path(text).expanduser() for name, text in given.items()}
            if paths != found:
                return False
        elif any(not equal(found[name], value) for name, value in given.items()):
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
}


def write_case(kind: str, path: Path, draw: random.Random) -> None:
    """A valid file of `kind` with faults drawn at random."""
    if kind in {"gctx", "h5ad"}:
        write_hdf5(kind, path, draw)
        mutate_hdf5(path, draw)
    elif kind == "study":
        content = tables.random_study(draw)
        text = tables.toml_bytes(mutate_study(content, draw) if draw.random() < 0.6 else content)
        path.write_bytes(text if draw.random() < 0.5 else plain_faults(text, draw))
    else:
        path.write_bytes(mutate_text(text_file(kind, draw), draw))


def plain_faults(text: bytes, draw: random.Random) -> bytes:
    """Faults in text that is never compressed."""
    changed = mutate_text(text, draw)
    return flip_bits(text, draw) if changed.startswith(b"\x1f\x8b") else changed


def write_hdf5(kind: str, path: Path, draw: random.Random) -> None:
    table = tables.random_table(draw)
    if kind == "h5ad":
        tables.write_h5ad(path, table, draw.choice(["dense", "csr", "csc"]))
        return
    storage = draw.choice([{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
    if draw.random() < 0.3:
        storage = {**storage, "chunks": True, "fletcher32": True}
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
        return refusal(str(error), path)
    except Exception as error:  # noqa: BLE001  (whatever it is: that is the fault looked for)
        return "failed", f"{type(error).__name__}: {error}"[:300]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = PARSERS[kind](path)
    except Exception as error:  # noqa: BLE001
        return "failed", f"read what the other parser refuses: {type(error).__name__}: {error}"[
            :300
        ]
    if agree(found, wanted):
        return "read", ""
    return "failed", f"read as {found}, by the other parser as {wanted}"[:2000]


def refusal(text: str, path: Path) -> tuple[str, str]:
    """Whether an error is one line that names the file."""
    if not text.startswith(f"{path}: "):
        return "failed", f"an error that does not begin with the file: {text[:300]!r}"
    if len(text.splitlines()) != 1 or len(text) > LONGEST_LINE:
        return "failed", f"an error of more than a line: {text[:300]!r} ({len(text)} characters)"
    return "refused", text
