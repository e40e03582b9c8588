"""``dgex verify``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dgex_jax.cli import main


def test_whole_is_0_and_a_table(results, capsys) -> None:
    assert main(["verify", str(results)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert (
        last == f"{len(lines)} files: {len(lines)} whole, 0 altered, 0 missing, 0 stale, 0 unknown"
    )
    places = [line.split()[0] for line in lines]
    assert places == sorted(places)
    assert {line.split()[1] for line in lines} == {"whole"}


def test_altered_is_1_and_named(results, capsys) -> None:
    (results / "runs" / "a" / "log.tsv").write_text("other")
    assert main(["verify", str(results)]) == 1
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines() if " altered  " in line] == [
        ["runs/a/log.tsv", "altered"]
    ]
    assert "1 altered" in out.splitlines()[-1]


def test_json_says_the_same(results, capsys) -> None:
    (results / "raw" / "geo.gctx").write_text("other")
    assert main(["verify", str(results), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["good"] is False
    assert sum(found["counts"].values()) == len(found["files"])
    assert found["counts"]["altered"] == 1
    stale = next(one for one in found["files"] if one["place"] == "prepared.h5")
    assert (stale["state"], stale["cause"]) == ("stale", "made of another raw/geo.gctx")


def test_inputs_are_looked_at(results, capsys) -> None:
    run = str(results / "runs" / "a")
    assert main(["verify", run]) == 0
    assert "prepared.h5: is not here" in capsys.readouterr().out
    assert main(["verify", run, "--inputs", str(results / "prepared.h5")]) == 0
    assert "is not here" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [["verify"], ["verify", "none"], ["verify", "."]])
def test_nothing_to_verify_is_2_and_one_line(tmp_path, monkeypatch, capsys, words) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_help_and_verifying_import_neither_jax_nor_h5py(results) -> None:
    script = (
        "import sys; from dgex_jax.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if {'jax', 'h5py'} & sys.modules.keys() else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "verify", str(results)], capture_output=True, check=False
    )
    assert done.returncode == 0
