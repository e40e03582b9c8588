"""Every file gets its final name in one way, found in the code itself.

A call that creates or changes files must write to what ``with atomic_path(...) as temporary`` gave,
or stand in a short list of modules whose job it is, each with its reason.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]

ATOMIC = {"atomic_path", "model_folder", "temporary_folder"}
"""What a ``with`` gives a temporary path by."""

METHODS = {
    *("write_text", "write_bytes", "touch", "mkdir", "rmdir", "unlink", "rename", "truncate"),
    *("symlink_to", "hardlink_to", "link_to", "chmod", "lchmod", "extractall", "extract"),
}
"""Methods of paths and files that change something, whatever their arguments."""

BY_ARGUMENT = {
    *("savefig", "to_csv", "to_json", "to_parquet", "to_hdf", "to_pickle", "to_excel", "tofile"),
    *("write_h5ad", "write_zarr", "write_loom", "save_file", "imsave"),
}
"""Functions that write to their first argument or ``path`` (`save_file`: second); without one,
they give a text."""

MODULES = {
    "os": {
        *("write", "pwrite", "writev", "pwritev", "truncate", "ftruncate", "posix_fallocate"),
        *("rename", "renames", "replace", "remove", "unlink", "mkdir", "makedirs", "rmdir"),
        *("removedirs", "link", "symlink", "mkfifo", "mknod", "chmod", "fdopen", "sendfile"),
    },
    "shutil": {
        *("copy", "copy2", "copyfile", "copyfileobj", "copymode", "copystat", "copytree"),
        *("move", "rmtree", "make_archive", "unpack_archive"),
    },
    "np": {"save", "savez", "savez_compressed", "savetxt"},
    "tempfile": {
        *("mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory"),
        "SpooledTemporaryFile",
    },
    "pickle": {"dump"},
    "json": {"dump"},
}
OPENERS = {"open": 0, "File": 1, "GzipFile": 1, "ZipFile": 1, "TarFile": 1, "memmap": 2}
"""What opens a file, and the place of its mode (of a method ``open`` one place earlier)."""

READS = {"r", "rb", "rt", "r:gz", None}

ALLOWED = {
    # The one way itself, of files and folders; removes what killed processes left, makes folders
    # that only one process needs, and says who holds a lock: its one reader bears half a note.
    "dgex_jax/io/files.py": {
        *("touch", "replace", "unlink", "mkdir", "os.open", "open", "write_text", "save_file"),
        *("rename", "shutil.rmtree", "shutil.copymode", "shutil.copyfileobj"),
    },
    "dgex_jax/io/manifest.py": {"unlink"},
    # <name>.partial and its journal, to resume from; its end is `move_whole`.
    "dgex_jax/io/partial.py": {"os.open", "os.pwrite", "unlink"},
    # These write to a path they are given: the temporary one of their callers.
    "dgex_jax/io/lines.py": {"gzip.GzipFile", "open"},
    "dgex_jax/io/hdf5.py": {"open"},
    # Of a scratch file in a `temporary_folder`, too.
    "dgex_jax/io/h5ad.py": {"h5py.File", "write_h5ad"},
    "dgex_jax/io/writers.py": {"h5py.File", "open"},
    "dgex_jax/prepare/normalize.py": {"open"},
    # A zarr store: a folder that is filled under another name, then moved; lock files of parts.
    "dgex_jax/io/zarr.py": {
        *("mkdir", "write_bytes", "unlink"),
        "open_group",  # in memory
    },
    # Of a figure, into memory.
    "dgex_jax/pages/page.py": {"savefig"},
    # A model folder, filled under another name, then moved.
    "dgex_jax/model/model.py": {"touch", "write_bytes"},
    # The files of a model taken out of an archive, in a `temporary_folder`; the archive goes.
    "dgex_jax/model/find.py": {"open", "unlink"},
    # Logs grow line by line, are on the disk before the run is called finished, and are written
    # again by a resumed run. What is replaced or no longer needed is removed.
    "dgex_jax/train/run.py": {"open", "unlink", "shutil.rmtree"},
    "dgex_jax/train/seeds.py": {"unlink"},
    # The folder of checkpoints of a fit that is done, emptied before.
    "dgex_jax/model/fit.py": {"rmdir"},
    "reproduce/figures.py": {"unlink"},
    # Of /proc, to count peak memory anew.
    "reproduce/beyond.py": {"write_text"},
    # What launched processes say, line by line.
    "reproduce/launch.py": {"open"},
    # <name>.partial of a download.
    "dgex_jax/download/fetch.py": {"open", "truncate", "write_text", "unlink"},
    # A cache of compiled programs, which JAX fills.
    "dgex_jax/compiled.py": {"mkdir", "unlink"},
    # A picture in memory, for a notebook.
    "dgex_jax/plots/axes.py": {"savefig"},
    # The end of the output, not a file.
    "dgex_jax/cli_options.py": {"os.open"},
}


@dataclass(frozen=True)
class Change:
    """A call that changes files."""

    line: int
    call: str


class Finder(ast.NodeVisitor):
    """Finds the calls that change files other than temporary ones of an enclosing ``with``."""

    def __init__(self) -> None:
        self.found: list[Change] = []
        self._temporary: list[str] = []

    def visit_With(self, node: ast.With) -> None:
        before = len(self._temporary)
        for item in node.items:
            self.visit(item.context_expr)
            call, name = item.context_expr, item.optional_vars
            if (
                isinstance(call, ast.Call)
                and isinstance(name, ast.Name)
                and name_of(call.func).split(".")[-1] in ATOMIC
            ):
                self._temporary.append(name.id)
        for line in node.body:
            self.visit(line)
        del self._temporary[before:]

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        changed = target(node)
        if changed is None:
            return
        if not (isinstance(changed, ast.Name) and changed.id in self._temporary):
            self.found.append(Change(node.lineno, label(node)))

    def generic_visit(self, node: ast.AST) -> None:
        # Also functions that are handed on, such as ``stack.callback(path.unlink)``.
        if isinstance(node, ast.Call):
            for argument in node.args:
                if isinstance(argument, ast.Attribute) and argument.attr in METHODS:
                    self.found.append(Change(argument.lineno, argument.attr))
        super().generic_visit(node)


def name_of(function: ast.expr) -> str:
    """Give the dotted name of a function, as far as it is one."""
    if isinstance(function, ast.Attribute):
        return f"{name_of(function.value)}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def label(node: ast.Call) -> str:
    """Name a call: a function of a module with the module, a method without what it is of."""
    dotted = name_of(node.func)
    first, _, last = dotted.rpartition(".")
    return dotted if first in {*MODULES, "h5py", "gzip", "zipfile", "zarr"} else last


def target(node: ast.Call) -> ast.expr | None:  # noqa: PLR0911
    """Give what a call changes; ``None`` if it changes no file."""
    dotted = name_of(node.func)
    module, _, last = dotted.rpartition(".")
    arguments = node.args
    named = {one.arg: one.value for one in node.keywords}
    receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
    first = arguments[0] if arguments else node
    if module in MODULES and last in MODULES[module]:
        return first
    if dotted == "os.open":
        return None if "O_RDONLY" in ast.unparse(node) else first
    if last in {"open_group", "open_array"}:
        return None if mode_of(named.get("mode")) in READS else first
    if last in BY_ARGUMENT:
        if last == "save_file":
            return arguments[1]
        return arguments[0] if arguments else named.get("path") or named.get("path_or_buf")
    if last in METHODS and receiver is not None and module not in MODULES:
        # Columns of a table have names as well.
        return None if "columns" in named else receiver
    if last == "replace" and len(arguments) == 1 and not named and module != "dataclasses":
        # Of a text: two; of a path: one.
        return receiver
    if last in OPENERS:
        of_path = last == "open" and receiver is not None
        place = OPENERS[last] + (last == "open" and not of_path)
        mode = named.get("mode", arguments[place] if len(arguments) > place else None)
        if mode_of(mode) in READS or (of_path and not is_mode(mode)):
            return None
        return receiver if of_path else first
    return None


def mode_of(mode: ast.expr | None) -> str | None:
    """Give a mode that stands in the code; one that doesn't counts as writing."""
    if mode is None:
        return None
    return str(mode.value) if isinstance(mode, ast.Constant) else "?"


def is_mode(mode: ast.expr | None) -> bool:
    """Whether what a method ``open`` is given can be a mode: archives and sites are opened too."""
    if isinstance(mode, ast.Constant):
        return bool(re.fullmatch(r"[rwax+bt]+", str(mode.value)))
    return isinstance(mode, ast.Name) and "mode" in mode.id


def changes(text: str) -> list[Change]:
    finder = Finder()
    finder.visit(ast.parse(text))
    return finder.found


def modules() -> Iterator[Path]:
    for package in ("dgex_jax", "reproduce"):
        yield from sorted((CHECKOUT / package).rglob("*.py"))


def test_nothing_goes_round_the_one_way() -> None:
    wrong, used = [], set()
    for path in modules():
        name = str(path.relative_to(CHECKOUT))
        for change in changes(path.read_text(encoding="utf-8")):
            used.add((name, change.call))
            if change.call not in ALLOWED.get(name, set()):
                wrong.append(f"{name}:{change.line}: {change.call}")
    assert not wrong, "files are written by `atomic_path` alone:\n" + "\n".join(wrong)
    stale = {(name, call) for name, calls in ALLOWED.items() for call in calls} - used
    assert not stale, f"allowed, but not in the code (any more): {sorted(stale)}"


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("path.write_text('x')", "write_text"),
        ("with atomic_path(p) as t:\n    path.write_bytes(b'x')", "write_bytes"),
        ("with atomic_path(p) as t:\n    pass\nt.write_bytes(b'x')", "write_bytes"),
        ("open(path, 'w')", "open"),
        ("open(path, mode)", "open"),
        ("path.open(mode='ab')", "open"),
        ("path.open('r+')", "open"),
        ("h5py.File(path, 'w')", "h5py.File"),
        ("os.replace(a, b)", "os.replace"),
        ("new.replace(place)", "replace"),
        ("table.to_csv(path)", "to_csv"),
        ("save_file(tensors, path)", "save_file"),
        ("figure.savefig(path, format='png')", "savefig"),
        ("np.savez(path, a=a)", "np.savez"),
        ("os.open(path, os.O_WRONLY)", "os.open"),
        ("stack.callback(path.unlink, missing_ok=True)", "unlink"),
        ("shutil.move(a, b)", "shutil.move"),
        ("zarr.open_group(store, mode='w')", "zarr.open_group"),
    ],
)
def test_what_would_be_found(code: str, call: str) -> None:
    assert [change.call for change in changes(code)] == [call]


@pytest.mark.parametrize(
    "code",
    [
        "with atomic_path(p) as t:\n    t.write_text('x')",
        "with lock, atomic_path(p) as t:\n    if x:\n        table.to_csv(t, sep=' ')",
        "with atomic_path(p) as t, h5py.File(t, 'w') as file:\n    pass",
        "with atomic_path(p) as t:\n    save_file(tensors, t, metadata={})",
        "table.to_csv(index=False)",
        "text.replace('a', 'b')",
        "dataclasses.replace(one, a=1)",
        "state.replace(params=2)",
        "open(path)",
        "path.open('rb')",
        "h5py.File(path, 'r', locking='best-effort')",
        "os.open(path, os.O_RDONLY)",
    ],
)
def test_what_is_no_way_round(code: str) -> None:
    assert not changes(code)
