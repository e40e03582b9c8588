"""How a command goes about its work; nothing here changes a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Launcher = Literal["here", "slurm", "local"]


@dataclass(frozen=True)
class Options:
    """How networks are trained.

    Attributes
    ----------
    gpus
        GPUs to use (of each job, with a launcher); ``None`` takes what is there.
    wait
        Wait for another command that works on the same output; else leave with an error.
    launcher
        ``here`` trains in this process, ``slurm`` in jobs of a cluster, ``local`` in processes of
        this machine, the way jobs would run.
    partition, minutes
        Of the jobs; ``None`` takes the study's.
    """

    gpus: int | None = None
    wait: bool = True
    launcher: Launcher = "here"
    partition: str | None = None
    minutes: int | None = None
