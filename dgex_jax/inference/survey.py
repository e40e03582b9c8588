"""The first pass over a file: is it whole, in which range, with which means and deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.ranking import blocks_of
from dgex_jax.data.summation import RowSum
from dgex_jax.errors import FormatError
from dgex_jax.formats.finite import FiniteCheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dgex_jax.data.looks import Look
    from dgex_jax.data.progress import Progress
    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.inference.inputs import AnnotatedSource
    from dgex_jax.inference.platform import Route


@dataclass(frozen=True)
class Survey:
    """What a pass over all profiles has found of the landmarks present.

    Attributes
    ----------
    mean, deviation
        ``(n_landmarks,)`` float64 of the values on the reference scale; population deviation,
        exactly 0 for a landmark with a single value.
    lowest, highest
        Of all values.
    share_inside
        Share of the values inside the range asked for.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    lowest: float
    highest: float
    share_inside: float


def checked_blocks(
    source: AnnotatedSource,
    columns: NDArray[np.intp],
    look: Look,
    *,
    block_size: int,
    progress: Progress,
) -> Iterator[FloatArray]:
    """Read some columns of all profiles.

    Parameters
    ----------
    source, columns
        The file and what to read of it.
    look
        Sees every block.
    block_size, progress
        Profiles read at a time; where to report to.

    Yields
    ------
    FloatArray
        ``(n, n_columns)`` finite values, in order. Once one is not finite, the rest of the file is
        only checked.

    Raises
    ------
    FormatError
        A value beyond float32; after the last block: values are missing or infinite (how many, and
        the first place), or a profile has one value for all genes.
    """
    check = FiniteCheck(source.path, tuple(source.genes[column] for column in columns))
    flat: list[str] = []
    n_profiles = len(source.profiles)
    with progress.step(f"checking {source.path.name}", n_profiles) as tick:
        for rows in blocks_of(n_profiles, block_size):
            block = source.read(rows, columns)
            profiles = source.profiles[rows]
            check.add(block, profiles)
            if not (check.n_missing or check.n_infinite):
                _refuse_huge(source, block, profiles, columns)
                if block.shape[1] > 1:
                    same = (block == block[:, :1]).all(axis=1)
                    flat += [profiles[place] for place in np.flatnonzero(same)]
                look.add(block, profiles)
                yield block
            tick(len(block))
    check.raise_if_any()
    if flat:
        raise FormatError(
            f"{source.path}: {len(flat)} profiles have one value for all genes, the first is "
            f"{flat[0]!r}"
        )


def _refuse_huge(
    source: AnnotatedSource, block: FloatArray, profiles: Sequence[str], columns: NDArray[np.intp]
) -> None:
    huge = np.abs(block) > np.finfo(np.float32).max
    if huge.any():
        row, column = np.argwhere(huge)[0]
        raise FormatError(
            f"{source.path}: {block[row, column]} in profile {profiles[row]!r}, gene "
            f"{source.genes[columns[column]]!r} is beyond the range of float32"
        )


def check_profiles(
    source: AnnotatedSource,
    columns: NDArray[np.intp],
    look: Look,
    *,
    block_size: int,
    progress: Progress,
) -> None:
    """Raise `FormatError` for values that can't be used (see `checked_blocks`)."""
    for _ in checked_blocks(source, columns, look, block_size=block_size, progress=progress):
        pass


def survey(
    source: AnnotatedSource,
    route: Route,
    look: Look,
    *,
    inside: tuple[float, float],
    centre: NDArray[np.float64],
    block_size: int,
    progress: Progress,
) -> Survey:
    """Read all profiles once; memory does not grow with their number.

    Parameters
    ----------
    source, route
        The file and what is made of it.
    look
        Sees the values as they are in the file.
    inside
        Range whose share of the values is counted.
    centre
        ``(n_landmarks,)`` a value near each landmark's mean: deviations from it lose no digits.
    block_size, progress
        Profiles read at a time (changes no result); where to report to.

    Raises
    ------
    FormatError
        See `checked_blocks`.
    """
    total, squares = RowSum(len(centre)), RowSum(len(centre))
    lowest, highest = np.full(len(centre), np.inf), np.full(len(centre), -np.inf)
    n_inside = 0
    for block in checked_blocks(
        source, route.columns, look, block_size=block_size, progress=progress
    ):
        values = route(block)
        np.minimum(lowest, values.min(axis=0), out=lowest)
        np.maximum(highest, values.max(axis=0), out=highest)
        n_inside += int(np.count_nonzero((values >= inside[0]) & (values <= inside[1])))
        values -= centre
        total.add(values)
        squares.add(values**2)
    shift = total.mean()
    mean = centre + shift
    deviation = np.sqrt(np.maximum(squares.mean() - shift**2, 0))
    constant = lowest == highest
    mean[constant], deviation[constant] = lowest[constant], 0
    return Survey(
        mean=mean,
        deviation=deviation,
        lowest=float(lowest.min()),
        highest=float(highest.max()),
        share_inside=n_inside / (total.n_rows * len(centre)),
    )
