"""Commands run with something wrong, and what must hold afterwards.

A command runs in this process (`run_here`) or in a child that is forked from a server with all
imports done (`Child`), which costs a fraction of a new interpreter. Neither needs root or a disk of
its own: a disk is full for a process that may not write beyond some byte of any file
(``RLIMIT_FSIZE``; Python ignores the signal, so that writers see an error as on a full disk), and
root is subject to permissions like everybody without its capability to override them.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import threading
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

    from tests.reliability.commands import Command

CHECKOUT = Path(__file__).resolve().parents[2]
DGEX = "dgex_jax.cli"
IMPORTS = (
    *("dgex_jax.cli", "dgex_jax.compiled", "dgex_jax.prepare.prepare", "dgex_jax.prepare.study"),
    *("dgex_jax.train.run", "dgex_jax.train.seeds", "dgex_jax.model.export"),
    *("dgex_jax.model.predict", "dgex_jax.model.evaluate", "dgex_jax.download.fetch"),
    *("anndata", "zarr", "tests.reliability.running"),
)
UNDER_WAY = (".tmp", ".partial", ".replaced", "checkpoint")
"""What names of files hold that are not final."""
TIME_IN_HTML = re.compile(rb'<(\w+) class="time[^>]*>[^<]*</\1>')


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """Let this process write no byte of any file beyond the first `n_bytes`."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@contextmanager
def plain_user() -> Iterator[None]:
    """Make permissions count for root, too (in this thread and those it starts)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call, this thread
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()

    def call(function: str, sets: ctypes.Array[ctypes.c_uint32]) -> None:
        if getattr(libc, function)(header, sets):
            raise OSError(ctypes.get_errno(), f"{function} failed")

    call("capget", before)
    without[:] = before
    # Of the effective set alone: CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2).
    without[0] &= ~0b110
    call("capset", without)
    try:
        yield
    finally:
        call("capset", before)


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def run_here(
    module: str, argv: list[str], folder: Path, fault: AbstractContextManager[Any] | None = None
) -> Outcome:
    """Run a command in this process, from `folder`, inside `fault`."""
    main: Callable[[list[str]], int] = importlib.import_module(module).main
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
            # Tests that run side by side need not wait for each other's threads.
            threadpool_limits(1),
            fault or nullcontext(),
        ):
            try:
                code = main(argv)
            except SystemExit as stop:
                code = int(stop.code or 0)
    finally:
        os.chdir(before)
    return Outcome(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Trap:
    """Something that happens right before a command opens a file, counted from 0.

    - `watched`: only files below these folders count.
    - `number`: which of them; -1 for none.
    - `action`: ``delete`` or ``truncate`` (to half its size) a file, ``remove`` a folder, or
      ``stop`` the process until it is told to go on.
    - `victim`: that file or folder.
    - `counted`: a file that gets a byte for each file opened.
    - `pattern`: only files whose path it is found in count.
    """

    watched: tuple[Path, ...]
    number: int
    action: str
    victim: Path
    counted: Path
    pattern: str = ""

    def lay(self) -> None:
        """Lay it, for the rest of this process."""
        folders = tuple(f"{folder}/" for folder in self.watched)
        descriptor = os.open(self.counted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        seen, at_work = 0, False

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen, at_work
            if (
                event != "open"
                or at_work
                or not isinstance(arguments[0], str | bytes | os.PathLike)
            ):
                return
            path = str(Path(os.fsdecode(arguments[0])).absolute())
            if not path.startswith(folders) or not re.search(self.pattern, path):
                return
            at_work = True
            if seen == self.number:
                self.spring()
            seen += 1
            os.write(descriptor, b".")
            at_work = False

        sys.addaudithook(hook)

    def spring(self) -> None:
        """Do it."""
        if self.action == "remove":
            shutil.rmtree(self.victim, ignore_errors=True)
        elif self.action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.action == "delete":
            self.victim.unlink(missing_ok=True)
        else:
            os.truncate(self.victim, self.victim.stat().st_size // 2)


class Child:
    """A command in a process of its own, forked from a server in which all is imported.

    - `module`, `argv`, `folder`: whose ``main``, its arguments, and where it starts.
    - `n_bytes`: as for `full_disk`; ``None`` for a disk with room.
    - `user`: whether permissions count for root, too.
    - `trap`: what happens to its files while it works.
    """

    def __init__(
        self,
        module: str,
        argv: list[str],
        folder: Path,
        *,
        n_bytes: int | None = None,
        user: bool = False,
        trap: Trap | None = None,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTS))
        ends = [context.Pipe(duplex=False) for _ in range(2)]
        self._said = [ours for ours, _ in ends]
        theirs = [end for _, end in ends]
        self.process = context.Process(
            target=_child, args=(module, argv, folder, n_bytes, user, trap, theirs)
        )
        self._over = False
        self.process.start()
        for end in theirs:
            end.close()

    def alive(self) -> bool:
        """Whether it is at work (or stopped), and was not waited for."""
        return not self._over and self.process.is_alive()

    def first_line(self) -> str:
        """Wait for the first line on standard error; `ended` gives the rest."""
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(self._said[1].fileno(), 1)):
            line += byte
        return line.decode()

    def ended(self, seconds: float = 120) -> Outcome:
        """Wait for its end."""
        texts = ["", ""]

        def read(number: int) -> None:
            with self._said[number] as end, os.fdopen(os.dup(end.fileno()), "rb") as file:
                texts[number] = file.read().decode()

        readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
        for reader in readers:
            reader.start()
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        for reader in readers:
            reader.join()
        code = self.process.exitcode
        assert code is not None
        self._over = True
        self.process.close()
        return Outcome(code, *texts)


def _child(
    module: str,
    argv: list[str],
    folder: Path,
    n_bytes: int | None,
    user: bool,
    trap: Trap | None,
    ends: list[Connection],
) -> None:
    for number, end in enumerate(ends, start=1):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    os.chdir(folder)
    main: Callable[[list[str]], int] = importlib.import_module(module).main
    if trap is not None:
        trap.lay()
    with (
        plain_user() if user else nullcontext(),
        nullcontext() if n_bytes is None else full_disk(n_bytes),
    ):
        sys.exit(main(argv))


def timeless(path: Path) -> bytes:
    """Content of a file without times, and without checksums of files that tell the time."""
    try:
        content = without_seconds(path)
    except (ValueError, IndexError):
        # Half a log or half a JSON file is as it is.
        return path.read_bytes()
    if path.name == "done.json" or path.name.endswith(("provenance.json", "manifest.json")):
        content = re.sub(rb'"[0-9a-f]{64}"', b"", content)
    return content


def without_seconds(path: Path) -> bytes:
    """Content of a whole file without times; half a log or JSON file is an error."""
    content = path.read_bytes()
    if path.name.startswith("log") and path.suffix == ".tsv":
        lines = [line.split(b"\t") for line in content.splitlines()]
        seconds = lines[0].index(b"seconds")
        return b"\n".join(b"\t".join(line[:seconds] + line[seconds + 1 :]) for line in lines)
    if path.suffix == ".json":
        values = json.loads(content)
        if path.parent.name == "preparation":
            # Of the raw files' places and times.
            values.pop("config_hash")
        return json.dumps(_without_times(values), sort_keys=True).encode()
    return TIME_IN_HTML.sub(b"", content) if path.suffix == ".html" else content


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        # Checksums of files that tell the time do so too; the files themselves are compared.
        sums = {"files", "inputs", "content_sha256"}
        timed = {"seconds", "started", "finished", "resumed_at", "commit", *sums}
        return {key: _without_times(item) for key, item in value.items() if key not in timed}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def contents(folder: Path, content: Callable[[Path], bytes] = timeless) -> dict[str, str]:
    """Checksum of each file below `folder` that is final, of what doesn't tell the time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not is_under_way(name) and ".lock" not in name:
            found[name] = hashlib.sha256(content(path)).hexdigest()
    return found


def is_under_way(name: str) -> bool:
    """Whether a relative path is that of something unfinished, or lies in it."""
    return any(mark in name for mark in UNDER_WAY)


def left_behind(folder: Path) -> list[str]:
    """Name what is below `folder` that is neither final nor a checkpoint nor an empty lock."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    return [
        name
        for name in names
        if name.endswith(".lock.json")
        or (is_under_way(name) and "checkpoint" not in name and not name.endswith(".lock"))
        or ("checkpoint" in name and ".tmp" in name)
    ]


def damaged(found: Mapping[str, str], *states: Mapping[str, str]) -> list[str]:
    """Name final files that are as in none of some states.

    The logs of a training grow line by line, by design.
    """
    return [
        name
        for name, checksum in found.items()
        if not re.search(r"/log(_half\d)?\.tsv$", name)
        and checksum not in {state.get(name) for state in states}
    ]


def not_one_line(command: Command, outcome: Outcome) -> list[str]:
    """Find fault with what a command said that had to fail, but for lines about waiting."""
    lines = [line for line in outcome.err.splitlines() if ": waiting for " not in line]
    errors = [line for line in lines if line.startswith(f"{command.program}: error: ")]
    faults = [] if outcome.code == 2 else [f"exit code {outcome.code}"]
    if len(errors) != 1 or lines[-1:] != errors or (command.quiet and lines != errors):
        faults.append("not one line")
    if any(word in outcome.err for word in ("Traceback", "Warning", "Exception ignored")):
        faults.append("not for a user")
    return [f"{fault}: {outcome.err[-2000:]!r}" for fault in faults]
