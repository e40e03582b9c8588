"""Residual networks: ridge, and beside it hidden layers that learn what ridge leaves over.

An ensemble of them trains as one batched program. Training begins at ridge, since the output
weights of the hidden layers begin at zero.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgex_jax import __version__
from dgex_jax.config import Settings, documented, setting
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.io.files import is_temporary, say
from dgex_jax.io.manifest import job_hash
from dgex_jax.methods import Fitted, mean_error
from dgex_jax.methods.linear import fit_ridge
from dgex_jax.train.devices import AXIS, Devices, stack
from dgex_jax.train.network import MASK_GENERATOR, mask
from dgex_jax.train.run import Checkpoints, EpochRecord
from dgex_jax.train.run import Progress as Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.io.progress import Progress
    from dgex_jax.methods import Float32, Tables
    from dgex_jax.methods.linear import Linear

WARM_UP = 0.1
"""Share of the updates in which the rate grows, in a line, to the largest; then half a cosine."""
B2 = 0.99
"""Adam's memory of squared gradients: shorter than the usual 0.999, as there are few updates."""
VALIDATED = 1024
"""Validation profiles inferred at a time."""


@documented
@dataclass(frozen=True)
class ResidualConfig(Settings):
    """An ensemble of residual networks and its training by AdamW."""

    hidden_layers: int = setting(2, "number of hidden layers, 1 to 3", low=1, high=3)
    units: int = setting(1024, "hidden units of each layer", low=1, high=1_000_000)
    input_dropout: float = setting(0.1, "dropout rate of the landmarks", low=0.0, high=0.99)
    dropout: float = setting(0.3, "dropout rate of the hidden units", low=0.0, high=0.99)
    epochs: int = setting(
        40, "passes over the training profiles; with 0 the network stays ridge", low=0
    )
    learning_rate: float = setting(
        1e-3,
        "largest rate; it grows to it over a tenth of the updates and falls to 0 by a cosine",
        low=1e-12,
        high=1e3,
    )
    weight_decay: float = setting(
        1e-2, "share of the weights, times the rate, lost in each update", low=0.0, high=1e3
    )
    batch_size: int = setting(
        128,
        "profiles an update at most; batches of an epoch are of one size, so that a few profiles, "
        "other ones in each epoch, may be left out",
        low=1,
    )
    members: int = setting(
        5, "networks whose mean is the prediction, of seeds of their own", low=1, high=1000
    )
    seed: int = setting(
        1, "of the initial weights, the dropout masks and the batches", low=0, high=2**32 - 1
    )
    search: bool = setting(
        False,
        "choose by validation, with one member each: these settings, or 30 % fewer hidden units "
        "kept, or half as many units, or half the epochs; takes about three times as long as one "
        "member",
    )


class ResidualNetwork(nn.Module):
    """A linear path and hidden layers of GELU units (its tanh form), added up; float32."""

    hidden_layers: int
    units: int
    n_targets: int

    @nn.compact
    def __call__(
        self, X: jax.Array, key: jax.Array | None = None, input_kept: float = 1, kept: float = 1
    ) -> jax.Array:
        """Infer ``(n_profiles, n_targets)`` of ``(n_profiles, n_landmarks)``, standardised float32.

        With a `key`, of this batch, shares of the landmarks and of the hidden units are dropped.
        """
        dense = partial(nn.Dense, dot_general=_dot_general)
        X = hidden = _dropped(X, key, 0, input_kept)
        for layer in range(1, self.hidden_layers + 1):
            hidden = nn.gelu(dense(self.units, name=f"hidden{layer}")(hidden))
            hidden = _dropped(hidden, key, layer, kept)
        residual = dense(
            self.n_targets, use_bias=False, kernel_init=nn.initializers.zeros, name="output"
        )(hidden)
        return dense(self.n_targets, name="linear")(X) + residual


@jax.custom_vjp
def _product(X: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.matmul(X, weights, precision=jax.lax.Precision.HIGHEST)


def _gradients(
    factors: tuple[jax.Array, jax.Array], change: jax.Array
) -> tuple[jax.Array, jax.Array]:
    X, weights = factors
    return _product(change, weights.T), _product(X.T, change)


# JAX's own gradient of the weights is a transposed one under `jax.vmap`, whose reading takes a
# third of the time of an epoch on a CPU.
_product.defvjp(lambda X, weights: (_product(X, weights), (X, weights)), _gradients)


def _dot_general(X: jax.Array, weights: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """Multiply as `flax.linen.Dense` wants it."""
    return _product(X, weights)


def _dropped(values: jax.Array, key: jax.Array | None, layer: int, kept: float) -> jax.Array:
    if key is None or kept == 1:
        return values
    rows, columns = values.shape
    return values * mask(jax.random.fold_in(key, layer), jnp.float32(kept), (rows, columns))


class ResidualModel(Fitted):
    """Tensors ``member1/linear/kernel``, ``member1/hidden1/bias``, … of every member, float32."""

    kind: ClassVar[str] = "residual"

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        super().__init__(settings, tensors)
        shape = int(settings["hidden_layers"]), int(settings["units"])
        self.n_landmarks, self.n_targets = map(int, tensors["member1/linear/kernel"].shape)
        self._network = ResidualNetwork(*shape, self.n_targets)
        wanted = jax.eval_shape(
            self._network.init, jax.random.key(0), np.zeros((1, self.n_landmarks), np.float32)
        )

        def found(member: int, path: Any, like: Any) -> Float32:
            name = f"member{member}/{'/'.join(step.key for step in path)}"
            if tensors[name].shape != like.shape:
                raise DgexError(f"{name} is of shape {tensors[name].shape}, not {like.shape}")
            return tensors[name]

        members = [
            jax.tree.map_with_path(partial(found, member), wanted["params"])
            for member in range(1, int(settings["members"]) + 1)
        ]
        if len(tensors) != sum(len(jax.tree.leaves(member)) for member in members):
            raise DgexError(f"{len(tensors)} tensors are too many for {len(members)} members")
        self._members = jax.device_put(stack(members, -1))

    @property
    def title(self) -> str:
        """Its size, as in a table."""
        shape = f"{self.settings['units']}x{self.settings['hidden_layers']}"
        n_members = self.settings["members"]
        return f"residual-mlp {shape}" + (f", mean of {n_members}" if n_members > 1 else "")

    def infer(self, X: Float32) -> Float32:
        """Infer a batch: the mean over the members."""
        return np.asarray(_infer(self._network, self._members, X))


# Outside the class: networks of one architecture share the compiled program.
@partial(jax.jit, static_argnums=0)
def _infer(network: ResidualNetwork, members: Any, X: jax.Array) -> jax.Array:
    def infer(params: Any) -> Any:
        return network.apply({"params": params}, X)

    mean: jax.Array = jax.vmap(infer)(members).mean(axis=0)
    return mean


@struct.dataclass
class _State:
    """All that changes in training; leaves ``(n_members, …)``, the best epoch counted from 1."""

    params: Any
    optimizer: Any
    epoch: Any
    best: Any
    best_error: Any
    best_epoch: Any


@struct.dataclass
class _Data:
    """Standardised tables on the devices, float32."""

    X: Any
    Y: Any
    X_val: Any
    Y_val: Any


def fit_residual(
    tables: Tables, config: ResidualConfig, progress: Progress, checkpoint: Path | None = None
) -> ResidualModel:
    """Train an ensemble, each member up to its epoch of least validation error (0: ridge).

    Members are spread over the devices, over as many as divide them. Their random numbers come of
    the seed, the member, the epoch and the batch alone, so a member is the one that it is alone, up
    to rounding, and a training resumed from the folder `checkpoint` gives the bits of one that was
    not interrupted. The folder is made; checkpoints of another training in it are replaced, and a
    line says so, as it does of damaged ones.

    With `search` one member is trained first by each of four settings (see `ResidualConfig`), and
    those of the least validation error are taken; ``searched`` in the model's settings has them.

    Raises
    ------
    DivergedError
        An error is no longer finite.
    DgexError
        The folder of a training in `checkpoint` holds other files, or the disk refuses it.
    """
    ridge = fit_ridge(tables)

    def trained(config: ResidualConfig, name: str) -> ResidualModel:
        return _train(tables, config, ridge, progress, checkpoint, name)

    if not config.search:
        return trained(config, "ensemble")
    searched = []
    for number, one in enumerate(_candidates(config), start=1):
        (error,) = trained(replace(one, members=1), f"candidate{number}").settings[
            "validation_errors"
        ]
        about = {name: getattr(one, name) for name in ("units", "dropout", "epochs")}
        searched.append(about | {"validation_error": error})
    # Of equal ones the first, which is that of the settings given.
    best = dict(min(searched, key=lambda tried: tried["validation_error"]))
    del best["validation_error"]
    model = trained(replace(config, search=False, **best), "ensemble")
    return ResidualModel({**model.settings, "searched": searched}, model.tensors)


def _candidates(config: ResidualConfig) -> tuple[ResidualConfig, ...]:
    """Give what a search tries: the settings given, and three that differ in one of them."""
    config = replace(config, search=False)
    return (
        config,
        replace(config, dropout=min(0.99, 1 - 0.7 * (1 - config.dropout))),
        replace(config, units=max(1, config.units // 2)),
        replace(config, epochs=config.epochs // 2),
    )


def _train(
    tables: Tables,
    config: ResidualConfig,
    ridge: Linear,
    progress: Progress,
    checkpoint: Path | None,
    name: str,
) -> ResidualModel:
    folder = None if checkpoint is None else checkpoint / name
    network = ResidualNetwork(config.hidden_layers, config.units, tables.sizes[2])
    keys, start = _start(network, config, ridge, tables)
    records: list[Sequence[EpochRecord]] = []
    kept = None if folder is None else _checkpoints(folder, tables, config)
    found = kept.newest([start], say) if kept else None
    if found is not None:
        records, (start,) = list(found.records), found.states
    elif kept is not None and folder is not None and folder.exists():
        say(f"{folder}: has no checkpoint of this training to go on from; it begins anew")
        kept.clear()
    devices = spread(config.members)
    state, keys = _place(start, devices, AXIS), _place(keys, devices, AXIS)
    data = _place(_Data(tables.X, tables.Y, tables.X_val, tables.Y_val), devices)
    program = _program(network, replace(config, seed=0), devices)
    with progress.step(f"residual networks, {name}", config.epochs, "epochs") as tick:
        tick(len(records))
        for epoch in range(len(records), config.epochs):
            began = time.perf_counter()
            state, measured = program(state, keys, data)
            errors = np.asarray(measured, np.float64)
            _refuse_divergence(errors, epoch, config)
            rates = np.array([config.learning_rate], np.float32)
            records.append([EpochRecord(epoch, errors, rates, time.perf_counter() - began)])
            if kept is not None and (kept.is_due() or epoch + 1 == config.epochs):
                kept.save(Record(records, [jax.device_get(state)]))
            tick(1)
    return _model(config, ridge, jax.device_get(state))


def _checkpoints(folder: Path, tables: Tables, config: ResidualConfig) -> Checkpoints:
    """Give the checkpoints of this training; refuse a folder that holds anything else."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        if not (path.name.startswith("epoch-") or is_temporary(path.name)):
            raise DgexError(f"{folder}: is no folder of checkpoints: it holds {path.name}")
    digest = hashlib.sha256()
    for table in (tables.X, tables.Y, tables.X_val, tables.Y_val):
        digest.update(str(table.shape).encode())
        digest.update(np.ascontiguousarray(table).data)
    versions = {name: version(name) for name in ("jax", "flax", "optax", "numpy")}
    job = {
        "method": ResidualModel.kind,
        "config": asdict(config),
        "tables_sha256": digest.hexdigest(),
        "versions": {"dgex_jax": __version__, **versions},
    }
    return Checkpoints(folder, job_hash(job))


def _start(
    network: ResidualNetwork, config: ResidualConfig, ridge: Linear, tables: Tables
) -> tuple[Any, Any]:
    """Give the members' keys and their `_State` before training, ridge, on the host."""
    seed = jax.random.key(config.seed, impl=MASK_GENERATOR)
    keys = jax.vmap(partial(jax.random.fold_in, seed))(jnp.arange(config.members))
    linear = {"kernel": ridge.tensors["coef"], "bias": ridge.tensors["intercept"]}

    def one(key: jax.Array) -> Any:
        params = network.init(jax.random.fold_in(key, 0), tables.X[:1])["params"]
        params = {**params, "linear": jax.tree.map(jnp.asarray, linear)}
        return params, _optimizer(config, 1).init(params)

    params, optimizer = jax.device_get(jax.jit(jax.vmap(one))(keys))
    none = np.zeros(config.members, np.int32)
    error = np.full(config.members, mean_error(ridge, tables.X_val, tables.Y_val), np.float32)
    start = _State(params, optimizer, none, params, error, none)
    return jax.random.key_data(keys), start


def spread(n_members: int) -> Devices:
    """Take as many devices as divide the members."""
    devices = jax.local_devices()
    most = max(n for n in range(1, len(devices) + 1) if n_members % n == 0)
    return tuple(devices[:most])


def _place(tree: Any, devices: Devices, axis: str | None = None) -> Any:
    """Move leaves to the devices: split along the first axis, or whole to each of them."""
    mesh = Mesh(np.array(devices), (AXIS,))
    spec = PartitionSpec(axis)  # type: ignore[no-untyped-call]
    return jax.device_put(tree, NamedSharding(mesh, spec))


def _n_batches(n_profiles: int, config: ResidualConfig) -> int:
    return -(-n_profiles // config.batch_size)


def _optimizer(config: ResidualConfig, n_batches: int) -> optax.GradientTransformation:
    total = max(1, config.epochs * n_batches)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, int(WARM_UP * total), total
    )
    return optax.adamw(rate, b2=B2, weight_decay=config.weight_decay)


@lru_cache(maxsize=32)
def _program(network: ResidualNetwork, config: ResidualConfig, devices: Devices) -> Any:
    one = partial(_epoch, network=network, config=config)
    members, all_alike = PartitionSpec(AXIS), PartitionSpec()  # type: ignore[no-untyped-call]
    program = jax.shard_map(
        jax.vmap(one, in_axes=(0, 0, None)),
        mesh=Mesh(np.array(devices), (AXIS,)),
        in_specs=(members, members, all_alike),
        out_specs=members,
        check_vma=False,
    )
    return jax.jit(program, donate_argnums=0)


def _epoch(
    state: _State, key: jax.Array, data: _Data, *, network: ResidualNetwork, config: ResidualConfig
) -> tuple[_State, jax.Array]:
    """Train one member for an epoch; also returns its validation error."""
    n_profiles = data.X.shape[0]
    n_batches = _n_batches(n_profiles, config)
    size = n_profiles // n_batches
    optimizer = _optimizer(config, n_batches)
    # Of the numbers folded in, 0 is that of the initial weights, and here of the order.
    key = jax.random.fold_in(jax.random.wrap_key_data(key, impl=MASK_GENERATOR), state.epoch + 1)
    order = jax.random.permutation(jax.random.fold_in(key, 0), n_profiles)

    def loss(params: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        X, Y = (table.at[rows].get(mode="promise_in_bounds") for table in (data.X, data.Y))
        inferred: Any = network.apply(
            {"params": params}, X, key, 1 - config.input_dropout, 1 - config.dropout
        )
        error: jax.Array = jnp.square(Y - inferred).sum() / size
        return error

    def step(carry: tuple[Any, Any], batch: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        params, moments = carry
        rows, number = batch
        gradients = jax.grad(loss)(params, rows, jax.random.fold_in(key, number + 1))
        # Optax raises a float to the power of a count, which JAX's strict rules refuse.
        with jax.numpy_dtype_promotion("standard"):
            change, moments = optimizer.update(gradients, moments, params)
        return (optax.apply_updates(params, change), moments), None

    batches = order[: n_batches * size].reshape(n_batches, size), jnp.arange(n_batches)
    (params, moments), _ = jax.lax.scan(step, (state.params, state.optimizer), batches)

    def error(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        X, Y = pair
        inferred: Any = network.apply({"params": params}, X)
        return jnp.abs(Y - inferred).mean()

    measured = jax.lax.map(error, (data.X_val, data.Y_val), batch_size=VALIDATED).mean()
    epoch = state.epoch + 1
    best, best_error, best_epoch = jax.tree.map(
        lambda new, old: jnp.where(measured < state.best_error, new, old),
        (params, measured, epoch),
        (state.best, state.best_error, state.best_epoch),
    )
    return _State(params, moments, epoch, best, best_error, best_epoch), measured


def _refuse_divergence(errors: NDArray[np.float64], epoch: int, config: ResidualConfig) -> None:
    for member in np.flatnonzero(~np.isfinite(errors))[:1] + 1:
        raise DivergedError(
            f"residual network {member} of {config.members}: training diverged: its validation "
            f"error is no longer finite after epoch {epoch + 1} of {config.epochs}; try a "
            f"learning rate smaller than {config.learning_rate:g}"
        )


def _model(config: ResidualConfig, ridge: Linear, state: _State) -> ResidualModel:
    tensors = {
        f"member{member}/{'/'.join(step.key for step in path)}": np.array(leaf[member - 1])
        for path, leaf in jax.tree.leaves_with_path(state.best)
        for member in range(1, config.members + 1)
    }
    settings = {
        **asdict(config),
        "lambda": ridge.settings["lambda"],
        "best_epochs": state.best_epoch.tolist(),
        "validation_errors": state.best_error.tolist(),
    }
    return ResidualModel(settings, tensors)
