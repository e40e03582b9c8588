"""Prepared studies read back: values, what is said of genes, older formats, and damaged files."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from dgex_jax.config import PrepareConfig
from dgex_jax.errors import FormatError
from dgex_jax.parts import ARRAYS_ALONE, PAPER
from dgex_jax.prepare.prepare import chunk_rows, prepare
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.rawfiles import RawFiles
from tests.prepare.checks import LATER, datasets, make_older, refused

EXACT = PrepareConfig(duplicates="all-pairs")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """One prepared study, not to be written to."""
    folder = Path(__file__).parents[1] / "golden" / "preprocess"
    names = ("geo.gctx", "gtex.gct.gz", "1000g.txt.gz", "map_lm.txt", "map_tg.txt")
    raw = RawFiles(*(folder / name for name in names))
    output = tmp_path_factory.mktemp("prepared") / "prepared.h5"
    config = PrepareConfig(duplicates="none")
    prepare(raw, output, config, name="made", title="A made study", simulated=True)
    return output


@pytest.fixture
def copy(made, tmp_path) -> Path:
    """The same study, free to be damaged."""
    return Path(shutil.copy(made, tmp_path / "copy.h5"))


def test_reader_gives_what_is_stored(made) -> None:
    with open_prepared(made) as study, h5py.File(made) as file:
        assert (study.name, study.title, study.simulated) == ("made", "A made study", True)
        assert (study.n_landmarks, study.n_targets) == (20, 45)
        assert [study.n_profiles(part) for part in PAPER] == [240, 30, 30, 30, 60]
        assert study.landmarks == tuple(file["landmarks"].asstr()[:])
        assert study.symbols == tuple(file["target_info/symbol"].asstr()[:])
        assert study.landmark_symbols == tuple(file["landmark_info/symbol"].asstr()[:])
        np.testing.assert_array_equal(
            study.copy_of_landmark, np.isin(study.targets, study.landmarks)
        )
        assert study.halves == (slice(0, 22), slice(22, 45))
        for part, rows in (("tr", slice(0, 240)), ("va", slice(240, 270)), ("te", slice(270, 300))):
            np.testing.assert_array_equal(study.X(part), file["compendium/X"][rows])
            np.testing.assert_array_equal(study.Y(part), file["compendium/Y"][rows])
        np.testing.assert_array_equal(study.Y("GTEx"), file["sets/GTEx/Y"][:])
        np.testing.assert_array_equal(study.quantile, file["quantile"][:])
        mean, deviation = study.scaling("te", "Y")
        np.testing.assert_array_equal(mean, file["compendium/Y_mean"][:])
        np.testing.assert_array_equal(deviation, file["compendium/Y_sd"][:])


def test_values_can_be_undone(made) -> None:
    """Standardised values times deviation plus mean are values of the reference quantile."""
    with open_prepared(made) as study:
        mean, deviation = study.scaling("1000G", "X")
        values = study.X("1000G") * (deviation + 1e-3) + mean
        nearest = np.abs(values[..., None] - study.quantile).min(axis=-1)
    assert nearest.max() < 1e-5


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_halves_are_columns_in_c_order(made, golden, kind) -> None:
    with open_prepared(made if kind == "h5" else golden / "study_a.npz") as study:
        whole = study.Y("va")
        first, second = (study.Y("va", half) for half in study.halves)
        np.testing.assert_array_equal(np.hstack([first, second]), whole)
        for values in (first, second, whole, study.X("tr")):
            assert values.dtype == np.float32
            assert values.flags.c_contiguous
        assert study.Y("te", slice(3, 3)).shape == (len(study.Y("te")), 0)
        np.testing.assert_array_equal(study.Y("te", slice(-2, None)), study.Y("te")[:, -2:])
        with pytest.raises(ValueError, match="step 1"):
            study.Y("te", slice(None, None, 2))
        with pytest.raises(KeyError, match="train"):
            study.X("train")
        assert study.sha256 == hashlib.sha256(study.path.read_bytes()).hexdigest()


def test_npz_of_the_recorded_study(golden) -> None:
    with np.load(golden / "study_a.npz") as arrays, open_prepared(golden / "study_a.npz") as study:
        for part in PAPER:
            np.testing.assert_array_equal(study.X(part), arrays[f"X_{part}"].astype(np.float32))
            np.testing.assert_array_equal(study.Y(part), arrays[f"Y_{part}"].astype(np.float32))
        assert study.n_profiles("tr") == 1207
        assert study.landmarks[0] == "L0001"
        assert study.targets[-1] == "T0040"
        assert study.symbols == study.targets
        assert not study.copy_of_landmark.any()
        assert not study.simulated
        assert (study.name, study.halves) == ("study_a", (slice(0, 20), slice(20, 40)))
        assert study.parts == PAPER
        assert study.quantile is None
        assert set(study.landmark_ensembl) == set(study.target_ensembl) == {""}
        unknown = ("landmark_probes", "target_probes", "landmark_entrez", "target_entrez")
        for name in (*unknown, "landmark_quantile"):
            text = r"study_a\.npz: has no .* holds values alone"
            refused(lambda n=name: getattr(study, n), text)
        refused(lambda: study.scaling("te", "Y"), "has no means and deviations of Y")


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for part in PAPER:
        n = int(rng.integers(2, 9))
        arrays |= {f"X_{part}": rng.normal(size=(n, 3)), f"Y_{part}": rng.normal(size=(n, 5))}
    return arrays


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
def test_npz_of_any_number_type(tmp_path, save) -> None:
    arrays = _arrays()
    arrays["X_te"] = np.asfortranarray(np.arange(30).reshape(10, 3))
    arrays["Y_te"] = np.ones((10, 5), dtype=np.float32)
    save(tmp_path / "s.npz", **arrays, extra=np.array("ignored"))
    with open_prepared(tmp_path / "s.npz") as study:
        np.testing.assert_array_equal(study.X("te"), arrays["X_te"])
        assert study.X("te").flags.c_contiguous


def _without(*names: str):
    return lambda a: {k: v for k, v in a.items() if k not in names}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_without("Y_va", "X_GTEx"), "has no array Y_va, X_GTEx"),
        (lambda a: a | {"X_va": a["X_va"][:, :2]}, r"X_va \(\d, 2\) does not fit X_tr .* columns"),
        (lambda a: a | {"Y_GTEx": a["Y_GTEx"][:-1]}, r"X_GTEx .* does not fit Y_GTEx .* rows"),
        (lambda a: a | {"Y_te": a["Y_te"].ravel()}, r"Y_te has shape"),
        (lambda a: a | {"X_tr": a["X_tr"][:0], "Y_tr": a["Y_tr"][:0]}, "X_tr has shape"),
        (lambda a: a | {"X_te": a["X_te"].astype(object)}, "X_te holds object, not numbers"),
        (lambda a: a | {"X_te": a["X_te"].astype(str)}, "X_te holds .*, not numbers"),
        (lambda a: a | {"X_te": a["X_te"] * 1j}, "X_te holds complex128"),
    ],
)
def test_npz_that_is_no_study(tmp_path, change, text) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, **change(_arrays()), allow_pickle=True)
    refused(lambda: open_prepared(path), text, path=path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_npz_values_that_are_not_finite_in_float32(tmp_path, value) -> None:
    arrays = _arrays()
    arrays["Y_tr"][1, 3:] = value
    np.savez(tmp_path / "s.npz", **arrays)
    with open_prepared(tmp_path / "s.npz") as study:
        study.X("tr")
        study.Y("tr", slice(0, 3))
        for columns, n, column in ((slice(None), 2, 4), (slice(4, 5), 1, 5)):
            text = rf"Y_tr: {n} values are not finite, the first in row 2, column {column}$"
            with pytest.raises(FormatError, match=text):
                study.Y("tr", columns)


def test_hdf5_values_that_are_not_finite(copy) -> None:
    with h5py.File(copy, "r+") as file:
        file["compendium/X"][245, 7] = np.nan
    with open_prepared(copy) as study:
        study.X("tr")
        with pytest.raises(FormatError, match=r"X of va: 1 values .* row 6, column 8"):
            study.X("va")


def _set(name: str, value):
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


WRONG_PARTS = (
    ("GTEx", "damaged"),
    ([], "parts: "),
    ({"compendium": "GEO"}, "parts: KeyError"),
    (PAPER.to_json() | {"sets": [{"name": "GTEx"}]}, "parts: TypeError"),
    (PAPER.to_json() | {"platform": "chip"}, "platform = 'chip': must be one of"),
    (PAPER.to_json() | {"compendium": "gtex"}, "'GTEx': is the name of another part"),
    (PAPER.to_json() | {"compendium": "../x"}, "'../x': names a set; use letters"),
    (replace(PAPER, sets=PAPER.sets[:1]).to_json() | {"sets": [7]}, "parts: TypeError"),
    (PAPER.to_json() | {"sets": PAPER.to_json()["sets"][1:]}, "is no validation set"),
)


def _parts(value, text: str):
    written = value if isinstance(value, str) else json.dumps(value)
    return lambda f: f.attrs.__setitem__("parts", written), text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.attrs.__delitem__("format_version"), "not a prepared study"),
        (lambda f: f.attrs.__setitem__("format_version", 4), "version 4; .* reads 3 and older"),
        (lambda f: f.attrs.__setitem__("gene_ids", "refseq"), "gene_ids are 'refseq'$"),
        (lambda f: f.attrs.__delitem__("parts"), "parts"),
        *(_parts(*one) for one in WRONG_PARTS),
        (lambda f: f.__delitem__("target_info/probes"), "has no dataset /target_info/probes"),
        (lambda f: f.__delitem__("landmark_quantile"), "has no dataset /landmark_quantile"),
        (lambda f: f.attrs.__delitem__("title"), "title"),
        (lambda f: f.__delitem__("sets/GTEx/Y"), "has no dataset /sets/GTEx/Y"),
        (lambda f: f.__delitem__("sets/1000G"), "has no dataset /sets/1000G/profiles"),
        (lambda f: f.__delitem__("compendium/split"), "has no dataset /compendium/split/train"),
        (
            _set("compendium/X", np.zeros((300, 19), np.float32)),
            r"/compendium/X has shape \(300, 19\)",
        ),
        (_set("sets/GTEx/Y", np.zeros((59, 45), np.float32)), r"expected \(60, 45\)"),
        (_set("target_info/half", np.tile([1, 2], 45)[:45]), "run of 1, then a run of 2"),
        (_set("target_info/symbol", np.array([b"a", b"b"])), r"/target_info/symbol has shape"),
        (_set("compendium/split/test", np.arange(280, 310)), "rows beyond the 300 profiles"),
        (_set("compendium/split/test", np.arange(299, 269, -1)), "is not a run of rows"),
    ],
)
def test_hdf5_that_is_no_study(copy, change, text) -> None:
    with h5py.File(copy, "r+") as file:
        change(file)
    refused(lambda: open_prepared(copy), text, path=copy)


def test_damaged_chunks_are_noticed(copy) -> None:
    with h5py.File(copy) as file:
        place = file["compendium/Y"].id.get_chunk_info(0).byte_offset
    with copy.open("r+b") as file:
        file.seek(place + 1000)
        file.write(b"damage")
    with open_prepared(copy) as study, pytest.raises(FormatError, match="damaged"):
        study.Y("tr")


@pytest.mark.parametrize("source", ["h5", "npz"])
def test_truncated_files(made, golden, tmp_path, source) -> None:
    whole = (made if source == "h5" else golden / "study_a.npz").read_bytes()
    path = tmp_path / f"cut.{source}"
    for size in (len(whole) // 2, 100):
        path.write_bytes(whole[:size])
        refused(lambda: open_prepared(path), "cut", path=path)


def test_other_files(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "empty").touch()
    for name in ("a.txt", "empty", "missing.h5", "."):
        with pytest.raises(FormatError):
            open_prepared(tmp_path / name)


def test_chunks_are_about_a_megabyte_and_divide_what_is_written() -> None:
    assert chunk_rows(111_009, 943) == 256
    assert chunk_rows(111_009, 9_520) == 16
    assert chunk_rows(111_009, 10**7) == 1
    assert chunk_rows(30, 20) == 30


def gene_map(path: Path) -> dict[str, str]:
    return {line.split("\t")[1]: line.split("\t")[2] for line in path.read_text().splitlines()}


def test_probes_are_those_averaged_in_map_order(
    run_prepare, golden_raw, edit_text, tmp_path
) -> None:
    targets = edit_text(golden_raw.targets, lambda lines: [f"{lines[0]},nowhere_at", *lines[1:]])
    run_prepare(replace(golden_raw, targets=targets), tmp_path / "p.h5", EXACT)
    data = datasets(tmp_path / "p.h5")
    known = {"landmark": gene_map(golden_raw.landmarks), "target": gene_map(golden_raw.targets)}
    for role, probes in known.items():
        wanted = [probes[one] for one in data[f"{role}s"]]
        assert data[f"{role}_info/probes"].tolist() == wanted
        with open_prepared(tmp_path / "p.h5") as study:
            read = getattr(study, f"{role}_probes")
            assert read == tuple(tuple(one.split(",")) for one in wanted)
            assert getattr(study, f"{role}_ensembl") == tuple(data[f"{role}s"])
            # Without row metadata of the array.
            assert set(getattr(study, f"{role}_entrez")) == {""}
    assert max(map(len, read)) > 1


@pytest.mark.parametrize("field", ["pr_gene_id", "Entrez_ID"])
def test_entrez_ids_come_from_the_row_metadata_of_geo(
    run_prepare, golden_raw, change_geo, tmp_path, field
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
    with h5py.File(golden_raw.geo) as file:
        probes = pd.Index([one.decode().strip() for one in file["0/META/ROW/id"][:]], dtype=object)
    metadata = pd.DataFrame({field: [number.get(p, "") for p in probes]}, index=probes)
    run_prepare(change_geo(gene_metadata=metadata), tmp_path / "p.h5", EXACT)
    data = datasets(tmp_path / "p.h5")
    for role, genes in zip(("landmark", "target"), maps, strict=True):
        expected = {one: str(1000 + place) for place, one in enumerate(genes)}
        if role == "target":
            expected |= {several: "77", double: ""}
        wanted = [expected[one] for one in data[f"{role}s"]]
        assert data[f"{role}_info/entrez"].tolist() == wanted
        with open_prepared(tmp_path / "p.h5") as study:
            assert getattr(study, f"{role}_entrez") == tuple(wanted)


def normalised_landmarks(raw: RawFiles, path: Path, scale_on: str) -> np.ndarray:
    """Landmarks of GEO-tr by NumPy and SciPy alone, from the raw file and the study's ids."""
    with h5py.File(raw.geo) as file:
        matrix = file["0/DATA/0/matrix"][:].astype(np.float64)
        probes, profiles = (
            {one.decode().strip(): place for place, one in enumerate(file[f"0/META/{axis}/id"][:])}
            for axis in ("ROW", "COL")
        )
    data = datasets(path)
    known = gene_map(raw.landmarks), gene_map(raw.targets)
    genes = [known[0][one] for one in data["landmarks"]]
    genes += [known[1][one] for one in data["targets"]]
    values = [matrix[:, [probes[p] for p in gene.split(",")]].mean(axis=1) for gene in genes]
    values = np.column_stack(values)[[profiles[one] for one in data["compendium/profiles"]]]
    train = data["compendium/split/train"]
    reference = values if scale_on == "all" else values[train]
    quantile = np.sort(reference, axis=1).mean(axis=0)
    ranks = (rankdata(values[train], axis=1) - 1).astype(int)
    return quantile[ranks[:, : len(data["landmarks"])]]


@pytest.mark.parametrize("scale_on", ["all", "train"])
@pytest.mark.parametrize("partition", ["random", "clustered"])
def test_landmark_quantile_is_that_of_normalised_landmarks_of_geo_tr(
    run_prepare, golden_raw, tmp_path, scale_on, partition
) -> None:
    path = tmp_path / "p.h5"
    run_prepare(golden_raw, path, replace(EXACT, scale_on=scale_on, partition=partition))
    landmarks = normalised_landmarks(golden_raw, path, scale_on)
    with open_prepared(path) as study:
        found = study.landmark_quantile
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, datasets(path)["landmark_quantile"])
        np.testing.assert_allclose(found, np.sort(landmarks, axis=1).mean(axis=0), atol=1e-12)
        # The scale is the one that is standardised, so the file's own values give it back.
        mean, deviation = study.scaling("tr", "X")
        values = study.X("tr") * (deviation + 1e-3) + mean
        np.testing.assert_allclose(found, np.sort(values, axis=1).mean(axis=0), atol=1e-5)
        assert (np.diff(found) >= 0).all()
        assert study.quantile is not None
        assert study.quantile[0] <= found[0] <= found[-1] <= study.quantile[-1]
        # A profile mapped by its landmarks alone is on the model's scale, whatever its own.
        truth = study.X("te") * (deviation + 1e-3) + mean
        mapped = found[(rankdata(np.exp(truth), axis=1) - 1).astype(int)]
        assert np.corrcoef(mapped.ravel(), truth.ravel())[0, 1] > 0.95
        assert abs(mapped.mean() - truth.mean()) < 0.06 * truth.std()


@pytest.mark.parametrize("version", [1, 2])
def test_older_versions_are_read_and_say_what_they_lack(made, copy, version) -> None:
    make_older(copy, version)
    with open_prepared(made) as whole, open_prepared(copy) as study:
        assert study.parts == whole.parts == PAPER
        assert study.target_ensembl == study.targets == whole.targets
        for part in PAPER:
            np.testing.assert_array_equal(study.X(part), whole.X(part))
            np.testing.assert_array_equal(study.Y(part), whole.Y(part))
            for kind in "XY":
                ours, theirs = study.scaling(part, kind), whole.scaling(part, kind)
                np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(study.quantile, whole.quantile)
        for name in LATER:
            role, _, kind = name.partition("_info/")
            read = f"{role}_{kind}" if kind else name
            if version == 2:
                assert list(getattr(study, read)) == list(getattr(whole, read))
                continue
            text = f"has no dataset /{name}: .* again"
            refused(lambda r=read: getattr(study, r), text, path=copy)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.attrs.__setitem__("data_sets", '["GEO", "GTEx"]'), "data_sets are "),
        (lambda f: f.attrs.__setitem__("data_sets", "GEO"), "damaged"),
        (lambda f: f.__delitem__("GTEx/Y"), "has no dataset /GTEx/Y"),
    ],
)
def test_version_2_that_is_no_study(copy, change, text) -> None:
    make_older(copy, 2)
    with h5py.File(copy, "r+") as file:
        change(file)
    refused(lambda: open_prepared(copy), text, path=copy)


def test_version_2_of_arrays_alone(run_prepare, alone, tmp_path) -> None:
    path = tmp_path / "p.h5"
    run_prepare(alone, path)
    written = datasets(path)
    with h5py.File(path, "r+") as file:
        file.move("compendium", "GEO")
        del file.attrs["parts"]
        file.attrs.update({"format_version": 2, "data_sets": '["GEO"]'})
    with open_prepared(path) as study:
        assert study.parts == ARRAYS_ALONE
        values = np.concatenate([study.Y(part) for part in study.parts])
        np.testing.assert_array_equal(values, written["compendium/Y"])
