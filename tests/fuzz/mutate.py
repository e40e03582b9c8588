"""One to four faults in a valid file: bytes, lines, cells, columns, sizes, gzip, TOML values."""

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


def place(content: bytes, draw: random.Random) -> int:
    return draw.randint(0, len(content))


def span(content: bytes, draw: random.Random) -> tuple[int, int]:
    start = place(content, draw)
    return start, min(len(content), start + draw.choice([1, 1, 2, 5, 20, 200]))


def flip_bits(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 3, 10])):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def random_bytes(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 4])):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def insert(content: bytes, draw: random.Random) -> bytes:
    where = place(content, draw)
    return content[:where] + draw.choice(BITS) + content[where:]


def delete(content: bytes, draw: random.Random) -> bytes:
    start, stop = span(content, draw)
    return content[:start] + content[stop:]


def duplicate(content: bytes, draw: random.Random) -> bytes:
    start, stop = span(content, draw)
    return content[:stop] + content[start:]


def truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: place(content, draw)]


def over_lines(change: Callable[[list[bytes], random.Random], None]) -> Bytes:
    def changed(content: bytes, draw: random.Random) -> bytes:
        lines = content.split(b"\n")
        change(lines, draw)
        return b"\n".join(lines)

    return changed


@over_lines
def delete_line(lines: list[bytes], draw: random.Random) -> None:
    del lines[draw.randrange(len(lines))]


@over_lines
def duplicate_line(lines: list[bytes], draw: random.Random) -> None:
    lines.insert(draw.randrange(len(lines)), draw.choice(lines))


@over_lines
def swap_lines(lines: list[bytes], draw: random.Random) -> None:
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


@over_lines
def blank_lines(lines: list[bytes], draw: random.Random) -> None:
    where = draw.randrange(len(lines))
    lines[where:where] = [draw.choice([b"", b"\r", b" ", b"\t", b"\r\r"])] * draw.randint(1, 3)


def over_cells(change: Callable[[list[bytes], random.Random, float], None], every: bool) -> Bytes:
    """Change one line's cells, or the same column of every line."""

    def changed(content: bytes, draw: random.Random) -> bytes:
        lines = content.split(b"\n")
        chosen = range(len(lines)) if every else [draw.randrange(len(lines))]
        column, state = draw.random(), draw.getstate()
        for number in chosen:
            if lines[number]:
                draw.setstate(state)
                cells = lines[number].split(b"\t")
                change(cells, draw, column)
                lines[number] = b"\t".join(cells)
        return b"\n".join(lines)

    return changed


def drop_cell(cells: list[bytes], draw: random.Random, column: float) -> None:  # noqa: ARG001
    del cells[int(column * len(cells))]


def repeat_cell(cells: list[bytes], draw: random.Random, column: float) -> None:  # noqa: ARG001
    where = int(column * len(cells))
    cells.insert(where, cells[where])


def odd_cell(cells: list[bytes], draw: random.Random, column: float) -> None:
    cells[int(column * len(cells))] = draw.choice(BITS)


def add_cell(cells: list[bytes], draw: random.Random, column: float) -> None:
    cells.insert(int(column * (len(cells) + 1)), draw.choice([b"", b"1.5", b"x", b"NA", b"new"]))


def swap_cells(cells: list[bytes], draw: random.Random, column: float) -> None:
    one, other = int(column * len(cells)), int(draw.random() * len(cells))
    cells[one], cells[other] = cells[other], cells[one]


def quote_cell(cells: list[bytes], draw: random.Random, column: float) -> None:
    where = int(column * len(cells))
    cells[where] = draw.choice([b'"%b"', b"'%b'", b'"%b', b'%b"', b' "%b"']) % cells[where]


def other_delimiter(content: bytes, draw: random.Random) -> bytes:
    mark = draw.choice([b",", b";", b" ", b"|", b"\t\t"])
    if draw.random() < 0.5:
        return content.replace(b"\t", mark)
    return content.replace(b"\t", mark, draw.randint(1, 3))


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
    *(flip_bits, random_bytes, insert, delete, duplicate, truncate),
    *(delete_line, duplicate_line, swap_lines, blank_lines),
    *(over_cells(change, every=False) for change in (drop_cell, repeat_cell, odd_cell, add_cell)),
    *(over_cells(change, every=True) for change in (drop_cell, repeat_cell, swap_cells)),
    *(over_cells(change, every=False) for change in (odd_cell, swap_cells, quote_cell)),
    *(other_delimiter, other_size, other_size, line_ends, other_encoding),
)


def gzip_twice(content: bytes, draw: random.Random) -> bytes:
    return gzip.compress(content, mtime=draw.randint(0, 9))


def gzip_members(content: bytes, draw: random.Random) -> bytes:
    cut = place(content, draw)
    return gzip.compress(content[:cut], mtime=0) + gzip.compress(content[cut:], mtime=0)


def damaged_gzip(content: bytes, draw: random.Random) -> bytes:
    packed = gzip_members(content, draw) if draw.random() < 0.3 else gzip.compress(content, mtime=0)
    change = draw.choice([flip_bits, random_bytes, delete, duplicate, truncate, insert, tail])
    return change(packed, draw)


def tail(content: bytes, draw: random.Random) -> bytes:
    return content + draw.choice([b"\0" * 20, b"garbage", content, content[:5], b"\x1f\x8b"])


def mutate_text(content: bytes, draw: random.Random) -> bytes:
    """A text file with one to four faults, plain or inside gzip (which may be at fault too)."""
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        content = draw.choice(TEXT)(content, draw)
    kind = draw.random()
    if kind < 0.75:
        return content
    if kind < 0.85:
        return gzip_members(content, draw)
    return gzip_twice(content, draw) if kind < 0.88 else damaged_gzip(content, draw)


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
