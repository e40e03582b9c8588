"""The machine and the versions that a measurement belongs to; nothing that names a host or user."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from dgex_jax.io.manifest import processor

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = ("jax", "jaxlib", "numpy", "torch", "scikit-learn")


@dataclass(frozen=True)
class Machine:
    """What the times depend on.

    - `cpu`: model of the processor.
    - `cores`: cores this process may use.
    - `memory_gb`: main memory in GiB.
    - `gpus`: name and memory of each GPU.
    - `system`: operating system and architecture.
    - `versions`: program → version; a package that is not installed is left out.
    """

    cpu: str
    cores: int
    memory_gb: float
    gpus: tuple[str, ...]
    system: str
    versions: Mapping[str, str]

    def lines(self) -> list[str]:
        """Say it in two lines."""
        gpu = ", ".join(self.gpus) or "no GPU"
        return [
            f"{self.cores} x {self.cpu}, {self.memory_gb:.0f} GiB, {gpu}, {self.system}",
            ", ".join(f"{name} {one}" for name, one in self.versions.items()),
        ]


def describe() -> Machine:
    """Look at this machine."""
    release = ".".join(platform.release().split(".")[:2])
    return Machine(
        cpu=cpu_model(),
        cores=usable_cores(),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        gpus=gpu_names(),
        system=f"{platform.system()} {release} {platform.machine()}",
        versions=versions(),
    )


def usable_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """Name the processor."""
    name = " ".join(processor().get("model name", "").split())
    return name or output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def gpu_names() -> tuple[str, ...]:
    """Name NVIDIA's GPUs with their memory; empty without any."""
    listed = output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return tuple(" ".join(line.replace(",", "").split()) for line in listed.splitlines())


def output(program: str, *arguments: str) -> str:
    """Return what a program prints, empty if it is missing or fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    done = subprocess.run(  # noqa: S603  (a fixed command of the system)
        [path, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose speed is measured."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
