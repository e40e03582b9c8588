"""What a random split hides: ridge on held-out profiles, at random and by whole groups.

``python -m benchmarks.splits STUDY.toml`` prepares a study with ``split_by`` both ways for several
seeds; lambda is chosen on the validation part, the error is that on the test part.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import describe
from dgex_jax.baselines.linear import ridge_path
from dgex_jax.cli_options import OneLineParser, run_command
from dgex_jax.errors import StudyError
from dgex_jax.prepare.prepare import prepare
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.study import read_study
from dgex_jax.rawfiles import StudyFiles
from dgex_jax.scores import mae_per_gene

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dgex_jax.prepare.study import Study


def ridge_error(study: Study, seed: int, *, by_group: bool) -> float:
    """Prepare a study with one seed, and give the overall error of ridge on its test part."""
    if not isinstance(study.files, StudyFiles) or study.files.compendium.split_by is None:
        raise StudyError(f"study {study.name}: needs [compendium] split_by")
    files = study.files
    if not by_group:
        alone = dataclasses.replace(files.compendium, split_by=None)
        files = dataclasses.replace(files, compendium=alone)
    config = dataclasses.replace(study.prepare, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.h5"
        prepare(files, path, config, name=study.name, title=study.title, simulated=False)
        with open_prepared(path) as prepared:
            X, Y = (
                {part: getattr(prepared, kind)(part) for part in ("tr", "va", "te")}
                for kind in "XY"
            )
    fits = ridge_path(X["tr"], Y["tr"], study.baselines.l2_lambdas[::-1])
    errors = [
        [float(mae_per_gene(fit.predict(X[part]), Y[part]).mean()) for part in ("va", "te")]
        for fit in fits
    ]
    return min(errors)[1]


def measure(options: argparse.Namespace) -> None:
    """Print a line for each seed."""
    study = read_study(options.study)
    print(describe())
    rows = []
    for seed in options.seeds:
        rows.append([ridge_error(study, seed, by_group=by_group) for by_group in (False, True)])
        print(f"seed {seed}: at random {rows[-1][0]:.4f}, by groups {rows[-1][1]:.4f}", flush=True)
    mean = np.mean(rows, axis=0)
    print(f"mean: at random {mean[0]:.4f}, by groups {mean[1]:.4f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    command = OneLineParser(
        prog="python -m benchmarks.splits",
        description="Ridge on held-out profiles, at random and by whole groups.",
        allow_abbrev=False,
    )
    command.add_argument("study", type=Path, help="a study with [compendium] split_by")
    command.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    command.set_defaults(run=measure)
    return run_command(command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
