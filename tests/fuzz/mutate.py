"""One to four faults in a valid text: bytes, lines, cells, columns, sizes, gzip, TOML values."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

from tests.fuzz.tables import BOM, Raw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Bytes = Callable[[bytes, random.Random], bytes]

BITS = (
    *(b"\0", b"\r", b"\n", b'"', b"\t", b",", b";", b" ", b"\xff", b"\xe9", b"\x1a", BOM, b"\\"),
    *(b"-666", b"1_0", b"1e999", b"nan", b"-inf", b"\xef\xbc\x91", b"0x1p3", b"1,5", b"--1", b"#"),
    *(b"1e", b".", b"-", b"+1", b"1.2.3", b"123456789012345678901234567890", b"\xc2\xa0", b"\x0b"),
    *("\u2028".encode(), b"NA", b"<NA>", b"True", b"1d5", b"''", b'""', b"\x1f\x8b", b"\x89HDF"),
)
SIZES = (b"0", b"1", b"-1", b"1000000000", b"9" * 30, b"9" * 5000, b"01", b"1.0", b" 2", b"2 ", b"")


def span(content: bytes, draw: random.Random) -> tuple[int, int]:
    start = draw.randint(0, len(content))
    return start, min(len(content), start + draw.choice([1, 1, 2, 5, 20, 200]))


def flip_bits(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 3, 10]) if content else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def random_bytes(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 4]) if content else 0):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def insert(content: bytes, draw: random.Random) -> bytes:
    start, _ = span(content, draw)
    return content[:start] + draw.choice(BITS) + content[start:]


def delete(content: bytes, draw: random.Random) -> bytes:
    start, stop = span(content, draw)
    return content[:start] + content[stop:]


def duplicate(content: bytes, draw: random.Random) -> bytes:
    start, stop = span(content, draw)
    return content[:stop] + content[start:]


def truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randint(0, len(content))]


def other_lines(content: bytes, draw: random.Random) -> bytes:
    """A line deleted, repeated or moved, or blank ones."""
    lines = content.split(b"\n")
    here, there = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(4)
    if kind == 0:
        del lines[here]
    elif kind == 1:
        lines.insert(here, lines[there])
    elif kind == 2:
        lines[here], lines[there] = lines[there], lines[here]
    else:
        blank = draw.choice([b"", b"\r", b" ", b"\t", b"\r\r"])
        lines[here:here] = [blank] * draw.randint(1, 3)
    return b"\n".join(lines)


def other_cells(content: bytes, draw: random.Random) -> bytes:
    """A cell dropped, repeated, added, moved, odd or quoted, in one line or in every line."""
    kind = draw.choice(["drop", "repeat", "swap", "odd", "add", "quote"])
    lines = content.split(b"\n")
    everywhere = kind in {"drop", "repeat", "swap"} and draw.random() < 0.5
    one, other = draw.random(), draw.random()
    for number in range(len(lines)) if everywhere else [draw.randrange(len(lines))]:
        if not lines[number]:
            continue
        cells = lines[number].split(b"\t")
        here, there = int(one * len(cells)), int(other * len(cells))
        if kind == "drop":
            del cells[here]
        elif kind == "repeat":
            cells.insert(here, cells[here])
        elif kind == "swap":
            cells[here], cells[there] = cells[there], cells[here]
        elif kind == "odd":
            cells[here] = draw.choice(BITS)
        elif kind == "add":
            where = int(one * (len(cells) + 1))
            cells.insert(where, draw.choice([b"", b"1.5", b"x", b"NA", b"new"]))
        else:
            quoted = draw.choice([b'"%b"', b"'%b'", b'"%b', b'%b"', b' "%b"'])
            cells[here] = quoted % cells[here]
        lines[number] = b"\t".join(cells)
    return b"\n".join(lines)


def other_delimiter(content: bytes, draw: random.Random) -> bytes:
    mark = draw.choice([b",", b";", b" ", b"|", b"\t\t"])
    return content.replace(b"\t", mark, -1 if draw.random() < 0.5 else draw.randint(1, 3))


def other_size(content: bytes, draw: random.Random) -> bytes:
    """Another whole number for one of the first ones: GCT's dimensions are among them."""
    numbers = list(re.finditer(rb"\d+", content[:400]))
    if not numbers:
        return content
    found = draw.choice(numbers[: draw.choice([4, 6, 40])])
    size = draw.choice([*SIZES, str(int(found[0]) + draw.choice([-1, 1])).encode()])
    return content[: found.start()] + size + content[found.end() :]


def line_ends(content: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.5:
        return content.replace(b"\n", draw.choice([b"\r\n", b"\r", b"\r\r\n", b"\n\n"]))
    return content.replace(b"\n", b"\r\n", draw.randint(1, 3))


def other_encoding(content: bytes, draw: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    name = draw.choice(["utf-16", "utf-16-le", "latin-1", "cp1252", "utf-8-sig", "utf-32"])
    return text.encode(name, "replace")


TEXT: tuple[Bytes, ...] = (
    *(flip_bits, random_bytes, insert, delete, duplicate, truncate, line_ends, other_encoding),
    *(other_delimiter, *[other_size] * 2, *[other_lines] * 4, *[other_cells] * 10),
)


def gzip_members(content: bytes, draw: random.Random) -> bytes:
    cut = draw.randint(0, len(content))
    return gzip.compress(content[:cut], mtime=0) + gzip.compress(content[cut:], mtime=0)


def tail(content: bytes, draw: random.Random) -> bytes:
    return content + draw.choice([b"\0" * 20, b"garbage", content, content[:5], b"\x1f\x8b"])


def mutate_text(content: bytes, draw: random.Random) -> bytes:
    """A text file with one to four faults, plain or inside gzip (which may be at fault too)."""
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        content = draw.choice(TEXT)(content, draw)
    kind = draw.random()
    if kind < 0.75:
        return content
    members = kind < 0.85 or draw.random() < 0.3
    packed = gzip_members(content, draw) if members else gzip.compress(content, mtime=0)
    if kind < 0.88:
        return packed
    change = draw.choice([flip_bits, random_bytes, delete, duplicate, truncate, insert, tail])
    return change(packed, draw)


VALUES: tuple[Any, ...] = (
    *("", " ", "x", "auto", "a\nb", "a\0b", "~\0", "~nobody-here/x", "é", "../..", "x" * 5000, 0),
    *(1, -1, 3.0, 1e308, 10**400, 10**18, -(10**400), True, False, [], [1], [[1]], [3, "x"], {}),
    *({"a": 1}, [{}], Raw("inf"), Raw("-inf"), Raw("nan"), Raw("1979-05-27"), Raw("07:32:00")),
    *(Raw("0xffffffffffffffffff"), Raw("9" * 5000), Raw("1e999"), Raw("1979-05-27T07:32:00Z")),
    *(Raw("[" * 400 + "]" * 400), Raw("[" * 100), Raw("'''a\nb'''"), Raw("0o17"), Raw("1_000")),
)
KEYS = ("epochs", "unit", "x", "", "a\nb", "a.b", "é", "x" * 3000, "files", "simulate", "training")


def mutate_study(content: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Values of other types, keys missing, unknown or moved."""
    changed = {k: dict(v) if isinstance(v, dict) else v for k, v in content.items()}
    for _ in range(draw.choice([1, 1, 2, 3])):
        tables: list[dict[str, Any]] = [changed]
        tables += [value for value in changed.values() if isinstance(value, dict)] * 2
        table = draw.choice(tables)
        if table and draw.random() < 0.2:
            del table[draw.choice(list(table))]
        elif table and draw.random() < 0.7:
            table[draw.choice(list(table))] = draw.choice(VALUES)
        else:
            table[draw.choice(KEYS)] = draw.choice(VALUES)
    return changed
