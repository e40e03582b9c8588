"""The parts of a study: their names, what chooses for each, and what people read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dgex_jax.errors import StudyError
from dgex_jax.parts import ARRAYS_ALONE, PAPER, Parts, PartSet

MINE = Parts(
    "ARCHS4",
    "rnaseq",
    (
        PartSet("A", "rnaseq", "validation", "A"),
        PartSet("old-chips", "array", "test", "va"),
        PartSet("B", "l1000", "validation", "B"),
        PartSet("GTEx.v8", "rnaseq", "test", "A"),
        PartSet("TCGA", "rnaseq", "test", "A"),
        PartSet("LINCS", "l1000", "test", "B"),
    ),
)


def test_the_papers_parts_are_named_as_in_the_paper() -> None:
    assert [*PAPER] == ["tr", "va", "te", "1000G", "GTEx"]
    labels = [PAPER.label(part) for part in PAPER]
    assert labels == ["GEO-tr", "GEO-va", "GEO-te", "1000G-va", "GTEx-te"]
    assert PAPER.logged == ("va", "te", "1000G", "GTEx", "tr")
    assert [*ARRAYS_ALONE] == ["tr", "va", "te"]
    assert (ARRAYS_ALONE.choosers, ARRAYS_ALONE.names) == (("va",), ())


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        (PAPER, {"va": ("va", "te"), "1000G": ("1000G", "GTEx")}),
        (ARRAYS_ALONE, {"va": ("va", "te")}),
        (
            MINE,
            {
                "va": ("va", "te", "old-chips"),
                "A": ("A", "GTEx.v8", "TCGA"),
                "B": ("B", "LINCS"),
            },
        ),
    ],
)
def test_each_part_has_one_chooser_that_shows_it(
    parts: Parts, chosen: dict[str, tuple[str, ...]]
) -> None:
    assert parts.choosers == tuple(chosen)
    for chooser, (own, *tests) in chosen.items():
        assert own == chooser == parts.chooser_of(chooser)
        assert parts.tests_of(chooser) == tuple(tests)
        assert {parts.chooser_of(test) for test in tests} == {chooser}
    # Each part but training is of exactly one of them.
    assert sorted(part for row in chosen.values() for part in row) == sorted(parts.evaluated)
    assert sorted(parts.logged) == sorted(parts)
    assert all(part in parts for part in parts)


def test_labels_and_platforms_of_any_sets() -> None:
    expected = {
        "tr": ("ARCHS4-tr", "rnaseq"),
        "te": ("ARCHS4-te", "rnaseq"),
        "A": ("A-va", "rnaseq"),
        "old-chips": ("old-chips-te", "array"),
        "LINCS": ("LINCS-te", "l1000"),
    }
    assert {part: (MINE.label(part), MINE.platform_of(part)) for part in expected} == expected
    for ask in (MINE.label, MINE.platform_of, MINE.chooser_of):
        with pytest.raises(KeyError, match="'GTEx' is not one of tr, va, te, A, old-chips, B"):
            ask("GTEx")
    assert "GTEx" not in MINE
    assert "a" not in MINE


@pytest.mark.parametrize(
    ("parts", "tested"),
    [
        (PAPER, {"array": "te", "rnaseq": "GTEx", "l1000": "te", "standardized": "te"}),
        (ARRAYS_ALONE, {"array": "te", "rnaseq": "te", "l1000": "te"}),
        # Of validation sets nothing is to be expected, and the compendium stands for its platform.
        (MINE, {"array": "old-chips", "rnaseq": "te", "l1000": "LINCS", "standardized": "te"}),
    ],
)
def test_what_to_expect_of_a_platform(parts: Parts, tested: dict[str, str]) -> None:
    assert {platform: parts.test_for(platform) for platform in tested} == tested


def one_set(name: str = "A", role: Any = "validation", by: str | None = None) -> PartSet:
    return PartSet(name, "rnaseq", role, by or name)


CLASH = "is the name of another part, or of the compendium"
NO_NAME = "names a set; use letters, digits and '-', '_', '.'"
NO_CHOOSER = "is no validation set"


@pytest.mark.parametrize(
    ("compendium", "sets", "cause"),
    [
        ("GEO", [one_set("GEO")], f"'GEO': {CLASH}"),
        ("GEO", [one_set("geo")], f"'geo': {CLASH}"),
        ("te", [], f"'te': {CLASH}"),
        ("GEO", [one_set("VA")], f"'VA': {CLASH}"),
        ("GEO", [one_set("A"), one_set("a")], f"'a': {CLASH}"),
        *(
            ("GEO", [one_set(name)], f"{name!r}: {NO_NAME}")
            for name in ("", "a b", "a/b", "../a", ".a", "-a", "ä", "a\n", "x" * 41)
        ),
        ("my data", [], f"'my data': {NO_NAME}"),
        ("GEO", [one_set("C", "test", "A")], f"C: validated_by = 'A': {NO_CHOOSER}"),
        ("GEO", [one_set("C", "test", "te")], f"C: validated_by = 'te': {NO_CHOOSER}"),
        ("GEO", [one_set("C", "test", "C")], f"C: validated_by = 'C': {NO_CHOOSER}"),
        (
            "GEO",
            [one_set("D", "test", "va"), one_set("C", "test", "D")],
            f"C: validated_by = 'D': {NO_CHOOSER}",
        ),
        ("GEO", [one_set(), one_set("B", by="A")], f"B: validated_by = 'A': {NO_CHOOSER}"),
        ("GEO", [one_set("B", by="va")], f"B: validated_by = 'va': {NO_CHOOSER}"),
    ],
)
def test_parts_that_can_not_be(compendium: str, sets: list[PartSet], cause: str) -> None:
    with pytest.raises(StudyError) as told:
        Parts(compendium, "array", tuple(sets))
    assert str(told.value) == cause
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("parts", [PAPER, ARRAYS_ALONE, MINE])
def test_round_trip_through_json(parts: Parts) -> None:
    found = Parts.from_json(json.loads(json.dumps(parts.to_json())))
    assert found == parts
    assert hash(found) == hash(parts)


def changed(**values: Any) -> dict[str, Any]:
    return PAPER.to_json() | values


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({}, "parts: KeyError"),
        ([], "parts: TypeError"),
        (None, "parts: TypeError"),
        (changed(sets=None), "parts: TypeError"),
        (changed(sets=[{"name": "A"}]), "parts: TypeError"),
        (changed(sets=["A"]), "parts: TypeError"),
        (changed(compendium=7), "parts: TypeError"),
        (changed(platform="chip"), "platform = 'chip'"),
        (changed(compendium="GTEx"), f"'GTEx': {CLASH}"),
        (
            changed(sets=[PAPER.to_json()["sets"][0] | {"role": "both", "validated_by": "va"}]),
            "role = 'both'",
        ),
        (changed(sets=[PAPER.to_json()["sets"][0] | {"platform": "chip"}]), "platform = 'chip'"),
        (changed(sets=[PAPER.to_json()["sets"][0] | {"name": 7}]), "parts: TypeError"),
        (changed(sets=[PAPER.to_json()["sets"][0] | {"validated_by": ["A"]}]), "parts: TypeError"),
    ],
)
def test_json_that_is_no_parts(content: Any, cause: str) -> None:
    with pytest.raises(StudyError) as told:
        Parts.from_json(content)
    assert str(told.value).startswith(cause)
    assert "\n" not in str(told.value)
