"""From a file of any platform to a network's units: ranks, means and deviations, all checked.

So are made the landmarks that a network takes, and the measured targets that it is judged on.

The ranking rules are those of preparation (paper section 2.1). Where a file has fewer genes than a
reference quantile, the quantile is taken at the same rank fractions; with all genes it is the
training's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import ALIKE
from dgex_jax.errors import FormatError, StudyError
from dgex_jax.io.expression import FiniteCheck, blocks, is_table, listed, notes_of
from dgex_jax.model.match import SHOWN, check_missing, match_genes
from dgex_jax.prepare.looks import FORCE, Look, check_look, without_annotation
from dgex_jax.prepare.normalize import (
    OFFSET,
    ROWS_AT_A_TIME,
    LogScale,
    ProbeMeans,
    RowSum,
    dense_rank_indices,
    quantile_ranks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.config import PredictOptions, Values
    from dgex_jax.io.expression import AnnotatedSource, FloatArray
    from dgex_jax.io.progress import Progress
    from dgex_jax.methods.uncertainty import Calibration
    from dgex_jax.model.match import Match, Role
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

WARNING = "warning: "
"""Before the lines of `Plan.lines` that say what a user should look at."""

LARGE = 20.0
"""Values beyond this are hardly in standardised units."""


@dataclass(frozen=True)
class _Route:
    """How profiles of a file become values of wanted genes on the reference scale.

    Of the columns read (ascending) come the values of genes, the wanted ones first. Their ranks
    (dense, or average ones as of arrays) give values of the quantile; without one they stay, or
    become the logarithms that the model was trained on.
    """

    columns: NDArray[np.intp]
    genes: ProbeMeans
    n_wanted: int
    quantile: NDArray[np.float64] | None
    dense: bool
    note: str
    logs: Logs | None = None
    warnings: tuple[str, ...] = ()

    def read(self, source: AnnotatedSource, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Read what is needed of some profiles: as it stands, and on a log scale."""
        if self.logs is None:
            block = source.read(rows, self.columns)
            return block, block
        return self.logs.read(source, rows, self.columns)

    def __call__(self, block: FloatArray) -> NDArray[np.float64]:
        """Give wanted values ``(n, n_wanted)`` float64 of ``(n, n_read)``, row by row."""
        if self.quantile is None:
            return self.genes(block)
        values = np.empty((len(block), self.n_wanted))
        for rows in blocks(len(block), ROWS_AT_A_TIME):
            genes = self.genes(block[rows])
            ranks, _ = dense_rank_indices(genes) if self.dense else quantile_ranks(genes)
            values[rows] = self.quantile[ranks[:, : self.n_wanted]]
        return values


@dataclass(frozen=True)
class Logs:
    """Values `given` of a file as the logarithms that a model was trained on (log2 or log1p)."""

    given: Values
    trained_on: Values
    per_million: bool

    def read(
        self, source: AnnotatedSource, rows: slice, columns: NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray]:
        """Read some columns of some profiles: as they stand, and as logarithms."""
        if self.given in ("log2", "log1p"):
            block = source.read(rows, columns)
            values = block.astype(np.float64)
        else:
            logs = LogScale(source, per_million=self.per_million)
            block, log2 = logs.read_both(rows, columns)
            values = log2.astype(np.float64)
        natural = self.given == "log1p", self.trained_on == "log1p"
        if natural == (True, False):
            values /= np.log(2)
        elif natural == (False, True):
            values *= np.log(2)
        return block, values


@dataclass(frozen=True)
class _Scaling:
    """Standardised = (value - mean) / divisor, over the wanted genes that a file has."""

    mean: NDArray[np.float64]
    divisor: NDArray[np.float64]
    note: str
    constant: tuple[str, ...] = ()
    """Names of the genes with one value in the whole file."""


@dataclass(frozen=True)
class Plan:
    """How a file becomes values of wanted genes; no scaling for values that are standardised.

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
    def expected_on(self) -> str | None:
        """Part whose errors are to be expected of the inferred targets, if the model tells any."""
        return self.model.expected_for(self.options.platform)

    @property
    def interval(self) -> Calibration | None:
        """The intervals of the inferred targets, if they were asked for."""
        asked = self.options.interval is not None
        return self.model.interval_for(self.options.platform) if asked else None

    def half_widths(self, distances: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Half widths of the interval asked for, ``(n, n_targets)``, at distances from training."""
        level, interval = self.options.interval, self.interval
        return None if level is None or interval is None else interval.half_widths(level, distances)

    @property
    def imputed(self) -> list[str]:
        """Names of the wanted genes that are missing: landmarks get their training mean."""
        return self.match.genes.names(self.match.missing)

    def read(self, rows: slice) -> NDArray[np.float32]:
        """Standardised values ``(n, n_present)`` of the wanted genes that the file has."""
        source = self.match.source
        values = self.route(self.route.read(source, rows)[1])
        if self.scaling is not None:
            values = (values - self.scaling.mean) / self.scaling.divisor
        with np.errstate(over="ignore"):
            stored = values.astype(np.float32)
        if not np.isfinite(stored).all():
            raise FormatError(f"{source.path}: has values beyond the range of float32")
        return stored

    def landmarks(self, rows: slice) -> NDArray[np.float32]:
        """Standardised landmarks ``(n, n_landmarks)`` of profiles, 0 where imputed."""
        values = self.read(rows)
        X = np.zeros((len(values), len(self.match.genes)), np.float32)
        X[:, self.match.present] = values
        return X

    def lines(self) -> list[str]:
        """Say what was found and decided."""
        match, role = self.match, self.match.role
        found = f"{len(match.present):,} of {len(match.wanted):,} {role}s"
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
                    f"{len(self.scaling.constant)} {role}s have one value in all profiles and "
                    f"become 0: {listed(self.scaling.constant, SHOWN)}"
                )
        if role == "landmark" and self.imputed:
            missing = f"{len(self.imputed)} missing landmarks have their training mean"
            lines.append(f"{missing}: {listed(self.imputed, SHOWN)}")
        if role == "landmark" and self.model.simulated:
            lines.append("the model was trained on simulated data")
        return lines + [f"{WARNING}{text}" for text in self.warnings]


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
    options = options.settled(model.parts.platform)
    return plan_of(model, profiles_of(model, source, options), options, progress)


def profiles_of(
    model: Model, source: AnnotatedSource, options: PredictOptions, role: Role = "landmark"
) -> Match:
    """Find the wanted genes in a file, and its profiles.

    Landmarks must all be there, unless they are imputed; targets need not.
    """
    ranked = options.platform in {"microarray", "rnaseq"}
    both = ranked or role == "target"
    match = match_genes(model, source, targets=both, ids=options.input_ids, role=role)
    if role == "landmark":
        check_missing(match, impute=options.impute)
    profiles, left_out = without_annotation(match.source, force=options.force_platform)
    return replace(match, source=profiles, left_out=tuple(left_out))


def plan_of(model: Model, match: Match, options: PredictOptions, progress: Progress) -> Plan:
    """Read the profiles of a match (see `profiles_of`) once, and decide how they are scaled.

    By the rules of `make_plan`; but targets are always ranked among all genes that are there, and
    less than 90 % of them is a warning. It raises what `make_plan` does for values, `FormatError`
    also for targets to be ranked for a model without a reference quantile.
    """
    source = match.source
    n_profiles = len(source.profiles)
    if options.standardize == "input" and n_profiles < ENOUGH_PROFILES:
        raise FormatError(
            f"{source.path}: has {n_profiles} profiles, too few for means and deviations of their "
            f"own ({ENOUGH_PROFILES} are needed); see --standardize training"
        )
    passes = _Passes(model, match, options, progress)
    warnings: list[str] = []
    scaling: _Scaling | None = None
    as_trained = options.platform == ALIKE[model.parts.platform][0] and (
        model.normalize in ("none", "log_cpm")
    )
    if options.values is not None and not as_trained:
        raise StudyError(
            f"values = {options.values!r}: this model takes profiles of {options.platform} by "
            "ranks or standardised, whatever their values are: leave it out"
        )
    if as_trained:
        given = options.values or model.values
        note = f"values are taken for {given}, on the scale of training ({model.values})"
        logs = Logs(given, model.values, model.normalize == "log_cpm")
        route = replace(_route(match, match.wanted, note), logs=logs)
        scaling = passes.scaling(route)
        warnings += passes.check_values(given)
    elif options.platform in {"microarray", "rnaseq"}:
        dense = options.platform == "rnaseq" and model.normalize == "original"
        route = _ranked(model, match, dense=dense)
        scaling = passes.scaling(route)
    elif options.platform == "l1000":
        route, scaling = _of_l1000(passes)
    else:
        route = _route(match, match.wanted, "values are taken as they are, standardised")
        found = passes.survey(route)
        high = max(abs(found.lowest), abs(found.highest))
        warnings += [f"values up to {high:.4g}: are they standardised?"] * (high > LARGE)
    look, more = passes.verdict()
    notes = (*notes_of(source), *match.left_out, *([look] if look else []))
    return Plan(model, match, route, scaling, options, notes, (*route.warnings, *warnings, *more))


def _of_l1000(passes: _Passes) -> tuple[_Route, _Scaling]:
    model, match = passes.model, passes.match
    low, high = _reference_range(model)
    plain = _route(match, match.wanted, "")
    found = passes.survey(plain)
    passes.verdict()
    inside = f"{found.share_inside:.1%} of the values"
    where = f"{inside} are in the reference range from {low:.4g} to {high:.4g}"
    if found.share_inside >= ENOUGH_IN_RANGE:
        route = replace(plain, note=f"{where}: values are taken as they are")
        return route, passes.scaling(route, found)
    route = _ranked(model, match, dense=False, why=where)
    if found.share_inside < FEW_IN_RANGE:
        few = f"only {where}: are they quantile-normalised L1000 values (level 3)?"
        route = replace(route, warnings=(few, *route.warnings))
    return route, passes.scaling(route)


def _ranked(model: Model, match: Match, *, dense: bool, why: str = "") -> _Route:
    """Map ranks on the reference quantile: among all genes if enough are there, else landmarks.

    `why` says that they shall be among the landmarks, whose quantile is their own over GEO-tr.
    Targets have none of their own: they are always ranked among all genes.
    """
    genes = match.wanted + match.others
    n, n_all = sum(map(bool, genes)), len(genes)
    there = f"{n:,} of the model's {n_all:,} genes are there"
    warnings: tuple[str, ...] = ()
    if match.role == "target":
        if model.quantile is None:
            raise FormatError(
                f"{match.source.path}: measured values have no place on the scale of a model whose "
                "study was not quantile-normalised; give standardised ones (--truth-platform "
                "standardized)"
            )
        if n < ENOUGH_GENES * n_all:
            warnings = (f"{there}: ranks among so few are not those of training",)
        there, why = f"{why}; {there}" if why else there, ""
    elif not why and model.quantile is None:
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
        return _route(match, match.wanted, note, quantile, dense=dense)
    fewer = "" if n == n_all else " (at the same rank fractions)"
    note = f"{there}: ranks among them mapped to the reference quantile, as in training{fewer}"
    route = _route(match, genes, note, _resampled(model.quantile, n), dense=dense)
    return replace(route, warnings=warnings)


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
    """What a pass over all profiles has found of the wanted genes, on the reference scale."""

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
    look: Look = field(init=False)
    is_read: bool = False

    def verdict(self) -> tuple[str, list[str]]:
        """Say what the values were taken for, and what to look at (see `check_look`)."""
        options = self.options
        return check_look(
            self.look,
            options.platform,
            force=options.force_platform,
            annotates=is_table(self.match.source),
        )

    def check_values(self, said: Values) -> list[str]:
        """Refuse values that can't be what they are said to be; a warning if that is forced."""
        self.look.finish()
        fault = self.look.not_what_is_said(said)
        if fault and not self.options.force_platform:
            raise FormatError(f"{self.match.source.path}: {fault}; {FORCE}")
        return [f"{fault} (forced)"] if fault else []

    def blocks(self, route: _Route) -> Iterator[FloatArray]:
        """Give a route's columns of all profiles, finite; once one is not, only check the rest."""
        source, columns = self.match.source, route.columns
        genes = [source.genes[column] for column in columns]
        look = Look(source.path, genes)
        self.look, self.is_read = self.look if self.is_read else look, True
        check, flat = FiniteCheck(source.path, genes), []
        n_profiles = len(source.profiles)
        with self.progress.step(f"checking {source.path.name}", n_profiles) as tick:
            for rows in blocks(n_profiles, self.options.block_size):
                (block, values), profiles = route.read(source, rows), source.profiles[rows]
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
                    yield values
                tick(len(block))
        check.raise_if_any()
        if flat:
            raise FormatError(
                f"{source.path}: {len(flat)} profiles have one value for all genes, the first is "
                f"{flat[0]!r}"
            )

    def survey(self, route: _Route) -> _Survey:
        """Read all profiles once, in memory that does not grow with their number.

        Deviations are population ones, exactly 0 for a gene with a single value.
        """
        # A value near each gene's mean: deviations from it lose no digits.
        centre = self.match.genes.mean[self.match.present]
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
        genes, present = self.match.genes, self.match.present
        if self.options.standardize == "training":
            if not self.is_read:
                for _ in self.blocks(route):
                    pass
            note = "standardised by the means and deviations of training"
            return _Scaling(genes.mean[present], genes.sd[present], note)
        found = found or self.survey(route)
        flat = np.flatnonzero(found.deviation == 0).tolist()
        if len(flat) == len(present):
            raise FormatError(
                f"{self.match.source.path}: every {self.match.role} has one value in all "
                "profiles, which can't be standardised by themselves"
            )
        names = genes.names([present[place] for place in flat])
        note = "standardised by the means and deviations of these profiles"
        return _Scaling(found.mean, found.deviation + OFFSET, note, tuple(names))
