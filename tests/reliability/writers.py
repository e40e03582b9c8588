"""Everything that writes files, as functions that write version 0 or 1 into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.config import PrepareConfig
from dgex_jax.io.expression import Expression
from dgex_jax.io.files import atomic_path
from dgex_jax.io.h5ad import H5adWriter
from dgex_jax.io.manifest import sidecar, write_json
from dgex_jax.io.partial import Resume
from dgex_jax.io.writers import GctWriter, GctxWriter, write_gct
from dgex_jax.io.zarr import ZarrWriter
from dgex_jax.model.model import write_model
from dgex_jax.model.outputs import Output, open_output
from dgex_jax.parts import PAPER
from dgex_jax.prepare.prepare import prepare
from dgex_jax.simulate.write import simulated_files
from dgex_jax.train.record import mark_done, save_weights
from dgex_jax.train.run import Checkpoints, EpochRecord, Progress, RunLog, clear_folder
from reproduce.plots.style import new_figure, save
from reproduce.written import write_table_files
from tests.inference.conftest import make_model

if TYPE_CHECKING:
    from collections.abc import Callable

N, GENES = 40, 5
PROFILES, GENE_IDS = [f"p{i}" for i in range(N)], [f"g{i}" for i in range(GENES)]
GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess"


@dataclass(frozen=True)
class Writer:
    """Something that writes files.

    - `write`: writes version 0 or 1 into a folder.
    - `swapped`: final folders that stand under another name for a moment while replaced.
    - `cleared`: what is removed before it is written anew, the beginning of its path.
    - `growing`: final files that grow line by line.
    - `together`: the one of several files that stands for all: beside it are none of another
      version.
    """

    write: Callable[[Path, int], object]
    swapped: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()
    together: str | None = None


def values(version: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(version).normal(size=(n, GENES)).astype(np.float32)


def _silent(_line: str) -> None:
    """Report to nobody."""


def about(ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"note": [f"né {one}" for one in ids]}, index=ids, dtype=object)


def fill(writer: Any, X: np.ndarray) -> None:
    with writer as file:
        for run in file.pending():
            for start in range(run.start, run.stop, 16):
                file.append(X[start : min(start + 16, run.stop)])


def text(folder: Path, version: int) -> None:
    with atomic_path(folder / "a.txt") as temporary:
        temporary.write_text(f"version {version}\n" * 1000)


def gctx(folder: Path, version: int, *, goes_on: bool = False) -> None:
    resume = Resume({"version": version}, 4, _silent) if goes_on else None
    path, metadata = folder / "a.gctx", about(PROFILES)
    fill(
        GctxWriter(path, PROFILES, GENE_IDS, profile_metadata=metadata, resume=resume),
        values(version),
    )


def h5ad(folder: Path, version: int, *, goes_on: bool = False) -> None:
    resume = Resume({"version": version}, 4, _silent) if goes_on else None
    more: Any = (about(PROFILES), about(GENE_IDS), {}, resume)
    fill(H5adWriter(folder / "a.h5ad", PROFILES, GENE_IDS, *more), values(version))


def gct(folder: Path, version: int) -> None:
    expression = Expression(folder, values(version), tuple(PROFILES), tuple(GENE_IDS))
    write_gct(folder / "a.gct.gz", expression)


def gct_stream(folder: Path, version: int) -> None:
    tables = about(PROFILES), about(GENE_IDS)
    fill(GctWriter(folder / "a.gct.gz", PROFILES, GENE_IDS, *tables), values(version))


def zarr(folder: Path, version: int) -> None:
    n = 300
    profiles = [f"p{i}" for i in range(n)]
    writer = ZarrWriter(
        folder / "a.zarr",
        profiles,
        GENE_IDS,
        about(profiles),
        about(GENE_IDS),
        {},
        job={"version": version},
        profiles_per_shard=256,
        report=_silent,
    )
    fill(writer, values(version, n))


def locked_output(folder: Path, version: int) -> None:
    """As ``dgex predict`` does it, with locks."""
    tables = about(PROFILES), about(GENE_IDS)
    about_it: Any = ({"made_by": "dgex"}, {"version": version})
    output = Output(folder / "a.gctx", PROFILES, GENE_IDS, *tables, *about_it, report=_silent)
    fill(open_output(output), values(version))


def layered(stem: str, ending: str, *, then: bool = True) -> Writer:
    """Several files of one output; layers are of the first version alone where not `then`."""
    name = f"{stem}{ending}"

    def write(folder: Path, version: int) -> None:
        tables = about(PROFILES), about(GENE_IDS)
        about_it: Any = ({"made_by": "dgex"}, {"version": version})
        further: Any = {"layers": ("lower",), "profile_columns": ("far",)}
        if version and not then:
            further = {}
        options = {"report": _silent, "record": {}, **further}
        files = Output(folder / name, PROFILES, GENE_IDS, *tables, *about_it, **options)
        X = values(version)
        with open_output(files) as file:
            for run in file.pending():
                for start in range(run.start, run.stop, 16):
                    block = X[start : min(start + 16, run.stop)]
                    held = block[:, : len(files.profile_columns)]
                    file.append(block, dict.fromkeys(files.layers, -block), held)
        assert (folder / f"{stem}.lower{ending}").exists() == bool(further)

    # With layers the older output goes before the new one comes: it must not lie beside new layers.
    return Writer(write, cleared=(stem if then else sidecar(Path(name)).stem,), together=name)


def model(folder: Path, version: int) -> None:
    write_model(folder / "model", make_model(seed=version + 1), overwrite=True)


def progress(epoch: int) -> Progress:
    record = EpochRecord(epoch, np.full((1, 5), 0.5 + epoch), np.ones(1, np.float32), 0.25)
    return Progress([[record]], [{"params": values(epoch)}])  # type: ignore[list-item]


def checkpoint(folder: Path, version: int) -> None:
    saved = Checkpoints(folder / "checkpoint", "hash")
    for epoch in (0, 1) if version == 0 else (2,):
        saved.save(progress(epoch))


def record(folder: Path, version: int) -> None:
    write_json(folder / "config.json", {"version": version, "notes": ["x" * 50] * 50})


def run(folder: Path, version: int) -> None:
    """What a training leaves, in its order."""
    config = {"version": version}
    clear_folder(folder / "run")
    write_json(folder / "run" / "config.json", config)
    log = RunLog(folder / "run", (3, 4), PAPER)
    for epoch in range(2):
        rates = np.full(2, 0.5, np.float32)
        log.append(EpochRecord(epoch, values(version, 2) ** 2 + epoch, rates, 0.25))
    log.sync()
    half = {"output": {"kernel": values(version), "bias": values(version)[0]}}
    save_weights(folder / "run" / "best_va.safetensors", [half], {"version": str(version)})
    mark_done(folder / "run", config)


def table(folder: Path, version: int) -> None:
    words = {suffix: f"{suffix} {version}\n" * 300 for suffix in ("csv", "md", "tex")}
    (folder / "tables").mkdir(exist_ok=True)
    write_table_files(folder / "tables", "table1", **words)


def figure(folder: Path, version: int) -> None:
    drawn = new_figure(0.5, 0.5)
    drawn.add_subplot().plot([0, 1], [version, 1])
    save(drawn, pd.DataFrame({"x": [0, 1], "y": [version, 1]}), folder, "figure1")


def prepared(folder: Path, version: int) -> None:
    config = PrepareConfig(duplicates="all-pairs", seed=version)
    prepare(
        simulated_files(GOLDEN),
        folder / "prepared.h5",
        config,
        name="made",
        title="Made",
        simulated=True,
    )


LOGS = ("run/log.tsv", "run/log_half1.tsv", "run/log_half2.tsv")
WRITERS = {
    "text": Writer(text),
    "gctx": Writer(gctx),
    "gctx that goes on": Writer(partial(gctx, goes_on=True)),
    "gctx with locks": Writer(locked_output),
    "gctx with layers": layered("a", ".gctx"),
    "gctx after layers": layered("a", ".gctx", then=False),
    "tsv with layers": layered("a", ".tsv"),
    "h5ad": Writer(h5ad),
    "h5ad that goes on": Writer(partial(h5ad, goes_on=True)),
    "gct.gz": Writer(gct),
    "gct.gz by profiles": Writer(gct_stream),
    "zarr": Writer(zarr, swapped=("a.zarr",)),
    "model": Writer(model, swapped=("model",)),
    "checkpoint": Writer(checkpoint),
    "record": Writer(record),
    "run": Writer(run, cleared=("run/",), growing=LOGS),
    "table": Writer(table),
    "figure": Writer(figure),
    "prepared": Writer(prepared, cleared=("prepared.h5.provenance",)),
}
LONG = {"h5ad", "h5ad that goes on"}
SLOW = {"figure", "prepared", "zarr"}
COSTLY = SLOW | {"run", "gctx with locks", "gctx with layers"}
COSTLY |= {"gctx after layers", "tsv with layers"}
