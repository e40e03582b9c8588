"""What all commands share, and ``dgex simulate`` and ``prepare``: what they make and refuse."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from dgex_jax import __version__, cli
from dgex_jax.simulate import write
from dgex_jax.simulate.config import SimulationConfig
from tests.cli.case import RAW, STUDY_A, command, train, words_of

COMMANDS = ("download", "simulate", "prepare", "train", "export")
COMMANDS += ("info", "evaluate", "predict", "verify")
CHANGES = ("--duplicates", "all-pairs", "--scale-on", "train", "--seed", "3", "-q")
FLAGS = words_of(RAW)
SIMULATED = Path(__file__).parents[1].joinpath("tiny.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """The recorded raw files, prepared from flags."""
    output = tmp_path_factory.mktemp("prepared") / "one.h5"
    assert command("prepare", *FLAGS, "-o", output, *CHANGES) == 0
    return output


@pytest.fixture
def study(tmp_path) -> Path:
    """A study file of the recorded raw files."""
    path = tmp_path / "study.toml"
    lines = (f'{flag.removeprefix("--")} = "{file}"\n' for flag, file in RAW.items())
    path.write_text(f'name = "recorded"\ntitle = "Recorded"\n[files]\n{"".join(lines)}')
    return path


@pytest.fixture
def simulated(tmp_path) -> Path:
    path = tmp_path / "simulated.toml"
    path.write_text(SIMULATED)
    return path


def assert_equal_datasets(one: Path, other: Path) -> None:
    found: list[dict[str, np.ndarray]] = []
    for path in (one, other):
        with h5py.File(path) as file:
            names: list[str] = []
            file.visit(names.append)
            found.append({n: file[n][()] for n in names if isinstance(file[n], h5py.Dataset)})
    assert found[0].keys() == found[1].keys()
    assert found[0]
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name], err_msg=name)


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "dgex: stopped\n"),
        (MemoryError(), 2, "dgex: error: not enough memory\n"),
        (MemoryError("2 TiB"), 2, "dgex: error: not enough memory: 2 TiB\n"),
        (OSError(28, "No space left", "a/log.tsv"), 2, "No space left: 'a/log.tsv'\n"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    monkeypatch, capsys, tmp_path, problem, code, line
) -> None:
    def fail(*_arguments: object) -> None:
        raise problem

    # Of the command's own: a module that is imported meanwhile would keep the function for ever.
    monkeypatch.setattr("dgex_jax.cli.check_gpus", fail)
    assert train(STUDY_A, tmp_path / "unused") == code
    error = capsys.readouterr().err
    assert error.endswith(line)
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_ends_with_examples_that_are_commands(name, capsys) -> None:
    assert command(*name.split(), "--help") == 0
    text = capsys.readouterr().out
    examples = re.sub(r" *\\\n +", " ", text.split("\nexamples:\n")[1]).strip()
    for line in examples.splitlines():
        words = line.strip().split("   ")[0].split()
        assert words[0] == "dgex"
        assert name in ("", words[1])
        assert callable(cli.parser().parse_args(words[1:]).run)


def test_help_says_how_epochs_are_counted_and_what_the_default_is(capsys) -> None:
    command("train", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "log.tsv counts epochs from 0, the original's logs count them from 1" in text
    assert "--learning-rate X initial rate; " in text
    assert "(default: auto)" in text


def test_version(capsys) -> None:
    assert command("--version") == 0
    assert capsys.readouterr().out == f"dgex {__version__}\n"


def test_prepare_from_flags_and_from_a_file_are_the_same(prepared, study, tmp_path, capsys) -> None:
    keys = '[prepare]\nduplicates = "all-pairs"\nscale_on = "train"\nseed = 3\n'
    study.write_text(study.read_text() + keys)
    output = tmp_path / "prepared.h5"
    assert command("prepare", study, "-o", output) == 0
    assert_equal_datasets(prepared, output)
    report = capsys.readouterr().out
    assert "260 of 300 profiles kept (208 train, 26 validation, 26 test)" in report
    with h5py.File(output) as file, h5py.File(prepared) as other:
        assert (file.attrs["study"], file.attrs["title"]) == ("recorded", "Recorded")
        assert other.attrs["study"] == "one"
        assert not file.attrs["simulated"]
        assert not other.attrs["simulated"]


def test_a_flag_of_prepare_overrules_the_study_file(prepared, study, tmp_path) -> None:
    study.write_text(study.read_text() + "[prepare]\nseed = 9\n")
    output = tmp_path / "prepared.h5"
    assert command("prepare", study, "-o", output, *CHANGES) == 0
    assert_equal_datasets(prepared, output)


def test_simulated_studies_are_marked_whatever_way_they_take(simulated, tmp_path, capsys) -> None:
    at_once, steps, raw = (tmp_path / name for name in ("at_once.h5", "steps.h5", "raw"))
    assert command("prepare", simulated, "-o", at_once, "-q") == 0
    beside = tmp_path / "at_once.h5.raw"
    assert f"simulating raw files of study 'tiny' in {beside}" in capsys.readouterr().out
    assert command("simulate", "--study", simulated, "-o", raw) == 0
    lines = capsys.readouterr().out.splitlines()
    files = [Path(line.removesuffix(" (simulated)")) for line in lines]
    assert [path.name for path in files] == [path.name for path in RAW.values()]
    for path in files:
        assert path.parent == raw
        assert path.read_bytes() == (beside / path.name).read_bytes()
    given = words_of(dict(zip(RAW, files, strict=True)))
    assert command("prepare", *given, "-o", steps, "-q") == 0
    assert_equal_datasets(at_once, steps)
    for path in (at_once, steps):
        with h5py.File(path) as file:
            assert file.attrs["simulated"]


def test_default_of_simulate_is_the_demo(monkeypatch, tmp_path) -> None:
    seen = []

    def simulate(config: SimulationConfig, folder: Path, *, progress: bool):
        seen.append((config, folder, progress))
        return write.simulated_files(folder)

    monkeypatch.setattr(write, "simulate", simulate)
    assert command("simulate", "-o", tmp_path) == 0
    assert seen == [(SimulationConfig(), tmp_path, True)]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "can't be read: No such file or directory"),
        ("name = ", "is no TOML: Invalid value (at end of document)"),
        (SIMULATED + "seeds = 1\n", "training.seeds: unknown key; the nearest known key is"),
        (SIMULATED.replace("n_gtex = 60", "n_gtex = 0"), "simulate.n_gtex = 0: must be between"),
    ],
)
def test_study_files_that_can_not_be_used(refused, tmp_path, content, cause) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_text(content)
    for words in (("prepare", path, "-o"), ("simulate", "--study", path, "-o")):
        error = refused(command, *words, tmp_path / "out")
        assert str(path) in error
        assert cause in error


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("prepare -o p.h5", "no study file, and --geo, --gtex, --1000g, --landmarks, --targ"),
        ("prepare ALL_BUT_TARGETS -o p.h5", "no study file, and --targets missing"),
        ("prepare study.toml RAW -o p.h5", "a study file or the five raw files, not both"),
        ("prepare RAW --geo nothing.gctx -o p.h5", "nothing.gctx: no such file"),
        ("prepare RAW --geo folder -o p.h5", "folder: is a folder"),
        ("prepare RAW --block-size 0 -o p.h5", "block_size = 0: must be at least"),
        ("prepare RAW --seed -1 -o p.h5", "seed = -1: must be between"),
        ("prepare RAW --scale-on te -o p.h5", "invalid choice: 'te'"),
        ("prepare RAW -o folder", "folder"),
        ("prepare RAW -o folder/no/p.h5", "folder/no"),
        ("prepare simulated.toml -o folder", "folder"),
        ("prepare simulated.toml -o folder/no/p.h5", "folder/no"),
        ("prepare study.toml", "the following arguments are required: -o/--output"),
        ("simulate --study study.toml -o folder", "has no [simulate] table, its files are real"),
        ("simulate -o study.toml", "study.toml: can't be made"),
        ("simulate", "the following arguments are required: -o/--output"),
        ("infer", "invalid choice: 'infer'"),
        ("", "the following arguments are required: COMMAND"),
        *((f"prepare RAW {flag} wrong.txt -o p.h5", "wrong.txt") for flag in RAW),
    ],
)
@pytest.mark.usefixtures("study", "simulated")
def test_commands_that_are_wrong(refused, tmp_path, monkeypatch, words, cause) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("wrong.txt").write_text("no such table\n")
    flags = {"RAW": FLAGS, "ALL_BUT_TARGETS": FLAGS[:8]}
    given = [word for each in words.split() for word in flags.get(each, [each])]
    assert cause in refused(command, *given)


def test_too_few_profiles_leave_no_prepared_study(simulated, tmp_path, capsys) -> None:
    simulated.write_text(SIMULATED.replace("n_profiles = 600", "n_profiles = 3"))
    assert command("prepare", simulated, "-o", tmp_path / "prepared.h5", "-q") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "profiles are left" in error
    assert not (tmp_path / "prepared.h5").exists()


def test_files_that_are_no_prepared_study(refused, prepared, tmp_path) -> None:
    content = prepared.read_bytes()
    neither = "is neither a prepared study (HDF5) nor an .npz file"
    for name, data, cause in (
        ("nothing.h5", None, "no such file"),
        ("", None, "is a folder"),
        ("cut.h5", content[: len(content) // 2], "damaged or truncated HDF5 file"),
        ("empty.h5", b"", "is empty"),
        ("text.h5", b"no study", neither),
        ("cut.npz", STUDY_A.read_bytes()[:-1000], neither),
        ("geo.gctx", RAW["--geo"].read_bytes(), "is HDF5 but not a prepared study"),
    ):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        error = refused(lambda path=path: train(path, tmp_path / "run"))
        assert f"{path}: {cause}" in error
