"""Files as people really have them: read right, to the bit, or refused by their true cause.

Every table is made by pandas from the same values; what is read right must give the bits of the
plain table, for its profiles and no others.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.cli import main
from dgex_jax.config import PredictOptions
from dgex_jax.errors import FormatError
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.model.model import write_model
from dgex_jax.model.predict import inferred
from dgex_jax.model.scale import make_plan
from tests.io.archs4_file import write_archs4

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

N = 12


@pytest.fixture(scope="module")
def frame(model) -> pd.DataFrame:
    """Genes by profiles, as TPM are: genes differ more than profiles do."""
    rng = np.random.default_rng(4)
    genes = list(dict.fromkeys([*model.landmarks.ensembl, *model.targets.ensembl]))
    values = np.exp(rng.normal(3, 2, (len(genes), 1)) + rng.normal(0, 0.6, (len(genes), N)))
    return pd.DataFrame(
        np.round(values, 3), index=genes, columns=[f"TCGA-{n:02d}-A" for n in range(N)]
    )


@pytest.fixture
def read(model, tmp_path) -> Callable[..., tuple[tuple[str, ...], NDArray[Any], Any]]:
    """Write a file, and give its profiles, the values inferred and the plan."""

    def run(content: bytes | Path, platform: str = "microarray", **options: Any) -> Any:
        path = content
        if isinstance(content, bytes):
            path = tmp_path / "in.txt"
            path.write_bytes(content)
        chosen = PredictOptions(platform, **options)  # type: ignore[arg-type]
        with ExitStack() as files:
            accept = chosen.accept_wrong_dimensions
            source = open_input(path, files, accept_wrong_dimensions=accept)
            plan = make_plan(model, source, chosen, Progress())
            profiles = plan.match.source.profiles
            values = np.concatenate(
                [block.values for block in inferred(plan, slice(0, len(profiles)))]
            )
        return profiles, values, plan

    return run


@pytest.fixture
def refused(read) -> Callable[..., str]:
    """Give the one line that a file is refused with."""

    def run(content: bytes, **options: Any) -> str:
        with pytest.raises(FormatError) as caught:
            read(content, **options)
        text = str(caught.value)
        assert "\n" not in text
        return text

    return run


def text(frame: pd.DataFrame, mark: str, label: str = "gene", **options: Any) -> str:
    return frame.to_csv(sep=mark, index_label=label, lineterminator="\n", **options)


def lines(content: str, change: Callable[[int, str], str]) -> bytes:
    return "".join(
        f"{change(number, line)}\n" for number, line in enumerate(content.splitlines())
    ).encode()


def header_short(content: str, mark: str) -> str:
    return content.partition(mark)[2]


def counted(frame: pd.DataFrame) -> pd.DataFrame:
    return (frame * 100).round().astype(int)


def annotated(frame: pd.DataFrame, place: int = 0, **columns: Any) -> pd.DataFrame:
    """With columns of annotation before a profile."""
    made = frame.copy()
    for name, values in columns.items():
        made.insert(place, name, values)
    return made


GENOMIC = {
    "Chr": lambda n: [f"chr{k % 22 + 1}" if k % 9 else "X" for k in range(n)],
    "Start": lambda n: [1000 * k + 7 for k in range(n)],
    "Strand": lambda n: ["+-"[k % 2] for k in range(n)],
    "Length": lambda n: [300 + 17 * k for k in range(n)],
    "Entrez_Gene_Id": lambda n: [9000 + 31 * k for k in range(n)],
    "GC": lambda n: [0.3 + 0.3 * (k % 7) / 7 for k in range(n)],
    "gene_biotype": lambda n: ["protein_coding"] * n,
}

SHAPES: dict[str, Callable[[str, str], bytes]] = {
    "plain": lambda content, _: content.encode(),
    "rows end in a separator": lambda content, mark: lines(
        content, lambda n, line: line + mark * (n > 0)
    ),
    "rows end in two": lambda content, mark: lines(
        content, lambda n, line: line + 2 * mark * (n > 0)
    ),
    "header ends in a separator": lambda content, mark: lines(
        content, lambda n, line: line + mark * (n == 0)
    ),
    "all end in a separator": lambda content, mark: lines(content, lambda _, line: line + mark),
    "R": lambda content, mark: header_short(content, mark).encode(),
    "quoted": lambda content, mark: lines(
        content, lambda _, line: mark.join(f'"{cell}"' for cell in line.split(mark))
    ),
    "old Macintosh": lambda content, _: content.replace("\n", "\r").encode(),
    "Windows, byte order mark": lambda content, _: (
        b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()
    ),
    "comments": lambda content, mark: f"# Program: x{mark}y\n##a=b\n{content}".encode(),
    "header after #": lambda content, _: f"#{content}".encode(),
    "bzip2": lambda content, _: bz2.compress(content.encode()),
    "xz": lambda content, _: lzma.compress(content.encode()),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mark", ["\t", ","])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("n", [1, N])
@pytest.mark.parametrize("counts", [False, True])
def test_shapes_of_tables(shape, mark, turned, n, counts, frame, read) -> None:
    some = (counted(frame) if counts else frame).iloc[:, :n]
    _, wanted, _ = read(text(some, "\t").encode())
    content = text(some.T if turned else some, mark, "sample" if turned else "gene")
    profiles, found, _ = read(SHAPES[shape](content, mark))
    assert profiles == tuple(some.columns)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("names", [[name] for name in GENOMIC] + [list(GENOMIC)])
@pytest.mark.parametrize("place", [0, 5, N])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("counts", [False, True])
def test_annotation_is_no_profile(names, place, turned, counts, frame, read) -> None:
    some = counted(frame) if counts else frame
    _, wanted, _ = read(text(some, "\t").encode())
    made = annotated(some, place, **{name: GENOMIC[name](len(some)) for name in names})
    content = text(made.T if turned else made, "\t").encode()
    profiles, found, plan = read(content)
    assert profiles == tuple(some.columns)
    assert found.tobytes() == wanted.tobytes()
    told = " ".join(plan.notes)
    assert all(repr(name) in told for name in names)


@pytest.mark.parametrize("statistic", ["sum", "mean", "std"])
def test_statistics_of_the_profiles_are_no_profile(statistic, frame, read, refused) -> None:
    name = {"sum": "Total", "mean": "AVERAGE", "std": "sd"}[statistic]
    values = getattr(frame, statistic)(axis=1, **({"ddof": 0} if statistic == "std" else {}))
    _, wanted, _ = read(text(frame, "\t").encode())
    profiles, found, plan = read(text(annotated(frame, 3, **{name: values}), "\t").encode())
    assert profiles == tuple(frame.columns)
    assert found.tobytes() == wanted.tobytes()
    # What is called so and is a profile as well as any is not guessed.
    other = text(annotated(frame, 3, **{name: frame.iloc[:, 0] * 1.7}), "\t").encode()
    assert f"whether {name!r} is a profile or annotation" in refused(other)
    profiles, _, plan = read(other, force_platform=True)
    assert name in profiles
    assert f"{name!r} is called as annotation and taken for a profile" in plan.notes


def test_a_profile_called_as_annotation_stays(frame, read) -> None:
    renamed = frame.rename(columns={frame.columns[2]: "end", frame.columns[4]: "GC"})
    profiles, found, _ = read(text(renamed, "\t").encode())
    _, wanted, _ = read(text(frame, "\t").encode())
    assert profiles == tuple(renamed.columns)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", ["series matrix", "GCT", "GCT 1.3", "GEUVADIS"])
@pytest.mark.parametrize("quoted", [False, True])
def test_other_text_formats(kind, quoted, frame, read) -> None:
    _, wanted, _ = read(text(frame, "\t").encode())
    shown = frame.copy()
    quoting = {"quoting": 2} if quoted else {}
    if kind == "series matrix":
        body = text(shown, "\t", "ID_REF", **quoting)
        titles = "\t".join(f'"{name}"' for name in shown)
        content = (
            f'!Series_title\t"A study"\n!Series_summary\t"two\nlines"\n\n!Sample_title\t{titles}\n'
            f"!Sample_organism_ch1\t{titles}\n!series_matrix_table_begin\n{body}"
            "!series_matrix_table_end\n"
        )
    elif kind == "GEUVADIS":
        made = annotated(shown, 0, Coord=7, Chr="X", Gene_Symbol="A")
        content = text(made, "\t", "TargetID", **quoting)
    else:
        first = "#1.2\n" if kind == "GCT" else "#1.3\n"
        sizes = f"{len(shown)}\t{N}" + ("\t1\t0" if kind == "GCT 1.3" else "")
        made = annotated(shown, 0, Description="x")
        content = f"{first}{sizes}\n{text(made, chr(9), 'Name', **quoting)}"
    profiles, found, plan = read(content.encode())
    assert profiles == tuple(frame.columns)
    assert found.tobytes() == wanted.tobytes()
    if kind == "series matrix":
        assert plan.match.source.profile_metadata["title"].tolist() == list(frame.columns)


VALUES_FOR_IDS = {
    "no header": lambda f: f.to_csv(sep="\t", header=False),
    "no header, genes as columns": lambda f: f.T.to_csv(sep="\t", header=False),
    "no ids of genes": lambda f: f.to_csv(sep="\t", index=False),
    "no ids of profiles": lambda f: f.T.to_csv(sep="\t", index=False),
    "no ids at all": lambda f: f.to_csv(sep="\t", index=False, header=False),
    "no ids at all, turned": lambda f: f.T.to_csv(sep=",", index=False, header=False),
}


@pytest.mark.parametrize("kind", VALUES_FOR_IDS)
@pytest.mark.parametrize("n", [1, N])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("symbols", [False, True])
def test_values_are_no_ids(kind, n, whole, symbols, frame, refused, model) -> None:
    """Also whole numbers, of one sample, and all different, as ids are."""
    some = frame.iloc[:, :n]
    if whole:
        # Neither a row nor a column has a number twice.
        some = pd.DataFrame(
            np.arange(1000, 1000 + some.size).reshape(some.shape), some.index, some.columns
        )
    if symbols:
        names = dict(zip(model.landmarks.ensembl, model.landmarks.symbols, strict=True))
        names |= dict(zip(model.targets.ensembl, model.targets.symbols, strict=True))
        some = some.rename(index=names)
    told = refused(VALUES_FOR_IDS[kind](some).encode())
    causes = ("numbers, not ids", "first column has whole numbers", "of numbers without ids")
    assert any(cause in told for cause in causes), told


def test_numeric_ids_are_ids(frame, read, model) -> None:
    """Entrez ids in a header, samples by number, genes by row number beside a column of ids."""
    _, wanted, _ = read(text(frame, "\t").encode())
    by_entrez = dict(zip(model.landmarks.ensembl, model.landmarks.entrez, strict=True))
    few = frame.loc[list(model.landmarks.ensembl)].rename(index=by_entrez)
    _, plain, _ = read(text(few, "\t").encode())
    _, turned, _ = read(text(few.T, ",", "").encode())
    assert turned.tobytes() == plain.tobytes()
    numbered = frame.set_axis([str(n) for n in range(N)], axis=1)
    profiles, found, _ = read(text(numbered, "\t", "").encode())
    assert profiles == tuple(numbered.columns)
    assert found.tobytes() == wanted.tobytes()
    beside = frame.reset_index(names="gene_id")
    _, found, plan = read(beside.to_csv(sep="\t").encode())
    assert found.tobytes() == wanted.tobytes()
    assert plan.match.found.names.field == "gene_id"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda c: c.replace("\t", ";").replace(".", ","), "separated by semicolons"),
        (lambda c: c.replace("\t", " "), "separated by spaces"),
        (lambda c: "<!DOCTYPE html>\n<html>" + c, "is a web page"),
        (lambda _: "version https://git-lfs.github.com/spec/v1\noid x", "is a Git-LFS pointer"),
        (lambda c: "^DATABASE = GeoMiame\n" + c, "is a GEO SOFT file"),
        (lambda _: '{"a": [1]}', "is JSON"),
        (lambda _: "%%MatrixMarket matrix coordinate\n1 1 1\n", "is a MatrixMarket file"),
        (lambda c: "!Sample_title\t1\n!series_matrix_table_begin\n" + c, "was cut off"),
        (lambda _: "!Sample_title\t1\n", "ends before its table"),
        (
            lambda _: (
                "!Series_title\t1\n!series_matrix_table_begin\nID_REF\tGSM1\n"
                "!series_matrix_table_end\n"
            ),
            "are in other files of it",
        ),
    ],
)
def test_what_a_file_is_instead(change, cause, frame, refused) -> None:
    assert cause in refused(change(text(frame, "\t")).encode())


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "is an Excel workbook (.xlsx)"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"PAR1....", "is a Parquet file"),
        (b"\x28\xb5\x2f\xfd....", "is zstd-compressed"),
        (b"\x93NUMPY....", "is a NumPy array"),
        (b"\xff\xfeg\0e\0", "is UTF-16 text"),
        ("gene\tp1\n".encode("utf-16-le"), "is UTF-16 text"),
        (bz2.compress(b"gene\tp\ng\t1\n")[:-5], "truncated bzip2 file"),
        (lzma.compress(b"gene\tp\ng\t1\n")[:-9], "truncated xz file"),
        (b"BZh91AY&SY" + b"rubbish" * 99, "damaged bzip2 file"),
    ],
)
def test_binary_files_are_named(content, cause, refused) -> None:
    assert cause in refused(content)


def _ten_x(file: h5py.File) -> None:
    file["matrix/barcodes"] = [b"AAAC-1"]
    file["matrix/data"] = [1]


def _loom(file: h5py.File) -> None:
    file["matrix"] = np.zeros((2, 2))
    file.create_group("row_attrs")
    file.create_group("col_attrs")


@pytest.mark.parametrize(
    ("fill", "cause"),
    [
        (_ten_x, "is a 10x Genomics HDF5 file"),
        (_loom, "is a loom file"),
        (lambda file: file.create_group("data"), "neither GCTX"),
    ],
)
def test_other_hdf5_files_are_named(fill, cause, refused, tmp_path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        fill(file)
    assert cause in refused((tmp_path / "a.h5").read_bytes())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("named", ["symbol", "ensembl_gene"])
def test_archs4_is_the_same_as_its_counts_as_a_table(
    version, named, frame, model, tmp_path, capsys
) -> None:
    """By the command, to every bit; also where a symbol that no one needs comes twice."""
    made = counted(frame)
    write_model(tmp_path / "model", model)
    genes = {"ensembl_gene": list(made.index), "biotype": ["protein_coding"] * len(made)}
    if named == "symbol":
        places = {name: n for n, name in enumerate(made.index)}
        symbols = [""] * len(made)
        for of in (model.targets, model.landmarks):
            for name, symbol in zip(of.ensembl, of.symbols, strict=True):
                symbols[places[name]] = symbol
        made.index = pd.Index(symbols)
        twice = pd.DataFrame(7, index=["OTHER", "OTHER"], columns=made.columns)
        made = pd.concat([made, twice])
        genes = {"genes" if version == 1 else "symbol": list(made.index)}
    samples = {"geo_accession": list(made.columns), "series_id": ["GSE1"] * N}
    storage = {"chunks": (5, 1), "compression": "gzip"}
    values = made.to_numpy().T.astype(np.uint32)
    write_archs4(tmp_path / "a.h5", values, samples, genes, version=version, **storage)
    (tmp_path / "a.tsv").write_text(text(made, "\t"))
    found = []
    for ending in ("h5", "tsv"):
        words = ["predict", tmp_path / "model", tmp_path / f"a.{ending}", "--platform", "rnaseq"]
        words += ["-o", tmp_path / f"{ending}.gctx", "--standardize", "training"]
        assert main(list(map(str, words))) == 0, capsys.readouterr().err
        with h5py.File(tmp_path / f"{ending}.gctx") as file:
            found.append(file["0/DATA/0/matrix"][...])
            ids = file["0/META/COL/id"].asstr()[:].tolist()
            assert ids == list(made.columns)
    np.testing.assert_array_equal(*found, strict=True)
    with h5py.File(tmp_path / "h5.gctx") as file:
        assert file["0/META/COL/series_id"].asstr()[0] == "GSE1"
        assert ("OTHER" in file.attrs["provenance"]) == (named == "symbol")


GCT = "#1.2\n{n}\t{p}\n"


def test_a_gct_says_more_or_less_than_its_table(frame, refused, read) -> None:
    """A declared layout that the table contradicts never costs a profile."""
    bare = text(frame, "\t", "Name")
    for accept in (False, True):
        # Without its Description, the dimensions miscounted to fit or not.
        for p in (N - 1, N):
            content = GCT.format(n=len(frame), p=p) + bare
            if accept or p == N - 1:
                told = refused(content.encode(), accept_wrong_dimensions=accept)
                assert "stands in the place of the column Description" in told
        full = text(annotated(frame, Description="d"), "\t", "Name")
        for p in (N - 1, N + 1):
            content = (GCT.format(n=len(frame), p=p) + full).encode()
            if accept:
                profiles, _, _ = read(content, accept_wrong_dimensions=True)
                assert profiles == tuple(frame.columns)
            else:
                assert f"says {p} profiles" in refused(content)
        # Counts as well, and a header that lacks a column the rows have.
        content = GCT.format(n=len(frame), p=N - 1) + text(counted(frame), "\t", "Name")
        assert "Description" in refused(content.encode(), accept_wrong_dimensions=accept)
        header, _, rows = full.partition("\n")
        short = GCT.format(n=len(frame), p=N - 1) + header.rpartition("\t")[0] + "\n" + rows
        assert "columns, but the header has" in refused(
            short.encode(), accept_wrong_dimensions=accept
        )


def test_a_gct_1_3_with_too_many_fields_declared(frame, refused, read) -> None:
    made = annotated(frame, Description="d")
    above = "tissue\tna\t" + "\t".join(f"t{n}" for n in range(N)) + "\n"
    header, _, rows = text(made, "\t", "Name").partition("\n")
    for declared, first in ((1, N), (2, N - 1)):
        content = f"#1.3\n{len(frame)}\t{first}\t{declared}\t1\n{header}\n{above}{rows}".encode()
        if declared == 1:
            assert read(content)[0] == tuple(frame.columns)
        else:
            assert "stands in the place of annotation" in refused(content)


NAMES = {
    "Ensembl with a version|symbol": "{e}.12|{s}",
    "symbol (Entrez)": "{s} ({z})",
    "symbol|Entrez": "{s}|{z}",
    "Ensembl_symbol": "{e}_{s}",
    "symbol_Ensembl": "{s}_{e}.3",
    "lower case": "{low}",
    "R's X": "X{z}",
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("turned", [False, True])
def test_composite_and_changed_ids(kind, turned, frame, read, model) -> None:
    genes = model.landmarks
    few = frame.loc[list(genes.ensembl)]
    _, wanted, _ = read(text(few, "\t").encode(), platform="l1000")
    ids = [
        NAMES[kind].format(e=e, s=s, z=z, low=s.lower())
        for e, s, z in zip(genes.ensembl, genes.symbols, genes.entrez, strict=True)
    ]
    made = few.set_axis(ids, axis=0)
    _, found, plan = read(text(made.T if turned else made, "\t").encode(), platform="l1000")
    assert found.tobytes() == wanted.tobytes()
    assert plan.match.missing == ()


@pytest.fixture
def renaming(model) -> Any:
    """The model with landmarks that HGNC has renamed: H2AFV is H2AZ2 today, and so on."""
    symbols = ("H2AFV", "MARCH1", "AARS", "HIST1H1C", "B3GNT1", *model.landmarks.symbols[5:])
    landmarks = replace(model.landmarks, symbols=symbols)
    return replace(model, landmarks=landmarks)


def test_previous_symbols(renaming, frame, tmp_path) -> None:
    """A present symbol goes before a previous one; an ambiguous one is named, not guessed."""
    symbols = list(renaming.landmarks.symbols)
    few = frame.loc[list(renaming.landmarks.ensembl)]

    def plan(names: list[str], **options: Any) -> Any:
        path = tmp_path / "in.tsv"
        path.write_text(text(few.set_axis(names[: len(few)], axis=0), "\t"))
        with ExitStack() as files:
            return make_plan(
                renaming,
                open_input(path, files),
                PredictOptions("l1000", **options),
                Progress(),
            )

    now = ["H2AZ2", "MARCHF1", "AARS1", "H1-2", *symbols[4:]]
    found = plan(now)
    assert dict(found.match.renamed) == dict(zip(symbols[:4], now[:4], strict=True))
    assert found.match.wanted == tuple((place,) for place in range(20))
    told = "4 genes were found by another symbol (HGNC): H2AFV as H2AZ2"
    assert any(line.startswith(told) for line in found.lines())
    # B3GNT1 was the symbol of two genes.
    for name in ("B3GNT2", "B4GAT1"):
        with pytest.raises(FormatError, match=f"B3GNT1 may be '{name}'"):
            plan([*symbols[:4], name, *symbols[5:]])
        with pytest.raises(FormatError, match=f"can't be imputed.*B3GNT1 may be '{name}'"):
            plan([*symbols[:4], name, *symbols[5:]], impute=True)
    # The gene is there by its own symbol: that is the one.
    both = plan([*symbols[:19], symbols[19]])
    assert dict(both.match.renamed) == {}


def test_symbols_of_the_mouse_are_not_those_of_man(frame, refused, model) -> None:
    few = frame.loc[list(model.landmarks.ensembl)]
    mouse = few.set_axis([f"Tsp{chr(97 + n)}n" for n in range(len(few))], axis=0)
    assert "genes of the mouse" in refused(text(mouse, "\t").encode())


def test_the_field_that_finds_most_wins_and_others_fill_in(frame, read, refused, model) -> None:
    genes = model.landmarks
    few = frame.loc[list(genes.ensembl)]
    symbols = ["?", "?", *genes.symbols[2:]]
    ensembl = [*genes.ensembl[:17], "ENSG09999999991", "ENSG09999999992", "ENSG09999999993"]
    made = few.set_axis(symbols, axis=0)
    made.index = pd.Index([f"{name}{n}" if name == "?" else name for n, name in enumerate(symbols)])
    made.insert(0, "my ids", ensembl)
    content = text(made, "\t").encode()
    _, wanted, _ = read(text(few, "\t").encode(), platform="l1000")
    _, found, plan = read(content, platform="l1000")
    assert found.tobytes() == wanted.tobytes()
    assert plan.match.second == (
        "by symbol 18 of 20 landmarks were found; by Ensembl id in the field 'my ids' 17"
    )
    assert set(plan.match.by_other_names) == set(genes.symbols[:2])
    # With one kind alone they are missing, and the message says where they are.
    told = refused(content, platform="l1000", input_ids="symbol")
    assert f"{genes.symbols[0]} may be '{genes.ensembl[0]}' by Ensembl id in the field" in told
    assert "--impute" not in told
    told = refused(content, platform="l1000", input_ids="symbol", impute=True)
    assert "2 landmarks can't be imputed" in told


Z_SCORES = {
    "z-scores": lambda v: (v - v.mean(axis=0)) / v.std(axis=0),
    "log-ratios": lambda v: v - v.mean(axis=0),
    "centred profiles": lambda v: v - np.median(v, axis=1, keepdims=True),
}


@pytest.mark.parametrize("kind", Z_SCORES)
@pytest.mark.parametrize(
    ("platform", "n"),
    # Of L1000 only the landmarks are looked at: twenty values a profile say little here.
    [("rnaseq", 2), ("rnaseq", 40), ("microarray", 2), ("microarray", 40), ("l1000", 40)],
)
def test_values_around_zero_are_no_expression(kind, platform, n, frame, read, refused) -> None:
    rng = np.random.default_rng(7)
    values = Z_SCORES[kind](rng.normal(8, 2, (n, len(frame))))
    options = {"platform": platform, "standardize": "training"}
    content = text(pd.DataFrame(values.T, frame.index, [f"p{k}" for k in range(n)]), "\t").encode()
    told = refused(content, **options)
    assert "--platform standardized" in told
    assert "--force-platform" in told
    _, _, plan = read(content, **options, force_platform=True)
    assert any(warning.endswith("(forced)") for warning in plan.warnings)


def test_what_values_are_taken_for(frame, read, refused) -> None:
    options = {"platform": "rnaseq", "standardize": "training"}
    for made, said in (
        (frame, "taken for counts, TPM or intensities, not logarithms"),
        (counted(frame), "taken for counts"),
        (np.log2(frame + 1), "taken for logarithms"),
        (np.log2(frame + 0.001), "taken for logarithms"),
    ):
        _, _, plan = read(text(made, "\t").encode(), **options)
        assert plan.notes[-1].endswith(said)
    negative = counted(frame)
    negative.iloc[3, 2] = -4
    told = refused(text(negative, "\t").encode(), **options)
    assert "has 1 negative values (the first is -4 in profile 'TCGA-02-A'" in told
    told = refused(text(np.log2(frame + 1), "\t").encode(), platform="standardized")
    assert "has no negative value" in told


def test_what_to_look_at_goes_to_standard_error_and_into_the_output(
    frame, model, tmp_path, capsys, monkeypatch
) -> None:
    write_model(tmp_path / "model", model)
    content = "# made by x\n" + text(frame, "\t")
    monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": io.BytesIO(content.encode())})())
    command = ["predict", str(tmp_path / "model"), "-", "-o", str(tmp_path / "o.gctx"), "-q"]
    assert main([*command, "--platform", "l1000"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("dgex: warning: -: only ")
    assert told.err.count("\n") == 1
    assert "warning" not in told.out
    with h5py.File(tmp_path / "o.gctx") as file:
        said = json.loads(file.attrs["provenance"])
    assert len(said["warnings"]) == 1
    assert said["input"]["name"] == "standard input"
    assert said["input"]["comments"] == ["# made by x"]
    assert "1 comment lines before the table were skipped" in said["input"]["notes"]
