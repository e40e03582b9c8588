"""Tables of text: aligned for a terminal, or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass


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
