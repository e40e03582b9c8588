"""Text files written by others and by us are read as what they hold, to the last bit."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dgex_jax.data.genemap import read_gene_map
from dgex_jax.errors import DgexError
from dgex_jax.formats.delimited import read_delimited
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct import read_gct, write_gct
from dgex_jax.formats.opening import kind_of, open_expression
from dgex_jax.formats.rpkm import read_rpkm, write_rpkm
from tests.fuzz import tables
from tests.fuzz.oracle import Content, same
from tests.fuzz.readers import fields_of
from tests.fuzz.strategies import DOUBLES, QUICK, TEXT, dress, expression, gene_map, put, stripped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.tables import Table


def frame(fields: dict, ids: tuple[str, ...]) -> pd.DataFrame:
    index = pd.Index(ids, dtype=object)
    return pd.DataFrame(dict(fields), index=index, columns=list(fields), dtype=object)


def memory(table: Table, path: Path) -> Expression:
    """The table as our writers take it."""
    return Expression(
        path,
        table.values,
        table.profiles,
        table.genes,
        frame(table.profile_fields, table.profiles),
        frame(table.gene_fields, table.genes),
    )


def assert_same(found: Expression, table: Table) -> None:
    ours = Content(found.profiles, found.genes, found.values)
    assert same(ours, Content(table.profiles, table.genes, table.values))


def lists(fields: object) -> dict[str, list[str]]:
    return {name: list(texts) for name, texts in dict(fields).items()}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@given(table=expression(), dressing=dress())
@QUICK
def test_gct(tmp_path: Path, version: str, table: Table, dressing) -> None:
    path = put(tmp_path / "a", tables.gct_bytes(table, version), dressing)
    assert kind_of(path) == "gct"
    found = read_gct(path)
    assert_same(found, table)
    if version == "1.3":
        assert fields_of(found.profile_metadata) == lists(table.profile_fields)
        assert fields_of(found.gene_metadata) == lists(table.gene_fields)
    some = read_gct(path, genes=table.genes[::2])
    assert some.genes == table.genes[::2]
    assert same(Content(values=some.values), Content(values=found.values[:, ::2]))
    for name in ("b.gct", "b.gct.gz"):
        write_gct(tmp_path / name, memory(table, path), version=version)
        again = read_gct(tmp_path / name)
        assert_same(again, table)
        if version == "1.3":
            assert fields_of(again.gene_metadata) == lists(table.gene_fields)


@given(table=expression(), dressing=dress())
@QUICK
def test_rpkm(tmp_path: Path, table: Table, dressing) -> None:
    path = put(tmp_path / "a", tables.rpkm_bytes(table), dressing)
    assert kind_of(path) == "geuvadis"
    found = read_rpkm(path)
    assert_same(found, table)
    assert found.gene_metadata["Coord"].tolist() == [str(k) for k in range(len(table.genes))]
    write_rpkm(tmp_path / "b.gz", found)
    again = read_rpkm(tmp_path / "b.gz")
    assert_same(again, table)
    assert fields_of(again.gene_metadata) == fields_of(found.gene_metadata)


def not_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return stripped(text)
    return False


@pytest.mark.parametrize("mark", ["\t", ","])
@given(
    table=expression(ids=TEXT.filter(not_a_number), numbers=DOUBLES),
    dressing=dress(),
    corner=st.booleans(),
)
@QUICK
def test_tables_of_pandas(tmp_path: Path, mark: str, table: Table, dressing, corner) -> None:
    # One id with the other mark in it, alone in its line: nobody could tell the separator. Nor
    # what a byte order mark at the very beginning is part of.
    assume(corner or len(table.profiles) > 1 or "," not in table.profiles[0])
    assume(corner or not table.profiles[0].startswith(("\ufeff", "#")))
    path = put(tmp_path / "a", tables.delimited_bytes(table, mark, corner=corner), dressing)
    assert_same(read_delimited(path), table)
    if not tables.delimited_bytes(table, mark, corner=corner).startswith(b"#1."):
        assert_same(open_expression(path), table)


@given(genes=gene_map(), dressing=dress())
@QUICK
def test_gene_maps(tmp_path: Path, genes, dressing) -> None:
    # What a byte order mark at the very beginning is part of, nobody could tell.
    assume(not genes[0][0].startswith("\ufeff"))
    found = read_gene_map(put(tmp_path / "a", tables.gene_map_bytes(genes), dressing))
    assert list(zip(found.symbols, found.ensembl, map(list, found.probes), strict=True)) == genes


CELLS = ("", "a", "1", "2.5", "x1", "NA", '"q"', "#c", "Length", "TP53", "pr_is_lm", "id")
HEADS = {
    read_delimited: ("", "!Series_t\t1\n!series_matrix_table_begin\n"),
    read_gct: ("#1.2\n2\t2\n", "#1.3\n1\t1\t1\t1\n"),
    read_rpkm: ("TargetID\tGene_Symbol\tChr\tCoord\tp\n",),
    read_gene_map: ("",),
}


@pytest.mark.parametrize("seed", range(4))
def test_small_shapes_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    """Rows of any widths, of cells that mean something: no other exception."""
    draw = random.Random(seed)
    path = tmp_path / "a"
    for _ in range(250):
        rows = [draw.choices(CELLS, k=draw.randint(1, 5)) for _ in range(draw.randint(1, 4))]
        body = "\n".join(draw.choice("\t\t\t,").join(row) for row in rows)
        for read, heads in HEADS.items():
            path.write_text(f"{draw.choice(heads)}{body}\n")
            with suppress(DgexError):
                read(path)
