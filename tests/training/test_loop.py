"""The loop: padding, precision of the process, donation, compilation and divergence."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import DivergedError
from dgex_jax.training import devices as devices_module
from dgex_jax.training import epoch, loop
from dgex_jax.training.loop import train_group
from dgex_jax.training.start import build_model, initial_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.config import Precision
    from dgex_jax.training.arrays import StudyArrays

pytestmark = pytest.mark.usefixtures("quick_compilation")

NETWORK = NetworkConfig(1, 8, 0.25)
TRAINING = TrainingConfig(epochs=3, learning_rate=1e-2, monitor_size=300)


@pytest.fixture
def odd(halved_a: StudyArrays) -> StudyArrays:
    """A narrow and a wide half."""
    return replace(
        halved_a,
        Y={part: Y[:, :39] for part, Y in halved_a.Y.items()},
        halves=(slice(0, 19), slice(19, 39)),
    )


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Every epoch's state on the device, before (donated) and after."""
    seen: list[tuple[Any, Any]] = []
    genuine = devices_module.epoch_program

    def watched(*arguments: Any) -> Any:
        program = genuine(*arguments)

        def run(state: Any, *others: Any) -> Any:
            new, measured = program(state, *others)
            # A copy, because a view of the new state would keep the next epoch from taking it over.
            seen.append((state, jax.tree.map(np.array, new)))
            return new, measured

        return run

    monkeypatch.setattr(loop, "epoch_program", watched)
    return seen


def test_float64_stays_inside_the_training(odd: StudyArrays) -> None:
    """Another thread sees float32 while an epoch runs, and so does everyone afterwards."""
    elsewhere: list[Any] = []

    def look() -> None:
        elsewhere.append(jnp.asarray(np.float64(1)).dtype)

    def on_epoch(*_: Any) -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    train_group(odd, [NETWORK], TRAINING, jax.local_devices()[:1], on_epoch)
    assert elsewhere == [jnp.float32] * 3
    assert not jax.config.jax_enable_x64  # type: ignore[attr-defined]
    assert jnp.asarray(np.float64(1)).dtype == jnp.float32


def test_state_is_donated_and_padding_stays_zero(
    odd: StudyArrays, train: Callable[..., Any], states: list[tuple[Any, Any]]
) -> None:
    training = train(odd, NETWORK, TRAINING)
    assert training.errors.dtype == np.float64
    assert len(states) == 3
    for before, after in states:
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
        params = [after.params, after.best_va.params, after.best_1000G.params]
        velocity = [leaf for leaf in jax.tree.leaves(after.velocity) if leaf.shape[-1] == 20]
        assert len(velocity) == 2
        for leaf in [*velocity, *(p["output"][kind] for p in params for kind in p["output"])]:
            assert leaf.dtype == np.float32
            (narrow,), (wide,) = leaf[0]
            assert not narrow[..., 19:].any()
            assert wide.all()


def test_padding_starts_at_zero(odd: StudyArrays) -> None:
    narrow, wide = initial_states(odd, NETWORK, TRAINING)
    kernel = narrow.params["output"]["kernel"]
    assert kernel.shape == wide.params["output"]["kernel"].shape == (8, 20)
    assert kernel[:, :19].all()
    assert not kernel[:, 19:].any()


def test_compiled_once_for_every_rate_and_seed(
    halved_a: StudyArrays, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout rates, learning rates and seeds are data, so that a grid compiles once a shape."""
    traces = []
    genuine = epoch.run_epoch

    def counted(*arguments: Any, **named: Any) -> Any:
        traces.append(1)
        return genuine(*arguments, **named)

    program = lru_cache(devices_module.epoch_program.__wrapped__)
    monkeypatch.setattr(loop, "epoch_program", program)
    monkeypatch.setattr(devices_module, "run_epoch", counted)
    first = train(halved_a, NETWORK, TRAINING)
    after_first = len(traces)
    assert after_first > 0
    others = [
        train(halved_a, replace(NETWORK, dropout=0.0), TRAINING),
        train(halved_a, replace(NETWORK, dropout=0.5), replace(TRAINING, learning_rate=5e-3)),
        train(halved_a, NETWORK, replace(TRAINING, seed=2)),
    ]
    again = train(halved_a, NETWORK, TRAINING)
    assert len(traces) == after_first
    assert program.cache_info().misses == 1
    # None of them was ignored, and the same training repeats itself to the bit.
    assert all(not np.array_equal(first.errors, other.errors) for other in others)
    np.testing.assert_array_equal(first.errors, again.errors)
    jax.tree.map(np.testing.assert_array_equal, first.halves[1].final, again.halves[1].final)


def test_divergence_names_epoch_rate_and_half(
    halved_a: StudyArrays, train: Callable[..., Any]
) -> None:
    training = replace(TRAINING, epochs=60, learning_rate=50.0)
    with pytest.raises(DivergedError) as caught:
        train(halved_a, NETWORK, training)
    text = str(caught.value)
    assert "\n" not in text
    found = re.search(r"half 1 .* epoch (\d+) .* learning rate (\d+(?:\.\d+)?)", text)
    assert found is not None
    assert int(found[1]) < 60
    # 50, or what is left of it after the decays by then.
    assert float(found[2]) in {float(f"{50 * 0.9**n:.3g}") for n in range(60)}
    assert not jax.config.jax_enable_x64  # type: ignore[attr-defined]


def test_divergence_of_the_second_half_alone(
    halved_a: StudyArrays, train: Callable[..., Any]
) -> None:
    scale = np.where(np.arange(40) < 20, 1.0, 1e30).astype(np.float32)
    arrays = replace(halved_a, Y={part: Y * scale for part, Y in halved_a.Y.items()})
    with pytest.raises(DivergedError, match=r"half 2 .* epoch 0 .* learning rate 0\.01"):
        train(arrays, NETWORK, TRAINING)


@pytest.mark.parametrize("precision", ["highest", "tf32"])
def test_network_gets_the_configurations_shape_and_precision(precision: Precision) -> None:
    training = replace(TRAINING, precision=precision)
    model = build_model(NetworkConfig(3, 8, 0.1), training, 5)
    assert (model.hidden_layers, model.units, model.n_targets) == (3, 8, 5)
    assert model.precision == precision
