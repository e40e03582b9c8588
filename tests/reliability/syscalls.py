"""What a process asks of the disk, as strace writes it down, and in which order.

A process that is killed loses nothing that it has written; a power cut does. So only the order of
calls can show that a file was on the disk before it got its name. `faults` reads a log of

    strace -f -y -s 0 -e trace=<CALLS>

and tells every name that was given too early.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WRITES = {
    *("write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"),
    *("sendfile", "copy_file_range"),
}
SYNCS = {"fsync", "fdatasync"}
RENAMES = {"rename", "renameat", "renameat2"}
CALLS = (
    *sorted(WRITES | SYNCS | RENAMES),
    *("openat", "open", "creat", "truncate", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    *("link", "linkat"),
)

LINE = re.compile(r"(\d+)\s+(\w+)\((.*)\)\s+=\s+(-?\d+)(.*)")
UNFINISHED = re.compile(r"(\d+)\s+(\w+)\((.*?)\s*<unfinished \.\.\.>")
RESUMED = re.compile(r"(\d+)\s+<\.\.\. (\w+) resumed>(.*)")
OPEN_FILE = re.compile(r"(?:-?\d+|AT_FDCWD)<([^>]*)>")
PATH = re.compile(r'(?:(?:-?\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')

UNDER_WAY = re.compile(r"\.tmp(\.|$)|\.partial$|\.partial\.json$|\.replaced$")
"""Names of what is not finished; all in a folder of such a name isn't either."""

IN_PLACE = {
    # Nobody's result: who holds a lock is known to the system, and the note of it is for people.
    re.compile(r"\.lock(\.json)?$"): "lock",
    # Grow line by line, so that a training can be watched; whole once ``done.json`` is there.
    re.compile(r"/log(_half\d)?\.tsv$"): "log",
}
DONE = "done.json"


@dataclass(frozen=True)
class Call:
    """One call that did not fail: as strace writes it, and the lines of the log it has."""

    name: str
    arguments: str
    result: str
    began: int
    ended: int

    @property
    def counts_at(self) -> int:
        """When it counts: a write once it is done, a sync for what was written before it began."""
        return self.began if self.name in SYNCS else self.ended

    def paths(self, folder: Path) -> list[str]:
        """Give the paths it names; relative ones are from `folder`, or the open folder it names."""
        return [
            os.path.normpath(Path(above or folder) / name)
            for above, name in PATH.findall(self.arguments)
        ]

    def files(self) -> list[str]:
        """Give the open files it names."""
        return OPEN_FILE.findall(self.arguments)


def read_calls(lines: Iterable[str]) -> list[Call]:
    """Read a log; calls that failed are left out, and one of two threads is put together."""
    calls: list[Call] = []
    begun: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines):
        began, text = number, line.rstrip("\n")
        if found := UNFINISHED.match(text):
            begun[found[1], found[2]] = number, f"{found[1]} {found[2]}({found[3]}"
            continue
        if found := RESUMED.match(text):
            began, start = begun.pop((found[1], found[2]))
            text = start + found[3]
        if (found := LINE.match(text)) and not found[4].startswith("-"):
            calls.append(Call(found[2], found[3], found[4] + found[5], began, number))
    return sorted(calls, key=lambda call: call.counts_at)


@dataclass
class Order:
    """What is on the disk and what not yet, call by call.

    - `root`: only what is below it counts.
    - `folder`: where the process started.
    - `faults`: a line for each name that was given too early, or never got to the disk.
    - `renamed`: final names that were given by a rename.
    """

    root: Path
    folder: Path
    faults: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    _dirty: set[str] = field(default_factory=set)
    """Files with bytes that the disk may not have."""
    _names: set[str] = field(default_factory=set)
    """Names that their folder may not have on the disk."""
    _known: set[str] = field(default_factory=set)

    def see(self, call: Call) -> None:
        """Follow one call."""
        if call.name in WRITES:
            # `copy_file_range` and `sendfile` name two: the one that is written to comes last.
            files = call.files()
            self._written(files[0] if call.name == "sendfile" else files[-1])
        elif call.name in SYNCS:
            self._synced(call.files()[0])
        elif call.name in RENAMES:
            self._moved(*call.paths(self.folder))
        elif call.name in {"link", "linkat"}:
            self._named(call.paths(self.folder)[1])
        elif call.name in {"mkdir", "mkdirat"}:
            self._named(call.paths(self.folder)[0])
        elif call.name in {"unlink", "unlinkat", "rmdir"}:
            self._forget(call.paths(self.folder)[0])
        elif call.name == "truncate":
            self._written(call.paths(self.folder)[0])
        else:
            self._opened(call)

    def end(self) -> None:
        """Look what the disk may not have at the end."""
        for name in sorted(self._names):
            if not is_under_way(self._inside(name)) and not in_place(name):
                self.faults.append(f"{self._inside(name)}: its folder was not synced at the end")

    def _opened(self, call: Call) -> None:
        path = call.paths(self.folder)[0]
        if found := OPEN_FILE.search(call.result):
            path = found[1]
        creates = call.name == "creat" or "O_CREAT" in call.arguments
        if "O_TRUNC" in call.arguments or (creates and path not in self._known):
            self._written(path)
            self._named(path)

    def _named(self, path: str) -> None:
        if self._counts(path):
            self._known.add(path)
            self._names.add(path)

    def _written(self, path: str) -> None:
        if not self._counts(path):
            return
        self._known.add(path)
        self._dirty.add(path)
        if not is_under_way(self._inside(path)) and not in_place(path):
            self.faults.append(f"{self._inside(path)}: written to under its final name")

    def _synced(self, path: str) -> None:
        self._dirty.discard(path)
        self._names = {name for name in self._names if parent(name) != path}

    def _moved(self, old: str, new: str) -> None:
        if not self._counts(new):
            return
        if not is_under_way(self._inside(new)):
            self.renamed.append(self._inside(new))
            self._check(old, new)
        for kept in (self._dirty, self._names, self._known):
            moved = {path for path in kept if is_at(path, old)}
            kept.difference_update(moved, {path for path in kept if is_at(path, new)})
            kept.update(new + path[len(old) :] for path in moved)
        self._named(new)

    def _check(self, old: str, new: str) -> None:
        """Check that the disk has what gets a final name, and what that says is there."""
        inside = self._inside(new)
        for path in sorted(self._dirty):
            said = Path(new).name == DONE and parent(path) == parent(new) and not is_lock(path)
            if said or is_at(path, old):
                self.faults.append(f"{inside}: {self._inside(path)} was not synced before")
        for name in sorted(self._names):
            if name != old and is_at(name, old):
                self.faults.append(f"{inside}: the name {self._inside(name)} was not synced before")

    def _forget(self, path: str) -> None:
        for kept in (self._dirty, self._names, self._known):
            kept.difference_update({one for one in kept if is_at(one, path)})

    def _counts(self, path: str) -> bool:
        return is_at(path, str(self.root)) and path != str(self.root)

    def _inside(self, path: str) -> str:
        return path[len(str(self.root)) + 1 :]


def is_at(path: str, place: str) -> bool:
    """Whether a path is `place` or below it."""
    return path == place or path.startswith(f"{place}/")


def is_under_way(path: str) -> bool:
    """Whether a relative path is of something unfinished."""
    return any(UNDER_WAY.search(part) for part in path.split("/"))


def in_place(path: str) -> bool:
    """Whether a file may be written to under its name."""
    return any(pattern.search(path) for pattern in IN_PLACE)


def is_lock(path: str) -> bool:
    """Whether a file is a lock, or says who holds it."""
    return ".lock" in Path(path).name


def parent(path: str) -> str:
    """Give the folder a path is in."""
    return path.rpartition("/")[0]


def follow(lines: Iterable[str], root: Path, folder: Path) -> Order:
    """Follow a log of a process that writes below `root` and started in `folder`."""
    order = Order(root, folder)
    for call in read_calls(lines):
        order.see(call)
    order.end()
    return order


def traced(command: Sequence[str], root: Path, folder: Path, log: Path) -> Order:
    """Run a command, which must succeed, under strace, and follow what it did below `root`."""
    strace = shutil.which("strace")
    assert strace is not None
    # Some of them are not there on every kind of machine.
    traced_calls = ",".join(f"?{call}" for call in CALLS)
    flags = ["-f", "-y", "-s", "0", "-e", f"trace={traced_calls}", "-o", str(log)]
    subprocess.run([strace, *flags, *command], cwd=folder, check=True, capture_output=True)
    with log.open(encoding="utf-8", errors="replace") as lines:
        return follow(lines, root, folder)


def reason_to_skip() -> str | None:
    """Say why nothing can be traced here, if nothing can."""
    strace = shutil.which("strace")
    if strace is None:
        return "needs strace, which is not installed"
    tried = subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True, check=False)
    return "strace may not trace here" if tried.returncode else None
