"""All that is decided about a file before its first prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.looks import Look, check_look, without_annotation
from dgex_jax.data.normalize import OFFSET
from dgex_jax.errors import FormatError
from dgex_jax.formats.opening import is_table, notes_of
from dgex_jax.inference.matching import (
    gene_names,
    listed,
    match_genes,
    require_absent,
    require_landmarks,
)
from dgex_jax.inference.platform import (
    ENOUGH_IN_RANGE,
    as_is,
    ranked_landmarks,
    ranked_route,
    reference_range,
)
from dgex_jax.inference.survey import Survey, check_profiles, survey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.progress import Progress
    from dgex_jax.inference.inputs import AnnotatedSource
    from dgex_jax.inference.matching import Match
    from dgex_jax.inference.model import Model
    from dgex_jax.inference.options import PredictOptions
    from dgex_jax.inference.platform import Route

ENOUGH_PROFILES = 30
"""Profiles from which on a file has means and deviations of its own."""

FEW_IN_RANGE = 0.9
"""Share of L1000 values inside the reference range below which a user should look at them."""

LARGE = 20.0
"""Values beyond this are hardly in standardised units."""


@dataclass(frozen=True)
class Scaling:
    """Standardised = (value - mean) / divisor, over the landmarks that a file has.

    Attributes
    ----------
    mean, divisor
        ``(n_present,)`` float64.
    note
        Where they come from.
    constant
        Names of the landmarks with one value in the whole file.
    """

    mean: NDArray[np.float64]
    divisor: NDArray[np.float64]
    note: str
    constant: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How a file becomes the network's input.

    Attributes
    ----------
    model, match, route
        The model, where its genes are in the file, and how they come on the reference scale.
    scaling
        How they are standardised; ``None`` for values that are.
    options
        As chosen.
    notes
        What was found out about the file: what its values were taken for, and what was left out.
    warnings
        What a user should look at.
    """

    model: Model
    match: Match
    route: Route
    scaling: Scaling | None
    options: PredictOptions
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def imputed(self) -> list[str]:
        """Names of the landmarks that get their training mean."""
        return gene_names(self.model.landmarks, self.match.missing)

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
        match, n_landmarks = self.match, len(self.model.landmarks)
        found = f"{len(match.present):,} of {n_landmarks:,} landmarks"
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
                    f"become 0: {listed(self.scaling.constant)}"
                )
        if self.imputed:
            missing = f"{len(self.imputed)} missing landmarks have their training mean"
            lines.append(f"{missing}: {listed(self.imputed)}")
        if self.model.simulated:
            lines.append("the model was trained on simulated data")
        return lines + [f"warning: {text}" for text in self.warnings]


def make_plan(
    model: Model, source: AnnotatedSource, options: PredictOptions, progress: Progress
) -> Plan:
    """Match a file to a model and read it once.

    Parameters
    ----------
    model, source, options
        What to apply to which file, and how.
    progress
        Where to report to.

    Raises
    ------
    FormatError
        The file's genes can't be told or are missing, it is too small to be standardised by
        itself, or its values can't be used (see `survey.checked_blocks`).
    """
    ranked = options.platform in {"microarray", "rnaseq"}
    match = match_genes(model, source, targets=ranked, ids=options.ids)
    if options.impute:
        require_absent(match, model.landmarks)
    else:
        require_landmarks(model, match)
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
    scaling: Scaling | None = None
    if ranked:
        route = ranked_route(model, match, options.platform)
        scaling = passes.scaling(route)
    elif options.platform == "l1000":
        route, scaling = _of_l1000(passes, warnings)
    else:
        route = as_is(match, "values are taken as they are, standardised")
        found = passes.survey(route)
        high = max(abs(found.lowest), abs(found.highest))
        warnings += [f"values up to {high:.4g}: are they standardised?"] * (high > LARGE)
    look, more = passes.verdict()
    notes = (*notes_of(match.source), *left_out, *([look] if look else []))
    return Plan(model, match, route, scaling, options, notes, (*warnings, *more))


def _of_l1000(passes: _Passes, warnings: list[str]) -> tuple[Route, Scaling]:
    model, match = passes.model, passes.match
    low, high = reference_range(model)
    plain = as_is(match, "")
    found = passes.survey(plain)
    passes.verdict()
    inside = f"{found.share_inside:.1%} of the values"
    where = f"{inside} are in the reference range from {low:.4g} to {high:.4g}"
    if found.share_inside >= ENOUGH_IN_RANGE:
        route = as_is(match, f"{where}: values are taken as they are")
        return route, passes.scaling(route, found)
    if found.share_inside < FEW_IN_RANGE:
        warnings.append(f"only {where}: are they quantile-normalised L1000 values (level 3)?")
    route = ranked_landmarks(model, match, dense=False, why=where)
    return route, passes.scaling(route, checked=True)


@dataclass
class _Passes:
    """A file and the passes over it; the first shows what its values look like."""

    model: Model
    match: Match
    options: PredictOptions
    progress: Progress
    look: Look | None = None

    def _look(self, route: Route) -> Look:
        genes = self.match.source.genes
        look = Look(self.match.source.path, [genes[column] for column in route.columns])
        self.look = self.look or look
        return look

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

    def survey(self, route: Route) -> Survey:
        """Pass over the file with what `route` makes of it."""
        return survey(
            self.match.source,
            route,
            self._look(route),
            inside=reference_range(self.model),
            centre=self.model.landmarks.mean[self.match.present],
            block_size=self.options.block_size,
            progress=self.progress,
        )

    def scaling(
        self, route: Route, found: Survey | None = None, *, checked: bool = False
    ) -> Scaling:
        """Give the scaling asked for; the file is read for it, unless that was done before."""
        landmarks, present = self.model.landmarks, self.match.present
        if self.options.standardized_by == "training":
            if found is None and not checked:
                check_profiles(
                    self.match.source,
                    route.columns,
                    self._look(route),
                    block_size=self.options.block_size,
                    progress=self.progress,
                )
            note = "standardised by the means and deviations of training"
            return Scaling(landmarks.mean[present], landmarks.sd[present], note)
        found = found or self.survey(route)
        flat = np.flatnonzero(found.deviation == 0).tolist()
        if len(flat) == len(present):
            raise FormatError(
                f"{self.match.source.path}: every landmark has one value in all profiles, which "
                "can't be standardised by themselves"
            )
        names = gene_names(landmarks, [present[place] for place in flat])
        note = "standardised by the means and deviations of these profiles"
        return Scaling(found.mean, found.deviation + OFFSET, note, tuple(names))
