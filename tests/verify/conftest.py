"""A results folder as the writers leave it, without the science that takes seconds."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dgex_jax.provenance import record, write_record, write_sidecar
from dgex_jax.training.record import mark_done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made_of(folder: Path, *names: str) -> dict[str, dict[str, str]]:
    """Inputs that lie at a place of `folder`."""
    return {name: {"name": name, "sha256": sha256(folder / name)} for name in names}


def named(path: Path) -> dict[str, str]:
    """An input that is known by its name alone."""
    return {"name": path.name, "sha256": sha256(path)}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def prepare(folder: Path, text: str) -> None:
    """Stand for ``dgex prepare``."""
    study = write(folder / "prepared.h5", text)
    raw = {one.stem: named(one) for one in sorted((folder / "raw").iterdir())}
    write_sidecar(study, record("dgex prepare", precision="float64", inputs=raw))


def train(run: Path, prepared: Path, text: str) -> None:
    """Stand for ``dgex train``."""
    for name in ("config.json", "log.tsv", "errors.tsv", "best_va.safetensors"):
        write(run / name, f"{name} {text}")
    made = record(
        "dgex train",
        precision="highest",
        inputs={"prepared": named(prepared)},
        seeds={"weights and dropout masks": 1},
        device={"platform": "cpu", "kind": "cpu"},
    )
    files = [path.name for path in run.iterdir() if path.name != "done.json"]
    mark_done(run, {"network": text}, files=files, provenance=made, seconds=1.5)


def make_table(folder: Path, name: str, *inputs: str, where: str = "tables") -> None:
    """Stand for a product of `reproduce`."""
    paths = [write(folder / where / f"{name}.{suffix}", name) for suffix in ("csv", "md")]
    made = record(f"reproduce {name}", precision="float64", inputs=made_of(folder, *inputs))
    sums = {os.path.relpath(path, folder): sha256(path) for path in paths}
    (folder / "provenance").mkdir(exist_ok=True)
    write_record(folder / "provenance" / f"{name}.json", made, sums)


def export(model: Path, run: Path) -> None:
    """Stand for ``dgex export``: the record alone, its files being whatever they are."""
    for name in ("weights.safetensors", "genes.tsv"):
        write(model / name, name)
    done = {"name": f"{run.name}/done.json", "sha256": sha256(run / "done.json")}
    made = record("dgex export", precision="highest", inputs={"run": done})
    files = {path.name: sha256(path) for path in model.iterdir()}
    content: dict[str, Any] = {"files": files, "training": {"provenance": {"export": made}}}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["content_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    write(model / "model.json", json.dumps(content, indent=2) + "\n")


RUNS = ("a", "b")


@pytest.fixture
def results(tmp_path) -> Path:
    """Raw files, a prepared study, runs ``a`` and ``b``, tables of ``a`` and of both, a model."""
    folder = tmp_path / "results" / "mine"
    for name in ("geo.gctx", "map_lm.txt"):
        write(folder / "raw" / name, name)
    prepare(folder, "prepared")
    for name in RUNS:
        train(folder / "runs" / name, folder / "prepared.h5", name)
    make_table(folder, "table1", "prepared.h5", "runs/a/done.json", "runs/a/errors.tsv")
    both = [f"runs/{name}/done.json" for name in RUNS]
    make_table(folder, "table2", *both, where="../../tables/mine")
    make_table(folder, "report", "tables/table1.csv", "../../tables/mine/table2.csv", *both)
    export(folder / "model", folder / "runs" / "a")
    return folder


@pytest.fixture
def steps() -> dict[str, Callable[..., None]]:
    """The stand-ins, by name."""
    return {"prepare": prepare, "train": train, "table": make_table}
