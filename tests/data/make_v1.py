"""Make ``tests/data/v1``: small files of all formats before sets had names, to be read for ever.

    python tests/data/make_v1.py FOLDER           tests/data/v1
    python tests/data/make_v1.py FOLDER alone     tests/data/v1_alone, of arrays alone

With the code that wrote them (commit ffb5fdc, `prepared.h5` of format 2): today's writes format 3.
Later formats get a folder of their own.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dgex_jax import __version__
from dgex_jax.config import NetworkConfig, PredictOptions, PrepareConfig, TrainingConfig
from dgex_jax.errors import Stopped
from dgex_jax.io.gctx import Gctx
from dgex_jax.model.evaluate import evaluate
from dgex_jax.model.export import export_model
from dgex_jax.model.model import read_model, write_model
from dgex_jax.model.predict import predict
from dgex_jax.prepare.prepare import prepare
from dgex_jax.prepare.prepared import Prepared, open_prepared
from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.write import simulate
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.devices import choose_devices
from dgex_jax.train.record import load_weights, read_gene_errors
from dgex_jax.train.run import (
    CHECKPOINTS,
    Checkpoints,
    StopRequest,
    group_hash,
    run_config,
    to_arrays,
)
from dgex_jax.train.train import Conduct, first_states, train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMULATION = SimulationConfig(
    seed=3,
    n_profiles=60,
    n_gtex=8,
    n_1000g=6,
    n_landmarks=7,
    n_targets=13,
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
NETWORK = NetworkConfig(hidden_layers=1, units=5, dropout=0.1)
TRAINING = TrainingConfig(epochs=5, learning_rate=0.06, monitor_size=20, batch_size=10)
STOPPED_AFTER = 3
NEW_IN_2 = (
    *("landmark_info/probes", "target_info/probes", "landmark_info/entrez", "target_info/entrez"),
    *("landmark_quantile", "dropped/probes"),
)


def main(folder: Path, what: str = "") -> None:
    """Make all of it in a new folder; of arrays alone what differs there."""
    folder.mkdir()
    study, alone = folder / "prepared.h5", what == "alone"
    with tempfile.TemporaryDirectory() as scratch:
        raw: Any = simulate(SIMULATION, Path(scratch) / "raw")
        about: dict[str, Any] = {"name": "tiny", "title": "A tiny study", "simulated": True}
        files = arrays_alone(raw, Path(scratch)) if alone else raw
        prepare(files, study, PrepareConfig(seed=5), settings={"seed": 3}, **about)
    if not alone:
        write_format_1(study, folder / "prepared_1.h5")
    (devices, *_), _ = choose_devices(None, 2)
    with open_prepared(study) as opened:
        train_runs(opened, [NETWORK], TRAINING, [folder / "run"], devices)
        stop(opened, folder / "stopped", devices)
        if not alone:
            write_profiles(folder / "profiles.tsv", opened)
    write_model(folder / "model", export_model(folder / "run", study))
    model = read_model(folder / "model")
    for name in () if alone else ("inferred.gctx", "inferred.zarr"):
        predict(
            model,
            folder / "profiles.tsv",
            folder / name,
            PredictOptions("standardized"),
            report=lambda _line: None,
        )
    for left in [*folder.rglob(".*.lock"), *folder.rglob(".*.lock.json")]:
        left.unlink()
    text = json.dumps(expected(folder), indent=1)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
    (folder / "SHA256").write_text(f"{checksum(folder)}\n", encoding="utf-8")


def arrays_alone(raw: Any, folder: Path) -> Any:
    """Some of the rows of the array file as landmarks, all others as targets."""
    from dgex_jax.config import GeoOnlyFiles  # type: ignore[attr-defined]

    with Gctx(raw.geo) as source:
        (folder / "landmarks.txt").write_text("\n".join(source.genes[::6]), encoding="utf-8")
    return GeoOnlyFiles(raw.geo, folder / "landmarks.txt")


def write_format_1(study: Path, path: Path) -> None:
    """Write the same study in format version 1."""
    plain = path.with_suffix(".full")
    with h5py.File(study) as source, h5py.File(plain, "w") as target:
        _copy(source, target)
        for name in ("gene_ids", "data_sets"):
            del target.attrs[name]
        for name in NEW_IN_2:
            del target[name]
        target.attrs["format_version"] = 1
    # HDF5 gives back the room of what was removed only to a new file.
    with h5py.File(plain) as source, h5py.File(path, "w") as target:
        _copy(source, target)
    plain.unlink()


def _copy(source: h5py.File, target: h5py.File) -> None:
    for name in source:
        source.copy(name, target)
    for name, value in source.attrs.items():
        target.attrs[name] = value


def without_seal(content: bytes) -> bytes:
    """Give a prepared study of format version 2 as it was before files were sealed."""
    return content[: content.rindex(b'{"size":')]


def stop(study: Prepared, folder: Path, devices: Any) -> None:
    """Stop the same training after some epochs."""
    request = StopRequest()

    def ask(_network: NetworkConfig, done: int, _line: str) -> None:
        if done == STOPPED_AFTER:
            request.ask(15)

    conduct = Conduct(report=ask, request=request, checkpoint_share=1.0)
    try:
        train_runs(study, [NETWORK], TRAINING, [folder], devices, conduct=conduct)
    except Stopped:
        return
    raise AssertionError("the training was not stopped")


def write_profiles(path: Path, study: Prepared) -> None:
    """Standardised landmarks of the test profiles, a line a gene."""
    X = study.X("te")
    lines = ["\t".join(["gene", *(f"profile {n + 1}" for n in range(len(X)))])]
    lines += [
        "\t".join([name, *map(repr, values.tolist())])
        for name, values in zip(study.landmarks, X.T, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def expected(folder: Path) -> dict[str, Any]:
    """What was written: checksums of what is read to the bit, numbers of what is computed."""
    import jax

    with open_prepared(folder / "prepared.h5") as study:
        config = run_config(study, NETWORK, TRAINING)
        like = first_states(load_arrays(study, 2), [NETWORK], TRAINING)
        saved = Checkpoints(folder / "stopped" / CHECKPOINTS, group_hash([config])).newest(
            like, fail
        )
        found = evaluate(read_model(folder / "model"), study)
        prepared = study_sums(study)
    assert saved is not None
    inferred = {}
    if (folder / "inferred.gctx").exists():
        with Gctx(folder / "inferred.gctx") as file:
            inferred["inferred"] = {"genes": list(file.genes), "values": file.read().tolist()}
    log = (folder / "run" / "log.tsv").read_text(encoding="utf-8").splitlines()
    return {
        "versions": {
            "dgex_jax": __version__,
            "python": sys.version.split()[0],
            **{one.__name__: one.__version__ for one in (np, h5py, jax)},
        },
        "prepared": prepared,
        "weights": weight_sums(folder / "run"),
        "gene_errors": errors_of(folder / "run"),
        "checkpoint": {
            "group_hash": group_hash([config]),
            "epochs": len(saved.records),
            "arrays": array_sums(to_arrays(saved)),
        },
        "last_epoch": dict(zip(log[0].split("\t"), log[-1].split("\t"), strict=True)),
        "evaluation": {part: one.every.mae.mean for part, one in found.parts.items()},
        **inferred,
    }


def study_sums(study: Prepared) -> dict[str, Any]:
    """Checksums of all that every format of a prepared study holds."""
    arrays = {}
    for part in study.parts:
        for kind, values in (("X", study.X(part)), ("Y", study.Y(part))):
            mean, deviation = study.scaling(part, kind)
            about = {"": values, "mean of ": mean, "deviation of ": deviation}
            arrays |= {f"{what}{kind} {part}": array for what, array in about.items()}
    quantile = study.quantile
    assert quantile is not None
    arrays |= {"quantile": quantile, "copies": study.copy_of_landmark}
    return {
        "name": study.name,
        "title": study.title,
        "landmarks": list(study.landmarks),
        "targets": list(study.targets),
        "symbols": [*study.landmark_symbols, *study.symbols],
        "arrays": array_sums(arrays),
    }


def weight_sums(run: Path) -> dict[str, str]:
    """Checksums of the weights of a run."""
    arrays = {
        f"{path.stem} half{half} {name} {kind}": values
        for path in run.glob("best_*.safetensors")
        for half, params in enumerate(load_weights(path), start=1)
        for name, layer in params.items()
        for kind, values in layer.items()
    }
    return array_sums(arrays)


def errors_of(run: Path) -> dict[str, list[float]]:
    """MAE of every target by part."""
    return {part: mae.tolist() for part, mae in read_gene_errors(run / "errors.tsv").mae.items()}


def array_sums(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Name → type, shape and the beginning of the checksum."""
    found = {}
    for name, values in arrays.items():
        array = np.asarray(values)
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        found[name] = f"{array.dtype.str} {'x'.join(map(str, array.shape))} {digest}"
    return found


def checksum(folder: Path) -> str:
    """One checksum of all files, but for the one it is kept in and what tells about them."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name not in {"README.md", "SHA256"}:
            whole.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def fail(line: str) -> None:
    """Refuse what is not whole."""
    raise AssertionError(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
