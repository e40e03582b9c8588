"""One network trained from several seeds, to know how much of an error is the luck of its start.

A seed draws the initial weights and the dropout masks. Batch orders and monitored profiles are the
original's whatever the seed (`pylearn2`), so the spread is that of the start and the masks alone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError, DivergedError, Stopped, StudyError
from dgex_jax.io.files import atomic_path, reading
from dgex_jax.io.manifest import drop_sidecar, file_sha256, record, write_sidecar
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.record import CONFIG, DONE, is_done, read_gene_errors
from dgex_jax.train.run import refuse_folder, run_config
from dgex_jax.train.train import Conduct, train_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import jax
    import pandas as pd

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.prepare.prepared import Prepared

TABLE = "seeds.tsv"


def seed_configs(training: TrainingConfig, seeds: Sequence[int]) -> dict[int, TrainingConfig]:
    """Return the configuration of each seed; `StudyError` if one is given twice."""
    for place, seed in enumerate(seeds):
        if seed in seeds[:place]:
            raise StudyError(f"seeds: {seed} is given twice")
    return {seed: dataclasses.replace(training, seed=seed) for seed in seeds}


def train_seeds(
    study: Prepared,
    network: NetworkConfig,
    training: Mapping[int, TrainingConfig],
    runs: Path,
    devices: Sequence[jax.Device],
    conduct: Conduct,
) -> dict[Path, bool]:
    """Train a network once a seed, a folder each in `runs`, and write ``seeds.tsv`` beside them.

    Each run is the one that `train_runs` makes with that seed alone, to the bit, and is resumed or
    left as it is as there. `training` is what `seed_configs` gives. Returns, for each run folder,
    whether it was trained now. Raises as `train_runs`, or `DgexError` if `runs` is itself a run
    folder; every folder is looked at before the first is trained.
    """
    if runs.is_file():
        raise DgexError(f"{runs}: is a file, not a folder of runs")
    if (runs / CONFIG).exists():
        raise DgexError(f"{runs}: is a run folder, several seeds need a folder of their own")
    folders = {seed: runs / f"seed-{seed}" for seed in training}
    configs = {seed: run_config(study, network, own) for seed, own in training.items()}
    missing = [seed for seed in training if not is_done(folders[seed], configs[seed])]
    for seed in missing:
        refuse_folder(folders[seed], configs[seed], conduct.overwrite)
    # Only then: a study that can't be read leaves no trace.
    arrays = load_arrays(study, training[missing[0]].halves) if missing else None
    table = runs / TABLE
    if missing:
        # A table of other runs must not lie beside these if training is interrupted.
        drop_sidecar(table)
        try:
            table.unlink(missing_ok=True)
        except OSError as error:
            raise DgexError(f"{table}: can't be removed: {error.strerror}") from error
    trained = dict.fromkeys(folders.values(), False)
    for number, seed in enumerate(missing):
        if number and conduct.request.asked:
            raise Stopped(
                f"stopped before seed {seed}; the same command resumes from there",
                conduct.request.signal_number or 0,
            )

        def report(network: NetworkConfig, done: int, line: str, seed: int = seed) -> None:
            conduct.report(network, done, f"seed {seed}: {line}")

        try:
            trained[folders[seed]] = train_runs(
                study,
                [network],
                training[seed],
                [folders[seed]],
                devices,
                arrays=arrays,
                conduct=dataclasses.replace(conduct, report=report),
            )
        except DivergedError as error:
            raise DivergedError(f"seed {seed}: {error}") from error
    errors = read_seed_errors(runs, training)
    drop_sidecar(table)
    write_seed_errors(table, errors)
    write_sidecar(table, _made(runs, training))
    return trained


def _made(runs: Path, training: Mapping[int, TrainingConfig]) -> dict[str, Any]:
    with reading(runs):
        inputs = {
            f"seed {seed}": {
                "name": f"seed-{seed}/{DONE}",
                "sha256": file_sha256(runs / f"seed-{seed}" / DONE),
            }
            for seed in training
        }
    precision = next(iter(training.values())).precision
    drawn = {"weights and dropout masks": list(training)}
    return record("dgex train", precision=precision, inputs=inputs, seeds=drawn)


def read_seed_errors(runs: Path, seeds: Iterable[int]) -> pd.DataFrame:
    """Read the overall errors of finished runs: a line for each seed and part.

    Columns ``seed``, ``part``, ``targets`` (their number), and in standardised units ``MAE``, the
    mean over targets, and ``sd_over_genes`` (ddof 0).
    """
    import pandas as pd  # noqa: PLC0415  (a run starts sooner without it)

    rows = [
        (seed, part, len(mae), mae.mean(), mae.std())
        for seed in seeds
        for part, mae in read_gene_errors(runs / f"seed-{seed}" / "errors.tsv").mae.items()
    ]
    return pd.DataFrame(rows, columns=["seed", "part", "targets", "MAE", "sd_over_genes"])


def write_seed_errors(path: Path, errors: pd.DataFrame) -> None:
    """Write them tab-separated, with all digits of a float64; the same runs give the same bytes."""
    with atomic_path(path) as temporary:
        errors.to_csv(temporary, sep="\t", index=False)
