"""From a prepared study to a model in one step: the methods that suit its size, stacked."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dgex_jax import __version__
from dgex_jax.io.expression import aligned
from dgex_jax.io.manifest import record
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Tables
from dgex_jax.methods.kinds import in_half_precision
from dgex_jax.methods.members import fit_member, members_for
from dgex_jax.methods.network import PRECISION
from dgex_jax.methods.stack import Member, fit_stack
from dgex_jax.model.evaluate import part_scores
from dgex_jax.model.export import check_study, model_of, study_record
from dgex_jax.model.predict import told_device
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.run import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dgex_jax.config import FitOptions
    from dgex_jax.methods import Fitted
    from dgex_jax.model.model import Model
    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.scores import GeneScores


@dataclass(frozen=True)
class Fit:
    """A model, what each of its methods reached, and those that there was no time for."""

    model: Model
    members: tuple[Member, ...]
    left_out: tuple[str, ...]
    seconds: float


def fit_model(
    prepared: Path,
    options: FitOptions,
    *,
    best: str = "va",
    progress: Progress | None = None,
    on_member: Callable[[Member], object] = lambda _: None,
    checkpoint: Path | None = None,
) -> Fit:
    """Fit methods on the training part of a prepared study, and choose on its part `best`.

    `on_member` is told of each method as it is done. Networks resume from the folder `checkpoint`,
    which the caller locks and removes. Raises `DgexError` if `best` is no validation
    part, the study lacks what a model needs, or half precision can't hold the weights.
    """
    start = time.perf_counter()
    progress = progress or Progress()
    with open_prepared(prepared) as study:
        check_study(study, best)
        tables = tables_of(study, best)
        alone = options.method != "stack"
        every = members_for(len(tables.X), weights_only=options.weights_only)
        names = (options.method,) if alone else every
        member = partial(
            fit_member,
            seed=options.seed,
            profiles=study.profiles("tr"),
            progress=progress,
            checkpoint=checkpoint,
            weights_only=options.weights_only,
        )
        stacked, members, left_out = fit_stack(
            tables,
            {name: partial(member, name) for name in names},
            on_member,
            seconds=None if options.minutes is None else 60 * options.minutes,
        )
        method = stacked.members[0] if len(stacked.members) == 1 else stacked
        cost = None
        if options.half_precision:
            rounded = in_half_precision(method)
            cost = {part: -float(one.mae.mean()) for part, one in _scores(method, study, progress)}
            method = rounded
        errors, r2 = {}, {}
        for part, scores in _scores(method, study, progress):
            errors[part] = scores.mae
            if part not in study.parts.choosers:
                r2[part] = scores.r2
            if cost is not None:
                cost[part] += float(scores.mae.mean())
        seconds = time.perf_counter() - start
        told = _record(study, options, members, seconds)
        if cost is not None:
            told["half_precision_cost"] = cost
        model = model_of(
            study,
            method,
            best,
            errors,
            r2,
            told,
            weights_only=options.weights_only,
            half_precision=options.half_precision,
        )
    return Fit(model, tuple(members), tuple(left_out), seconds)


def _scores(
    method: Fitted, study: Prepared, progress: Progress
) -> Iterator[tuple[str, GeneScores]]:
    for part in study.parts.evaluated:
        with progress.step(study.parts.label(part), study.n_profiles(part)) as tick:
            yield part, part_scores(method, study, part, tick=tick)


def check_prepared(prepared: Path, best: str) -> None:
    """Raise what `fit_model` would before any work: nothing may be left of a wrong call."""
    with open_prepared(prepared) as study:
        check_study(study, best)


def clear_checkpoints(folder: Path) -> None:
    """Remove what `fit_model` left in a folder to resume from, and the folder."""
    if folder.is_dir():
        for one in folder.iterdir():
            Checkpoints(one, "").clear()
        folder.rmdir()


def tables_of(study: Prepared, best: str) -> Tables:
    """Read the profiles to learn from, and those to choose by."""
    return Tables(study.X("tr"), study.Y("tr"), study.X(best), study.Y(best), study.groups("tr"))


def _record(
    study: Prepared, options: FitOptions, members: list[Member], seconds: float
) -> dict[str, Any]:
    """Say how a model was fitted, as JSON values."""
    inputs = {"prepared": {"name": study.path.name, "sha256": study.sha256}}
    own = record(
        "dgex fit",
        precision=PRECISION,
        inputs=inputs,
        device=told_device(),
        seeds={"fit": options.seed},
    )
    versions = {"dgex_jax": __version__, **own["versions"]}
    return {
        **study_record(study, {"fit": asdict(options)}, options.seed, {"training": versions}),
        "members": [asdict(one) for one in members],
        "seconds": seconds,
        "provenance": {"training": own},
    }


def fit_lines(fit: Fit, validated_on: str) -> list[str]:
    """Make a table of what each method reached on validation, its weight and its time."""
    rows = [("method", f"error on {validated_on}", "weight", "seconds")]
    rows += [
        (one.name, f"{one.error:.4f}", f"{one.weight:.2f}", f"{one.seconds:.1f}")
        for one in fit.members
    ]
    rows += [(name, "no time left", "", "") for name in fit.left_out]
    return aligned(rows, "<>>>")
