"""Which profile of one file and which of another are one sample: by their ids, or by a table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import check_ids, listed
from dgex_jax.io.lines import kind_of, read_cells
from dgex_jax.prepare.genes import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

SHOWN = 3

_Pair = tuple[int, int]
"""Places of a sample's profiles in the file of landmarks and in that of the truth."""
_Places = tuple["Mapping[str, int]", "Mapping[str, int]"]
_Column = tuple[str, list[str]]
"""What a column is called, for people, and its cells."""


@dataclass(frozen=True)
class Pairs:
    """Profiles of two files that are one sample.

    `landmarks` and `truth` ``(n_pairs,)`` intp are their places in each file, ascending in the
    first. `notes` say how they were found and which profiles have no partner, a fact a line.
    """

    landmarks: NDArray[np.intp]
    truth: NDArray[np.intp]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Way:
    """What to read a table by, in words, and the pairs that this gives."""

    words: str
    pairs: AbstractSet[_Pair]

    @property
    def count(self) -> int:
        """Distinct profiles of the file that has fewer: a control, partner of all, counts once."""
        return min(len({pair[side] for pair in self.pairs}) for side in (0, 1))


def read_pairs(
    path: Path | None, landmarks: Sequence[str], truth: Sequence[str], names: tuple[Path, Path]
) -> Pairs:
    """Find the pairs of the profiles `landmarks` and `truth` (ids) of the two files `names`.

    Without a table (`path` is ``None``) profiles of the same id are pairs. A table (tabs or commas
    between cells, compressed or not, with or without a line of names) is read by what its cells
    hold: either each row has an id of both files, in two columns; or one column has the ids of
    both, and another a value (a donor, say) that one profile of each file has. The columns that
    pair most profiles count.

    Raises `FormatError` for ids that come twice in a file, no pair, a profile with two partners,
    columns that pair more than half as many profiles otherwise (both are named), or a table that
    can't be read.
    """
    for name, ids in zip(names, (landmarks, truth), strict=True):
        check_ids(name, "profile", ids)
    first, second = ({one: n for n, one in enumerate(ids)} for ids in (landmarks, truth))
    if path is None:
        way = _Way("", {(first[one], second[one]) for one in first if one in second})
        if not way.pairs:
            raise FormatError(
                f"{names[1]}: none of its profiles ({_examples(truth)}) has the id of one of "
                f"{names[0]} ({_examples(landmarks)}): a table of pairs is needed"
            )
    else:
        way = _best_way(path, (first, second), names)
    pairs = np.array(sorted(way.pairs), np.intp)
    by = "the same ids" if path is None else f"{way.words} of {path}"
    notes = [f"{len(pairs):,} pairs by {by}"]
    for side, (name, ids) in enumerate(zip(names, (landmarks, truth), strict=True)):
        paired = set(pairs[:, side].tolist())
        alone = [one for place, one in enumerate(ids) if place not in paired]
        if alone:
            left = f"{len(alone):,} of {len(ids):,} profiles of {name} have no partner"
            notes.append(f"{left}: {listed(alone, SHOWN)}")
    return Pairs(pairs[:, 0], pairs[:, 1], tuple(notes))


def _examples(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:SHOWN]))


def _best_way(path: Path, places: _Places, names: tuple[Path, Path]) -> _Way:
    columns = _columns(path, places)
    ways = [*_in_rows(columns, places), *_by_key(columns, places)]
    best = max(ways, key=lambda way: way.count, default=None)
    if best is None:
        raise FormatError(f"{path}: {_why_none(columns, places, names)}")
    partners: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for pair in sorted(best.pairs):
        for side in (0, 1):
            partners[side, pair[side]].add(pair[1 - side])
    for (side, place), others in partners.items():
        if len(others) > 1:
            ids = [*places[1 - side]]
            raise FormatError(
                f"{path}: by {best.words} profile {[*places[side]][place]!r} of {names[side]} has "
                f"{len(others)} partners: {listed([repr(ids[one]) for one in sorted(others)])}"
            )
    for rival in ways:
        if 2 * rival.count > best.count and not _one_to_one(best.pairs | rival.pairs):
            raise FormatError(
                f"{path}: by {best.words} and by {rival.words} other pairs are found "
                f"({best.count:,} and {rival.count:,}): leave only the columns that count in it"
            )
    return best


def _columns(path: Path, places: _Places) -> list[_Column]:
    """Read a table by columns; a first row without any id of the files names them."""
    if (kind := kind_of(path)) != "table":
        raise FormatError(f"{path}: is no table of pairs but a {kind} file")
    rows = list(read_cells(path))
    header: list[str] = []
    if rows and not any(cell in side for cell in rows[0][1] for side in places):
        _, header = rows.pop(0)
    if not rows:
        raise FormatError(f"{path}: has no rows that pair profiles")
    width = len(rows[0][1])
    header = ["", *header] if len(header) == width - 1 else header  # R: none above row names
    for number, row in rows:
        if len(row) != width or len(header) not in {0, width}:
            raise FormatError(
                f"{path}: line {number}: {len(row)} cells, not {len(header) or width}"
            )
    cells = zip(*(row for _, row in rows), strict=True)
    named = [f" {name!r}" if name else "" for name in header or [""] * width]
    texts = zip(named, cells, strict=True)
    return [(f"column {k}{name}", list(of)) for k, (name, of) in enumerate(texts, start=1)]


def _found(columns: Sequence[_Column], side: Mapping[str, int]) -> dict[str, list[int | None]]:
    """Place in a file, or none, of each cell of the columns that hold ids of the file."""
    places = {name: [side.get(text) for text in texts] for name, texts in columns}
    return {name: held for name, held in places.items() if held.count(None) < len(held)}


def _in_rows(columns: Sequence[_Column], places: _Places) -> Iterator[_Way]:
    """Pairs whose ids stand in one row, for each two columns that have any."""
    for one, first in _found(columns, places[0]).items():
        for other, second in _found(columns, places[1]).items():
            pairs = {
                (a, b)
                for a, b in zip(first, second, strict=True)
                if a is not None and b is not None
            }
            if one != other and pairs:
                yield _Way(f"{one} and {other}", pairs)


def _by_key(columns: Sequence[_Column], places: _Places) -> Iterator[_Way]:
    """Pairs whose ids stand in one column, and in another a value of these two alone."""
    found = [_found(columns, side) for side in places]
    for name in found[0].keys() & found[1].keys():
        held = [of_side[name] for of_side in found]
        if any(a is not None and b is not None for a, b in zip(*held, strict=True)):
            continue  # of such an id it can't be told whose profile it is
        n_fewer = min(len({*of_side} - {None}) for of_side in held)
        for key, values in columns:
            having: tuple[defaultdict[str, set[int]], ...] = (defaultdict(set), defaultdict(set))
            for of_value, of_side in zip(having, held, strict=True):
                for value, place in zip(values, of_side, strict=True):
                    if place is not None and value.casefold() not in NOTHING:
                        of_value[value].add(place)
            first, second = having
            if all(len(one) == 1 for of_value in having for one in of_value.values()):
                pairs = {
                    (a, b)
                    for value in first.keys() & second
                    for a in first[value]
                    for b in second[value]
                }
                if 2 * len(pairs) > n_fewer and _one_to_one(pairs):
                    yield _Way(f"the same {key} (ids: {name})", pairs)


def _one_to_one(pairs: AbstractSet[_Pair]) -> bool:
    return all(len({pair[side] for pair in pairs}) == len(pairs) for side in (0, 1))


def _why_none(columns: Sequence[_Column], places: _Places, names: tuple[Path, Path]) -> str:
    """Say which column comes nearest to either file."""
    told = []
    for side, name in zip(places, names, strict=True):
        counts = {one: len({*of} - {None}) for one, of in _found(columns, side).items()}
        if counts:
            column = max(counts, key=lambda one: counts[one])
            told.append(f"{column} has {counts[column]:,} of {len(side):,} ids of {name}")
        else:
            told.append(f"no column has ids of {name} ({_examples([*side])})")
    shared = places[0].keys() & places[1].keys()
    hint = "; ids that both files have are pairs without a table" if shared else ""
    return (
        f"pairs no profiles: {'; '.join(told)}; ids of both must stand in one row, or in one "
        f"column beside another with a value that one profile of each has{hint}"
    )
