"""Version and ranges stand in several files for several tools; they say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import dgex_jax

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads(CHECKOUT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_CONDA = {"matplotlib": "matplotlib-base"}
"""Packages that conda-forge calls otherwise."""
NOT_OF_USERS = {"cuda12", "cuda13", "dev", "docs"}
"""Extras whose packages no conda package asks for; conda-forge's own jaxlib has CUDA builds."""


def read_yaml(name: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load(CHECKOUT.joinpath(name).read_text(encoding="utf-8"))
    return found


def ranges(requirements: list[str]) -> dict[str, str]:
    """Package, by conda's name → range."""
    found = {}
    for text in requirements:
        name, span = re.fullmatch(r"([\w-]+)(?:\[.*\])? *([^;]*?) *(?:;.*)?", text).groups()
        found[OF_CONDA.get(name, name)] = span.replace(" ", "")
    return found


def needs_of(*names: str) -> list[str]:
    """Give what extras ask for, themselves or by another extra of this package."""
    found = []
    for name in names:
        for one in PROJECT["optional-dependencies"][name]:
            own = re.fullmatch(r"dgex-jax\[(.*)\]", one)
            found += needs_of(*own[1].split(",")) if own else [one]
    return found


def extras(*left_out: str) -> dict[str, str]:
    return ranges(needs_of(*PROJECT["optional-dependencies"].keys() - {*left_out}))


def test_the_version_is_said_once_and_repeated_right() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    newest = re.search(r"^## (\d\S*)", CHECKOUT.joinpath("CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == dgex_jax.__version__
    assert read_yaml("CITATION.cff")["version"] == dgex_jax.__version__
    assert read_yaml("conda/recipe.yaml")["context"]["version"] == dgex_jax.__version__


def test_the_citation_is_of_the_paper() -> None:
    (paper,) = read_yaml("CITATION.cff")["references"]
    assert paper["title"] == "Gene expression inference with deep learning"
    assert [author["family-names"] for author in paper["authors"]][::4] == ["Chen", "Xie"]


def test_the_committed_pictures_are_of_this_version() -> None:
    """A picture of another version is drawn anew, so `make` would change the checkout."""
    image = pytest.importorskip("PIL.Image")
    pictures = sorted((CHECKOUT / "figures" / "demo").glob("*.png"))
    assert len(pictures) >= 4
    for path in pictures:
        with image.open(path) as picture:
            assert picture.info["Software"] == f"dgex-jax {dgex_jax.__version__}", path


def test_the_conda_recipe_asks_for_what_pip_asks_for() -> None:
    recipe = read_yaml("conda/recipe.yaml")
    needs = recipe["requirements"]
    python = needs["run"].pop(0).replace("${{ python_min }}", recipe["context"]["python_min"])
    assert python == f"python {PROJECT['requires-python']}"
    assert ranges(needs["run"]) == ranges(PROJECT["dependencies"])
    assert ranges(needs["run_constraints"]) == extras(*NOT_OF_USERS)
    assert ranges(needs["host"][1:])["hatchling"] == extras("cuda12", "cuda13")["hatchling"]
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert dict([entry.split(" = ")]) == PROJECT["scripts"]


def test_the_conda_environment_asks_for_what_pip_asks_for() -> None:
    asked = [one for one in read_yaml("environment.yml")["dependencies"] if isinstance(one, str)]
    found = ranges(asked)
    assert found.pop("pip") == ""
    assert found.pop("python") == PROJECT["requires-python"]
    core = ranges(PROJECT["dependencies"])
    known = extras("cuda12", "cuda13") | core
    assert found.items() <= known.items()
    # All that runs, what reproduces, and what `pytest` can't start without.
    assert core.keys() | ranges(needs_of("reproduce")).keys() <= found.keys()
    assert {"pytest", "pytest-xdist", "hypothesis"} <= found.keys()
