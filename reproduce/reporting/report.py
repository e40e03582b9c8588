"""The report of one study: one HTML file that holds all that was made, and how."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dgex_jax import __version__
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.training.progressline import clock
from reproduce.baselines import chosen_values
from reproduce.networks import at_rates
from reproduce.product import Needs
from reproduce.products import ANALYSES, FIGURES, TABLES
from reproduce.reporting.exhibits import exhibits
from reproduce.reporting.headline import headlines
from reproduce.reporting.provenance import read_preparation, read_run, seconds_of_all, version_table
from reproduce.reporting.repeat import checksums, commands, leading_comment, read_study_file, seeds
from reproduce.simulated import SIMULATED
from reproduce.variants import DEPARTURES, departure_network, departure_space, departures_of
from reproduce.workspace import STUDIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reproduce.workspace import Workspace

TEMPLATES = Path(__file__).parent / "templates"

MAIN = ("table1", "table2")
"""The main results, which come first."""

COUNTS = {
    "geo_profiles_read": "GEO profiles read",
    "geo_profiles_kept": "GEO profiles kept, duplicates left out",
    "geo_close_pairs": "close pairs of GEO profiles found",
    "geo_close_pairs_straddling_clusters": "of them split by clustering, so not compared",
    "gtex_profiles": "GTEx profiles",
    "1000g_profiles": "1000G profiles",
    "landmarks": "landmark genes",
    "targets": "target genes",
    "targets_copying_a_landmark": "target genes that copy a landmark in GTEx and 1000G",
    "gtex_indices_clipped": "GTEx values with quantile index -1, clipped to 0",
    "1000g_indices_clipped": "1000G values with quantile index -1, clipped to 0",
    "genes_dropped": "genes dropped, since a platform lacks them",
    "genes_with_missing_probes": "genes kept that lack some of their probes",
}
"""What a preparation counts (`PrepareReport.counts`), in words and in order."""


def write_report(
    space: Workspace, products: Sequence[str], texts: Mapping[str, str], left_out: Mapping[str, str]
) -> Path:
    """Write ``report.html`` of a study whose products are made, atomically.

    Nothing in it is loaded from elsewhere. The same study gives the same bytes but for the
    elements of class ``time``.

    Parameters
    ----------
    space
        The study and its folders.
    products
        Names of the products made.
    texts
        Product → what it returned to show.
    left_out
        Product → why the study's networks don't allow it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FormatError
        A table, a figure, a run or the prepared study is missing or damaged.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"thousands": "{:,}".format, "clock": clock}
    shown = content(space, {name: texts[name] for name in products}, left_out)
    html = environment.get_template("report.html.j2").render(shown)
    path = space.results / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return path


def content(
    space: Workspace, texts: Mapping[str, str], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """Collect all that the template shows (the arguments as in `write_report`)."""
    everything = {one.name: one for one in (*TABLES, *FIGURES, *ANALYSES)}
    needs = reduce(or_, (everything[name].needs(space.study) for name in texts), Needs())
    prepared = read_preparation(space.prepared)
    study_file = read_study_file(space.path)
    runs = [
        read_run(space.run(network), network)
        for network in at_rates(space.study)
        if network in needs.networks
    ]
    departures = [
        (DEPARTURES[name].changes, read_run(departure_space(space, name).run(network), network))
        for name in needs.departures
        for network in [departure_network(space.study)]
    ]
    tables, figures = exhibits(space, TABLES, texts), exhibits(space, FIGURES, texts)
    return {
        "study": space.study,
        "description": leading_comment(study_file),
        "prepared": prepared,
        "simulated": banner(),
        "headlines": headlines(space, [name for name in MAIN if name in texts]),
        "main_tables": [one for one in tables if one.name in MAIN],
        "more_tables": [one for one in tables if one.name not in MAIN],
        "figures": figures,
        "analyses": exhibits(space, ANALYSES, texts),
        "left_out": [
            *((everything[name].title.rstrip("."), why) for name, why in left_out.items()),
            *((one.title, one.reason) for one in figures if one.reason),
        ],
        "not_measured": [
            one.changes
            for name, one in DEPARTURES.items()
            if needs.departures and name not in departures_of(space.study)
        ],
        "counts": [
            (words, prepared.counts[name])
            for name, words in COUNTS.items()
            if name in prepared.counts
        ],
        "chosen": chosen_values(space) if needs.methods else {},
        "runs": runs,
        "departures": departures,
        "seconds": seconds_of_all(runs),
        "versions": version_table(prepared, [*runs, *(run for _, run in departures)]),
        "seeds": seeds(space, prepared),
        "checksums": checksums(space, prepared, study_file, needs.departures),
        "study_file": study_file,
        "study_name": space.path.name,
        "built_in": space.path.parent == STUDIES,
        "commands": commands(space),
        "version": __version__,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def banner() -> tuple[str, str]:
    """Return the heading and the text of what stands above made-up data."""
    heading, _, text = SIMULATED.replace("**", "").partition(": ")
    return heading, f"{text[0].upper()}{text[1:]}"
