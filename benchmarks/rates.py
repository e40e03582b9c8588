"""What the machine can do at best, measured on the spot: the bounds that times are held against."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

GIGA = 1e9


def quickest(call: Callable[[], object], at_least: float) -> float:
    """Seconds of the quickest of several calls that take `at_least` seconds together."""
    call()
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < at_least:
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
    return best


def product_operations(rows: int, inner: int, columns: int) -> int:
    """Floating-point operations of one matrix product."""
    return 2 * rows * inner * columns


def jax_product_rate(size: int = 2048, precision: str = "highest", seconds: float = 1.0) -> float:
    """Operations a second of a float32 product of two square matrices in JAX.

    - `size`: rows of the matrices.
    - `precision`: JAX's name: ``highest``, or ``tensorfloat32`` on a GPU.
    - `seconds`: how long to measure.
    """
    a = jax.device_put(square(size))
    product = jax.jit(lambda x: jnp.matmul(x, x, precision=precision))
    best = quickest(lambda: product(a).block_until_ready(), seconds)
    return product_operations(size, size, size) / best


def numpy_product_rate(size: int = 2048, seconds: float = 1.0) -> float:
    """Operations a second of the same product in NumPy (its BLAS)."""
    a = square(size)
    return product_operations(size, size, size) / quickest(lambda: a @ a, seconds)


def square(size: int) -> NDArray[np.float32]:
    """Draw numbers, ``(size, size)`` float32."""
    return np.random.default_rng(0).standard_normal((size, size), np.float32)


def stream_rate(megabytes: int = 256, seconds: float = 1.0) -> float:
    """Bytes a second, read and written together, of ``x + 1`` in JAX on its first device."""
    x = jax.device_put(np.zeros(megabytes * 2**20 // 4, np.float32))
    add = jax.jit(lambda x: x + 1)
    return 2.0 * int(x.nbytes) / quickest(lambda: add(x).block_until_ready(), seconds)


def copy_rate(megabytes: int = 256, seconds: float = 1.0) -> float:
    """Bytes a second, read and written together, of a copy in NumPy (one core)."""
    source = np.zeros(megabytes * 2**20 // 4, np.float32)
    target = np.ones_like(source)
    return 2 * source.nbytes / quickest(lambda: np.copyto(target, source), seconds)


def disk_write_rate(folder: Path, megabytes: int = 256) -> float:
    """Bytes a second of one new file in `folder`, written in order and fsynced; removed again."""
    block = np.random.default_rng(0).bytes(2**20)
    path = folder / f".{secrets.token_hex(6)}.rate"
    try:
        start = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return megabytes * len(block) / (time.perf_counter() - start)
    finally:
        path.unlink(missing_ok=True)
