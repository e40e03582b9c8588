"""Networks as jobs of a cluster, through submitit; they leave what training here leaves."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError, Stopped
from dgex_jax.io.files import make_folder
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.run import stop_on_signals
from reproduce.workspace import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dgex_jax.config import NetworkConfig
    from reproduce.workspace import Workspace

    NetworkGroup = tuple[NetworkConfig, ...]

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_LINES = 30.0
STDERR = 2


class GroupJob:
    """One group's training as a job; called again after a preemption, it resumes.

    `train` is `grid.train_here`, which launches this one.
    """

    def __init__(
        self,
        space: Workspace,
        networks: NetworkGroup,
        gpus: int | None,
        train: Callable[..., None],
    ) -> None:
        self.space, self.networks, self.gpus, self.train = space, networks, gpus, train

    def __call__(self) -> None:
        """Train what is missing of the group, from its newest checkpoint."""
        space = self.space
        with open_prepared(space.prepared) as study:
            arrays = load_arrays(study, space.study.training.halves)
            self.train(space, study, arrays, [self.networks], Options(gpus=self.gpus))

    def checkpoint(self) -> Any:
        """Ask for a second start after a preemption (submitit calls this in the job)."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 (an optional extra)

        return DelayedSubmission(self)


def launch(
    space: Workspace,
    groups: Sequence[NetworkGroup],
    options: Options,
    train: Callable[..., None],
) -> None:
    """Train the groups as jobs and wait for them; a stop cancels those that are not done.

    Raises `DgexError`: submitit is not installed, there is no such cluster here, or a job failed
    (its log is named; the networks of the other jobs are kept); `Stopped`: on SIGINT or SIGTERM.
    """
    executor = job_executor(space, options)
    make_folder(executor.folder)
    with errors_into(executor.folder / "launcher.log"), executor.batch():
        jobs = [executor.submit(GroupJob(space, group, options.gpus, train)) for group in groups]
    names = {
        job.job_id: ", ".join(one.name for one in group)
        for job, group in zip(jobs, groups, strict=True)
    }
    print(
        f"{len(jobs)} jobs submitted, first {jobs[0].job_id}; logs in {executor.folder}", flush=True
    )
    with stop_on_signals() as request:
        last_line = time.monotonic()
        while not all(job.done() for job in jobs):
            if request.asked:
                for job in jobs:
                    job.cancel()
                raise Stopped(
                    "stopped, and its jobs cancelled; the same command resumes",
                    request.signal_number or 0,
                )
            if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                n_done = sum(job.done() for job in jobs)
                print(f"{n_done} of {len(jobs)} jobs done", flush=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    for job in jobs:
        error = job.exception()
        if error is not None:
            raise DgexError(
                f"{names[job.job_id]}: its job failed: {cause_of(error)} (see {job.paths.stderr})"
            )


@contextmanager
def errors_into(log: Path) -> Iterator[None]:
    """Add to `log` what processes that start meanwhile ever say on standard error.

    One of submitit's watches over each local job, and ends in a traceback when it is cancelled.
    """
    sys.stderr.flush()
    ours = os.dup(STDERR)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), STDERR)
        yield
    finally:
        os.dup2(ours, STDERR)
        os.close(ours)


def cause_of(error: BaseException) -> str:
    """Find the line that matters in submitit's report of a failed job."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    for line, following in pairwise(lines):
        # A trace stands between two rulers; its last line is the exception.
        if set(following) == {"-"} and not line.endswith(":"):
            return line.partition(": ")[2] or line
    return lines[0] if lines else type(error).__name__


def job_executor(space: Workspace, options: Options) -> Any:
    """Set submitit up: one task a job, so many minutes, on that partition.

    Raises `DgexError`: submitit is not installed, or there is no such cluster here.
    """
    try:
        import submitit  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        raise DgexError(
            f"--launcher {options.launcher} needs submitit: pip install 'dgex-jax[slurm]'"
        ) from error
    jobs = space.study.jobs
    partition = options.partition or jobs.partition
    folder = (space.results / "jobs").resolve()
    try:
        executor = submitit.AutoExecutor(folder, cluster=options.launcher)
    except (RuntimeError, OSError) as error:
        raise DgexError(f"--launcher {options.launcher}: {error}") from error
    executor.update_parameters(
        name=f"dgex-{space.study.name}",
        timeout_min=options.minutes or jobs.minutes,
        cpus_per_task=jobs.cpus,
        mem_gb=jobs.memory_gb,
        gpus_per_node=options.gpus or 0,
        slurm_array_parallelism=jobs.parallel,
        **({"slurm_partition": partition} if partition else {}),
    )
    return executor
