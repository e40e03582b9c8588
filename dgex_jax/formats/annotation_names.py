"""How columns are called that hold annotation of genes, not the values of a profile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = {
    *("chr", "chrom", "chromosome", "chromosomename", "seqname", "seqnames", "seqid", "contig"),
    *("strand", "band", "cytoband", "map", "maplocation", "location", "locus"),
    *("biotype", "genebiotype", "genetype", "transcripttype", "transcriptbiotype", "type"),
    *("description", "genedescription", "definition", "title", "genetitle", "source", "species"),
    *("symbol", "symbols", "genesymbol", "genesymbols", "hugosymbol", "hgncsymbol", "prgenesymbol"),
    *("genename", "genenames", "featurename", "featuretype", "feature", "unigene", "refseq"),
    *("alias", "aliases", "synonym", "synonyms", "ensembl", "ensemblid", "ensemblgeneid"),
    *("ensemblgene", "transcriptid", "transcriptids", "ensembltranscriptid", "tssid"),
}
"""Columns of text, also where the first rows have only numbers (chromosomes)."""

IDS = {
    *("entrez", "entrezid", "entrezgene", "entrezgeneid", "prgeneid", "prentrezid", "ncbigeneid"),
    *("geneid", "geneids", "hgncid", "hgnc", "omim", "taxid", "taxonid", "locuslink", "uniprot"),
}
POSITIONS = {
    *("start", "end", "stop", "chromstart", "chromend", "txstart", "txend", "genestart", "geneend"),
    *("startposition", "endposition", "position", "pos", "coord", "coordinate", "bp", "tss"),
    *("length", "genelength", "len", "width", "genewidth", "exonlength", "exonlengths", "size"),
    *("transcriptlength", "efflength", "effectivelength", "bplength", "lengthbp", "genesize"),
    *("exons", "nexons", "exoncount", "numexons", "ntranscripts", "transcriptcount"),
    *("prislm", "prisbing", "prislmark", "pranalytenum", "prpoolid"),
}
SHARES = {"gc", "gccontent", "percentgc", "gcpercent", "percentgccontent", "percentagegccontent"}
STATISTICS = {
    *("total", "totals", "sum", "rowsum", "rowsums", "totalcount", "totalcounts", "totalreads"),
    *("mean", "rowmean", "rowmeans", "average", "avg", "avgexpr", "aveexpr", "basemean", "median"),
    *("sd", "stdev", "std", "stddev", "var", "variance", "cv", "mad", "iqr", "rank"),
    *("logfc", "log2fc", "log2foldchange", "foldchange", "lfcse", "stat", "pvalue", "pval", "padj"),
    *("adjpval", "adjpvalue", "qvalue", "qval", "fdr", "ncells", "dispersions", "dispersionsnorm"),
    *("highlyvariable", "ndetected", "pctdropoutbycounts"),
}

NUMBERS = IDS | POSITIONS | SHARES | STATISTICS
"""Columns of numbers that are no expression values."""


def plain_name(name: str) -> str:
    """Give the letters and digits of a column's name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def is_text_name(name: str) -> bool:
    """Whether a column is called as columns of text are."""
    return plain_name(name) in TEXT


def is_annotation_name(name: str) -> bool:
    """Whether a column is called as columns of annotation are, of text or of numbers."""
    return plain_name(name) in TEXT or plain_name(name) in NUMBERS


GENE_ID = re.compile(r"ENS[A-Z]*\d{6,}(\.\d+)?|.*\d_at|LOC\d+|[NX][MR]_\d+(\.\d+)?")


def alike(one: str, others: Sequence[str]) -> bool:
    """Whether an id is written as some others are: the same runs of letters and digits.

    Ids of genes of the same kind are, with or without a version.
    """
    shown = others[:1000]
    if GENE_ID.fullmatch(one) and any(map(GENE_ID.fullmatch, shown)):
        return True
    return _form(one) in set(map(_form, shown))


def _form(text: str) -> str:
    text = re.sub(r"\d+", "9", text)
    text = re.sub(r"[A-Z]+", "A", text)
    return re.sub(r"[a-z]+", "a", text)
