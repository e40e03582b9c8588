"""SampleLASSO's profiles a second (943 → 100 genes, made up) beside scikit-learn's Lasso.

Both regress a profile on its 2,000 nearest training profiles with the same penalty; scikit-learn
stops at its own tolerance, 1e-4. Times are those of a profile.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import Lasso
from sklearn.neighbors import NearestNeighbors

from benchmarks.madeup_study import load_study, write_study
from benchmarks.report import Line, Report, Table
from benchmarks.script import progress, script
from benchmarks.timing import paired
from dgex_jax.methods.sample_lasso import SampleLassoConfig, SampleLassoModel
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from dgex_jax.methods import Float32

NAME = "sample_lasso"
SIZES, N_LANDMARKS, N_TARGETS = (400, 4_000, 88_807), 943, 100
LAMBDA, NEAREST = 0.02, SampleLassoConfig.nearest


def theirs(
    search: NearestNeighbors, landmarks: Float32, targets: Float32, profiles: Float32
) -> NDArray[np.float64]:
    """Infer with scikit-learn, one profile after the other."""
    nearest = search.kneighbors(profiles, return_distance=False)
    lasso = Lasso(LAMBDA, fit_intercept=False)
    inferred = []
    for x, near in zip(profiles.astype(float), nearest, strict=True):
        inferred.append(lasso.fit(landmarks[near].T.astype(float), x).coef_ @ targets[near])
    return np.array(inferred)


def measure(options: argparse.Namespace) -> Report:
    """Measure all of it."""
    small = options.small
    sizes, n_landmarks = ((30, 60), 20) if small else (SIZES, N_LANDMARKS)
    nearest, n_ours, n_theirs = (40, 4, 2) if small else (NEAREST, BATCH, 8)
    lines, rows = [], []
    with tempfile.TemporaryDirectory() as name:
        progress(f"making {max(sizes):,} profiles up")
        write_study(Path(name), {"tr": max(sizes), "te": n_ours}, n_landmarks, N_TARGETS)
        study = load_study(Path(name))
        profiles = study.X["te"]
        for n in sizes:
            progress(f"{n:,} training profiles")
            X, Y = study.X["tr"][:n], study.Y["tr"][:n]
            settings = {"lambda": LAMBDA, "nearest": nearest}
            model = SampleLassoModel(settings, {"landmarks": X, "targets": Y})
            # What a model makes once: inner products of the training profiles.
            model.predict(profiles[:1])
            search = NearestNeighbors(n_neighbors=min(n, nearest), algorithm="brute").fit(X)
            times = paired(
                {
                    "ours": partial(model.predict, profiles),
                    "theirs": partial(theirs, search, X, Y, profiles[:n_theirs]),
                },
                1 if small else 2,
                warmups=0,
            )
            ours, peer = times["ours"].per(n_ours), times["theirs"].per(n_theirs)
            what = f"{n:,} training profiles"
            lines.append(Line(what, ours, "scikit-learn", peer))
            drawn = model.weights(profiles).nnz / n_ours
            rates = (f"{1 / one.median:,.0f}" for one in (ours, peer))
            rows.append((what, *rates, f"{drawn:.0f}"))
    header = ("", "profiles/s", "scikit-learn", "drawn on")
    return Report(
        NAME,
        f"SampleLASSO, {n_landmarks} landmarks to {N_TARGETS} targets, lambda {LAMBDA}",
        lines,
        tables=[("Rates", Table(header, tuple(rows)))],
        notes=[
            f"ours {n_ours} profiles at a time, scikit-learn's Lasso (tol 1e-4) {n_theirs} of them",
            "drawn on: training profiles with a weight, mean",
        ],
    )


main = script(NAME, __doc__ or "", measure)

if __name__ == "__main__":
    sys.exit(main())
