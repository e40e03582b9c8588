"""From a file of any platform to the network's input: ranks, means and deviations, all checked.

The ranking rules are those of preparation (paper section 2.1). Where a file has fewer genes than a
reference quantile, the quantile is taken at the same rank fractions; with all genes it is the
training's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import FiniteCheck, blocks, is_table, listed, notes_of
from dgex_jax.model.match import SHOWN, check_missing, match_genes
from dgex_jax.prepare.looks import Look, check_look, without_annotation
from dgex_jax.prepare.normalize import (
    OFFSET,
    ROWS_AT_A_TIME,
    ProbeMeans,
    RowSum,
    dense_rank_indices,
    quantile_ranks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.config import PredictOptions
    from dgex_jax.io.expression import AnnotatedSource, FloatArray
    from dgex_jax.io.progress import Progress
    from dgex_jax.model.match import Match
    from dgex_jax.model.model import Model
    from dgex_jax.prepare.names import Columns

ENOUGH_GENES = 0.9
"""Share of a model's genes from which on a file is ranked as the training data were."""

ENOUGH_IN_RANGE = 0.99
"""Share of a file's values inside the reference range from which on L1000 values stay as they are:
single wells overshoot a quantile that is the mean of many profiles."""

FEW_IN_RANGE = 0.9
"""Share of L1000 values inside the reference range below which a user should look at them."""

ENOUGH_PROFILES = 30
"""Profiles from which on a file has means and deviations of its own."""

LARGE = 20.0
"""Values beyond this are hardly in standardised units."""


@dataclass(frozen=True)
class _Route:
    """How profiles of a file become landmark values on the reference scale.

    Of the columns read (ascending) come the values of genes, the landmarks first. Their ranks
    (dense, or average ones as of arrays) give values of the quantile; without one they stay.
    """

    columns: NDArray[np.intp]
    genes: ProbeMeans
    n_landmarks: int
    quantile: NDArray[np.float64] | None
    dense: bool
    note: str

    def __call__(self, block: FloatArray) -> NDArray[np.float64]:
        """Give landmark values ``(n, n_landmarks)`` float64 of ``(n, n_read)``, row by row."""
        if self.quantile is None:
            return self.genes(block)
        values = np.empty((len(block), self.n_landmarks))
        for rows in blocks(len(block), ROWS_AT_A_TIME):
            genes = self.genes(block[rows])
            ranks, _ = dense_rank_indices(genes) if self.dense else quantile_ranks(genes)
            values[rows] = self.quantile[ranks[:, : self.n_landmarks]]
        return values


@dataclass(frozen=True)
class _Scaling:
    """Standardised = (value - mean) / divisor, over the landmarks that a file has."""

    mean: NDArray[np.float64]
    divisor: NDArray[np.float64]
    note: str
    constant: tuple[str, ...] = ()
    """Names of the landmarks with one value in the whole file."""


@dataclass(frozen=True)
class Plan:
    """How a file becomes the network's input; no scaling for values that are standardised.

    Notes are what was found out about the file, warnings what a user should look at.
    """

    model: Model
    match: Match
    route: _Route
    scaling: _Scaling | None
    options: PredictOptions
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def imputed(self) -> list[str]:
        """Names of the landmarks that get their training mean."""
        return self.model.landmarks.names(self.match.missing)

    def landmarks(self, rows: slice) -> NDArray[np.float32]:
        """Standardised landmarks ``(n, n_landmarks)`` of profiles, 0 where imputed."""
        source = self.match.source
        values = self.route(source.read(rows, self.route.columns))
        if self.scaling is not None:
            values = (values - self.scaling.mean) / self.scaling.divisor
        X = np.zeros((len(values), len(self.match.landmarks)), np.float32)
        with np.errstate(over="ignore"):
            X[:, self.match.present] = values
        if not np.isfinite(X).all():
            raise FormatError(f"{source.path}: has values beyond the range of float32")
        return X

    def lines(self) -> list[str]:
        """Say what was found and decided."""
        match = self.match
        found = f"{len(match.present):,} of {len(match.landmarks):,} landmarks"
        partial = f" ({match.n_partial} genes lack some probes)" if match.n_partial else ""
        lines = [
            f"{len(match.source.profiles):,} profiles, {found} {match.naming}{partial}",
            *match.lines(),
            *self.notes,
            self.route.note,
        ]
        if self.scaling is not None:
            lines.append(self.scaling.note)
            if self.scaling.constant:
                lines.append(
                    f"{len(self.scaling.constant)} landmarks have one value in all profiles and "
                    f"become 0: {listed(self.scaling.constant, SHOWN)}"
                )
        if self.imputed:
            missing = f"{len(self.imputed)} missing landmarks have their training mean"
            lines.append(f"{missing}: {listed(self.imputed, SHOWN)}")
        if self.model.simulated:
            lines.append("the model was trained on simulated data")
        return lines + [f"warning: {text}" for text in self.warnings]


def make_plan(
    model: Model, source: AnnotatedSource, options: PredictOptions, progress: Progress
) -> Plan:
    """Match a file to a model, read it once, and decide how it is scaled.

    Arrays and RNA-seq samples are ranked among all genes of the model that are there, as in
    training, if these are 90 % of them; else among the landmarks. L1000 values are taken as they
    are if 99 % lie in the reference range, else ranked among the landmarks. Raises `FormatError` if
    the file's genes can't be told or are missing, it is too small to be standardised by itself,
    values are missing, infinite or beyond float32, or a profile has a single one.
    """
    ranked = options.platform in {"microarray", "rnaseq"}
    match = match_genes(model, source, targets=ranked, ids=options.input_ids)
    check_missing(model, match, impute=options.impute)
    profiles, left_out = without_annotation(match.source, force=options.force_platform)
    match = replace(match, source=profiles)
    n_profiles = len(match.source.profiles)
    if options.standardized_by == "input" and n_profiles < ENOUGH_PROFILES:
        raise FormatError(
            f"{source.path}: has {n_profiles} profiles, too few for means and deviations of their "
            f"own ({ENOUGH_PROFILES} are needed); see --standardize training"
        )
    passes = _Passes(model, match, options, progress)
    warnings: list[str] = []
    scaling: _Scaling | None = None
    if ranked:
        route = _ranked(model, match, dense=options.platform == "rnaseq")
        scaling = passes.scaling(route)
    elif options.platform == "l1000":
        route, scaling = _of_l1000(passes, warnings)
    else:
        route = _route(match, match.landmarks, "values are taken as they are, standardised")
        found = passes.survey(route)
        high = max(abs(found.lowest), abs(found.highest))
        warnings += [f"values up to {high:.4g}: are they standardised?"] * (high > LARGE)
    look, more = passes.verdict()
    notes = (*notes_of(match.source), *left_out, *([look] if look else []))
    return Plan(model, match, route, scaling, options, notes, (*warnings, *more))


def _of_l1000(passes: _Passes, warnings: list[str]) -> tuple[_Route, _Scaling]:
    model, match = passes.model, passes.match
    low, high = _reference_range(model)
    plain = _route(match, match.landmarks, "")
    found = passes.survey(plain)
    passes.verdict()
    inside = f"{found.share_inside:.1%} of the values"
    where = f"{inside} are in the reference range from {low:.4g} to {high:.4g}"
    if found.share_inside >= ENOUGH_IN_RANGE:
        route = replace(plain, note=f"{where}: values are taken as they are")
        return route, passes.scaling(route, found)
    if found.share_inside < FEW_IN_RANGE:
        warnings.append(f"only {where}: are they quantile-normalised L1000 values (level 3)?")
    route = _ranked(model, match, dense=False, why=where)
    return route, passes.scaling(route)


def _ranked(model: Model, match: Match, *, dense: bool, why: str = "") -> _Route:
    """Map ranks on the reference quantile: among all genes if enough are there, else landmarks.

    `why` says that they shall be among the landmarks, whose quantile is their own over GEO-tr.
    """
    genes = match.landmarks + match.targets
    n, n_all = sum(map(bool, genes)), len(genes)
    there = f"{n:,} of the model's {n_all:,} genes are there"
    if not why and model.quantile is None:
        why = "the model's study was not quantile-normalised"
    elif not why and n < ENOUGH_GENES * n_all:
        why = f"{there}, fewer than {ENOUGH_GENES:.0%}"
    if model.quantile is None or why:
        n, n_all = len(match.present), len(model.landmarks)
        fewer = "" if n == n_all else f" (of {n_all}, at the same rank fractions)"
        note = (
            f"{why}: ranks among the {n} landmarks present, mapped to the reference quantile of "
            f"the landmarks{fewer}"
        )
        quantile = _resampled(model.landmark_quantile, n)
        return _route(match, match.landmarks, note, quantile, dense=dense)
    fewer = "" if n == n_all else " (at the same rank fractions)"
    note = f"{there}: ranks among them mapped to the reference quantile, as in training{fewer}"
    return _route(match, genes, note, _resampled(model.quantile, n), dense=dense)


def _route(
    match: Match,
    columns: Columns,
    note: str,
    quantile: NDArray[np.float64] | None = None,
    *,
    dense: bool = False,
) -> _Route:
    present = [of_gene for of_gene in columns if of_gene]
    read = np.unique(np.array([column for of_gene in present for column in of_gene], np.intp))
    means = ProbeMeans([np.searchsorted(read, of_gene).tolist() for of_gene in present])
    return _Route(read, means, len(match.present), quantile, dense, note)


def _resampled(quantile: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Values of a quantile at the rank fractions (k + 1/2) / n, linear between its own."""
    if n == len(quantile):
        return quantile
    own = (np.arange(len(quantile)) + 0.5) / len(quantile)
    return np.interp((np.arange(n) + 0.5) / n, own, quantile)


def _reference_range(model: Model) -> tuple[float, float]:
    quantile = model.landmark_quantile if model.quantile is None else model.quantile
    return float(quantile[0]), float(quantile[-1])


@dataclass(frozen=True)
class _Survey:
    """What a pass over all profiles has found of the landmarks present, on the reference scale."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    lowest: float
    highest: float
    share_inside: float


@dataclass
class _Passes:
    """A file and the passes over it; the first shows what its values look like."""

    model: Model
    match: Match
    options: PredictOptions
    progress: Progress
    look: Look | None = None

    def verdict(self) -> tuple[str, list[str]]:
        """Say what the values were taken for, and what to look at (see `check_look`)."""
        if self.look is None:
            raise AssertionError("a look at a file that was not read")
        options = self.options
        return check_look(
            self.look,
            options.platform,
            force=options.force_platform,
            annotates=is_table(self.match.source),
        )

    def blocks(self, route: _Route) -> Iterator[FloatArray]:
        """Give a route's columns of all profiles, finite; once one is not, only check the rest."""
        source, columns = self.match.source, route.columns
        genes = [source.genes[column] for column in columns]
        look = Look(source.path, genes)
        self.look = self.look or look
        check, flat = FiniteCheck(source.path, genes), []
        n_profiles = len(source.profiles)
        with self.progress.step(f"checking {source.path.name}", n_profiles) as tick:
            for rows in blocks(n_profiles, self.options.block_size):
                block, profiles = source.read(rows, columns), source.profiles[rows]
                check.add(block, profiles)
                if not (check.n_missing or check.n_infinite):
                    huge = np.argwhere(np.abs(block) > np.finfo(np.float32).max)
                    for row, column in huge[:1]:
                        raise FormatError(
                            f"{source.path}: {block[row, column]} in profile {profiles[row]!r}, "
                            f"gene {genes[column]!r} is beyond the range of float32"
                        )
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

    def survey(self, route: _Route) -> _Survey:
        """Read all profiles once, in memory that does not grow with their number.

        Deviations are population ones, exactly 0 for a landmark with a single value.
        """
        # A value near each landmark's mean: deviations from it lose no digits.
        centre = self.model.landmarks.mean[self.match.present]
        low, high = _reference_range(self.model)
        total, squares = RowSum(len(centre)), RowSum(len(centre))
        lowest, highest = np.full(len(centre), np.inf), np.full(len(centre), -np.inf)
        n_inside = 0
        for block in self.blocks(route):
            values = route(block)
            np.minimum(lowest, values.min(axis=0), out=lowest)
            np.maximum(highest, values.max(axis=0), out=highest)
            n_inside += int(np.count_nonzero((values >= low) & (values <= high)))
            values -= centre
            total.add(values)
            squares.add(values**2)
        shift = total.mean()
        mean = centre + shift
        deviation = np.sqrt(np.maximum(squares.mean() - shift**2, 0))
        constant = lowest == highest
        mean[constant], deviation[constant] = lowest[constant], 0
        share_inside = n_inside / (total.n_rows * len(centre))
        return _Survey(mean, deviation, float(lowest.min()), float(highest.max()), share_inside)

    def scaling(self, route: _Route, found: _Survey | None = None) -> _Scaling:
        """Give the scaling asked for; the file is read for it, unless that was done before."""
        landmarks, present = self.model.landmarks, self.match.present
        if self.options.standardized_by == "training":
            if self.look is None:
                for _ in self.blocks(route):
                    pass
            note = "standardised by the means and deviations of training"
            return _Scaling(landmarks.mean[present], landmarks.sd[present], note)
        found = found or self.survey(route)
        flat = np.flatnonzero(found.deviation == 0).tolist()
        if len(flat) == len(present):
            raise FormatError(
                f"{self.match.source.path}: every landmark has one value in all profiles, which "
                "can't be standardised by themselves"
            )
        names = landmarks.names([present[place] for place in flat])
        note = "standardised by the means and deviations of these profiles"
        return _Scaling(found.mean, found.deviation + OFFSET, note, tuple(names))
