"""A seal finds what changed in an HDF5 file, and is no hindrance to its readers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from dgex_jax.io.hdf5 import check_seal, seal_hdf5
from tests.io.refusing import refused

if TYPE_CHECKING:
    from pathlib import Path

VALUES = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
CHANGED = "damaged: names, attributes"


def write(path: Path, *, fletcher32: bool = True) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("a/X", data=VALUES, chunks=(4, 8), fletcher32=fletcher32)
        file["ids"] = np.array([b"one", b"two"])
        file["mean"] = VALUES.mean(axis=0)
        file.attrs["title"] = "T"
    return path


@pytest.fixture
def sealed(tmp_path) -> Path:
    path = write(tmp_path / "a.h5")
    seal_hdf5(path)
    return path


def seal_of(path: Path) -> dict:
    content = path.read_bytes()
    return json.loads(content[-25 - int(content[-13:-1]) : -25])


def test_readers_do_not_notice_it(sealed, tmp_path) -> None:
    plain = write(tmp_path / "plain.h5")
    assert sealed.read_bytes().startswith(plain.read_bytes())
    assert check_seal(sealed)
    assert not check_seal(plain)
    with h5py.File(sealed) as file:
        np.testing.assert_array_equal(file["a/X"][:], VALUES)
        assert list(file["ids"].asstr()) == ["one", "two"]
    seal_hdf5(plain)
    assert plain.read_bytes() == sealed.read_bytes()


def test_all_but_checksummed_chunks_is_covered(sealed, tmp_path) -> None:
    """Byte by byte, against where h5py says that the chunks lie."""
    with h5py.File(sealed) as file:
        dataset = file["a/X"]
        found = [dataset.id.get_chunk_info(n) for n in range(dataset.id.get_num_chunks())]
    inside = {
        place for one in found for place in range(one.byte_offset, one.byte_offset + one.size)
    }
    assert len(inside) == 10 * (4 * 8 * 4 + 4)
    content = sealed.read_bytes()
    size = seal_of(sealed)["size"]
    with sealed.open("r+b", buffering=0) as file:
        for place in [*range(0, size, 7), *range(size, len(content) - 25)]:
            os.pwrite(file.fileno(), bytes([content[place] ^ 16]), place)
            if place in inside:
                assert check_seal(sealed)
            else:
                refused(check_seal, sealed, CHANGED)
            os.pwrite(file.fileno(), content[place : place + 1], place)
    assert check_seal(sealed)
    unchecked = write(tmp_path / "b.h5", fletcher32=False)
    seal_hdf5(unchecked)
    assert seal_of(unchecked)["chunks"] == []


def test_chunks_are_not_read(sealed) -> None:
    """A sparse file of terabytes is checked at once."""
    with h5py.File(sealed, "w") as file:
        chunks = (1 << 10, 1 << 10)
        file.create_dataset("X", (1 << 28, 1 << 10), "f4", chunks=chunks, fletcher32=True)
        file["X"][5, :] = 1.0
    seal_hdf5(sealed)
    first, stop = seal_of(sealed)["chunks"]
    assert stop - first == (1 << 22) + 4
    with sealed.open("r+b") as file:
        file.seek(first + 12345)
        file.write(b"damage")
    assert check_seal(sealed)
    with h5py.File(sealed) as file, pytest.raises(OSError, match=r"checksum|fletcher|filter"):
        file["X"][5, 0]


def test_a_change_through_hdf5_drops_it(sealed) -> None:
    with h5py.File(sealed, "r+") as file:
        file["mean"][0] = 7
        file.attrs["new"] = "x" * 1000
    assert not check_seal(sealed)
    with h5py.File(sealed) as file:
        assert file["mean"][0] == 7


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"nothing\n", b"[]\n", b"{}\n", b"null\n", b"[" * 5000 + b"\n", b"\xff\xfe\n"),
        *(
            b'{"size":SIZE,"chunks":%b,"sha256":"0"}\n' % chunks
            for chunks in (
                *(b"[9,3]", b"[1]", b"[-5,3]", b'["a",3]', b"[1e300,2e300]", b'{"a":1}'),
                b"[0,1e5000]",
            )
        ),
        None,
    ],
)
def test_seals_that_are_none(tmp_path, line) -> None:
    path = write(tmp_path / "a.h5")
    end = b"dgex seal 1 999999999999\n"  # longer than the file
    if line is not None:
        line = line.replace(b"SIZE", str(path.stat().st_size).encode())
        end = line + b"dgex seal 1 %012d\n" % len(line)
    with path.open("ab") as file:
        file.write(end)
    refused(check_seal, path, CHANGED)


def test_places_that_can_not_be_read(tmp_path) -> None:
    for name in ("missing.h5", "."):
        refused(check_seal, tmp_path / name, "can't be read")
    (tmp_path / "empty.h5").touch()
    assert not check_seal(tmp_path / "empty.h5")
