"""Files that version 0.1 wrote (``v1``) are read by this one, to the bit, and gone on with.

What is read is compared by checksums. What is computed from it is not: processors and versions of
XLA add up float32 products in another order, so single numbers differ in their last bits
(`COMPUTED`), and a training carries such differences on from batch to batch (`TRAINED`).
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

from dgex_jax.config import LOGGED, PredictOptions
from dgex_jax.errors import FormatError
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.hdf5 import check_seal
from dgex_jax.io.manifest import is_hash_of
from dgex_jax.model.evaluate import evaluate
from dgex_jax.model.export import export_model
from dgex_jax.model.model import read_model
from dgex_jax.model.predict import predict
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.run import Checkpoints, to_arrays
from dgex_jax.train.train import first_states, train_group
from tests.data.make_v1 import (
    NETWORK,
    TRAINING,
    array_sums,
    checksum,
    errors_of,
    study_sums,
    weight_sums,
    without_seal,
)

V1 = Path(__file__).parent / "v1"
COMPUTED = {"rtol": 1e-5, "atol": 1e-5}
TRAINED = {"rtol": 1e-3, "atol": 0.0}

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((V1 / "expected.json").read_text(encoding="utf-8"))


def test_all_of_it_is_small_and_here() -> None:
    sizes = [path.stat().st_size for path in V1.rglob("*") if path.is_file()]
    assert sum(sizes) < 300_000
    names = {"prepared.h5", "prepared_1.h5", "model", "run", "stopped", "inferred.gctx"}
    assert names <= {path.name for path in V1.iterdir()}


def test_the_prepared_study(expected) -> None:
    assert check_seal(V1 / "prepared.h5")
    with open_prepared(V1 / "prepared.h5") as study:
        assert study_sums(study) == expected["prepared"]
        assert study.gene_ids == "ensembl"
        assert [len(study.landmark_probes), len(study.target_probes)] == [7, 13]
        assert np.isfinite(study.landmark_quantile).all()


@pytest.mark.parametrize("version", [1, 2])
def test_older_formats_of_it(expected, tmp_path, version) -> None:
    path = tmp_path / "prepared.h5"
    if version == 1:
        shutil.copy(V1 / "prepared_1.h5", path)
    else:
        path.write_bytes(without_seal((V1 / "prepared.h5").read_bytes()))
    assert not check_seal(path)
    with open_prepared(path) as study:
        assert study_sums(study) == expected["prepared"]
        if version == 1:
            with pytest.raises(FormatError, match="it is of format version 1; prepare the study"):
                study.landmark_quantile  # noqa: B018


def test_a_finished_run(expected) -> None:
    assert weight_sums(V1 / "run") == expected["weights"]
    assert errors_of(V1 / "run") == expected["gene_errors"]
    with open_prepared(V1 / "prepared.h5") as study:
        config = json.loads((V1 / "run" / "config.json").read_text(encoding="utf-8"))
        assert config["prepared_sha256"] == study.sha256
    done = json.loads((V1 / "run" / "done.json").read_text(encoding="utf-8"))
    assert is_hash_of(done["config_hash"], config)


def test_a_finished_run_becomes_the_model_that_is_kept() -> None:
    ours, kept = export_model(V1 / "run", V1 / "prepared.h5"), read_model(V1 / "model")
    for half, other in zip(ours.halves, kept.halves, strict=True):
        jax.tree.map(np.testing.assert_array_equal, half, other)
    for genes, others in ((ours.landmarks, kept.landmarks), (ours.targets, kept.targets)):
        for field in ("ensembl", "symbols", "entrez", "probes"):
            assert getattr(genes, field) == getattr(others, field)
        np.testing.assert_array_equal(genes.mean, others.mean)
        np.testing.assert_array_equal(genes.sd, others.sd)
    np.testing.assert_array_equal(ours.landmark_quantile, kept.landmark_quantile)
    np.testing.assert_array_equal(ours.quantile, kept.quantile)
    assert (ours.network, ours.half_sizes) == (kept.network, kept.half_sizes)
    assert ours.errors.keys() == kept.errors.keys()
    for part, errors in ours.errors.items():
        np.testing.assert_allclose(errors, kept.errors[part], **COMPUTED)


def test_the_model_scores_as_it_did(expected) -> None:
    with open_prepared(V1 / "prepared.h5") as study:
        found = evaluate(read_model(V1 / "model"), study)
    assert found.own_study
    assert found.parts.keys() == expected["evaluation"].keys()
    for part, error in expected["evaluation"].items():
        np.testing.assert_allclose(found.parts[part].every.mae.mean, error, **COMPUTED)


def test_the_model_infers_as_it_did(expected, tmp_path) -> None:
    output = tmp_path / "out.gctx"
    predict(read_model(V1 / "model"), V1 / "profiles.tsv", output, PredictOptions("standardized"))
    with Gctx(output) as found, Gctx(V1 / "inferred.gctx") as kept:
        assert found.genes == kept.genes == tuple(expected["inferred"]["genes"])
        assert found.profiles == kept.profiles
        np.testing.assert_array_equal(kept.read(), np.float32(expected["inferred"]["values"]))
        np.testing.assert_allclose(found.read(), kept.read(), **COMPUTED)


def test_the_zarr_store(expected) -> None:
    for package in ("anndata", "zarr"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the optional package {package}")
    from dgex_jax.io.zarr import check_zarr

    assert check_zarr(V1 / "inferred.zarr") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anndata

        data = anndata.read_zarr(V1 / "inferred.zarr")
    assert list(data.var_names) == expected["inferred"]["genes"]
    np.testing.assert_array_equal(data.X, np.float32(expected["inferred"]["values"]))


def test_a_stopped_training_goes_on(expected, tmp_path) -> None:
    """Behind the saved epochs, to the same end.

    Not by way of ``dgex train``, which refuses to mix versions of its libraries in one run.
    """
    folder = shutil.copytree(V1 / "stopped", tmp_path / "stopped")
    about = expected["checkpoint"]
    with open_prepared(V1 / "prepared.h5") as study:
        arrays = load_arrays(study, 2)
    like = first_states(arrays, [NETWORK], TRAINING)
    saved = Checkpoints(folder / "checkpoint", about["group_hash"]).newest(like, pytest.fail)
    assert saved is not None
    assert len(saved.records) == about["epochs"] < TRAINING.epochs
    assert array_sums(to_arrays(saved)) == about["arrays"]
    records = [row[0] for row in saved.records]
    trained = train_group(
        arrays,
        [NETWORK],
        TRAINING,
        jax.local_devices()[:1],
        lambda row, _fetch: records.append(row[0]),
        saved,
    )
    assert [one.epoch for one in records] == [*range(TRAINING.epochs)]
    weights = np.asarray(arrays.half_sizes()) / study.n_targets
    for part, error in zip(LOGGED, weights @ records[-1].errors, strict=True):
        logged = float(expected["last_epoch"][f"MAE_{part}"])
        np.testing.assert_allclose(error, logged, **TRAINED)
    # Which epoch was best decides whose errors these are.
    for part, errors in trained[0].gene_errors.items():
        np.testing.assert_allclose(errors, expected["gene_errors"][part], **TRAINED)


def test_nothing_here_was_changed_since() -> None:
    """One checksum of all, so that nobody makes the files anew by mistake."""
    assert (V1 / "SHA256").read_text(encoding="utf-8").strip() == checksum(V1)
