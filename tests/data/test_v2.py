"""Files of version 0.2 (``v2``) are read, to the bit, and go on being of use.

See `tests.data.kept` for what is compared how.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dgex_jax.io.hdf5 import check_seal
from dgex_jax.methods.kinds import KINDS
from dgex_jax.model.evaluate import evaluate
from dgex_jax.model.export import export_model
from dgex_jax.model.model import read_model
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.run import Checkpoints, to_arrays
from dgex_jax.train.train import first_states, train_group
from tests.data.kept import (
    COMPUTED,
    NETWORK,
    TRAINED,
    TRAINING,
    array_sums,
    checksum,
    errors_of,
    study_sums,
    weight_sums,
)
from tests.data.make_v2 import MODELS, inferred

V2 = Path(__file__).parent / "v2"

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((V2 / "expected.json").read_text(encoding="utf-8"))


def test_nothing_here_was_changed_since() -> None:
    assert (V2 / "SHA256").read_text(encoding="utf-8").strip() == checksum(V2)


def test_they_are_small_and_of_the_formats_said() -> None:
    assert sum(path.stat().st_size for path in V2.rglob("*") if path.is_file()) < 400_000
    formats = {
        name: json.loads((V2 / name / "model.json").read_text(encoding="utf-8"))["format_version"]
        for name in MODELS
    }
    assert formats == {"model": 3, "every_method": 3, "passed_on": 4}


def test_the_prepared_study(expected) -> None:
    assert check_seal(V2 / "prepared.h5")
    with open_prepared(V2 / "prepared.h5") as study:
        assert study_sums(study) == expected["prepared"]
        assert tuple(study.parts) == ("tr", "va", "te", "Cells", "Tissues")
        assert study.parts.label("Tissues") == "Tissues-te"
        for part, groups in expected["groups"].items():
            assert study.groups(part).tolist() == groups


def test_a_finished_run_and_the_model_of_it(expected) -> None:
    assert weight_sums(V2 / "run") == expected["weights"]
    assert errors_of(V2 / "run") == expected["gene_errors"]
    ours, kept = export_model(V2 / "run", V2 / "prepared.h5"), read_model(V2 / "model")
    assert ours.method.settings == kept.method.settings
    assert array_sums(ours.method.tensors) == array_sums(kept.method.tensors)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_scores_and_infers_as_it_did(expected, name) -> None:
    model = read_model(V2 / name)
    assert array_sums(model.method.tensors) == expected["tensors"][name]
    with open_prepared(V2 / "prepared.h5") as study:
        found = evaluate(model, study)
    assert found.parts.keys() == expected["evaluation"][name].keys()
    for part, error in expected["evaluation"][name].items():
        np.testing.assert_allclose(found.parts[part].every.mae.mean, error, **COMPUTED)
    ours, kept = inferred(V2 / name, V2 / "profiles.tsv"), expected["inferred"][name]
    assert ours.pop("genes") == kept["genes"]
    for what, values in ours.items():
        np.testing.assert_allclose(values, kept[what], err_msg=what, **COMPUTED)


def test_every_kind_of_method_is_among_them() -> None:
    stack = read_model(V2 / "every_method").method
    kinds = {one.kind for one in stack.members} | {stack.kind, read_model(V2 / "model").method.kind}
    assert kinds == set(KINDS)


def test_the_zarr_store(expected) -> None:
    for package in ("anndata", "zarr"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the optional package {package}")
    from dgex_jax.io.zarr import check_zarr

    assert check_zarr(V2 / "inferred.zarr") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anndata

        data = anndata.read_zarr(V2 / "inferred.zarr")
    kept = expected["inferred"]["every_method"]
    assert list(data.var_names) == kept["genes"]
    assert {"unlike_training", "reconstructed"} <= set(data.obs)
    read = {"values": data.X, "lower": data.layers["lower"], "upper": data.layers["upper"]}
    for what, values in read.items():
        np.testing.assert_allclose(values, kept[what], err_msg=what, **COMPUTED)


def test_a_stopped_training_goes_on(expected, tmp_path) -> None:
    stopped = shutil.copytree(V2 / "stopped", tmp_path / "stopped")
    about = expected["checkpoint"]
    with open_prepared(V2 / "prepared.h5") as study:
        arrays = load_arrays(study, 2)
    like = first_states(arrays, [NETWORK], TRAINING)
    saved = Checkpoints(stopped / "checkpoint", about["group_hash"]).newest(like, pytest.fail)
    assert saved is not None
    assert len(saved.records) == about["epochs"] < TRAINING.epochs
    assert array_sums(to_arrays(saved)) == about["arrays"]
    trained = train_group(arrays, [NETWORK], TRAINING, jax.local_devices()[:1], resume=saved)
    for part, errors in trained[0].gene_errors.items():
        np.testing.assert_allclose(errors, expected["gene_errors"][part], **TRAINED)
