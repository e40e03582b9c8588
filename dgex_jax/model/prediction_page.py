"""A prediction as one page: what went in, how it was matched, and how far to trust what came out.

`Tally` watches a prediction, batch by batch, in memory of a few numbers a profile; `write_page`
tells what it saw once the output is there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import PredictOptions
from dgex_jax.io.lines import kind_of
from dgex_jax.io.manifest import known_sha256
from dgex_jax.methods.uncertainty import PROFILE_FIELDS, UNLIKE
from dgex_jax.model.model import TRUSTED
from dgex_jax.model.scale import WARNING
from dgex_jax.pages.page import (
    EXPECTED_ERROR,
    SIMULATED,
    Head,
    LongTable,
    Picture,
    genes_by_error,
    picture,
    render,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from dgex_jax.methods.uncertainty import Calibration
    from dgex_jax.model.outputs import Output
    from dgex_jax.model.scale import Plan

KINDS = {
    "gctx": "GCTX",
    "h5ad": "AnnData (h5ad)",
    "archs4": "ARCHS4 (HDF5)",
    "gct": "GCT",
    "geuvadis": "the GEUVADIS table",
    "series matrix": "GEO series matrix",
    "table": "table of text",
}
STANDARD_DEVIATIONS, BINS = 8.0, 320
"""Values are counted in bins of that many, up to so many deviations from training's means."""
QUANTILES = 500
"""Of the profiles' distances, from which the widths of all their intervals are counted."""
MOST_LISTED = 1000
"""Profiles that the table of those unlike training lists, the most unlike first."""
OTHER_AXIS = {"rows": "columns", "columns": "rows", "var": "obs", "obs": "var"}
OWN_ID = "id in the output"
COLOUR, LIMIT_COLOUR = "#0072B2", "#D55E00"


class Tally:
    """Counts the values of the targets in `places`, in the output's scale, and how sure."""

    def __init__(self, plan: Plan, places: NDArray[np.intp], n_profiles: int) -> None:
        targets = plan.model.targets
        self.n_targets = len(places)
        self.edges = np.linspace(-STANDARD_DEVIATIONS, STANDARD_DEVIATIONS, BINS + 1)
        if plan.options.scale == "reference" and len(places):
            mean, sd = targets.mean[places], targets.sd[places]
            low, high = mean - STANDARD_DEVIATIONS * sd, mean + STANDARD_DEVIATIONS * sd
            self.edges = np.linspace(float(low.min()), float(high.max()), BINS + 1)
        self.counts = np.zeros(BINS, np.int64)
        self.n_beyond = 0
        self.distances = np.full(n_profiles, np.nan, np.float32)
        self.fields = np.full((n_profiles, 2), np.nan, np.float32)

    def add(
        self,
        rows: slice,
        values: NDArray[np.float32],
        distances: NDArray[np.float64] | None,
        profile_fields: NDArray[np.float32] | None,
    ) -> None:
        """Count what `predict.Inferred` has of some profiles; the targets are its last genes."""
        chosen = values[:, values.shape[1] - self.n_targets :]
        counts, _ = np.histogram(chosen, self.edges)
        self.counts += counts
        self.n_beyond += chosen.size - int(counts.sum())
        if distances is not None and profile_fields is not None:
            self.distances[rows], self.fields[rows] = distances, profile_fields


@dataclass(frozen=True)
class Told:
    """What a page tells of a finished prediction.

    `notes` are those of the prediction, `target` what was written, in the files `outputs`;
    `command` is what was typed, without one the call from Python is shown.
    """

    plan: Plan
    tally: Tally
    notes: Sequence[str]
    target: Output
    outputs: Sequence[Path]
    command: str | None = None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the output says of its making."""
        return self.target.provenance

    @property
    def genes(self) -> pd.DataFrame:
        """What is known of the genes of the output."""
        return self.target.gene_metadata

    @property
    def units(self) -> str:
        """Say in which units the output is."""
        reference = self.plan.options.scale == "reference"
        return "on the reference scale" if reference else "in standardised units"


def page_text(told: Told) -> str:
    """Make the page; the same prediction and names give the same bytes."""
    plan, model, match = told.plan, told.plan.model, told.plan.match
    part = plan.expected_on
    inferred = told.genes[told.genes["source"] == "inferred"]
    errors = None if part is None else inferred[f"mae_{part}"].to_numpy()
    content = {
        "name": match.source.path.name,
        "simulated": SIMULATED if model.simulated else None,
        "facts": _facts(told, len(inferred)),
        "input_facts": _input(told),
        "warnings": [one.removeprefix(WARNING) for one in told.notes if one.startswith(WARNING)],
        "matched": _matched(told),
        "renamed": table(
            "Genes found by another symbol",
            ("gene of the model", "in the file"),
            list(match.renamed.items()),
        ),
        "by_other_names": table(
            "Landmarks found by other names",
            ("landmark", "in the file"),
            list(match.by_other_names.items()),
        ),
        "imputed": plan.imputed,
        "constant": [] if plan.scaling is None else list(plan.scaling.constant),
        "known": model.uncertainty is not None,
        "n_profiles": len(match.source.profiles),
        "n_unlike": int((told.tally.fields[:, 0] > UNLIKE).sum()),
        "unlike_limit": UNLIKE,
        "most_listed": MOST_LISTED,
        "unlike": _unlike(told),
        "likeness": list(_likeness(told)),
        "distributions": list(_distributions(told, inferred)) if len(inferred) else [],
        "n_beyond": told.tally.n_beyond,
        "units": told.units,
        "genes": _genes(told, inferred),
        "n_inferred": len(inferred),
        "trusted": TRUSTED,
        "n_trusted": None if errors is None else int((errors < TRUSTED).sum()),
        "expected_on": None if part is None else model.parts.label(part),
        "interval": plan.options.interval,
        "command": told.command or _call(told),
        "options": [(key, _option(one)) for key, one in told.provenance["options"].items()],
        "versions": _versions(told),
        "sums": _sums(told),
    }
    return render("prediction.html.j2", content)


# What went in


def _facts(told: Told, n_inferred: int) -> list[tuple[str, str]]:
    model, source = told.plan.model, told.plan.match.source
    n_others = len(told.genes) - n_inferred
    return [
        ("Input", f"{source.path.name}: {len(source.profiles):,} profiles"),
        ("Output", ", ".join(one.name for one in told.outputs)),
        ("Genes", f"{n_others:,} landmarks and {n_inferred:,} inferred genes, {told.units}"),
        ("Model", f"{model.method.title}, of study {told.provenance['model']['study'] or '?'}"),
    ]


def _input(told: Told) -> list[tuple[str, str]]:
    plan, match = told.plan, told.plan.match
    told_input = told.provenance["input"]
    facts = [
        ("Kind of file", KINDS[kind_of(match.source.path)]),
        ("Checksum", f"sha256 {told_input['sha256']}"),
        ("Genes", f"on its {match.axis}, {match.found.by}"),
        ("Profiles", f"{len(match.source.profiles):,}, on its {OTHER_AXIS[match.axis]}"),
        ("Platform", plan.options.platform),
        ("Values", "; ".join(plan.notes) or "taken as they are"),
        ("Mapped", plan.route.note),
        ("Standardised", "not: they are" if plan.scaling is None else plan.scaling.note),
    ]
    if told_input["comments"]:
        facts.append(("Comments in the file", " · ".join(told_input["comments"])))
    return facts


def _matched(told: Told) -> list[tuple[str, str]]:
    match = told.plan.match
    found = f"{len(match.present):,} of {len(match.wanted):,}, {match.naming}"
    counts = {
        "Found by another symbol": len(match.renamed),
        "Found by other names": len(match.by_other_names),
        "Genes that lack some probes": match.n_partial,
    }
    return [
        ("Landmarks found", found),
        ("Missing, imputed", f"{len(match.missing):,}" if match.missing else "none"),
        *((what, f"{n:,}") for what, n in counts.items() if n),
        *([("The next best way", match.second)] if match.second else []),
    ]


# Profiles unlike training


def _unlike(told: Told) -> LongTable:
    unlike, reconstructed = told.tally.fields.T
    distances, profiles = told.tally.distances, told.plan.match.source.profiles
    numbers = np.stack([unlike, reconstructed, distances], axis=1)
    titles = (*PROFILE_FIELDS, "distance")
    # Of equal shares the farther first; NaN, of a model that can't tell, is above nothing.
    order = np.lexsort((-distances, -unlike))[: int((unlike > UNLIKE).sum())][:MOST_LISTED]
    return LongTable(
        "Profiles unlike training",
        "a profile",
        "profiles",
        [Head("profile"), *(Head(one, number=True, digits=3) for one in titles)],
        [(profiles[place], *numbers[place].tolist()) for place in order.tolist()],
        1,
        descending=True,
    )


def _likeness(told: Told) -> Iterator[Picture]:
    if told.plan.model.uncertainty is None:
        return
    captions = (
        f"Share of training profiles that have a nearer neighbour; beyond {UNLIKE:g} is warned of",
        "Share of a profile's landmark variance that training's principal components explain",
    )
    edges = np.linspace(0, 1, 41)
    for what, caption, values, limit in zip(
        PROFILE_FIELDS, captions, told.tally.fields.T, (UNLIKE, None), strict=True
    ):
        counts, _ = np.histogram(np.clip(values, 0, 1), edges)
        yield picture(
            _bars(edges, counts, what, "profiles", limit),
            f"Histogram of {what} over {len(values):,} profiles, median {np.median(values):.3f}",
            f"{caption}{_note(told)}.",
        )


# What came out


def _distributions(told: Told, inferred: pd.DataFrame) -> Iterator[Picture]:
    tally, note = told.tally, _note(told)
    used = np.flatnonzero(tally.counts)
    shown = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, BINS)
    edges = tally.edges[shown.start : shown.stop + 1]
    yield picture(
        _bars(edges, tally.counts[shown], f"inferred value, {told.units}", "values"),
        f"Histogram of {tally.counts.sum():,} inferred values",
        f"All inferred values, {told.units}{note}.",
    )
    level, interval = told.plan.options.interval, told.plan.interval
    if interval is not None:
        widths = interval_widths(interval, inferred["interval_width"].to_numpy(), tally)
        top = float(np.quantile(widths, 0.999)) or 1.0
        edges = np.linspace(0, top, 61)
        counts, _ = np.histogram(widths, edges)
        yield picture(
            _bars(edges, counts / len(widths), f"width, {told.units}", "share of values"),
            f"Histogram of the widths of the intervals, median {np.median(widths):.3f}",
            f"Widths of the intervals of {level:.0%}, {told.units}{note}; the widest of 1,000 "
            "is left out.",
        )


def interval_widths(
    interval: Calibration, of_genes: NDArray[np.float64], tally: Tally
) -> NDArray[np.float64]:
    """Give the widths of all values' intervals, of many profiles at quantiles of their distances.

    A width is that of its gene, `of_genes` ``(n_genes,)`` at the median distance from training,
    times what the profile's own distance does to it.
    """
    distances = np.sort(tally.distances.astype(np.float64))
    if len(distances) > QUANTILES:
        distances = np.quantile(distances, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    return np.multiply.outer(interval.scale(distances), of_genes).ravel()


def _bars(
    edges: NDArray[np.float64],
    counts: NDArray[Any],
    what: str,
    of: str,
    limit: float | None = None,
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.stairs(counts, edges, fill=True, color=COLOUR, alpha=0.85)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None), xlabel=what, ylabel=of)
        axes.yaxis.set_major_formatter("{x:,g}")
        if limit is not None:
            axes.axvline(limit, color=LIMIT_COLOUR, linewidth=1, linestyle=(0, (4, 2)))

    return draw


def _note(told: Told) -> str:
    return " (model trained on simulated data)" if told.plan.model.simulated else ""


def _genes(told: Told, inferred: pd.DataFrame) -> LongTable:
    """List the inferred genes of the output, by expected error."""
    part, own = told.plan.expected_on, told.plan.options.scale == "reference"
    places = {"symbol": Head("symbol")} if "symbol" in inferred else {OWN_ID: Head(OWN_ID)}
    if part is not None:
        places[f"mae_{part}"] = Head(EXPECTED_ERROR, number=True, digits=4)
        if own:
            places["expected_error"] = Head("in the output's units", number=True, digits=4)
    places |= {
        "expected_r2": Head("R²", number=True, digits=3),
        "interval_width": Head("interval width", number=True, digits=3),
        **{name: Head(name) for name in (OWN_ID, "ensembl", "entrez", "probes")},
    }
    inferred = inferred.assign(**{OWN_ID: inferred.index})
    columns = {head: inferred[name].to_numpy() for name, head in places.items() if name in inferred}
    errors = None if part is None else inferred[f"mae_{part}"].to_numpy()
    return genes_by_error("Inferred genes", "inferred genes", columns, errors, TRUSTED)


# How it was made


def _call(told: Told) -> str:
    """Write the call from Python."""
    options = told.plan.options
    given = ", ".join(
        f"{one.name}={getattr(options, one.name)!r}"
        for one in fields(PredictOptions)
        if getattr(options, one.name) != one.default
    )
    source, output = str(told.plan.match.source.path), str(told.outputs[0])
    return f"predict(model, {source!r}, {output!r}, PredictOptions({given}))"


def _option(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not given" if value is None else str(value)


def _versions(told: Told) -> list[tuple[str, str]]:
    device = told.provenance["device"]
    return [
        ("Made by", told.provenance["made_by"]),
        *told.provenance["versions"].items(),
        ("Device", f"{device['platform']} ({device['kind']})"),
        ("Precision", told.provenance["precision"]),
    ]


def _sums(told: Told) -> Any:
    rows = [
        ("model", "model.json", told.provenance["model"]["sha256"] or "from memory"),
        ("input", told.provenance["input"]["name"], told.provenance["input"]["sha256"]),
        *(("output", one.name, known_sha256(one)) for one in told.outputs if one.is_file()),
    ]
    return table("Checksums", ("what", "file", "=sha256"), rows)
