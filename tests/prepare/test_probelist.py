from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gct, write_gctx
from dgex_jax.prepare.genes import Annotation
from dgex_jax.prepare.probelist import read_probe_list
from tests.prepare.checks import refused

PROBES = ("1007_s_at", "1053_at", "117_at")


def array(*ids: str, **fields: list[str]) -> Expression:
    """A training file of these genes."""
    return _expression(Path("array"), ids or (*PROBES, "121_at"), **fields)


KNOWN = Annotation(
    {"1007_s_at": "DDR1", "117_at": "HSPA6"}, {"1007_s_at": "780", "1053_at": "5982"}
)


@pytest.mark.parametrize(
    "text",
    [
        "1007_s_at\n1053_at\n117_at\n",
        "\ufeff1007_s_at\r\n1053_at\r\n\r\n117_at",
        "1007_s_at\tDDR1\t780\n1053_at\tRFC2\n117_at\n",
        "pr_id\n1007_s_at\n1053_at\n117_at\n",
    ],
)
def test_a_list_of_probes(tmp_path, text) -> None:
    """Further columns mean nothing without a header that names them."""
    path = tmp_path / "landmarks.txt"
    path.write_text(text, encoding="utf-8", newline="")
    found = read_probe_list(path, array())
    assert (found.path, found.probes, found.annotation) == (path, PROBES, Annotation())


def test_a_list_with_a_header(tmp_path) -> None:
    path = tmp_path / "landmarks.tsv"
    path.write_text(
        "Probe_ID\tnote\tpr_gene_symbol\tpr_gene_id\n"
        "1007_s_at\tx\tDDR1\t780\n1053_at\t\t-666\t5982.0\n117_at\t\tHSPA6\n"
    )
    found = read_probe_list(path, array())
    assert (found.probes, found.annotation) == (PROBES, KNOWN)


def _expression(path, ids, **fields) -> Expression:
    index = pd.Index(ids, dtype=object)
    return Expression(
        path,
        np.ones((2, len(ids))),
        ("a", "b"),
        tuple(ids),
        pd.DataFrame(index=pd.Index(["a", "b"], dtype=object)),
        pd.DataFrame(fields, index=index, dtype=object),
    )


@pytest.mark.parametrize("kind", ["gct", "gctx"])
def test_rows_of_an_expression_file(tmp_path, kind) -> None:
    path = tmp_path / f"l1000.{kind}"
    fields = {
        "pr_gene_symbol": ["DDR1", "-666", "HSPA6"],
        "pr_gene_id": ["780", "5982", "-666"],
    }
    if kind == "gct":
        write_gct(path, _expression(path, PROBES, **fields), version="1.3")
    else:
        write_gctx(path, _expression(path, PROBES, **fields))
    found = read_probe_list(path, array())
    assert (found.probes, found.annotation) == (PROBES, KNOWN)


def test_rows_by_entrez_id_are_found_by_their_metadata(tmp_path) -> None:
    path = tmp_path / "l1000.gctx"
    fields = {"pr_gene_id": ["780", "5982", "-666"], "pr_id": list(PROBES)}
    fields["pr_gene_symbol"] = ["DDR1", "-666", "HSPA6"]
    write_gctx(path, _expression(path, ("780", "5982", "3310"), **fields))
    found = read_probe_list(path, array())
    assert (found.probes, found.annotation) == (PROBES, KNOWN)
    # Of no use for another array; the ids of the rows are then what is missing there.
    assert read_probe_list(path, array("nothing")).probes == ("780", "5982", "3310")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"1007_s_at\n1053_at\n1007_s_at\n", "duplicate probe id '1007_s_at' (probes 1 and 3)"),
        (b"1007_s_at\n \n", "the id of probe 2 is empty"),
        (b"pr_id\tpr_gene_symbol\n", "has no probes"),
        (b"\n\n", "has no probes"),
        (b"1007_s_at\n\xff\xfe\n", "line 2: is not UTF-8 text"),
        (b"#1.2\nfoo\n", "line 2 is not 2 numbers"),
        (b"", "is empty"),
    ],
)
def test_files_that_are_no_list(tmp_path, content, cause) -> None:
    path = tmp_path / "landmarks.txt"
    path.write_bytes(content)
    refused(lambda: read_probe_list(path, array()), re.escape(cause), path=path)


SYMBOLS = ["DDR1", "RFC2", "HSPA6", "PAX8", "GUCA1A", "UBA7"]
ENSEMBL = [f"ENSG{n:011d}.7" for n in range(6)]
ENTREZ = ["780", "5982", "3310", "7849", "2978", "731800"]
GTEX = {"Description": SYMBOLS, "entrez_id": ENTREZ}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("".join(f"{one}\n" for one in SYMBOLS[:4]), 4),
        ("Gene Symbol\n" + "".join(f"{one}\n" for one in SYMBOLS[:4]), 4),
        ("the genes I like\n" + "".join(f"{one}\n" for one in SYMBOLS[:4]), 4),
        ('"x"\n' + "".join(f'"{n}" "{one}"\n' for n, one in enumerate(SYMBOLS[:4])), 4),
        ('"","x"\n' + "".join(f'"{n}","{one}"\n' for n, one in enumerate(SYMBOLS[:4])), 4),
        ("".join(f"{one.partition('.')[0]}\n" for one in ENSEMBL[:4]), 4),
        ("".join(f"{one.replace('.7', '.12')}\n" for one in ENSEMBL[:4]), 4),
        ("entrez\n" + "".join(f"{one}\n" for one in ENTREZ[:4]), 4),
        ("".join(f"{one}\n" for one in ENTREZ[:4]), 4),
        ("# LINCS\nid\tsymbol\n" + "".join(f"x{n}\t{one}\n" for n, one in enumerate(SYMBOLS)), 6),
        (
            "pr_gene_id\tpr_gene_symbol\tpr_is_lm\n"
            + "".join(f"{9000 + n}\t{one}\t{int(n < 4)}\n" for n, one in enumerate(SYMBOLS)),
            4,
        ),
        (
            "gene_id,gene_symbol,feature_space\n"
            + "".join(
                f"{9000 + n},{one},{'landmark' if n < 4 else 'best inferred'}\n"
                for n, one in enumerate(SYMBOLS)
            ),
            4,
        ),
        ("uba7\nMARCH1\n", 1),
    ],
)
def test_landmarks_by_any_name(tmp_path, text, found) -> None:
    """By symbol, Ensembl id or Entrez id in the ids or annotation of a GTEx-like file."""
    path = tmp_path / "landmarks.txt"
    path.write_text(text)
    listed = read_probe_list(path, array(*ENSEMBL, **GTEX))
    assert listed.n_found == found
    wanted = ENSEMBL[5:] if found == 1 else ENSEMBL[:found]
    assert [one for one in listed.probes if one in ENSEMBL] == wanted
    assert len(listed.probes) == found + (found == 1)


def test_previous_symbols_of_landmarks(tmp_path) -> None:
    path = tmp_path / "landmarks.txt"
    path.write_text("H2AFV\nAARS\nTP53\n")
    listed = read_probe_list(path, array("a", "b", "c", symbol=["H2AZ2", "AARS1", "TP53"]))
    assert listed.probes == ("a", "b", "c")
    assert any("2 found by another symbol (HGNC): H2AFV as H2AZ2" in x for x in listed.notes)


def test_no_row_is_a_landmark(tmp_path) -> None:
    path = tmp_path / "landmarks.txt"
    path.write_text("pr_gene_symbol\tpr_is_lm\nDDR1\t0\nRFC2\t0\n")
    text = "no gene is a landmark by its column 'pr_is_lm'"
    refused(lambda: read_probe_list(path, array(*ENSEMBL, **GTEX)), text)
