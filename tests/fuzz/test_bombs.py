"""Small files that claim, or unpack to, gigabytes: a clean error in stated memory and time."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from tests.fuzz.drive import Child
from tests.fuzz.tables import Table, write_gctx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BYTES = 1 << 30
"""What a reader may take before it refuses: eight of the longest lines it would accept."""
SECONDS = 30.0
"""Of processor time, for four million rows; all others take two or three."""
MEMBER = 1 << 24


def packed(head: bytes, cell: bytes) -> bytes:
    """A gzip file of about 1 MB that unpacks to `head` and 1 GiB of `cell`s."""
    member = gzip.compress(cell * (MEMBER // len(cell)), mtime=0)
    content = gzip.compress(head, mtime=0) + member * (1 << 30 >> 24)
    assert len(content) < 8 << 20
    return content


GCT = b"#1.2\n1\t1\nName\tDescription\tp\n"
TEXT: dict[str, tuple[str, bytes, bytes, str]] = {
    "zeros": ("gct", b"", b"\0", "line 1: is longer"),
    "zeros in a gene map": ("map", b"", b"\0", "line 1: is longer"),
    "one line": ("gct", GCT, b"1", "line 4: is longer"),
    "one version": ("gct", b"#1.2", b" ", "line 1: is longer"),
    "line ends": ("gct", b"", b"\n", "has more than 4194304 lines"),
    "line ends below": ("rpkm", b"TargetID\tGene_Symbol\tChr\tCoord\tp\n", b"\n", "has more than"),
    "one cell": ("table", b"g\tp\na\t", b"1", "line 2: is longer"),
    "columns": ("gct", GCT[:-2], b"\tp", "is longer than 134217728 bytes"),
    "rows": ("table", b"g\tp\n", b"a\t1\n", "has more than 4194304 lines"),
    "probes": ("map", b"A\tENSG1\t", b"a,", "line 1: is longer"),
    "one gene": ("map", b"", b"A\tENSG1\t1\n", "is already in line 1"),
}


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Iterator[Callable[[str, Path, str], None]]:
    """Have a child process read a file; the error, the time and the memory are checked."""
    with Child(tmp_path_factory.mktemp("child")) as child:

        def ask(kind: str, path: Path, cause: str) -> None:
            answer = child.ask({"kind": kind, "path": str(path)})
            assert answer["outcome"] == "refused", answer
            assert cause in answer["why"]
            assert answer["seconds"] < SECONDS, answer
            assert answer["bytes"] < BYTES, answer

        yield ask


@pytest.mark.long
@pytest.mark.parametrize("name", TEXT)
def test_text(judge, tmp_path: Path, name: str) -> None:
    kind, head, cell, cause = TEXT[name]
    path = tmp_path / "a.gz"
    path.write_bytes(packed(head, cell))
    judge(kind, path, cause)


@pytest.mark.long
def test_a_plain_line_of_1_gib(judge, tmp_path: Path) -> None:
    for kind in ("gct", "rpkm", "map", "study"):
        path = tmp_path / kind
        with path.open("wb") as file:
            file.truncate(1 << 30)
        judge(kind, path, "larger than" if kind == "study" else "line 1: is longer")


@pytest.mark.parametrize(
    ("kind", "text", "cause"),
    [
        ("gct", f"#1.2\n{10**9}\t{10**9}\nName\tDescription\tp\ng\td\t1\n", "says 1000000000 prof"),
        ("gct", f"#1.2\n{10**9}\t1\nName\tDescription\tp\ng\td\t1\n", "says 1000000000 rows"),
        ("gct", f"#1.3\n1\t1\t{10**9}\t0\nid\tp\ng\t1\n", "has no profiles"),
        ("gct", f"#1.3\n1\t1\t0\t{10**9}\nid\tp\ng\t1\n", "ends before its profile annotation"),
        ("gct", f"#1.2\n{'9' * 10**6}\t1\nName\tDescription\tp\ng\td\t1\n", "is not 2 numbers"),
        ("study", "a = " + "[\n" * 32_000, "nested too deeply"),
        ("study", "a = " + "[" * 100_000, "larger than a study file can be"),
        ("study", ".".join("a" * 100_000) + " = 1", "larger than a study file can be"),
        ("study", (".".join("a" * 2000) + "x.b = 1\n") * 15, "is no TOML"),
    ],
)
def test_sizes_and_depths_in_text(judge, tmp_path: Path, kind: str, text: str, cause: str) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    judge(kind, path, cause)


def huge_matrix(file: h5py.File) -> None:
    file.create_dataset("0/DATA/0/matrix", (10**6, 10**6), "f4", chunks=(100, 100), fillvalue=1)
    for axis in ("COL", "ROW"):
        file.create_dataset(f"0/META/{axis}/id", data=np.arange(10**6), compression="gzip")


def huge_fields(file: h5py.File) -> None:
    write_gctx_parts(file)
    file.create_dataset("0/META/ROW/x", (3,), "S1000000000", chunks=(1,), compression="gzip")


def empty_ids(file: h5py.File) -> None:
    file.create_dataset("0/DATA/0/matrix", (10**6, 10**6), "f4", chunks=(100, 100))
    for axis in ("COL", "ROW"):
        file.create_dataset(f"0/META/{axis}/id", (10**6,), "S50", chunks=(10_000,))


def one_long_id(file: h5py.File) -> None:
    write_gctx_parts(file)
    del file["0/META/ROW/id"]
    file["0/META/ROW/id"] = [b"x" * (8 << 20)] * 2 + [b"y"]


def write_gctx_parts(file: h5py.File) -> None:
    file["0/DATA/0/matrix"] = np.zeros((2, 3), "f4")
    file["0/META/COL/id"] = [b"a", b"b"]
    file["0/META/ROW/id"] = [b"c", b"d", b"e"]


HDF5 = {
    "values": (huge_matrix, "more memory than there is"),
    "fields": (huge_fields, "declares 3000000000 bytes"),
    "empty ids": (empty_ids, "the id of profile 1 is empty"),
    "one id": (one_long_id, "duplicate gene id"),
}


@pytest.mark.parametrize("name", HDF5)
def test_shapes_and_texts_in_hdf5(judge, tmp_path: Path, name: str) -> None:
    fill, cause = HDF5[name]
    path = tmp_path / "a.gctx"
    with h5py.File(path, "w") as file:
        file.attrs["version"] = "GCTX1.0"
        fill(file)
    judge("gctx", path, cause)


def test_a_gzip_of_hdf5(judge, tmp_path: Path) -> None:
    write_gctx(tmp_path / "a.gctx", Table(("p",), ("g",), np.ones((1, 1))))
    path = tmp_path / "b.gctx"
    path.write_bytes(gzip.compress((tmp_path / "a.gctx").read_bytes()))
    judge("gctx", path, "does not begin as an HDF5 file")
