"""What README and docs say is so: commands are known, numbers are the tables', examples run."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import dgex_jax
from dgex_jax.cli import parser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TABLES = ROOT / "tables" / "demo"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
    if "_build" not in path.parts
}
README = PAGES["README.md"]


def code(text: str, language: str) -> list[str]:
    """Give the blocks of code of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, list[str]]]:
    """Give each command in a block of shell, as its page and its words."""
    found = []
    for page, text in PAGES.items():
        for block in code(text, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    found.append((page, words))
    return found


def test_every_command_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """``dgex`` takes its flags, ``make`` has its target, ``python -m`` has its module."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    seen = Counter()
    for page, (program, *words) in commands():
        name = Path(program).name
        seen[name] += 1
        if name == "dgex":
            read = None
            with suppress(SystemExit):
                read = parser().parse_args([re.sub(r"^\$\w+/", "3/", word) for word in words])
            assert read, f"{page}: {capsys.readouterr().err}"
        elif name == "make":
            for word in words:
                assert "=" in word or word in targets, f"{page}: make {word}"
        elif name == "python" and words[0] == "-m":
            assert find_spec(words[1]), f"{page}: python -m {words[1]}"
    assert seen["dgex"] > 20


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 120
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert len(links) > 20
    for link in links:
        assert (ROOT / link).exists(), link


def test_numbers_of_the_demo_are_its_tables() -> None:
    """README's and the results' rows of the simulated study, and what methods reach there."""
    methods = ["LR", "LR-L1", "LR-L2", "KNN-GE"]
    for text in (README, PAGES["docs/reproduction/results.md"]):
        for name, at in (("table1", "GEO-te"), ("table2", "GTEx-te")):
            table = pd.read_csv(TABLES / f"{name}.csv")
            table = table[table["targets"].str.startswith("All")]
            (network,) = table.loc[table["chosen"] == 1, "mean"]
            expected = [network, *table.set_index("method").loc[methods, "mean"]]
            row = next(line for line in text.splitlines() if f"| {at} |" in line)
            numbers = [float(one) for one in re.findall(r"0\.\d{4}\b", row)[:5]]
            # Rounded to four decimals of what the table has rounded to five.
            assert numbers == pytest.approx(expected, rel=0, abs=5.6e-5)
    beyond = pd.read_csv(TABLES / "beyond.csv").query("split == 'at random'")
    errors = beyond.set_index(["method", "label"])[["error", "sd"]]
    _, _, told = PAGES["docs/choosing.md"].partition("## Measured errors")
    rows = [
        line.replace("*", "").split(" | ")
        for line in told.splitlines()
        if re.match(r"\|.* ± ", line)
    ]
    order = ["D-GEX", "LR-L2", "KNN-GE", "kernel-ridge", "sample-lasso", "learned-kernel"]
    for method, (_, *cells) in zip([*order, "residual-mlp", "stack"], rows, strict=True):
        for cell, part in zip(cells, ("GEO-te", "GTEx-te"), strict=False):
            numbers = [float(number) for number in cell.split(" ± ")]
            expected = errors.loc[(method, part)].tolist()
            assert numbers == pytest.approx(expected, rel=0, abs=5.6e-5), (method, part)


def test_python_reference_has_every_public_name() -> None:
    page = PAGES["docs/reference/python.md"]
    for name in dgex_jax.__all__:
        assert re.search(rf":: {name}$", page, re.MULTILINE), name


def example(page: str) -> str:
    """Give the one example of a page."""
    (found,) = code(PAGES[page], "python")
    return found


def run(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102
    return scope


@pytest.fixture
def demo(golden: Path, tmp_path: Path) -> Path:
    """A folder with a recorded study where the demo's is."""
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "results" / "demo" / "prepared.h5").symlink_to(golden / "study_a.npz")
    return tmp_path


def test_the_estimators_example(demo, monkeypatch, capsys) -> None:
    # As it stands but for the size.
    written = example("docs/howto/sklearn.md")
    small = written.replace("(2, 512, epochs=60,", "(2, 32, epochs=20,")
    assert small != written
    X, Y = (scope := run(small, demo, monkeypatch))["X"], scope["Y"]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("DGEXRegressor: 0.")
    assert float(first.split()[1]) < 0.7 * np.abs(Y["te"]).mean()
    direct = LinearRegression().fit(X["tr"], Y["tr"]).predict(X["te"])
    assert second == f"LR: {np.abs(direct - Y['te']).mean():.4f}"


def test_the_prepared_study_example(demo, monkeypatch, capsys) -> None:
    scope = run(example("docs/reference/outputs.md"), demo, monkeypatch)
    assert len(scope["X"]) == len(scope["Y"])
    assert capsys.readouterr().out.startswith(f"{scope['X'].shape} {scope['Y'].shape} ")


@pytest.mark.long
def test_the_anndata_example(tmp_path, monkeypatch) -> None:
    pytest.importorskip("anndata")
    scope = run(example("docs/howto/anndata.md"), tmp_path, monkeypatch)
    inferred, X = scope["inferred"], scope["X"]
    assert inferred.shape == (100, 80)
    assert (tmp_path / "my_training" / "model" / "model.json").is_file()
    # Standardised units of training, up to the duplicates that preparation looks for.
    targets = inferred[:, (inferred.var["source"] == "inferred").to_numpy()]
    genes = [int(name.removeprefix("gene")) for name in targets.var_names]
    truth = (X[500:, genes] - X[:500, genes].mean(axis=0)) / X[:500, genes].std(axis=0)
    assert np.abs(targets.X - truth).mean() < 0.5 * np.abs(truth).mean()
