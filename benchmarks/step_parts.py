"""Where the time of an update goes: programs with more and more of it, timed in turns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import Table
from benchmarks.timing import paired, show
from dgex_jax.parts import PAPER
from dgex_jax.train.epoch import Network, State, initial_state, loss, train
from dgex_jax.train.network import MLP, PRECISIONS, mask_key
from dgex_jax.train.pylearn2 import initial_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.shapes import Shape

BATCH = 200
BATCHES = 10
"""Updates of a program's run."""

PARTS = (
    "matrix products",
    "tanh, loss, sums for the biases",
    "gathering the batch",
    "momentum update",
    "dropout masks",
)
"""What each program has beyond the one before."""


def parts_table(shape: Shape, dropout: float, rounds: int, precision: str = "highest") -> Table:
    """Time an update of one network on JAX's first device, part by part.

    - `shape`: the network.
    - `dropout`: dropout rate of the last program; the others drop no unit.
    - `rounds`: turns of all programs.
    - `precision`: as in `dgex_jax.train.network.MLP`.
    """
    timings = [
        one.per(BATCHES)
        for one in paired(programs(shape, dropout, precision), rounds, warmups=2).values()
    ]
    # Of the quickest times, since noise only ever adds; a part below it may still come out below 0.
    so_far = [0.0, *(one.low for one in timings)]
    whole = so_far[-1]
    rows = [
        (part, f"{(after - before) * 1e3:.3f} ms", f"{(after - before) / whole:.0%}", str(timing))
        for part, before, after, timing in zip(PARTS, so_far, so_far[1:], timings, strict=False)
    ]
    rows.append(("all", show(whole), "100%", ""))
    return Table(("part", "an update", "share", "program so far"), tuple(rows))


def programs(shape: Shape, dropout: float, precision: str) -> dict[str, Callable[[], object]]:
    """Make the programs, each a call that returns when its `BATCHES` updates are done."""
    with jax.enable_x64(True):
        model = MLP(shape.hidden_layers, shape.units, shape.n_targets, precision)
        sizes = (shape.n_landmarks, shape.n_targets, shape.hidden_layers, shape.units)
        weights = initial_weights(1, *sizes)
        state = jax.device_put(initial_state(weights, shape.hidden_layers, 1e-4, PAPER.choosers))
        rng = np.random.default_rng(0)
        X = jax.device_put(rng.standard_normal((BATCH * BATCHES, shape.n_landmarks), np.float32))
        Y = jax.device_put(rng.standard_normal((BATCH * BATCHES, shape.n_targets), np.float32))
        order = jax.device_put(rng.permutation(BATCH * BATCHES).astype(np.int32))
    start = partial(jax.tree.map, jnp.zeros_like, state.params)
    products = jax.jit(partial(only_products, precision=precision))
    gradients = jax.jit(partial(only_gradients, model=model), static_argnames="gather")
    training = jax.jit(partial(train, model=model, momentum=0.5, batch_size=BATCH))

    def trained(rate: float) -> State:
        with jax.enable_x64(True):
            network = Network(mask_key(1, 0), np.float32(1 - rate), np.int32(shape.n_targets))
            after: State = training(state, jax.device_put(network), X=X, Y=Y, order=order)
            return after

    calls: tuple[Callable[[], object], ...] = (
        lambda: products(start(), state.params, X[:BATCH], Y[:BATCH]),
        lambda: gradients(start(), state.params, X, Y, order, gather=False),
        lambda: gradients(start(), state.params, X, Y, order, gather=True),
        lambda: trained(0.0),
        lambda: trained(dropout),
    )
    return {
        part: partial(lambda call: jax.block_until_ready(call()), call)  # type: ignore[no-untyped-call]
        for part, call in zip(PARTS, calls, strict=True)
    }


def touched(X: jax.Array, before: Any) -> jax.Array:
    """Make X depend on the last results by nothing that counts, so that no product is left out."""
    return X.at[0, 0].add(before["hidden1"]["kernel"][0, 0] * jnp.float32(1e-20))


def only_products(results: Any, params: Any, X: jax.Array, Y: jax.Array, precision: str) -> Any:
    """Do the matrix products of `BATCHES` updates, with nothing between them.

    `results`, like `params`, takes the products that would be the gradients of the weights.
    """
    names = list(params)
    dot = partial(jnp.matmul, precision=PRECISIONS[precision])

    def step(results: Any, _: None) -> tuple[Any, None]:
        inputs = [touched(X, results)]
        for name in names:
            inputs.append(dot(inputs[-1], params[name]["kernel"]))
        back = inputs.pop() - Y
        new = dict(results)
        for number, name in reversed(list(enumerate(names))):
            new[name] = results[name] | {"kernel": dot(inputs[number].T, back)}
            if number:
                back = dot(back, params[name]["kernel"].T)
        return new, None

    return jax.lax.scan(step, results, None, length=BATCHES)[0]


def only_gradients(
    results: Any,
    params: Any,
    X: jax.Array,
    Y: jax.Array,
    order: jax.Array,
    model: MLP,
    *,
    gather: bool,
) -> Any:
    """Compute the gradients of `BATCHES` batches, the weights being left as they are.

    Without `gather` the batch is the first profiles each time.
    """

    def step(results: Any, rows: jax.Array) -> tuple[Any, None]:
        if gather:
            batch = tuple(each.at[rows].get(mode="promise_in_bounds") for each in (X, Y))
        else:
            batch = (X[:BATCH], Y[:BATCH])
        no_masks: Any = None
        new = jax.grad(loss)(
            params, model, touched(batch[0], results), batch[1], no_masks, no_masks
        )
        return new, None

    return jax.lax.scan(step, results, order.reshape(BATCHES, BATCH))[0]
