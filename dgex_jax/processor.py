"""The processor of this machine, by what decides which programs it runs and how it adds up."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> dict[str, str]:
    """Name the processor and what it can: by that libraries choose instructions, and an order.

    Returns
    -------
    dict of str to str
        ``machine``, and where the system tells (Linux does) ``model name`` and ``flags`` (ARM:
        ``Features``) of the first core.
    """
    described = {"machine": platform.machine()}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return described
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "flags", "Features"}:
            described.setdefault(name.strip(), value.strip())
    return described
