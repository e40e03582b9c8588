"""Files of the first formats (``v1``, of arrays alone ``v1_alone``) are read, to the bit, and gone
on with; see `tests.data.kept` for what is compared how.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import FormatError
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.hdf5 import check_seal
from dgex_jax.io.manifest import is_hash_of
from dgex_jax.model.evaluate import evaluate
from dgex_jax.model.export import export_model
from dgex_jax.model.model import read_model
from dgex_jax.model.predict import predict
from dgex_jax.parts import ARRAYS_ALONE, PAPER
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

V1 = Path(__file__).parent / "v1"
ALONE = V1.with_name("v1_alone")

pytestmark = pytest.mark.usefixtures("quick_compilation")


def without_seal(content: bytes) -> bytes:
    """Give a prepared study of format version 2 as it was before files were sealed."""
    return content[: content.rindex(b'{"size":')]


def expectation(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return expectation(V1)


both = pytest.mark.parametrize("folder", [V1, ALONE], ids=lambda path: path.name)


def test_all_of_it_is_small_and_here() -> None:
    sizes = [path.stat().st_size for of in (V1, ALONE) for path in of.rglob("*") if path.is_file()]
    assert sum(sizes) < 400_000
    names = {"prepared.h5", "model", "run", "stopped"}
    assert names <= {path.name for path in ALONE.iterdir()}
    names |= {"prepared_1.h5", "inferred.gctx"}
    assert names <= {path.name for path in V1.iterdir()}


def test_the_prepared_study(expected) -> None:
    assert check_seal(V1 / "prepared.h5")
    with open_prepared(V1 / "prepared.h5") as study:
        assert study_sums(study) == expected["prepared"]
        assert study.gene_ids == "ensembl"
        assert [len(study.landmark_probes), len(study.target_probes)] == [7, 13]
        assert np.isfinite(study.landmark_quantile).all()
        assert study.parts == PAPER


def test_the_prepared_study_of_arrays_alone() -> None:
    assert check_seal(ALONE / "prepared.h5")
    with open_prepared(ALONE / "prepared.h5") as study:
        assert study_sums(study) == expectation(ALONE)["prepared"]
        assert (study.gene_ids, study.parts) == ("probe", ARRAYS_ALONE)


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


@both
def test_a_finished_run(folder) -> None:
    expected = expectation(folder)
    assert weight_sums(folder / "run") == expected["weights"]
    assert errors_of(folder / "run") == expected["gene_errors"]
    with open_prepared(folder / "prepared.h5") as study:
        config = json.loads((folder / "run" / "config.json").read_text(encoding="utf-8"))
        assert config["prepared_sha256"] == study.sha256
    done = json.loads((folder / "run" / "done.json").read_text(encoding="utf-8"))
    assert is_hash_of(done["config_hash"], config)


@both
def test_a_finished_run_becomes_the_model_that_is_kept(folder) -> None:
    ours, kept = export_model(folder / "run", folder / "prepared.h5"), read_model(folder / "model")
    for half, other in zip(ours.method.halves, kept.method.halves, strict=True):
        jax.tree.map(np.testing.assert_array_equal, half, other)
    for genes, others in ((ours.landmarks, kept.landmarks), (ours.targets, kept.targets)):
        for field in ("ensembl", "symbols", "entrez", "probes"):
            assert getattr(genes, field) == getattr(others, field)
        np.testing.assert_array_equal(genes.mean, others.mean)
        np.testing.assert_array_equal(genes.sd, others.sd)
    np.testing.assert_array_equal(ours.landmark_quantile, kept.landmark_quantile)
    np.testing.assert_array_equal(ours.quantile, kept.quantile)
    assert ours.method.settings == kept.method.settings
    assert ours.errors.keys() == kept.errors.keys()
    for part, errors in ours.errors.items():
        np.testing.assert_allclose(errors, kept.errors[part], **COMPUTED)


@both
def test_the_model_scores_as_it_did(folder) -> None:
    expected = expectation(folder)
    with open_prepared(folder / "prepared.h5") as study:
        found = evaluate(read_model(folder / "model"), study)
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


def of_format_1(arrays: dict[str, str]) -> dict[str, str]:
    """The names of a checkpoint's arrays as they were."""
    return {re.sub(r"\.best\['(\w+)'\]", r".best_\1", name): one for name, one in arrays.items()}


@both
def test_a_stopped_training_goes_on(folder, tmp_path) -> None:
    """Behind the saved epochs, to the same end.

    Not by way of ``dgex train``, which refuses to mix versions of its libraries in one run.
    """
    expected = expectation(folder)
    stopped = shutil.copytree(folder / "stopped", tmp_path / "stopped")
    about = expected["checkpoint"]
    with open_prepared(folder / "prepared.h5") as study:
        arrays = load_arrays(study, 2)
    like = first_states(arrays, [NETWORK], TRAINING)
    saved = Checkpoints(stopped / "checkpoint", about["group_hash"]).newest(like, pytest.fail)
    assert saved is not None
    assert len(saved.records) == about["epochs"] < TRAINING.epochs
    ours, kept = of_format_1(array_sums(to_arrays(saved))), about["arrays"]
    if folder == ALONE:
        # Then with columns of NaN for RNA-seq.
        assert ours.pop("records/errors").startswith("<f8 3x1x2x3 ")
        assert kept.pop("records/errors").startswith("<f8 3x1x2x5 ")
    assert ours == kept
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
    for part, error in zip(arrays.logged, weights @ records[-1].errors, strict=True):
        logged = float(expected["last_epoch"][f"MAE_{part}"])
        np.testing.assert_allclose(error, logged, **TRAINED)
    # Which epoch was best decides whose errors these are.
    for part, errors in trained[0].gene_errors.items():
        np.testing.assert_allclose(errors, expected["gene_errors"][part], **TRAINED)


@both
def test_nothing_here_was_changed_since(folder) -> None:
    """One checksum of all, so that nobody makes the files anew by mistake."""
    assert (folder / "SHA256").read_text(encoding="utf-8").strip() == checksum(folder)
