"""Commands as a user gives them, on small recorded studies."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from dgex_jax.cli import main

GOLDEN = Path(__file__).parents[1] / "golden"
STUDY_A = GOLDEN / "study_a.npz"
PARTS = ("va", "te", "1000G", "GTEx", "tr")
RECORDED = {
    "hidden-layers": 1,
    "units": 48,
    "dropout": 0,
    "epochs": 60,
    "batch-size": 200,
    "learning-rate": 1.2e-2,
    "monitor-size": 300,
    "seed": 1,
    "halves": 1,
}
SIMULATED = """
name = "tiny"
title = "A tiny simulated study"
[simulate]
seed = 3
n_profiles = 150
n_gtex = 12
n_1000g = 8
n_landmarks = 9
n_targets = 21
missing_landmarks = 1
missing_targets = 2
n_other_genes = 6
extra_probes = 20
shared_targets = 0.1
n_tissues = 4
n_regulators = 8
n_programmes = 4
array_noise = 0.4
[prepare]
seed = 5
"""


def train(study: Path, folder: Path, *more: object, **changes: object) -> int:
    """Run ``dgex train`` with the settings of the recorded run, some of them changed."""
    settings = RECORDED | {key.replace("_", "-"): value for key, value in changes.items()}
    flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    return main(["train", str(study), "-o", str(folder), "-q", *flags, *map(str, more)])


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of everything in a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.stat()
        found[path] = (status.st_size if path.is_file() else -1, status.st_mtime_ns)
    return found


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def study_file(path: Path, flags: list[str], *more: str) -> Path:
    """Write a study file of the same raw files."""
    lines = ['name = "recorded"', 'title = "Recorded"', "[files]"]
    pairs = zip(flags[::2], flags[1::2], strict=True)
    lines += [f'{flag.removeprefix("--")} = "{file}"' for flag, file in pairs]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def datasets(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file."""
    found = {}
    with h5py.File(path) as file:

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item[()]

        file.visititems(visit)
    return found


def assert_equal_datasets(one: Path, other: Path) -> None:
    ours, theirs = datasets(one), datasets(other)
    assert ours.keys() == theirs.keys()
    assert ours
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
