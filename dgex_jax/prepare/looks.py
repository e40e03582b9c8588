"""What the values of a file look like: its platform's, and its columns profiles, not annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import (
    SAMPLES,
    SHARES,
    STATISTICS,
    View,
    is_annotation_name,
    is_table,
    listed,
    plain_name,
    positions,
)
from dgex_jax.prepare.hgnc import hgnc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import Platform, Values
    from dgex_jax.io.expression import AnnotatedSource, FloatArray, Selection

FORCE = "--force-platform overrides this check"

ENOUGH_VALUES = 100
"""A file of fewer values says nothing about what they are."""
ENOUGH_GENES = 200
"""From so many genes on profiles of one platform resemble each other."""
MOST_GENES = 1000
"""Genes that a profile is compared by."""
HIGHEST_LOG = 50.0
"""No logarithm of an expression value is larger."""
SAMPLE = 512
"""Profiles whose values show how they are distributed."""
MOST_NEGATIVE = 0.05
"""Share of values below 0 that RNA-seq values other than counts and logarithms have at most."""
LEAST_NEGATIVE = 0.2
"""Share of values below 0 that values around 0 have at least."""
MANY_LOWEST = 0.01
"""Share of the values that are the lowest where this is the logarithm of no expression."""
MOST_WHOLE = 0.2
"""Share of the profiles that are whole numbers, up to which the others tell what values are."""
ALIKE, UNLIKE = 0.7, 0.25
"""Correlation of log-like values (arcsinh) with the mean: of most profiles, and of no profile."""
SAME = 0.6
"""A column called as annotation that resembles the profiles so much is a profile."""
MOST_STANDARDIZED = 3.0
"""Standardised by the training data, a gene's mean over other profiles is hardly further from 0."""
FEW = 20
"""Up to so many profiles each is compared with every other."""
SAME_SUM, MOST_SUMS = 1e-2, 0.9
"""Relative difference of a sum from what a table has, rounded, as the sum, and for how many genes:
two profiles are never so much alike."""
REFERENCES = 20
"""Profiles that a column called as annotation is compared with."""


class Look:
    """What has been seen of a file's values, block by block; `genes` are its columns."""

    def __init__(self, path: Path, genes: Sequence[str]) -> None:
        self.path, self.genes = path, genes
        self.n = self.n_values = self.n_negative = 0
        self.whole = True
        self.lowest, self.highest = np.inf, -np.inf
        self.large: list[tuple[str, float]] = []
        """Profiles whose mean is no logarithm, with this mean."""
        self._first_negative = ""
        self._mean = self._centre = self._total = self._squares = self._sample = np.empty(0)
        self._alike: list[tuple[str, float, bool]] = []
        self._waiting: list[tuple[NDArray[np.float64], Sequence[str]]] = []

    def add(self, block: FloatArray, profiles: Sequence[str]) -> None:
        """Look at finite values ``(n, n_genes)`` of the next profiles; any cut says the same."""
        if not block.size:
            return
        self.n += len(block)
        self.n_values += block.size
        self.lowest = min(self.lowest, float(block.min()))
        self.highest = max(self.highest, float(block.max()))
        if self.lowest < 0:
            negative = block < 0
            if negative.any() and not self._first_negative:
                row, column = divmod(int(negative.argmax()), block.shape[1])
                self._first_negative = (
                    f"{block[row, column]:g} in profile {profiles[row]!r}, gene "
                    f"{self.genes[column]!r}"
                )
            self.n_negative += int(np.count_nonzero(negative))
        self.whole = self.whole and not (block % 1).any()
        some = block[:, :: 1 + block.shape[1] // MOST_GENES].astype(np.float64)
        self._waiting.append((some, profiles))
        while sum(len(names) for _, names in self._waiting) >= SAMPLE:
            self._take()

    def finish(self) -> None:
        """Look at the last profiles too."""
        if self._waiting:
            self._take()

    def _take(self) -> None:
        """Take `SAMPLE` profiles at once, however they came: sums depend on that."""
        values = np.concatenate([block for block, _ in self._waiting])
        profiles = [name for _, names in self._waiting for name in names]
        left = values[SAMPLE:], profiles[SAMPLE:]
        self._waiting = [left] if left[1] else []
        # Values that overflow are refused elsewhere.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self._see(values[:SAMPLE], profiles[:SAMPLE])

    def _see(self, values: NDArray[np.float64], profiles: Sequence[str]) -> None:
        if not len(self._sample):
            self._sample = values
            self._centre = values.mean(axis=0)
            self._total, self._squares = np.zeros((2, len(self._centre)))
            self._mean = np.arcsinh(values).mean(axis=0)
            self._mean -= self._mean.mean()
        apart = values - self._centre
        self._total += apart.sum(axis=0)
        self._squares += (apart**2).sum(axis=0)
        means = values.mean(axis=1).tolist()
        self.large += [one for one in zip(profiles, means, strict=True) if one[1] > HIGHEST_LOG]
        if len(self._mean) < ENOUGH_GENES:
            return
        whole = (values % 1 == 0).all(axis=1)
        logs = np.arcsinh(values)
        logs -= logs.mean(axis=1, keepdims=True)
        norms = np.sqrt((logs**2).sum(axis=1) * (self._mean**2).sum())
        r = np.where(norms > 0, logs @ self._mean / norms, 0.0)
        self._alike += zip(profiles, r.tolist(), whole.tolist(), strict=True)

    @property
    def share_negative(self) -> float:
        """Share of the values below 0; none where the lowest stands for an expression of 0."""
        return 0.0 if not self.n_values or self._many_lowest() else self.n_negative / self.n_values

    def _many_lowest(self) -> bool:
        """Whether the lowest value stands for an expression of 0."""
        return bool(np.mean(self._sample == self._sample.min()) >= MANY_LOWEST)

    @property
    def kind(self) -> str:
        """What the values seem to be, in words."""
        span = f"from {self.lowest:.4g} to {self.highest:.4g}"
        if self.highest <= HIGHEST_LOG:
            return f"values {span}: taken for logarithms"
        if self.whole:
            return f"whole numbers {span}: taken for counts"
        return f"values {span}: taken for counts, TPM or intensities, not logarithms"

    def fault(self, platform: Platform, *, training: bool = False) -> str:
        """Say why the values are not those of a platform, with the remedy; empty if they may be."""
        if self.n_values < ENOUGH_VALUES:
            return ""
        if platform == "standardized":
            return self._not_standardized()
        # Published RPKM have a few values below 0, left by the correction of batches.
        few = not self.whole and self.n_negative <= MOST_NEGATIVE * self.n_values
        if platform == "rnaseq" and self.highest > HIGHEST_LOG and self.n_negative and not few:
            return (
                f"has {self.n_negative} negative values (the first is {self._first_negative}) "
                f"among values up to {self.highest:.4g}: counts, TPM and the like have none"
            )
        centred = self._centred()
        if not centred:
            return ""
        other = (
            ", or --platform standardized if they are z-scores of these genes over comparable "
            "profiles"
        )
        return (
            f"its values are {centred}, not expression of {platform}: give the values before "
            f"standardising{'' if training else other}"
        )

    def not_what_is_said(self, values: Values) -> str:
        """Say why the values are no logarithms, or only logarithms; empty if they may be."""
        if values in ("log2", "log1p"):
            if self.highest <= HIGHEST_LOG:
                return ""
            remedy = '"counts", "tpm", "rpkm" or "fpkm" makes them log2(x + 1) (study file)'
            return f"values = {values!r}, but they go up to {self.highest:.4g}: {remedy}"
        if self.n_values < ENOUGH_VALUES or self.whole or self.highest > HIGHEST_LOG:
            return ""
        span = f"from {self.lowest:.4g} to {self.highest:.4g}"
        return f'values = {values!r}, but they go {span}, as logarithms do: values = "log2"?'

    def _not_standardized(self) -> str:
        why = f"has no negative value ({self.lowest:.4g} to {self.highest:.4g})"
        if self.n_negative:
            typical = float(np.median(np.abs(self._centre + self._total / self.n)))
            if typical <= MOST_STANDARDIZED:
                return ""
            why = f"the mean of a gene is typically {typical:.3g} away from 0"
        return (
            f"{why}, so its values are not standardised: say what they are (--platform rnaseq, "
            "microarray or l1000)"
        )

    def _centred(self) -> str:
        """Say how the values are centred at 0; empty if they are not."""
        if self.n_negative < LEAST_NEGATIVE * self.n_values:
            return ""
        if self.n >= 2:
            shift = self._total / self.n
            inside = float(np.mean(self._squares - self.n * shift**2)) / (self.n - 1)
            means = self._centre + shift
            between = float(np.mean(means**2)) - inside / self.n
            if inside > 0 and between <= 0.25 * inside:
                around = "a mean of about 0 for each gene"
                if 0.8 <= inside <= 1.25:
                    return f"z-scores ({around}, and a standard deviation of about 1)"
                return f"differences ({around}: z-scores or log-ratios)"
        low, first, third, high = np.quantile(self._sample, [0.05, 0.25, 0.75, 0.95])
        symmetric = abs(low + high) <= 0.2 * (high - low) and abs(first + third) <= 0.2 * (
            third - first
        )
        if low < 0 < high and symmetric and not self._many_lowest():
            return "symmetric about 0 (z-scores or log-ratios)"
        return ""

    def unlike(self) -> list[tuple[str, float, bool]]:
        """Give the profiles that are unlike all others.

        Each with its correlation, and whether it has whole numbers where the others have fractions.
        """
        if len(self._alike) < 2:
            return []
        names, r, whole = zip(*self._alike, strict=True)
        typical = float(np.median(r))
        if len(names) <= FEW:
            r = tuple(_with_nearest(self._sample))
            typical = max(r)
        if len(names) > 2 and typical < ALIKE:
            return []
        # Among fractions whole numbers are ids or lengths.
        odd = np.mean(whole) <= MOST_WHOLE
        return [
            (name, alike, bool(odd and is_whole))
            for name, alike, is_whole in zip(names, r, whole, strict=True)
            if alike <= (SAME if odd and is_whole else UNLIKE)
        ]


def check_look(
    look: Look, platform: Platform, *, force: bool, annotates: bool, training: bool = False
) -> tuple[str, list[str]]:
    """Judge what has been seen of all profiles of a file, said to be values of `platform`.

    `force` warns instead of refusing. In a file that `annotates` profiles in columns beside them, a
    profile unlike the others is refused; else it is warned of, unless it has whole numbers among
    fractions. `training`: it is a raw file of a study. Returns what the values were taken for
    (nothing for standardised ones) and warnings; raises `FormatError` for values that can't be of
    that platform and for columns of numbers that are no profiles.
    """
    look.finish()
    warnings = []
    if fault := look.fault(platform, training=training):
        if not force:
            raise FormatError(f"{look.path}: {fault}; {FORCE}")
        warnings.append(f"{fault} (forced)")
    elif platform != "standardized" and (share := look.share_negative) >= LEAST_NEGATIVE:
        warnings.append(f"{share:.0%} of its values are below 0: are they z-scores or log-ratios?")
    if platform == "standardized":
        return "", warnings
    if unlike := look.unlike():
        names = listed([repr(name) for name, *_ in unlike], 5)
        r = f"(correlation {unlike[0][1]:.2f})"
        text = f"{len(unlike)} of {look.n} profiles are unlike all others {r}: {names}"
        if look.n == 2:
            text = f"its profiles {names} are not alike at all {r}"
        if not force and (annotates or any(whole for *_, whole in unlike)):
            raise FormatError(
                f"{look.path}: {text}: take out of the table what is annotation; {FORCE}"
            )
        warnings.append(text)
    return look.kind, warnings


def _with_nearest(values: NDArray[np.float64]) -> list[float]:
    """Correlation of each profile with the one that is most like it."""
    logs = np.arcsinh(values)
    r = np.array([[correlation(one, other) for other in logs] for one in logs])
    np.fill_diagonal(r, -1)
    largest: list[float] = r.max(axis=1).tolist()
    return largest


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson correlation of two vectors; 0 if one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


class Watched:
    """A raw file that is looked at while it is read once, profile by profile.

    `path`, `profiles`, `genes` and `gene_metadata` are those of the file `base`.
    """

    def __init__(self, base: AnnotatedSource) -> None:
        self.base = base
        self.path, self.profiles, self.genes = base.path, base.profiles, base.genes
        self.gene_metadata = base.gene_metadata
        self._look: Look | None = None

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Read the next profiles, always the same genes of them, and look at finite values."""
        block = self.base.read(profiles, genes)
        if self._look is None:
            columns = positions(genes, len(self.genes))
            self._look = Look(self.path, [self.genes[column] for column in columns])
        if np.isfinite(block).all():
            rows = positions(profiles, len(self.profiles))
            self._look.add(block, [self.profiles[row] for row in rows])
        return block

    def verdict(
        self, platform: Platform, values: Values | None, *, force: bool
    ) -> tuple[str, list[str]]:
        """Judge what was seen (see `check_look`), also whether these may be `values`, if said.

        Profiles of arrays should be logarithms.
        """
        if self._look is None:
            return "", []
        if values is not None and (fault := self._look.not_what_is_said(values)):
            if not force:
                raise FormatError(f"{self.path}: {fault}; {FORCE}")
            return "", [f"{fault} (forced)"]
        note, warnings = check_look(
            self._look, platform, force=force, annotates=is_table(self.base), training=True
        )
        large = self._look.large
        if platform == "microarray" and large and values is None:
            warnings.append(
                f"{len(large)} of {self._look.n} profiles have values that are no logarithms (the "
                f"mean of {large[0][0]!r} is {large[0][1]:.4g}): genes are scaled as they are; "
                "networks are meant for log2 values"
            )
        return note, warnings


def without_annotation(
    source: AnnotatedSource, *, force: bool, training: bool = False
) -> tuple[AnnotatedSource, list[str]]:
    """Leave out the columns of a file that are annotation of its genes, not profiles.

    They are called so (Entrez ids, lengths, positions, GC content, totals, …), and hold what such
    columns hold: whole numbers, shares, or statistics of the others.

    Returns the source without them, and notes on which were left out. A column of which it can't be
    told raises `FormatError`; with `force` it is taken for a profile. In `training` any of them
    raises it, as they must be taken out of the file, unless `force` leaves them out.
    """
    ids = source.profiles
    called = [
        place
        for place, name in enumerate(ids)
        if is_annotation_name(name) and not name.strip().isdigit()
    ]
    sums = _sums(source)
    if not called and not sums:
        return source, []
    others = _others(ids, (*called, *sums))
    if not len(others):
        raise FormatError(
            f"{source.path}: all its profiles ({', '.join(ids[:5])}) are called as "
            "annotation of genes is: rename them"
        )
    some = others[:: 1 + len(others) // REFERENCES]
    values = np.asarray(source.read(np.array([*called, *some], np.intp)), np.float64)
    every = source.read(others) if is_table(source) else None
    left_out, unsure = sums, []
    for place, column in zip(called, values, strict=False):
        if place in sums:
            continue
        verdict = _is_annotation(plain_name(ids[place]), column, values[len(called) :], every)
        if verdict is None:
            unsure.append(ids[place])
        elif verdict:
            left_out.append(place)
    if unsure and not force:
        raise FormatError(
            f"{source.path}: whether {', '.join(map(repr, unsure))} is a profile or annotation of "
            "the genes, as its name says, can't be told: rename it or take it out of the table; "
            f"{FORCE}"
        )
    notes = [f"{name!r} is called as annotation and taken for a profile" for name in unsure]
    if not left_out:
        return source, notes
    names = ", ".join(repr(ids[place]) for place in left_out)
    if training and not force:
        raise FormatError(
            f"{source.path}: {names}: annotation of the genes among the profiles; take it out of "
            "the table (--force-platform leaves it out)"
        )
    notes.append(f"columns of annotation, no profiles: {names}")
    return View(source, profile_places=_others(ids, left_out)), notes


def without_sample_annotation(source: AnnotatedSource) -> tuple[AnnotatedSource, list[str]]:
    """Leave out what is annotation of the profiles and no gene, where genes are columns.

    What is written as a gene's approved symbol is (``GC``) is a gene. Returns what is left, and a
    note on what was left out.
    """
    called = [
        place
        for place, name in enumerate(source.genes)
        if (is_annotation_name(name) or plain_name(name) in SAMPLES) and name not in hgnc().previous
    ]
    if not called:
        return source, []
    left = View(source, gene_places=_others(source.genes, called))
    names = ", ".join(repr(source.genes[place]) for place in called)
    return left, [f"columns of annotation, no genes: {names}"]


def _others(ids: Sequence[str], places: Iterable[int]) -> NDArray[np.intp]:
    return np.delete(np.arange(len(ids)), list(places))


def _sums(source: AnnotatedSource) -> list[int]:
    """Places of the columns of a table that are the sum or the mean of all others."""
    if not is_table(source) or len(source.profiles) < 3:
        return []
    values = np.asarray(source.read(), np.float64)
    some = slice(None, None, 1 + values.shape[1] // ENOUGH_GENES)

    def is_sum(place: int, genes: slice) -> bool:
        there = total[genes] != 0
        column, wanted = values[place, genes][there], total[genes][there]
        return len(wanted) > 0 and any(
            np.mean(np.isclose(times * column, wanted, rtol=SAME_SUM, atol=0)) >= MOST_SUMS
            for times in (2, len(values))
        )

    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(axis=0)
        found = [
            place
            for place in range(len(values))
            if is_sum(place, some) and is_sum(place, slice(None))
        ]
    # Profiles that are all the same are each other's mean.
    return found if len(found) <= 2 else []


def _is_annotation(
    name: str,
    column: NDArray[np.float64],
    others: NDArray[np.float64],
    every: FloatArray | None,
) -> bool | None:
    """Whether a column called as annotation is annotation; ``None`` where it can't be told."""
    known = np.isfinite(column)
    if not known.any():
        return True
    whole, others_whole = (bool(np.all(one[np.isfinite(one)] % 1 == 0)) for one in (column, others))
    r = _resemblance(column, others)
    if name in STATISTICS:
        return True if r < UNLIKE or _is_statistic(column, every) else None
    if name in SHARES:
        return bool(column[known].min() >= 0 and column[known].max() <= 100 and r < SAME)
    return r < SAME or (whole and not others_whole)


def _is_statistic(column: NDArray[np.float64], every: FloatArray | None) -> bool:
    """Whether a column is the sum, the mean or the like of all others."""
    if every is None:
        return False
    known = np.isfinite(column)
    values = np.asarray(every, np.float64)[:, known]
    return any(
        np.allclose(column[known], statistic(values, axis=0), rtol=1e-3, atol=1e-6)
        for statistic in (np.sum, np.mean, np.median, np.std, np.var, np.max, np.min)
    )


def _resemblance(column: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Correlation of log-like values with the mean of the others."""
    mean, values = np.arcsinh(others).mean(axis=0), np.arcsinh(column)
    known = np.isfinite(mean) & np.isfinite(values)
    return correlation(mean[known], values[known]) if known.sum() >= 3 else 0.0
