"""The miniature is what its files' names say, is fetched as the real ones, and its weights hold."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.baselines.weights import read_weights, standardised_prediction
from dgex_jax.download.fetch import download
from dgex_jax.download.sources import check_folder, read_sources
from dgex_jax.io.gctx import Gctx
from dgex_jax.prepare.normalize import OFFSET
from tests.download.server import IMPATIENT, serving
from tests.gse92743_mini import Mini, fit_weights, write_real, write_simulated

SHAPE = re.compile(r"_n(\d+)x(\d+)\.gctx$")


def frame(path: Path) -> pd.DataFrame:
    """Profiles by genes, float64."""
    with Gctx(path) as file:
        return pd.DataFrame(file.read().astype(float), file.profiles, file.genes)


def paths(mini: Mini) -> list[Path]:
    return [path for path in vars(mini).values() if isinstance(path, Path)]


def sources_of(mini: Mini, url: str):
    """The package's sources of these files, with the shapes of the miniature."""
    for path in paths(mini):
        plain = SHAPE.sub(".gctx", path.name)
        known = next(one for one in read_sources() if SHAPE.sub(".gctx", one.file) == plain)
        n_profiles, n_genes = (
            map(int, found.groups()) if (found := SHAPE.search(path.name)) else (0, 0)
        )
        place = f"{url.rpartition('/')[0]}/{path.name}.gz"
        changes = {"file": path.name, "url": place, "profiles": n_profiles, "genes": n_genes}
        yield path, replace(known, **changes)


def test_it_is_fetched_unpacked_and_as_known(tmp_path) -> None:
    mini = write_simulated(tmp_path / "made")
    sources = []
    with serving(b"") as site:
        for path, source in sources_of(mini, site.url):
            site.content = gzip.compress(path.read_bytes())
            download([source], tmp_path / "data", limits=IMPATIENT, report=lambda _: None)
            assert (tmp_path / "data" / path.name).read_bytes() == path.read_bytes()
            sources.append(source)
    assert len(sources) == 7
    assert {found.state for found in check_folder(tmp_path / "data", sources)} == {"sound"}


@pytest.mark.parametrize("n_unmeasured", [0, 2])
def test_its_weights_are_least_squares_and_predict_the_other_platform(
    tmp_path, n_unmeasured
) -> None:
    mini = write_simulated(tmp_path, n_unmeasured=n_unmeasured)
    assert mini.fitted_by == "least squares"
    genes = pd.read_csv(mini.genes, sep="\t", dtype=str)
    landmarks = genes.pr_gene_id[genes.pr_is_lm == "1"].tolist()
    targets = genes.pr_gene_id[genes.pr_is_lm == "0"].tolist()
    assert (len(landmarks), len(targets)) == (62 - n_unmeasured, 240)
    training, l1000, rnaseq = (frame(path) for path in (mini.training, mini.l1000, mini.rnaseq))
    read = read_weights(mini.weights)
    weights = read.aligned(landmarks, targets)
    assert len(weights.held) == n_unmeasured
    if not n_unmeasured:
        fitted, _ = fit_weights(training[landmarks].to_numpy(), training[targets].to_numpy())
        order = [read.targets.index(name) for name in targets]
        np.testing.assert_allclose(read.intercept[order], fitted[0], atol=1e-4)
        np.testing.assert_allclose(weights.coef, fitted[1:].T, atol=1e-5)
        inferred = l1000[landmarks].to_numpy() @ weights.coef.T + read.intercept[order]
        np.testing.assert_allclose(inferred, l1000[targets], atol=1e-4)
    # Each L1000 profile and its RNA-seq partner, both standardised by themselves.
    pairs = pd.read_csv(mini.pairs, sep="\t")
    X, Y = l1000.loc[pairs.inst_id, landmarks], rnaseq.loc[pairs.rnaseq_inst_id, targets]
    x_scaling, y_scaling = ((one.mean().to_numpy(), one.std(ddof=0).to_numpy()) for one in (X, Y))
    standard = (X.to_numpy() - x_scaling[0]) / (x_scaling[1] + OFFSET)
    truth = (Y.to_numpy() - y_scaling[0]) / (y_scaling[1] + OFFSET)
    predicted = standardised_prediction(weights, standard, x_scaling[1], y_scaling[1])
    assert np.abs(predicted.mean(axis=0)).max() < 1e-9
    others = np.abs(predicted - np.roll(truth, 1, axis=0)).mean()
    assert np.abs(predicted - truth).mean() < 0.8 * min(np.abs(truth).mean(), others)


def test_of_real_arrays(tmp_path, shared) -> None:
    mini = write_real(tmp_path, shared)
    assert mini.fitted_by.startswith("ridge")
    for path in paths(mini):
        if found := SHAPE.search(path.name):
            with Gctx(path) as file:
                assert (len(file.profiles), len(file.genes)) == tuple(map(int, found.groups()))
    read = read_weights(mini.weights)
    training = frame(mini.training)
    landmarks = [name for name in read.landmarks if name in training.columns]
    targets = list(read.targets)
    assert (len(read.landmarks), len(landmarks)) == (978, 970)
    assert len(targets) == len(training.columns) - 970 > 8000
    X, Y = training[landmarks].to_numpy(), training[targets].to_numpy()
    weights = read.aligned(landmarks, targets)
    assert len(weights.held) == 8
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    assert np.std(y - x @ weights.coef.T) < 0.5 * np.std(y)
