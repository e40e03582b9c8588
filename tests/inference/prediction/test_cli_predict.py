"""``dgex predict`` as a user meets it: what it says, and what it refuses in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest

from dgex_jax.model.model import write_model
from tests.cli.case import command, refused_line


@pytest.fixture(scope="session")
def folder(model, tmp_path_factory):
    """The model as a folder."""
    path = tmp_path_factory.mktemp("model") / "model"
    write_model(path, model)
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.gctx"


@pytest.fixture
def run(folder, output):
    """Give a function that predicts a file, to ``out.gctx``."""

    def call(path, *more: object, platform: str = "standardized") -> int:
        return command("predict", folder, path, "-o", output, "--platform", platform, *more)

    return call


@pytest.fixture
def refused(capsys, tmp_path, run):
    """Give a function that runs a prediction which must fail with one line and write nothing."""

    return partial(refused_line, capsys, tmp_path, run)


@pytest.fixture
def spoilt(table, tmp_path):
    """Give a function that writes the table as TSV with changes."""

    def make(**changes: object):
        path = tmp_path / "in.tsv"
        replace(table, **changes).frame().to_csv(path, sep="\t", index_label="gene")
        return path

    return make


@pytest.fixture
def told(run, table, tmp_path, output, write, capsys):
    """Give a function that predicts with some flags: the values and what was said."""
    path = write(table, tmp_path / "in.gct", "gct")

    def call(*flags: str) -> tuple[bytes, str, str]:
        assert run(path, *flags, platform="rnaseq") == 0
        said = capsys.readouterr()
        with h5py.File(output) as file:
            return file["0/DATA/0/matrix"][...].tobytes(), said.out, said.err

    return call


def test_what_was_done_is_said(run, table, tmp_path, output, write, capsys, model, folder) -> None:
    path = write(table, tmp_path / "in.csv", "csv")
    assert run(path, "-q", platform="rnaseq") == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert lines[0] == f"{path}: 40 profiles, 20 of 20 landmarks by Ensembl id on its rows"
    assert re.fullmatch(rf"{path}: values from -\S+ to \S+: taken for logarithms", lines[1])
    assert lines[2].startswith(f"{path}: 2")
    assert "fewer than 90%: ranks among the 20 landmarks present" in lines[2]
    trusted = f"{(model.errors['GTEx'] < 0.5).sum()} of 45 inferred genes have an expected error"
    assert lines[3:] == [
        f"{path}: standardised by the means and deviations of these profiles",
        f"{path}: the model was trained on simulated data",
        f"{output}: 40 profiles x 20 landmarks and 45 inferred genes, standardised units",
        f"{trusted} below 0.5 standardised units (MAE_GTEx of genes.tsv in {folder})",
    ]
    with h5py.File(output) as file:
        assert file["0/DATA/0/matrix"].shape == (40, 65)
        assert b'"sha256": "' in file.attrs["provenance"].encode()


def test_genes_that_can_not_be_told(refused, spoilt, table, tmp_path, model) -> None:
    genes, first = table.genes, model.landmarks.ensembl[0]
    assert "no such file" in refused(tmp_path / "nothing.gct")
    assert "is a folder" in refused(tmp_path)
    strange = [f"x{n}" for n in range(len(genes))]
    assert "of 20 landmarks 0 on its rows" in refused(spoilt(genes=strange))
    numbers = [str(n) for n in range(len(genes))]
    assert "row numbers are no ids" in refused(spoilt(genes=numbers))
    both = (*genes, *table.profiles[len(genes) :])
    assert "which of them are the genes can't be told" in refused(spoilt(profiles=both))
    twice = [first if gene.startswith("ENSG90000000008") else gene for gene in genes]
    assert twice.count(first) == 2
    assert f"genes of the model are there twice: {first!r}" in refused(spoilt(genes=twice))
    symbols = dict(zip(model.landmarks.ensembl, model.landmarks.symbols, strict=True))
    mangled = ["1-Mar" if gene == first else symbols.get(gene, gene) for gene in genes]
    error = refused(spoilt(genes=mangled))
    assert "1 of 20 landmarks are missing (by symbol on its rows): " in error
    assert f"{symbols[first]}; a spreadsheet has turned symbols into dates ('1-Mar')" in error


def test_values_that_can_not_be_used(refused, spoilt, table, tmp_path, model) -> None:
    holes, flat = table.values.copy(), table.values.copy()
    holes[3, table.genes.index(model.landmarks.ensembl[2])] = np.nan
    flat[5] = 1
    first = "1 missing and 0 infinite values; the first is nan in profile 'p03'"
    assert first in refused(spoilt(values=holes))
    one_value = "1 profiles have one value for all genes, the first is 'p05'"
    assert one_value in refused(spoilt(values=flat))
    one = spoilt(values=table.values[:1], profiles=("p",))
    assert "has 1 profiles, too few" in refused(one, "--platform", "rnaseq")
    path = tmp_path / "in.tsv"
    path.write_text("gene\n")
    assert "is no table" in refused(path)
    path.write_text("gene\t\nENSG1\t\n")
    assert "line 1: has the ids' column alone" in refused(path)


def test_one_profile_is_enough_for_the_scale_of_training(run, spoilt, table, output) -> None:
    one = spoilt(values=table.values[:1], profiles=("p",))
    assert run(one, "-q", platform="microarray") == 0
    with h5py.File(output) as file:
        assert np.isfinite(file["0/DATA/0/matrix"][...]).all()


def test_bad_options(refused, folder, table, tmp_path, write, capsys) -> None:
    path = write(table, tmp_path / "in.gctx", "gctx")
    assert "are taken as they are" in refused(path, "--standardize", "input")
    assert "invalid choice: 'array'" in refused(path, "--platform", "array")
    assert "block_size = 0: must be at least 1" in refused(path, "--block-size", "0")
    assert "invalid choice: 'name'" in refused(path, "--input-ids", "name")
    assert "of 20 landmarks 0 on its rows" in refused(path, "--input-ids", "probe")
    assert "invalid choice: 'probe'" in refused(path, "--ids", "probe")
    endings = ".gctx, .gct, .gct.gz, .tsv, .tsv.gz, .csv, .csv.gz, .parquet, .h5ad or .zarr"
    assert f"the output ends in {endings}" in refused(path, "-o", tmp_path / "o.txt")
    assert command("predict", "none", path, "-o", "o.gctx", "--platform", "l1000") == 2
    assert "no such model folder" in capsys.readouterr().err
    assert command("predict", folder, path, "-o", "o.gctx") == 2
    assert "the following arguments are required: --platform" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (("--standardize", "training"), True),
        (("--scale", "reference"), True),
        (("--platform", "l1000"), True),
        (("--impute",), False),
        (("--input-ids", "ensembl"), False),
        (("--block-size", "3"), False),
    ],
)
def test_flags_that_change_values_or_nothing_of_a_good_file(told, flags, changes) -> None:
    found, plain = told(*flags), told()
    assert found[0] != plain[0] if changes else found == plain


def test_quiet(told, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.io.progress.SECONDS_BETWEEN_LINES", 0.0)
    plain, quiet = told(), told("--quiet")
    assert plain[:2] == quiet[:2]
    assert plain[2]
    assert not quiet[2]


def test_impute_and_accept_wrong_dimensions(
    run, refused, table, tmp_path, write, capsys, model
) -> None:
    kept = [n for n, gene in enumerate(table.genes) if gene != model.landmarks.ensembl[4]]
    fewer = replace(table, values=table.values[:, kept], genes=tuple(table.genes[n] for n in kept))
    path = write(fewer, tmp_path / "in.gct", "gct")
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("28", "56200", 1)
    path.write_text("\n".join(lines) + "\n")
    assert "the dimension line says 56200 rows" in refused(path, "-q")
    words = [path, "-q", "--accept-wrong-dimensions"]
    missing = f"missing (by Ensembl id on its rows): {model.landmarks.symbols[4]};"
    assert missing in refused(*words)
    assert run(*words, "--impute") == 0
    assert "1 missing landmarks have their training mean" in capsys.readouterr().out


def test_progress_has_rate_and_time_left(run, table, tmp_path, write, capsys, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.io.progress.SECONDS_BETWEEN_LINES", 0.0)
    path = write(table, tmp_path / "in.gctx", "gctx")
    assert run(path, platform="l1000") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("checking in.gctx: 40 of 40 profiles, ")
    assert lines[-2].startswith("inferring: 40 of 40 profiles, ")
    assert lines[-2].endswith(" s left")
    assert lines[-1].startswith(f"dgex: warning: {path}: only 0.0% of the values are in the ")


def test_help_starts_without_numerical_libraries() -> None:
    code = (
        "import sys, dgex_jax.cli as c; c.parser(); "
        "print(sorted({'jax', 'numpy', 'pandas', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
