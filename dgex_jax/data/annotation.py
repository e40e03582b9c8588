"""What expression files say of their probes beside the values: gene symbols and Entrez ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

SYMBOL_FIELDS = ("pr_gene_symbol", "gene_symbol", "symbol")
ENTREZ_FIELDS = ("pr_gene_id", "pr_entrez_id", "entrez_id", "entrez_gene_id", "entrezid", "entrez")
"""Names of row metadata, of whatever case; the first that a file has counts (LINCS: ``pr_…``)."""

ENTREZ = re.compile(r"([1-9]\d*)(\.0*)?")
NOTHING = {"", "-666", "---", "na", "nan", "<na>", "none"}


@dataclass(frozen=True)
class Annotation:
    """What is known of probes; probes of which nothing is known are absent.

    Attributes
    ----------
    symbols, entrez
        Probe id → gene symbol, Entrez gene id (decimal text).
    """

    symbols: Mapping[str, str] = field(default_factory=dict)
    entrez: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: Annotation) -> Annotation:
        """Join both; where they differ `other` counts."""
        return Annotation({**self.symbols, **other.symbols}, {**self.entrez, **other.entrez})

    def entrez_of(self, probes: Sequence[str]) -> str:
        """Give the Entrez id of a gene: the one its probes have; empty if they have none or two."""
        found = {self.entrez[probe] for probe in probes if probe in self.entrez}
        return found.pop() if len(found) == 1 else ""


def symbol_text(value: object) -> str:
    """Read a symbol; empty if it is one of the usual ways to say nothing."""
    text = str(value).strip()
    return "" if text.casefold() in NOTHING else text


def entrez_text(value: object) -> str:
    """Read an Entrez id: ``780``, also written ``780.0``; empty for all that is no such number."""
    number = ENTREZ.fullmatch(str(value).strip())
    return "" if number is None else number[1]


def annotation_of(metadata: pd.DataFrame) -> Annotation:
    """Take symbols and Entrez ids from row metadata ``(n_probes, n_fields)``, indexed by probe."""
    return Annotation(
        _column(metadata, SYMBOL_FIELDS, symbol_text), _column(metadata, ENTREZ_FIELDS, entrez_text)
    )


def _column(
    metadata: pd.DataFrame, names: Sequence[str], read: Callable[[object], str]
) -> dict[str, str]:
    fields = [str(name).casefold() for name in metadata.columns]
    place = next((fields.index(name) for name in names if name in fields), None)
    if place is None:
        return {}
    texts = zip(metadata.index, map(read, metadata.iloc[:, place]), strict=True)
    return {str(probe): text for probe, text in texts if text}
