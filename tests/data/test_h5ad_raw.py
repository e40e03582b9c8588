"""Raw files as AnnData and as plain tables: the study they make is that of GCTX and GCT."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dgex_jax.cli import main
from dgex_jax.config import GeoOnlyFiles, PrepareConfig
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.formats.opening import open_expression

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = PrepareConfig(duplicates="none")


@pytest.fixture(scope="module")
def anndata() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("anndata")


def frame_of(path: Path) -> pd.DataFrame:
    """Profiles by genes."""
    source: Any = open_expression(path)
    found = pd.DataFrame(source.read(), index=list(source.profiles), columns=list(source.genes))
    getattr(source, "close", lambda: None)()
    return found


@pytest.fixture
def as_h5ad(anndata, tmp_path) -> Callable[..., Path]:
    """Write profiles by genes as AnnData."""

    def write(name: str, frame: pd.DataFrame, kind: type = np.array, **var: Any) -> Path:
        path = tmp_path / name
        obs = pd.DataFrame(index=pd.Index(frame.index, dtype=object))
        about = pd.DataFrame(var, index=pd.Index(frame.columns, dtype=object))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            anndata.AnnData(kind(frame.to_numpy()), obs=obs, var=about).write_h5ad(path)
        return path

    return write


@pytest.fixture
def probes(golden_raw) -> list[str]:
    """The probes of the recorded landmarks."""
    return [line.split("\t")[2] for line in golden_raw.landmarks.read_text().splitlines()]


@pytest.fixture
def listed(probes, tmp_path) -> Path:
    path = tmp_path / "landmarks.txt"
    path.write_text("".join(f"{probe}\n" for probe in probes))
    return path


def contents(path: Path) -> dict[str, bytes]:
    """Every dataset of a prepared study."""
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update(
                {name: item[()].tobytes()} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return found


@pytest.mark.parametrize(
    ("kind", "duplicates"),
    [
        (np.array, "all-pairs"),
        (sparse.csr_matrix, "all-pairs"),
        (sparse.csr_matrix, "none"),
        (sparse.csc_matrix, "none"),
    ],
)
def test_arrays_alone(kind, duplicates, as_h5ad, golden_raw, listed, run_prepare, tmp_path) -> None:
    path = as_h5ad("geo.h5ad", frame_of(golden_raw.geo), kind)
    config = PrepareConfig(duplicates=duplicates, block_size=70)
    run_prepare(GeoOnlyFiles(golden_raw.geo, listed), tmp_path / "one.h5", config)
    run_prepare(GeoOnlyFiles(path, listed), tmp_path / "two.h5", config)
    assert contents(tmp_path / "two.h5") == contents(tmp_path / "one.h5")
    with h5py.File(tmp_path / "two.h5") as file:
        told = json.loads(file.attrs["raw_files"])["geo"]
    assert told == {"name": "geo.h5ad", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_all_five(as_h5ad, golden_raw, run_prepare, tmp_path) -> None:
    """RNA-seq by symbol, as AnnData usually is; its Ensembl ids stand in a column."""
    files = {"geo": as_h5ad("geo.h5ad", frame_of(golden_raw.geo))}
    for name, path in (
        ("gtex", golden_raw.gtex),
        ("thousand_genomes", golden_raw.thousand_genomes),
    ):
        frame = frame_of(path)
        ids = [str(gene) for gene in frame.columns]
        symbols = [f"{name}{n % 20}" for n in range(len(ids))]
        ids[next(n for n, gene in enumerate(ids) if gene.startswith("ENSG00000900"))] = "nan"
        if name == "gtex":
            frame.columns = symbols
            files[name] = as_h5ad(f"{name}.h5ad", frame, sparse.csr_matrix, gene_ids=ids)
        else:
            files[name] = as_h5ad(f"{name}.h5ad", frame, symbol=symbols)
    run_prepare(golden_raw, tmp_path / "one.h5", QUICK)
    run_prepare(replace(golden_raw, **files), tmp_path / "two.h5", QUICK)
    assert contents(tmp_path / "two.h5") == contents(tmp_path / "one.h5")


@pytest.mark.parametrize("turned", [False, True])
def test_tables_either_way(turned, golden_raw, run_prepare, tmp_path) -> None:
    files = {}
    for name in ("geo", "gtex", "thousand_genomes"):
        frame = frame_of(getattr(golden_raw, name)).astype(float)
        files[name] = tmp_path / f"{name}.txt"
        (frame if turned else frame.T).to_csv(files[name], sep=",\t"[turned])
    run_prepare(golden_raw, tmp_path / "one.h5", QUICK)
    run_prepare(replace(golden_raw, **files), tmp_path / "two.h5", QUICK)
    assert contents(tmp_path / "two.h5") == contents(tmp_path / "one.h5")


@pytest.mark.parametrize("turned", [False, True])
def test_tables_of_arrays_alone(turned, golden_raw, listed, run_prepare, tmp_path) -> None:
    frame = frame_of(golden_raw.geo).astype(float)
    (frame if turned else frame.T).to_csv(tmp_path / "geo.csv")
    run_prepare(GeoOnlyFiles(golden_raw.geo, listed), tmp_path / "one.h5", QUICK)
    run_prepare(GeoOnlyFiles(tmp_path / "geo.csv", listed), tmp_path / "two.h5", QUICK)
    assert contents(tmp_path / "two.h5") == contents(tmp_path / "one.h5")


def test_a_table_with_genes_on_both_axes(golden_raw, listed, probes, run_prepare, tmp_path) -> None:
    frame = frame_of(golden_raw.geo)
    frame.index = [probes[0], *frame.index[1:]]
    frame.to_csv(tmp_path / "geo.csv")
    with pytest.raises(FormatError, match=r"in its rows \(1\) and in its columns \(20\)") as caught:
        run_prepare(GeoOnlyFiles(tmp_path / "geo.csv", listed), tmp_path / "p.h5", QUICK)
    assert str(caught.value).startswith(str(tmp_path / "geo.csv"))


def test_landmarks_of_an_h5ad_or_by_a_column(
    as_h5ad, golden_raw, listed, probes, run_prepare, tmp_path
) -> None:
    frame = frame_of(golden_raw.geo)
    symbols = [f"S{n}" for n in range(frame.shape[1])]
    ensembl = [f"ENSG{n:011d}.3" for n in range(frame.shape[1])]
    geo = as_h5ad("geo.h5ad", frame, gene_symbols=symbols, gene_ids=ensembl)
    run_prepare(GeoOnlyFiles(geo, listed), tmp_path / "one.h5", QUICK)
    with open_prepared(tmp_path / "one.h5") as study:
        places = [frame.columns.get_loc(probe) for probe in study.landmarks]
        assert study.landmark_symbols == tuple(f"S{n}" for n in places)
    wanted = contents(tmp_path / "one.h5")
    places = [frame.columns.get_loc(probe) for probe in probes]
    lists: list[Path] = [as_h5ad("landmarks.h5ad", frame[probes].iloc[:2])]
    for number, names in enumerate((symbols, ensembl)):
        lists.append(tmp_path / f"list{number}.txt")
        lists[-1].write_text("".join(f"{names[n].removesuffix('.3')}\n" for n in places))
    for path in lists:
        run_prepare(GeoOnlyFiles(geo, path), tmp_path / "two.h5", QUICK)
        assert contents(tmp_path / "two.h5") == wanted
    lists[1].write_text("S1\nS2\nunknown\n")
    report = run_prepare(GeoOnlyFiles(geo, lists[1]), tmp_path / "three.h5", QUICK)
    assert (report.n_landmarks, [gene.probes for gene in report.dropped]) == (2, [("unknown",)])


def test_landmarks_that_can_not_be_told(as_h5ad, golden_raw, run_prepare, tmp_path) -> None:
    frame = frame_of(golden_raw.geo)
    symbols = ["A", "A", *(f"S{n}" for n in range(2, frame.shape[1]))]
    geo = as_h5ad("geo.h5ad", frame, symbol=symbols)
    (tmp_path / "l.txt").write_text("S5\nA\n")
    with pytest.raises(FormatError) as caught:
        run_prepare(GeoOnlyFiles(geo, tmp_path / "l.txt"), tmp_path / "p.h5", QUICK)
    assert str(caught.value) == (
        f"{tmp_path / 'l.txt'}: landmark 'A' is 2 genes of {geo}: 200196_at, 200378_s_at; list "
        "landmarks by their ids"
    )
    (tmp_path / "l.txt").write_text("Q1\nQ2\n")
    with pytest.raises(PreparationError, match="none of its 2 landmark probes"):
        run_prepare(GeoOnlyFiles(geo, tmp_path / "l.txt"), tmp_path / "p.h5", QUICK)


@pytest.mark.parametrize("axis", ["genes", "profiles"])
def test_ids_that_come_twice_are_named(axis, as_h5ad, golden_raw, listed, tmp_path, capsys) -> None:
    frame = frame_of(golden_raw.geo)
    if axis == "genes":
        frame.columns = [*frame.columns[:-1], frame.columns[3]]
    else:
        frame.index = [*frame.index[:-1], frame.index[3]]
    path = as_h5ad("geo.h5ad", frame)
    output = tmp_path / "p.h5"
    command = ["prepare", "--geo", str(path), "--landmarks", str(listed), "-o", str(output)]
    assert main([*command, "--duplicates", "none", "-q"]) == 2
    error = capsys.readouterr().err
    twice = (frame.columns if axis == "genes" else frame.index)[3]
    assert f"{path}: duplicate {axis[:-1]} id {twice!r}" in error
    assert not output.exists()


def test_missing_values_are_counted(as_h5ad, golden_raw, listed, run_prepare, tmp_path) -> None:
    frame = frame_of(golden_raw.geo)
    frame.iloc[5, 7] = np.nan
    path = as_h5ad("geo.h5ad", frame)
    with pytest.raises(FormatError, match=f"{frame.index[5]}.*{frame.columns[7]}"):
        run_prepare(GeoOnlyFiles(path, listed), tmp_path / "p.h5", QUICK)
