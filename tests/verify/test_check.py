"""What `verify` says of a results folder that was changed in one known way."""

from __future__ import annotations

import random
import shutil

import pytest

from dgex_jax.errors import DgexError
from dgex_jax.verify.check import verify

AFTER_A = {
    *("tables/table1.csv", "tables/table1.md", "provenance/table1.json"),
    *("../../tables/mine/table2.csv", "../../tables/mine/table2.md", "provenance/table2.json"),
    *("tables/report.csv", "tables/report.md", "provenance/report.json"),
    *("model/model.json", "model/weights.safetensors", "model/genes.tsv"),
}


def in_state(verdict, state) -> set[str]:
    return {one.place for one in verdict.findings if one.state == state}


def everything(results) -> list[str]:
    own = [path for path in results.rglob("*") if path.is_file()]
    tables = [path for path in results.parents[1].glob("tables/mine/*") if path.is_file()]
    return sorted(f"{path.relative_to(results)}" for path in own) + sorted(
        f"../../tables/mine/{path.name}" for path in tables
    )


def test_untouched_is_whole_and_every_file_is_named(results) -> None:
    verdict = verify(results)
    assert verdict.good
    assert {one.state for one in verdict.findings} == {"whole"}
    assert [one.place for one in verdict.findings] == sorted(everything(results))
    assert verdict.not_compared == {}


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
            assert in_state(verdict, "stale") == in_state(verdict, "missing") == set()
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
        assert in_state(verdict, "stale") == in_state(verdict, "altered") == set()
        path.write_bytes(whole)
    shutil.rmtree(results / "runs" / "b")
    assert in_state(verify(results), "missing") == {"runs/b/done.json"}


def test_a_changed_raw_file_makes_all_stale_that_came_of_it(results) -> None:
    (results / "raw" / "geo.gctx").write_text("other")
    verdict = verify(results)
    assert in_state(verdict, "altered") == {"raw/geo.gctx"}
    assert in_state(verdict, "whole") == {"raw/map_lm.txt"}
    assert in_state(verdict, "stale") == {*everything(results)} - {
        *("raw/geo.gctx", "raw/map_lm.txt")
    }
    causes = {one.place: one.cause for one in verdict.findings}
    assert causes["prepared.h5"] == "made of another raw/geo.gctx"
    assert causes["runs/a/done.json"] == "made of prepared.h5, which is stale"


def test_a_study_prepared_anew_makes_the_runs_stale(results, steps) -> None:
    steps["prepare"](results, "other")
    verdict = verify(results)
    fresh = {"prepared.h5", "prepared.h5.provenance.json", "raw/geo.gctx", "raw/map_lm.txt"}
    assert in_state(verdict, "whole") == fresh
    assert in_state(verdict, "stale") == {*everything(results)} - fresh


def test_a_run_trained_anew_makes_its_tables_stale_until_they_are_made(results, steps) -> None:
    steps["train"](results / "runs" / "a", results / "prepared.h5", "again")
    assert in_state(verify(results), "stale") == AFTER_A
    steps["table"](results, "table1", "runs/a/done.json")
    both = ["runs/a/done.json", "runs/b/done.json"]
    steps["table"](results, "table2", *both, where="../../tables/mine")
    assert in_state(verify(results), "stale") == {
        *(name for name in AFTER_A if "report" in name or name.startswith("model/"))
    }


def test_an_altered_input_counts_at_the_time_it_was_read(results, steps) -> None:
    """A table made while an input was damaged is stale once that is whole again."""
    path = results / "runs" / "a" / "errors.tsv"
    whole = path.read_bytes()
    path.write_bytes(b"damaged")
    steps["table"](results, "table1", "runs/a/done.json", "runs/a/errors.tsv")
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
    other = tmp_path / "prepared.h5"
    other.write_text("other")
    assert in_state(verify(run, [other]), "stale") == {path.name for path in run.iterdir()}
    # With two of that name, one being right is enough.
    assert verify(run, [tmp_path, results]).good
    assert verify(results / "model", [run]).not_compared == {}
    assert verify(results / "prepared.h5").good
    assert verify(results.parent).good


def test_a_relative_path_is_as_good(results, monkeypatch) -> None:
    monkeypatch.chdir(results)
    whole = [one.place for one in verify(results).findings]
    for name in (".", "../mine"):
        assert [one.place for one in verify(results.__class__(name)).findings] == whole


def test_records_of_older_versions_are_no_failure(results) -> None:
    """Before there were checksums ``done.json`` had none, and nothing lay beside files."""
    done = results / "runs" / "b" / "done.json"
    done.write_text('{\n  "config_hash": "12",\n  "seconds": 1.5\n}\n')
    (results / "prepared.h5.provenance.json").unlink()
    shutil.rmtree(results / "provenance")
    verdict = verify(results)
    assert verdict.good
    assert "runs/b/done.json" in in_state(verdict, "unknown")
    assert "runs/a/done.json" in in_state(verdict, "whole")
    # It is known of the runs that were made of it.
    assert "prepared.h5" in in_state(verdict, "whole")


@pytest.mark.parametrize("what", ["nothing", "strangers", "a lone file", "old", "no inputs"])
def test_what_is_not_ours_is_one_line(results, tmp_path, what) -> None:
    place, inputs = tmp_path / "place", []
    if what == "strangers":
        place.mkdir()
        (place / "a.txt").touch()
    elif what == "a lone file":
        place.touch()
    elif what == "old":
        place.mkdir()
        (place / "done.json").write_text('{"config_hash": "12"}')
    elif what == "no inputs":
        place, inputs = results, [tmp_path / "none"]
    with pytest.raises(DgexError) as caught:
        verify(place, inputs)
    assert str(caught.value).startswith(str(inputs[0] if inputs else place))
    assert "\n" not in str(caught.value)
