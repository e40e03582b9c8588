"""No flag of the scripts is an ornament (those that shape jobs: test_launch.py)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dgex_jax.io.files import locked
from reproduce import all as all_tables
from reproduce import all_figures, departures, figure5, table1, weight_hubs
from reproduce.commandline import parser

REFUSED = {
    "--study": (["--study", "no-such-study"], "no-such-study: no such study"),
    "--gpus": (["--gpus", "0"], "--gpus 0: must be at least 1"),
    "--partition": (["--partition", "gpu"], "--partition gpu: needs --launcher slurm"),
    "--minutes": (["--minutes", "5"], "--minutes 5: needs --launcher slurm or local"),
}
LOOKED_AT = {*REFUSED, "--out", "--no-wait", "--launcher", "--dry-run"}
TINY = Path(__file__).parents[1] / "tiny.toml"
SCRIPTS = (table1, all_tables, all_figures, figure5, weight_hubs, departures)


def test_every_flag_is_looked_at() -> None:
    actions = parser("reproduce.all", "All.")._actions
    assert {one.option_strings[-1] for one in actions} == LOOKED_AT | {"--help"}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("flag", REFUSED)
def test_what_cannot_be_used_is_refused(tmp_path, capsys, script, flag) -> None:
    words, message = REFUSED[flag]
    arguments = words if flag == "--study" else ["--study", str(TINY), *words]
    assert script.main([*arguments, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--launcher", "cloud"], ["--gpu", "1"], ["--minutes", "soon"]])
def test_unknown_words_are_refused_in_one_line(capsys, words) -> None:
    with pytest.raises(SystemExit) as left:
        table1.main(words)
    assert left.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_minutes_must_be_some(made, capsys) -> None:
    words = ["--study", str(made.study), "--launcher", "local", "--minutes", "0"]
    assert table1.main(words) == 2
    assert "--minutes 0: must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("held", ["prepared.h5", "baselines", "runs/10pct-6x1"])
def test_no_wait_leaves_where_another_command_works(made, tmp_path, capsys, held) -> None:
    out = tmp_path / "out"
    shutil.copytree(made.out, out)
    shutil.rmtree(out / "tiny" / "runs" / "10pct-6x1")
    arguments = ["--study", str(made.study), "--out", str(out), "--no-wait"]
    # The copy's raw files have another path, which is noticed; the same bytes are prepared again.
    with locked(out / "tiny" / held):
        assert table1.main(arguments) == 2
    told = capsys.readouterr().err
    assert f"{out / 'tiny' / held}: in use by process " in told
    assert table1.main(arguments) == 0


def test_help_shows_every_flag_and_examples(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        all_tables.main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in LOOKED_AT)
    assert "examples:" in shown
