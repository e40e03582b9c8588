"""Models without a training, and one trained run of a tiny simulated study."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from dgex_jax.config import NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.methods.network import network
from dgex_jax.model.model import Model, ModelGenes
from dgex_jax.parts import PAPER
from dgex_jax.prepare.prepare import prepare
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.write import simulate
from dgex_jax.train.devices import choose_devices
from dgex_jax.train.pylearn2 import layer_names
from dgex_jax.train.train import train_runs
from tests.cli.case import command, refused_line
from tests.compiling import compiled_quickly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


def make_genes(rng: np.random.Generator, letter: str, n: int) -> ModelGenes:
    """Genes with awkward names: no id at all, no Ensembl id, several probes, other alphabets."""
    return ModelGenes(
        ensembl=tuple("" if i % 5 == 3 else f"ENSG{letter}{i:05d}" for i in range(n)),
        symbols=tuple(["", "1-Mar", "IFNβ 2", '"q"', "NA"][i % 5] for i in range(n)),
        entrez=tuple("" if i % 2 else str(780 + i) for i in range(n)),
        probes=tuple(tuple(f"{i}{k}_s_at" for k in range(i % 4)) for i in range(n)),
        mean=rng.normal(8, 3, n),
        sd=rng.uniform(1e-3, 2, n) ** 7 + 5e-324,
    )


def drawn_half(rng: np.random.Generator, sizes: list[int]) -> dict[str, Any]:
    """Weights of one network, drawn; `sizes` are those of its layers, the input's first."""
    return {
        name: {
            "kernel": rng.normal(size=(n_in, n_out)).astype(np.float32),
            "bias": rng.normal(size=n_out).astype(np.float32),
        }
        for name, n_in, n_out in zip(layer_names(len(sizes) - 1), sizes, sizes[1:], strict=False)
    }


def make_model(
    *,
    hidden_layers: int = 2,
    half_sizes: tuple[int, ...] = (4, 5),
    bare: bool = False,
    selected_on: str = "va",
    seed: int = 1,
) -> Model:
    """A model of 7 landmarks; `bare` without all that a model may lack."""
    rng = np.random.default_rng(seed)
    n_landmarks, n_targets, units = 7, sum(half_sizes), 5
    inside = [n_landmarks, *[units] * hidden_layers]
    halves = [drawn_half(rng, [*inside, n_out]) for n_out in half_sizes]
    study = {"name": "mine", "title": "Müller's arrays", "simulated": True}
    return Model(
        landmarks=make_genes(rng, "L", n_landmarks),
        targets=make_genes(rng, "T", n_targets),
        method=network(NetworkConfig(hidden_layers, units, 0.1), halves),
        selected_on=selected_on,
        parts=PAPER,
        quantile=None if bare else np.sort(rng.normal(size=n_landmarks + n_targets)),
        landmark_quantile=np.sort(rng.normal(size=n_landmarks)),
        errors={} if bare else {part: rng.uniform(size=n_targets) for part in PAPER.evaluated},
        record={} if bare else {"study": study, "seconds": 0.1 + 0.2, "best_epochs": {"va": [3]}},
        copy_of_landmark=None if bare else rng.uniform(size=n_targets) < 0.3,
    )


@pytest.fixture(scope="session")
def new_model() -> Callable[..., Model]:
    """Make a model; see `make_model`."""
    return make_model


def assert_same(one: Model, other: Model) -> None:
    """Equal in every bit, names and dtypes included."""
    for genes, others in ((one.landmarks, other.landmarks), (one.targets, other.targets)):
        for field in ("ensembl", "symbols", "entrez", "probes"):
            assert getattr(genes, field) == getattr(others, field)
        assert genes.mean.tobytes() == others.mean.tobytes()
        assert genes.sd.tobytes() == others.sd.tobytes()
    for field in ("half_sizes", "selected_on", "parts", "record"):
        assert getattr(one, field) == getattr(other, field)
    for field in ("kind", "title", "settings"):
        assert getattr(one.method, field) == getattr(other.method, field)
    assert sorted(one.method.tensors) == sorted(other.method.tensors)
    arrays = [
        [
            *(m.method.tensors[k] for k in sorted(m.method.tensors)),
            m.landmark_quantile,
            *m.errors.values(),
        ]
        for m in (one, other)
    ]
    for field in ("quantile", "copy_of_landmark"):
        values = [getattr(model, field) for model in (one, other)]
        assert (values[0] is None) == (values[1] is None)
        if values[0] is not None:
            for place, value in zip(arrays, values, strict=True):
                place.append(value)
    assert list(one.errors) == list(other.errors)
    for ours, theirs in zip(*arrays, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()


@pytest.fixture(scope="session")
def same() -> Callable[[Model, Model], None]:
    """Assert that two models are equal in every bit."""
    return assert_same


def sign(folder: Path, **changes: Any) -> None:
    """Write ``model.json`` anew with changes and valid checksums, as a fraud would.

    A change to ``None`` takes the key away; ``a__b`` is key ``b`` of the object ``a``.
    """
    path = folder / "model.json"
    content = json.loads(path.read_text())
    content["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in content["files"]
    }
    for keys, value in changes.items():
        *above, key = keys.split("__")
        place = content
        for one in above:
            place = place[one]
        if value is None:
            del place[key]
        else:
            place[key] = value
    if "content_sha256" not in changes:
        del content["content_sha256"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        content["content_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def signed() -> Callable[..., None]:
    """Change a model and give it valid checksums; see `sign`."""
    return sign


def infer(model: Model, X: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The network in plain NumPy, float64."""
    outputs = []
    for half in model.method.halves:
        hidden = np.asarray(X, np.float64)
        for name in layer_names(len(half))[:-1]:
            hidden = np.tanh(hidden @ half[name]["kernel"] + half[name]["bias"])
        outputs.append(hidden @ half["output"]["kernel"] + half["output"]["bias"])
    return np.concatenate(outputs, axis=1)


@pytest.fixture(scope="session")
def oracle() -> Callable[..., NDArray[np.float64]]:
    """Infer with plain NumPy; see `infer`."""
    return infer


@pytest.fixture
def refused(capsys, tmp_path) -> Callable[..., str]:
    """Run a command that must fail and change nothing; give the one line it says."""
    return partial(refused_line, capsys, tmp_path, command)


@dataclass(frozen=True)
class Trained:
    """A prepared study and a run folder of it."""

    prepared: Path
    run: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    """A network of two uneven halves, trained on a tiny simulated study."""
    folder = tmp_path_factory.mktemp("trained")
    config = SimulationConfig(
        seed=3,
        n_profiles=150,
        n_gtex=12,
        n_1000g=8,
        n_landmarks=9,
        n_targets=21,
        missing_landmarks=1,
        missing_targets=2,
        n_other_genes=6,
        extra_probes=20,
        shared_targets=0.1,
        n_tissues=4,
        n_regulators=8,
        n_programmes=4,
        array_noise=0.4,
    )
    found = Trained(folder / "prepared.h5", folder / "run")
    files = simulate(config, folder / "raw")
    prepare(
        files,
        found.prepared,
        PrepareConfig(seed=5),
        name="tiny",
        title="A tiny study",
        simulated=True,
        settings={"seed": 3},
        source="made up",
        licence="CC0-1.0",
    )
    network = NetworkConfig(hidden_layers=1, units=6, dropout=0.1)
    # A rate at which both halves have other best epochs on GEO-va than on 1000G-va.
    training = TrainingConfig(epochs=12, learning_rate=0.06, monitor_size=50, batch_size=20)
    (devices, *_), _ = choose_devices(None, 2)
    with compiled_quickly(), open_prepared(found.prepared) as study:
        assert train_runs(study, [network], training, [found.run], devices)
    return found
