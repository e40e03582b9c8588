"""Studies of arrays alone: probes as genes, no RNA-seq (paper section 3.4)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from dgex_jax.cli import main
from dgex_jax.config import GeoOnlyFiles, PrepareConfig, RawFiles
from dgex_jax.data.prepared import open_prepared
from dgex_jax.data.probelist import read_probe_list
from dgex_jax.data.study import parse_study
from dgex_jax.errors import FormatError, PreparationError, StudyError
from dgex_jax.formats.gctx import Gctx, GctxWriter
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

EXACT = PrepareConfig(duplicates="all-pairs")
GEO_PARTS = ("tr", "va", "te")


@pytest.fixture
def landmarks(golden_raw) -> list[str]:
    """The probes of the recorded landmarks."""
    return [line.split("\t")[2] for line in golden_raw.landmarks.read_text().splitlines()]


@pytest.fixture
def raw(golden_raw, landmarks, tmp_path) -> GeoOnlyFiles:
    """The recorded GEO file with its landmark probes as a list."""
    path = tmp_path / "landmarks.txt"
    path.write_text("".join(f"{probe}\n" for probe in landmarks))
    return GeoOnlyFiles(golden_raw.geo, path)


def contents(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file, text as str."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            found[name] = values.astype(str) if values.dtype.kind == "S" else values

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_the_file_equals_the_rules_by_numpy_alone(run_prepare, raw, landmarks, tmp_path) -> None:
    path = tmp_path / "p.h5"
    report = run_prepare(raw, path, EXACT)
    data = contents(path)
    with h5py.File(raw.geo) as file:
        matrix = file["0/DATA/0/matrix"][:].astype(np.float64)
        probes = [one.decode().strip() for one in file["0/META/ROW/id"][:]]
        profiles = [one.decode().strip() for one in file["0/META/COL/id"][:]]
    assert sorted(data["landmarks"]) == sorted(landmarks)
    assert sorted([*data["landmarks"], *data["targets"]]) == sorted(probes)
    assert data["landmarks"].tolist() != landmarks
    columns = [probes.index(one) for one in (*data["landmarks"], *data["targets"])]
    values = matrix[[profiles.index(one) for one in data["GEO/profiles"]]][:, columns]
    assert len(values) == report.n_kept == 260
    quantile = np.sort(values, axis=1).mean(axis=0)
    normal = quantile[(rankdata(values, axis=1) - 1).astype(int)]
    scaled = (normal - normal.mean(axis=0)) / (normal.std(axis=0) + 1e-3)
    n = len(landmarks)
    np.testing.assert_allclose(data["quantile"], quantile, rtol=0, atol=1e-12)
    np.testing.assert_allclose(data["GEO/X"], scaled[:, :n], rtol=0, atol=1e-5)
    np.testing.assert_allclose(data["GEO/Y"], scaled[:, n:], rtol=0, atol=1e-5)
    np.testing.assert_allclose(data["GEO/Y_mean"], normal[:, n:].mean(axis=0), atol=1e-12)
    train = np.sort(normal[data["GEO/split/train"]][:, :n], axis=1).mean(axis=0)
    np.testing.assert_allclose(data["landmark_quantile"], train, rtol=0, atol=1e-12)
    for role in ("landmark", "target"):
        assert data[f"{role}_info/probes"].tolist() == data[f"{role}s"].tolist()
        for kind in ("symbol", "entrez"):
            assert set(data[f"{role}_info/{kind}"]) == {""}
    assert not data["target_info/copy_of_landmark"].any()
    n_targets = len(probes) - n
    assert np.bincount(data["target_info/half"])[1:].tolist() == [
        n_targets // 2,
        n_targets - n_targets // 2,
    ]
    with h5py.File(path) as file:
        assert {"1000G", "GTEx"}.isdisjoint(file)
        assert file.attrs["gene_ids"] == "probe"
        assert json.loads(file.attrs["data_sets"]) == ["GEO"]
        assert sorted(json.loads(file.attrs["raw_files"])) == ["geo", "landmarks"]
        assert dict(file["report"].attrs) == report.counts()
        assert not {"gtex_profiles", "1000g_profiles"} & set(file["report"].attrs)
    with pytest.raises(KeyError, match="'GTEx' is not one of tr, va, te"), open_prepared(path) as s:
        s.X("GTEx")
    with open_prepared(path) as study:
        assert (study.parts, study.gene_ids) == (GEO_PARTS, "probe")
        assert study.target_probes == tuple((one,) for one in study.targets)
        assert set(study.landmark_ensembl) == set(study.target_ensembl) == {""}
        rows = [study.Y(part) for part in GEO_PARTS]
        np.testing.assert_array_equal(np.concatenate(rows), data["GEO/Y"])


@pytest.mark.parametrize(
    "config",
    [PrepareConfig(), replace(EXACT, scale_on="train", partition="clustered")],
    ids=["original", "departures"],
)
def test_block_size_changes_no_byte(run_prepare, raw, tmp_path, config) -> None:
    written = set()
    for block_size in (7, 64, 1024):
        path = tmp_path / f"{block_size}.h5"
        run_prepare(raw, path, replace(config, block_size=block_size))
        written.add(path.read_bytes())
    assert len(written) == 1


def test_symbols_and_entrez_ids_of_both_files(run_prepare, raw, landmarks, tmp_path) -> None:
    """Of the landmarks' file first, of GEO where that says nothing; Ensembl-like ids are such."""
    named = "ENSG00000100000.3"
    with Gctx(raw.geo) as source:
        profiles, probes, values = source.profiles, list(source.genes), source.read()
    other = next(one for one in probes if one not in landmarks)
    probes[probes.index(other)] = named
    metadata = pd.DataFrame(
        {
            "pr_gene_symbol": [f"G{place}" for place in range(len(probes))],
            "pr_gene_id": [str(1 + place) for place in range(len(probes))],
        },
        index=pd.Index(probes, dtype=object),
    )
    with GctxWriter(tmp_path / "geo.gctx", profiles, probes, gene_metadata=metadata) as writer:
        writer.append(values)
    (tmp_path / "list.tsv").write_text(
        "pr_id\tpr_gene_id\tpr_gene_symbol\n"
        + "".join(f"{one}\t{9000 + n}\tL{n}\n" for n, one in enumerate(landmarks[1:]))
        + f"{landmarks[0]}\t-666\t-666\nnowhere_at\t5\tGONE\nnameless_at\n"
    )
    files = GeoOnlyFiles(tmp_path / "geo.gctx", tmp_path / "list.tsv")
    report = run_prepare(files, tmp_path / "p.h5", EXACT)
    with open_prepared(tmp_path / "p.h5") as study:
        symbols = dict(zip(study.landmarks, study.landmark_symbols, strict=True))
        entrez = dict(zip(study.landmarks, study.landmark_entrez, strict=True))
        for n, one in enumerate(landmarks[1:]):
            assert (symbols[one], entrez[one]) == (f"L{n}", str(9000 + n))
        place = probes.index(landmarks[0])
        assert (symbols[landmarks[0]], entrez[landmarks[0]]) == (f"G{place}", str(1 + place))
        for target, symbol, number in zip(
            study.targets, study.symbols, study.target_entrez, strict=True
        ):
            assert (symbol, number) == (f"G{probes.index(target)}", str(1 + probes.index(target)))
        assert [one for one in study.target_ensembl if one] == [named]
    data = contents(tmp_path / "p.h5")
    assert data["dropped/probes"].tolist() == ["nowhere_at", "nameless_at"]
    assert data["dropped/symbol"].tolist() == ["GONE", ""]
    assert set(data["dropped/ensembl"]) == {""}
    assert "dropped: 2 landmarks missing on the array: GONE, nameless_at" in report.lines()


def test_what_makes_no_study(run_prepare, raw, landmarks, golden_raw, tmp_path) -> None:
    with Gctx(raw.geo) as source:
        probes = source.genes
    everything = tmp_path / "all.txt"
    everything.write_text("\n".join(probes))
    cases = {
        golden_raw.thousand_genomes: (PreparationError, r"none of its \d+ landmark probes"),
        everything: (PreparationError, r"has all \d+ probes of .*geo\.gctx, none is left to infer"),
    }
    for path, (kind, cause) in cases.items():
        with pytest.raises(kind, match=cause) as caught:
            run_prepare(replace(raw, landmarks=path), tmp_path / "p.h5", EXACT)
        assert "\n" not in str(caught.value)
    with GctxWriter(tmp_path / "geo.gctx", ["a", "b"], [landmarks[0], "a,b"]) as writer:
        writer.append(np.ones((2, 2), np.float32))
    with pytest.raises(FormatError, match=r"geo\.gctx: probe id 'a,b' holds a comma"):
        run_prepare(replace(raw, geo=tmp_path / "geo.gctx"), tmp_path / "p.h5", EXACT)
    assert not (tmp_path / "p.h5").exists()


def test_study_files(tmp_path) -> None:
    study = {"name": "one", "title": "One"}
    files = {"geo": "g.gctx", "landmarks": "l.txt"}
    parsed = parse_study(study | {"files": files}, tmp_path)
    assert parsed.files == GeoOnlyFiles(tmp_path / "g.gctx", tmp_path / "l.txt")
    assert not parsed.simulated
    for key in ("gtex", "1000g", "targets"):
        missing = next(one for one in ("gtex", "1000g", "targets") if one != key)
        with pytest.raises(StudyError, match=rf"^files\.{missing}: is missing"):
            parse_study(study | {"files": files | {key: "x"}}, tmp_path)
    for key in files:
        with pytest.raises(StudyError, match=r"^files\.\w+: is missing"):
            parse_study(study | {"files": {key: "x"}}, tmp_path)
        with pytest.raises(StudyError, match=rf"^files\.{key}: is missing"):
            parse_study(study | {"files": files | {key: ""}}, tmp_path)
    five = files | {"gtex": "x", "1000g": "x", "targets": "x"}
    assert isinstance(parse_study(study | {"files": five}, tmp_path).files, RawFiles)


def test_the_command_line(raw, golden_raw, tmp_path, capsys) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        f'name = "alone"\ntitle = "Alone"\n[files]\ngeo = "{raw.geo}"\n'
        'landmarks = "landmarks.txt"\n[prepare]\nduplicates = "none"\n'
    )
    assert main(["prepare", str(study), "-q", "-o", str(tmp_path / "file.h5")]) == 0
    assert "no RNA-seq: a study of arrays alone, its genes are probes" in capsys.readouterr().out
    flags = ["--geo", str(raw.geo), "--landmarks", str(raw.landmarks)]
    more = ["-q", "-o", str(tmp_path / "flags.h5")]
    assert main(["prepare", *flags, "--duplicates", "none", *more]) == 0
    one, other = contents(tmp_path / "file.h5"), contents(tmp_path / "flags.h5")
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    capsys.readouterr()
    for given, cause in (
        (flags[:2], "no study file, and --gtex, --1000g, --landmarks, --targets missing"),
        ([*flags, "--gtex", str(golden_raw.gtex)], "no study file, and --1000g, --targets missing"),
        ([str(study), *flags], "give a study file or"),
    ):
        assert main(["prepare", *given, "-o", str(tmp_path / "no.h5")]) == 2
        error = capsys.readouterr().err
        assert cause in error
        assert error.count("\n") == 1
    assert not (tmp_path / "no.h5").exists()


def test_reproduce_refuses_it_in_one_line(tmp_path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('name = "a"\ntitle = "A"\n[files]\ngeo = "g"\nlandmarks = "l"\n')
    with pytest.raises(StudyError, match=r"study\.toml: is a study of arrays alone; ") as caught:
        open_workspace(str(study), tmp_path)
    assert "\n" not in str(caught.value)


def test_simulated_arrays_stay_simulated(tmp_path, raw, landmarks) -> None:
    with Gctx(raw.geo) as source:
        profiles, probes, values = source.profiles, source.genes, source.read()
    made = "simulated by dgex_jax.data.simulation"
    with GctxWriter(tmp_path / "geo.gctx", profiles, probes, src=made) as writer:
        writer.append(values)
    words = ["--geo", str(tmp_path / "geo.gctx"), "--landmarks", str(raw.landmarks), "-q"]
    words += ["--duplicates", "none", "-o", str(tmp_path / "p.h5")]
    assert main(["prepare", *words]) == 0
    with open_prepared(tmp_path / "p.h5") as study:
        assert study.simulated
        assert sorted(study.landmarks) == sorted(landmarks)


@pytest.mark.long
def test_real_arrays_with_the_landmarks_of_a_real_l1000_file(run_prepare, shared, tmp_path) -> None:
    data = shared / "data"
    raw = GeoOnlyFiles(
        data / "human_mini" / "geo_u133a_n529x22215.gctx",
        data / "l1000" / "LJP009_QNORM_n371x978.gct",
    )
    # Without the search for duplicates, which has a test of its own on this file.
    none = PrepareConfig(duplicates="none")
    report = run_prepare(raw, tmp_path / "p.h5", none, simulated=False)
    assert (report.n_landmarks, report.n_targets, report.dropped) == (978, 21_237, ())
    with open_prepared(tmp_path / "p.h5") as study:
        assert [study.n_profiles(part) for part in study.parts] == [423, 53, 53]
        # Every landmark has its Entrez id from the L1000 file, GEO's file has none for the others.
        assert len(set(study.landmark_entrez) - {""}) == 978
        assert set(study.target_entrez) == {""}
        assert (
            dict(zip(study.landmarks, study.landmark_symbols, strict=True))["200814_at"] == "PSME1"
        )
        assert (np.diff(study.landmark_quantile) >= 0).all()
        values = np.concatenate([study.X(part) for part in study.parts])
        np.testing.assert_allclose(values.mean(axis=0, dtype=np.float64), 0.0, atol=1e-6)
        with Gctx(raw.geo) as geo:
            other = read_probe_list(data / "formats" / "modzs_n272x978.gctx", geo)
        assert set(other.probes) == set(study.landmarks)
        known = zip(study.landmarks, study.landmark_entrez, strict=True)
        assert other.annotation.entrez == dict(known)
