"""What stands between a command and its first epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.random_study import random_study
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.training.epoch import MASK_GENERATOR
from dgex_jax.training.start import initial_states, mask_key

COMPILED = "/jax/core/compile/backend_compile_duration"
GOLDEN = Path(__file__).parents[1] / "golden"


def test_initial_states_need_no_program() -> None:
    """Each would be compiled at every start: at a shape no other test uses, none is found ready."""
    names: list[str] = []
    # JAX has no way to take one listener away again; this one costs nothing.
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, _seconds, **_: names.append(name)
    )
    arrays = random_study(5, 7, 43, 2)
    with jax.enable_x64(True):
        initial_states(arrays, NetworkConfig(2, 37, 0.1), TrainingConfig())
        assert COMPILED not in names
        jax.numpy.zeros((37, 43, 41)).block_until_ready()  # type: ignore[no-untyped-call]
    assert COMPILED in names


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_mask_keys_are_those_of_jax(seed: int, half: int) -> None:
    expected = jax.random.fold_in(jax.random.key(seed, impl=MASK_GENERATOR), half)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(mask_key(seed, half), jax.random.key_data(expected))


def test_first_epoch_comes_before_what_only_results_need(tmp_path: Path) -> None:
    code = """
import sys
import dgex_jax.training.runlog as runlog
append = runlog.RunLog.append
def look(self, record):
    append(self, record)
    print(sorted({"pandas", "sklearn", "scipy", "zarr", "anndata"} & sys.modules.keys()))
runlog.RunLog.append = look
from dgex_jax.cli import main
sys.exit(main())
"""
    study = GOLDEN / "study_a.npz"
    words = ["train", str(study), "-o", str(tmp_path / "run"), "-q", "--epochs", "1"]
    small = ["--hidden-layers", "1", "--units", "4"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, *small],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == "[]"
