"""Which samples of an ARCHS4 file a study uses: no single cells, a list, a random part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import View, decode_text, listed
from dgex_jax.io.lines import read_lines
from dgex_jax.prepare.split import ids_of_cell, shuffled

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.io.archs4 import Archs4
    from dgex_jax.rawfiles import Compendium

PROBABILITY = "singlecellprobability"


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
