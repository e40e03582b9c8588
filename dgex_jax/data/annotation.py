"""What expression files say of their probes beside the values: symbols, Entrez and Ensembl ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dgex_jax.data.genemap import is_ensembl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

SYMBOL_FIELDS = (
    *("pr_gene_symbol", "gene_symbol", "symbol"),
    *("gene_symbols", "gene_name", "gene_names", "feature_name"),
)
ENTREZ_FIELDS = ("pr_gene_id", "pr_entrez_id", "entrez_id", "entrez_gene_id", "entrezid", "entrez")
ENSEMBL_FIELDS = (
    *("ensembl", "ensembl_id", "ensembl_gene_id", "ensemblid"),
    *("gene_ids", "gene_id", "feature_id"),
)
"""Names of row metadata, of whatever case; the first that a file has counts (LINCS: ``pr_…``; the
last names of each kind are those of AnnData files)."""

ENTREZ = re.compile(r"([1-9]\d*)(\.0*)?")
NOTHING = {"", "-666", "---", "na", "nan", "<na>", "none"}


@dataclass(frozen=True)
class Annotation:
    """What is known of probes; probes of which nothing is known are absent.

    Attributes
    ----------
    symbols, entrez, ensembl
        Probe id → gene symbol, Entrez gene id (decimal text), Ensembl gene id (as written).
    """

    symbols: Mapping[str, str] = field(default_factory=dict)
    entrez: Mapping[str, str] = field(default_factory=dict)
    ensembl: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: Annotation) -> Annotation:
        """Join both; where they differ `other` counts."""
        return Annotation(
            {**self.symbols, **other.symbols},
            {**self.entrez, **other.entrez},
            {**self.ensembl, **other.ensembl},
        )

    def entrez_of(self, probes: Sequence[str]) -> str:
        """Give the Entrez id of a gene: the one its probes have; empty if they have none or two."""
        return _common(self.entrez, probes)

    def ensembl_of(self, probes: Sequence[str]) -> str:
        """Give the Ensembl id of a gene, likewise."""
        return _common(self.ensembl, probes)


def _common(ids: Mapping[str, str], probes: Sequence[str]) -> str:
    found = {ids[probe] for probe in probes if probe in ids}
    return found.pop() if len(found) == 1 else ""


def symbol_text(value: object) -> str:
    """Read a symbol; empty if it is one of the usual ways to say nothing."""
    text = str(value).strip()
    return "" if text.casefold() in NOTHING else text


def entrez_text(value: object) -> str:
    """Read an Entrez id: ``780``, also written ``780.0``; empty for all that is no such number."""
    number = ENTREZ.fullmatch(str(value).strip())
    return "" if number is None else number[1]


def ensembl_text(value: object) -> str:
    """Read an Ensembl gene id, with or without its version; empty for all that is none."""
    text = str(value).strip()
    return text if is_ensembl(text) else ""


def annotation_of(metadata: pd.DataFrame) -> Annotation:
    """Take what is known from row metadata ``(n_probes, n_fields)``, indexed by probe."""
    return Annotation(
        _column(metadata, SYMBOL_FIELDS, symbol_text),
        _column(metadata, ENTREZ_FIELDS, entrez_text),
        _column(metadata, ENSEMBL_FIELDS, ensembl_text),
    )


def field_texts(
    metadata: pd.DataFrame, names: Sequence[str], read: Callable[[object], str]
) -> list[str] | None:
    """Read the first field of some names.

    Parameters
    ----------
    metadata
        ``(n_genes, n_fields)``.
    names
        Of fields, in lower case.
    read
        Makes text of a value.

    Returns
    -------
    list of str or None
        A text a gene; ``None`` where there is no such field.
    """
    fields = [str(name).casefold() for name in metadata.columns]
    place = next((fields.index(name) for name in names if name in fields), None)
    return None if place is None else list(map(read, metadata.iloc[:, place]))


def _column(
    metadata: pd.DataFrame, names: Sequence[str], read: Callable[[object], str]
) -> dict[str, str]:
    texts = field_texts(metadata, names, read)
    if texts is None:
        return {}
    return {str(probe): text for probe, text in zip(metadata.index, texts, strict=True) if text}
