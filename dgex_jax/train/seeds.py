"""One network trained from several seeds, to know how much of an error is the luck of its start.

A seed draws the initial weights and the dropout masks. Batch orders and monitored profiles are the
original's whatever the seed (`pylearn2`), so the spread is that of the start and the masks alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError, DivergedError, Stopped, StudyError
from dgex_jax.io.files import atomic_path, one_line
from dgex_jax.io.manifest import drop_sidecar, file_sha256, record, write_sidecar
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.record import CONFIG, DONE, is_done, read_gene_errors
from dgex_jax.train.run import refuse_folder, run_config
from dgex_jax.train.train import Conduct, train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import jax
    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.prepare.prepared import Prepared

TABLE = "seeds.tsv"


@dataclass(frozen=True)
class SeedErrors:
    """Overall errors of a network by seed, in standardised units.

    `parts` are those of a run's ``errors.tsv``; `mean`, over `n_targets` genes, of their MAE, and
    `sd_over_genes` (ddof 0) are ``(n_seeds, n_parts)`` float64.
    """

    seeds: tuple[int, ...]
    parts: tuple[str, ...]
    n_targets: int
    mean: NDArray[np.float64]
    sd_over_genes: NDArray[np.float64]

    def over_seeds(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Mean ``(n_parts,)`` over seeds and deviation (ddof 1; ``None`` for one seed)."""
        mean: NDArray[np.float64] = self.mean.mean(axis=0)
        return mean, self.mean.std(axis=0, ddof=1) if len(self.seeds) > 1 else None


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
    folders = {seed: _folder(runs, seed) for seed in training}
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
    errors = read_seed_errors(runs, tuple(training))
    drop_sidecar(table)
    write_seed_errors(table, errors)
    write_sidecar(table, _made(folders, training))
    return trained


def _folder(runs: Path, seed: int) -> Path:
    return runs / f"seed-{seed}"


def _made(folders: Mapping[int, Path], training: Mapping[int, TrainingConfig]) -> dict[str, Any]:
    inputs = {}
    for seed, folder in folders.items():
        try:
            checksum = file_sha256(folder / DONE)
        except OSError as error:
            raise DgexError(f"{folder.parent}: can't be read: {one_line(error)}") from error
        inputs[f"seed {seed}"] = {"name": f"{folder.name}/{DONE}", "sha256": checksum}
    precision = next(iter(training.values())).precision
    drawn = {"weights and dropout masks": list(training)}
    return record("dgex train", precision=precision, inputs=inputs, seeds=drawn)


def read_seed_errors(runs: Path, seeds: tuple[int, ...]) -> SeedErrors:
    """Read the overall errors of finished runs; raises as `read_gene_errors`."""
    by_seed = [read_gene_errors(_folder(runs, seed) / "errors.tsv").mae for seed in seeds]
    errors = np.stack([np.stack(list(mae.values())) for mae in by_seed])
    return SeedErrors(
        seeds, tuple(by_seed[0]), errors.shape[2], errors.mean(axis=2), errors.std(axis=2)
    )


def write_seed_errors(path: Path, errors: SeedErrors) -> None:
    """Write a tab-separated line for each seed and part, with all digits of a float64."""
    lines = ["seed\tpart\ttargets\tMAE\tsd_over_genes"]
    for seed, means, sds in zip(
        errors.seeds, errors.mean.tolist(), errors.sd_over_genes.tolist(), strict=True
    ):
        for part, mean, sd in zip(errors.parts, means, sds, strict=True):
            lines.append(f"{seed}\t{part}\t{errors.n_targets}\t{mean!r}\t{sd!r}")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
