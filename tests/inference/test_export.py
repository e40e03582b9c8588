"""A model made of a run is that run: same genes, scale, inferences and errors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.cli import main
from dgex_jax.config import TrainingConfig
from dgex_jax.errors import DgexError
from dgex_jax.model.export import export_model
from dgex_jax.model.model import read_model, write_model
from dgex_jax.parts import ARRAYS_ALONE
from dgex_jax.prepare.prepared import open_prepared

OWN = {"va": ("va", "te"), "1000G": ("1000G", "GTEx")}
STUDY_A = Path(__file__).parents[1] / "golden" / "study_a.npz"


@pytest.fixture(scope="module", params=["va", "1000G"])
def exported(request, trained, tmp_path_factory):
    """The model of each best epoch, read back from its folder."""
    path = tmp_path_factory.mktemp("models") / request.param
    write_model(path, export_model(trained.run, trained.prepared, best=request.param))
    return read_model(path)


def test_inferences_have_the_errors_of_the_run(trained, exported, oracle) -> None:
    table = pd.read_csv(trained.run / "errors.tsv", sep="\t", dtype=str)
    with open_prepared(trained.prepared) as study:
        for part in ("va", "te", "1000G", "GTEx"):
            mae = np.abs(oracle(exported, study.X(part)) - study.Y(part)).mean(axis=0)
            np.testing.assert_allclose(exported.errors[part], mae, rtol=0, atol=1e-6)
            reported = table[f"MAE_{part}"].to_numpy(str).astype(np.float64)
            if part in OWN[exported.selected_on]:
                np.testing.assert_array_equal(exported.errors[part], reported)
            else:
                # The run's are of other weights.
                assert np.abs(exported.errors[part] - reported).max() > 1e-3


def test_genes_are_those_of_the_study_in_its_order(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        assert exported.landmarks.ensembl == study.landmarks
        assert exported.targets.ensembl == study.targets
        assert exported.landmarks.symbols == study.landmark_symbols
        assert exported.targets.symbols == study.symbols
        for genes, probes, entrez in (
            (exported.landmarks, study.landmark_probes, study.landmark_entrez),
            (exported.targets, study.target_probes, study.target_entrez),
        ):
            assert genes.probes == probes
            assert all(probes)
            assert genes.entrez == entrez
        np.testing.assert_array_equal(exported.copy_of_landmark, study.copy_of_landmark)
        assert exported.half_sizes == (10, 11)


def test_scale_leads_back_to_the_reference(trained, exported) -> None:
    """value * sd + mean is a value of the reference quantile, for every gene and profile."""
    with open_prepared(trained.prepared) as study:
        for kind, genes in (("X", exported.landmarks), ("Y", exported.targets)):
            standardised = getattr(study, kind)("te").astype(np.float64)
            values = standardised * genes.sd + genes.mean
            above = np.searchsorted(exported.quantile, values).clip(1, len(exported.quantile) - 1)
            nearest = np.minimum(
                np.abs(exported.quantile[above] - values),
                np.abs(exported.quantile[above - 1] - values),
            )
            assert nearest.max() < 2e-6
        np.testing.assert_array_equal(exported.landmark_quantile, study.landmark_quantile)
        np.testing.assert_array_equal(exported.quantile, study.quantile)
    with h5py.File(trained.prepared) as file:
        np.testing.assert_array_equal(exported.targets.sd, file["compendium/Y_sd"][:] + 1e-3)


def test_record_says_where_it_comes_from(trained, exported) -> None:
    record = exported.record
    done = json.loads((trained.run / "done.json").read_text())
    config = json.loads((trained.run / "config.json").read_text())
    study = record["study"]
    assert (study["name"], study["title"], study["simulated"]) == ("tiny", "A tiny study", True)
    assert exported.simulated is True
    assert study["prepared_sha256"] == hashlib.sha256(trained.prepared.read_bytes()).hexdigest()
    for raw in study["raw_files"].values():
        path = trained.prepared.parent / "raw" / raw["name"]
        assert raw["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(study["raw_files"]) == 5
    assert study["profiles"] == {"tr": 103, "va": 13, "te": 13, "1000G": 8, "GTEx": 12}
    training = TrainingConfig(**record["settings"]["training"])
    assert dataclasses.asdict(training) == config["training"]
    assert record["settings"]["prepare"]["seed"] == 5
    assert record["seeds"]["training"] == 1
    assert record["seeds"]["preparation"]
    assert record["versions"]["training"].items() >= config["versions"].items()
    assert {"numpy", "dgex_jax"} <= record["versions"]["preparation"].keys()
    for best in OWN:
        assert record["best_epochs"][best] == done[f"best_{best}_epochs"]
    for key in ("seconds", "devices", "config_hash"):
        assert record[key] == done[key]


def test_command(trained, exported, same, tmp_path, capsys) -> None:
    best = exported.selected_on
    words = ["export", str(trained.run), str(trained.prepared), "-o", str(tmp_path / "model")]
    assert main([*words, "--best", best]) == 0
    line = f"{tmp_path / 'model'}: D-GEX-10%-6x1 (simulated data), 9 landmarks to 21 targets\n"
    assert capsys.readouterr().out == line
    same(read_model(tmp_path / "model"), exported)
    assert main(words) == 2
    assert "holds a model; choose another folder, or --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    # Without --best the choice is GEO-va's.
    assert read_model(tmp_path / "model").selected_on == "va"


def rewrite(run: Path, **changes: object) -> None:
    """Change the configuration of a run, and the hash that ``done.json`` has of it.

    As a version that kept no checksums of a run's files would have written it.
    """
    config = json.loads((run / "config.json").read_text()) | changes
    (run / "config.json").write_text(json.dumps(config))
    done = json.loads((run / "done.json").read_text())
    done["config_hash"] = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    del done["files"], done["content_sha256"]
    (run / "done.json").write_text(json.dumps(done))


def cut_errors(run: Path) -> None:
    """Take the last target from the errors."""
    lines = (run / "errors.tsv").read_text().splitlines(keepends=True)
    (run / "errors.tsv").write_text("".join(lines[:-1]))


def older_with_fewer_errors(run: Path) -> None:
    rewrite(run)
    cut_errors(run)


def without(name: str):
    return lambda run: (run / name).unlink()


def holding(name: str, text: str):
    return lambda run: (run / name).write_text(text)


WIDER = {"hidden_layers": 1, "units": 7, "dropout": 0.1}
RUNS = {
    "no run": (shutil.rmtree, "run: no such run folder"),
    "no config": (without("config.json"), "is no run folder: it has no config.json that can"),
    "config": (holding("config.json", "{"), "is no run folder: it has no config.json that can"),
    "unfinished": (without("done.json"), "its training is not finished"),
    "replaced": (
        holding("done.json", '{"config_hash": "0"}'),
        "done.json is not of the run that config.json describes",
    ),
    "no weights": (without("best_va.safetensors"), "best_va.safetensors: can't be read as weights"),
    "no errors": (without("errors.tsv"), "errors.tsv: is no table of errors"),
    "other errors": (cut_errors, "errors.tsv: damaged or replaced: its sha256 is not the one in"),
    "fewer errors": (older_with_fewer_errors, "errors.tsv: has 20 targets, the study 21"),
    "network": (lambda run: rewrite(run, network=3), "config.json: network: can't be used"),
    "other network": (
        lambda run: rewrite(run, network=WIDER),
        "tensor half1/W0 has shape (9, 6), expected (9, 7)",
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_that_can_not_be_exported(refused, trained, tmp_path, name) -> None:
    damage, cause = RUNS[name]
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    damage(run)
    assert cause in refused("export", run, trained.prepared, "-o", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_studies_and_calls_that_do_not_fit(refused, trained, tmp_path, monkeypatch) -> None:
    run, prepared, other = trained.run, trained.prepared, tmp_path / "other.h5"
    shutil.copyfile(prepared, other)
    with h5py.File(other, "r+") as file:
        file.attrs["title"] = "Another study"
    # A run on an .npz is a run like any other, but nobody knows its genes' scale.
    arrays = tmp_path / "arrays"
    shutil.copytree(run, arrays)
    rewrite(arrays, prepared_sha256=hashlib.sha256(STUDY_A.read_bytes()).hexdigest())
    output = ["-o", tmp_path / "model"]
    for words, cause in (
        ((run, other), f"{other}: is not the prepared study that {run}"),
        ((run, STUDY_A), f"{STUDY_A}: is not the prepared study"),
        ((arrays, STUDY_A), f"{STUDY_A}: has no "),
        (
            (run, prepared, "--best", "te"),
            "has no validation part 'te' to choose on, only",
        ),
        ((prepared, prepared), "prepared.h5: is a file, not a run folder"),
        ((run, tmp_path / "nothing.h5"), "nothing.h5: no such file"),
    ):
        assert cause in refused("export", *words, *output)
        assert not (tmp_path / "model").exists()

    # A bad place is refused before the work.
    def fail(*_arguments: object, **_options: object) -> None:
        raise AssertionError("work was done for nothing")

    monkeypatch.setattr("dgex_jax.model.export.export_model", fail)
    refused("export", run, prepared, "-o", tmp_path, "--overwrite")


def test_study_of_arrays_alone_has_no_1000g(trained, monkeypatch) -> None:
    from dgex_jax.prepare.prepared import Hdf5Prepared

    opened = Hdf5Prepared._read_names

    def read_names(self: Hdf5Prepared) -> None:
        opened(self)
        self.parts = ARRAYS_ALONE

    monkeypatch.setattr(Hdf5Prepared, "_read_names", read_names)
    with pytest.raises(DgexError, match=r"prepared\.h5: has no validation part '1000G' to "):
        export_model(trained.run, trained.prepared, best="1000G")
    assert list(export_model(trained.run, trained.prepared).errors) == ["va", "te"]


def test_what_it_computes_is_of_float32(trained, tmp_path) -> None:
    """Also of a network trained in TF32, whose own record says so."""
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    config = json.loads((run / "config.json").read_text())
    rewrite(run, training=config["training"] | {"precision": "tf32"})
    record = export_model(run, trained.prepared).record
    assert record["settings"]["training"]["precision"] == "tf32"
    assert record["provenance"]["export"]["precision"] == "highest"
