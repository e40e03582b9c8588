"""The README's AnnData example runs as it stands (the other one: test_estimator.py)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("anndata")
pytestmark = pytest.mark.long


def test_a_network_is_trained_on_an_anndata_object_and_infers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    _of_estimators, example = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(example, scope)  # noqa: S102
    inferred, X = scope["inferred"], scope["X"]
    assert inferred.shape == (100, 80)
    assert (tmp_path / "my_training" / "model" / "model.json").is_file()
    # Standardised units of training, up to the duplicates that preparation looks for.
    targets = inferred[:, (inferred.var["source"] == "inferred").to_numpy()]
    genes = [int(name.removeprefix("gene")) for name in targets.var_names]
    truth = (X[500:, genes] - X[:500, genes].mean(axis=0)) / X[:500, genes].std(axis=0)
    error = np.abs(targets.X - truth).mean()
    assert error < 0.5 * np.abs(truth).mean()
