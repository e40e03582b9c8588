from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dgex_jax.config import PrepareConfig, RawFiles
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import FormatError

GROUPS = {
    "GEO": ("geo", "profiles"),
    "GTEx": ("gtex", "gtex_samples"),
    "1000G": ("kg", "kg_samples"),
}
EXACT = PrepareConfig(duplicates="all-pairs")


def _datasets(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return found


def _by_id(path: Path) -> dict[str, np.ndarray]:
    """X and Y of each group with rows and columns in order of their ids."""
    data = _datasets(path)
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
    data = _datasets(tmp_path / "prepared.h5")

    def places(name: str, wanted: str) -> list[int]:
        ids = list(data[name].astype(str))
        assert len(ids) == len(expected[wanted])
        return [ids.index(i) for i in expected[wanted]]

    columns = {"X": places("landmarks", "landmarks"), "Y": places("targets", "targets")}
    for group, (prefix, ids) in GROUPS.items():
        rows = places(f"{group}/profiles", ids)
        for kind in "XY":
            values = data[f"{group}/{kind}"]
            assert values.dtype == np.float32
            np.testing.assert_allclose(
                values[rows][:, columns[kind]], expected[f"{prefix}_{kind}"], rtol=0, atol=1e-5
            )
    np.testing.assert_allclose(data["quantile"], expected["quantile"], rtol=0, atol=1e-12)
    assert (report.n_kept, report.n_close_pairs, report.n_straddling) == (260, 43, None)
    assert (report.n_landmarks, report.n_targets) == (20, 45)
    assert report.profiles == {"GEO": 300, "GTEx": 60, "1000G": 30}
    landmarks, targets = data["landmarks"].tolist(), data["targets"].tolist()
    copies = [target in landmarks for target in targets]
    assert data["target_info/copy_of_landmark"].tolist() == copies
    assert report.n_copies == sum(copies) > 0


@pytest.mark.parametrize("config", [PrepareConfig(), PrepareConfig(scale_on="train")])
def test_block_size_changes_no_byte(run_prepare, golden_raw, tmp_path, config) -> None:
    sums = set()
    for block_size in (5, 64, 1024):
        output = tmp_path / f"{block_size}.h5"
        run_prepare(golden_raw, output, replace(config, block_size=block_size))
        sums.add(hashlib.sha256(output.read_bytes()).hexdigest())
    assert len(sums) == 1


def test_order_of_genes_and_profiles_is_the_seeds_values_are_not(
    run_prepare, golden_raw, tmp_path
) -> None:
    first, second = tmp_path / "1.h5", tmp_path / "2.h5"
    run_prepare(golden_raw, first)
    run_prepare(golden_raw, second, replace(EXACT, seed=2))
    one, two = _datasets(first), _datasets(second)
    for name in ("landmarks", "targets", "GEO/profiles"):
        assert sorted(one[name]) == sorted(two[name])
        assert one[name].tolist() != two[name].tolist()
    left, right = _by_id(first), _by_id(second)
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name])


def test_faithful_rule_counts_what_clusters_split(run_prepare, golden_raw, tmp_path) -> None:
    report = run_prepare(golden_raw, tmp_path / "p.h5", PrepareConfig())
    assert report.n_close_pairs == 43
    assert 0 <= report.n_straddling <= 43
    assert 260 <= report.n_kept <= 260 + report.n_straddling
    assert report.profiles["GEO"] == 300


def test_no_rule_keeps_all_and_needs_only_the_genes_probes(
    run_prepare, change_geo, golden_raw, tmp_path
) -> None:
    mapped = {
        probe
        for path in (golden_raw.landmarks, golden_raw.targets)
        for line in path.read_text().splitlines()
        for probe in line.split("\t")[2].split(",")
    }

    def spoil(values, _profiles, genes):
        values[:, [g not in mapped for g in genes]] = np.nan
        assert np.isnan(values).any()
        return values

    raw = change_geo(golden_raw, tmp_path / "raw", spoil)
    none = PrepareConfig(duplicates="none")
    report = run_prepare(raw, tmp_path / "spoilt.h5", none)
    assert (report.n_kept, report.n_close_pairs) == (300, None)
    run_prepare(golden_raw, tmp_path / "whole.h5", none)
    for name, values in _by_id(tmp_path / "whole.h5").items():
        np.testing.assert_array_equal(values, _by_id(tmp_path / "spoilt.h5")[name])
    with pytest.raises(FormatError, match=r"geo.gctx: \d+ missing and 0 infinite"):
        run_prepare(raw, tmp_path / "refused.h5")


@pytest.mark.parametrize("scale_on", ["train", "all"])
def test_only_without_leak_are_training_values_blind_to_the_test_set(
    run_prepare, change_geo, golden_raw, tmp_path, scale_on
) -> None:
    config = PrepareConfig(duplicates="none", scale_on=scale_on)
    before, after = tmp_path / "before.h5", tmp_path / "after.h5"
    run_prepare(golden_raw, before, config)
    old = _datasets(before)
    unseen = np.concatenate([old["GEO/split/validation"], old["GEO/split/test"]])
    others = set(old["GEO/profiles"][unseen].astype(str))

    def disturb(values, profiles, _genes):
        rows = [p in others for p in profiles]
        values[rows] = np.exp(values[rows, ::-1] / 3.0)
        return values

    run_prepare(change_geo(golden_raw, tmp_path / "raw", disturb), after, config)
    new = _datasets(after)
    np.testing.assert_array_equal(new["GEO/profiles"], old["GEO/profiles"])
    train = old["GEO/split/train"]
    kept = {
        "quantile": (old["quantile"], new["quantile"]),
        "GTEx": (old["GTEx/Y"], new["GTEx/Y"]),
        **{name: (old[f"GEO/{name}"][train], new[f"GEO/{name}"][train]) for name in "XY"},
        "mean": (old["GEO/Y_mean"], new["GEO/Y_mean"]),
        "sd": (old["GEO/X_sd"], new["GEO/X_sd"]),
    }
    same = {name: np.array_equal(*pair) for name, pair in kept.items()}
    assert set(same.values()) == {scale_on == "train"}, same
    assert (old["GEO/X"][unseen] != new["GEO/X"][unseen]).any()


def test_scaled_on_train_gives_train_unit_scale(run_prepare, golden_raw, tmp_path) -> None:
    run_prepare(golden_raw, tmp_path / "p.h5", replace(EXACT, scale_on="train"))
    with open_prepared(tmp_path / "p.h5") as study:
        for part, tolerance in (("tr", 1e-6), ("GTEx", 1e-6), ("1000G", 1e-6)):
            values = study.Y(part).astype(np.float64)
            np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=tolerance)
            assert (np.abs(values.std(axis=0) - 1.0) < 0.01).all()
        assert np.abs(study.Y("te").mean(axis=0)).max() > 0.01


def test_what_is_recorded_beside_the_values(run_prepare, golden_raw, tmp_path) -> None:
    output = tmp_path / "p.h5"
    report = run_prepare(golden_raw, output, settings={"study": {"file": Path("a.toml")}})
    with h5py.File(output) as file:
        attributes = dict(file.attrs)
        assert attributes["format_version"] == 2
        assert json.loads(attributes["data_sets"]) == ["GEO", "1000G", "GTEx"]
        assert attributes["gene_ids"] == "ensembl"
        assert (attributes["study"], attributes["title"]) == ("made", "A made study")
        assert bool(attributes["simulated"]) is True
        assert json.loads(attributes["settings"]) == {"study": {"file": "a.toml"}}
        raw = json.loads(attributes["raw_files"])
        for role in ("geo", "gtex", "thousand_genomes", "landmarks", "targets"):
            path = getattr(golden_raw, role)
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            assert raw[role] == {"name": path.name, "sha256": checksum}
        assert json.loads(attributes["prepare"])["duplicates"] == "all-pairs"
        assert json.loads(attributes["versions"])["numpy"] == np.__version__
        assert dict(file["report"].attrs) == report.counts()
        assert file["GEO/X"].fletcher32
        assert str(tmp_path) not in str(attributes)
        train, validation, test = (
            file[f"GEO/split/{p}"][:] for p in ("train", "validation", "test")
        )
        np.testing.assert_array_equal(np.concatenate([train, validation, test]), np.arange(260))
        np.testing.assert_array_equal(file["target_info/half"][:], [1] * 22 + [2] * 23)


def test_dropped_and_partial_genes_are_written_and_told(
    run_prepare, edit_text, golden_raw, tmp_path
) -> None:
    landmark = golden_raw.landmarks.read_text().splitlines()[3].split("\t")
    raw = replace(
        golden_raw,
        gtex=edit_text(
            golden_raw.gtex,
            tmp_path / "raw",
            lambda lines: [
                lines[0],
                f"{int(lines[1].split()[0]) - 1}\t60",
                *(line for line in lines[2:] if not line.startswith(landmark[1])),
            ],
        ),
        targets=tmp_path / "raw" / "targets.txt",
    )
    targets = golden_raw.targets.read_text().splitlines()
    targets[0] += ",nowhere_at"
    raw.targets.write_text("\n".join(targets) + "\n")
    output = tmp_path / "p.h5"
    report = run_prepare(raw, output)
    lines = "\n".join(report.lines())
    assert f"dropped: 1 landmark missing in GTEx: {landmark[0]}" in lines
    assert "lacks nowhere_at" in lines
    data = _datasets(output)
    dropped = [
        data[f"dropped/{field}"].astype(str).tolist() for field in ("role", "ensembl", "cause")
    ]
    same_id = [line for line in targets if line.split("\t")[1] == landmark[1]]
    assert dropped == [
        ["landmark", "target"][: 1 + len(same_id)],
        [landmark[1]] * (1 + len(same_id)),
        ["missing in GTEx"] * (1 + len(same_id)),
    ]
    assert data["partial/missing_probes"].tolist() == [b"nowhere_at"]
    assert len(data["landmarks"]) == report.n_landmarks == 19


def test_constant_genes_are_zero(run_prepare, change_geo, golden_raw, tmp_path) -> None:
    """All genes of a profile tie, so every gene is constant on GEO."""

    def flatten(values, _profiles, _genes):
        return np.broadcast_to(values[:, :1], values.shape)

    raw = change_geo(golden_raw, tmp_path / "raw", flatten)
    run_prepare(raw, tmp_path / "p.h5", PrepareConfig(duplicates="none"))
    with open_prepared(tmp_path / "p.h5") as study:
        assert np.abs(study.X("tr")).max() < 1e-9


def test_wide_values_are_kept_in_float64(run_prepare, change_geo, golden_raw, tmp_path) -> None:
    """Values that differ only beyond float32 still rank differently."""

    def squeeze(values, _profiles, _genes):
        return 1.0 + values * 1e-12

    raw = change_geo(golden_raw, tmp_path / "raw", squeeze, np.float64)
    run_prepare(raw, tmp_path / "p.h5", PrepareConfig(duplicates="none"))
    assert len(np.unique(_datasets(tmp_path / "p.h5")["quantile"])) == 65


def test_progress_names_every_step(run_prepare, golden_raw, tmp_path, capsys) -> None:
    seen: dict[str, tuple[int, int]] = {}
    run_prepare(
        golden_raw,
        tmp_path / "p.h5",
        progress=lambda step, done, total: seen.update({step: (done, total)}),
    )
    assert {"reading GEO", "comparing profiles", "ranking GEO", "writing GTEx"} <= set(seen)
    assert all(done == total for done, total in seen.values())
    assert capsys.readouterr() == ("", "")


@pytest.mark.long
def test_real_files_of_three_platforms(run_prepare, shared, tmp_path) -> None:
    data, genes = shared / "data" / "human_mini", shared / "genes"
    raw = RawFiles(
        data / "geo_u133a_n529x22215.gctx",
        data / "tcga_rnaseq_n148x9419.gct.gz",
        data / "lcl_rnaseq_n69x17310.txt.gz",
        genes / "map_lm.txt",
        genes / "map_tg.txt",
    )
    report = run_prepare(raw, tmp_path / "p.h5", simulated=False)
    assert (report.n_kept, report.n_close_pairs) == (529, 0)
    assert (report.n_landmarks, report.n_targets, report.n_copies) == (854, 7462, 411)
    assert [gene.symbol for gene in report.partial] == ["GAPDH", "ACTB", "STAT1"]
    assert len(report.dropped) == 943 - 854 + 9520 - 7462
    with open_prepared(tmp_path / "p.h5") as study:
        assert not study.simulated
        assert [study.n_profiles(part) for part in ("tr", "va", "te")] == [423, 53, 53]
        geo = np.concatenate([study.X(part) for part in ("tr", "va", "te")])
        for values in (geo, study.X("1000G"), study.Y("GTEx")):
            np.testing.assert_allclose(values.mean(axis=0, dtype=np.float64), 0.0, atol=1e-6)
