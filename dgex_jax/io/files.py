"""Files in and out: written completely or not at all, one process at a time, errors in one line."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dgex_jax.errors import DgexError, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import h5py
    import numpy as np

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
GZIP_MAGIC = b"\x1f\x8b"
HDF5_CAUSE = re.compile(r"errno = \d+, error message = '([^']+)'")
"""What the system said, inside HDF5's own message of addresses and times."""

READ_BYTES = 1 << 23
SECONDS_BETWEEN_LOOKS = 1.0
TEMPORARY = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp\.(.+)", re.DOTALL)
KEPT_OF_NAME = 40
"""Characters kept of the end of an output's name, where the suffixes are by which some writers
choose a format; all of a name could pass the limit of 255 bytes."""


# Reading


def one_line(error: BaseException) -> str:
    """Give the cause of `error` in one line, without the path that an `OSError` repeats."""
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    if causes := HDF5_CAUSE.findall(text):
        text = causes[-1]
    return " ".join(text.split())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `FormatError` that names the file."""
    try:
        yield
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `DgexError` that names the file."""
    try:
        yield
    except OSError as error:
        raise DgexError(f"{path}: can't be written: {one_line(error)}") from error


def read_head(path: Path, size: int = 8) -> bytes:
    """Read the first `size` bytes of a file.

    Raises `FormatError` if it is missing, a folder, a device or empty, or may not be read.
    """
    with reading(path):
        if not path.exists():
            raise FormatError(f"{path}: no such file")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not an ordinary file"
            more = " but a pipe; write it to a file first" if path.is_fifo() else ""
            raise FormatError(f"{path}: is {kind}{more}")
        with path.open("rb") as file:
            head = file.read(size)
    if not head:
        raise FormatError(f"{path}: is empty")
    return head


@contextmanager
def ordinary_file(path: Path) -> Iterator[Path]:
    """Give a path that can be read more than once: a temporary copy of ``-`` (stdin) or a pipe.

    Raises `FormatError` if it can't be read or copied.
    """
    is_input = str(path) == "-"
    if not is_input and not path.is_fifo():
        yield path
        return
    with temporary_folder(Path(tempfile.gettempdir()) / "dgex-input") as folder:
        copy = folder / ("standard input" if is_input else f"pipe {path.name}")
        with reading(path), ExitStack() as files, copy.open("wb") as file:
            pipe = sys.stdin.buffer if is_input else files.enter_context(path.open("rb"))
            shutil.copyfileobj(pipe, file)
        yield copy


@dataclass(frozen=True)
class Unchanged:
    """A file that must stay as it is while it is read.

    HDF5 gives zeros, without an error, for what lies beyond the end of a file that was cut off
    after it was opened; of a file rewritten meanwhile some values would be older than others.
    """

    path: Path
    handle: Path | int
    state: tuple[int, ...] | str

    @classmethod
    def of(cls, path: Path) -> Unchanged:
        """Remember the state of a file by its name."""
        return cls(path, path, _state(path))

    @classmethod
    def of_hdf5(cls, path: Path, file: h5py.File) -> Unchanged:
        """Remember the state of an open file, whose name may be removed."""
        descriptor = file.id.get_vfd_handle()
        return cls(path, descriptor, _state(descriptor))

    def check(self) -> None:
        """Raise `FormatError` if the file (device, inode, size, time of change) is another now."""
        now = _state(self.handle)
        if now != self.state:
            what = f"gone ({now})" if isinstance(now, str) else "changed"
            raise FormatError(f"{self.path}: was {what} before all of it was read")


def _state(handle: Path | int) -> tuple[int, ...] | str:
    try:
        status = handle.stat() if isinstance(handle, Path) else os.fstat(handle)
    except OSError as error:
        return one_line(error)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Closing(ABC):
    """A file that a ``with`` block closes, whatever the block raises."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()


def hash_range(digest: Any, descriptor: int, start: int, stop: int) -> None:
    """Add the bytes of a file from `start` to `stop`; fewer where the file ends before."""
    while start < stop and (piece := os.pread(descriptor, min(READ_BYTES, stop - start), start)):
        digest.update(piece)
        start += len(piece)


# Temporary names


def temporary_path(place: Path) -> Path:
    """Give a new hidden path beside the output `place`, with the same suffixes.

    The name holds the machine (since its boot, and the container's process namespace) and the
    process. What killed processes of this machine left of the same output is removed first. Raises
    `OSError` if the folder can't be read.
    """
    machine, name = _machine(), place.name[-KEPT_OF_NAME:]
    for path in place.parent.iterdir():
        found = TEMPORARY.fullmatch(path.name)
        if found and (found[1], found[3]) == (machine, name) and not _runs(int(found[2])):
            remove_temporary(path)
    return place.with_name(f".{machine}-{os.getpid()}-{secrets.token_hex(4)}.tmp.{name}")


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """Make a hidden folder beside `place`, removed at the end; `OSError` if it can't be made."""
    folder = temporary_path(place)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of that name is a temporary one."""
    return TEMPORARY.fullmatch(name) is not None


def remove_temporary(path: Path) -> None:
    """Remove a file or folder; what can't be removed now is removed the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _machine() -> str:
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Somebody else's, or no number that a process has: better left alone.
        return True
    return True


# Writing


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary path beside `final`; move it onto `final` when the block succeeds.

    The path is that of an empty file with the suffixes of `final` and the permissions of a new
    file. A symbolic link at `final` keeps pointing at the file it names. If the block fails, an
    older file stays as it was. Raises `DgexError` if the folder is missing or can't be written to,
    `final` is a folder or a device, or the disk refuses the file, also where the block met that as
    an `OSError` about this file.
    """
    place = final_place(final)
    try:
        temporary = temporary_path(place)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise DgexError(f"{final}: can't be written: {error.strerror}") from error
    try:
        yield temporary
        move_whole(temporary, place)
    except OSError as error:
        ours = (None, str(temporary), str(place), str(place.parent))
        # About another file that the block works with, its own text says more.
        if error.errno is None or error.filename not in ours:
            raise
        raise DgexError(f"{final}: can't be written: {one_line(error)}") from error
    finally:
        # What can't be removed now is the next time; the error before is what the user must know.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def final_place(final: Path) -> Path:
    """Give where a file is written, which of a symbolic link is where it points.

    Raises `DgexError` if a folder or device is there.
    """
    place = Path(final).resolve()
    if place.exists() and not place.is_file():
        raise DgexError(f"{final}: can't be written: it is not an ordinary file")
    return place


def move_whole(temporary: Path, place: Path) -> None:
    """Move a finished file onto `place`, on the disk under that name on return."""
    sync(temporary, os.O_RDWR)
    temporary.replace(place)
    sync(place.parent, os.O_RDONLY)


def replace_folder(new: Path, place: Path) -> None:
    """Move a finished folder onto `place`; an older one there goes once the new one is in place.

    No portable call exchanges two folders: after a kill between the two renames, or before the
    older one is gone, `restore_folder` does the rest. An `OSError` passes through.
    """
    aside = _aside(place)
    replaces = place.exists()
    if replaces:
        place.rename(aside)
    try:
        new.rename(place)
    except BaseException:
        if replaces:
            aside.rename(place)
        raise
    sync(place.parent, os.O_RDONLY)
    if replaces:
        remove_folder(aside, place)


def restore_folder(place: Path) -> None:
    """Put right what a process left that was killed in `replace_folder`."""
    aside = _aside(place)
    if aside.exists() and place.exists():
        remove_folder(aside, place)
    elif aside.exists():
        aside.rename(place)


def remove_folder(folder: Path, place: Path) -> None:
    """Remove a folder under a temporary name of `place`: nobody sees the half of it.

    What can't go yet (a reader on a network file system holds it) goes the next time.
    """
    hidden = temporary_path(place)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _aside(place: Path) -> Path:
    return place.with_name(f".{place.name[-KEPT_OF_NAME:]}.replaced")


def user_cache() -> Path | None:
    """Name the folder of the user's cache that is this program's; ``None`` for who has no home.

    It may not be there.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # a container's user without a name, and no HOME
        return None
    return base / "dgex-jax"


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, on the disk on return; an `OSError` passes through."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent, os.O_RDONLY)


def sync(path: Path, flags: int) -> None:
    """Wait until the disk has the file (or, opened read-only, the folder's entries)."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(path: Path, needed: int) -> None:
    """Raise `DgexError` if the disk of a file to be written has less than `needed` bytes free."""
    try:
        usage = shutil.disk_usage(path.parent)
    except OSError:
        # Whatever is wrong with the folder, the attempt to write there says it better.
        return
    # Some network drives don't tell and say 0.
    if usage.total and needed > usage.free:
        raise DgexError(
            f"{path}: can't be written: needs {needed:,} bytes, the disk has {usage.free:,} free"
        )


def fill_tensors(
    temporary: Path,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    path: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors in the safetensors format to `temporary`, which is to become `path`.

    safetensors first writes a private file beside the one it is given, under a name that doesn't
    tell whose it is. So it writes into a temporary folder, where a kill leaves nothing for ever,
    and the file gets the permissions of `temporary`. Raises `DgexError` if safetensors says that
    the disk refuses it; an `OSError` passes through.
    """
    import safetensors.numpy  # noqa: PLC0415 (imports NumPy, which most commands do without)

    with temporary_folder(temporary.with_name(f"{path.name}.tensors")) as folder:
        written = folder / "tensors"
        try:
            safetensors.numpy.save_file(
                dict(tensors), written, metadata=dict(metadata) if metadata else None
            )
        except safetensors.SafetensorError as error:
            raise DgexError(f"{path}: can't be written: {one_line(error)}") from error
        shutil.copymode(temporary, written)
        written.replace(temporary)


# Locks


def say(line: str) -> None:
    """Show a line on standard error at once."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def locked(
    output: Path,
    *,
    wait: bool = True,
    keep_waiting: Callable[[], bool] = lambda: True,
    report: Callable[[str], None] = say,
) -> Iterator[None]:
    """Hold the lock of an output (a file or folder) while the block runs.

    The lock is the operating system's on the file ``.<name>.lock`` beside the output, so it is
    free the moment its process ends, however that ends. The file itself stays. Its neighbour
    ``.<name>.lock.json`` says who holds it. The output's folder is made if missing. When there
    is a holder to wait for, `report` gets one line that names it, and `keep_waiting` is asked
    every second. Raises `DgexError`, which names the holder, if there is one and `wait` or
    `keep_waiting` is false, or if the lock file can't be made.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 (reading alone does without)

    path = output.parent / f".{output.name}.lock"
    holder = path.with_name(f"{path.name}.json")
    lock = FileLock(path, poll_interval=0.2)
    waiting = False
    try:
        make_folder(path.parent)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=SECONDS_BETWEEN_LOOKS if waiting else 0)
            except Timeout:
                if not wait or not keep_waiting():
                    raise DgexError(f"{output}: in use by {name_holder(holder)}") from None
                if not waiting:
                    report(f"{output}: waiting for {name_holder(holder)}")
                waiting = True
    except OSError as error:
        raise DgexError(f"{output}: can't be locked: {one_line(error)}") from error
    about = {"process": os.getpid(), "host": socket.gethostname()}
    about |= {"command": " ".join(sys.argv), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        try:
            # Only ever read by people, through `name_holder`, which bears half a file.
            holder.write_text(json.dumps(about), encoding="utf-8")
        except OSError as error:
            raise DgexError(f"{output}: can't be locked: {one_line(error)}") from error
        yield
    finally:
        try:
            # Who holds a lock is asked only while it is held.
            with suppress(OSError):
                holder.unlink(missing_ok=True)
        finally:
            lock.release()


def name_holder(path: Path) -> str:
    """Name who holds a lock, as far as its ``.lock.json`` tells."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"process {content['process']} on {content['host']}, since {content['since']} "
            f"({content['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
