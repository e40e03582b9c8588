"""What is done is not done again, and what changed is."""

from __future__ import annotations

import gzip
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from reproduce import all as all_tables
from reproduce import table1

if TYPE_CHECKING:
    from pathlib import Path

ONE = "10pct-6x1"
ONE_NETWORK = "hidden_layers = [1]\nunits = [6]"


def stamps(results: Path) -> dict[str, int]:
    """When each piece of work was finished (nanoseconds), by its folder's name."""
    done = [*results.glob("*/done.json"), *results.glob("runs/*/done.json")]
    return {path.parent.name: path.stat().st_mtime_ns for path in done}


@pytest.mark.long
def test_a_second_run_does_nothing_but_write_what_is_made(made, capsys) -> None:
    results = made.space.results
    # The report tells the time of its making, and its record its checksum.
    report = {results / "report.html", results / "provenance" / "report.json"}
    folders = (made.space.tables, made.space.figures)
    before = {
        path: path.stat().st_mtime_ns
        for path in results.rglob("*")
        if path.is_file() and path.parent not in folders and path not in report
    }
    written = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
    assert all_tables.main(["--study", str(made.study), "--out", str(made.out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.read_bytes() for path in written} == written
    shown = capsys.readouterr().out
    assert shown.lstrip().startswith("# Table 1")
    assert "networks trained" not in shown
    assert "baseline" not in shown


@pytest.fixture
def moved(out, write_study, tmp_path):
    """A copy of everything, and a function that runs Table 1 of one network in it.

    The function gets lines to add to the study file and returns what was finished anew.
    """
    results = out / "tiny"

    def run(**changes: str) -> set[str]:
        settings = {"networks": ONE_NETWORK} | changes
        tables = {"": 'name = "tiny"\ntitle = "A tiny study"'}
        study = write_study(tmp_path / "tiny.toml", replace=tables | settings)
        before = stamps(results)
        assert table1.main(["--study", str(study), "--out", str(out)]) == 0
        return {name for name, time in stamps(results).items() if before.get(name) != time}

    # The raw files have another path now: they are prepared anew, to the very same bytes.
    prepared = (results / "prepared.h5").read_bytes()
    assert run() == {"preparation"}
    assert (results / "prepared.h5").read_bytes() == prepared
    assert run() == set()
    return results, run


def test_a_touched_raw_file_is_prepared_but_equal_data_train_nothing(moved) -> None:
    results, run = moved
    os.utime(results / "raw" / "geo.gctx")
    assert run() == {"preparation"}
    (results / "raw" / "1000g.txt.gz").unlink()
    assert run() == {"raw", "preparation"}
    (results / "prepared.h5").unlink()
    assert run() == {"preparation"}


def test_a_changed_raw_file_changes_everything(moved) -> None:
    results, run = moved
    path = results / "raw" / "gtex.gct.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    cells = lines[10].split("\t")
    lines[10] = "\t".join([*cells[:2], *reversed(cells[2:])])
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    assert run() == {"preparation", "baselines", ONE}
    assert run() == set()


def test_a_changed_setting_does_again_what_depends_on_it(moved) -> None:
    training = "epochs = 3\nmonitor_size = 50\nbatch_size = 50\nlearning_rate = 2e-2"
    results, run = moved
    assert run(baselines="k_max = 4") == {"baselines"}
    assert run(baselines="k_max = 4", training=training) == {ONE}
    assert run(baselines="k_max = 4", training=training, prepare="block_size = 50") == set()
    settings = {"baselines": "k_max = 4", "training": training, "prepare": "seed = 2"}
    assert run(**settings) == {"preparation", "baselines", ONE}
    rate = (results / "runs" / ONE / "log.tsv").read_text().splitlines()[1].split("\t")[11]
    assert rate == "0.02"


def test_a_deleted_run_alone_is_trained(made, moved, capsys) -> None:
    results, run = moved
    shutil.rmtree(results / "runs" / ONE)
    capsys.readouterr()
    assert run() == {ONE}
    assert "1 networks trained" in capsys.readouterr().out
    ours, theirs = (
        folder / "runs" / ONE / "errors.tsv" for folder in (results, made.space.results)
    )
    assert ours.read_bytes() == theirs.read_bytes()
    (results / "runs" / ONE / "done.json").unlink()
    assert run() == {ONE}
    shutil.rmtree(results / "baselines")
    assert run() == {"baselines"}
