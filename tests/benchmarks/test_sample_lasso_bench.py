"""The benchmark of SampleLASSO runs, and its peer gives the same answers as ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.neighbors import NearestNeighbors

from benchmarks.sample_lasso import LAMBDA, main, theirs
from dgex_jax.methods.sample_lasso import SampleLassoModel

if TYPE_CHECKING:
    import pytest


def test_runs_and_the_peer_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--small"]) == 0
    printed = capsys.readouterr().out
    assert "60 training profiles" in printed
    assert "profiles/s" in printed
    rng = np.random.default_rng(0)
    X, Y, new = (rng.normal(size=shape).astype(np.float32) for shape in ((50, 9), (50, 4), (5, 9)))
    settings = {"lambda": LAMBDA, "nearest": 20}
    ours = SampleLassoModel(settings, {"landmarks": X, "targets": Y}).predict(new)
    search = NearestNeighbors(n_neighbors=20).fit(X)
    # scikit-learn stops at its own tolerance.
    np.testing.assert_allclose(theirs(search, X, Y, new), ours, rtol=0, atol=0.1)
