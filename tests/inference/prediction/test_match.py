"""The model's genes in a file: found by their ids on either axis, never guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import Expression
from dgex_jax.model.match import Match, check_missing, match_genes

PATH = Path("a.gctx")


def source(genes, profiles=("p1", "p2"), genes_say=None, profiles_say=None) -> Expression:
    """A file with ids and metadata; its values count up."""
    values = np.arange(len(profiles) * len(genes), dtype=float).reshape(len(profiles), -1)
    say = [
        pd.DataFrame(fields or {}, index=pd.Index(ids, dtype=object), dtype=object)
        for fields, ids in ((profiles_say, profiles), (genes_say, genes))
    ]
    return Expression(PATH, values, tuple(profiles), tuple(genes), *say)


def matched(model, *args, targets=False, ids=None, **more) -> Match:
    return match_genes(model, source(*args, **more), targets=targets, ids=ids)


def refusal(model, *args, targets=False, ids=None, **more) -> str:
    """Why a file can't be matched, or lacks landmarks, behind its name."""
    with pytest.raises(FormatError) as caught:
        check_missing(matched(model, *args, targets=targets, ids=ids, **more), impute=False)
    text = str(caught.value)
    assert text.startswith(f"{PATH}: ")
    return text.removeprefix(f"{PATH}: ")


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
    assert match.found.kind == kind
    assert match.found.names.field == (field if in_field else None)
    assert match.axis == ("columns" if turned else "rows")
    assert [columns[0] for columns in match.wanted] == np.argsort(order).tolist()
    assert match.source.profiles == ("p1", "p2")
    assert match.source.genes == tuple(ids)
    assert match.missing == ()
    check_missing(match, impute=False)


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
    match = matched(model, list(map(change, ids_of(model, kind))))
    assert match.found.kind == kind
    assert match.wanted == tuple((place,) for place in range(20))


def test_probes_of_a_gene_are_all_found_in_its_order(model) -> None:
    first, *others = model.landmarks.probes
    probes = ((*first, "extra_at", "more_at"), *others)
    made = replace(model, landmarks=replace(model.landmarks, probes=probes))
    names = ["more_at", *(of_gene[0] for of_gene in others), "extra_at", *first]
    match = matched(made, names)
    assert match.wanted == ((21, 20, 0), *((n,) for n in range(1, 20)))
    assert match.n_partial == 0
    assert matched(made, names[1:]).n_partial == 1


def test_targets_by_the_same_ids(model) -> None:
    names = list(dict.fromkeys([*model.targets.symbols[3:], *model.landmarks.symbols]))
    found = matched(model, names, targets=True).others
    wanted = [(names.index(name),) if name in names else () for name in model.targets.symbols]
    assert list(found) == wanted
    assert () in found[:3]


def test_neither_axis_or_both(model) -> None:
    half = list(model.landmarks.ensembl[:10])
    assert len(matched(model, [*half, "x"]).missing) == 10
    assert refusal(model, [*half[:9], "x"]) == (
        f"of 20 landmarks 9 on its rows ({half[0]!r}, {half[1]!r}, {half[2]!r} …) and 0 on its "
        "columns ('p1', 'p2' …) were found, at least 10 are needed on one"
    )
    both = refusal(model, half, model.landmarks.symbols[:12])
    assert both.startswith("both its rows and its columns ")
    assert "(10 and 12)" in both


def test_row_numbers_are_no_entrez_ids(model) -> None:
    """Most small whole numbers are Entrez ids: a table by row number must not be matched."""
    numbered = replace(model.landmarks, entrez=tuple(str(n) for n in range(5, 25)))
    small = replace(model, landmarks=numbered)
    assert "row numbers are no ids" in refusal(small, [str(n) for n in range(100)])
    down = [str(n) for n in range(100, 0, -1)]
    told = refusal(small, [f"x{n}" for n in range(100)], genes_say={"pr_analyte_num": down})
    assert told.startswith("of 20 landmarks 0 on its rows")
    assert matched(small, down).found.kind == "entrez"


def test_only_the_kind_asked_for(model) -> None:
    file = {"genes": ids_of(model, "symbol"), "genes_say": {"ensembl": ids_of(model, "ensembl")}}
    assert matched(model, **file).found.kind == "symbol"
    found = matched(model, **file, ids="ensembl").found
    assert (found.kind, found.names.field) == ("ensembl", "ensembl")
    assert refusal(model, **file, ids="probe").startswith("of 20 landmarks 0 on its rows")


@pytest.mark.parametrize(
    ("kind", "word"),
    [("ensembl", "Ensembl id"), ("entrez", "Entrez id"), ("symbol", "symbol"), ("probe", "probe")],
)
def test_what_stands_for_a_probe_is_called_what_it_is(model, kind, word) -> None:
    """A compendium of genes has no probes: a model has the ids of its rows in their place."""
    names = ids_of(model, kind)
    rows = tuple((name,) for name in names)
    made = replace(model, landmarks=replace(model.landmarks, probes=rows))
    match = matched(made, names)
    assert (match.found.kind, match.naming) == ("probe", f"by {word} on its rows")
    assert match.second == ""


@pytest.mark.parametrize("kind", ["probe", "ensembl", "entrez", "symbol"])
def test_duplicates_are_named(model, kind) -> None:
    names = ids_of(model, kind)
    again = {"ensembl": f"{names[4]}.2", "entrez": f"{names[4]}.0"}.get(kind, names[4])
    shown = repr(again) if again == names[4] else f"{names[4]!r} = {again!r}"
    told = refusal(model, [*names, again, "x", "x"])
    assert told == f"genes of the model are there twice: {shown}"


def test_other_duplicates_do_no_harm(model) -> None:
    target = model.targets.symbols[0]
    names = [*model.landmarks.symbols, "Y_RNA", "Y_RNA", target]
    assert matched(model, names, targets=True).missing == ()
    assert matched(model, [*names, target]).missing == ()
    assert f"there twice: {target!r}" in refusal(model, [*names, target], targets=True)
    assert "duplicate profile id 'p1'" in refusal(model, model.landmarks.symbols, ("p1", "p1"))


def test_missing_landmarks_are_listed(model) -> None:
    names = list(model.landmarks.symbols)
    assert matched(model, names[3:]).missing == (0, 1, 2)
    assert refusal(model, names[3:]) == (
        "3 of 20 landmarks are missing (by symbol on its rows): "
        f"{', '.join(names[:3])}; --impute takes their training means"
    )


def test_mangled_symbols_are_named(model) -> None:
    symbols = ("SEPT2", "MARCHF1", "DEC1", *model.landmarks.symbols[3:])
    made = replace(model, landmarks=replace(model.landmarks, symbols=symbols))
    assert refusal(made, ["2-Sep", "1-Mar", "1-Mar", *symbols[3:]]) == (
        "3 of 20 landmarks are missing (by symbol on its rows): SEPT2, MARCHF1, DEC1; "
        "a spreadsheet has turned symbols into dates ('2-Sep', '1-Mar'): SEPT2 may be '2-Sep'; "
        "MARCHF1 may be '1-Mar'; --impute takes their training means"
    )


DATES = [
    *(("SEPT2", text) for text in ("2-Sep", "Sep-02", "2-sept", "2023-09-02 00:00:00")),
    *(("MARCH1", text) for text in ("1-Mar", "01-Mar", "2023-03-01", "March 1")),
    *(("SEPTIN11", "11-Sep"), ("MARC1", "1-Mar"), ("MARCHF10", "10-Mar"), ("DEC1", "1-Dec")),
]


@pytest.mark.parametrize(("symbol", "text"), DATES)
def test_dates_among_ids(model, symbol, text) -> None:
    others = model.landmarks.symbols[1:]
    made = replace(model, landmarks=replace(model.landmarks, symbols=(symbol, *others)))
    assert f"into dates ({text!r}): {symbol} may be {text!r}; -" in refusal(made, [text, *others])


@pytest.mark.parametrize("text", ["2023-19-02", "SEPT3", "MAR1", "HLA-A", "1-marvel", "781"])
def test_no_dates_among_ids(model, text) -> None:
    others = model.landmarks.symbols[1:]
    made = replace(model, landmarks=replace(model.landmarks, symbols=("MARCKS", *others)))
    assert "dates" not in refusal(made, [text, *others])
    assert "may be" not in refusal(made, ["1-Mar", *others])


def test_genes_of_the_mouse(model) -> None:
    mouse = refusal(model, [f"ENSMUSG{n:011d}" for n in range(5)])
    assert "ENSMUSG ids are genes of the mouse" in mouse
