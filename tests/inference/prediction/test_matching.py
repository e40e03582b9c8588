"""The model's genes in a file: found by their ids on either axis, never guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.inference.mangled import date_of, date_of_symbol
from dgex_jax.inference.matching import match_genes, require_landmarks

PATH = Path("a.gctx")


def source(genes, profiles=("p1", "p2"), genes_say=None, profiles_say=None) -> Expression:
    """A file with ids and metadata; its values count up."""
    values = np.arange(len(profiles) * len(genes), dtype=float).reshape(len(profiles), -1)
    say = [
        pd.DataFrame(fields or {}, index=pd.Index(ids, dtype=object), dtype=object)
        for fields, ids in ((profiles_say, profiles), (genes_say, genes))
    ]
    return Expression(PATH, values, tuple(profiles), tuple(genes), *say)


def ids_of(model, kind: str) -> list[str]:
    genes = model.landmarks
    return {
        "probe": [probes[0] for probes in genes.probes],
        "ensembl": list(genes.ensembl),
        "entrez": list(genes.entrez),
        "symbol": list(genes.symbols),
    }[kind]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("in_field", [False, True])
@pytest.mark.parametrize("kind", ["probe", "ensembl", "entrez", "symbol"])
def test_every_kind_of_id(model, kind, in_field, turned) -> None:
    order = np.random.default_rng(1).permutation(20)
    names = [ids_of(model, kind)[place] for place in order]
    field = "pr_gene_id" if kind == "entrez" else "annotated as"
    say = {field: names, "other": ["x"] * 20} if in_field else None
    ids = [f"row{n}" for n in range(20)] if in_field else names
    file = source(ids, genes_say=say)
    if turned:
        file = source(["p1", "p2"], profiles=ids, profiles_say=say)
    match = match_genes(model, file, targets=False)
    assert match.kind == kind
    assert match.names.field == (field if in_field else None)
    assert match.axis == ("columns" if turned else "rows")
    assert [columns[0] for columns in match.landmarks] == np.argsort(order).tolist()
    assert match.source.profiles == ("p1", "p2")
    assert match.source.genes == tuple(ids)
    assert match.missing == ()
    require_landmarks(model, match)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ensembl", lambda name: f"{name}.17"),
        ("ensembl", lambda name: f" {name} "),
        ("entrez", lambda name: f"{name}.0"),
        ("entrez", lambda name: f"{name}."),
    ],
)
def test_ways_to_write_an_id(model, kind, change) -> None:
    match = match_genes(model, source(list(map(change, ids_of(model, kind)))), targets=False)
    assert match.kind == kind
    assert match.landmarks == tuple((place,) for place in range(20))


def test_probes_of_a_gene_are_all_found_in_its_order(model) -> None:
    first, *others = model.landmarks.probes
    probes = ((*first, "extra_at", "more_at"), *others)
    made = replace(model, landmarks=replace(model.landmarks, probes=probes))
    names = ["more_at", *(of_gene[0] for of_gene in others), "extra_at", *first]
    match = match_genes(made, source(names), targets=False)
    assert match.landmarks[0] == (21, 20, 0)
    assert list(match.landmarks[1:]) == [(n,) for n in range(1, 20)]
    assert match.n_partial == 0
    assert match_genes(made, source(names[1:]), targets=False).n_partial == 1


def test_targets_by_the_same_ids(model) -> None:
    names = list(dict.fromkeys([*model.targets.symbols[3:], *model.landmarks.symbols]))
    match = match_genes(model, source(names), targets=True)
    assert match.targets is not None
    wanted = [(names.index(name),) if name in names else () for name in model.targets.symbols]
    assert list(match.targets) == wanted
    assert () in match.targets[:3]


def test_neither_axis_or_both(model) -> None:
    half = list(model.landmarks.ensembl[:10])
    match = match_genes(model, source([*half, "x"]), targets=False)
    assert len(match.missing) == 10
    with pytest.raises(FormatError) as error:
        match_genes(model, source([*half[:9], "x"]), targets=False)
    assert str(error.value) == (
        f"a.gctx: of 20 landmarks 9 on its rows ({half[0]!r}, {half[1]!r}, {half[2]!r} …) and 0 on "
        "its columns ('p1', 'p2' …) were found, at least 10 are needed on one"
    )
    with pytest.raises(FormatError, match=r"both its rows and its columns .* \(10 and 12\)"):
        match_genes(model, source(half, model.landmarks.symbols[:12]), targets=False)


def test_row_numbers_are_no_entrez_ids(model) -> None:
    """Most small whole numbers are Entrez ids: a table by row number must not be matched."""
    numbered = replace(model.landmarks, entrez=tuple(str(n) for n in range(5, 25)))
    small = replace(model, landmarks=numbered)
    with pytest.raises(FormatError, match="row numbers are no ids"):
        match_genes(small, source([str(n) for n in range(100)]), targets=False)
    say = {"pr_analyte_num": [str(n) for n in range(100, 0, -1)]}
    with pytest.raises(FormatError, match="of 20 landmarks 0 on its rows"):
        match_genes(small, source([f"x{n}" for n in range(100)], genes_say=say), targets=False)
    file = source([str(n) for n in range(100, 0, -1)])
    assert match_genes(small, file, targets=False).kind == "entrez"


def test_only_the_kind_asked_for(model) -> None:
    file = source(ids_of(model, "symbol"), genes_say={"ensembl": ids_of(model, "ensembl")})
    assert match_genes(model, file, targets=False).kind == "symbol"
    found = match_genes(model, file, targets=False, ids="ensembl")
    assert (found.kind, found.names.field) == ("ensembl", "ensembl")
    with pytest.raises(FormatError, match="of 20 landmarks 0 on its rows"):
        match_genes(model, file, targets=False, ids="probe")


@pytest.mark.parametrize("kind", ["probe", "ensembl", "entrez", "symbol"])
def test_duplicates_are_named(model, kind) -> None:
    names = ids_of(model, kind)
    again = {"ensembl": f"{names[4]}.2", "entrez": f"{names[4]}.0"}.get(kind, names[4])
    with pytest.raises(FormatError) as error:
        match_genes(model, source([*names, again, "x", "x"]), targets=False)
    shown = repr(again) if again == names[4] else f"{names[4]!r} = {again!r}"
    assert str(error.value) == f"a.gctx: genes of the model are there twice: {shown}"


def test_other_duplicates_do_no_harm(model) -> None:
    names = [*model.landmarks.symbols, "Y_RNA", "Y_RNA", model.targets.symbols[0]]
    assert match_genes(model, source(names), targets=True).missing == ()
    twice = [*names, model.targets.symbols[0]]
    assert match_genes(model, source(twice), targets=False).missing == ()
    with pytest.raises(FormatError, match=f"there twice: {model.targets.symbols[0]!r}"):
        match_genes(model, source(twice), targets=True)


def test_profiles_that_come_twice(model) -> None:
    with pytest.raises(FormatError, match="duplicate profile id 'p1'"):
        match_genes(model, source(model.landmarks.symbols, ("p1", "p1")), targets=False)


def test_missing_landmarks_are_listed(model) -> None:
    names = list(model.landmarks.symbols)
    match = match_genes(model, source(names[3:]), targets=False)
    assert match.missing == (0, 1, 2)
    with pytest.raises(FormatError) as error:
        require_landmarks(model, match)
    assert str(error.value) == (
        "a.gctx: 3 of 20 landmarks are missing (by symbol on its rows): "
        f"{', '.join(names[:3])}; --impute goes on with their training means"
    )


def test_mangled_symbols_are_named(model) -> None:
    symbols = ("SEPT2", "MARCHF1", "DEC1", *model.landmarks.symbols[3:])
    made = replace(model, landmarks=replace(model.landmarks, symbols=symbols))
    names = ["2-Sep", "1-Mar", "1-Mar", *symbols[3:]]
    with pytest.raises(FormatError) as error:
        require_landmarks(made, match_genes(made, source(names), targets=False))
    assert str(error.value) == (
        "a.gctx: 3 of 20 landmarks are missing (by symbol on its rows): SEPT2, MARCHF1, DEC1; "
        "a spreadsheet has turned symbols into dates ('2-Sep', '1-Mar'): SEPT2 may be '2-Sep'; "
        "MARCHF1 may be '1-Mar'; --impute goes on with their training means"
    )


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("1-Mar", ("mar", 1)),
        ("01-Mar", ("mar", 1)),
        ("2-Sep", ("sep", 2)),
        ("Sep-02", ("sep", 2)),
        ("2-sept", ("sep", 2)),
        ("2023-03-01", ("mar", 1)),
        ("2023-09-02 00:00:00", ("sep", 2)),
        ("2023-19-02", None),
        ("SEPT2", None),
        ("MAR1", None),
        ("HLA-A", None),
        ("1-marvel", None),
        ("780", None),
    ],
)
def test_dates_among_ids(text, date) -> None:
    assert date_of(text) == date


@pytest.mark.parametrize(
    ("symbol", "date"),
    [
        ("SEPT2", ("sep", 2)),
        ("SEPTIN11", ("sep", 11)),
        ("MARCH10", ("mar", 10)),
        ("MARC1", ("mar", 1)),
        ("MARCKS", None),
        ("DEC1", ("dec", 1)),
        ("TP53", None),
    ],
)
def test_symbols_that_become_dates(symbol, date) -> None:
    assert date_of_symbol(symbol) == date


def test_genes_of_the_mouse(model) -> None:
    with pytest.raises(FormatError, match="ENSMUSG ids are genes of the mouse"):
        match_genes(model, source([f"ENSMUSG{n:011d}" for n in range(5)]), targets=False)
