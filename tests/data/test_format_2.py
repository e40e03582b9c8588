"""What format version 2 of the prepared study adds, read by h5py alone and by its reader."""

from __future__ import annotations

import gzip
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from dgex_jax.config import PARTS, PrepareConfig
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import FormatError
from dgex_jax.formats.gctx import Gctx, GctxWriter

EXACT = PrepareConfig(duplicates="all-pairs")
NEW = (
    "landmark_info/probes",
    "target_info/probes",
    "landmark_info/entrez",
    "target_info/entrez",
    "landmark_quantile",
)


def texts(path, name: str) -> list[str]:
    with h5py.File(path) as file:
        return [text.decode() for text in file[name][:]]


def gene_map(path) -> dict[str, str]:
    return {line.split("\t")[1]: line.split("\t")[2] for line in path.read_text().splitlines()}


def annotated(raw, folder, field: str, values):
    """The recorded GEO file with `values(probes)` as row metadata `field`."""
    with Gctx(raw.geo) as source:
        profiles, probes, matrix = source.profiles, source.genes, source.read()
    metadata = pd.DataFrame({field: values(probes)}, index=pd.Index(probes, dtype=object))
    folder.mkdir(exist_ok=True)
    path = folder / "geo.gctx"
    with GctxWriter(path, profiles, probes, gene_metadata=metadata) as writer:
        writer.append(matrix)
    return replace(raw, geo=path)


def test_probes_are_those_averaged_in_map_order(run_prepare, golden_raw, tmp_path) -> None:
    lines = golden_raw.targets.read_text().splitlines()
    lines[0] += ",nowhere_at"
    (tmp_path / "targets.txt").write_text("\n".join(lines) + "\n")
    raw = replace(golden_raw, targets=tmp_path / "targets.txt")
    run_prepare(raw, tmp_path / "p.h5", EXACT)
    known = {"landmark": gene_map(golden_raw.landmarks), "target": gene_map(golden_raw.targets)}
    for role, probes in known.items():
        ids = texts(tmp_path / "p.h5", f"{role}s")
        assert texts(tmp_path / "p.h5", f"{role}_info/probes") == [probes[one] for one in ids]
    with open_prepared(tmp_path / "p.h5") as study:
        assert study.landmark_probes == tuple((known["landmark"][one],) for one in study.landmarks)
        assert study.target_probes == tuple(
            tuple(known["target"][one].split(",")) for one in study.targets
        )
        assert max(map(len, study.target_probes)) > 1
        assert study.landmark_ensembl == study.landmarks
        assert study.target_ensembl == study.targets


@pytest.mark.parametrize("field", ["pr_gene_id", "Entrez_ID"])
def test_entrez_ids_come_from_the_row_metadata_of_geo(
    run_prepare, golden_raw, tmp_path, field
) -> None:
    """The same on all probes of a gene, on one of them alone, differing, or not there."""
    maps = gene_map(golden_raw.landmarks), gene_map(golden_raw.targets)
    several = next(one for one, probes in maps[1].items() if probes.count(",") == 2)
    double = next(one for one, probes in maps[1].items() if probes.count(",") and one != several)
    number = {
        probe: str(1000 + place)
        for genes in maps
        for place, probes in enumerate(genes.values())
        for probe in probes.split(",")
    }
    first, *others = maps[1][several].split(",")
    number |= dict.fromkeys(others, "-666") | {first: "77.0"}
    number[maps[1][double].split(",")[0]] = "78"
    raw = annotated(
        golden_raw, tmp_path / "raw", field, lambda probes: [number.get(p, "") for p in probes]
    )
    run_prepare(raw, tmp_path / "p.h5", EXACT)
    for role, genes in zip(("landmark", "target"), maps, strict=True):
        expected = {one: str(1000 + place) for place, one in enumerate(genes)}
        if role == "target":
            expected |= {several: "77", double: ""}
        ids = texts(tmp_path / "p.h5", f"{role}s")
        assert texts(tmp_path / "p.h5", f"{role}_info/entrez") == [expected[one] for one in ids]
        with open_prepared(tmp_path / "p.h5") as study:
            assert getattr(study, f"{role}_entrez") == tuple(expected[one] for one in ids)


def test_without_row_metadata_entrez_ids_are_empty(run_prepare, golden_raw, tmp_path) -> None:
    run_prepare(golden_raw, tmp_path / "p.h5", EXACT)
    with open_prepared(tmp_path / "p.h5") as study:
        assert set(study.landmark_entrez) == set(study.target_entrez) == {""}
        assert len(study.target_entrez) == study.n_targets


def normalised_landmarks(raw, path, scale_on: str) -> np.ndarray:
    """Landmarks of GEO-tr by NumPy and SciPy alone, from the raw file and the study's ids."""
    with h5py.File(raw.geo) as file:
        matrix = file["0/DATA/0/matrix"][:].astype(np.float64)
        probes = [one.decode().strip() for one in file["0/META/ROW/id"][:]]
        profiles = [one.decode().strip() for one in file["0/META/COL/id"][:]]
    place = {probe: column for column, probe in enumerate(probes)}
    genes = []
    for role, path_of_map in (("landmark", raw.landmarks), ("target", raw.targets)):
        known = gene_map(path_of_map)
        genes += [known[one].split(",") for one in texts(path, f"{role}s")]
    values = np.column_stack([matrix[:, [place[p] for p in g]].mean(axis=1) for g in genes])
    with h5py.File(path) as file:
        kept = [one.decode() for one in file["GEO/profiles"][:]]
        train = file["GEO/split/train"][:]
        n_landmarks = len(file["landmarks"])
    values = values[[profiles.index(one) for one in kept]]
    reference = values if scale_on == "all" else values[train]
    quantile = np.sort(reference, axis=1).mean(axis=0)
    ranks = (rankdata(values[train], axis=1) - 1).astype(int)
    return quantile[ranks[:, :n_landmarks]]


@pytest.mark.parametrize("scale_on", ["all", "train"])
@pytest.mark.parametrize("partition", ["random", "clustered"])
def test_landmark_quantile_is_that_of_normalised_landmarks_of_geo_tr(
    run_prepare, golden_raw, tmp_path, scale_on, partition
) -> None:
    path = tmp_path / "p.h5"
    run_prepare(golden_raw, path, replace(EXACT, scale_on=scale_on, partition=partition))
    landmarks = normalised_landmarks(golden_raw, path, scale_on)
    with open_prepared(path) as study, h5py.File(path) as file:
        assert file["landmark_quantile"].dtype == np.float64
        found = study.landmark_quantile
        np.testing.assert_array_equal(found, file["landmark_quantile"][:])
        np.testing.assert_allclose(found, np.sort(landmarks, axis=1).mean(axis=0), atol=1e-12)
        # The scale is the one that is standardised, so the file's own values give it back.
        mean, deviation = study.scaling("tr", "X")
        values = study.X("tr") * (deviation + 1e-3) + mean
        np.testing.assert_allclose(found, np.sort(values, axis=1).mean(axis=0), atol=1e-5)
        assert (np.diff(found) >= 0).all()
        assert study.quantile is not None
        assert study.quantile[0] <= found[0] <= found[-1] <= study.quantile[-1]


def test_a_profile_mapped_by_its_landmarks_alone_is_on_the_model_s_scale(
    run_prepare, golden_raw, tmp_path
) -> None:
    """Whatever the platform's scale; without it the values would lie elsewhere."""
    path = tmp_path / "p.h5"
    run_prepare(golden_raw, path, EXACT)
    with open_prepared(path) as study:
        mean, deviation = study.scaling("te", "X")
        truth = study.X("te") * (deviation + 1e-3) + mean
        foreign = np.exp(truth)
        ranks = (rankdata(foreign, axis=1) - 1).astype(int)
        mapped = study.landmark_quantile[ranks]
    assert np.corrcoef(mapped.ravel(), truth.ravel())[0, 1] > 0.95
    assert abs(mapped.mean() - truth.mean()) < 0.05 * truth.std()


def downgrade(path) -> None:
    """Make a file of format version 1 of one of version 2."""
    with h5py.File(path, "r+") as file:
        for name in (*NEW, "dropped/probes"):
            del file[name]
        for name in ("gene_ids", "data_sets"):
            del file.attrs[name]
        file.attrs["format_version"] = 1


def test_version_1_is_read_and_says_what_it_lacks(run_prepare, golden_raw, tmp_path) -> None:
    path = tmp_path / "p.h5"
    run_prepare(golden_raw, path, EXACT)
    with open_prepared(path) as study:
        whole = {part: (study.X(part), study.Y(part)) for part in PARTS}
        scaling, ids, quantile = study.scaling("GTEx", "Y"), study.targets, study.quantile
    downgrade(path)
    with open_prepared(path) as study:
        assert study.parts == PARTS
        assert study.target_ensembl == study.targets == ids
        for part, (X, Y) in whole.items():
            np.testing.assert_array_equal(study.X(part), X)
            np.testing.assert_array_equal(study.Y(part), Y)
        np.testing.assert_array_equal(study.scaling("GTEx", "Y"), scaling)
        np.testing.assert_array_equal(study.quantile, quantile)
        for name in NEW:
            role, _, kind = name.partition("_info/")
            read = f"{role}_{kind}" if kind else name
            with pytest.raises(FormatError, match=f"has no dataset /{name}: .* again") as caught:
                getattr(study, read)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)


def test_npz_says_what_it_lacks(golden) -> None:
    with open_prepared(golden / "study_a.npz") as study:
        assert study.parts == PARTS
        assert study.quantile is None
        assert set(study.landmark_ensembl) == set(study.target_ensembl) == {""}
        for name in ("landmark_probes", "target_probes", "landmark_entrez", "target_entrez"):
            with pytest.raises(FormatError, match=r"study_a\.npz: has no .* holds values alone"):
                getattr(study, name)
        with pytest.raises(FormatError, match="has no landmark_quantile"):
            study.landmark_quantile  # noqa: B018
        with pytest.raises(FormatError, match="has no means and deviations of Y"):
            study.scaling("te", "Y")


def test_dropped_genes_keep_their_probes(run_prepare, golden_raw, edit_text, tmp_path) -> None:
    gone = gzip.decompress(golden_raw.thousand_genomes.read_bytes()).decode().splitlines()
    landmark, probes = next(iter(gene_map(golden_raw.landmarks).items()))
    assert any(line.startswith(landmark) for line in gone)
    path = edit_text(
        golden_raw.thousand_genomes,
        tmp_path / "raw",
        lambda lines: [line for line in lines if not line.startswith(landmark)],
    )
    run_prepare(replace(golden_raw, thousand_genomes=path), tmp_path / "p.h5", EXACT)
    assert texts(tmp_path / "p.h5", "dropped/probes")[0] == probes
    assert texts(tmp_path / "p.h5", "dropped/ensembl")[0] == landmark
