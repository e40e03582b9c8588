"""All that is decided about a file before its first prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.normalize import OFFSET
from dgex_jax.errors import FormatError
from dgex_jax.inference.matching import gene_names, listed, match_genes, require_landmarks
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
    warnings
        What a user should look at.
    """

    model: Model
    match: Match
    route: Route
    scaling: Scaling | None
    options: PredictOptions
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
    if not options.impute:
        require_landmarks(model, match)
    n_profiles = len(match.source.profiles)
    if options.standardized_by == "input" and n_profiles < ENOUGH_PROFILES:
        raise FormatError(
            f"{source.path}: has {n_profiles} profiles, too few for means and deviations of their "
            f"own ({ENOUGH_PROFILES} are needed); see --standardize training"
        )
    look = _Look(model, match, options, progress)
    if ranked:
        route = ranked_route(model, match, options.platform)
        return Plan(model, match, route, look.scaling(route), options)
    if options.platform == "l1000":
        return _plan_l1000(look)
    route = as_is(match, "values are taken as they are, standardised")
    found = look.survey(route)
    high = max(abs(found.lowest), abs(found.highest))
    warnings = () if high <= LARGE else (f"values up to {high:.4g}: are they standardised?",)
    return Plan(model, match, route, None, options, warnings)


def _plan_l1000(look: _Look) -> Plan:
    model, match = look.model, look.match
    low, high = reference_range(model)
    plain = as_is(match, "")
    found = look.survey(plain)
    inside = f"{found.share_inside:.1%} of the values"
    where = f"{inside} are in the reference range from {low:.4g} to {high:.4g}"
    if found.share_inside >= ENOUGH_IN_RANGE:
        route = as_is(match, f"{where}: values are taken as they are")
        return Plan(model, match, route, look.scaling(route, found), look.options)
    route = ranked_landmarks(model, match, dense=False, why=where)
    return Plan(model, match, route, look.scaling(route, checked=True), look.options)


@dataclass(frozen=True)
class _Look:
    """A file and the passes over it."""

    model: Model
    match: Match
    options: PredictOptions
    progress: Progress

    def survey(self, route: Route) -> Survey:
        """Pass over the file with what `route` makes of it."""
        return survey(
            self.match.source,
            route,
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
