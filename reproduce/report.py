"""The report of one study: one self-contained HTML file of all that was made, and how."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.image import imread

from dgex_jax.errors import FormatError
from dgex_jax.io.files import one_line
from dgex_jax.pages.page import PIXELS_PER_INCH, Image, environment
from dgex_jax.plots.style import DPI
from dgex_jax.prepare.report import count_key
from dgex_jax.train.record import is_done
from dgex_jax.train.run import clock
from reproduce.baselines import chosen_values
from reproduce.products import files_of, groups_of, is_drawn, products_of
from reproduce.sources import (
    checksums,
    commands,
    leading_comment,
    read_preparation,
    read_run,
    read_study_file,
    seconds_of_all,
    seeds,
    version_table,
)
from reproduce.stages import beyond_config
from reproduce.tables import SIMULATED, table_blocks, tables_of
from reproduce.variants import DEPARTURES, departure_network, departure_space, departures_of
from reproduce.workspace import STUDIES, Needs, at_rates
from reproduce.written import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dgex_jax.parts import Parts
    from reproduce.tables import Block, TableSpec
    from reproduce.workspace import Product, Workspace

TEMPLATES = Path(__file__).parent / "templates"

MAIN = ("table1", "table2")
"""Targets of the main results, which come first."""

NUMERIC = re.compile(r"(?:[-+]?\d\S*(?: ± \d\S*)?(?: \(\S+\)| \(paper \S+\)| of \d\S*)?)?")
"""A cell that is a number, a share, a count, or nothing: it is never broken over lines."""

DEEPEST = 4


def write_report(space: Workspace, texts: Mapping[str, str], left_out: Mapping[str, str]) -> Path:
    """Write ``report.html`` of a study whose products are made, atomically; returns the file.

    Nothing in it is loaded from elsewhere. The same study gives the same bytes but for the
    elements of class ``time``.

    - `space`: the study and its folders.
    - `texts`: product → what it returned to show.
    - `left_out`: product → why the study's networks don't allow it.

    Raises `FormatError`: a table, a figure, a run or the prepared study is missing or damaged.
    """
    made = environment(TEMPLATES)
    made.filters["clock"] = clock
    html = made.get_template("report.html.j2").render(_content(space, texts, left_out))
    path = space.results / "report.html"
    write_text(path, html)
    return path


def _content(
    space: Workspace, texts: Mapping[str, str], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """Collect all that the template shows."""
    parts = space.study.parts
    products, specs = {one.name: one for one in products_of(parts)}, tables_of(parts)
    needs = reduce(or_, (products[name].needs(space.study) for name in texts), Needs())
    heading, _, text = SIMULATED.replace("**", "").partition(": ")
    prepared = read_preparation(space.prepared)
    study_file = read_study_file(space.path)
    runs = [
        read_run(space.run(network), network, parts)
        for network in at_rates(space.study)
        if network in needs.networks
    ]
    departures = [
        (
            DEPARTURES[name].changes(parts),
            read_run(departure_space(space, name).run(network), network, parts),
        )
        for name in needs.departures
        for network in [departure_network(space.study)]
    ]
    tables, figures, analyses = (
        [exhibit(space, one, texts[one.name]) for one in group if one.name in texts]
        for group in groups_of(parts).values()
    )
    main = {name for name in texts if products[name].target in MAIN}
    headlines = [
        _headline(specs[one.name], block)
        for one in tables
        if one.name in main
        for block in table_blocks(space, specs[one.name])
    ]
    methods = dict.fromkeys(method for one in headlines for method in one.errors)
    return {
        "study": space.study,
        "parts": parts,
        "description": leading_comment(study_file),
        "prepared": prepared,
        "simulated": (heading, f"{text[0].upper()}{text[1:]}") if prepared.simulated else None,
        "headlines": headlines,
        # The network last: the first rows may lack a method.
        "methods": sorted(methods, key="D-GEX".__eq__),
        "main_tables": [one for one in tables if one.name in main],
        "more_tables": [one for one in tables if one.name not in main],
        "figures": figures,
        "analyses": analyses,
        "beyond": _beyond(space),
        "left_out": [
            *((products[name].title.rstrip("."), why) for name, why in left_out.items()),
            *((one.title, one.reason) for one in figures if one.reason),
        ],
        "not_measured": [
            one.changes(parts)
            for name, one in DEPARTURES.items()
            if needs.departures and name not in departures_of(space.study)
        ],
        "counts": [
            (words, prepared.counts[name])
            for name, words in _counted(parts).items()
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
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _beyond(space: Workspace) -> Exhibit | None:
    """Show the comparison beyond the paper, if it was made of the study as it is."""
    if not is_done(space.results / "beyond", beyond_config(space)):
        return None
    places = [space.tables / f"beyond.{ending}" for ending in ("md", "csv", "tex")]
    places += [space.figures / f"beyond.{ending}" for ending in ("png", "pdf")]
    links = _links(space, places)
    title = "Beyond the paper: all methods on several splits"
    try:
        text = places[0].read_text(encoding="utf-8")
    except OSError as error:
        raise FormatError(f"{places[0]}: can't be read: {one_line(error)}") from error
    return Exhibit("beyond", title, to_html(text, title), image=read_image(places[3]), links=links)


def _counted(parts: Parts) -> dict[str, str]:
    """Say in words, and in order, what a preparation counts (`PrepareReport.counts`)."""
    name, named = parts.compendium, " and ".join(parts.names)
    of_compendium = {
        "profiles_read": f"{name} profiles read",
        "profiles_kept": f"{name} profiles kept, duplicates left out",
        "close_pairs": f"close pairs of {name} profiles found",
        "close_pairs_straddling_clusters": "of them split by clustering, so not compared",
    }
    of_sets = {
        "profiles": "{} profiles",
        "indices_clipped": "{} values with quantile index -1, clipped to 0",
    }
    return (
        {count_key(name, key): words for key, words in of_compendium.items()}
        | {"groups": "groups that go to one part each"}
        | {
            count_key(one, key): words.format(one)
            for key, words in of_sets.items()
            for one in parts.names
        }
        | {
            "landmarks": "landmark genes",
            "targets": "target genes",
            "targets_copying_a_landmark": f"target genes that copy a landmark in {named}",
            "genes_dropped": "genes dropped, since a platform lacks them",
            "genes_with_missing_probes": "genes kept that lack some of their probes",
        }
    )


@dataclass(frozen=True)
class Exhibit:
    """One product as the report shows it.

    - `name`: of the product; the report's anchor.
    - `title`: in a line, without the full stop.
    - `html`: tables and text; empty for a figure.
    - `image`: the picture; ``None`` for a table, and for a figure that was not drawn.
    - `reason`: why a figure was not drawn.
    - `links`: file name and relative address of each file with the same content.
    """

    name: str
    title: str
    html: str = ""
    image: Image | None = None
    reason: str = ""
    links: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The short name, as in ``Table 1``: the title up to its colon, comma or "of"."""
        return re.split(r":|,| of ", self.title, maxsplit=1)[0]


def exhibit(space: Workspace, product: Product, text: str) -> Exhibit:
    """Make the exhibit of a product that was made and returned `text` to show.

    Raises `FormatError`: a file of it is missing, or its picture is damaged.
    """
    title = product.title.rstrip(".")
    if not is_drawn(product):
        links = _links(space, files_of(space, product))
        return Exhibit(product.name, title, to_html(text, title), links=links)
    start, _, reason = text.partition(": not drawn: ")
    if start == product.name and reason:
        return Exhibit(product.name, title, reason=reason)
    links = _links(space, files_of(space, product))
    image = read_image(space.figures / f"{product.name}.png")
    return Exhibit(product.name, title, image=image, links=links)


def read_image(path: Path) -> Image:
    """Read a PNG of `DPI` dots to an inch, the bytes as they are.

    Raises `FormatError`: it is missing or damaged.
    """
    try:
        data = path.read_bytes()
        height, width = imread(path, format="png").shape[:2]
    # Pillow calls a file that is no PNG a SyntaxError.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: can't be read as PNG: {one_line(error)}") from error
    return Image(
        f"data:image/png;base64,{b64encode(data).decode()}",
        round(width * PIXELS_PER_INCH / DPI),
        round(height * PIXELS_PER_INCH / DPI),
    )


def _links(space: Workspace, paths: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    found = []
    for path in paths:
        if not path.is_file():
            raise FormatError(f"{path}: is missing, so that the report can't name it")
        relative = os.path.relpath(path, space.results).replace(os.sep, "/")
        found.append((path.name, quote(relative)))
    return tuple(found)


@dataclass(frozen=True)
class Headline:
    """One block of a table, of its networks only the one chosen on the validation part.

    - `table`, `part`, `targets`: where it stands, the data set, and which targets count.
    - `network`, `selected_on`: the chosen network, and where it was chosen.
    - `errors`: method → overall error; the network is the last, D-GEX.
    - `lowest`: of the methods that have an error in every gene.
    - `gains`: baseline → by which share the network's error is lower, and in what share of the
      genes.
    """

    table: str
    part: str
    targets: str
    network: str
    selected_on: str
    errors: Mapping[str, float]
    lowest: float
    gains: Mapping[str, tuple[float, float]]


def _headline(spec: TableSpec, block: Block) -> Headline:
    comparison = block.comparison
    best = comparison.best_network()
    if best.network is None:
        raise AssertionError("the best network is a network")
    shown = [entry for entry in comparison.entries if entry.network is None or entry is best]
    return Headline(
        table=spec.title,
        part=comparison.parts.label(spec.part),
        targets=block.title,
        network=best.network.name,
        selected_on=comparison.parts.label(comparison.selected_on),
        errors={entry.method: comparison.overall(entry).mean for entry in shown},
        lowest=min(comparison.overall(one).mean for one in shown if comparison.is_whole(one)),
        gains={
            method: (comparison.improvement(best, method), comparison.share_better(best, method))
            for method in comparison.rivals
        },
    )


@cache
def _parser() -> MarkdownIt:
    """Return the parser: tables, no HTML of the text's own, and no images, which load files."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def to_html(markdown: str, label: str) -> str:
    """Turn the Markdown of one product into HTML that stands below a heading of level 3.

    The first heading is left out, since the report has its own; others become level 4. Tables lie
    in containers that scroll by themselves, and columns of numbers are set as such.

    HTML in the text is shown, not obeyed; `label` says what the tables are of, for those who can't
    see them.
    """
    tokens = _parser().parse(markdown)
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        tokens = tokens[3:]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{DEEPEST}"
    return str(_parser().renderer.render(_contained(tokens, label), _parser().options, {}))


def _contained(tokens: Sequence[Token], label: str) -> list[Token]:
    """Put every table in a container, and mark its cells."""
    result: list[Token] = []
    start = 0
    for token in tokens:
        if token.type == "table_open":
            start = len(result)
            box = Token("scroll_open", "div", 1, block=True)
            # Reached by keyboard, or else what lies to the right can't be.
            box.attrs = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
            result.append(box)
        result.append(token)
        if token.type == "table_close":
            result[start:] = _marked(result[start:])
            result.append(Token("scroll_close", "div", -1, block=True))
    return result


def _marked(tokens: list[Token]) -> list[Token]:
    """Mark headers of columns and rows, and columns of numbers; leave out a header of nothing."""
    rows: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(place)
    texts = [[tokens[place + 1].content.replace("**", "") for place in row] for row in rows]
    columns = list(zip(*texts[1:], strict=True)) or [()] * len(texts[0])
    looks = [[] if number == 0 else _look(column) for number, column in enumerate(columns)]
    for number, row in enumerate(rows):
        for column, place in enumerate(row):
            # A header without text would be read out as one.
            header = bool(texts[number][column]) and (number == 0 or column == 0)
            tokens[place].tag = tokens[place + 2].tag = "th" if header else "td"
            if header:
                tokens[place].attrs["scope"] = "col" if number == 0 else "row"
            short = ["short"] if number == 0 and " " not in texts[0][column] else []
            if classes := " ".join([*looks[column], *short]):
                tokens[place].attrs["class"] = classes
    if any(texts[0]):
        return tokens
    kinds = [token.type for token in tokens]
    return tokens[: kinds.index("thead_open")] + tokens[kinds.index("thead_close") + 1 :]


def _look(cells: Sequence[str]) -> list[str]:
    """Name the classes of a column's cells."""
    if not any(cells) or not all(map(NUMERIC.fullmatch, cells)):
        return []
    return ["number"] if any(" " in cell for cell in cells) else ["number", "right"]
