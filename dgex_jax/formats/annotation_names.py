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

SAMPLES = {
    *("age", "agegroup", "ageatdiagnosis", "sex", "gender", "race", "ethnicity", "bmi", "weight"),
    *("batch", "plate", "lane", "replicate", "dose", "time", "timepoint", "rin", "rna", "purity"),
    *("tumorpurity", "stage", "grade", "status", "survival", "os", "ostime", "osmonths", "dfs"),
    *("group", "label", "cluster", "class", "condition", "treatment", "tissue", "disease"),
    *("ncounts", "ngenes", "ngenesbycounts", "nfeaturerna", "ncountrna", "log1ptotalcounts"),
    *("pctcountsmt", "percentmt", "percentmito", "pctmito", "sizefactor", "sizefactors"),
    *("libsize", "librarysize", "mappedreads", "mappingrate"),
}
"""Columns that annotate profiles, where the genes are columns."""

CORNERS = {
    *("gene", "genes", "id", "ids", "idref", "name", "names", "probe", "probes", "probeid"),
    *("probeset", "probesetid", "affyid", "target", "targetid", "feature", "features", "featureid"),
    *("transcript", "tracking", "trackingid", "sample", "samples", "sampleid", "sampleids"),
    *("samplename", "barcode", "cell", "cells", "cellid", "cellline", "patient", "patientid"),
    *("subject", "subjectid", "case", "caseid", "donor", "donorid", "individual", "profile"),
    *("profileid", "rid", "cid", "index", "row", "rownames", "rowname", "unnamed0", "x", "well"),
    *("run", "accession", "geoaccession", "depmapid", "modelid", "file", "filename", "obs", "var"),
    *("prid", "symbolid", "ensgid", "ensg", "ensemblgeneidversion", "hgnc", "key", "identifier"),
}
"""What stands above the ids of a table, in letters and digits; names of annotation do as well."""

ENDINGS = {"length", "len", "start", "end", "version", "strand", "biotype"}
"""Last words of such names (``cds_length``, ``gene_version``)."""

NUMBERS = IDS | POSITIONS | SHARES | STATISTICS
"""Columns of numbers that are no expression values."""


def plain_name(name: str) -> str:
    """Give the letters and digits of a column's name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def is_text_name(name: str) -> bool:
    """Whether a column is called as columns of text are."""
    return plain_name(name) in TEXT


def may_hold_text(name: str) -> bool:
    """Whether annotation of this name may be text: also lists of positions (``11869;12010``)."""
    return plain_name(name) in TEXT | POSITIONS


def is_annotation_name(name: str) -> bool:
    """Whether a column is called as columns of annotation are, of text or of numbers."""
    if plain_name(name) in TEXT or plain_name(name) in NUMBERS:
        return True
    return re.sub(r".*[^a-z0-9]", "", name.casefold().strip()) in ENDINGS


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
