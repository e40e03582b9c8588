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
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.provenance import drop_sidecar, file_sha256, record, write_sidecar
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.geneerrors import read_gene_errors
from dgex_jax.training.record import DONE, is_done
from dgex_jax.training.run import Conduct, run_config, train_runs
from dgex_jax.training.runfolder import refuse_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import jax
    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.data.prepared import Prepared

TABLE = "seeds.tsv"


@dataclass(frozen=True)
class SeedErrors:
    """Overall errors of a network by seed, in standardised units.

    Attributes
    ----------
    seeds
        In the order asked for.
    parts
        Of the study, as in a run's ``errors.tsv``.
    n_targets
        Genes that each error is the mean over.
    mean
        ``(n_seeds, n_parts)`` float64: mean over genes of their MAE.
    sd_over_genes
        ``(n_seeds, n_parts)`` float64: standard deviation of that MAE over the genes (ddof 0).
    """

    seeds: tuple[int, ...]
    parts: tuple[str, ...]
    n_targets: int
    mean: NDArray[np.float64]
    sd_over_genes: NDArray[np.float64]

    def over_seeds(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Mean ``(n_parts,)`` of the seeds' overall errors, and their standard deviation (ddof 1).

        The deviation is ``None`` for a single seed.
        """
        mean: NDArray[np.float64] = self.mean.mean(axis=0)
        return mean, self.mean.std(axis=0, ddof=1) if len(self.seeds) > 1 else None


def seed_folder(runs: Path, seed: int) -> Path:
    """Name the run folder of a seed."""
    return runs / f"seed-{seed}"


def seed_configs(training: TrainingConfig, seeds: Sequence[int]) -> dict[int, TrainingConfig]:
    """Return the configuration of each seed.

    Raises
    ------
    StudyError
        A seed is given twice, or can't be one.
    """
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
    """Train a network once a seed, a run folder each, and write ``seeds.tsv`` beside them.

    Each run is the one that ``train_runs`` makes with that seed alone, to the bit; those that are
    finished are left as they are, one that was cut short goes on.

    Parameters
    ----------
    study, network, devices
        As for `run.train_runs`.
    training
        What `seed_configs` gives.
    runs
        The folder of the run folders; made if missing.
    conduct
        As for `run.train_runs`; the lines of its report name the seed.

    Returns
    -------
    dict
        Run folder of each seed → whether it was trained now.

    Raises
    ------
    DgexError
        As for `run.train_runs`; or `runs` is itself a run folder. Every folder is looked at before
        the first is trained.
    Stopped
        On request, after a checkpoint or between two seeds.
    """
    _refuse_runs(runs)
    folders = {seed: seed_folder(runs, seed) for seed in training}
    configs = {seed: run_config(study, network, own) for seed, own in training.items()}
    missing = [seed for seed in training if not is_done(folders[seed], configs[seed])]
    for seed in missing:
        refuse_folder(folders[seed], configs[seed], conduct.overwrite)
    # Only then: a study that can't be read leaves no trace.
    arrays = load_arrays(study, training[missing[0]].halves) if missing else None
    if missing:
        # A table of other runs must not lie beside these if training is cut short.
        drop_sidecar(runs / TABLE)
        _remove(runs / TABLE)
    trained = dict.fromkeys(folders.values(), False)
    for number, seed in enumerate(missing):
        if number and conduct.request.asked:
            raise Stopped(
                f"stopped before seed {seed}; the same command goes on from there",
                conduct.request.signal_number or 0,
            )
        try:
            trained[folders[seed]] = train_runs(
                study,
                [network],
                training[seed],
                [folders[seed]],
                devices,
                arrays=arrays,
                conduct=_naming(conduct, seed),
            )
        except DivergedError as error:
            raise DivergedError(f"seed {seed}: {error}") from error
    errors = read_seed_errors(runs, tuple(training))
    drop_sidecar(runs / TABLE)
    write_seed_errors(runs / TABLE, errors)
    write_sidecar(runs / TABLE, _made(runs, training))
    return trained


def _made(runs: Path, training: Mapping[int, TrainingConfig]) -> dict[str, Any]:
    first = next(iter(training.values()))
    try:
        inputs = {
            f"seed {seed}": {
                "name": f"{seed_folder(runs, seed).name}/{DONE}",
                "sha256": file_sha256(seed_folder(runs, seed) / DONE),
            }
            for seed in training
        }
    except OSError as error:
        raise DgexError(f"{runs}: can't be read: {one_line(error)}") from error
    return record(
        "dgex train",
        precision=first.precision,
        inputs=inputs,
        seeds={"weights and dropout masks": list(training)},
    )


def _refuse_runs(runs: Path) -> None:
    if runs.is_file():
        raise DgexError(f"{runs}: is a file, not a folder of runs")
    if (runs / "config.json").exists():
        raise DgexError(f"{runs}: is a run folder, several seeds need a folder of their own")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DgexError(f"{path}: can't be removed: {error.strerror}") from error


def _naming(conduct: Conduct, seed: int) -> Conduct:
    """Let the lines of a report name the seed."""

    def report(network: NetworkConfig, done: int, line: str) -> None:
        conduct.report(network, done, f"seed {seed}: {line}")

    return dataclasses.replace(conduct, report=report)


def read_seed_errors(runs: Path, seeds: tuple[int, ...]) -> SeedErrors:
    """Read the overall errors of finished runs from their ``errors.tsv``.

    Raises
    ------
    FormatError
        Such a file is missing or damaged.
    """
    by_seed = [read_gene_errors(seed_folder(runs, seed) / "errors.tsv").mae for seed in seeds]
    errors = np.stack([np.stack(list(mae.values())) for mae in by_seed])
    return SeedErrors(
        seeds, tuple(by_seed[0]), errors.shape[2], errors.mean(axis=2), errors.std(axis=2)
    )


def write_seed_errors(path: Path, errors: SeedErrors) -> None:
    """Write a line for each seed and part, tab-separated, atomically.

    Columns ``seed``, ``part``, ``targets``, ``MAE``, ``sd_over_genes``: decimal, as many digits as
    give the same float64 again. The same runs give the same bytes.
    """
    lines = ["seed\tpart\ttargets\tMAE\tsd_over_genes"]
    for seed, means, sds in zip(
        errors.seeds, errors.mean.tolist(), errors.sd_over_genes.tolist(), strict=True
    ):
        for part, mean, sd in zip(errors.parts, means, sds, strict=True):
            lines.append(f"{seed}\t{part}\t{errors.n_targets}\t{mean!r}\t{sd!r}")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
