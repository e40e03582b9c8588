"""What `verify` says of a results folder that was changed in one known way."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dgex_jax.cli import main
from dgex_jax.errors import DgexError
from dgex_jax.io.manifest import record, sealed, sidecar, write_record, write_sidecar
from dgex_jax.train.record import mark_done
from dgex_jax.verify import verify

ZEROS = "0" * 64
RUNS = ("runs/a/done.json", "runs/b/done.json")
AFTER_A = {
    *("tables/table1.csv", "tables/table1.md", "provenance/table1.json"),
    *("../../tables/mine/table2.csv", "../../tables/mine/table2.md", "provenance/table2.json"),
    *("tables/report.csv", "tables/report.md", "provenance/report.json"),
    *("model/model.json", "model/weights.safetensors", "model/genes.tsv"),
}


# A results folder as the writers leave it, without the science that takes seconds.


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def named(path: Path, name: str = "") -> dict[str, str]:
    return {"name": name or path.name, "sha256": sha256(path)}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def prepare(folder: Path, text: str) -> None:
    study = write(folder / "prepared.h5", text)
    raw = {one.stem: named(one) for one in sorted((folder / "raw").iterdir())}
    write_sidecar(study, record("dgex prepare", precision="float64", inputs=raw))


def train(run: Path, prepared: Path, text: str) -> None:
    for name in ("config.json", "log.tsv", "errors.tsv", "best_va.safetensors"):
        write(run / name, f"{name} {text}")
    made = record("dgex train", precision="highest", inputs={"prepared": named(prepared)})
    files = [path.name for path in run.iterdir() if path.name != "done.json"]
    mark_done(run, {"network": text}, files=files, provenance=made, seconds=1.5)


def make_table(folder: Path, name: str, *inputs: str, where: str = "tables") -> None:
    paths = [write(folder / where / f"{name}.{suffix}", name) for suffix in ("csv", "md")]
    of = {one: named(folder / one, one) for one in inputs}
    made = record(f"reproduce {name}", precision="float64", inputs=of)
    sums = {os.path.relpath(path, folder): sha256(path) for path in paths}
    (folder / "provenance").mkdir(exist_ok=True)
    write_record(folder / "provenance" / f"{name}.json", made, sums)


def export(model: Path, run: Path) -> None:
    for name in ("weights.safetensors", "genes.tsv"):
        write(model / name, name)
    of = {"run": named(run / "done.json", f"{run.name}/done.json")}
    made = record("dgex export", precision="highest", inputs=of)
    files = {path.name: sha256(path) for path in model.iterdir()}
    content = sealed({"files": files, "training": {"provenance": {"export": made}}})
    write(model / "model.json", json.dumps(content, indent=2) + "\n")


@pytest.fixture
def results(tmp_path) -> Path:
    """Raw files, a prepared study, runs ``a`` and ``b``, tables of ``a`` and of both, a model."""
    folder = tmp_path / "results" / "mine"
    for name in ("geo.gctx", "map_lm.txt"):
        write(folder / "raw" / name, name)
    prepare(folder, "prepared")
    for name in ("a", "b"):
        train(folder / "runs" / name, folder / "prepared.h5", name)
    make_table(folder, "table1", "prepared.h5", "runs/a/done.json", "runs/a/errors.tsv")
    make_table(folder, "table2", *RUNS, where="../../tables/mine")
    make_table(folder, "report", "tables/table1.csv", "../../tables/mine/table2.csv", *RUNS)
    export(folder / "model", folder / "runs" / "a")
    return folder


def in_state(verdict, *states: str) -> set[str]:
    return {one.place for one in verdict.findings if one.state in states}


def everything(results: Path) -> list[str]:
    tables = results.parents[1] / "tables" / "mine"
    paths = [*results.rglob("*"), *tables.iterdir()]
    return sorted(os.path.relpath(path, results) for path in paths if path.is_file())


def test_untouched_is_whole_and_every_file_is_named(results, monkeypatch) -> None:
    verdict = verify(results)
    assert verdict.good
    assert {one.state for one in verdict.findings} == {"whole"}
    assert [one.place for one in verdict.findings] == everything(results)
    assert verdict.not_compared == {}
    monkeypatch.chdir(results)
    for name in (".", "../mine"):
        assert verify(Path(name)).findings == verdict.findings


def test_any_flipped_bit_names_just_that_file(results) -> None:
    drawn = random.Random(1)
    names = [name for name in everything(results) if not name.startswith("raw/")]
    assert len(names) > 20
    for name in names:
        path = results / name
        whole = path.read_bytes()
        for _ in range(3):
            flipped = bytearray(whole)
            flipped[drawn.randrange(len(whole))] ^= 1 << drawn.randrange(8)
            path.write_bytes(flipped)
            verdict = verify(results)
            assert in_state(verdict, "altered") == {name}
            assert in_state(verdict, "stale", "missing") == set()
            assert not verdict.good
        path.write_bytes(whole)
    assert verify(results).good


def test_a_deleted_file_is_missing_and_nothing_else(results) -> None:
    for name in everything(results):
        if name.startswith(("provenance/", "raw/", "model/model.json", "prepared.h5.")):
            continue
        path = results / name
        whole = path.read_bytes()
        path.unlink()
        verdict = verify(results)
        assert in_state(verdict, "missing") == {name}
        assert in_state(verdict, "stale", "altered") == set()
        path.write_bytes(whole)
    shutil.rmtree(results / "runs" / "b")
    assert in_state(verify(results), "missing") == {"runs/b/done.json"}


def test_a_changed_raw_file_makes_all_stale_that_came_of_it(results) -> None:
    (results / "raw" / "geo.gctx").write_text("other")
    verdict = verify(results)
    raw = {"raw/geo.gctx", "raw/map_lm.txt"}
    assert in_state(verdict, "altered") == {"raw/geo.gctx"}
    assert in_state(verdict, "whole") == {"raw/map_lm.txt"}
    assert in_state(verdict, "stale") == {*everything(results)} - raw
    causes = {one.place: one.cause for one in verdict.findings}
    assert causes["prepared.h5"] == "made of another raw/geo.gctx"
    assert causes["runs/a/done.json"] == "made of prepared.h5, which is stale"


def test_a_study_prepared_again_makes_the_runs_stale(results) -> None:
    prepare(results, "other")
    verdict = verify(results)
    fresh = {"prepared.h5", "prepared.h5.provenance.json", "raw/geo.gctx", "raw/map_lm.txt"}
    assert in_state(verdict, "whole") == fresh
    assert in_state(verdict, "stale") == {*everything(results)} - fresh


def test_a_run_trained_again_makes_its_tables_stale_until_they_are_made(results) -> None:
    train(results / "runs" / "a", results / "prepared.h5", "again")
    assert in_state(verify(results), "stale") == AFTER_A
    make_table(results, "table1", "runs/a/done.json")
    make_table(results, "table2", *RUNS, where="../../tables/mine")
    assert in_state(verify(results), "stale") == {
        *(name for name in AFTER_A if "report" in name or name.startswith("model/"))
    }


def test_an_altered_input_counts_at_the_time_it_was_read(results) -> None:
    """A table made while an input was damaged is stale once that is repaired."""
    path = results / "runs" / "a" / "errors.tsv"
    whole = path.read_bytes()
    path.write_bytes(b"damaged")
    make_table(results, "table1", "runs/a/done.json", "runs/a/errors.tsv")
    path.write_bytes(whole)
    assert {"tables/table1.csv", "tables/table1.md"} <= in_state(verify(results), "stale")


def test_strange_files_are_unknown_and_passing_ones_are_not_seen(results) -> None:
    (results / "notes.txt").write_text("mine")
    (results / ".prepared.h5.lock").touch()
    (results / "runs" / ".0a1b2c3d-12-0a1b2c3d.tmp.log.tsv").touch()
    verdict = verify(results)
    assert verdict.good
    assert in_state(verdict, "unknown") == {"notes.txt"}


def test_parts_of_results_and_inputs_that_lie_elsewhere(results, tmp_path) -> None:
    run = results / "runs" / "a"
    alone = verify(run)
    assert alone.good
    assert len(alone.findings) == 5
    assert alone.not_compared == {"prepared.h5": "done.json"}
    assert verify(run, [results / "prepared.h5"]).not_compared == {}
    assert verify(run, [results]).good
    other = write(tmp_path / "prepared.h5", "other")
    assert in_state(verify(run, [other]), "stale") == {path.name for path in run.iterdir()}
    # With two of that name, one being right is enough.
    assert verify(run, [tmp_path, results]).good
    assert verify(results / "model", [run]).not_compared == {}
    assert verify(results / "prepared.h5").good
    assert verify(results.parent).good


def test_records_of_older_versions_are_no_failure(results) -> None:
    """Before there were checksums ``done.json`` had none, and nothing lay beside files."""
    done = results / "runs" / "b" / "done.json"
    done.write_text('{\n  "config_hash": "12",\n  "seconds": 1.5\n}\n')
    (results / "prepared.h5.provenance.json").unlink()
    shutil.rmtree(results / "provenance")
    verdict = verify(results)
    assert verdict.good
    assert "runs/b/done.json" in in_state(verdict, "unknown")
    # One that tells of files always had them.
    done.write_text(
        (results / "runs/a/done.json").read_text().replace("content_sha", "content_shb")
    )
    assert in_state(verify(results), "altered") == {"runs/b/done.json"}
    # The study is known of the runs that were made of it.
    assert {"runs/a/done.json", "prepared.h5"} <= in_state(verdict, "whole")


@pytest.mark.parametrize("what", ["nothing", "strangers", "a lone file", "old", "no inputs"])
def test_what_is_not_ours_is_one_line(results, tmp_path, what) -> None:
    place, inputs = tmp_path / "place", []
    if what == "strangers":
        write(place / "a.txt", "")
    elif what == "a lone file":
        place.touch()
    elif what == "old":
        write(place / "done.json", '{"config_hash": "12"}')
    elif what == "no inputs":
        place, inputs = results, [tmp_path / "none"]
    with pytest.raises(DgexError) as caught:
        verify(place, inputs)
    assert str(caught.value).startswith(str(inputs[0] if inputs else place))
    assert "\n" not in str(caught.value)


# What stands in a record is not trusted.


@pytest.mark.parametrize(
    "name", ["../x", "../../../x", "/etc/passwd", "a/../../x", "", "..", "../..", "a\0b"]
)
def test_a_place_outside_is_no_place_of_an_output(results, name) -> None:
    (results.parent / "x").write_text("secret")
    for number, (files, inputs) in enumerate(
        [({name: ZEROS}, {}), ({}, {name: {"name": name, "sha256": ZEROS}})]
    ):
        path = results / "provenance" / f"{number}.json"
        write_record(path, record("x", precision="", inputs=inputs), files)
    verdict = verify(results)
    bad = {"provenance/0.json", "provenance/1.json"}
    assert in_state(verdict, "altered") == bad
    assert {one.place for one in verdict.findings} == {*everything(results)}
    assert verdict.not_compared == {}


BAD_VALUES = (
    *({"files": []}, {"files": {"a": 3}}, {"files": {"a": "short"}}, {"format_version": "1"}),
    *({"inputs": {"a": {}}}, {"inputs": {"a": {"name": 3, "sha256": ZEROS}}}, {"inputs": 3}),
)
CONTENTS = [
    *("", "[]", "{}", "nonsense", "[" * 100_000, '{"files": 3}'),
    *(
        json.dumps(sealed({"format_version": 1, "inputs": {}, "files": {}, **bad}), indent=2) + "\n"
        for bad in BAD_VALUES
    ),
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("name", ["a.h5.provenance.json", "done.json", "model.json"])
def test_any_content_gives_a_finding(tmp_path, content, name) -> None:
    write_sidecar(write(tmp_path / "good.h5", "good"), record("x", precision="", inputs={}))
    (tmp_path / name).write_text(content)
    states = {one.place: one.state for one in verify(tmp_path).findings}
    if name == "done.json" and content == "{}":
        # So it may be in an older version's results.
        assert states[name] == "unknown"
    elif name != "done.json" or states[name] != "whole":
        assert states[name] == "altered"
    assert states["good.h5"] == "whole"


def test_a_newer_record_is_left_alone(results) -> None:
    content = json.loads(sidecar(results / "prepared.h5").read_text())
    newer = json.dumps(sealed(content | {"format_version": 2}), indent=2) + "\n"
    (results / "b.h5.provenance.json").write_text(newer)
    (found,) = [one for one in verify(results).findings if one.place.startswith("b.")]
    assert (found.state, found.cause) == ("unknown", "made by a newer version of dgex")


# ``dgex verify``


def test_whole_is_0_and_a_table(results, capsys) -> None:
    assert main(["verify", str(results)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    n = len(everything(results))
    assert last == f"{n} files: {n} whole, 0 altered, 0 missing, 0 stale, 0 unknown"
    assert [line.split() for line in lines] == [[name, "whole"] for name in everything(results)]


def test_altered_is_1_and_named_and_json_says_the_same(results, capsys) -> None:
    (results / "raw" / "geo.gctx").write_text("other")
    assert main(["verify", str(results)]) == 1
    out = capsys.readouterr().out
    altered = [line.split()[0] for line in out.splitlines() if " altered  " in line]
    assert altered == ["raw/geo.gctx"]
    assert "1 altered" in out.splitlines()[-1]
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
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_verifying_imports_neither_jax_nor_h5py(results) -> None:
    script = (
        "import sys; from dgex_jax.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if {'jax', 'h5py'} & sys.modules.keys() else code)"
    )
    command = [sys.executable, "-c", script, "verify", str(results)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
