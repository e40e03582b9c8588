"""``dgex simulate`` and ``dgex prepare``: what they make, and what they refuse in one line."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from dgex_jax import cli
from tests.cli.case import (
    SIMULATED,
    STUDY_A,
    assert_equal_datasets,
    command,
    study_file,
    train,
)


def test_prepare_from_flags_and_from_a_file_are_the_same(prepared, flags, tmp_path, capsys) -> None:
    keys = ("[prepare]", 'duplicates = "all-pairs"', 'scale_on = "train"', "seed = 3")
    study = study_file(tmp_path / "study.toml", flags, *keys)
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


def test_a_flag_of_prepare_overrules_the_study_file(prepared, flags, tmp_path) -> None:
    study = study_file(tmp_path / "study.toml", flags, "[prepare]", "seed = 9")
    output = tmp_path / "prepared.h5"
    changes = ("--duplicates", "all-pairs", "--scale-on", "train", "--seed", "3", "-q")
    assert command("prepare", study, "-o", output, *changes) == 0
    assert_equal_datasets(prepared, output)


def test_simulated_studies_are_marked_whatever_way_they_take(tmp_path, capsys) -> None:
    study = tmp_path / "study.toml"
    study.write_text(SIMULATED)
    whole = tmp_path / "whole.h5"
    assert command("prepare", study, "-o", whole, "-q") == 0
    raw = tmp_path / "whole.h5.raw"
    assert f"simulating raw files of study 'tiny' in {raw}" in capsys.readouterr().out
    assert command("simulate", "--study", study, "-o", tmp_path / "raw") == 0
    files = [
        Path(line.removesuffix(" (simulated)")) for line in capsys.readouterr().out.split("\n")
    ]
    assert [path.name for path in files if path.name] == [
        "geo.gctx",
        "gtex.gct.gz",
        "1000g.txt.gz",
        "map_lm.txt",
        "map_tg.txt",
    ]
    given = []
    for flag, path in zip(cli.RAW_FLAGS, files, strict=False):
        assert path.parent == tmp_path / "raw"
        assert path.read_bytes() == (raw / path.name).read_bytes()
        given += [f"--{flag}", path]
    steps = tmp_path / "steps.h5"
    assert command("prepare", *given, "--seed", 5, "-o", steps, "-q") == 0
    assert_equal_datasets(whole, steps)
    for path in (whole, steps):
        with h5py.File(path) as file:
            assert file.attrs["simulated"]


def test_default_of_simulate_is_the_demo(monkeypatch, tmp_path) -> None:
    from dgex_jax.data.simulation import write
    from dgex_jax.data.simulation.config import SimulationConfig

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
        (SIMULATED + "[trainign]\n", "trainign: unknown key; the nearest known key is training"),
        (SIMULATED + "seeds = 1\n", "prepare.seeds: unknown key; the nearest known key is"),
        (SIMULATED + '[files]\ngeo = "x"\n', "needs either [files] (real data) or [simulate]"),
        ('name = "a"\ntitle = "A"\n[files]\ngeo = "x"\n', "files.gtex: is missing"),
        (SIMULATED + "[networks]\nunits = [0]\n", "networks.units = 0: must be between"),
        (SIMULATED.replace("array_noise = 0.4", ""), "simulate.n_targets = 21: with"),
    ],
)
def test_study_files_that_can_not_be_used(refused, tmp_path, content, cause) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_text(content)
    for arguments in (
        ("prepare", path, "-o", tmp_path / "prepared.h5"),
        ("simulate", "--study", path, "-o", tmp_path / "raw"),
    ):
        error = refused(command, *arguments)
        assert str(path) in error
        assert cause in error


def test_ways_to_call_prepare_and_simulate_wrongly(refused, flags, tmp_path) -> None:
    output = tmp_path / "prepared.h5"
    study = study_file(tmp_path / "study.toml", flags)
    simulated = tmp_path / "simulated.toml"
    simulated.write_text(SIMULATED)
    folder = tmp_path / "folder"
    folder.mkdir()
    nothing = tmp_path / "nothing.gctx"
    for arguments, cause in (
        (
            ("prepare", "-o", output),
            "no study file, and --geo, --gtex, --1000g, --landmarks, --targ",
        ),
        (("prepare", *flags[:8], "-o", output), "no study file, and --targets missing"),
        (("prepare", study, *flags, "-o", output), "a study file or the five raw files, not both"),
        (("prepare", *flags, "--geo", nothing, "-o", output), f"{nothing}: no such file"),
        (("prepare", *flags, "--geo", folder, "-o", output), f"{folder}: is a folder"),
        (("prepare", *flags, "--gtex", flags[9], "-o", output), "map_tg.txt"),
        (("prepare", *flags, "--landmarks", flags[3], "-o", output), "gtex.gct.gz"),
        (("prepare", *flags, "--block-size", 0, "-o", output), "block_size = 0: must be at least"),
        (("prepare", *flags, "--seed", -1, "-o", output), "seed = -1: must be between"),
        (("prepare", *flags, "--scale-on", "te", "-o", output), "invalid choice: 'te'"),
        (("prepare", *flags, "-o", folder), str(folder)),
        (("prepare", *flags, "-o", folder / "no" / "p.h5"), str(folder / "no")),
        (("prepare", simulated, "-o", folder), str(folder)),
        (("prepare", simulated, "-o", folder / "no" / "p.h5"), str(folder / "no")),
        (("prepare", study), "the following arguments are required: -o/--output"),
        (
            ("simulate", "--study", study, "-o", folder),
            "has no [simulate] table, its files are real",
        ),
        (("simulate", "-o", study), f"{study}: can't be made"),
        (("simulate",), "the following arguments are required: -o/--output"),
        (("infer",), "invalid choice: 'infer'"),
        ((), "the following arguments are required: COMMAND"),
    ):
        error = refused(command, *arguments)
        assert cause in error, arguments


def test_too_few_profiles_leave_no_prepared_study(tmp_path, capsys) -> None:
    study = tmp_path / "study.toml"
    study.write_text(SIMULATED.replace("n_profiles = 150", "n_profiles = 3"))
    assert command("prepare", study, "-o", tmp_path / "prepared.h5", "-q") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "GEO profiles are left" in error
    assert not (tmp_path / "prepared.h5").exists()


def test_files_that_are_no_prepared_study(refused, prepared, flags, tmp_path) -> None:
    content = prepared.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(content[: len(content) // 2])
    empty = tmp_path / "empty.h5"
    empty.touch()
    text = tmp_path / "text.h5"
    text.write_text("no study")
    cut_npz = tmp_path / "cut.npz"
    cut_npz.write_bytes(STUDY_A.read_bytes()[:-1000])
    for path, cause in (
        (tmp_path / "nothing.h5", "no such file"),
        (tmp_path, "is a folder"),
        (cut, "damaged or truncated HDF5 file"),
        (empty, "is empty"),
        (text, "is neither a prepared study (HDF5) nor an .npz file"),
        (cut_npz, "is neither a prepared study (HDF5) nor an .npz file"),
        (Path(flags[1]), "is HDF5 but not a prepared study"),
    ):
        error = refused(lambda path=path: train(path, tmp_path / "run"))
        assert f"{path}: {cause}" in error
