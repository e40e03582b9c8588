"""Which profiles of a compendium a study uses, and which belong to one part of its split.

Of an ARCHS4 file single cells are left out, a list or a random part is chosen; groups are those of
a field of the profiles' annotation, or of a file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import View, decode_text, listed
from dgex_jax.io.lines import read_cells, read_lines
from dgex_jax.prepare.genes import symbol_text
from dgex_jax.prepare.split import shuffled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.io.archs4 import Archs4
    from dgex_jax.io.expression import AnnotatedSource
    from dgex_jax.rawfiles import Compendium

PROBABILITY = "singlecellprobability"
SERIES = re.compile(r"[A-Z]{3,4}\d+|E-[A-Z]+-\d+")
"""The accession of a series (GSE, SRP, E-MTAB); of these several may be in one cell."""
SEPARATORS = re.compile(r"[,;|\t]|Xx-xX")
"""Between the ids of one cell; the last is what ARCHS4 (version 1) has between series."""


def select(source: Archs4, chosen: Compendium, seed: int) -> tuple[View, tuple[str, ...]]:
    """Choose the samples a compendium asks for, in file order; also gives notes with all counts.

    Single cells go first, then what is not listed; the random choice is among the rest. Raises
    `FormatError` if nothing is left, or the list or a field of metadata can't be read;
    `PreparationError` if more samples are asked for than are left.
    """
    n = len(source.profiles)
    left, notes = _bulk(source, chosen.single_cell)
    if chosen.samples is not None:
        there, told = _in_list(source, chosen.samples)
        notes += told
        if single := np.count_nonzero(there & ~left):
            notes.append(f"{single:,} of them are single cells")
        left &= there
    places = np.flatnonzero(left)
    if not len(places):
        raise FormatError(f"{source.path}: none of its {n:,} samples is left: {'; '.join(notes)}")
    if (wanted := chosen.sample) is not None:
        if wanted > len(places):
            raise PreparationError(
                f"{source.path}: sample = {wanted}: only {len(places)} samples are left"
            )
        notes.append(f"{wanted:,} of {len(places):,} samples by chance (seed {seed})")
        places = np.sort(places[shuffled(seed, "samples", len(places))[:wanted]])
    notes.append(f"{len(places):,} of its {n:,} samples are used")
    return View(source, profile_places=places), tuple(notes)


def _bulk(source: Archs4, limit: float) -> tuple[NDArray[np.bool_], list[str]]:
    """Tell which samples are no single cells."""
    found = source.profile_field(PROBABILITY)
    if found is None:
        note = f"it has no {PROBABILITY}: single cells, if there are any, are not left out"
        return np.ones(len(source.profiles), np.bool_), [note]
    if isinstance(found, list):
        raise FormatError(f"{source.path}: {PROBABILITY} holds text, not numbers")
    single = found >= limit
    notes = [f"{single.sum():,} single cells ({PROBABILITY} >= {limit:g}) are left out"]
    if unknown := int(np.isnan(found).sum()):
        notes.append(f"{unknown:,} samples without a {PROBABILITY} are not left out")
    return ~single, notes


def _in_list(source: Archs4, path: Path) -> tuple[NDArray[np.bool_], list[str]]:
    """Tell which samples have a listed id, their own or that of one of their series."""
    lines = (decode_text(line).partition("#")[0].strip() for _, line in read_lines(path))
    wanted = set(filter(None, lines))
    if not wanted:
        raise FormatError(f"{path}: has no ids")
    cells = source.profile_field("series_id")
    series = cells if isinstance(cells, list) else [""] * len(source.profiles)
    found = [
        wanted.intersection((gsm, *ids_of_cell(cell)))
        for gsm, cell in zip(source.profiles, series, strict=True)
    ]
    there = np.array([bool(ids) for ids in found])
    unknown = sorted(wanted.difference(*found))
    notes = [f"{there.sum():,} samples have one of the {len(wanted):,} ids of {path.name}"]
    if cells is None:
        notes.append("it has no series_id: only GSM ids can be found")
    if unknown:
        notes.append(f"{len(unknown):,} ids of {path.name} are not in it: {listed(unknown)}")
    return there, notes


def groups_of(
    source: AnnotatedSource, by: str | Path | None
) -> tuple[tuple[str, ...] | None, NDArray[np.intp] | None, tuple[str, ...]]:
    """Read what the profiles are split by: a field of their annotation, or a file.

    Gives for each its group as written (empty: one of its own) and the number of it, ``None``
    without a field or file, and notes. Raises `FormatError` if no profile has a group.
    """
    if by is None:
        return None, None, ()
    if isinstance(by, Path):
        found = _group_of(by)
        names = [found.get(profile, "") for profile in source.profiles]
        where = f"{by}"
    else:
        metadata = source.profile_metadata
        if by not in metadata.columns:
            there = ", ".join(map(str, metadata.columns)) or "none"
            raise FormatError(
                f"{source.path}: its profiles have no field {by!r} to split by (there: {there})"
            )
        names = [symbol_text(text) for text in metadata[by]]
        where = f"the field {by!r} of {source.path.name}"
    alone = [name for name, group in zip(source.profiles, names, strict=True) if not group]
    if len(alone) == len(names):
        raise FormatError(f"{source.path}: no profile has a group by {where}")
    text = f"{len(alone):,} profiles have no group by {where}, each is one of its own"
    notes = (f"{text}: {listed(alone, 3)}",) if alone else ()
    return tuple(names), _numbered(names), notes


def _group_of(path: Path) -> dict[str, str]:
    """Read a file of two columns: profile and group."""
    groups: dict[str, str] = {}
    for number, cells in read_cells(path):
        if len(cells) != 2:
            raise FormatError(
                f"{path}: line {number}: {len(cells)} columns, not 2 (profile and group)"
            )
        profile, group = cells
        if groups.setdefault(profile, group) != group:
            raise FormatError(f"{path}: line {number}: profile {profile!r} has two groups")
    return groups


def _numbered(groups: Sequence[str]) -> NDArray[np.intp]:
    """Give each profile the number of its group; those that share one of several series are one."""
    cells = []
    for name in groups:
        ids = ids_of_cell(name.replace(" ", ","))
        several = bool(ids) and all(map(SERIES.fullmatch, ids))
        cells.append(",".join(ids) if several else SEPARATORS.sub("\0", name))
    return linked_groups(cells)


def ids_of_cell(cell: str) -> list[str]:
    """Give the ids (of series, say) that stand in one cell, without the space around them."""
    return [name for part in SEPARATORS.split(cell) if (name := part.strip())]


def linked_groups(cells: Sequence[str]) -> NDArray[np.intp]:
    """Give each profile the number of its group, which must stay together in a split.

    `cells` have the ids (of series, donors, …) of each profile, several separated by a comma,
    semicolon, bar or tab. Profiles that share an id are in one group, and so are those that others
    link. A profile whose cell is empty is a group of its own. Gives ``(n,)`` intp: groups from 0 on
    in the order in which they first come.
    """
    # Loaded here, as training reads prepared studies without SciPy.
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    n = len(cells)
    of_id: dict[str, int] = {}
    pairs = [
        (profile, of_id.setdefault(name, n + len(of_id)))
        for profile, cell in enumerate(cells)
        for name in ids_of_cell(cell)
    ]
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    size = n + len(of_id)
    links = coo_array((np.ones(len(pairs), np.bool_), (rows, columns)), shape=(size, size))
    labels = connected_components(links, directed=False)[1][:n]
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]
