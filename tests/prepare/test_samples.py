"""Which samples of an ARCHS4 file are chosen, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PrepareConfig
from dgex_jax.errors import DgexError, StudyError
from dgex_jax.io.archs4 import Archs4
from dgex_jax.prepare.prepare import prepare
from dgex_jax.prepare.samples import select
from dgex_jax.rawfiles import Compendium, StudyFiles
from tests.io.archs4_file import write_archs4
from tests.prepare.checks import refused

if TYPE_CHECKING:
    from pathlib import Path

N = 200
GSM = np.array([f"GSM{k}" for k in range(N)])
RNG = np.random.default_rng(7)
CELLS = [f"GSE{k % 17}" + (f",GSE{100 + k % 5}" if k % 3 else "") for k in range(N)]
PROBABILITY = RNG.random(N)
PROBABILITY[[3, 50]] = 0.5, np.nan
BULK = ~(PROBABILITY >= 0.5)
COUNTS = RNG.integers(0, 50, (N, 3)).astype(np.uint32)


@pytest.fixture
def chosen(tmp_path: Path):
    """Give a function that chooses of a made-up file: the ids of the samples and the notes."""

    def run(listed: str = "", without: str = "", **options: Any) -> tuple[list[str], list[str]]:
        fields = {
            "geo_accession": GSM.tolist(),
            "series_id": CELLS,
            "singlecellprobability": PROBABILITY,
        }
        fields.pop(without, None)
        path = write_archs4(tmp_path / "a.h5", COUNTS, fields, {"symbol": ["A", "B", "C"]})
        if listed:
            options["samples"] = tmp_path / "list.txt"
            options["samples"].write_text(listed)
        with Archs4(path) as source:
            seed = options.pop("seed", 1)
            view, notes = select(source, Compendium((path,), "l1000", **options), seed)
            places = [int(name[3:]) for name in view.profiles]
            np.testing.assert_array_equal(view.read(), COUNTS[places])
            assert view.profile_metadata.index.tolist() == list(view.profiles)
        return list(view.profiles), list(notes)

    return run


def test_single_cells_are_left_out(chosen) -> None:
    names, notes = chosen()
    assert names == GSM[BULK].tolist()
    assert notes == [
        f"{(~BULK).sum()} single cells (singlecellprobability >= 0.5) are left out",
        "1 samples without a singlecellprobability are not left out",
        f"{BULK.sum()} of its 200 samples are used",
    ]
    assert chosen(single_cell=1.01)[0] == GSM.tolist()
    names, notes = chosen(without="singlecellprobability")
    assert names == GSM.tolist()
    assert notes[0].startswith("it has no singlecellprobability")


def test_a_list_of_samples_and_series(chosen) -> None:
    names, notes = chosen("GSM7\n# mine\n GSE102 # a series\nGSM1\nGSM1\nGSE1\nGSM999\nGSE9x\n")
    series = [{"GSE102", "GSE1"} & set(cell.split(",")) for cell in CELLS]
    there = np.array([bool(one) for one in series]) | np.isin(GSM, ["GSM1", "GSM7"])
    assert names == GSM[there & BULK].tolist()
    assert notes[2:] == [
        f"{there.sum()} samples have one of the 6 ids of list.txt",
        "2 ids of list.txt are not in it: GSE9x, GSM999",
        f"{(there & ~BULK).sum()} of them are single cells",
        f"{(there & BULK).sum()} of its 200 samples are used",
    ]
    names, notes = chosen("GSM1\nGSE1\n", without="series_id", single_cell=2)
    assert names == ["GSM1"]
    assert "it has no series_id: only GSM ids can be found" in notes
    assert "1 ids of list.txt are not in it: GSE1" in notes


def test_a_random_part_is_of_what_is_left(chosen) -> None:
    one, notes = chosen(sample=40, seed=3)
    assert one == sorted(one, key=lambda name: int(name[3:]))
    assert len(set(one)) == 40
    assert set(one) <= set(GSM[BULK])
    assert notes[-2:] == [
        f"40 of {BULK.sum()} samples by chance (seed 3)",
        "40 of its 200 samples are used",
    ]
    assert chosen(sample=40, seed=3)[0] == one
    assert chosen(sample=40, seed=4)[0] != one
    assert chosen(sample=int(BULK.sum()))[0] == GSM[BULK].tolist()


def test_what_can_not_be_chosen(chosen, tmp_path: Path) -> None:
    for options, match in (
        ({"sample": N}, "sample = 200: only [0-9]+ samples are left"),
        ({"single_cell": 0.0, "listed": "GSM1\n"}, "none of its 200 samples is left: "),
        ({"listed": "GSM999\n"}, "none of its 200 samples is left: .* not in it: GSM999"),
        ({"listed": "# none\n"}, r"list.txt: has no ids"),
        ({"samples": tmp_path / "nothing"}, "no such file"),
    ):
        refused(lambda of=options: chosen(**of), match, DgexError)
    for options in ({"sample": 0}, {"single_cell": float("nan")}):
        with pytest.raises(StudyError, match=next(iter(options))):
            Compendium((tmp_path / "a.h5",), "l1000", **options)


def test_a_study_by_maps_chooses_too_and_ignores_nothing(tmp_path: Path) -> None:
    fields = {"geo_accession": GSM.tolist(), "singlecellprobability": PROBABILITY}
    path = write_archs4(tmp_path / "a.h5", COUNTS, fields, {"symbol": ["A", "B", "C"]})
    maps = [tmp_path / "landmarks.txt", tmp_path / "targets.txt"]
    for one, names in zip(maps, ("AB", "C"), strict=True):
        lines = [f"{name}\tENSG{ord(name):011d}\t{name}\n" for name in names]
        one.write_text("".join(lines), encoding="utf-8")
    whole = Compendium((path,), *maps, platform="rnaseq", values="counts", sample=20)
    config = PrepareConfig(duplicates="none", force_platform=True)
    output = tmp_path / "p.h5"

    def prepared(compendium: Compendium) -> set[str]:
        files = StudyFiles(compendium, {})
        prepare(files, output, config, name="n", title="t", simulated=False)
        with h5py.File(output) as file:
            return set(file["compendium/profiles"].asstr()[:])

    with Archs4(path) as source:
        wanted = set(select(source, whole, config.seed)[0].profiles)
    assert prepared(whole) == wanted
    assert len(wanted) == 20
    table = tmp_path / "table.tsv"
    pd.DataFrame(COUNTS.T, ["A", "B", "C"], GSM).to_csv(table, sep="\t", index_label="id")
    plain = replace(whole, files=(table,), sample=None)
    assert prepared(plain) == set(GSM)
    for other, cause in (
        (replace(plain, sample=20), "sample: is no ARCHS4 file to choose from"),
        (replace(plain, single_cell=0.9), "single_cell: is no ARCHS4 file to choose from"),
        (replace(whole, genes=table), "compendium.genes: landmarks and targets are maps"),
    ):
        refused(lambda of=other: prepared(of), cause, DgexError)
