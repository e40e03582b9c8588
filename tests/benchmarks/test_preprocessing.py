from __future__ import annotations

import hashlib
from dataclasses import astuple, replace
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from benchmarks.memory import ChildRun
from benchmarks.prepare_steps import Step, Stopwatch
from benchmarks.preprocessing import main, step_table
from benchmarks.preprocessing_peer import explain
from benchmarks.preprocessing_runs import Prepared
from benchmarks.rawdata import PAPER, SMALL, copies, geo_blocks, make
from dgex_jax.errors import DgexError
from dgex_jax.prepare.genes import read_gene_map

TINY = replace(SMALL, n_profiles=90, n_copies=13, n_near_misses=5)


def test_files_are_the_same_every_time_and_reused(tmp_path) -> None:
    sums = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        files = make(folder, TINY)
        sums.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in astuple(files)])
    assert sums[0] == sums[1]
    files.geo.write_bytes(b"kept as it is")
    assert make(tmp_path / "two", TINY).geo.read_bytes() == b"kept as it is"
    again = make(tmp_path / "two", replace(TINY, seed=1))
    assert hashlib.sha256(again.geo.read_bytes()).hexdigest() not in sums[0]


def test_near_copies_are_as_many_as_said() -> None:
    values = np.concatenate(list(geo_blocks(SMALL)))
    assert values.shape == (SMALL.n_profiles, SMALL.n_probes)
    assert values.dtype == np.float32
    apart = squareform(pdist(values.astype(np.float64)))
    source, distance = copies(SMALL)
    made = np.flatnonzero(source != np.arange(SMALL.n_profiles))
    assert (source[made] < made).all()
    np.testing.assert_allclose(apart[made, source[made]], distance[made], atol=1e-3)
    close = distance[made] < 1
    assert close.sum() == SMALL.n_copies
    assert (~close).sum() == SMALL.n_near_misses
    # Whoever isn't made from another is far from all before it.
    own = np.flatnonzero(source == np.arange(SMALL.n_profiles))
    assert apart[np.ix_(own, own)][~np.eye(len(own), dtype=bool)].min() > 5


def test_maps_have_the_papers_genes(tmp_path) -> None:
    files = make(
        tmp_path, replace(PAPER, n_profiles=3, n_copies=1, n_near_misses=0, n_gtex=2, n_1000g=2)
    )
    landmarks, targets = read_gene_map(files.landmarks), read_gene_map(files.targets)
    assert (len(landmarks), len(targets)) == (943, 9520)
    counts = [len(probes) for probes in targets.probes]
    assert (sum(counts), min(counts), max(counts)) == (15_744, 1, 13)
    assert len(set(landmarks.ensembl) & set(targets.ensembl)) == 445
    assert PAPER.scaled(Fraction(1)) == PAPER
    quarter = PAPER.scaled(Fraction(1, 4))
    assert (quarter.n_profiles, quarter.n_copies) == (32_290, 4537)
    assert (quarter.n_probes, quarter.n_targets) == (22_268, 9520)


def test_stopwatch_gives_each_step_the_time_up_to_its_ticks() -> None:
    times = iter([0.0, 3.0, 4.0, 10.0])
    watch = Stopwatch(lambda: next(times))
    watch("reading", 1, 2)
    watch("reading", 2, 2)
    watch("writing", 1, 1)
    taken = [(step.name, step.seconds, step.done) for step in watch.steps()]
    assert taken == [("reading", 4.0, 2), ("writing", 6.0, 1)]
    assert all(step.peak_bytes > 2**20 for step in watch.steps())


def test_growth_and_extrapolation_of_known_curves() -> None:
    def one(n: int) -> Prepared:
        steps = {
            "linear": Step("linear", 5 + 0.01 * n, 0, n),
            "comparing profiles": Step("comparing profiles", 1e-4 * n * n, 0, n),
        }
        total = sum(step.seconds for step in steps.values()) + 1
        return Prepared(replace(PAPER, n_profiles=n), ChildRun(total, 2**20 * n, 0), steps, n, 0)

    table = step_table({Fraction(1, 4): one(1000), Fraction(1, 2): one(2000)}, 4000)
    assert [row[0] for row in table.rows][:2] == ["linear", "comparing profiles"]
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["comparing profiles"] == ("100.00", "400.00", "2.00", "1600")
    assert cells["linear"][:2] == ("15.00", "25.00")
    assert cells["linear"][3] == "45"
    assert cells["together"][3] == "1646"
    assert cells["peak resident MiB"] == ("1,000", "2,000", "1.00", "4,000")
    whole = step_table({Fraction(1, 2): one(2000), Fraction(1): one(4000)}, 4000)
    assert "extrapolated" not in " ".join(whole.header)


def test_a_profile_kept_by_one_way_alone_needs_a_reason() -> None:
    source, _ = copies(TINY)
    row = int(np.flatnonzero(source != np.arange(TINY.n_profiles))[0])
    labels = np.zeros(TINY.n_profiles, dtype=np.intp)
    with pytest.raises(DgexError, match=f"profile {row} "):
        explain(np.array([row]), labels, TINY)
    labels[row] = 1
    explain(np.array([row]), labels, TINY)


@pytest.mark.slow
def test_small_run_prepares_and_agrees_with_the_original_way(tmp_path, capsys, monkeypatch) -> None:
    # Threads of several processes that wait for each other take ten times as long.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert main(["--small", "--keep", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "profiles are kept by one alone" in printed
    for text in ("fitting clusters", "peak resident MiB", "original:", "passes of k-means"):
        assert text in printed
    assert not list(Path(tmp_path, "raw_1_1").glob("original"))
    with h5py.File(tmp_path / "raw_1_1" / "prepared.h5") as file:
        n_kept = len(file["compendium/profiles"])
        assert file["compendium/X"].shape == (n_kept, SMALL.n_landmarks)
        straddling = file["report"].attrs["geo_close_pairs_straddling_clusters"]
    n_distinct = SMALL.n_profiles - SMALL.n_copies
    assert n_distinct <= n_kept <= n_distinct + straddling
