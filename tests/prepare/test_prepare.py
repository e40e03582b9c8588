"""Whole preparations: the original's numbers, what is recorded, and errors that leave nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.stats import rankdata

from dgex_jax.cli import main
from dgex_jax.config import PrepareConfig
from dgex_jax.errors import DgexError, FormatError, PreparationError
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import GctxWriter
from dgex_jax.parts import ARRAYS_ALONE, PAPER, Parts
from dgex_jax.prepare import normalize, raw, split
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.probelist import read_probe_list
from dgex_jax.rawfiles import GeoOnlyFiles, RawFiles
from tests.prepare.checks import assert_same, datasets, refused

GROUPS = {
    "compendium": ("geo", "profiles"),
    "sets/GTEx": ("gtex", "gtex_samples"),
    "sets/1000G": ("kg", "kg_samples"),
}
EXACT = PrepareConfig(duplicates="all-pairs")
QUICK = PrepareConfig(duplicates="none")


def _by_id(path: Path) -> dict[str, np.ndarray]:
    """X and Y of each group with rows and columns in order of their ids."""
    data = datasets(path)
    genes = {"X": np.argsort(data["landmarks"]), "Y": np.argsort(data["targets"])}
    return {
        f"{group}/{kind}": data[f"{group}/{kind}"][np.argsort(data[f"{group}/profiles"])][
            :, columns
        ]
        for group in GROUPS
        for kind, columns in genes.items()
    }


def test_recorded_study_equals_the_original(run_prepare, golden_raw, expected, tmp_path) -> None:
    report = run_prepare(golden_raw, tmp_path / "prepared.h5")
    data = datasets(tmp_path / "prepared.h5")

    def places(name: str, wanted: str) -> list[int]:
        ids = list(data[name])
        assert len(ids) == len(expected[wanted])
        return [ids.index(i) for i in expected[wanted]]

    columns = {"X": places("landmarks", "landmarks"), "Y": places("targets", "targets")}
    for group, (prefix, ids) in GROUPS.items():
        rows = places(f"{group}/profiles", ids)
        for kind in "XY":
            values = data[f"{group}/{kind}"]
            assert values.dtype == np.float32
            wanted = expected[f"{prefix}_{kind}"]
            np.testing.assert_allclose(values[rows][:, columns[kind]], wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(data["quantile"], expected["quantile"], rtol=0, atol=1e-12)
    counts = report.counts
    assert (counts["geo_profiles_kept"], counts["geo_close_pairs"]) == (260, 43)
    assert "geo_close_pairs_straddling_clusters" not in counts
    assert (counts["landmarks"], counts["targets"]) == (20, 45)
    read = {"geo_profiles_read": 300, "gtex_profiles": 60, "1000g_profiles": 30}
    assert read.items() <= counts.items()
    copies = [target in data["landmarks"] for target in data["targets"]]
    assert data["target_info/copy_of_landmark"].tolist() == copies
    assert report.counts["targets_copying_a_landmark"] == sum(copies) > 0


@pytest.mark.parametrize("files", ["golden_raw", "alone"])
@pytest.mark.parametrize(
    "config", [PrepareConfig(), replace(EXACT, scale_on="train", partition="clustered")]
)
def test_block_size_changes_no_byte(
    run_prepare, files, request, tmp_path, config, monkeypatch
) -> None:
    # A sample smaller than GEO-tr, so that its draw counts as well.
    monkeypatch.setattr(split, "MOST_PROFILES", 50)
    written = set()
    for block_size in (5, 64, 1024):
        output = tmp_path / f"{block_size}.h5"
        files_of = request.getfixturevalue(files)
        run_prepare(files_of, output, replace(config, block_size=block_size))
        written.add(output.read_bytes())
    assert len(written) == 1


def test_order_is_the_seeds_values_are_not(run_prepare, golden_raw, tmp_path) -> None:
    first, second = tmp_path / "1.h5", tmp_path / "2.h5"
    run_prepare(golden_raw, first)
    run_prepare(golden_raw, second, replace(EXACT, seed=2))
    one, two = datasets(first), datasets(second)
    for name in ("landmarks", "targets", "compendium/profiles"):
        assert sorted(one[name]) == sorted(two[name])
        assert one[name].tolist() != two[name].tolist()
    left, right = _by_id(first), _by_id(second)
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name])


def test_faithful_rule_counts_what_clusters_split(run_prepare, golden_raw, tmp_path) -> None:
    report = run_prepare(golden_raw, tmp_path / "p.h5", PrepareConfig())
    assert report.counts["geo_close_pairs"] == 43
    straddling = report.counts["geo_close_pairs_straddling_clusters"]
    assert 0 <= straddling <= 43
    assert 260 <= report.counts["geo_profiles_kept"] <= 260 + straddling
    assert report.counts["geo_profiles_read"] == 300


def test_no_rule_keeps_all_and_needs_only_the_genes_probes(
    run_prepare, change_geo, golden_raw, tmp_path
) -> None:
    mapped = (golden_raw.landmarks.read_text() + golden_raw.targets.read_text()).replace(",", "\t")

    def spoil(values, _profiles, genes):
        values[:, [g not in mapped.split() for g in genes]] = np.nan
        assert np.isnan(values).any()
        return values

    changed = change_geo(spoil)
    report = run_prepare(changed, tmp_path / "spoilt.h5", QUICK)
    assert report.counts["geo_profiles_kept"] == 300
    assert "geo_close_pairs" not in report.counts
    run_prepare(golden_raw, tmp_path / "whole.h5", QUICK)
    assert_same(tmp_path / "spoilt.h5", tmp_path / "whole.h5")
    text = r"geo.gctx: \d+ missing and 0 infinite"
    refused(lambda: run_prepare(changed, tmp_path / "refused.h5"), text)


@pytest.mark.parametrize("scale_on", ["train", "all"])
def test_only_without_leak_are_training_values_blind_to_the_test_set(
    run_prepare, disturb, golden_raw, tmp_path, scale_on
) -> None:
    config = replace(QUICK, scale_on=scale_on)
    run_prepare(golden_raw, tmp_path / "before.h5", config)
    old = datasets(tmp_path / "before.h5")
    unseen = np.concatenate([old["compendium/split/validation"], old["compendium/split/test"]])
    changed = disturb(set(old["compendium/profiles"][unseen]))
    run_prepare(changed, tmp_path / "after.h5", config)
    new = datasets(tmp_path / "after.h5")
    np.testing.assert_array_equal(new["compendium/profiles"], old["compendium/profiles"])
    train = old["compendium/split/train"]
    same = {
        name: np.array_equal(old[name], new[name])
        for name in ("quantile", "sets/GTEx/Y", "compendium/Y_mean", "compendium/X_sd")
    }
    same |= {
        n: np.array_equal(old[n][train], new[n][train]) for n in ("compendium/X", "compendium/Y")
    }
    assert set(same.values()) == {scale_on == "train"}, same
    assert (old["compendium/X"][unseen] != new["compendium/X"][unseen]).any()


def test_scaled_on_train_gives_train_unit_scale(run_prepare, golden_raw, tmp_path) -> None:
    run_prepare(golden_raw, tmp_path / "p.h5", replace(EXACT, scale_on="train"))
    with open_prepared(tmp_path / "p.h5") as study:
        for part in ("tr", "GTEx", "1000G"):
            values = study.Y(part).astype(np.float64)
            np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-6)
            assert (np.abs(values.std(axis=0) - 1.0) < 0.01).all()
        assert np.abs(study.Y("te").mean(axis=0)).max() > 0.01


def test_what_is_recorded_beside_the_values(run_prepare, golden_raw, tmp_path) -> None:
    output = tmp_path / "p.h5"
    report = run_prepare(golden_raw, output, settings={"study": {"file": Path("a.toml")}})
    with h5py.File(output) as file:
        attributes = dict(file.attrs)
        read = {
            name: json.loads(attributes[name])
            for name in ("parts", "settings", "raw_files", "prepare", "versions")
        }
        assert attributes["format_version"] == 3
        assert Parts.from_json(read["parts"]) == PAPER
        assert attributes["gene_ids"] == "ensembl"
        assert (attributes["study"], attributes["title"]) == ("made", "A made study")
        assert bool(attributes["simulated"]) is True
        assert read["settings"] == {"study": {"file": "a.toml"}}
        for role in ("geo", "gtex", "thousand_genomes", "landmarks", "targets"):
            path = getattr(golden_raw, role)
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            assert read["raw_files"][role] == {"name": path.name, "sha256": checksum}
        assert read["prepare"] == {
            "duplicates": "all-pairs",
            "scale_on": "all",
            "partition": "random",
            "seed": 1,
            "accept_wrong_dimensions": False,
            "normalize": "original",
            "values": "log2",
        }
        assert read["versions"]["numpy"] == np.__version__
        assert dict(file["report"].attrs) == report.counts
        assert file["compendium/X"].fletcher32
        assert str(tmp_path) not in str(attributes)
        parts = [file[f"compendium/split/{part}"][:] for part in ("train", "validation", "test")]
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(260))
        np.testing.assert_array_equal(file["target_info/half"][:], [1] * 22 + [2] * 23)
    with open_prepared(output) as study:
        assert study.settings == read["settings"]


def test_dropped_and_partial_genes_are_written_and_told(
    run_prepare, edit_text, golden_raw, tmp_path
) -> None:
    symbol, landmark, probes = golden_raw.landmarks.read_text().splitlines()[3].split("\t")
    changed = replace(
        golden_raw,
        gtex=edit_text(
            golden_raw.gtex,
            lambda lines: [
                lines[0],
                f"{int(lines[1].split()[0]) - 1}\t60",
                *(line for line in lines[2:] if not line.startswith(landmark)),
            ],
        ),
        targets=edit_text(golden_raw.targets, lambda lines: [f"{lines[0]},nowhere_at", *lines[1:]]),
    )
    report = run_prepare(changed, tmp_path / "p.h5")
    lines = "\n".join(report.lines())
    assert f"dropped: 1 landmark missing in GTEx: {symbol}" in lines
    assert "lacks nowhere_at" in lines
    data = datasets(tmp_path / "p.h5")
    n = 1 + sum(
        line.split("\t")[1] == landmark for line in golden_raw.targets.read_text().splitlines()
    )
    assert data["dropped/role"].tolist() == ["landmark", "target"][:n]
    assert data["dropped/ensembl"].tolist() == [landmark] * n
    assert data["dropped/cause"].tolist() == ["missing in GTEx"] * n
    assert data["dropped/probes"][0] == probes
    assert data["partial/missing_probes"].tolist() == ["nowhere_at"]
    assert len(data["landmarks"]) == report.counts["landmarks"] == 19


def test_constant_genes_are_zero(run_prepare, change_geo, tmp_path) -> None:
    """All genes of a profile tie, so every gene is constant on GEO."""
    flat = change_geo(lambda values, *_: np.broadcast_to(values[:, :1], values.shape))
    run_prepare(flat, tmp_path / "p.h5", QUICK)
    with open_prepared(tmp_path / "p.h5") as study:
        assert np.abs(study.X("tr")).max() < 1e-9


def test_wide_values_are_kept_in_float64(run_prepare, change_geo, tmp_path) -> None:
    """Values that differ only beyond float32 still rank differently."""
    squeezed = change_geo(lambda values, *_: 1.0 + values * 1e-12, np.float64)
    run_prepare(squeezed, tmp_path / "p.h5", QUICK)
    assert len(np.unique(datasets(tmp_path / "p.h5")["quantile"])) == 65


def test_progress_names_every_step(run_prepare, golden_raw, tmp_path, capsys) -> None:
    seen: dict[str, tuple[int, int]] = {}
    run_prepare(
        golden_raw,
        tmp_path / "p.h5",
        replace(EXACT, partition="clustered"),
        progress=lambda step, done, total: seen.update({step: (done, total)}),
    )
    assert {"reading GEO", "comparing profiles", "ranking GEO", "writing GTEx"} <= set(seen)
    assert {"ranking a sample of training", "clustering targets"} <= set(seen)
    assert all(done == total for done, total in seen.values())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("is_needed", [True, False])
def test_missing_rna_values_matter_only_in_needed_genes(
    run_prepare, edit_text, golden_raw, tmp_path, is_needed
) -> None:
    mapped = golden_raw.landmarks.read_text() + golden_raw.targets.read_text()

    def blank(lines: list[str]) -> list[str]:
        gene = [line.split(".")[0] in mapped for line in lines].index(is_needed, 1)
        cells = lines[gene].split("\t")
        cells[10] = "NA"
        return [*lines[:gene], "\t".join(cells), *lines[gene + 1 :]]

    path = edit_text(golden_raw.thousand_genomes, blank)
    changed = replace(golden_raw, thousand_genomes=path)
    if is_needed:
        text = r"1 missing .* profile 'HG00006', gene 'ENSG"
        refused(lambda: run_prepare(changed, tmp_path / "p.h5"), text)
    else:
        run_prepare(changed, tmp_path / "p.h5")


def _left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_errors_leave_nothing_and_an_older_study_stays(
    run_prepare, change_geo, golden_raw, tmp_path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    output = folder / "p.h5"

    def spoil(values, _profiles, _genes):
        values[123, 7] = np.nan
        return values

    spoilt = change_geo(spoil)
    text = r"1 missing and 0 infinite values; the first is nan"
    refused(lambda: run_prepare(spoilt, output), text)
    assert _left_over(folder) == []
    run_prepare(golden_raw, output)
    before = output.read_bytes()
    refused(lambda: run_prepare(spoilt, output), text)

    def interrupt(*_news) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_prepare(golden_raw, output, progress=interrupt)
    assert _left_over(folder) == ["p.h5", "p.h5.provenance.json"]
    assert output.read_bytes() == before


def test_too_few_profiles(run_prepare, change_geo, tmp_path) -> None:
    copies = change_geo(lambda v, *_: np.broadcast_to(v[:1], v.shape) + np.float32(0))
    text = "1 profiles are left"
    refused(lambda: run_prepare(copies, tmp_path / "p.h5"), text, PreparationError)


def test_places_that_can_not_be_written(
    run_prepare, change_geo, golden_raw, tmp_path, monkeypatch
) -> None:
    nowhere = tmp_path / "nowhere" / "p.h5"
    refused(lambda: run_prepare(golden_raw, nowhere), "nowhere", DgexError)
    copied = change_geo()
    content = copied.geo.read_bytes()
    text = r"geo\.gctx: is a raw file"
    refused(lambda: run_prepare(copied, copied.geo), text, PreparationError)
    assert copied.geo.read_bytes() == content

    def full(*_arguments) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "p.h5"
    with monkeypatch.context() as patched:
        patched.setattr(normalize.RowStore, "append", full)
        text = r"p\.h5: can't be prepared: No space left"
        refused(lambda: run_prepare(golden_raw, output), text, PreparationError)
    usage = raw.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(raw.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    text = r"needs about .* GiB"
    refused(lambda: run_prepare(golden_raw, output), text, PreparationError)
    assert _left_over(tmp_path) == ["raw"]


def test_arrays_alone_equal_the_rules_by_numpy_alone(
    run_prepare, alone, landmarks, tmp_path
) -> None:
    """Probes as genes, no RNA-seq (paper section 3.4)."""
    path = tmp_path / "p.h5"
    report = run_prepare(alone, path, EXACT)
    data = datasets(path)
    with h5py.File(alone.geo) as file:
        matrix = file["0/DATA/0/matrix"][:].astype(np.float64)
        probes = [one.decode().strip() for one in file["0/META/ROW/id"][:]]
        profiles = [one.decode().strip() for one in file["0/META/COL/id"][:]]
    assert sorted(data["landmarks"]) == sorted(landmarks)
    assert sorted([*data["landmarks"], *data["targets"]]) == sorted(probes)
    assert data["landmarks"].tolist() != landmarks
    columns = [probes.index(one) for one in (*data["landmarks"], *data["targets"])]
    values = matrix[[profiles.index(one) for one in data["compendium/profiles"]]][:, columns]
    assert len(values) == report.counts["geo_profiles_kept"] == 260
    quantile = np.sort(values, axis=1).mean(axis=0)
    normal = quantile[(rankdata(values, axis=1) - 1).astype(int)]
    scaled = (normal - normal.mean(axis=0)) / (normal.std(axis=0) + 1e-3)
    n = len(landmarks)
    np.testing.assert_allclose(data["quantile"], quantile, rtol=0, atol=1e-12)
    np.testing.assert_allclose(data["compendium/X"], scaled[:, :n], rtol=0, atol=1e-5)
    np.testing.assert_allclose(data["compendium/Y"], scaled[:, n:], rtol=0, atol=1e-5)
    np.testing.assert_allclose(data["compendium/Y_mean"], normal[:, n:].mean(axis=0), atol=1e-12)
    train = np.sort(normal[data["compendium/split/train"]][:, :n], axis=1).mean(axis=0)
    np.testing.assert_allclose(data["landmark_quantile"], train, rtol=0, atol=1e-12)
    for role in ("landmark", "target"):
        assert data[f"{role}_info/probes"].tolist() == data[f"{role}s"].tolist()
        assert {*data[f"{role}_info/symbol"], *data[f"{role}_info/entrez"]} == {""}
    assert not data["target_info/copy_of_landmark"].any()
    first = (len(probes) - n) // 2
    halves = np.bincount(data["target_info/half"])[1:].tolist()
    assert halves == [first, len(probes) - n - first]
    with h5py.File(path) as file:
        assert "sets" not in file
        assert file.attrs["gene_ids"] == "probe"
        assert Parts.from_json(json.loads(file.attrs["parts"])) == ARRAYS_ALONE
        assert sorted(json.loads(file.attrs["raw_files"])) == ["geo", "landmarks"]
        assert dict(file["report"].attrs) == report.counts
        assert not {"gtex_profiles", "1000g_profiles"} & set(file["report"].attrs)
    with open_prepared(path) as study:
        assert (tuple(study.parts), study.gene_ids) == (("tr", "va", "te"), "probe")
        assert study.target_probes == tuple((one,) for one in study.targets)
        assert set(study.landmark_ensembl) == set(study.target_ensembl) == {""}
        rows = [study.Y(part) for part in study.parts]
        np.testing.assert_array_equal(np.concatenate(rows), data["compendium/Y"])
        with pytest.raises(KeyError, match="'GTEx' is not one of tr, va, te"):
            study.X("GTEx")


def test_arrays_alone_by_the_command_line(alone, golden_raw, tmp_path, capsys) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        f'name = "alone"\ntitle = "Alone"\n[files]\ngeo = "{alone.geo}"\n'
        'landmarks = "landmarks.txt"\n[prepare]\nduplicates = "none"\n'
    )
    assert main(["prepare", str(study), "-q", "-o", str(tmp_path / "file.h5")]) == 0
    assert "no further set; rows: 20 landmarks, " in capsys.readouterr().out
    flags = ["--geo", str(alone.geo), "--landmarks", str(alone.landmarks)]
    more = ["-q", "-o", str(tmp_path / "flags.h5")]
    assert main(["prepare", *flags, "--duplicates", "none", *more]) == 0
    assert_same(tmp_path / "file.h5", tmp_path / "flags.h5")
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


def test_simulated_arrays_stay_simulated(tmp_path, change_geo, alone, landmarks) -> None:
    geo = change_geo(src="simulated by dgex_jax.data.simulation").geo
    words = ["--geo", str(geo), "--landmarks", str(alone.landmarks), "-q"]
    words += ["--duplicates", "none", "-o", str(tmp_path / "p.h5")]
    assert main(["prepare", *words]) == 0
    with open_prepared(tmp_path / "p.h5") as study:
        assert study.simulated
        assert sorted(study.landmarks) == sorted(landmarks)


def test_what_makes_no_study_of_arrays(run_prepare, alone, landmarks, golden_raw, tmp_path) -> None:
    with Gctx(alone.geo) as source:
        (tmp_path / "all.txt").write_text("\n".join(source.genes))
    with GctxWriter(tmp_path / "geo.gctx", ["a", "b"], [landmarks[0], "a,b"]) as writer:
        writer.append(np.ones((2, 2), np.float32))
    for change, kind, text in (
        ({"landmarks": golden_raw.thousand_genomes}, PreparationError, "none of its .* landmark p"),
        (
            {"landmarks": tmp_path / "all.txt"},
            PreparationError,
            r"has all \d+ probes of .*geo\.gctx, none is left to infer",
        ),
        ({"geo": tmp_path / "geo.gctx"}, FormatError, r"geo\.gctx: probe id 'a,b' holds a comma"),
    ):
        files = replace(alone, **change)
        refused(lambda f=files: run_prepare(f, tmp_path / "p.h5", EXACT), text, kind)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.long
def test_real_files_of_three_platforms(run_prepare, shared, tmp_path) -> None:
    data, genes = shared / "data" / "human_mini", shared / "genes"
    files = RawFiles(
        data / "geo_u133a_n529x22215.gctx",
        data / "tcga_rnaseq_n148x9419.gct.gz",
        data / "lcl_rnaseq_n69x17310.txt.gz",
        genes / "map_lm.txt",
        genes / "map_tg.txt",
    )
    report = run_prepare(files, tmp_path / "p.h5", simulated=False)
    counts = report.counts
    assert (counts["geo_profiles_kept"], counts["geo_close_pairs"]) == (529, 0)
    assert (counts["landmarks"], counts["targets"]) == (854, 7462)
    assert counts["targets_copying_a_landmark"] == 411
    assert [gene.symbol for gene in report.partial] == ["GAPDH", "ACTB", "STAT1"]
    assert len(report.dropped) == 943 - 854 + 9520 - 7462
    with open_prepared(tmp_path / "p.h5") as study:
        assert not study.simulated
        assert [study.n_profiles(part) for part in ("tr", "va", "te")] == [423, 53, 53]
        geo = np.concatenate([study.X(part) for part in ("tr", "va", "te")])
        for values in (geo, study.X("1000G"), study.Y("GTEx")):
            np.testing.assert_allclose(values.mean(axis=0, dtype=np.float64), 0.0, atol=1e-6)


@pytest.mark.long
def test_real_arrays_with_the_landmarks_of_a_real_l1000_file(run_prepare, shared, tmp_path) -> None:
    data = shared / "data"
    geo = data / "human_mini" / "geo_u133a_n529x22215.gctx"
    files = GeoOnlyFiles(geo, data / "l1000" / "LJP009_QNORM_n371x978.gct")
    # Without the search for duplicates, which has a test of its own on this file.
    report = run_prepare(files, tmp_path / "p.h5", QUICK, simulated=False)
    assert (report.counts["landmarks"], report.counts["targets"]) == (978, 21_237)
    assert report.dropped == ()
    with open_prepared(tmp_path / "p.h5") as study:
        assert [study.n_profiles(part) for part in study.parts] == [423, 53, 53]
        # Every landmark has its Entrez id from the L1000 file, GEO's file has none for the others.
        assert len(set(study.landmark_entrez) - {""}) == 978
        assert set(study.target_entrez) == {""}
        symbols = dict(zip(study.landmarks, study.landmark_symbols, strict=True))
        assert symbols["200814_at"] == "PSME1"
        assert (np.diff(study.landmark_quantile) >= 0).all()
        values = np.concatenate([study.X(part) for part in study.parts])
        np.testing.assert_allclose(values.mean(axis=0, dtype=np.float64), 0.0, atol=1e-6)
        with Gctx(geo) as source:
            other = read_probe_list(data / "formats" / "modzs_n272x978.gctx", source)
        assert set(other.probes) == set(study.landmarks)
        known = zip(study.landmarks, study.landmark_entrez, strict=True)
        assert other.annotation.entrez == dict(known)
