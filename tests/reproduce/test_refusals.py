"""What ``python -m reproduce.…`` refuses: exit code 2 and one line; and no flag is an ornament.

Flags that shape jobs: test_launch.py; ``--dry-run``: test_plan.py.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dgex_jax.io.files import locked
from reproduce import all as all_tables
from reproduce import all_figures, departures, figure4, figure5, table1, weight_hubs
from reproduce.commandline import parser
from reproduce.workspace import ROOT, open_workspace

SCRIPTS = {
    f"reproduce.{script.__name__.rpartition('.')[2]}": script
    for script in (all_tables, all_figures, table1, figure4, figure5, weight_hubs, departures)
}
FLAGS = {"--study", "--gpus", "--out", "--dry-run", "--no-wait"}
FLAGS |= {"--launcher", "--partition", "--minutes"}


def files(folder: Path) -> dict[Path, int]:
    """Every file but the (empty) lock files, which may stay."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def refused(capsys, tmp_path):
    """Give a function that runs a script which must fail with one line and write no file."""

    def call(*arguments: object, script=all_tables) -> str:
        before = files(tmp_path)
        capsys.readouterr()
        try:
            code = script.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2
        assert error.count("\n") == 1
        assert error.startswith(f"python -m {script.__name__}: error: ")
        assert "Traceback" not in error
        assert files(tmp_path) == before
        return error

    return call


@pytest.mark.parametrize("name", SCRIPTS)
def test_options_that_can_not_be_used(refused, made, tmp_path, name) -> None:
    script, out = SCRIPTS[name], tmp_path / "out"
    assert script.__name__ == name
    for arguments, cause in (
        (("--gpus", 0), "--gpus 0: must be at least 1"),
        (("--gpus", "all"), "argument --gpus: invalid int value: 'all'"),
        (("--gpu", 1), "unrecognized arguments: --gpu 1"),
        (("--study", "dmeo"), "dmeo: no such study; a name (demo"),
        (("--study", tmp_path / "no.toml"), f"{tmp_path / 'no.toml'}: no such study"),
        (("--studie", "demo"), "unrecognized arguments: --studie demo"),
        (("demo",), "unrecognized arguments: demo"),
        (("--launcher", "cloud"), "argument --launcher: invalid choice: 'cloud'"),
        (("--partition", "gpu"), "--partition gpu: needs --launcher slurm"),
        (("--minutes", 5), "--minutes 5: needs --launcher slurm or local"),
        (("--minutes", "soon"), "argument --minutes: invalid int value: 'soon'"),
        (("--launcher", "local", "--minutes", 0), "--minutes 0: must be at least 1"),
    ):
        error = refused("--study", made.study, "--out", out, *arguments, script=script)
        assert cause in error
    assert not out.exists()
    out.write_text("mine")
    error = refused("--study", made.study, "--out", out, script=script)
    assert f"{out / 'tiny' / 'prepared.h5'}: can't be locked" in error


def test_every_flag_is_looked_at() -> None:
    actions = parser("reproduce.all", "All.")._actions
    assert {one.option_strings[-1] for one in actions} == FLAGS | {"--help"}


@pytest.mark.parametrize("held", ["prepared.h5", "baselines", "runs/10pct-6x1"])
def test_no_wait_leaves_where_another_command_works(made, out, capsys, held) -> None:
    shutil.rmtree(out / "tiny" / "runs" / "10pct-6x1")
    arguments = ["--study", str(made.study), "--out", str(out), "--no-wait"]
    # The copy's raw files have another path, which is noticed; the same bytes are prepared again.
    with locked(out / "tiny" / held):
        assert table1.main(arguments) == 2
    told = capsys.readouterr().err
    assert f"{out / 'tiny' / held}: in use by process " in told
    assert table1.main(arguments) == 0


@pytest.mark.parametrize(
    ("tables", "cause"),
    [
        ({"": 'name = "tiny'}, "is no TOML"),
        ({"": 'name = "tiny"'}, "title: is missing"),
        ({"trainign": "epochs = 1"}, "trainign: unknown key; the nearest known key is training"),
        ({"training": "epoch = 1"}, "the nearest known key is training.epochs"),
        ({"training": "halves = 3"}, "training.halves = 3: must be between 1 and 2"),
        ({"networks": "rates = [0.1]"}, "networks.rates: unknown key"),
        ({"networks": "dropout = [0.1, 1.5]"}, "networks.dropout = 1.5: must be between"),
        ({"jobs": "minutes = 0"}, "jobs.minutes = 0: must be at least 1"),
        ({"jobs": "partition = 7"}, "jobs.partition = 7: must be a text"),
        ({"networks": "units = [0]"}, "networks.units = 0: must be between"),
        ({"files": 'geo = "a"'}, "needs one of [compendium] (with [sets.NAME]), [files] (the "),
        ({"baselines": "weights = 7"}, "baselines.weights = 7: is no name of a file"),
    ],
)
def test_study_files_that_can_not_be_used(refused, write_study, tmp_path, tables, cause) -> None:
    study = write_study(tmp_path / "tiny.toml", replace=tables)
    error = refused("--study", study, "--out", tmp_path / "out")
    assert f"{study}: " in error
    assert cause in error


def test_raw_files_that_are_not_there(refused, tmp_path) -> None:
    study = tmp_path / "mine.toml"
    keys = ("geo", "gtex", "1000g", "landmarks", "targets")
    lines = ['name = "mine"', 'title = "Mine"', "[files]", *(f'{key} = "{key}.x"' for key in keys)]
    study.write_text("\n".join(lines))
    error = refused("--study", study, "--out", tmp_path / "out")
    assert f"{tmp_path / 'geo.x'}: can't be read: No such file or directory" in error
    for key in keys:
        (tmp_path / f"{key}.x").touch()
    assert f"{tmp_path / 'landmarks.x'}: " in refused("--study", study, "--out", tmp_path / "out")


@pytest.fixture
def copied(made, out) -> Path:
    """A copy of all results, prepared again as its raw files have another path."""
    assert table1.main(["--study", str(made.study), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    ("name", "damage", "cause"),
    [
        ("prepared.h5", lambda b: b[: len(b) // 2], "truncated"),
        ("prepared.h5", lambda _: b"", "is empty"),
        ("baselines/LR.tsv", lambda _: b"nothing\n", "is no table of errors per gene"),
        ("baselines/chosen.json", lambda _: b"{}", "does not say which k was chosen"),
        ("runs/10pct-6x1/errors.tsv", lambda b: b.replace(b"MAE", b"MSE"), "is no table of errors"),
        ("runs/10pct-6x1/errors.tsv", lambda _: b"", "is no table of errors per gene"),
    ],
)
def test_damaged_results_are_named(refused, made, copied, name, damage, cause) -> None:
    path = copied / "tiny" / name
    path.write_bytes(damage(path.read_bytes()))
    error = refused("--study", made.study, "--out", copied, script=table1)
    assert f"{path}: " in error
    assert cause in error


def test_a_diverging_network_is_named_and_the_others_stay(copied, write_study, capsys) -> None:
    training = "epochs = 3\nmonitor_size = 50\nbatch_size = 50\nlearning_rate = 1e3"
    study = write_study(copied.parent / "tiny.toml", replace={"training": training})
    (copied / "tiny" / "tables" / "table1.csv").unlink()
    capsys.readouterr()
    assert table1.main(["--study", str(study), "--out", str(copied)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "D-GEX-10%-6x1: training diverged" in error
    assert re.search(r"after epoch \d \(counted from 0\) at learning rate (1e\+03|900|810);", error)
    runs = copied / "tiny" / "runs"
    assert not (runs / "10pct-6x1" / "done.json").exists()
    assert (runs / "10pct-9x2" / "done.json").exists()
    assert not (copied / "tiny" / "tables" / "table1.csv").exists()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_has_examples_and_changes_nothing(name, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        SCRIPTS[name].main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"examples:\n  python -m {name}\n" in shown
    assert all(flag in shown for flag in FLAGS)


def test_without_out_everything_is_in_the_checkout() -> None:
    space = open_workspace("demo", None)
    assert space.results == ROOT / "results" / "demo"
    assert space.tables == ROOT / "tables" / "demo"
    assert space.study.name == "demo"
    assert open_workspace("demo", Path("elsewhere")).tables == Path("elsewhere/demo/tables")
