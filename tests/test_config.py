"""Settings: their defaults, what they refuse, and the tables of the docs that they make.

``python -m tests.test_config`` writes the tables anew.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from dgex_jax.config import (
    BaselineConfig,
    FitOptions,
    GridConfig,
    JobsConfig,
    NetworkConfig,
    PredictOptions,
    PrepareConfig,
    TrainingConfig,
)
from dgex_jax.errors import StudyError
from dgex_jax.rawfiles import Compendium, GeoOnlyFiles, OtherSet, RawFiles
from dgex_jax.simulate.config import SimulationConfig

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "study.md"
TABLES = {
    "\n## [compendium]\n": Compendium,
    "\n## [sets.NAME]\n": OtherSet,
    "\n## [files]\n": RawFiles,
    "\n**Arrays alone.**": GeoOnlyFiles,
    "\n## [simulate]\n": SimulationConfig,
    "\n## [prepare]\n": PrepareConfig,
    "\n## [networks]\n": GridConfig,
    "\n## [training]\n": TrainingConfig,
    "\n## [baselines]\n": BaselineConfig,
    "\n## [jobs]\n": JobsConfig,
}
TYPES = {
    "int": "whole number",
    "float": "number",
    "float | None": 'number or `"auto"`',
    "bool": "true or false",
    "int | None": "whole number",
    "Path": "path",
    "Path | None": "path",
    "str | Path": "text or path",
    "str | Path | None": "text or path",
    "tuple[Path, ...]": "path or list of paths",
    "tuple[int, ...]": "list of whole numbers",
    "tuple[float, ...]": "list of numbers",
}
HEAD = "| key | type | default | meaning |\n|---|---|---|---|\n"


def default_of(value: Any, kind: Any) -> str:
    """Show a default as TOML has it."""
    if value is dataclasses.MISSING:
        return "none, needed"
    if value is None and kind in GIVEN:
        return "none"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    names: dict[Any, str] = {None: '"auto"', True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return f"`{names[value]}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value!r}`"


def table_of(kind: Any) -> str:
    rows = ""
    for one in dataclasses.fields(kind):
        key, type_name = one.metadata.get("key") or one.name, TYPES.get(str(one.type), "text")
        text = (one.metadata["meaning"] + one.metadata["more"]).replace("|", r"\|")
        text = re.sub(r'("[\w-]+")', r"`\1`", text)
        rows += f"| `{key}` | {type_name} | {default_of(one.default, kind)} | {text} |\n"
    return HEAD + rows


def with_tables(page: str) -> str:
    """Put the tables of the settings into the page in place of those that stand there."""
    for place, kind in TABLES.items():
        start = page.index(HEAD, page.index(place))
        page = page[:start] + table_of(kind) + page[page.index("\n\n", start) + 1 :]
    return page


def test_documentation_has_every_setting_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page


def test_help_in_python_says_what_settings_mean() -> None:
    text = TrainingConfig.__doc__ or ""
    assert text.startswith("How one network is trained")
    assert "\nmomentum\n    share of the velocity kept from update to update.\n" in text


def test_defaults_are_the_original_settings() -> None:
    """Paper sections 2.1 to 2.3 and Table S1; the published scripts."""
    assert GridConfig().shapes() == [(n, u) for n in (1, 2, 3) for u in (3000, 6000, 9000)]
    training = TrainingConfig()
    assert dataclasses.asdict(training) == {
        "epochs": 200,
        "batch_size": 200,
        "learning_rate": None,
        "monitor_size": 5000,
        "momentum": 0.5,
        "seed": 1,
        "halves": 2,
        "precision": "highest",
        "pretrain": "none",
        "pretrain_epochs": 50,
    }
    assert [training.initial_rate(layers) for layers in (1, 2, 3)] == [5e-4, 3e-4, 3e-4]
    assert {TrainingConfig(learning_rate=0.01).initial_rate(layers) for layers in (1, 2)} == {0.01}
    prepare = PrepareConfig()
    assert (prepare.duplicates, prepare.scale_on) == ("clusters", "all")
    assert prepare.partition == "random"
    assert not prepare.accept_wrong_dimensions
    assert (prepare.max_zero_share, prepare.min_genes) == (1.0, 0)


@pytest.mark.parametrize(
    ("dropout", "name"),
    [(0.1, "10"), (0.25, "25"), (0.0, "0"), (0.125, "12.5"), (0.5, "50"), (0.29, "29")],
)
def test_networks_are_named_as_in_the_paper(dropout, name) -> None:
    assert NetworkConfig(3, 9000, dropout).name == f"D-GEX-{name}%-9000x3"


GIVEN: dict[type, dict[str, Any]] = {
    PredictOptions: {"platform": "standardized"},
    Compendium: {"files": (Path("c.gctx"),), "landmarks": Path("l.txt")},
    OtherSet: {"platform": "array", "landmarks": Path("l.gctx"), "truth": Path("t.gctx")},
}
"""What has no default."""
REFUSED: dict[type, dict[str, tuple[Any, ...]]] = {
    Compendium: {
        "platform": ("rna",),
        "values": ("raw", None),
        "sample": (2,),
        "single_cell": (-0.1, float("nan")),
    },
    OtherSet: {
        "platform": ("rna", None),
        "role": ("train",),
        "truth_platform": ("rna",),
        "values": ("raw",),
        "truth_values": ("raw",),
        "standardize": ("train",),
    },
    PrepareConfig: {
        "normalize": ("rank",),
        "max_zero_share": (-0.1, 1.1, float("nan")),
        "min_genes": (-1,),
        "duplicates": ("some",),
        "scale_on": ("test",),
        "partition": ("sorted",),
        "seed": (-1, 2**32),
        "block_size": (0,),
    },
    NetworkConfig: {
        "hidden_layers": (0, 4),
        "units": (0, 10**20),
        "dropout": (-0.1, 1.0, float("nan")),
    },
    GridConfig: {
        "hidden_layers": ((0,), (2, 1), ()),
        "units": ((5, 5), (0,)),
        "dropout": ((0.1, 0.1), (1.0,)),
        "side_by_side": (-1,),
    },
    JobsConfig: {"minutes": (0,), "cpus": (0,), "memory_gb": (0,), "parallel": (0,)},
    BaselineConfig: {
        "k_max": (0,),
        "l1_lambdas": ((0.0,), (0.1, float("inf")), ()),
        "l2_lambdas": ((2.0, 1.0),),
    },
    TrainingConfig: {
        "epochs": (0,),
        "batch_size": (0,),
        "learning_rate": (0.0, float("nan"), float("inf")),
        "monitor_size": (0,),
        "momentum": (-0.1, 1.1),
        "seed": (-1,),
        "halves": (0, 3),
        "precision": ("bfloat16", None),
        "pretrain": ("rbm",),
        # 51: without pretraining it would be ignored.
        "pretrain_epochs": (0, 51),
    },
    PredictOptions: {
        "values": ("raw",),
        "platform": ("array", None),
        "standardize": ("other", "training"),
        "scale": ("raw",),
        "input_ids": ("name",),
        "ids": ("probe",),
        "interval": (0.0, 1.0, float("nan")),
        "block_size": (0,),
    },
    FitOptions: {"method": ("magic", None), "minutes": (0.0, -1.0), "seed": (-1,)},
}


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [(kind, key, one) for kind, of in REFUSED.items() for key, each in of.items() for one in each],
)
def test_values_out_of_range_are_refused_by_name(kind, key, value) -> None:
    with pytest.raises(StudyError, match=f"^{key} = ") as caught:
        kind(**GIVEN.get(kind, {}) | {key: value})
    assert "\n" not in str(caught.value)


def test_epochs_of_a_pretraining_that_there_is() -> None:
    with pytest.raises(StudyError, match=r"^pretrain_epochs = 0: must be at least 1"):
        TrainingConfig(pretrain="autoencoder", pretrain_epochs=0)
    assert TrainingConfig(pretrain="autoencoder", pretrain_epochs=51).pretrain_epochs == 51


@pytest.mark.parametrize("kind", REFUSED)
def test_every_value_but_a_switch_is_checked_and_none_changes(kind) -> None:
    # A text can hold anything, and so can a path.
    free = {
        field.name
        for field in dataclasses.fields(kind)
        if field.type in {"bool", "str", "str | None"} or "Path" in str(field.type)
    }
    assert {field.name for field in dataclasses.fields(kind)} - free == set(REFUSED[kind])
    one = kind(**GIVEN.get(kind, {}))
    key = next(iter(REFUSED[kind]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, key, getattr(one, key))


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
