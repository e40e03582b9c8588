"""``dgex`` as a user meets it: what it makes, and what it refuses in one line."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import jax
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from dgex_jax import __version__, cli
from dgex_jax.cli import main
from dgex_jax.training.devices import share_cpu

GOLDEN = Path(__file__).parent / "golden"
STUDY_A = GOLDEN / "study_a.npz"
PARTS = ("va", "te", "1000G", "GTEx", "tr")
RECORDED = {
    "hidden-layers": 1,
    "units": 48,
    "dropout": 0,
    "epochs": 60,
    "batch-size": 200,
    "learning-rate": 1.2e-2,
    "monitor-size": 300,
    "seed": 1,
    "halves": 1,
}
SIMULATED = """
name = "tiny"
title = "A tiny simulated study"
[simulate]
seed = 3
n_profiles = 150
n_gtex = 12
n_1000g = 8
n_landmarks = 9
n_targets = 21
missing_landmarks = 1
missing_targets = 2
n_other_genes = 6
extra_probes = 20
shared_targets = 0.1
n_tissues = 4
n_regulators = 8
n_programmes = 4
array_noise = 0.4
[prepare]
seed = 5
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


def train(study: Path, folder: Path, *more: object, **changes: object) -> int:
    """Run ``dgex train`` with the settings of the recorded run, some of them changed."""
    settings = RECORDED | {key.replace("_", "-"): value for key, value in changes.items()}
    flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    return main(["train", str(study), "-o", str(folder), "-q", *flags, *map(str, more)])


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of everything in a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.stat()
        found[path] = (status.st_size if path.is_file() else -1, status.st_mtime_ns)
    return found


@pytest.fixture
def refused(capsys, tmp_path):
    """Give a function that runs a command which must fail with one line and change nothing."""

    def call(run, *arguments: object) -> str:
        before = snapshot(tmp_path)
        try:
            code = run(*arguments)
        except SystemExit as stop:
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2
        assert error.count("\n") == 1
        assert error.startswith("dgex")
        assert "Traceback" not in error
        assert snapshot(tmp_path) == before
        return error

    return call


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_divergence_is_one_line_and_keeps_no_network(tmp_path, capsys) -> None:
    folder = tmp_path / "one"
    assert train(STUDY_A, folder, learning_rate=100) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no longer finite after epoch " in error
    assert "at learning rate 100" in error
    left = {path.name for path in folder.iterdir()}
    assert left == {"config.json", "log.tsv"}
    # The same folder can be used again at once, for a run that goes well.
    assert train(STUDY_A, folder, "--overwrite", epochs=1) == 0


def broken(arrays: dict[str, np.ndarray], fault: str) -> dict[str, np.ndarray]:
    match fault:
        case "missing":
            del arrays["Y_GTEx"]
        case "rows":
            arrays["X_va"] = arrays["X_va"][1:]
        case "columns":
            arrays["Y_te"] = arrays["Y_te"][:, 1:]
        case "flat":
            arrays["X_tr"] = arrays["X_tr"].ravel()
        case "text":
            arrays["X_te"] = arrays["X_te"].astype(str)
        case "nan":
            arrays["Y_1000G"][3, 5] = np.nan
        case "inf":
            arrays["X_tr"][0, 0] = np.inf
    return arrays


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "has no array Y_GTEx"),
        ("rows", "X_va (149, 24) does not fit Y_va (150, 40)"),
        ("columns", "Y_te (150, 39) does not fit Y_tr (1207, 40)"),
        ("flat", "X_tr has shape (28968,), not a filled table"),
        ("text", "X_te holds <U32, not numbers"),
        ("nan", "Y_1000G: 1 values are not finite, the first in row 4, column 6"),
        ("inf", "X_tr: 1 values are not finite, the first in row 1, column 1"),
    ],
)
def test_npz_faults(refused, tmp_path, fault, message) -> None:
    path = tmp_path / "study.npz"
    with np.load(STUDY_A) as arrays:
        np.savez(path, **broken(dict(arrays), fault))
    assert f"{path}: {message}" in refused(lambda: train(path, tmp_path / "run"))


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--gpus", "0", "--gpus 0: must be at least 1"),
        ("--gpus", "-1", "--gpus -1: must be at least 1"),
        ("--gpus", "two", "argument --gpus: invalid int value: 'two'"),
        ("--dropout", "1", "dropout = 1.0: must be between 0.0 and 0.99"),
        ("--dropout", "10%", "argument --dropout: invalid float value: '10%'"),
        ("--dropout", "nan", "dropout = nan: must be"),
        ("--hidden-layers", "4", "hidden_layers = 4: must be between 1 and 3"),
        ("--units", "0", "units = 0: must be between 1"),
        ("--units", "1" + "0" * 30, "must be between 1 and 1000000"),
        ("--epochs", "0", "epochs = 0: must be at least 1"),
        ("--batch-size", "0", "batch_size = 0: must be at least 1"),
        ("--learning-rate", "fast", "argument --learning-rate: invalid"),
        ("--learning-rate", "0", "learning_rate = 0.0: must be"),
        ("--monitor-size", "0", "monitor_size = 0: must be at least 1"),
        ("--momentum", "2", "momentum = 2.0: must be between 0.0 and 1.0"),
        ("--seed", "-1", "seed = -1: must be between"),
        ("--halves", "3", "halves = 3: must be between 1 and 2"),
        ("--precision", "half", "argument --precision: invalid choice: 'half'"),
        ("--epoch", "3", "unrecognized arguments: --epoch 3"),
    ],
)
def test_options_of_train_that_can_not_be_used(refused, tmp_path, flag, value, message) -> None:
    folder = tmp_path / "run"
    assert message in refused(command, "train", STUDY_A, "-o", folder, flag, value)


@pytest.fixture(scope="module")
def flags() -> list[str]:
    """The raw files of the recorded preprocessing, as flags."""
    names = {"geo": "geo.gctx", "gtex": "gtex.gct.gz", "1000g": "1000g.txt.gz"}
    names |= {"landmarks": "map_lm.txt", "targets": "map_tg.txt"}
    return [
        text
        for flag, name in names.items()
        for text in (f"--{flag}", str(GOLDEN / "preprocess" / name))
    ]


def study_file(path: Path, flags: list[str], *more: str) -> Path:
    """Write a study file of the same raw files."""
    lines = ['name = "recorded"', 'title = "Recorded"', "[files]"]
    pairs = zip(flags[::2], flags[1::2], strict=True)
    lines += [f'{flag.removeprefix("--")} = "{file}"' for flag, file in pairs]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def datasets(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file."""
    found = {}
    with h5py.File(path) as file:

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item[()]

        file.visititems(visit)
    return found


def assert_equal_datasets(one: Path, other: Path) -> None:
    ours, theirs = datasets(one), datasets(other)
    assert ours.keys() == theirs.keys()
    assert ours
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, flags) -> Path:
    """The recorded raw files, prepared from flags."""
    output = tmp_path_factory.mktemp("prepared") / "one.h5"
    changes = ("--duplicates", "all-pairs", "--scale-on", "train", "--seed", "3", "-q")
    assert command("prepare", *flags, "-o", output, *changes) == 0
    return output


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


def test_run_folders_that_can_not_be_used(refused, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    stranger = tmp_path / "photos"
    stranger.mkdir()
    (stranger / "cat.jpg").write_text("mine")
    for folder, cause in (
        (file, "is a file, not a run folder"),
        (stranger, "is no run folder: it holds cat.jpg"),
        (file / "run", "can't be"),
    ):
        assert f"{folder}: {cause}" in refused(lambda folder=folder: train(STUDY_A, folder))
        more = lambda folder=folder: train(STUDY_A, folder, "--overwrite")  # noqa: E731
        assert f"{folder}: {cause}" in refused(more)


def test_learning_rate_auto_is_the_paper_rate(tmp_path) -> None:
    assert train(STUDY_A, tmp_path / "run", epochs=1, learning_rate="auto") == 0
    log = pd.read_csv(tmp_path / "run" / "log.tsv", sep="\t", dtype=str)
    assert np.float32(log["learning_rate"][0]) == np.float32(5e-4)


def test_sharing_the_cpu_late_does_no_harm() -> None:
    devices = jax.local_devices()
    for n in (1, 2, 3):
        share_cpu(n)
        assert jax.local_devices() == devices


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "dgex: stopped\n"),
        (MemoryError(), 2, "dgex: error: not enough memory\n"),
        (MemoryError("2 TiB"), 2, "dgex: error: not enough memory: 2 TiB\n"),
        (OSError(28, "No space left", "a/log.tsv"), 2, "No space left: 'a/log.tsv'\n"),
    ],
)
def test_what_the_system_refuses_is_one_line(monkeypatch, capsys, problem, code, line) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise problem

    monkeypatch.setattr("dgex_jax.training.run.train_runs", fail)
    assert train(STUDY_A, Path("unused")) == code
    error = capsys.readouterr().err
    assert error.endswith(line)
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["", "simulate", "prepare", "train"])
def test_help_ends_with_examples(name, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        command(*name.split(), "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "\nexamples:\n  dgex " in text
    examples = re.sub(r" *\\\n +", " ", text.split("examples:\n")[1]).strip()
    for line in examples.splitlines():
        words = line.strip().split("   ")[0].split()
        assert words[0] == "dgex"
        assert callable(cli.parser().parse_args(words[1:]).run)


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        command("--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"dgex {__version__}\n"
