"""Which job a store belongs to: whatever decides its bytes, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.formats.zarr_job import checksum, first_difference, identity
from dgex_jax.formats.zarr_layout import Layout

JOB: dict[str, Any] = {"model": "ab", "options": {"scale": "reference", "platform": "rnaseq"}}
SCALED = JOB | {"options": {"scale": "standardized", "platform": "rnaseq"}}


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(["p0", "p1", "p2"]))


OBS = frame(dose=[0.1, np.nan, 3.0], group=pd.Categorical(["a", "b", "a"], ["a", "b", "c"]))
DESCRIBED: dict[str, Any] = {
    "job": JOB,
    "layout": Layout(3, 2, 256),
    "ids": {"profiles": ["p0", "p1", "p2"], "genes": ["g0", "g1"]},
    "metadata": {"profile_metadata": OBS},
    "provenance": {"imputed": ("g1",), "error": np.nan},
}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (None, {}),
        (None, {"provenance": {"error": np.nan, "imputed": ["g1"]}}),
        ("job.options.scale", {"job": SCALED}),
        ("job.more", {"job": JOB | {"more": None}}),
        ("job.options", {"job": {"model": "ab"}}),
        ("job.options", {"job": JOB | {"options": None}}),
        ("profiles_per_shard", {"layout": Layout(3, 2, 512)}),
        ("profiles", {"ids": {"profiles": ["p0", "p1p2"], "genes": ["g0", "g1"]}}),
        ("genes", {"ids": {"profiles": ["p0", "p1", "p2"], "genes": ["g1", "g0"]}}),
        ("provenance.imputed", {"provenance": {"imputed": [], "error": np.nan}}),
        *(
            ("profile_metadata", {"metadata": {"profile_metadata": other}})
            for other in (
                OBS.assign(dose=[0.1 + 2e-17, np.nan, 3.0]),
                OBS.assign(dose=["0.1", "nan", "3.0"]),
                OBS.rename(columns={"dose": "doses"}),
                OBS[["group", "dose"]],
                OBS.assign(group=pd.Categorical(["a", "b", "a"])),
                OBS[["dose"]],
            )
        ),
    ],
)
def test_a_job_is_all_that_decides_the_bytes(key, change) -> None:
    before, after = identity(**DESCRIBED), identity(**DESCRIBED | change)
    assert first_difference(before, json.loads(json.dumps(after))) == key
    assert (checksum(before) == checksum(after)) == (key is None)
