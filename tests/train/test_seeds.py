"""Several seeds: each the run of its seed alone, and their spread told apart from the genes'."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from dgex_jax.cli import main, seed_lines
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import DgexError, DivergedError, Stopped, StudyError
from dgex_jax.parts import ARRAYS_ALONE, PAPER
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.run import StopRequest
from dgex_jax.train.seeds import (
    read_seed_errors,
    seed_configs,
    train_seeds,
    write_seed_errors,
)
from dgex_jax.train.train import Conduct, half_networks, initial_states
from tests.train.case import contents, devices

STUDY = Path(__file__).parents[1] / "golden" / "study_a.npz"
NETWORK = NetworkConfig(1, 6, 0.2)
TRAINING = TrainingConfig(epochs=2, learning_rate=1e-2, monitor_size=300)
WEIGHTS = ("best_va.safetensors", "best_1000G.safetensors")
FLAGS = ["--hidden-layers", "1", "--units", "6", "--dropout", "0.2", "--epochs", "2"]
FLAGS += ["--learning-rate", "1e-2", "--monitor-size", "300"]

pytestmark = pytest.mark.usefixtures("quick_compilation")


def train(runs: Path, *seeds: int, **changes: object) -> dict[Path, bool]:
    """Train `NETWORK` once a seed; `changes` are of the conduct or of the training."""
    names = {field.name for field in dataclasses.fields(Conduct)}
    conduct = Conduct(**{name: changes.pop(name) for name in names & set(changes)})
    training = seed_configs(dataclasses.replace(TRAINING, **changes), seeds)
    with open_prepared(STUDY) as study:
        return train_seeds(study, NETWORK, training, runs, devices(2), conduct)


def files(folder: Path) -> dict[str, object]:
    return {name.split("/")[1]: content for name, content in contents(folder).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("seeds") / "runs"
    now = train(runs, 1, 2)
    assert now == {runs / "seed-1": True, runs / "seed-2": True}
    return runs


def test_a_seed_is_the_run_of_that_seed_alone(trained, tmp_path, capsys) -> None:
    for seed in (1, 2):
        alone = tmp_path / f"alone-{seed}"
        words = ["train", str(STUDY), "-o", str(alone), *FLAGS, "--seed", str(seed), "-q"]
        assert main(words) == 0
        assert files(alone) == files(trained / f"seed-{seed}")
    # Without --seed it is the first.
    assert main(["train", str(STUDY), "-o", str(tmp_path / "alone-1"), *FLAGS]) == 0
    assert capsys.readouterr().out.endswith("was trained before, nothing to do\n")


def test_seeds_start_and_end_elsewhere(trained, halved_a) -> None:
    """Initial weights and masks are of the seed; batch orders are the original's for every seed."""
    states, keys = [], []
    for training in seed_configs(TRAINING, (1, 2)).values():
        states.append(initial_states(halved_a, NETWORK, training)[0].params)
        keys.append([network.mask_key for network in half_networks(halved_a, [NETWORK], training)])
    for layer in ("hidden1", "output"):
        assert (states[0][layer]["kernel"] != states[1][layer]["kernel"]).mean() > 0.99
    assert len({tuple(key.tolist()) for both in keys for key in both}) == 4
    for name in WEIGHTS:
        one, two = (load_file(trained / f"seed-{seed}" / name) for seed in (1, 2))
        assert one.keys() == two.keys()
        assert all((one[key] != two[key]).any() for key in one)


def test_table_is_the_overall_errors_of_the_runs(trained) -> None:
    table = pd.read_csv(trained / "seeds.tsv", sep="\t", dtype={"part": str})
    assert list(table) == ["seed", "part", "targets", "MAE", "sd_over_genes"]
    assert [*zip(table["seed"], table["part"], strict=True)] == [
        (seed, part) for seed in (1, 2) for part in ("va", "te", "1000G", "GTEx")
    ]
    assert set(table["targets"]) == {40}
    for seed, of_seed in table.groupby("seed"):
        errors = pd.read_csv(trained / f"seed-{seed}" / "errors.tsv", sep="\t")
        for part, line in of_seed.set_index("part").iterrows():
            mae = errors[f"MAE_{part}"]
            assert line["MAE"] == pytest.approx(mae.mean(), rel=1e-14)
            assert line["sd_over_genes"] == pytest.approx(mae.std(ddof=0), rel=1e-12)


def test_finished_seeds_are_left_alone_and_the_table_says_the_same(trained, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.glob("seed-*/*")}
    table = (trained / "seeds.tsv").read_bytes()
    words = ["train", str(STUDY), "-o", str(trained), *FLAGS, "--seeds", "2", "1"]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "nothing to do" in line] == [
        f"{trained / f'seed-{seed}'}: was trained before, nothing to do" for seed in (2, 1)
    ]
    assert {path: path.stat().st_mtime_ns for path in trained.glob("seed-*/*")} == before
    header, *lines = table.splitlines(keepends=True)
    again = (trained / "seeds.tsv").read_bytes()
    assert again == header + b"".join(lines[4:] + lines[:4])
    train(trained, 1, 2)
    assert (trained / "seeds.tsv").read_bytes() == table


def test_what_is_printed(trained) -> None:
    errors = read_seed_errors(trained, (1, 2))
    first, header, *rows, last = seed_lines(errors, PAPER)
    assert "40 target genes, standardised units" in first
    assert header.split() == ["GEO-va", "GEO-te", "1000G-va", "GTEx-te"]
    table = pd.read_csv(trained / "seeds.tsv", sep="\t").pivot(index="seed", columns="part")
    for seed, row in zip((1, 2), rows, strict=False):
        mae, sd = table["MAE"].loc[seed], table["sd_over_genes"].loc[seed]
        cells = [f"{mae[part]:.4f} ± {sd[part]:.4f}" for part in errors["part"].unique()]
        assert row == f"seed {seed}      " + "  ".join(cells)
    spread = [
        f"{table['MAE'][part].mean():.4f} ± {table['MAE'][part].std(ddof=1):.4f}"
        for part in errors["part"].unique()
    ]
    assert rows[2] == "over seeds  " + "  ".join(spread)
    assert "over genes (ddof 0)" in last
    assert "of the 2 means (ddof 1)" in last


def test_one_seed_has_no_spread(trained) -> None:
    lines = seed_lines(read_seed_errors(trained, (2,)), PAPER)
    assert "±" not in lines[-2]
    assert lines[-1].endswith("over seeds: one seed, no spread")


def test_arrays_alone_have_two_parts(tmp_path) -> None:
    mae = np.array([0.5, 0.25, 0.75, 0.125])
    which = {"seed": [3, 3, 4, 4], "part": ["va", "te"] * 2, "targets": 2}
    errors = pd.DataFrame(which | {"MAE": mae, "sd_over_genes": mae / 8})
    write_seed_errors(tmp_path / "seeds.tsv", errors)
    assert len((tmp_path / "seeds.tsv").read_text().splitlines()) == 5
    lines = seed_lines(errors, ARRAYS_ALONE)
    assert lines[1].split() == ["GEO-va", "GEO-te"]
    assert lines[4] == "over seeds  0.6250 ± 0.1768  0.1875 ± 0.0884"


def test_stopped_within_a_seed_and_between_two_it_goes_on(trained, tmp_path) -> None:
    """Asked to stop after epoch 1 of seed 1, then after its last, it ends in the very same bits."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "seeds.tsv").write_text("of other runs")
    for epoch, text in ((1, "stopped after epoch 1 of 2"), (2, "stopped before seed 2")):
        request, seen = StopRequest(), []

        def report(_network, done, line, request=request, epoch=epoch, seen=seen) -> None:
            seen.append(line.split("  ")[0])
            if done == epoch:
                request.ask()

        with pytest.raises(Stopped, match=text):
            train(runs, 1, 2, report=report, request=request)
        assert seen == [f"seed 1: epoch {epoch}/2"]
        assert not (runs / "seeds.tsv").exists()
    assert train(runs, 1, 2) == {runs / "seed-1": False, runs / "seed-2": True}
    for seed in (1, 2):
        assert contents(runs / f"seed-{seed}") == contents(trained / f"seed-{seed}")
    assert (runs / "seeds.tsv").read_bytes() == (trained / "seeds.tsv").read_bytes()


def test_a_seed_that_diverges_is_named(tmp_path) -> None:
    with pytest.raises(DivergedError, match=r"^seed 7: .*learning rate"):
        train(tmp_path / "runs", 7, learning_rate=1e3)
    assert not (tmp_path / "runs" / "seeds.tsv").exists()


def test_nothing_is_trained_where_something_else_lies(trained, tmp_path) -> None:
    runs = tmp_path / "runs"
    (runs / "seed-2").mkdir(parents=True)
    (runs / "seed-2" / "mine.txt").write_text("kept")
    with pytest.raises(DgexError, match=r"seed-2: is no run folder: it holds mine\.txt"):
        train(runs, 1, 2)
    assert sorted(path.name for path in runs.iterdir()) == ["seed-2"]
    with pytest.raises(DgexError, match="seed-1: is a run folder, several seeds need a folder"):
        train(trained / "seed-1", 1, 2)
    with pytest.raises(DgexError, match=r"seeds\.tsv: is a file, not a folder of runs"):
        train(trained / "seeds.tsv", 1, 2)
    with pytest.raises(DgexError, match=r"seed-1: holds another run \(it differs in training\)"):
        train(trained, 3, 1, epochs=1)
    assert not (trained / "seed-3").exists()
    assert (trained / "seeds.tsv").exists()


def test_seeds_that_can_not_be() -> None:
    with pytest.raises(StudyError, match="seeds: 4 is given twice"):
        seed_configs(TRAINING, (4, 5, 4))
    with pytest.raises(StudyError, match="seed = -1: must be between 0 and 4294967295"):
        seed_configs(TRAINING, (1, -1))


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (["--seed", "1", "--seeds", "1", "2"], "--seed and --seeds: give one of them"),
        (["--seeds", "1", "1"], "seeds: 1 is given twice"),
        (["--seeds", "1", "-2"], "seed = -2: must be between 0 and 4294967295"),
        (["--seeds"], "argument --seeds: expected at least one argument"),
        (["--seeds", "one"], "argument --seeds: invalid int value: 'one'"),
    ],
)
def test_flags_that_are_refused(tmp_path, capsys, flags, cause) -> None:
    try:
        code = main(["train", str(STUDY), "-o", str(tmp_path / "runs"), *FLAGS, *flags])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == 2
    assert cause in told
    assert told.count("\n") == 1
    assert not (tmp_path / "runs").exists()
