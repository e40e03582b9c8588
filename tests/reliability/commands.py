"""Every command that writes, and a small study for them to read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from dgex_jax.config import NetworkConfig, TrainingConfig
from tests.reliability.running import DGEX, Child, Outcome, run_here

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STUDY = """
name = "small"
title = "A small study"

[simulate]
seed = 7
n_profiles = 220
n_gtex = 40
n_1000g = 30
n_landmarks = 40
n_targets = 121
missing_landmarks = 2
missing_targets = 3
n_other_genes = 40
extra_probes = 40
shared_targets = 0.06
n_tissues = 8
n_regulators = 16
n_programmes = 4
"""
TABLES = """
[networks]
hidden_layers = [1]
units = [8]
dropout = [0.1, 0.25]

[training]
epochs = 2
monitor_size = 100
batch_size = 50
learning_rate = 5e-3

[baselines]
k_max = 3
"""
RAW = {
    "geo": "geo.gctx",
    "gtex": "gtex.gct.gz",
    "1000g": "1000g.txt.gz",
    "landmarks": "map_lm.txt",
    "targets": "map_tg.txt",
}
RUN = (
    *("config.json", "done.json", "errors.tsv", "log.tsv", "log_half1.tsv", "log_half2.tsv"),
    *("best_va.safetensors", "best_1000G.safetensors"),
)
FORMATS = ("gctx", "gct", "gct.gz", "tsv.gz", "parquet", "h5ad", "zarr")
SMALL = ("--hidden-layers", "1", "--units", "8", "--dropout", "0.1")


@dataclass(frozen=True)
class World:
    """What the commands read, made once and never written to again."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def beside(self, folder: Path, *copied: str) -> Path:
        """Make a folder with the same inputs, some of which may be damaged."""
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            if path.is_file() and name.parts[0] != "tables":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if str(name) in copied:
                    shutil.copyfile(path, folder / name)
                else:
                    (folder / name).symlink_to(path)
        return folder


@dataclass(frozen=True)
class Command:
    """One command that writes.

    - `name`: as in a report.
    - `module`: whose ``main`` it is.
    - `arguments`: ``{out}`` stands for the folder it writes to; inputs are relative to the world's.
    - `finals`: what it leaves there, files or folders.
    - `reads`: inputs of it that can vanish, relative to the world's folder.
    - `begins_with`: what of the world is copied there before: name in the world → name there.
    - `quiet`: nothing but the error is on standard error.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    finals: tuple[str, ...]
    reads: tuple[str, ...]
    begins_with: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = True

    @property
    def program(self) -> str:
        """What its errors begin with."""
        return "dgex" if self.module == DGEX else f"python -m {self.module}"

    def argv(self, out: Path, *more: str) -> list[str]:
        """Give the arguments for an output folder."""
        return [one.replace("{out}", str(out)) for one in (*self.arguments, *more)]

    def here(self, out: Path, folder: Path, *more: str, fault: Any = None) -> Outcome:
        """Run it in this process, from `folder`, inside `fault`."""
        return run_here(self.module, self.argv(out, *more), folder, fault)

    def child(self, out: Path, folder: Path, *more: str, **options: Any) -> Child:
        """Start it in a process of its own, from `folder`."""
        return Child(self.module, self.argv(out, *more), folder, **options)

    def set_up(self, world: World, out: Path) -> Path:
        """Make the output folder with what must be there before."""
        out.mkdir(parents=True)
        for source, place in self.begins_with.items():
            shutil.copytree(world / source, out / place)
        return out


def raw_flags(folder: Path | str = "raw") -> list[str]:
    """Give the five raw files of a folder as options."""
    return [part for flag, name in RAW.items() for part in (f"--{flag}", f"{folder}/{name}")]


def commands() -> dict[str, Command]:
    """Give the commands of ``dgex`` that write and need no server, by name."""
    predict = ("predict", "model", "raw/geo.gctx", "--platform", "microarray", "-q", "-o")
    train = ("train", "prepared.h5", *SMALL, "--epochs", "3", "-q", "-o")

    def dgex(
        name: str, reads: tuple[str, ...], finals: tuple[str, ...], *arguments: str
    ) -> Command:
        return Command(name, DGEX, arguments, finals, reads, quiet="-q" in arguments)

    h5, model, toml = "prepared.h5", "model/weights.safetensors", ("study.toml",)
    of_run, geo = ("run/best_va.safetensors", "run/errors.tsv", h5), ("raw/geo.gctx", model)
    raw_files = ("raw/geo.gctx", "raw/gtex.gct.gz", "raw/map_tg.txt")
    raw = tuple(f"raw/{name}" for name in RAW.values())
    seeds = tuple(f"runs/seed-{seed}/{name}" for seed in (1, 2) for name in RUN)
    several = ("{out}/runs", "--seeds", "1", "2")
    found = [
        dgex("simulate", toml, raw, "simulate", "--study", "study.toml", "-o", "{out}/raw"),
        dgex("prepare", raw_files, (h5,), "prepare", *raw_flags(), "-q", "-o", "{out}/prepared.h5"),
        dgex("train", (h5,), tuple(f"run/{name}" for name in RUN), *train, "{out}/run"),
        dgex("train --seeds", (h5,), ("runs/seeds.tsv", *seeds), *train, *several),
        dgex("export", of_run, ("model",), *f"export run {h5} -o {{out}}/model".split()),
        dgex(
            "evaluate",
            (model, h5),
            ("genes.tsv",),
            *f"evaluate model {h5} -q -o {{out}}/genes.tsv".split(),
        ),
        *(
            dgex(f"predict {ending}", geo, (f"out.{ending}",), *predict, f"{{out}}/out.{ending}")
            for ending in FORMATS
        ),
        dgex(
            "predict --shard",
            geo,
            ("out.zarr",),
            *(*predict, "{out}/out.zarr", "--shard", "1/1"),
        ),
        dgex(
            "download --study",
            (),
            ("data/study.toml",),
            *("download", "--study", "-o", "{out}/data"),
        ),
    ]
    return {command.name: command for command in found}


SCRIPTS = ("table1", "figure1", "figure_s2", "weight_hubs", "all")


def command_of(name: str, world: World) -> Command:
    """Give a command of ``dgex`` or one of `SCRIPTS`, what it reads being made."""
    return reproduce_commands(add_tables(world))[name] if name in SCRIPTS else commands()[name]


def reproduce_commands(world: World) -> dict[str, Command]:
    """Give scripts of ``reproduce`` for a study of which only the products are still to do."""
    arguments = ("--study", str(world / "tables.toml"), "--out", "{out}")
    made = {"tables": "small"}

    def script(name: str, *finals: str, quiet: bool = True) -> Command:
        places = tuple(f"small/{final}" for final in finals)
        return Command(name, f"reproduce.{name}", arguments, places, (), made, quiet)

    found = [
        script("table1", *(f"tables/table1.{suffix}" for suffix in ("csv", "md", "tex"))),
        script("figure1", *(f"figures/figure1.{suffix}" for suffix in ("csv", "png", "pdf"))),
        script("figure_s2", *(f"figures/figureS2.{suffix}" for suffix in ("csv", "png", "pdf"))),
        script("weight_hubs", *(f"tables/weight_hubs.{suffix}" for suffix in ("csv", "md"))),
        script("all", "report.html", quiet=False),
    ]
    return {command.name: command for command in found}


def make_world(folder: Path) -> World:
    """Make what the commands read, unless another process did."""
    world = World(folder)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "model").exists():
            folder.mkdir(exist_ok=True)
            _make_inputs(world)
    return world


def _make_inputs(world: World) -> None:
    (world / "study.toml").write_text(STUDY, encoding="utf-8")
    for argv in (
        ["simulate", "--study", "study.toml", "-o", "raw"],
        ["prepare", *raw_flags(), "-q", "-o", "prepared.h5"],
    ):
        outcome = run_here(DGEX, argv, world.folder)
        assert outcome.code == 0, outcome.err
    network, training = NetworkConfig(1, 8, 0.1), TrainingConfig(epochs=1)
    draw_run(world / "run", world / "prepared.h5", network, training)
    outcome = run_here(DGEX, ["export", "run", "prepared.h5", "-o", "model"], world.folder)
    assert outcome.code == 0, outcome.err


def draw_weights(rng: np.random.Generator, n_in: int, units: int, n_out: int) -> dict[str, Any]:
    """Draw the weights of a network with one hidden layer."""
    return {
        name: {
            "kernel": rng.normal(size=size).astype(np.float32),
            "bias": rng.normal(size=size[1]).astype(np.float32),
        }
        for name, size in (("hidden1", (n_in, units)), ("output", (units, n_out)))
    }


def draw_run(run: Path, prepared: Path, network: NetworkConfig, training: TrainingConfig) -> None:
    """Write the folder of a finished run with weights drawn, not trained, which takes seconds."""
    import jax

    from dgex_jax.io.manifest import write_json
    from dgex_jax.prepare.prepared import open_prepared
    from dgex_jax.train.record import TrainedHalf, TrainedNetwork
    from dgex_jax.train.run import EpochRecord, RunLog, finish, run_config

    rng = np.random.default_rng(1)
    run.mkdir()
    with open_prepared(prepared) as study:
        sizes = [half.stop - half.start for half in study.halves]
        choosers, n_logged = study.parts.choosers, len(study.parts.logged)
        history = [
            EpochRecord(epoch, rng.uniform(size=(2, n_logged)), np.float32([1e-2, 2e-2]), 0.5)
            for epoch in range(training.epochs)
        ]
        halves = []
        for size in sizes:
            best = {
                part: draw_weights(rng, study.n_landmarks, network.units, size) for part in choosers
            }
            epochs = dict.fromkeys(choosers, training.epochs - 1)
            halves.append(TrainedHalf(best["va"], best, epochs))
        errors = {part: rng.uniform(size=study.n_targets) for part in study.parts.evaluated}
        config = run_config(study, network, training)
        write_json(run / "config.json", config)
        RunLog(run, sizes, study.parts, history)
        trained, devices = TrainedNetwork(halves, errors), jax.local_devices()[:1]
        finish(run, config, study, network, training, trained, 12.5, devices)


def add_tables(world: World) -> World:
    """Make, once for all processes, a study of which nothing but the products is still to do."""
    with FileLock(world.folder.with_name(f"{world.folder.name}.tables.lock")):
        if not (world / "tables").exists():
            files = "\n".join(f'{key} = "raw/{name}"' for key, name in RAW.items())
            head = f'name = "small"\ntitle = "A small study"\n[files]\n{files}\n'
            (world / "tables.toml").write_text(head + TABLES, encoding="utf-8")
            out = world / "made"
            argv = ["--study", str(world / "tables.toml"), "--out", str(out)]
            outcome = run_here("reproduce.all", argv, world.folder)
            assert outcome.code == 0, outcome.err
            for products in ("tables", "figures"):
                shutil.rmtree(out / "small" / products)
            (out / "small" / "report.html").unlink()
            (out / "small").rename(world / "tables")
    return world
