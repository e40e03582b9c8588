"""Valid files are read to the last bit, damaged ones as independent parsers do or refused.

`tests/stress/fuzz.py` does the same with tens of thousands of damaged files.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError
from dgex_jax.io.delimited import read_delimited
from dgex_jax.io.expression import Expression
from dgex_jax.io.gct import read_gct, read_rpkm
from dgex_jax.io.h5ad import H5adWriter
from dgex_jax.io.writers import write_gct, write_gctx, write_rpkm
from dgex_jax.prepare.genes import read_gene_map
from tests.fuzz import drive, readers, tables
from tests.fuzz.oracle import Content, same
from tests.io.refusing import is_refusal

if TYPE_CHECKING:
    from pathlib import Path

CASES = 45


@pytest.fixture(scope="module")
def tallies(tmp_path_factory) -> dict[str, drive.Tally]:
    """What came of some hundreds of files, all in one child process."""
    keep = tmp_path_factory.mktemp("failed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "A_CHILD", 10**6)
        return drive.drive(readers.SUFFIX, CASES, seed=3, keep=keep)


@pytest.mark.parametrize("kind", readers.SUFFIX)
def test_damaged_files(tallies, kind: str) -> None:
    tally = tallies[kind]
    assert tally.failures == []
    assert tally.read + tally.refused == tally.cases == CASES
    # Neither all refused nor all harmless: the faults are worth reading.
    assert tally.read >= 4
    assert tally.refused >= 10


@pytest.mark.parametrize("kind", readers.SUFFIX)
def test_valid_files_are_read(kind: str, tmp_path: Path, monkeypatch) -> None:
    """The files that are damaged, before they are; and the judge sees a difference."""
    if kind == "table":  # first cells that look like values or comments are refused
        names = [name for name in tables.NAMES if name[0] not in "#-017"]
        monkeypatch.setattr(tables, "NAMES", names)
    for seed in range(60):
        path = tmp_path / f"{seed}{readers.SUFFIX[kind]}"
        readers.write_case(kind, path, random.Random(seed), damage=False)
        assert readers.verdict(kind, path) == ("read", ""), seed
    wrong = Content(("p",), ("g",), np.zeros((1, 1)), {"title": "another"})
    monkeypatch.setitem(readers.OURS, kind, lambda _: wrong)
    assert readers.verdict(kind, path)[0] == "failed"


def frame(fields: Any, ids: tuple[str, ...]) -> pd.DataFrame:
    index = pd.Index(ids, dtype=object)
    return pd.DataFrame(dict(fields), index=index, columns=list(fields), dtype=object)


@pytest.mark.parametrize("seed", range(30))
def test_what_we_write_comes_back(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    table = tables.random_table(draw)
    ids = table.profiles, table.genes
    notes = [
        {name: list(texts) for name, texts in fields.items()}
        for fields in (table.profile_fields, table.gene_fields)
    ]
    by_id = [frame(fields, names) for fields, names in zip(notes, ids, strict=True)]
    made = Expression(tmp_path / "x", table.values, *ids, *by_id)
    wanted = Content(*ids, table.values, notes)
    end = draw.choice(["", ".gz"])
    write_gct(tmp_path / f"a.gct{end}", made, version="1.3")
    assert same(readers.our_gct(tmp_path / f"a.gct{end}"), wanted)
    some = read_gct(tmp_path / f"a.gct{end}", genes=table.genes[::2])
    assert same(Content(values=some.values), Content(values=table.values[:, ::2]))
    write_gct(tmp_path / f"b.gct{end}", made)
    wanted.rest = [{}, {"Description": ["NA"] * len(table.genes)}]
    assert same(readers.our_gct(tmp_path / f"b.gct{end}"), wanted)
    write_rpkm(tmp_path / f"c.txt{end}", made)
    wanted.rest = {name: ["NA"] * len(table.genes) for name in ("Gene_Symbol", "Chr", "Coord")}
    assert same(readers.our_rpkm(tmp_path / f"c.txt{end}"), wanted)
    write_gctx(tmp_path / "d.gctx", made)
    wanted.rest = notes  # their names are in order
    assert same(readers.our_gctx(tmp_path / "d.gctx"), wanted)
    with np.errstate(over="ignore"):
        narrow = table.values.astype("f4")
    with H5adWriter(tmp_path / "e.h5ad", *ids, frame({}, ids[0]), frame({}, ids[1]), {}) as writer:
        writer.append(narrow)
    assert same(readers.our_h5ad(tmp_path / "e.h5ad"), Content(*ids, narrow))


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


def test_the_judge_is_strict(tmp_path: Path) -> None:
    one = Content(("p",), ("g",), np.array([[0.0]]), ["x"])
    assert same(one, Content(("p",), ("g",), np.array([[0.0]]), ["x"]))
    assert same(Content(values=np.array([np.nan])), Content(values=np.array([-np.nan])))
    for other in (
        Content(("q",), ("g",), one.values, ["x"]),
        Content(("p",), ("h",), one.values, ["x"]),
        Content(("p",), ("g",), -one.values, ["x"]),
        Content(("p",), ("g",), one.values.astype("f4"), ["x"]),
        Content(("p",), ("g",), one.values[0], ["x"]),
        Content(("p",), ("g",), np.array([[np.nan]]), ["x"]),
        Content(("p",), ("g",), one.values, ["y"]),
    ):
        assert not same(one, other)
    path = tmp_path / "a"
    assert is_refusal(f"{path}: line 3: x", path)
    for text in ("line 3", f"{path}: a\nb", f"{path}: a\u2028b", f"{path}: " + "x" * 9000):
        assert not is_refusal(text, path)


def test_deaths_hangs_and_swelling_are_failures(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    os.mkfifo(path)
    with drive.Child(tmp_path) as child, pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "CLOCK", 0.2)
        assert "no answer" in child.ask({"kind": "study", "path": str(path)})["why"]
    with drive.Child(tmp_path) as child:
        assert child.ask({"path": "no task"})["why"] == "the process died (1)"
    for answer in ({"seconds": 6.0, "bytes": 0}, {"seconds": 0.0, "bytes": 1 << 29}):
        tally = drive.Tally()
        assert not tally.add({"outcome": "read", "why": "", **answer}, tmp_path)
        assert "took" in tally.failures[0]
