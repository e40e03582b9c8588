"""Raw files as people have them: the same study as GCTX and GCT make, or the true cause."""

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
from dgex_jax.config import PrepareConfig
from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.open import open_expression
from dgex_jax.io.writers import GctxWriter
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.rawfiles import GeoOnlyFiles
from tests.prepare.checks import assert_same, datasets, refused

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
def same_study(run_prepare, tmp_path) -> Callable[..., Any]:
    """Prepare other files: the study must be that of the plain ones."""

    def check(plain: Any, other: Any, config=QUICK) -> Any:
        if not (tmp_path / "plain.h5").exists():
            run_prepare(plain, tmp_path / "plain.h5", replace(config, force_platform=False))
        report = run_prepare(other, tmp_path / "other.h5", config)
        assert_same(tmp_path / "other.h5", tmp_path / "plain.h5")
        return report

    return check


@pytest.mark.parametrize(
    ("kind", "duplicates"),
    [
        (np.array, "all-pairs"),
        (sparse.csr_matrix, "all-pairs"),
        (sparse.csr_matrix, "none"),
        (sparse.csc_matrix, "none"),
    ],
)
def test_arrays_alone(kind, duplicates, as_h5ad, alone, same_study, tmp_path) -> None:
    path = as_h5ad("geo.h5ad", frame_of(alone.geo), kind)
    config = PrepareConfig(duplicates=duplicates, block_size=70)
    same_study(alone, replace(alone, geo=path), config)
    with h5py.File(tmp_path / "other.h5") as file:
        told = json.loads(file.attrs["raw_files"])["geo"]
    assert told == {"name": "geo.h5ad", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_all_five(as_h5ad, golden_raw, same_study) -> None:
    """RNA-seq by symbol, as AnnData usually is; its Ensembl ids stand in a column."""
    files = {"geo": as_h5ad("geo.h5ad", frame_of(golden_raw.geo))}
    for name in ("gtex", "thousand_genomes"):
        frame = frame_of(getattr(golden_raw, name))
        ids = [str(gene) for gene in frame.columns]
        symbols = [f"{name}{n % 20}" for n in range(len(ids))]
        ids[next(n for n, gene in enumerate(ids) if gene.startswith("ENSG00000900"))] = "nan"
        if name == "gtex":
            frame.columns = symbols
            files[name] = as_h5ad(f"{name}.h5ad", frame, sparse.csr_matrix, gene_ids=ids)
        else:
            files[name] = as_h5ad(f"{name}.h5ad", frame, symbol=symbols)
    same_study(golden_raw, replace(golden_raw, **files))


@pytest.mark.parametrize("turned", [False, True])
def test_tables_either_way(turned, golden_raw, alone, same_study, run_prepare, tmp_path) -> None:
    files = {}
    for name in ("geo", "gtex", "thousand_genomes"):
        frame = frame_of(getattr(golden_raw, name)).astype(float)
        files[name] = tmp_path / f"{name}.txt"
        (frame if turned else frame.T).to_csv(files[name], sep=",\t"[turned])
    same_study(golden_raw, replace(golden_raw, **files))
    run_prepare(alone, tmp_path / "plain.h5", QUICK)
    same_study(alone, replace(alone, geo=files["geo"]))


def test_a_table_with_genes_on_both_axes(alone, landmarks, run_prepare, tmp_path) -> None:
    frame = frame_of(alone.geo)
    frame.index = [landmarks[0], *frame.index[1:]]
    frame.to_csv(tmp_path / "geo.csv")
    files = replace(alone, geo=tmp_path / "geo.csv")
    text = r"in its rows \(1\) and in its columns \(20\)"
    refused(lambda: run_prepare(files, tmp_path / "p.h5", QUICK), text, path=files.geo)


def test_landmarks_of_an_h5ad_or_by_a_column(
    as_h5ad, alone, landmarks, same_study, run_prepare, tmp_path
) -> None:
    frame = frame_of(alone.geo)
    symbols = [f"S{n}" for n in range(frame.shape[1])]
    ensembl = [f"ENSG{n:011d}" for n in range(frame.shape[1])]
    of_file = {"gene_symbols": symbols, "gene_ids": [f"{one}.3" for one in ensembl]}
    plain = replace(alone, geo=as_h5ad("geo.h5ad", frame, **of_file))
    places = [frame.columns.get_loc(probe) for probe in landmarks]
    lists: list[Path] = [as_h5ad("landmarks.h5ad", frame[landmarks].iloc[:2])]
    for number, names in enumerate((symbols, ensembl)):
        lists.append(tmp_path / f"list{number}.txt")
        lists[-1].write_text("".join(f"{names[n]}\n" for n in places))
    for path in lists:
        same_study(plain, replace(plain, landmarks=path))
    with open_prepared(tmp_path / "plain.h5") as study:
        places = [frame.columns.get_loc(probe) for probe in study.landmarks]
        assert study.landmark_symbols == tuple(f"S{n}" for n in places)
    lists[1].write_text("S1\nS2\nunknown\n")
    report = run_prepare(replace(plain, landmarks=lists[1]), tmp_path / "three.h5", QUICK)
    assert report.counts["landmarks"] == 2
    assert [gene.probes for gene in report.dropped] == [("unknown",)]


def test_symbols_and_entrez_ids_of_both_files(run_prepare, landmarks, golden_raw, tmp_path) -> None:
    """Of the landmarks' file first, of GEO where that says nothing; Ensembl-like ids are such."""
    frame = frame_of(golden_raw.geo)
    other, named = next(one for one in frame if one not in landmarks), "ENSG00000100000.3"
    probes = [named if one == other else one for one in frame]
    metadata = pd.DataFrame(
        {
            "pr_gene_symbol": [f"G{place}" for place in range(len(probes))],
            "pr_gene_id": [str(1 + place) for place in range(len(probes))],
        },
        index=pd.Index(probes, dtype=object),
    )
    geo = tmp_path / "geo.gctx"
    with GctxWriter(geo, list(frame.index), probes, gene_metadata=metadata) as writer:
        writer.append(frame.to_numpy())
    (tmp_path / "list.tsv").write_text(
        "pr_id\tpr_gene_id\tpr_gene_symbol\n"
        + "".join(f"{one}\t{9000 + n}\tL{n}\n" for n, one in enumerate(landmarks[1:]))
        + f"{landmarks[0]}\t-666\t-666\nnowhere_at\t5\tGONE\nnameless_at\n"
    )
    report = run_prepare(GeoOnlyFiles(geo, tmp_path / "list.tsv"), tmp_path / "p.h5")
    known = {one: (f"G{place}", str(1 + place)) for place, one in enumerate(probes)}
    known |= {one: (f"L{n}", str(9000 + n)) for n, one in enumerate(landmarks[1:])}
    with open_prepared(tmp_path / "p.h5") as study:
        for ids, symbols, entrez in (
            (study.landmarks, study.landmark_symbols, study.landmark_entrez),
            (study.targets, study.symbols, study.target_entrez),
        ):
            assert [known[one] for one in ids] == [*zip(symbols, entrez, strict=True)]
        assert [one for one in study.target_ensembl if one] == [named]
    data = datasets(tmp_path / "p.h5")
    assert data["dropped/probes"].tolist() == ["nowhere_at", "nameless_at"]
    assert data["dropped/symbol"].tolist() == ["GONE", ""]
    assert set(data["dropped/ensembl"]) == {""}
    assert "dropped: 2 landmarks missing on the array: GONE, nameless_at" in report.lines()


def test_landmarks_that_can_not_be_told(as_h5ad, alone, run_prepare, tmp_path) -> None:
    frame = frame_of(alone.geo)
    symbols = ["A", "A", *(f"S{n}" for n in range(2, frame.shape[1]))]
    geo, listed = as_h5ad("geo.h5ad", frame, symbol=symbols), tmp_path / "l.txt"
    for text, kind, cause in (
        (
            "S5\nA\n",
            FormatError,
            rf"landmark 'A' is 2 genes of {geo}: 200196_at, 200378_s_at; list landmarks by their",
        ),
        ("Q1\nQ2\n", PreparationError, "none of its 2 landmark probes"),
    ):
        listed.write_text(text)
        files = GeoOnlyFiles(geo, listed)
        refused(lambda f=files: run_prepare(f, tmp_path / "p.h5", QUICK), cause, kind, listed)


@pytest.mark.parametrize("axis", ["genes", "profiles"])
def test_ids_that_come_twice_are_named(axis, as_h5ad, alone, tmp_path, capsys) -> None:
    frame = frame_of(alone.geo)
    name = "columns" if axis == "genes" else "index"
    ids = list(getattr(frame, name))
    setattr(frame, name, [*ids[:-1], ids[3]])
    path = as_h5ad("geo.h5ad", frame)
    command = ["prepare", "--geo", str(path), "--landmarks", str(alone.landmarks)]
    output = tmp_path / "p.h5"
    assert main([*command, "-o", str(output), "--duplicates", "none", "-q"]) == 2
    assert f"{path}: duplicate {axis[:-1]} id {ids[3]!r}" in capsys.readouterr().err
    assert not output.exists()


def test_missing_values_are_counted(as_h5ad, alone, run_prepare, tmp_path) -> None:
    frame = frame_of(alone.geo)
    frame.iloc[5, 7] = np.nan
    files = replace(alone, geo=as_h5ad("geo.h5ad", frame))
    text = f"{frame.index[5]}.*{frame.columns[7]}"
    refused(lambda: run_prepare(files, tmp_path / "p.h5", QUICK), text)


@pytest.fixture
def gtex(golden_raw) -> pd.DataFrame:
    """Genes by profiles."""
    return frame_of(golden_raw.gtex).T


def tabbed(frame: pd.DataFrame, **options: Any) -> str:
    return frame.to_csv(sep="\t", index_label="gene", **options)


SHAPES: dict[str, Callable[[pd.DataFrame, list[str]], str]] = {
    "rows end in a tab": lambda frame, _: "".join(
        f"{line}{chr(9) * (n > 0)}\n" for n, line in enumerate(tabbed(frame).splitlines())
    ),
    "comments": lambda frame, _: f"# a\n# b\tc\n{tabbed(frame)}",
    "Ensembl|symbol": lambda frame, symbols: tabbed(
        frame.set_axis([f"{a}|{b}" for a, b in zip(frame.index, symbols, strict=True)], axis=0)
    ),
    "text beside": lambda frame, symbols: tabbed(
        frame.assign(biotype="coding", Chr=["X", *["chr1"] * (len(frame) - 1)], name=symbols)
    ),
    "GCT, quoted, other ids": lambda frame, _: (
        f"#1.2\n{len(frame)}\t{frame.shape[1]}\n"
        + frame.set_axis([f"row {n}" for n in range(len(frame))], axis=0)
        .pipe(lambda made: made.set_index(pd.Index(frame.index, name="Description"), append=True))
        .rename_axis(["Name", "Description"])
        .to_csv(sep="\t", quoting=2)
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_tables(shape, gtex, golden_raw, same_study, tmp_path) -> None:
    known: dict[str, str] = {}
    for path in (golden_raw.landmarks, golden_raw.targets):
        genes = read_gene_map(path)
        known |= dict(zip(genes.ensembl, genes.symbols, strict=True))
    symbols = [known.get(gene.partition(".")[0], f"other{n}") for n, gene in enumerate(gtex.index)]
    (tmp_path / "odd").write_text(SHAPES[shape](gtex, symbols))
    same_study(golden_raw, replace(golden_raw, gtex=tmp_path / "odd"))


@pytest.mark.parametrize("name", ["Length", "Entrez_Gene_Id", "cds_end"])
def test_annotation_must_be_taken_out(
    name, gtex, golden_raw, run_prepare, same_study, tmp_path
) -> None:
    gtex.insert(3, name, np.arange(len(gtex)) * 37 + 1000)
    (tmp_path / "odd").write_text(tabbed(gtex))
    files = replace(golden_raw, gtex=tmp_path / "odd")
    text = f"'{name}': annotation of the genes among"
    refused(lambda: run_prepare(files, tmp_path / "p.h5", QUICK), text)
    report = same_study(golden_raw, files, replace(QUICK, force_platform=True))
    assert f"odd: columns of annotation, no profiles: {name!r}" in report.notes
    told = json.loads((tmp_path / "other.h5.provenance.json").read_text())
    assert list(report.notes) == told["notes"]


@pytest.mark.parametrize("kind", ["z-scores", "counts"])
def test_z_scores_and_negative_counts(kind, gtex, golden_raw, run_prepare, tmp_path) -> None:
    made, cause = (gtex * 100).round(), "has 1 negative values"
    made.iloc[2, 3] = -1
    if kind == "z-scores":
        spread = gtex.std(axis=1).replace(0, 1)
        made = gtex.sub(gtex.mean(axis=1), axis=0).div(spread, axis=0)
        cause = "its values are"
    (tmp_path / "odd").write_text(tabbed(made))
    files = replace(golden_raw, gtex=tmp_path / "odd")
    refused(lambda: run_prepare(files, tmp_path / "p.h5", QUICK), cause, path=files.gtex)
    assert not (tmp_path / "p.h5").exists()
