"""``dgex info``: right numbers, quickly, of whole models only."""

from __future__ import annotations

import argparse
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
from dgex_jax.inference.export import export_model
from dgex_jax.inference.info import info_lines, model_info
from dgex_jax.inference.modelfile import write_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    """The model of the trained run."""
    path = tmp_path_factory.mktemp("info") / "model"
    write_model(path, export_model(trained.run, trained.prepared))
    return path


def test_text_says_what_matters(exported, trained, capsys) -> None:
    assert main(["info", str(exported)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{exported}: D-GEX-10%-6x1 (model format 1, checksums ok)"
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


def by_hand(path: Path) -> list[dict[str, str]]:
    header, *rows = (line.split("\t") for line in (path / "genes.tsv").read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_numbers_are_those_of_the_table(exported, capsys) -> None:
    assert main(["info", str(exported), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    described = json.loads((exported / "model.json").read_text())
    assert found.items() >= described.items()
    assert found["checksums"] == "ok"
    assert found["expected_error_on"] == "te"
    targets = [row for row in by_hand(exported) if row["role"] == "target"]
    assert list(found["errors"]) == ["va", "te", "1000G", "GTEx"]
    for part, error in found["errors"].items():
        values = np.array([row[f"MAE_{part}"] for row in targets]).astype(np.float64)
        assert error == {"mean": pytest.approx(values.mean(), rel=1e-14), "sd": values.std()}
    ranked = sorted(targets, key=lambda row: float(row["MAE_te"]))
    for which, rows in (("best", ranked[:10]), ("worst", ranked[::-1][:10])):
        genes = found[f"{which}_genes"]
        assert [gene["ensembl"] for gene in genes] == [row["ensembl"] for row in rows]
        assert [gene["symbol"] for gene in genes] == [row["symbol"] for row in rows]
        assert [gene["error"] for gene in genes] == [float(row["MAE_te"]) for row in rows]
        assert [gene["probes"] for gene in genes] == [row["probes"].split(",") for row in rows]
        copies = [row["copy_of_landmark"] == "1" for row in rows]
        assert [gene["copy_of_landmark"] for gene in genes] == copies
    text = "\n".join(info_lines(exported, found))
    for part, name in (("va", "GEO-va"), ("GTEx", "GTEx-te")):
        error = found["errors"][part]
        assert f"{name:<10}{error['mean']:.4f} ± {error['sd']:.4f}" in text
    for which in ("best", "worst"):
        block = text.split(f"{which} 10 genes by error on GEO-te\n")[1].split("\n\n")[0]
        listed = [line.split()[:3] for line in block.splitlines()]
        assert listed == [
            [gene["symbol"], gene["ensembl"], f"{gene['error']:.4f}"]
            for gene in found[f"{which}_genes"]
        ]


def test_equal_errors_keep_the_order_of_the_model(new_model, tmp_path) -> None:
    model = new_model(half_sizes=(12, 13), selected_on="1000G")
    errors = {part: np.full(25, 0.5) for part in model.errors}
    errors["GTEx"][[3, 20]] = 0.25, 0.75
    write_model(tmp_path / "model", dataclasses.replace(model, errors=errors))
    found = model_info(tmp_path / "model")
    probes = [list(gene) for gene in model.targets.probes]
    assert found["expected_error_on"] == "GTEx"
    best, worst = (
        [gene["probes"] for gene in found[f"{which}_genes"]] for which in ("best", "worst")
    )
    assert best == [probes[i] for i in (3, 0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert worst == [probes[i] for i in (20, 0, 1, 2, 4, 5, 6, 7, 8, 9)]


def test_model_that_says_little(new_model, tmp_path) -> None:
    path = tmp_path / "model"
    write_model(path, new_model(bare=True, half_sizes=(3,)))
    text = "\n".join(info_lines(path, model_info(path)))
    assert "study       not known\n" in text
    assert "data        not known\n" in text
    assert "one network for all targets" in text
    assert text.endswith("errors: not recorded")


@pytest.mark.parametrize("simulated", [True, False])
def test_data_are_called_what_they_are(new_model, tmp_path, simulated) -> None:
    record = {"study": {"name": "a", "title": "A", "simulated": simulated}}
    write_model(tmp_path / "model", dataclasses.replace(new_model(), record=record))
    text = "\n".join(info_lines(tmp_path / "model", model_info(tmp_path / "model")))
    assert ("SIMULATED" in text) == simulated
    assert ("data        measured" in text) != simulated


@pytest.mark.parametrize("wrong", [None, 3, "text", [], {}, [3, "x"], {"va": ["one"]}, True, -1.5])
def test_a_strange_record_is_no_obstacle(new_model, tmp_path, wrong) -> None:
    """What a record holds is its author's business; the model is none the worse."""
    keys = ("study", "settings", "seeds", "versions", "best_epochs", "seconds", "devices")
    records = [dict.fromkeys(keys, wrong), {key: {"training": wrong, "va": wrong} for key in keys}]
    for number, record in enumerate(records):
        path = tmp_path / str(number)
        write_model(path, dataclasses.replace(new_model(), record=record))
        assert info_lines(path, model_info(path))[0].endswith("(model format 1, checksums ok)")


def test_it_is_quick_because_it_imports_little(exported) -> None:
    code = (
        "import sys; from dgex_jax.cli import main; main(['info', sys.argv[1]]);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(exported)],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(found.stdout.splitlines()[-1].split())
    assert "numpy" in modules
    assert not modules & {"jax", "flax", "pandas", "h5py", "scipy", "sklearn", "optax"}


def refusal(capsys, *words: object) -> str:
    try:
        code = main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    found = capsys.readouterr()
    assert code == 2
    assert found.out == ""
    assert found.err.count("\n") == 1
    return found.err


def test_what_can_not_be_shown(new_model, tmp_path, capsys) -> None:
    path = tmp_path / "model"
    write_model(path, new_model())
    assert "the following arguments are required: MODEL" in refusal(capsys, "info")
    assert "nothing: no such model folder" in refusal(capsys, "info", tmp_path / "nothing")
    table = (path / "genes.tsv").read_text()
    (path / "genes.tsv").write_text(table.replace("780", "781"))
    for flags in ([], ["--json"]):
        assert "genes.tsv: damaged or replaced" in refusal(capsys, "info", path, *flags)


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
        options = cli.parser().parse_args(words[1:])
        assert isinstance(options, argparse.Namespace)
        assert callable(options.run)


def test_a_reader_that_leaves_is_no_error(exported) -> None:
    """As in ``dgex info MODEL | head``: the exit code of a broken pipe, and not a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:  # noqa: PTH123 (a descriptor, no path)
        done = subprocess.run(
            [sys.executable, "-m", "dgex_jax.cli", "info", str(exported)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")
