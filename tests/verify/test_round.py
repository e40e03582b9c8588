"""From raw files to the report, and a model applied: every kind of file that the commands leave."""

from __future__ import annotations

import io
import json
import random
import shutil
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest
from threadpoolctl import threadpool_limits

from dgex_jax.cli import main
from dgex_jax.io.manifest import commit
from dgex_jax.verify import verify
from reproduce import all as everything
from reproduce import table1, table_s3
from tests.compiling import compiled_quickly
from tests.tinystudy import SIMULATE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long

STUDY = f"""
name = "tiny"
title = "A tiny study"
[simulate]{SIMULATE}
[networks]
hidden_layers = [1]
units = [6]
dropout = [0.1, 0.25]
[training]
epochs = 2
monitor_size = 50
batch_size = 50
learning_rate = 1e-2
[baselines]
k_max = 5
"""
ENDINGS = ("gctx", "gct", "gct.gz", "h5ad", "zarr")


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Compile in half the time."""
    with compiled_quickly(), threadpool_limits(1):
        yield


def run(*words: object) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        assert main([str(word) for word in words]) == 0, said.getvalue()


def reproduce(script, results: Path) -> None:
    out = results.parent
    words = ["--study", str(out / "tiny.toml"), "--out", str(out)]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        assert script.main(words) == 0, said.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results of a study, with seeds, a model, predictions of it and an evaluation among them."""
    out = tmp_path_factory.mktemp("round")
    (out / "tiny.toml").write_text(STUDY)
    results = out / "tiny"
    reproduce(everything, results)
    prepared, model = results / "prepared.h5", results / "model"
    small = ("--hidden-layers", 1, "--units", 4, "--epochs", 1, "-q")
    run("train", prepared, "-o", results / "seeds", *small, "--seeds", 1, 2)
    run("export", results / "runs" / "10pct-6x1", prepared, "-o", model)
    for ending in ENDINGS:
        # The store beside the results, since its own reader takes its time.
        folder = out if ending == "zarr" else results
        geo, output = results / "raw" / "geo.gctx", folder / f"inferred.{ending}"
        run("predict", model, geo, "-o", output, "--platform", "microarray", "-q")
    run("evaluate", model, prepared, "-o", results / "by_gene.tsv", "-q")
    return results


@pytest.fixture
def results(made, tmp_path) -> Path:
    copy = tmp_path / "tiny"
    shutil.copytree(made, copy)
    shutil.copy(made.parent / "tiny.toml", tmp_path)
    return copy


def in_state(results: Path, *states: str) -> set[str]:
    inputs = [results.parent / "tiny.toml", results / "model"]
    return {one.place for one in verify(results, inputs).findings if one.state in states}


def files(results: Path) -> list[Path]:
    found = (path for path in results.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def test_untouched_is_whole(made) -> None:
    verdict = verify(made, [made.parent / "tiny.toml", made / "model"])
    assert verdict.good
    assert verdict.not_compared == {}
    assert {one.state for one in verdict.findings} == {"whole"}
    places = {f"{path.relative_to(made)}" for path in files(made)}
    assert {one.place for one in verdict.findings} == places | {"../tiny.toml"}


def kinds(results: Path) -> dict[tuple[str, ...], list[Path]]:
    """Group files by what they are."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for path in files(results):
        place = path.relative_to(results)
        is_run = place.parts[0] in {"runs", "departures", "seeds"}
        folder = "runs" if is_run else "/".join(place.parts[:-1])
        kind = path.suffix if folder in {"tables", "figures", "provenance"} else path.name
        found.setdefault((folder, kind), []).append(path)
    return found


def test_a_flipped_bit_in_any_kind_of_file_names_that_file(results) -> None:
    drawn = random.Random(5)
    groups = kinds(results)
    assert len(groups) > 50
    for (folder, _), paths in groups.items():
        path = drawn.choice(paths)
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[drawn.randrange(len(whole))] ^= 1 << drawn.randrange(8)
        path.write_bytes(flipped)
        place = f"{path.relative_to(results)}"
        verdict = verify(results)
        states = {one.place: one.state for one in verdict.findings}
        assert {one for one, state in states.items() if state in {"altered", "missing"}} == {place}
        if folder != "raw":
            assert verdict.count("stale") == 0, place
        path.write_bytes(whole)
    assert verify(results).good


@pytest.mark.parametrize("name", ["X/c.0.0", "zarr.json", "uns/dgex/zarr.json"])
def test_a_flipped_bit_in_a_store(made, tmp_path, name) -> None:
    store, inputs = tmp_path / "inferred.zarr", [made / "model", made / "raw"]
    shutil.copytree(made.parent / "inferred.zarr", store)
    verdict = verify(store, inputs)
    assert verdict.not_compared == {}
    states = {one.place: one.state for one in verdict.findings}
    assert states.pop(".") == "whole"
    # And the input and the model that it was made of.
    assert list(states.values()) == ["whole", "whole"]
    data = bytearray((store / name).read_bytes())
    data[len(data) // 2] ^= 1
    (store / name).write_bytes(data)
    verdict = verify(store, inputs)
    # Where its root can't be read, that is all that can be said.
    (place,) = (one.place for one in verdict.findings if one.state == "altered")
    assert place in {name, "."}
    (store / name).unlink()
    assert not verify(tmp_path, inputs).good


def test_a_changed_raw_file_makes_all_of_it_stale(results) -> None:
    path = results / "raw" / "map_tg.txt"
    path.write_text(path.read_text() + "\n")
    assert in_state(results, "altered") == {"raw/map_tg.txt"}
    fresh = in_state(results, "whole")
    assert {one for one in fresh if not one.startswith("raw/")} <= {
        # Nothing of these is made of the raw files.
        *("tables/tableS1.csv", "tables/tableS1.md", "tables/tableS1.tex"),
        *("provenance/tableS1.json", "preparation/done.json"),
        *(f"departures/{one}/preparation/done.json" for one in ("clustered", "scale-on-train")),
        "tiny.toml",
        "../tiny.toml",
    }


def test_a_run_that_was_trained_anew(results) -> None:
    shutil.rmtree(results / "runs" / "10pct-6x1")
    assert in_state(results, "missing") == {
        f"runs/10pct-6x1/{name}" for name in ("done.json", "errors.tsv", "log.tsv")
    }
    reproduce(table1, results)
    assert in_state(results, "missing", "altered") == set()
    stale = in_state(results, "stale")
    assert {"tables/tableS3.csv", "figures/figure1.png", "model/model.json"} <= stale
    assert not {"tables/table1.csv", "baselines/LR.tsv", "runs/10pct-6x1/errors.tsv"} & stale
    reproduce(table_s3, results)
    left = in_state(results, "stale")
    assert {"model/model.json", "by_gene.tsv", "inferred.gctx", "report.html"} <= left
    assert not {"tables/tableS3.csv", "tables/table1.csv"} & left


def test_every_output_says_how_it_was_made(made) -> None:
    records = [json.loads(path.read_text()) for path in made.rglob("*.provenance.json")]
    records += [json.loads(path.read_text()) for path in (made / "provenance").iterdir()]
    runs = [*made.rglob("runs/*/done.json"), *made.glob("seeds/*/done.json")]
    records += [json.loads(path.read_text())["provenance"] for path in runs]
    model = json.loads((made / "model" / "model.json").read_text())["training"]["provenance"]
    records += [model["export"], model["training"]]
    assert len(records) > 30
    for told in records:
        assert told["commit"] == commit()
        assert {"python", "numpy", "h5py", "jax", "dgex_jax"} <= told["versions"].keys()
        assert told["precision"]
        assert {"made_by", "device", "seeds", "inputs"} <= told.keys()
        assert str(made.parent) not in json.dumps(told)
