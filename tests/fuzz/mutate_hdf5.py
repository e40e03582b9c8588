"""Faults in an HDF5 file: by h5py in what it says, by bytes in its container."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tests.fuzz.mutate import delete, duplicate, flip_bits, random_bytes, truncate

if TYPE_CHECKING:
    import random
    from pathlib import Path

UNFIT = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError)
UNFIT = (*UNFIT, TypeError, ValueError)
HUGE = (10**6, 10**6)
PAIRS = np.dtype([("a", "f4"), ("b", "S3")])


def names_of(file: Any, kind: type) -> list[str]:
    """Names of all datasets (groups) of a file."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return sorted(found)


def other_data(draw: random.Random, n: int) -> dict[str, Any]:
    """Arguments of `create_dataset` for something else than was there."""
    m = draw.choice([0, 1, max(0, n - 1), n, n + 1, 7])
    numbers = np.arange(m)
    texts = [f"t{k}".encode() for k in range(m)]
    choices: list[dict[str, Any]] = [
        *({"data": numbers.astype(kind)} for kind in ("f2", "f4", ">f8", "g", "i1", "u8", ">i4")),
        {"data": numbers / 3},
        {"data": np.where(numbers == 1, -666, numbers)},
        {"data": numbers.astype(bool)},
        {"data": numbers.astype(complex)},
        {"data": numbers.reshape(-1, 1)},
        {"data": numbers.reshape(1, -1)},
        {"data": np.full(m, np.nan)},
        {"data": np.zeros(m, PAIRS)},
        {"data": 3.5},
        {"data": h5py.Empty("f4")},
        {"data": h5py.Empty("S5")},
        {"data": np.array(texts, dtype="S5")},
        {"data": texts, "dtype": h5py.string_dtype()},
        {"data": [b"\xff\xfe"] * m, "dtype": h5py.string_dtype()},
        {"data": np.array([b"\xff\xe9 \0x"] * m, dtype="S5")},
        {"shape": (m,), "dtype": h5py.vlen_dtype(np.int32)},
        {"shape": (m,), "dtype": h5py.ref_dtype},
        {"data": np.zeros(m, "i1"), "dtype": h5py.enum_dtype({"no": 0, "yes": 1}, "i1")},
        {"shape": (m,), "dtype": np.dtype("V6")},
        {"shape": (m, 3, 2), "dtype": "f4"},
        {"shape": HUGE, "dtype": "f4", "chunks": (100, 100), "fillvalue": 1.0},
        {"shape": (10**6,), "dtype": "S200000", "chunks": (1,)},
        {"shape": (10**9,), "dtype": "i4", "chunks": (1000,)},
        {"shape": (m,), "dtype": "S1000000", "chunks": (1,)} if m else {"data": numbers},
    ]
    return draw.choice(choices)


def other_dataset(file: Any, draw: random.Random) -> None:
    names = names_of(file, h5py.Dataset)
    if not names:
        return
    name = draw.choice(names)
    n, attributes = min(file[name].size or 0, 50), dict(file[name].attrs)
    del file[name]
    dataset = file.create_dataset(name, **other_data(draw, n))
    if draw.random() < 0.8:
        dataset.attrs.update(attributes)


def other_dtype(file: Any, draw: random.Random) -> None:
    """The same numbers as another type, or the matrix turned or cut."""
    names = [name for name in names_of(file, h5py.Dataset) if file[name].dtype.kind in "fiu"]
    # An earlier fault may have made it huge: that is for the reader to find out.
    names = [name for name in names if (file[name].size or 0) < 10**6]
    if not names:
        return
    name = draw.choice(names)
    values, attributes = file[name][...], dict(file[name].attrs)
    del file[name]
    with np.errstate(all="ignore"):
        kind = draw.choice(["f2", "f4", ">f4", "f8", "g", "i4", ">i8", "u2", values.dtype.str])
        values = np.nan_to_num(values).astype(kind)
    cut = draw.choice(["", "", "turn", "row", "column", "flat", "more"])
    if values.ndim == 2:
        values = {
            "turn": values.T,
            "row": values[1:],
            "column": values[:, :-1],
            "flat": values.ravel(),
            "more": np.concatenate([values, values[:1]]),
        }.get(cut, values)
    elif values.ndim == 1 and values.size and draw.random() < 0.7:
        values = values.copy()
        values[draw.randrange(len(values))] = draw.choice([0, 1, 3, 99])
    storage = {"chunks": True, "compression": "gzip"} if values.size and draw.random() < 0.4 else {}
    file.create_dataset(name, data=values, **storage).attrs.update(attributes)


def other_attribute(file: Any, draw: random.Random) -> None:
    items = [file, *(file[name] for name in names_of(file, h5py.Group | h5py.Dataset))]
    items = [item for item in items if item.attrs] or [file]
    item = draw.choice(items)
    name = draw.choice([*item.attrs.keys(), "version"])
    if draw.random() < 0.3:
        item.attrs.pop(name, None)
        return
    old = item.attrs.get(name)
    item.attrs[name] = draw.choice(
        [
            *("GCTX1.0 ", b"GCTX1.1", "", "x\ny", 1.0, 3, [1, 2], ["a", "b"], h5py.Empty("f4")),
            *(np.zeros(2, PAIRS), np.array([10**9, 10**9]), np.array([-1, 2]), item.ref, True),
            *(np.bytes_(b"\xff\xff"), np.array([b"GCTX1.0", b"GCTX1.0"]), "csr_matrix", "array"),
            *("dataframe", "0.2.0", "9.9", np.array([2, 2]), "x" * 5000, 0 if old is None else old),
        ]
    )


def other_link(file: Any, draw: random.Random) -> None:
    """Instead of an element a link that leads nowhere, in a circle or out of the file."""
    names = names_of(file, h5py.Group | h5py.Dataset)
    if not names:
        return
    name = draw.choice(names)
    del file[name]
    links = [h5py.SoftLink(f"/{name}"), h5py.SoftLink("/nowhere"), file["/"], None, "group"]
    link = draw.choice([*links, h5py.ExternalLink("/nowhere.h5", "/x")])
    if link == "group":
        file.require_group(name)
    elif link is not None:
        file[name] = link


def other_field(file: Any, draw: random.Random) -> None:
    """Another element beside those that are there."""
    group = draw.choice(["/", *names_of(file, h5py.Group)])
    name = draw.choice(["new", "a b", "a\nb", "é", "id2", b"\xff", ".x"])
    if name in file[group]:
        return
    if draw.random() < 0.2:
        file[group].create_group(name)
    else:
        file[group].create_dataset(name, **other_data(draw, draw.randint(0, 8)))


def outside(file: Any, draw: random.Random) -> None:
    """A dataset whose values lie in another file."""
    names = [name for name in names_of(file, h5py.Dataset) if file[name].dtype.kind in "fiu"]
    if not names:
        return
    name = draw.choice(names)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    if draw.random() < 0.5 or not shape:
        file.create_dataset(name, shape, dtype=dtype, external=[(__file__, 0, h5py.h5f.UNLIMITED)])
    else:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("/nowhere.h5", "x", shape=shape)
        file.create_virtual_dataset(name, layout)


SAID = (*[other_dataset] * 2, *[other_dtype] * 2, other_attribute, other_link, other_field, outside)


def zero_block(content: bytes, draw: random.Random) -> bytes:
    start = draw.randint(0, len(content))
    size = draw.choice([8, 64, 512])
    return content[:start] + draw.choice([b"\0", b"\xff"]) * size + content[start + size :]


def other_word(content: bytes, draw: random.Random) -> bytes:
    """Another 8-byte word where one that isn't empty was: sizes, addresses, counts."""
    words = [k for k in range(0, min(len(content) - 8, 1 << 14), 8) if any(content[k : k + 8])]
    start = draw.choice(words or [0])
    word = draw.choice([0, 1, 96, len(content), 2**31, 2**32 - 1, 2**63, 2**64 - 1])
    return content[:start] + word.to_bytes(8, "little") + content[start + 8 :]


CONTAINER = (flip_bits, random_bytes, *[other_word] * 2, zero_block, delete, duplicate, truncate)


def mutate_hdf5(path: Path, draw: random.Random) -> None:
    """One to three faults in the file at `path`."""
    kind = draw.random()
    if kind < 0.65:
        with h5py.File(path, "r+") as file:
            for _ in range(draw.choice([1, 1, 2, 3])):
                # What an earlier fault left behind may be past another one.
                with contextlib.suppress(*UNFIT):
                    draw.choice(SAID)(file, draw)
    if kind > 0.55:
        content = path.read_bytes()
        for _ in range(draw.choice([1, 1, 2])):
            content = draw.choice(CONTAINER)(content, draw)
        path.write_bytes(content)
