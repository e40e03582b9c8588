"""Intervals and what is said of each profile: in every format, at every scale, against NumPy."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest

from dgex_jax import predict_anndata
from dgex_jax.cli import main
from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError, StudyError
from dgex_jax.io.gctx import Gctx
from dgex_jax.methods.uncertainty import PROFILE_FIELDS
from dgex_jax.model.model import UNCERTAINTY, Model, read_model, write_model
from dgex_jax.model.predict import predict

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_compilation")
LEVEL = 0.8


@pytest.fixture
def folder(sure: Model, tmp_path: Path) -> Path:
    write_model(tmp_path / "sure", sure)
    return tmp_path / "sure"


def oracle(model: Model, X: np.ndarray, part: str, scale: str) -> dict[str, np.ndarray]:
    """Values and bounds ``(n, n_genes)`` by the definition."""
    known, Y = model.uncertainty, model.method.predict(X)
    assert known is not None
    distances = np.sqrt(np.square(X[:, None].astype(float) - known.anchors).mean(axis=2)).min(
        axis=1
    )
    found = known.calibrated[part]
    grown = np.maximum(distances, found.nearest) / found.centre
    half = grown[:, None] ** found.slope * found.widths[found.levels.index(LEVEL)]
    bounds = {"lower": Y - half, "upper": Y + half, "values": Y}
    whole = {name: np.concatenate([X, one], axis=1) for name, one in bounds.items()}
    if scale == "reference":
        mean = np.concatenate([model.landmarks.mean, model.targets.mean])
        sd = np.concatenate([model.landmarks.sd, model.targets.sd])
        whole = {name: one * sd + mean for name, one in whole.items()}
    return whole


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".gctx":
        with Gctx(path) as file:
            return pd.DataFrame(file.read(slice(0, None)), file.profiles, file.genes)
    return pd.read_csv(path, sep="\t", index_col="profile")


@pytest.mark.parametrize("scale", ["standardized", "reference"])
@pytest.mark.parametrize("ending", [".h5ad", ".zarr", ".gctx", ".tsv.gz"])
def test_every_format_holds_the_bounds(sure, table, tmp_path, write, ending, scale) -> None:
    source = write(table, tmp_path / "in.gctx", "gctx")
    output = tmp_path / f"out{ending}"
    done = predict(
        sure, source, output, PredictOptions("standardized", scale=scale, interval=LEVEL)
    )
    X = table.values[:, [table.genes.index(name) for name in sure.landmarks.ensembl]]
    wanted = oracle(sure, X, "va", scale)
    if ending in (".h5ad", ".zarr"):
        made = anndata.read_h5ad(output) if ending == ".h5ad" else anndata.read_zarr(output)
        found = {"values": made.X, **made.layers}
        fields = made.obs[list(PROFILE_FIELDS)]
        width = made.var["interval_width"].to_numpy()
        landmark = np.arange(made.n_vars) < len(sure.landmarks)
        assert np.isnan(width[landmark]).all()
        assert (width[~landmark] > 0).all()
        np.testing.assert_array_equal(made.var["expected_r2"].to_numpy()[~landmark], sure.r2["te"])
        np.testing.assert_allclose(
            fields["reconstructed"], sure.uncertainty.reconstructed(X), rtol=1e-6
        )
        shares = sure.uncertainty.unlike(sure.uncertainty.distances(X))
        np.testing.assert_allclose(fields["unlike_training"], shares, rtol=1e-6)
    else:
        names = {"values": output, "lower": done.outputs[1], "upper": done.outputs[2]}
        found = {name: read(path).to_numpy() for name, path in names.items()}
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=2e-5)


def test_the_platform_says_whose_intervals_and_a_warning_comes_with_strangers(
    sure, table, tmp_path, write
) -> None:
    """RNA-seq has the wider intervals of the validation set that belongs to it."""
    source = write(replace(table, values=np.abs(table.values) * 5), tmp_path / "in.gctx", "gctx")
    widths = {}
    for platform in ("microarray", "rnaseq"):
        options = PredictOptions(platform, interval=LEVEL, standardize="input", force_platform=True)
        done = predict(sure, source, tmp_path / f"{platform}.h5ad", options)
        made = anndata.read_h5ad(tmp_path / f"{platform}.h5ad")
        inferred = (made.var["source"] == "inferred").to_numpy()
        widths[platform] = (made.layers["upper"] - made.layers["lower"])[:, inferred].mean()
    assert widths["rnaseq"] > 5 * widths["microarray"]
    far = write(replace(table, values=table.values * 40), tmp_path / "far.gctx", "gctx")
    done = predict(
        sure, far, tmp_path / "far.tsv", PredictOptions("standardized", force_platform=True)
    )
    n = len(table.profiles)
    warning = f"warning: {n} of {n} profiles are less like training than 99% of its own"
    assert any(note.startswith(warning) for note in done.notes)
    # A table has no place for what is known of profiles.
    assert sorted(path.name for path in tmp_path.glob("far.tsv*")) == [
        "far.tsv",
        "far.tsv.provenance.json",
    ]


def test_an_imputed_landmark_has_no_bounds(sure, table, tmp_path, write) -> None:
    name = sure.landmarks.ensembl[2]
    kept = [place for place, gene in enumerate(table.genes) if gene != name]
    genes = tuple(table.genes[place] for place in kept)
    source = write(
        replace(table, values=table.values[:, kept], genes=genes), tmp_path / "a.gctx", "gctx"
    )
    options = PredictOptions("standardized", impute=True, interval=LEVEL)
    predict(sure, source, tmp_path / "out.h5ad", options)
    made = anndata.read_h5ad(tmp_path / "out.h5ad")
    missing = np.isnan(made.layers["lower"]).any(axis=0)
    assert made.var["source"][missing].tolist() == ["imputed"]


def test_anndata_equals_the_file(sure, table, tmp_path, write) -> None:
    source = write(table, tmp_path / "in.h5ad", "h5ad")
    predict(sure, source, tmp_path / "out.h5ad", PredictOptions("standardized", interval=LEVEL))
    there = anndata.read_h5ad(tmp_path / "out.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = predict_anndata(sure, anndata.read_h5ad(source), interval=LEVEL)
    for name in ("lower", "upper"):
        np.testing.assert_array_equal(made.layers[name], there.layers[name])
    for name in PROFILE_FIELDS:
        np.testing.assert_array_equal(made.obs[name], there.obs[name])


def test_a_folder_keeps_it_to_the_bit(sure, folder) -> None:
    again = read_model(folder)
    assert again.uncertainty.settings() == sure.uncertainty.settings()
    for name, values in sure.uncertainty.tensors().items():
        np.testing.assert_array_equal(again.uncertainty.tensors()[name], values)
    np.testing.assert_array_equal(again.r2["te"], sure.r2["te"])
    content = (folder / UNCERTAINTY).read_bytes()
    (folder / UNCERTAINTY).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DgexError, match=r"uncertainty\.safetensors: damaged or replaced"):
        read_model(folder)


def test_what_is_refused(sure, model, folder, table, tmp_path, write, capsys) -> None:
    source = write(table, tmp_path / "in.gctx", "gctx")
    output = tmp_path / "out.gctx"
    for one, level, cause in (
        (model, 0.8, "interval: this model has none"),
        (sure, 0.85, "interval 0.85: the model has intervals of 0.5, 0.6"),
        (sure, 0.99, "60 validation profiles are too few"),
    ):
        with pytest.raises(DgexError, match=cause):
            predict(one, source, output, PredictOptions("standardized", interval=level))
    with pytest.raises(StudyError, match=r"interval = 1\.5: must be between"):
        PredictOptions("standardized", interval=1.5)
    words = ["predict", folder, source, "-o", output, "--platform", "standardized", "-q"]
    assert main([*map(str, words), "--interval", "0.85"]) == 2
    assert "interval 0.85: the model has intervals of" in capsys.readouterr().err
    assert not output.exists()
    assert main([*map(str, words), "--interval", "0.9"]) == 0
    assert f"{tmp_path / 'out.lower.gctx'}: written beside it" in capsys.readouterr().out
