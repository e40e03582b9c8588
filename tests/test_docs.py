"""The examples in Python of the documentation run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

DOCS = Path(__file__).parents[1] / "docs"


def example(page: str) -> str:
    """Give the one example of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return found


def run(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102
    return scope


def test_the_estimators_example(golden, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "results" / "demo" / "prepared.h5").symlink_to(golden / "study_a.npz")
    # As it stands but for the size, on the recorded study.
    written = example("howto/sklearn.md")
    small = written.replace("(2, 512, epochs=60,", "(2, 32, epochs=20,")
    assert small != written
    X, Y = (scope := run(small, tmp_path, monkeypatch))["X"], scope["Y"]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("DGEXRegressor: 0.")
    assert float(first.split()[1]) < 0.7 * np.abs(Y["te"]).mean()
    linear = LinearRegression().fit(X["tr"], Y["tr"])
    assert second == f"LR: {np.abs(linear.predict(X['te']) - Y['te']).mean():.4f}"


@pytest.mark.long
def test_the_anndata_example(tmp_path, monkeypatch) -> None:
    pytest.importorskip("anndata")
    scope = run(example("howto/anndata.md"), tmp_path, monkeypatch)
    inferred, X = scope["inferred"], scope["X"]
    assert inferred.shape == (100, 80)
    assert (tmp_path / "my_training" / "model" / "model.json").is_file()
    # Standardised units of training, up to the duplicates that preparation looks for.
    targets = inferred[:, (inferred.var["source"] == "inferred").to_numpy()]
    genes = [int(name.removeprefix("gene")) for name in targets.var_names]
    truth = (X[500:, genes] - X[:500, genes].mean(axis=0)) / X[:500, genes].std(axis=0)
    assert np.abs(targets.X - truth).mean() < 0.5 * np.abs(truth).mean()
