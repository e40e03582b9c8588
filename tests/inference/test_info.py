"""``dgex info``: right numbers, quickly, of complete models only."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax import cli
from dgex_jax.cli import main
from dgex_jax.model.export import export_model
from dgex_jax.model.info import info_lines, model_info
from dgex_jax.model.model import write_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    """The model of the trained run."""
    path = tmp_path_factory.mktemp("info") / "model"
    write_model(path, export_model(trained.run, trained.prepared))
    return path


def info_text(path: Path, model=None) -> str:
    """What is said of a model, which is written first."""
    if model is not None:
        write_model(path, model)
    return "\n".join(info_lines(path, model_info(path)))


def test_text_says_what_matters(exported, trained, capsys) -> None:
    assert main(["info", str(exported)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{exported}: D-GEX-10%-6x1 (model format 3, checksums ok)"
    facts = {line[:12].rstrip(): line[12:] for line in lines[1:8]}
    done = json.loads((trained.run / "done.json").read_text())
    first, second = (epoch + 1 for epoch in done["best_va_epochs"])
    assert facts == {
        "infers": "21 target genes from 9 landmark genes",
        "study": "tiny: A tiny study",
        "data": "SIMULATED: expression values are made up; trained on 103 profiles (GEO-tr)",
        "network": "1 hidden layer of 6 units, dropout 0.1; a network for each half of the "
        "targets (10 + 11)",
        "parameters": str(2 * (9 + 1) * 6 + (6 + 1) * 21),
        "weights": f"of the best epoch on GEO-va: {first} and {second} of 12",
        "training": f"seed 1, {done['seconds']:.1f} s, on {', '.join(done['devices'])}",
    }
    versions = json.loads((trained.run / "config.json").read_text())["versions"]
    assert any(f"jax {versions['jax']}" in line for line in lines)


def test_numbers_are_those_of_the_table(exported, capsys) -> None:
    assert main(["info", str(exported), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads((exported / "model.json").read_text())
    written["method"] |= {"title": "D-GEX-10%-6x1", "facts": found["method"]["facts"]}
    assert {name: found[name] for name in written} == written
    assert (found["checksums"], found["expected_error_on"]) == ("ok", "te")
    header, *rows = (line.split("\t") for line in (exported / "genes.tsv").read_text().splitlines())
    targets = [dict(zip(header, row, strict=True)) for row in rows if row[0] == "target"]
    assert list(found["errors"]) == ["va", "te", "1000G", "GTEx"]
    text = info_text(exported)
    for part, name in (("va", "GEO-va"), ("GTEx", "GTEx-te")):
        error = found["errors"][part]
        values = np.array([row[f"MAE_{part}"] for row in targets]).astype(np.float64)
        assert error == {"mean": pytest.approx(values.mean(), rel=1e-14), "sd": values.std()}
        assert f"{name:<10}{error['mean']:.4f} ± {error['sd']:.4f}" in text
    ranked = sorted(targets, key=lambda row: float(row["MAE_te"]))
    for which, best in (("best", ranked[:10]), ("worst", ranked[::-1][:10])):
        assert found[f"{which}_genes"] == [
            {
                "symbol": row["symbol"],
                "ensembl": row["ensembl"],
                "probes": row["probes"].split(","),
                "copy_of_landmark": row["copy_of_landmark"] == "1",
                "error": float(row["MAE_te"]),
                "R2": float(row["R2_te"]) if row.get("R2_te") else None,
            }
            for row in best
        ]
        block = text.split(f"{which} 10 genes by error on GEO-te\n")[1].split("\n\n")[0]
        assert [line.split()[:3] for line in block.splitlines()] == [
            [row["symbol"], row["ensembl"], f"{float(row['MAE_te']):.4f}"] for row in best
        ]


def test_equal_errors_keep_the_order_of_the_model(new_model, tmp_path) -> None:
    model = new_model(half_sizes=(12, 13), selected_on="1000G")
    errors = {part: np.full(25, 0.5) for part in model.errors}
    errors["GTEx"][[3, 20]] = 0.25, 0.75
    write_model(tmp_path / "model", dataclasses.replace(model, errors=errors))
    found = model_info(tmp_path / "model")
    assert found["expected_error_on"] == "GTEx"
    for which, first in (("best", 3), ("worst", 20)):
        order = [first, 0, 1, 2, 4, 5, 6, 7, 8, 9]
        probes = [gene["probes"] for gene in found[f"{which}_genes"]]
        assert probes == [list(model.targets.probes[place]) for place in order]


def test_model_that_says_little(new_model, tmp_path) -> None:
    text = info_text(tmp_path / "model", new_model(bare=True, half_sizes=(3,)))
    for said in (
        "study       not known\n",
        "data        not known\n",
        "one network for all target",
    ):
        assert said in text
    assert text.endswith("errors: not recorded")
    for simulated in (True, False):
        record = {"study": {"name": "a", "title": "A", "simulated": simulated}}
        path = tmp_path / str(simulated)
        text = info_text(path, dataclasses.replace(new_model(), record=record))
        assert ("SIMULATED" in text) == simulated
        assert ("data        measured" in text) != simulated


@pytest.mark.parametrize("wrong", [None, 3, "text", [], {}, [3, "x"], {"va": ["one"]}, True, -1.5])
def test_a_strange_record_is_no_obstacle(new_model, tmp_path, wrong) -> None:
    """What a record holds is its author's business; the model is none the worse."""
    keys = ("study", "settings", "seeds", "versions", "best_epochs", "seconds", "devices")
    records = [dict.fromkeys(keys, wrong), {key: {"training": wrong, "va": wrong} for key in keys}]
    for number, record in enumerate(records):
        text = info_text(tmp_path / str(number), dataclasses.replace(new_model(), record=record))
        assert text.splitlines()[0].endswith("(model format 3, checksums ok)")


def test_it_is_quick_because_it_imports_little(exported) -> None:
    code = (
        "import sys; from dgex_jax.cli import main; main(['info', sys.argv[1]]);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(exported)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = set(found.stdout.splitlines()[-1].split())
    assert "numpy" in modules
    assert not modules & {"jax", "flax", "pandas", "h5py", "scipy", "sklearn", "optax"}


def test_what_can_not_be_shown(new_model, tmp_path, refused) -> None:
    path = tmp_path / "model"
    write_model(path, new_model())
    assert "nothing: no such model folder" in refused("info", tmp_path / "nothing")
    table = (path / "genes.tsv").read_text()
    (path / "genes.tsv").write_text(table.replace("780", "781"))
    for flags in ([], ["--json"]):
        assert "genes.tsv: damaged or replaced" in refused("info", path, *flags)


@pytest.mark.parametrize("name", ["export", "info"])
def test_help_ends_with_examples(name, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    examples = re.sub(r" *\\\n +", " ", text.split("\nexamples:\n")[1]).strip()
    for line in examples.splitlines():
        words = line.strip().split("   ")[0].split()
        assert words[:2] == ["dgex", name]
        assert callable(cli.parser().parse_args(words[1:]).run)


def test_a_reader_that_leaves_is_no_error(exported) -> None:
    """As in ``dgex info MODEL | head``: the exit code of a broken pipe, and not a word."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "dgex_jax.cli", "info", str(exported)]
    with open(writing, "wb") as pipe:  # noqa: PTH123 (a descriptor, no path)
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
