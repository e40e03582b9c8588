"""Damaged files: read as an independent parser reads them, or refused in one line.

`tests/stress/fuzz.py` does the same with tens of thousands.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fuzz import drive, readers
from tests.fuzz.oracle import Content, same

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
    for name in ("mutate_text", "mutate_study", "plain_faults"):
        monkeypatch.setattr(readers, name, lambda content, _: content)
    monkeypatch.setattr(readers, "mutate_hdf5", lambda *_: None)
    for seed in range(5):
        path = tmp_path / f"{seed}{readers.SUFFIX[kind]}"
        readers.write_case(kind, path, random.Random(seed))
        assert readers.verdict(kind, path) == ("read", "")
    wrong = Content(("p",), ("g",), np.zeros((1, 1)), {"title": "another"})
    monkeypatch.setitem(readers.OURS, kind, lambda _: wrong)
    assert readers.verdict(kind, path)[0] == "failed"


def test_the_judge_is_strict() -> None:
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


def test_refusals_are_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert readers.refusal(f"{path}: line 3: x", path)[0] == "refused"
    for text in ("line 3", f"{path}: a\nb", f"{path}: a\u2028b", f"{path}: " + "x" * 9000):
        assert readers.refusal(text, path)[0] == "failed"


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
