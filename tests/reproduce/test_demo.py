"""A fresh run of the default study gives the committed tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reproduce import all as everything
from reproduce.workspace import ROOT

TABLES = ("table1", "table2", "tableS2", "tableS3", "tableS4", "tableS5", "departures")
KEYS = ("targets", "method", "hidden_layers", "units", "dropout", "data", "departure", "option")
ERRORS = ("mean", "sd", "GEO-va", "GEO-te", "1000G-va", "GTEx-te")
LARGEST_DIFFERENCE = 0.002
"""Of an overall error: machines add up in other orders, and training amplifies the last bit."""


@pytest.mark.slow
def test_a_fresh_run_gives_the_committed_tables(tmp_path) -> None:
    assert everything.main(["--study", "demo", "--out", str(tmp_path)]) == 0
    for name in TABLES:
        fresh = pd.read_csv(tmp_path / "demo" / "tables" / f"{name}.csv")
        committed = pd.read_csv(ROOT / "tables" / "demo" / f"{name}.csv")
        keys = [key for key in KEYS if key in committed]
        pd.testing.assert_frame_equal(fresh[keys], committed[keys])
        columns = [column for column in ERRORS if column in committed]
        assert columns
        np.testing.assert_allclose(
            fresh[columns], committed[columns], rtol=0, atol=LARGEST_DIFFERENCE, err_msg=name
        )
    fresh, committed = (
        pd.read_csv(folder / "adjusted_r2.csv")
        for folder in (tmp_path / "demo" / "tables", ROOT / "tables" / "demo")
    )
    pd.testing.assert_series_equal(fresh["target"], committed["target"])
    for column in ("adjusted_r2_landmarks", "adjusted_r2_hidden"):
        means = (fresh[column].mean(), committed[column].mean())
        assert means[0] == pytest.approx(means[1], abs=LARGEST_DIFFERENCE)
