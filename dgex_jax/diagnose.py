"""What a report of a fault must say of the installation and the machine: ``dgex --diagnose``.

It is made to be shown to strangers: no path, no name of a user or host, and no value of an
environment variable that could hold one.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from getpass import getuser
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgex_jax import __version__
from dgex_jax.compiled import cache_folder
from dgex_jax.io.manifest import commit, processor
from dgex_jax.io.progress import machine_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "numpy", "scipy"),
    *("h5py", "pandas", "scikit-learn", "safetensors", "threadpoolctl"),
)
OPTIONAL = (
    *("anndata", "zarr", "pyarrow", "matplotlib", "jinja2"),
    *("submitit", "jax-cuda12-plugin", "jax-cuda13-plugin"),
)

SETTINGS = re.compile(
    "(?:JAX|XLA|TF_CPP|CUDA|NVIDIA|OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR)_[A-Z0-9_]+"
    "|HDF5_USE_FILE_LOCKING|LD_LIBRARY_PATH|LD_PRELOAD|PYTHONPATH|TMPDIR|XDG_CACHE_HOME"
)
"""Environment variables that change what the software does."""

HARMLESS = re.compile(
    r"\d+(?:\.\d+)?|true|false|on|off|yes|no|none|cpu|gpu|cuda|rocm|tpu|metal"
    "|default|high|highest|tensorfloat32|float32|bfloat16|strict|standard|allow|warn|raise|error",
    re.IGNORECASE,
)
"""Words of a value that name no person, host or place."""

MIB, GIB = 1 << 20, 1 << 30
LONGEST = 500


def diagnose() -> dict[str, Any]:
    """Look at the installation and the machine, as JSON values; what is broken is told, not raised.

    JAX is loaded and starts its devices. Nothing is written.
    """
    environment = dict(os.environ)  # as the user set it: libraries set some when they are loaded
    from threadpoolctl import threadpool_info  # noqa: PLC0415 (which sets one, too)

    devices = _devices()
    try:  # both have a BLAS of their own
        import numpy as np  # noqa: F401, PLC0415
        import scipy.linalg  # noqa: F401, PLC0415
    except Exception as error:  # noqa: BLE001 (what can't be loaded fails as it likes)
        devices["problems"].append(f"NumPy or SciPy: {_one_line(error)}")
    threads: list[dict[str, Any]] = []
    for pool in threadpool_info():
        keys = ("internal_api", "version", "num_threads", "threading_layer", "architecture")
        told = {key: pool[key] for key in keys if pool.get(key) is not None}
        threads += [told] if told not in threads else []
    return {
        "software": _software(),
        "system": _system(),
        "packages": {name: _version(name) for name in PACKAGES},
        "optional_packages": {name: _version(name) for name in OPTIONAL},
        **devices,
        "threads": threads,
        "environment": {
            name: _harmless(name, value)
            for name, value in sorted(environment.items())
            if SETTINGS.fullmatch(name)
        },
        "compiled_programs": _compiled(),
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Say what `diagnose` found, a line for each subject."""
    software, system = found["software"], found["system"]
    at = f", commit {software['commit'][:10]}" if software["commit"] else ""
    yield f"dgex-jax {software['version']} ({software['installed']}, {software['environment']}{at})"
    yield f"Python {system['python']}; {system['os']} {system['machine']}"
    yield (
        f"processor: {system['processor']}, {system['usable_cores']} of {system['cores']} cores, "
        f"{system['memory_gib']} GiB"
    )
    for kind in ("packages", "optional_packages"):
        names = found[kind]
        here = [f"{name} {one}" for name, one in names.items() if one is not None]
        missing = [name for name, one in names.items() if one is None]
        lack = f"; not installed: {', '.join(missing)}" if missing else ""
        yield f"{kind.replace('_', ' ')}: {', '.join(here) or 'none'}{lack}"
    devices = [
        f"{one['count']} x {one['kind']} ({one['platform']}"
        + (f", {one['memory_gib']} GiB for JAX)" if one["memory_gib"] is not None else ")")
        for one in found["devices"]
    ]
    driver = f"; NVIDIA driver {found['nvidia_driver']}" if found["nvidia_driver"] else ""
    yield f"devices of JAX: {', '.join(devices) or 'none'}{driver}"
    for problem in found["problems"]:
        yield f"problem: {problem}"
    threads = [
        " ".join(one[key] for key in ("internal_api", "version", "architecture") if key in one)
        + f" with {one['num_threads']}"
        for one in found["threads"]
    ]
    yield f"threads: {', '.join(threads) or 'unknown'}"
    settings = [
        name if value is None else f"{name}={value}" for name, value in found["environment"].items()
    ]
    yield f"environment: {', '.join(settings) or 'nothing set'}"
    yield f"compiled programs: {_compiled_words(found['compiled_programs'])}"


def _compiled_words(compiled: dict[str, Any]) -> str:
    kept = f"kept in {compiled['where']}" if compiled["on"] else f"not kept: {compiled['why']}"
    if compiled["programs"] is None:
        return kept
    return f"{kept}; {compiled['programs']} there, {compiled['mib']} MiB"


def _software() -> dict[str, Any]:
    installed = "not installed"
    try:
        direct = distribution("dgex-jax").read_text("direct_url.json") or ""
        installed = "editable" if '"editable": true' in direct else "installed"
        if (of_pip := version("dgex-jax")) != __version__:
            installed = f"{of_pip} is installed"
    except PackageNotFoundError:
        pass
    own = "virtual environment" if sys.prefix != sys.base_prefix else "the system's Python"
    conda = Path(sys.prefix, "conda-meta").is_dir()
    return {
        "version": __version__,
        "commit": commit(),
        "installed": installed,
        "environment": "conda" if conda else own,
    }


def _system() -> dict[str, Any]:
    linux = hasattr(os, "sched_getaffinity")
    return {
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "os": _operating_system(),
        "machine": platform.machine(),
        "processor": processor().get("model name", "unknown"),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1,
        "memory_gib": round(machine_memory() / GIB, 1),
    }


def _operating_system() -> str:
    """Name the system by numbers alone: whoever built a kernel or an image may have named it."""
    parts = [platform.system()]
    if platform.system() == "Darwin":
        parts = ["macOS", platform.mac_ver()[0]]
    else:
        release = re.match(r"\d+(?:\.\d+)*", platform.release())
        parts += [release[0]] if release else []
    try:
        of_linux = platform.freedesktop_os_release()
    except OSError:
        of_linux = {}
    name = " ".join(of_linux.get(key, "") for key in ("ID", "VERSION_ID")).strip()
    libc = " ".join(platform.libc_ver()).strip()
    return ", ".join([" ".join(parts), *filter(None, (_without_places(name), libc))])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    """Give JAX's devices, kind by kind, and what went wrong when it started them."""
    found: Counter[tuple[str, str, float | None]] = Counter()
    with _said_by_jax() as problems:
        try:
            import jax  # noqa: PLC0415

            for device in jax.local_devices():
                of_memory = device.memory_stats() or {}
                memory = of_memory.get("bytes_limit")
                gib = None if memory is None else round(memory / GIB, 1)
                found[device.platform, device.device_kind, gib] += 1
        except Exception as error:  # noqa: BLE001 (JAX fails as it likes, by AssertionError too)
            problems.append(f"JAX: {_one_line(error)}")
    return {
        "devices": [
            {"platform": of, "kind": kind, "memory_gib": memory, "count": count}
            for (of, kind, memory), count in found.items()
        ],
        "nvidia_driver": _nvidia_driver(),
        "problems": problems,
    }


@contextmanager
def _said_by_jax() -> Iterator[list[str]]:
    """Collect what JAX logs and warns of, a line each, in place of tracebacks."""
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            cause = record.exc_info[1] if record.exc_info else None
            text = _without_places(record.getMessage())
            said.append(f"{text}: {_one_line(cause)}" if cause else text)

    logger = logging.getLogger("jax")
    before = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [Collect(logging.WARNING)], False
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield said
        said += [f"{one.category.__name__}: {_without_places(str(one.message))}" for one in warned]
    finally:
        logger.handlers, logger.propagate = before


def _nvidia_driver() -> str | None:
    """Version of NVIDIA's kernel driver, where there is one (Linux)."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    number = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return number[0] if number else "unknown"


def _harmless(name: str, value: str) -> str | None:
    """Give the value of a variable where each word of it is `HARMLESS`; of flags, those that are.

    ``None`` stands for: set, to something that isn't shown.
    """
    if name == "XLA_FLAGS":
        return " ".join(map(_flag, value.split()))
    words = re.split("[,: ]+", value)
    return value if all(not word or HARMLESS.fullmatch(word) for word in words) else None


def _flag(text: str) -> str:
    name, equals, value = text.partition("=")
    if not re.fullmatch("--(?:no)?xla_[a-z0-9_]+", name):
        return "…"
    return text if not equals or HARMLESS.fullmatch(value) else f"{name}=…"


def _compiled() -> dict[str, Any]:
    """Say whether compiled programs are kept between commands, how many there are and how large."""
    found: dict[str, Any] = {"on": False, "programs": None, "mib": None}
    try:
        import jax  # noqa: PLC0415
    except Exception:  # noqa: BLE001 (told among the problems)
        return {**found, "why": "JAX can't be loaded"}
    config = jax.config
    if not config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return {**found, "why": "JAX_ENABLE_COMPILATION_CACHE"}
    told: str | None = config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    folder = cache_folder() if told is None else Path(told)
    if folder is None:
        return {**found, "why": "there is no home folder"}
    if told is not None and "://" in told:
        return {**found, "on": True, "where": "JAX_COMPILATION_CACHE_DIR"}
    sizes = []
    try:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        for program in folder.glob("*-cache"):
            with suppress(FileNotFoundError):  # JAX removes the oldest at any time
                sizes.append(program.stat().st_size)
    except OSError:
        usable = False
    if not usable:
        return {**found, "why": "the folder for them can't be written to"}
    return {
        "on": True,
        "where": "the user's cache" if told is None else "JAX_COMPILATION_CACHE_DIR",
        "programs": len(sizes),
        "mib": round(sum(sizes) / MIB, 1),
    }


def _one_line(error: BaseException | Warning) -> str:
    kind, text = type(error).__name__, _without_places(str(error))
    return f"{kind}: {text}" if text else kind


def _without_places(text: str) -> str:
    """Make one line of a library's message, without words that could be paths, users or hosts."""
    home, names = _own_names()
    for place in filter(None, (home, sys.prefix)):  # they may hold blanks
        text = text.replace(place, "/…")
    words = [
        "…" if re.search(r"[/\\]", one) or names & set(re.split(r"\W+", one)) else one
        for one in text.split()
    ]
    line = " ".join(words)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def _own_names() -> tuple[str, set[str]]:
    """Give the home folder, and what user and host are called; empty where the system won't say."""
    home, names = "", set(platform.node().split("."))
    with suppress(RuntimeError):
        home = str(Path.home())
        names.add(Path.home().name)
    with suppress(KeyError, OSError):
        names.add(getuser())
    return home if len(home) > 1 else "", names - {""}
