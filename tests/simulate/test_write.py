from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import StudyError
from dgex_jax.io import progress as ahead
from dgex_jax.io.gctx import Gctx
from dgex_jax.simulate import write
from dgex_jax.simulate.platforms import make_world
from dgex_jax.simulate.write import geo_block, sequenced, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.rawfiles import RawFiles
    from dgex_jax.simulate.config import SimulationConfig
    from dgex_jax.simulate.platforms import World


def digests(files: RawFiles) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in astuple(files)]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_configuration_gives_the_same_bytes_on_any_number_of_threads(
    files: RawFiles,
    small: SimulationConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    monkeypatch.setattr(ahead, "MOST_WORKERS", workers)
    assert digests(simulate(small, tmp_path / "again")) == digests(files)


def test_another_seed_gives_another_study(
    files: RawFiles, small: SimulationConfig, tmp_path: Path
) -> None:
    other = simulate(replace(small, seed=8), tmp_path)
    assert not set(digests(other)) & set(digests(files))


def test_geo_reads_back_with_h5py(files: RawFiles, world: World, small: SimulationConfig) -> None:
    with h5py.File(files.geo) as file:
        matrix = file["0/DATA/0/matrix"]
        assert matrix.shape == (small.n_profiles, small.n_probes)
        assert matrix.dtype == np.float32
        assert b"simulated" in file.attrs["src"]
        last = matrix[512:]
        probes, profiles, series = (
            [one.decode().strip() for one in file[f"0/META/{name}"][:]]
            for name in ("ROW/id", "COL/id", "COL/series")
        )
    assert probes == list(world.catalogue.probe_ids)
    assert profiles[:2] == ["SIM_GSM000001", "SIM_GSM000002"]
    assert len(set(profiles)) == small.n_profiles
    assert all(one.startswith("SIM_GSE") for one in series)
    np.testing.assert_array_equal(last, geo_block(world, np.arange(512, small.n_profiles)))
    with Gctx(files.geo) as geo:
        assert (len(geo.profiles), len(geo.genes)) == (small.n_profiles, small.n_probes)
        assert not np.isnan(geo.read(slice(0, 10))).any()


def test_gtex_reads_back_with_pandas(files: RawFiles, world: World) -> None:
    with gzip.open(files.gtex, "rt") as file:
        assert file.readline() == "#1.2\n"
        n_genes, n_samples = map(int, file.readline().split())
        table = pd.read_csv(file, sep="\t", index_col="Name")
    assert table["Description"].str.endswith("(simulated)").all()
    genes = world.gene_order("GTEx")
    assert list(table.index) == [world.catalogue.ensembl[gene] for gene in genes]
    values = table.drop(columns="Description")
    assert values.shape == (n_genes, n_samples)
    assert all(name.startswith("SIM_GTEX-") for name in values.columns)
    expected = sequenced(world, "GTEx")[:, genes]
    np.testing.assert_array_equal(values.to_numpy(np.float32).T, expected)


def test_1000g_reads_back_with_pandas(files: RawFiles, world: World) -> None:
    table = pd.read_csv(files.thousand_genomes, sep="\t", index_col="TargetID")
    assert list(table.columns[:3]) == ["Gene_Symbol", "Chr", "Coord"]
    assert (table["Chr"] == "simulated").all()
    expected = sequenced(world, "1000G")[:, world.gene_order("1000G")]
    np.testing.assert_array_equal(table.iloc[:, 3:].to_numpy(np.float32).T, expected)


def test_maps_name_genes_and_probes_that_are_there(
    files: RawFiles, small: SimulationConfig
) -> None:
    with h5py.File(files.geo) as file:
        on_array = {probe.decode().strip() for probe in file["0/META/ROW/id"][:]}
    gtex = pd.read_csv(files.gtex, sep="\t", skiprows=2, usecols=["Name"])["Name"]
    lines = pd.read_csv(files.thousand_genomes, sep="\t", usecols=["TargetID"])["TargetID"]
    rnaseq = [set(ids.str.partition(".")[0]) for ids in (gtex, lines)]
    genes = []
    for path in (files.landmarks, files.targets):
        table = pd.read_csv(path, sep="\t", header=None, names=["symbol", "ensembl", "probes"])
        assert not set(",".join(table["probes"]).split(",")) - on_array
        assert table["ensembl"].str.fullmatch(r"ENSG9\d{10}").all()
        assert table["ensembl"].is_unique
        genes.append(set(table["ensembl"]))
    assert tuple(map(len, genes)) == small.n_mapped
    kept = tuple(len(own & rnaseq[0] & rnaseq[1]) for own in genes)
    assert kept == (small.n_landmarks, small.n_targets)
    assert len(genes[0] & genes[1]) == small.n_shared
    for ids in rnaseq:
        assert len(ids - genes[0] - genes[1]) >= 0.2 * small.n_targets


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_profiles(
    small: SimulationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST_WORKERS", 1)
    peaks = []
    for n_profiles in (1024, 3072):
        world = make_world(replace(small, n_profiles=n_profiles))
        tracemalloc.start()
        write.write_geo(world, tmp_path / f"{n_profiles}.gctx", lambda _: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    grown = (3072 - 1024) * small.n_probes * 4
    assert peaks[1] - peaks[0] < 0.25 * grown


def test_progress_reaches_the_end(small: SimulationConfig, tmp_path: Path) -> None:
    reached: dict[str, tuple[int, int]] = {}
    simulate(
        replace(small, n_profiles=300, n_gtex=10),
        tmp_path,
        progress=lambda step, done, total: reached.update({step: (done, total)}),
    )
    assert reached == {
        "simulating GEO": (300, 300),
        "simulating GTEx": (10, 10),
        "simulating 1000G": (40, 40),
    }


def test_a_folder_that_cannot_be_made_is_one_line(small: SimulationConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="file/study: can't be made"):
        simulate(small, tmp_path / "file" / "study")


def test_nothing_half_written_stays(
    small: SimulationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr(write, "geo_block", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        simulate(small, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map_lm.txt", "map_tg.txt"]
