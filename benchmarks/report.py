"""What a benchmark leaves: one report, printed and, if asked for, written as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import Timing, noise_note, ratio, show
from dgex_jax.io.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.machine import Machine

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Table:
    """A header and rows of as many texts; the first column is left-aligned, the others right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"{len(row)} cells below {len(self.header)} headings: {row}")

    def text(self) -> str:
        """Lay it out for a terminal."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        laid = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(map(len, laid))
        return "\n".join([laid[0], rule, *laid[1:]])

    def markdown(self) -> str:
        """Write it as Markdown."""
        aligned = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [self.header, *self.rows]
        cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
        return "\n".join(
            [f"| {cells[0]} |", f"| {' | '.join(aligned)} |", *(f"| {row} |" for row in cells[1:])]
        )


@dataclass(frozen=True)
class Bound:
    """The shortest time a machine's measured rate allows, and how it was reckoned."""

    seconds: float
    reckoning: str


@dataclass(frozen=True)
class Line:
    """One comparison: what is done, our time, a peer's time, the bound."""

    what: str
    ours: Timing
    peer_name: str = ""
    peer: Timing | None = None
    bound: Bound | None = None


@dataclass(frozen=True)
class Report:
    """One benchmark's outcome.

    - `name`: of the benchmark: ``python -m benchmarks.<name>``.
    - `title`: what is measured, in a line.
    - `lines`: the comparisons.
    - `rates`: measured rates of the machine, as text.
    - `tables`: further tables with their titles.
    - `notes`: further sentences.
    """

    name: str
    title: str
    lines: Sequence[Line] = ()
    rates: Sequence[str] = ()
    tables: Sequence[tuple[str, Table]] = ()
    notes: Sequence[str] = field(default_factory=list)

    def all_notes(self) -> list[str]:
        """Put before the notes how each bound was reckoned and what was noisy."""
        bounds: dict[str, list[str]] = {}
        for line in self.lines:
            if line.bound is not None:
                bounds.setdefault(line.bound.reckoning, []).append(line.what)
        timings = {f"{line.what}, ours": line.ours for line in self.lines} | {
            f"{line.what}, {line.peer_name}": line.peer for line in self.lines if line.peer
        }
        noise = noise_note(timings)
        reckoned = [
            f"bound of {'; '.join(dict.fromkeys(what))}: {reckoning}"
            for reckoning, what in bounds.items()
        ]
        return [*reckoned, *([noise] if noise else []), *self.notes]


def comparison(lines: Sequence[Line]) -> Table:
    """Lay the comparisons out: medians with quickest to slowest, and the peer's to ours.

    The ratio of the quickest times stands beside: noise only ever adds.
    """
    rows = []
    for line in lines:
        peer, times, quickest = "", "", ""
        if line.peer is not None:
            peer, times = f"{line.peer_name}: {line.peer}", str(ratio(line.ours, line.peer))
            quickest = f"{line.peer.low / line.ours.low:.2f}"
        elif line.peer_name:
            peer = f"{line.peer_name}: not here"
        bound, share = "", ""
        if line.bound is not None:
            bound = show(line.bound.seconds)
            share = f"{line.bound.seconds / line.ours.median:.0%}"
        rows.append((line.what, str(line.ours), peer, times, quickest, bound, share))
    header = ("what", "ours", "peer", "peer / ours", "quickest", "bound", "bound / ours")
    return Table(header, tuple(rows))


def as_text(report: Report, command: str, machine: Machine) -> str:
    """Lay a report out for a terminal; `command` measures it again."""
    blocks = [report.title, *machine.lines(), *report.rates, f"$ {command}", ""]
    if report.lines:
        blocks += [comparison(report.lines).text(), ""]
    for title, table in report.tables:
        blocks += [title, table.text(), ""]
    return "\n".join([*blocks, *(f"- {note}" for note in report.all_notes())]).rstrip()


def as_markdown(report: Report, command: str, machine: Machine) -> str:
    """Write a report as Markdown."""
    blocks = [f"# {report.title}", f"`{command}`"]
    blocks += ["  \n".join([*machine.lines(), *report.rates])]
    if report.lines:
        blocks.append(comparison(report.lines).markdown())
    for title, table in report.tables:
        blocks += [f"## {title}", table.markdown()]
    if notes := report.all_notes():
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def write(report: Report, command: str, machine: Machine, folder: Path = RESULTS) -> Path:
    """Write ``<folder>/<name>.md``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.md"
    with atomic_path(path) as temporary:
        temporary.write_text(as_markdown(report, command, machine), encoding="utf-8")
    return path
