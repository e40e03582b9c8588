"""Whatever call to the disk fails or is the last one: a file is the old one or the new one, whole.

`python -m tests.reliability.test_injection` prints how many places were tried for each writer.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PrepareConfig, RawFiles
from dgex_jax.data.prepare import prepare
from dgex_jax.errors import DgexError
from dgex_jax.formats import partial
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct import write_gct
from dgex_jax.formats.gct_stream import GctWriter
from dgex_jax.formats.gctx import GctxWriter
from dgex_jax.formats.h5ad_write import H5adWriter
from dgex_jax.formats.partial import Resume
from dgex_jax.formats.zarr_write import ZarrWriter
from dgex_jax.inference.modelfile import write_model
from dgex_jax.inference.outputs import Output, open_output
from dgex_jax.training.checkpoint import Checkpoints
from dgex_jax.training.loop import EpochRecord, Progress
from dgex_jax.training.record import mark_done, write_json
from dgex_jax.training.runfolder import clear_folder
from dgex_jax.training.runlog import RunLog
from dgex_jax.training.weights import save_weights
from reproduce.plots.style import new_figure, save
from reproduce.tables import write_texts
from tests.inference.conftest import make_model
from tests.reliability.injection import KINDS, Disk, Kind, Stop, contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

N, GENES = 40, 5
PROFILES, GENE_IDS = [f"p{i}" for i in range(N)], [f"g{i}" for i in range(GENES)]
MEMORY = Path("/dev/shm")  # noqa: S108 (folders of our own in it)
GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess"

Contents = dict[str, bytes]


@dataclass(frozen=True)
class Writer:
    """Something that writes files.

    Attributes
    ----------
    write
        Writes version 0 or 1 into a folder.
    swapped
        Final folders that stand under another name for a moment while they are replaced.
    cleared
        What is removed before it is written anew, the beginning of its path.
    growing
        Final files that grow line by line.
    """

    write: Callable[[Path, int], object]
    swapped: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()


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


def gctx(folder: Path, version: int) -> None:
    writer = GctxWriter(folder / "a.gctx", PROFILES, GENE_IDS, profile_metadata=about(PROFILES))
    fill(writer, values(version))


def resume(version: int) -> Resume:
    return Resume({"version": version}, 4, _silent)


def gctx_resumed(folder: Path, version: int) -> None:
    fill(GctxWriter(folder / "a.gctx", PROFILES, GENE_IDS, resume=resume(version)), values(version))


def h5ad(folder: Path, version: int) -> None:
    tables = about(PROFILES), about(GENE_IDS)
    fill(H5adWriter(folder / "a.h5ad", PROFILES, GENE_IDS, *tables, {}), values(version))


def h5ad_resumed(folder: Path, version: int) -> None:
    more: Any = (about(PROFILES), about(GENE_IDS), {}, resume(version))
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
    log = RunLog(folder / "run", (3, 4))
    for epoch in range(2):
        rates = np.full(2, 0.5, np.float32)
        log.append(EpochRecord(epoch, values(version, 2) ** 2 + epoch, rates, 0.25))
    log.sync()
    half = {"output": {"kernel": values(version), "bias": values(version)[0]}}
    save_weights(folder / "run" / "best_va.safetensors", [half], {"version": str(version)})
    mark_done(folder / "run", config)


def table(folder: Path, version: int) -> None:
    words = {suffix: f"{suffix} {version}\n" * 300 for suffix in ("csv", "md", "tex")}
    write_texts(folder / "tables", "table1", **words)


def figure(folder: Path, version: int) -> None:
    drawn = new_figure(0.5, 0.5)
    drawn.add_subplot().plot([0, 1], [version, 1])
    save(drawn, pd.DataFrame({"x": [0, 1], "y": [version, 1]}), folder, "figure1")


def prepared(folder: Path, version: int) -> None:
    raw = RawFiles(
        GOLDEN / "geo.gctx",
        GOLDEN / "gtex.gct.gz",
        GOLDEN / "1000g.txt.gz",
        GOLDEN / "map_lm.txt",
        GOLDEN / "map_tg.txt",
    )
    config = PrepareConfig(duplicates="all-pairs", seed=version)
    prepare(raw, folder / "prepared.h5", config, name="made", title="Made", simulated=True)


LOGS = ("run/log.tsv", "run/log_half1.tsv", "run/log_half2.tsv")
WRITERS = {
    "text": Writer(text),
    "gctx": Writer(gctx),
    "gctx that goes on": Writer(gctx_resumed),
    "gctx with locks": Writer(locked_output),
    "h5ad": Writer(h5ad),
    "h5ad that goes on": Writer(h5ad_resumed),
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


COSTLY = {"zarr", "figure", "prepared", "run", "gctx with locks"}


def final(found: Contents) -> Contents:
    """Leave out locks, which stay."""
    return {name: data for name, data in found.items() if ".lock" not in name}


def without_temporaries(found: Contents) -> Contents:
    """Leave out what can't be taken for a result, and locks."""
    return {name: data for name, data in final(found).items() if not is_under_way(name)}


class Trials:
    """Faults of one writer, each in a folder of its own, which begins with version 0.

    Parameters
    ----------
    writer
        The victim.
    scratch
        An empty folder.
    """

    def __init__(self, writer: Writer, scratch: Path) -> None:
        self.writer, self._scratch = writer, scratch
        self._start, straight = scratch / "start", scratch / "straight"
        for folder in (self._start, straight):
            folder.mkdir()
            writer.write(folder, 0)
        self.old = final(contents(self._start))
        disk = Disk(straight)
        with disk.watched():
            writer.write(straight, 1)
        self.calls = disk.calls
        self.new = final(contents(straight))
        assert self.old != self.new

    def fail(self, number: int, kind: Kind) -> None:
        """Write version 1 over version 0 with a fault, and again without."""
        folder = self._scratch / "trial"
        shutil.copytree(self._start, folder)
        disk = Disk(folder, number, kind)
        label = f"{kind} at call {number} ({self.calls[number]})"
        try:
            with disk.watched():
                self.writer.write(folder, 1)
        except Stop:
            assert kind == "stops", label
        except Exception as error:  # the text of any other is what has to be known
            if kind == "stops" or not is_one_line(error, folder):
                raise AssertionError(f"{label}: {error!r}") from error
        else:
            # Only what needs no saying: a temporary that can't be removed yet.
            assert kind != "stops", label
            assert without_temporaries(contents(folder)) == self.new, label
        self._check(folder, label)
        self.again(folder, label)
        shutil.rmtree(folder)

    def again(self, folder: Path, label: str) -> None:
        """Write without a fault: the very bytes of an undisturbed writer, and nothing else."""
        self.writer.write(folder, 1)
        self._compare(folder, f"{label}, then again")

    def _check(self, folder: Path, label: str) -> None:
        """Check that every final name has old or new content, and folders all the same one."""
        found = contents(folder)
        for name in {*self.old, *self.new}:
            allowed = [known[name] for known in (self.old, self.new) if name in known]
            if name in found:
                whole = found[name] in allowed
                begun = name in self.writer.growing and allowed[-1].startswith(found[name])
                assert whole or begun, f"{label}: {name} is neither old nor new"
            elif len(allowed) == 2 and not name.startswith(self.writer.cleared or "/"):
                assert name.split("/")[0] in self.writer.swapped, f"{label}: {name} is lost"
        for top in self.writer.swapped:
            self._check_swapped(found, top, label)
        if "run/done.json" in self.new and found.get("run/done.json") == self.new["run/done.json"]:
            assert without_temporaries(found) == self.new, f"{label}: done, but not all is there"
        assert set(without_temporaries(found)) <= {*self.old, *self.new}, label

    def _check_swapped(self, found: Contents, top: str, label: str) -> None:
        there = of_folder(found, top)
        versions = {"old": of_folder(self.old, top), "new": of_folder(self.new, top)}
        if there:
            assert there in versions.values(), f"{label}: {top} is a mixture"
        else:
            aside = of_folder(found, f".{top}.replaced")
            assert aside == versions["old"], f"{label}: {top} is lost"

    def _compare(self, folder: Path, label: str) -> None:
        """Check that there is the whole of the new version, and nothing else but locks."""
        found, known = final(contents(folder)), self.new
        differ = [name for name in {*known, *found} if known.get(name) != found.get(name)]
        assert not differ, f"{label}: {sorted(differ)} differ"
        folders = [path for path in folder.rglob("*") if path.is_dir()]
        empty = [path.name for path in folders if not any(path.iterdir())]
        assert not empty, f"{label}: {empty} left behind"


def is_one_line(error: Exception, folder: Path) -> bool:
    """Whether an error is what a user may see: one line of text with the place."""
    return isinstance(error, DgexError) and "\n" not in str(error) and str(folder) in str(error)


def of_folder(found: Contents, top: str) -> Contents:
    """Files below a folder, by their path in it."""
    return {
        name[len(top) + 1 :]: data for name, data in found.items() if name.startswith(f"{top}/")
    }


def is_under_way(name: str) -> bool:
    """Whether a relative path can't be taken for a result."""
    return any(
        ".tmp" in part or part.endswith((".partial", ".partial.json", ".replaced"))
        for part in name.split("/")
    )


@pytest.fixture(autouse=True)
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journal every 8 profiles; nobody cuts the power (`Disk` counts the calls all the same)."""
    monkeypatch.setattr(partial, "RUN_BYTES", 4 * GENES * 7)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Give an empty folder, in memory where that can be: thousands of files come and go."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder).resolve()


def marked(names: Iterable[str]) -> list[Any]:
    marks = {name: [pytest.mark.long] for name in LONG} | {
        name: [pytest.mark.slow] for name in SLOW
    }
    return [pytest.param(name, marks=marks.get(name, [])) for name in names]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", marked(WRITERS))
def test_a_fault_at_any_call(scratch: Path, name: str, kind: Kind) -> None:
    trials = Trials(WRITERS[name], scratch)
    assert {"fsync"} <= set(trials.calls)
    # Many or slow calls share the kinds of faults between them; `main` tries all.
    first, step = (KINDS.index(kind), 3) if name in COSTLY else (0, 1)
    for number in range(first, len(trials.calls), step):
        trials.fail(number, kind)


def main() -> int:
    """Try all and print the numbers."""
    partial.RUN_BYTES = 4 * GENES * 7
    os.fsync = lambda _: None
    print("| writer | calls | of them fsync | rename | write | trials | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in sys.argv[1:] or WRITERS:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
            start = time.monotonic()
            trials = Trials(WRITERS[name], Path(scratch).resolve())
            calls = trials.calls
            for kind in KINDS:
                for number in range(len(calls)):
                    trials.fail(number, kind)
            counts = [
                sum(call in names for call in calls)
                for names in (("fsync",), ("rename", "replace"), ("write", "pwrite", "save_file"))
            ]
            seconds = f"{time.monotonic() - start:.1f}"
            cells = [name, len(calls), *counts, 3 * len(calls), seconds]
            print("|", " | ".join(map(str, cells)), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
