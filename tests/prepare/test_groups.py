"""Splits by whole groups, and compendia of several files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.config import PrepareConfig
from dgex_jax.errors import DgexError, FormatError, PreparationError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gct, write_gctx
from dgex_jax.prepare.samples import linked_groups
from dgex_jax.prepare.split import split_groups
from dgex_jax.rawfiles import Compendium, StudyFiles
from tests.prepare.checks import datasets, refused
from tests.properties.inputs import examples

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QUICK = PrepareConfig(duplicates="none", scale_on="train")
N, GENES = 60, [f"g{n}" for n in range(30)]
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def numbered(draw: st.DrawFn, least: int = 3) -> NDArray[np.intp]:
    """Groups of any sizes, as the number of its group for each profile."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=least, max_size=80))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw(SEEDS)).permutation(groups)


@pytest.mark.parametrize("n_ids", [3, 20, 200])
def test_linked_groups_are_the_connected_profiles(n_ids) -> None:
    """Against the definition: the closure of "shares an id", by products of matrices."""
    rng = np.random.default_rng(n_ids)
    sets = [set(rng.integers(n_ids, size=rng.integers(0, 4)).tolist()) for _ in range(60)]
    shared = np.array([[bool(a & b) for b in sets] for a in sets]) | np.eye(60, dtype=bool)
    for _ in range(6):
        shared = shared @ shared
    wanted = shared.argmax(axis=1)
    marks = (",", ";", " | ", "\t", ", ", "Xx-xX")
    cells = [marks[k % 6].join(f"GSE{name}" for name in names) for k, names in enumerate(sets)]
    groups = linked_groups(cells)
    assert groups.dtype == np.intp
    np.testing.assert_array_equal(np.unique(wanted, return_inverse=True)[1], groups)


def test_cells_of_linked_groups() -> None:
    cells = ["GSE1", "", "GSE2,GSE3", " GSE1 ", "patient 1", "", "GSE3; GSE1;", "patient 2"]
    assert linked_groups(cells).tolist() == [0, 1, 0, 0, 2, 3, 0, 4]
    assert linked_groups([]).tolist() == []


@examples(100)
@given(groups=numbered(), seed=SEEDS)
def test_groups_stay_whole_in_parts_of_about_the_usual_sizes(groups, seed) -> None:
    order, sizes = split_groups(groups, seed)
    assert sorted(order) == list(range(len(groups)))
    parts = [order[rows] for rows in sizes.slices.values()]
    assert tuple(map(len, parts)) == tuple(sizes)
    assert min(sizes) >= 1
    of_part = [{*groups[part]} for part in parts]
    assert sum(map(len, of_part)) == len({*groups})
    tenth, largest = len(groups) / 10, np.bincount(groups).max()
    for held, of_groups in zip(sizes[1:], of_part[1:], strict=True):
        assert held <= 2 * tenth or len(of_groups) == 1
        assert held >= tenth or largest > tenth
    again, _ = split_groups(groups, seed)
    np.testing.assert_array_equal(order, again)


@examples(20)
@given(groups=numbered(30), seed=st.integers(0, 2**31))
def test_another_seed_holds_out_other_groups(groups, seed) -> None:
    def held_out(seed: int) -> frozenset[int]:
        order, sizes = split_groups(groups, seed)
        return frozenset(groups[order[sizes.slices["test"]]].tolist())

    assert len({held_out(seed + more) for more in range(8)}) > 1


@pytest.mark.parametrize("groups", [[0] * 9, [0, 1] * 20, [0, 1]])
def test_too_few_groups(groups) -> None:
    text = f"{len({*groups})} groups of profiles: too few to split"
    refused(lambda: split_groups(np.array(groups), 1), text, PreparationError)


def made(path: Path, profiles: list[str], genes: list[str], seed: int = 1, **fields) -> Expression:
    """Write made-up logarithms, with annotation of the profiles in GCT 1.3 and GCTX."""
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 1, (len(profiles), len(genes))).clip(0).astype(np.float32).round(2)
    metadata = pd.DataFrame(fields, index=pd.Index(profiles, dtype=object), dtype=object)
    one = Expression(path, values, tuple(profiles), tuple(genes), metadata)
    return written(one)


def written(one: Expression) -> Expression:
    """Write a file of the kind that its name says."""
    if one.path.suffix == ".gct":
        write_gct(one.path, one, version="1.3")
    elif one.path.suffix == ".gctx":
        write_gctx(one.path, one)
    else:
        pd.DataFrame(one.values.T, one.genes, one.profiles).to_csv(one.path, sep="\t")
    return one


@pytest.fixture
def study(tmp_path):
    """Give a function that makes a study of files whose landmarks are the first genes."""
    (tmp_path / "landmarks.txt").write_text("".join(f"{one}\n" for one in GENES[:6]))

    def of(*paths: Path, **settings) -> StudyFiles:
        return StudyFiles(Compendium(paths, tmp_path / "landmarks.txt", **settings), {})

    return of


PROFILES = [f"p{n}" for n in range(N)]
DONORS = [["", "NA", "donor 1, left", "donor 1, right", "donor 2"][n % 5] or "" for n in range(15)]
DONORS += [f"d{n // 3}" for n in range(15, N)]
SERIES = [f"GSE{n // 3}" for n in range(N)]
SERIES[2], SERIES[5] = "GSE0,GSE1", "GSE1 | GSE2"
SERIES[8], SERIES[20], SERIES[40], SERIES[41] = (
    "GSE2 GSE3",
    "GSE18;E-MTAB-7",
    "E-MTAB-7",
    "of it all",
)
BY_DONOR = [[n for n in range(15) if n % 5 == k] for k in (2, 3, 4)]
BY_DONOR += [[n, n + 1, n + 2] for n in range(15, N, 3)]
BY_SERIES = [
    [*range(12)],
    [18, 19],
    [20, 40, *range(54, 57)],
    [39],
    [41],
    *([n, n + 1, n + 2] for n in range(12, N, 3) if n not in (18, 39, 54)),
]
"""Places of the profiles that go together."""


@pytest.mark.parametrize(
    ("field", "cells", "together", "alone"),
    [("donor", DONORS, BY_DONOR, 6), ("series_id", SERIES, BY_SERIES, 0)],
)
@pytest.mark.parametrize("by", ["field", "file"])
def test_a_study_by_groups(study, run_prepare, tmp_path, field, cells, together, alone, by) -> None:
    """Of the field of a file, or of two columns; those without a group are one each, and said."""
    path = made(tmp_path / "a.gct", PROFILES, GENES, **{field: cells}).path
    where = f"the field '{field}' of a.gct"
    if by == "file":
        where = str(tmp_path / "groups.tsv")
        known = [(one, cell) for one, cell in zip(PROFILES, cells, strict=True) if cell != "NA"]
        lines = [f"{one}\t{cell}\n" for one, cell in [("profile", "group"), *known]]
        (tmp_path / "groups.tsv").write_text("".join(reversed(lines)))
    split_by = field if by == "field" else tmp_path / "groups.tsv"
    report = run_prepare(study(path, split_by=split_by), tmp_path / "p.h5", QUICK)
    data = datasets(tmp_path / "p.h5")
    profiles = data["compendium/profiles"].tolist()
    parts = [
        {profiles[row] for row in data[f"compendium/split/{part}"]}
        for part in ("train", "validation", "test")
    ]
    assert sum(map(len, parts)) == N
    for group in together:
        assert sum(any(PROFILES[place] in part for place in group) for part in parts) == 1
    assert sum(map(len, together)) + alone == N
    assert report.counts["groups"] == len(together) + alone
    written = dict(zip(PROFILES, cells, strict=True))
    expected = ["" if written[one] == "NA" else written[one] for one in profiles]
    assert data["compendium/group"].tolist() == expected
    said = [note for note in report.notes if "have no group by" in note]
    text = (
        f"{alone} profiles have no group by {where}, each is one of its own: p0, p1, p5 and 3 more"
    )
    assert said == [text] * bool(alone)


def test_filters_and_duplicates_leave_the_others_groups(study, run_prepare, tmp_path) -> None:
    one = made(tmp_path / "a.gctx", PROFILES, GENES, donor=DONORS)
    values = one.values.copy()
    values[20:24], values[50] = 0, values[30]
    written(replace(one, values=values))
    config = replace(QUICK, duplicates="all-pairs", min_genes=20)
    report = run_prepare(study(one.path, split_by="donor"), tmp_path / "p.h5", config)
    data = datasets(tmp_path / "p.h5")
    kept = [name for n, name in enumerate(PROFILES) if n not in {20, 21, 22, 23, 50}]
    profiles = data["compendium/profiles"].tolist()
    assert sorted(profiles) == sorted(kept)
    of = dict(zip(PROFILES, ["" if one == "NA" else one for one in DONORS], strict=True))
    assert data["compendium/group"].tolist() == [of[profile] for profile in profiles]
    assert report.counts["groups"] == len({of[one] or one for one in kept})
    for part in ("train", "validation", "test"):
        rows = data[f"compendium/split/{part}"]
        inside, outside = (
            {of[profiles[n]] for n in some} - {""} for some in (rows, {*range(55)} - {*rows})
        )
        assert not inside & outside


@pytest.mark.parametrize(
    ("by", "content", "kind", "text"),
    [
        ("sex", "", FormatError, "its profiles have no field 'sex' to split by .there: donor"),
        ("empty", "", FormatError, "no profile has a group by the field 'empty' of a.gct"),
        ("sites", "", PreparationError, "2 groups of profiles: too few"),
        ("g.tsv", "x\ty\n", FormatError, "a.gct: no profile has a group by .*g.tsv"),
        ("g.tsv", "p1\td1\np2\td1\textra\n", FormatError, "g.tsv: line 2: 3 columns, not 2"),
        ("g.tsv", "p1\td1\n\np1\td2\n", FormatError, "g.tsv: line 3: profile 'p1' has two groups"),
        ("g.csv", "p1,d1\np2\n", FormatError, "g.csv: line 2: 1 columns, not 2"),
        ("h.tsv", None, DgexError, "h.tsv"),
    ],
)
def test_what_groups_are_refused(study, run_prepare, tmp_path, by, content, kind, text) -> None:
    fields = {"donor": DONORS, "empty": ["NA"] * N, "sites": ["Rome", "Bern"] * (N // 2)}
    path = made(tmp_path / "a.gct", PROFILES, GENES, **fields).path
    if content:
        (tmp_path / by).write_text(content)
    split_by = tmp_path / by if "." in by else by
    refused(
        lambda: run_prepare(study(path, split_by=split_by), tmp_path / "p.h5", QUICK), text, kind
    )
    assert not (tmp_path / "p.h5").exists()


@pytest.fixture
def three(tmp_path) -> list[Expression]:
    """Files of three kinds that share most genes, each in an order of its own."""
    cut = {"a.tsv": (0, 25), "b.gct": (25, 40), "c.gctx": (40, N)}
    files = []
    for seed, (name, (start, stop)) in enumerate(cut.items()):
        genes = [*GENES, f"own{seed}", "NOTHING"[seed:]]
        genes = np.random.default_rng(seed).permutation(genes).tolist()
        files.append(made(tmp_path / name, PROFILES[start:stop], genes, seed))
    return files


@pytest.mark.parametrize("split_by", [None, "file"])
@pytest.mark.parametrize("rule", ["quantile", "log_cpm"])
def test_several_files_are_prepared_as_their_table(
    study, run_prepare, tmp_path, three, rule, split_by
) -> None:
    values = "counts" if rule == "log_cpm" else "log2"
    if values == "counts":
        three = [written(replace(one, values=(2**one.values * 9).round())) for one in three]
    shared = [one for one in three[0].genes if one in GENES]
    frames = [pd.DataFrame(one.values, one.profiles, list(one.genes))[shared] for one in three]
    table = pd.concat(frames)
    joined = replace(
        three[0],
        path=tmp_path / "joined.gctx",
        values=table.to_numpy(),
        profiles=tuple(table.index),
        genes=tuple(shared),
        profile_metadata=pd.DataFrame(
            {"file": [one.path.name for one in three for _ in one.profiles]}, table.index
        ),
    )
    written(joined)
    config = replace(QUICK, normalize=rule)
    results = []
    for paths in ([one.path for one in three], [joined.path]):
        report = run_prepare(
            study(*paths, values=values, split_by=split_by), tmp_path / "p.h5", config
        )
        results.append(datasets(tmp_path / "p.h5"))
        note = "counts are per million of the genes that all files have"
        assert (note in report.notes) == (rule == "log_cpm" and len(paths) == 3)
    ours, theirs = results
    file_of = dict(zip(table.index, joined.profile_metadata["file"], strict=True))
    assert ours.pop("compendium/file").tolist() == [
        file_of[one] for one in ours["compendium/profiles"]
    ]
    assert ours.keys() == theirs.keys()
    for name, values_of in ours.items():
        if values_of.dtype.kind == "f":
            np.testing.assert_allclose(values_of, theirs[name], rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(values_of, theirs[name])
    assert ours["compendium/X"].shape == (N, 6)
    assert sorted(ours["targets"]) == sorted(GENES[6:])


def test_files_that_share_a_profile(study, run_prepare, tmp_path, three) -> None:
    again = made(tmp_path / "d.gctx", ["new", "p30"], GENES)
    files = study(*(one.path for one in (*three, again)))
    text = f"profile 'p30' is in {three[1].path} as well"
    refused(lambda: run_prepare(files, tmp_path / "p.h5", QUICK), text, path=again.path)
    assert not (tmp_path / "p.h5").exists()
