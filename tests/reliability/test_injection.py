"""Whatever call to the disk fails or is the last one: a file is the old one or the new one, whole.

`python -m tests.reliability.test_injection` prints how many places were tried for each writer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dgex_jax.errors import DgexError
from dgex_jax.io import partial
from dgex_jax.io.manifest import SUFFIX
from tests.arguments import one_of
from tests.reliability.injection import KINDS, Disk, Kind, Stop, contents
from tests.reliability.syscalls import is_under_way
from tests.reliability.writers import COSTLY, GENES, LONG, SLOW, WRITERS, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MEMORY = Path("/dev/shm")  # noqa: S108 (folders of our own in it)

Contents = dict[str, bytes]


def final(found: Contents) -> Contents:
    """Leave out locks, which stay."""
    return {name: data for name, data in found.items() if ".lock" not in name}


def without_temporaries(found: Contents) -> Contents:
    """Leave out what can't be taken for a result, and locks."""
    return {name: data for name, data in final(found).items() if not is_under_way(name)}


class Trials:
    """Faults of one writer, each in a folder of its own (in `scratch`) that holds version 0."""

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
        found = {
            name: data for name, data in contents(folder).items() if not is_announcement(name, data)
        }
        self._check_together(found, label)
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

    def _check_together(self, found: Contents, label: str) -> None:
        main = self.writer.together
        if main not in found:
            return
        version = self.old if found[main] == self.old[main] else self.new
        for name in without_temporaries(found).keys() & {*self.old, *self.new}:
            assert found[name] == version.get(name), f"{label}: {name} is not of {main}"

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


def is_announcement(name: str, data: bytes) -> bool:
    """Whether a file is the record of one that comes next to an output, and tells of none yet."""
    ours = name.endswith(SUFFIX) and not is_under_way(name)
    return ours and json.loads(data)["files"] == {}


def of_folder(found: Contents, top: str) -> Contents:
    """Files below a folder, by their path in it."""
    return {
        name[len(top) + 1 :]: data for name, data in found.items() if name.startswith(f"{top}/")
    }


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
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", type=one_of(WRITERS), help=", ".join(WRITERS))
    options = parser.parse_args()
    partial.RUN_BYTES = 4 * GENES * 7
    os.fsync = lambda _: None
    print("| writer | calls | of them fsync | rename | write | trials | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.names or WRITERS:
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
