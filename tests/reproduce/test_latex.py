"""The LaTeX form holds the same figures and would compile."""

from __future__ import annotations

import re

import pandas as pd
import pytest

ERROR = re.compile(r"([\d.]+) \$\\pm\$ ([\d.]+)")
NAMES = ["table1", "table2", "tableS1", "tableS5", "adjusted_r2", "weight_hubs", "departures"]


@pytest.mark.parametrize("name", NAMES)
def test_well_formed(made, name) -> None:
    text = (made.space.tables / f"{name}.tex").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert re.sub(r"\\[%&_#$]", "", body).count("{") == body.count("}")
    assert not re.search(r"(?<!\\)%", body)
    assert not re.search(r"(?<!\\)_", body.replace(r"\textbf", ""))
    for kind in ("table", "tabular"):
        assert body.count(f"\\begin{{{kind}}}") == body.count(f"\\end{{{kind}}}") > 0
    for tabular in re.findall(r"\\begin{tabular}{(l+)}(.*?)\\end{tabular}", body, re.DOTALL):
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert rows
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(tabular[0]) - 1}


@pytest.mark.parametrize("name", ["table1", "tableS4"])
def test_same_figures(made, name) -> None:
    text = (made.space.tables / f"{name}.tex").read_text(encoding="utf-8")
    rows = pd.read_csv(made.space.tables / f"{name}.csv")
    shown = [tuple(map(float, pair)) for pair in ERROR.findall(text)]
    for row in rows.itertuples():
        assert any(abs(m - row.mean) < 1e-4 and abs(s - row.sd) < 1e-4 for m, s in shown)
    blocks = rows["targets"].nunique()
    assert text.count(r"\textbf{") == blocks
    assert text.count("Simulated data: not comparable") == blocks
