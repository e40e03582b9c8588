"""`--dry-run` and `make -n`: what a target needs, and no more."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from reproduce import (
    adjusted_r2,
    all_tables,
    departures,
    figure1,
    figure2,
    figure5,
    figure_s1,
    figure_s3,
    table1,
    table_s1,
    table_s5,
    weight_hubs,
)
from reproduce import all as everything

ROOT = Path(__file__).parents[2]
SHAPES = ("6x1", "9x1", "6x2", "9x2")
METHODS = ("Mean", "LR", "LR-L1", "LR-L2", "KNN-GE", "KNN-profiles")


def steps(methods=(), rates=(), shapes=SHAPES) -> set[str]:
    """Lines of a plan."""
    networks = {f"train D-GEX-{rate}%-{shape}" for rate in rates for shape in shapes}
    return {f"fit {method}" for method in methods} | networks


RAW = {"simulate the raw files", "prepare the study"}
GRID = (0, 10, 25)
DEPARTURES = {
    f"departure {name}: {step}"
    for name, prepared in (
        ("one-network", True),
        ("clustered", False),
        ("autoencoder", True),
        ("scale-on-train", False),
    )
    for step in ["train D-GEX-10%-9x2"] + ([] if prepared else ["prepare the study"])
}
NEEDED = {
    table1: steps(METHODS, [10]),
    table_s5: steps(METHODS, GRID),
    figure1: steps(["LR", "KNN-GE"], [10]),
    figure2: steps(["LR", "KNN-GE"], GRID),
    figure5: steps(["LR"], GRID, ["9x2"]),
    figure_s1: set(),
    figure_s3: steps([], [10], ["6x1"]),
    adjusted_r2: steps([], GRID),
    weight_hubs: steps([], [10], ["6x1"]),
    departures: steps([], [10], ["9x2"]) | DEPARTURES,
    all_tables: steps(METHODS, GRID),
    everything: steps(METHODS, GRID) | DEPARTURES,
}


def plan(script, study, out, capsys) -> list[str]:
    capsys.readouterr()
    assert script.main(["--study", str(study), "--out", str(out), "--dry-run"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("script", NEEDED, ids=lambda one: one.__name__.rpartition(".")[2])
def test_no_more_than_it_needs(made, tmp_path, capsys, script) -> None:
    """In an empty folder, in one where raw files and the prepared study are, and where all is."""
    fresh = set(plan(script, made.study, tmp_path / "fresh", capsys))
    assert not (tmp_path / "fresh").exists()
    assert fresh == NEEDED[script] | RAW
    assert plan(script, made.study, made.out, capsys) == ["nothing: all that is needed is there"]


def test_a_table_of_settings_needs_nothing(made, tmp_path, capsys) -> None:
    out = tmp_path / "fresh"
    assert plan(table_s1, made.study, out, capsys) == ["nothing: all that is needed is there"]
    assert table_s1.main(["--study", str(made.study), "--out", str(out)]) == 0
    assert {path.name for path in (out / "tiny").iterdir()} == {"tables", "provenance"}


def test_the_plan_is_what_is_done(made, out, capsys) -> None:
    """After one baseline and one network are gone, they are what is named, and what is made."""
    # The copy's raw files have another path: it is prepared anew, to the same bytes.
    assert table1.main(["--study", str(made.study), "--out", str(out)]) == 0
    assert plan(table1, made.study, out, capsys) == ["nothing: all that is needed is there"]
    shutil.rmtree(out / "tiny" / "runs" / "10pct-9x1")
    shutil.rmtree(out / "tiny" / "runs" / "25pct-9x1")
    assert plan(table1, made.study, out, capsys) == ["train D-GEX-10%-9x1"]
    assert table1.main(["--study", str(made.study), "--out", str(out)]) == 0
    assert "1 networks trained" in capsys.readouterr().out
    assert not (out / "tiny" / "runs" / "25pct-9x1").exists()


TARGETS = {"figure5": "figure5", "tableS2": "table_s2", "adjusted-r2": "adjusted_r2", "all": "all"}


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_make_n_shows_the_plan(made, tmp_path, target) -> None:
    python = ROOT / ".venv" / "bin" / "python"
    if not python.is_file():
        pytest.skip("needs the .venv that make sets up")
    shown = subprocess.run(
        [shutil.which("make") or "make", "-n", target, f"STUDY={made.study}", f"OUT={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"-m reproduce.{TARGETS[target]} --study" in shown
    assert "\nprepare the study\n" in shown
    trained = [line for line in shown.splitlines() if line.startswith("train ")]
    assert len(trained) == {"figure5": 3}.get(target, 12)
    assert not list(tmp_path.iterdir())
