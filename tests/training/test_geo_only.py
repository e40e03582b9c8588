"""Training on the parts a study has: arrays alone (tr, va, te), and files of format version 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pandas as pd
import pytest

from dgex_jax.cli import main
from dgex_jax.config import GeoOnlyFiles, NetworkConfig, PrepareConfig, RawFiles, TrainingConfig
from dgex_jax.data.prepare import prepare
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import FormatError, Stopped
from dgex_jax.training.arrays import StudyArrays, load_arrays
from dgex_jax.training.devices import choose_devices
from dgex_jax.training.geneerrors import read_gene_errors
from dgex_jax.training.loop import train_group
from dgex_jax.training.run import Conduct, train_runs
from dgex_jax.training.stopping import StopRequest
from dgex_jax.training.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess"
PARTS = ("va", "te", "1000G", "GTEx", "tr")
ABSENT = ("1000G", "GTEx")
NETWORK = NetworkConfig(hidden_layers=1, units=8, dropout=0.1)
TRAINING = TrainingConfig(epochs=3, learning_rate=5e-3, monitor_size=100)
FLAGS = ["--hidden-layers", "1", "--units", "8", "--learning-rate", "5e-3"]
FLAGS += ["--monitor-size", "100"]

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def arrays_alone(tmp_path_factory) -> Path:
    """The recorded GEO file prepared without RNA-seq."""
    folder = tmp_path_factory.mktemp("alone")
    lines = (GOLDEN / "map_lm.txt").read_text().splitlines()
    (folder / "landmarks.txt").write_text("\n".join(line.split("\t")[2] for line in lines))
    raw = GeoOnlyFiles(GOLDEN / "geo.gctx", folder / "landmarks.txt")
    config = PrepareConfig(duplicates="none")
    prepare(raw, folder / "p.h5", config, name="alone", title="Alone", simulated=True)
    return folder / "p.h5"


@pytest.fixture(scope="module")
def five_parts(tmp_path_factory) -> Path:
    """The recorded raw files, prepared."""
    names = ("geo.gctx", "gtex.gct.gz", "1000g.txt.gz", "map_lm.txt", "map_tg.txt")
    path = tmp_path_factory.mktemp("five") / "p.h5"
    config = PrepareConfig(duplicates="none")
    raw = RawFiles(*(GOLDEN / name for name in names))
    prepare(raw, path, config, name="five", title="Five", simulated=True)
    return path


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def train(study: Path, folder: Path, *more: str) -> int:
    return main(["train", str(study), "-o", str(folder), *FLAGS, *more])


@pytest.fixture(scope="module")
def trained(arrays_alone, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(arrays_alone, folder, "--epochs", "2", "-q") == 0
    return folder


def test_a_run_folder_without_the_missing_parts(trained, arrays_alone) -> None:
    files = {path.name for path in trained.iterdir()}
    logs = {"log.tsv", "log_half1.tsv", "log_half2.tsv"}
    assert files == {"config.json", "done.json", "errors.tsv", "best_va.safetensors", *logs}
    done = json.loads((trained / "done.json").read_text())
    assert len(done["best_va_epochs"]) == 2
    assert "best_1000G_epochs" not in done
    errors = read(trained / "errors.tsv")
    columns = ["target", "symbol", "half", "copy_of_landmark", "MAE_va", "MAE_te"]
    assert list(errors) == columns
    with open_prepared(arrays_alone) as study:
        assert list(errors["target"]) == list(study.targets)
    assert set(read_gene_errors(trained / "errors.tsv").mae) == {"va", "te"}


def test_log_cells_of_missing_parts_are_empty(trained) -> None:
    for name in ("log.tsv", "log_half1.tsv", "log_half2.tsv"):
        log = read(trained / name)
        assert [column for column in log if column.startswith("MAE_")] == [
            f"MAE_{part}" for part in PARTS
        ]
        for part in PARTS:
            cells = [*log[f"MAE_{part}"], *log[f"d_{part}"]]
            if part in ABSENT:
                assert cells == [""] * 4
            else:
                assert np.isfinite(np.array(cells, np.float64)).all()


def test_errors_are_those_of_the_best_epoch(trained, arrays_alone) -> None:
    halves = load_weights(trained / "best_va.safetensors")
    done = json.loads((trained / "done.json").read_text())
    with open_prepared(arrays_alone) as study:
        for part in ("va", "te"):
            ours = read_gene_errors(trained / "errors.tsv").mae[part]
            X = study.X(part).astype(np.float64)
            for number, (columns, weights) in enumerate(zip(study.halves, halves, strict=True), 1):
                hidden = np.tanh(X @ weights["hidden1"]["kernel"] + weights["hidden1"]["bias"])
                inferred = hidden @ weights["output"]["kernel"] + weights["output"]["bias"]
                expected = np.abs(inferred - study.Y(part, columns)).mean(axis=0)
                np.testing.assert_allclose(ours[columns], expected, rtol=0, atol=1e-6)
                best = done["best_va_epochs"][number - 1]
                logged = float(read(trained / f"log_half{number}.tsv")[f"MAE_{part}"][best])
                assert expected.mean() == pytest.approx(logged, abs=1e-6)


def test_the_line_of_an_epoch_has_no_1000g(arrays_alone, tmp_path, capsys) -> None:
    assert train(arrays_alone, tmp_path / "run", "--epochs", "1", "--halves", "1") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("epoch 1/1  GEO-va ")
    assert "1000G" not in line
    assert "nan" not in line


@pytest.mark.long
def test_missing_parts_change_nothing_of_the_others(five_parts) -> None:
    """The same GEO data with and without RNA-seq: the same errors on GEO, the same best on GEO."""
    with open_prepared(five_parts) as study:
        whole = load_arrays(study, 2)
    geo = StudyArrays(
        {part: whole.X[part] for part in ("tr", "va", "te")},
        {part: whole.Y[part] for part in ("tr", "va", "te")},
        whole.halves,
    )
    devices = jax.local_devices()[:1]
    found: list[Any] = []
    for arrays in (whole, geo):
        records: list[Any] = []
        (one,) = train_group(
            arrays, [NETWORK], TRAINING, devices, lambda row, _fetch, to=records: to.extend(row)
        )
        found.append((one, np.stack([record.errors for record in records])))
    (one, errors), (other, others) = found
    assert errors.shape == others.shape == (3, 2, 5)
    assert np.isfinite(errors).all()
    assert np.isnan(others[..., 2:4]).all()
    kept = [0, 1, 4]
    np.testing.assert_allclose(others[..., kept], errors[..., kept], rtol=0, atol=1e-6)
    assert set(other.gene_errors) == {"va", "te"}
    for half, same in zip(other.halves, one.halves, strict=True):
        assert half.best_va_epoch == same.best_va_epoch
        assert (half.best_1000G, half.best_1000G_epoch) == (None, None)
    for part in ("va", "te"):
        np.testing.assert_allclose(other.gene_errors[part], one.gene_errors[part], atol=1e-5)


def test_a_stopped_run_goes_on_to_the_same_bits(arrays_alone, tmp_path) -> None:
    (devices, *_), _ = choose_devices(None, 2)
    request = StopRequest()

    def stop(_network: NetworkConfig, done: int, _line: str) -> None:
        if done == 1:
            request.ask()

    with open_prepared(arrays_alone) as study:
        train_runs(study, [NETWORK], TRAINING, [tmp_path / "whole"], devices)
        cut = Conduct(stop, request=request)
        with pytest.raises(Stopped):
            train_runs(study, [NETWORK], TRAINING, [tmp_path / "cut"], devices, conduct=cut)
        assert (tmp_path / "cut" / "checkpoint").is_dir()
        assert train_runs(study, [NETWORK], TRAINING, [tmp_path / "cut"], devices)
    for name in ("best_va.safetensors", "errors.tsv", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    logs = [read(tmp_path / name / "log.tsv").drop(columns="seconds") for name in ("cut", "whole")]
    pd.testing.assert_frame_equal(*logs)


def test_a_table_that_lacks_one_of_the_rna_seq_columns_is_damaged(trained, tmp_path) -> None:
    table = read(trained / "errors.tsv")
    table["MAE_GTEx"] = table["MAE_te"]
    table.to_csv(tmp_path / "errors.tsv", sep="\t", index=False)
    with pytest.raises(FormatError, match=r"is no table of errors per gene \('MAE_1000G'\)"):
        read_gene_errors(tmp_path / "errors.tsv")


@pytest.mark.long
def test_a_study_of_format_version_1_trains_as_before(five_parts, tmp_path) -> None:
    old = tmp_path / "old.h5"
    old.write_bytes(five_parts.read_bytes())
    with h5py.File(old, "r+") as file:
        for name in ("landmark_info", "target_info"):
            del file[f"{name}/probes"], file[f"{name}/entrez"]
        del file["landmark_quantile"], file["dropped/probes"]
        del file.attrs["gene_ids"], file.attrs["data_sets"]
        file.attrs["format_version"] = 1
    for path in (five_parts, old):
        assert train(path, tmp_path / path.stem, "--epochs", "2", "-q") == 0
    new, older = tmp_path / "p", tmp_path / "old"
    files = {path.name for path in new.iterdir()}
    assert files == {path.name for path in older.iterdir()}
    assert "best_1000G.safetensors" in files
    assert (new / "errors.tsv").read_bytes() == (older / "errors.tsv").read_bytes()
    for name in ("best_va", "best_1000G"):
        one, other = (load_weights(folder / f"{name}.safetensors") for folder in (new, older))
        jax.tree.map(np.testing.assert_array_equal, one, other)
