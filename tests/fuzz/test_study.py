"""Study files: every value comes back as it was written."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import tables
from tests.fuzz.oracle import Content
from tests.fuzz.readers import agree, our_study
from tests.fuzz.strategies import QUICK

if TYPE_CHECKING:
    from pathlib import Path

CHOICES = {
    "prepare": {
        "duplicates": st.sampled_from(["clusters", "all-pairs", "none"]),
        "scale_on": st.sampled_from(["all", "train"]),
        "seed": st.integers(0, 2**31 - 1),
        "block_size": st.integers(1, 10**6),
        "accept_wrong_dimensions": st.booleans(),
    },
    "networks": {
        "units": st.lists(st.integers(1, 10**5), min_size=1, max_size=5, unique=True).map(sorted),
        "dropout": st.lists(st.sampled_from([0.0, 0.1, 0.25, 0]), min_size=1, max_size=1),
    },
    "training": {
        "epochs": st.integers(1, 10**6),
        "learning_rate": st.one_of(st.just("auto"), st.floats(1e-12, 1.0), st.integers(1, 9)),
        "momentum": st.floats(0, 0.999),
        "precision": st.sampled_from(["highest", "tf32"]),
    },
    "baselines": {"k_max": st.integers(1, 1000)},
}
SECTIONS = st.fixed_dictionaries(
    {}, optional={name: st.fixed_dictionaries({}, optional=keys) for name, keys in CHOICES.items()}
)
PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0~"), min_size=1, max_size=30
).filter(str.strip)
TITLES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.strip)


@given(sections=SECTIONS, title=TITLES, path=PATHS, seed=st.integers(0, 9))
@QUICK
def test_studies(tmp_path: Path, sections, title: str, path: str, seed: int) -> None:
    content = tables.random_study(random.Random(seed))
    content = {k: v for k, v in content.items() if k in {"name", "files", "simulate"}}
    content |= {"title": title, **sections}
    if "files" in content:
        content["files"] = {**content["files"], "geo": path}
    (tmp_path / "a.toml").write_bytes(tables.toml_bytes(content))
    found = our_study(tmp_path / "a.toml")
    assert agree(found, Content(rest=content))
    other = {**content, "title": f"{title}x"}
    assert not agree(found, Content(rest=other))
