"""Strict numerics for every test, two CPU devices, and where the recorded files lie."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUM_CPU_DEVICES"] = "2"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

# Many tests compile the same program, most in processes of their own: once a session is enough,
# or once for several sessions that are given one folder.
if "DGEX_TEST_COMPILED" not in os.environ:
    os.environ["DGEX_TEST_COMPILED"] = tempfile.mkdtemp(prefix="dgex-test-compiled-")
    atexit.register(shutil.rmtree, os.environ["DGEX_TEST_COMPILED"], ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["DGEX_TEST_COMPILED"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """Compile in half the time (`tests.compiling`), for ``pytest.mark.usefixtures``."""
    # Not above: what is set there must be set before JAX is imported.
    from tests.compiling import compiled_quickly

    with compiled_quickly():
        yield


@pytest.fixture
def golden() -> Path:
    """The recorded behaviour of the original software (see tests/golden/README.md)."""
    return GOLDEN


@pytest.fixture
def shared() -> Path:
    """Real data beside the checkout; the test is skipped where it is missing."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real data in ../shared, which is not here")
    return SHARED
