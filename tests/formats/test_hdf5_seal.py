"""A seal finds what changed in an HDF5 file, and is no hindrance to its readers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.hdf5_seal import check_seal, seal_hdf5

if TYPE_CHECKING:
    from pathlib import Path

VALUES = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)


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


def refused(path: Path) -> None:
    with pytest.raises(FormatError, match=r"a\.h5: damaged: names, attributes") as caught:
        check_seal(path)
    assert "\n" not in str(caught.value)


def test_readers_do_not_notice_it(sealed, tmp_path) -> None:
    plain = write(tmp_path / "plain.h5").read_bytes()
    assert sealed.read_bytes().startswith(plain)
    assert check_seal(sealed)
    assert not check_seal(tmp_path / "plain.h5")
    with h5py.File(sealed) as file:
        np.testing.assert_array_equal(file["a/X"][:], VALUES)
        assert list(file["ids"].asstr()) == ["one", "two"]
    before = sealed.read_bytes()
    seal_hdf5(tmp_path / "plain.h5")
    assert (tmp_path / "plain.h5").read_bytes() == before


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
    copy = tmp_path / "a" / "a.h5"
    copy.parent.mkdir()
    copy.write_bytes(content)
    with copy.open("r+b", buffering=0) as file:
        for place in [*range(0, size, 7), *range(size, len(content) - 25)]:
            os.pwrite(file.fileno(), bytes([content[place] ^ 16]), place)
            if place in inside:
                assert check_seal(copy)
            else:
                refused(copy)
            os.pwrite(file.fileno(), content[place : place + 1], place)
    assert check_seal(copy)
    unchecked = write(tmp_path / "b.h5", fletcher32=False)
    seal_hdf5(unchecked)
    assert seal_of(unchecked)["chunks"] == []


def test_chunks_are_not_read(sealed) -> None:
    """A sparse file of terabytes is checked at once."""
    with h5py.File(sealed, "w") as file:
        file.create_dataset(
            "X", (1 << 28, 1 << 10), "f4", chunks=(1 << 10, 1 << 10), fletcher32=True
        )
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
        b"",
        b"nothing\n",
        b"[]\n",
        b"{}\n",
        b"null\n",
        b"[" * 5000 + b"\n",
        b'{"size":SIZE,"chunks":[9,3],"sha256":"0"}\n',
        b'{"size":SIZE,"chunks":[1],"sha256":"0"}\n',
        b'{"size":SIZE,"chunks":[-5,3],"sha256":"0"}\n',
        b'{"size":SIZE,"chunks":["a",3],"sha256":"0"}\n',
        b'{"size":SIZE,"chunks":[1e300,2e300],"sha256":"0"}\n',
        b'{"size":SIZE,"chunks":{"a":1},"sha256":"0"}\n',
        b'{"size":SIZE,"chunks":[0,1e5000],"sha256":"0"}\n',
        b"\xff\xfe\n",
    ],
)
def test_seals_that_are_none(tmp_path, line) -> None:
    path = write(tmp_path / "a.h5")
    line = line.replace(b"SIZE", str(path.stat().st_size).encode())
    with path.open("ab") as file:
        file.write(line + b"dgex seal 1 %012d\n" % len(line))
    refused(path)


def test_a_seal_that_claims_to_be_longer_than_the_file(tmp_path) -> None:
    path = write(tmp_path / "a.h5")
    with path.open("ab") as file:
        file.write(b"dgex seal 1 999999999999\n")
    refused(path)


def test_places_that_can_not_be_read(tmp_path) -> None:
    for name in ("missing.h5", "."):
        with pytest.raises(FormatError, match="can't be read"):
            check_seal(tmp_path / name)
    (tmp_path / "empty.h5").touch()
    assert not check_seal(tmp_path / "empty.h5")
