"""``dgex predict`` as a user meets it: what it says, and what it refuses in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgex_jax.cli import main
from dgex_jax.inference.modelfile import write_model


@pytest.fixture(scope="session")
def folder(model, tmp_path_factory):
    """The model as a folder."""
    path = tmp_path_factory.mktemp("model") / "model"
    write_model(path, model)
    return path


def run(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


@pytest.fixture
def refused(capsys, tmp_path, folder):
    """Give a function that runs a prediction which must fail with one line and write nothing."""

    def call(path, *more: object, platform: str = "standardized") -> str:
        before = sorted((child.name, child.stat().st_mtime_ns) for child in tmp_path.rglob("*"))
        try:
            code = run(folder, path, "-o", tmp_path / "out.gctx", "--platform", platform, *more)
        except SystemExit as stop:
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2
        assert error.count("\n") == 1
        assert error.startswith("dgex")
        after = sorted((child.name, child.stat().st_mtime_ns) for child in tmp_path.rglob("*"))
        assert after == before
        return error

    return call


def test_what_was_done_is_said(folder, table, tmp_path, write, capsys) -> None:
    path = write(table, tmp_path / "in.csv", "csv")
    output = tmp_path / "out.gctx"
    assert run(folder, path, "-o", output, "--platform", "rnaseq", "-q") == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert lines[0] == f"{path}: 40 profiles, 20 of 20 landmarks by Ensembl id on its rows"
    assert re.fullmatch(rf"{path}: values from -\S+ to \S+: taken for logarithms", lines[1])
    assert lines[2].startswith(f"{path}: 2")
    assert "fewer than 90%: ranks among the 20 landmarks present" in lines[2]
    assert lines[3:] == [
        f"{path}: standardised by the means and deviations of these profiles",
        f"{path}: the model was trained on simulated data",
        f"{output}: 40 profiles x 20 landmarks and 45 inferred genes, standardised units",
    ]
    with h5py.File(output) as file:
        assert file["0/DATA/0/matrix"].shape == (40, 65)
        assert b'"sha256": "' in file.attrs["provenance"].encode()


@pytest.fixture
def spoilt(table, tmp_path):
    """Give a function that writes the table as TSV with changes."""

    def make(**changes: object):
        path = tmp_path / "in.tsv"
        replace(table, **changes).frame().to_csv(path, sep="\t", index_label="gene")
        return path

    return make


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
    assert f"1 of 20 landmarks are missing (by symbol on its rows): {symbols[first]}" in error
    assert "turned symbols into dates ('1-Mar')" in error


def test_values_that_can_not_be_used(refused, spoilt, table, tmp_path, model) -> None:
    holes, flat = table.values.copy(), table.values.copy()
    holes[3, table.genes.index(model.landmarks.ensembl[2])] = np.nan
    flat[5] = 1
    first = "1 missing and 0 infinite values; the first is nan in profile 'p03'"
    assert first in refused(spoilt(values=holes))
    assert "1 profiles have one value for all genes, the first is 'p05'" in refused(
        spoilt(values=flat)
    )
    one = spoilt(values=table.values[:1], profiles=("p",))
    assert "has 1 profiles, too few" in refused(one, platform="rnaseq")
    path = tmp_path / "in.tsv"
    path.write_text("gene\n")
    assert "is no table" in refused(path)
    path.write_text("gene\t\nENSG1\t\n")
    assert "line 1: has the ids' column alone" in refused(path)


def test_one_profile_is_enough_for_the_scale_of_training(folder, spoilt, table, tmp_path) -> None:
    one = spoilt(values=table.values[:1], profiles=("p",))
    assert run(folder, one, "-o", tmp_path / "o.gctx", "--platform", "microarray", "-q") == 0
    with h5py.File(tmp_path / "o.gctx") as file:
        assert np.isfinite(file["0/DATA/0/matrix"][...]).all()


def test_bad_options(refused, folder, table, tmp_path, write, capsys) -> None:
    path = write(table, tmp_path / "in.gctx", "gctx")
    assert "are taken as they are" in refused(path, "--standardize", "input")
    assert "invalid choice: 'array'" in refused(path, platform="array")
    assert "block_size = 0: must be at least 1" in refused(path, "--block-size", "0")
    assert "invalid choice: 'name'" in refused(path, "--ids", "name")
    assert "of 20 landmarks 0 on its rows" in refused(path, "--ids", "probe")
    assert run(tmp_path / "none", path, "-o", tmp_path / "o.gctx", "--platform", "l1000") == 2
    assert "no such model folder" in capsys.readouterr().err
    assert run(folder, path, "-o", tmp_path / "o.csv", "--platform", "l1000") == 2
    assert "the output ends in .gctx, .gct, .gct.gz, .h5ad or .zarr" in capsys.readouterr().err


@pytest.fixture
def told(folder, table, tmp_path, write, capsys):
    """Give a function that predicts with some flags: the values and what was said."""
    path = write(table, tmp_path / "in.gct", "gct")

    def call(*flags: str, platform: str = "rnaseq") -> tuple[bytes, str, str]:
        output = tmp_path / "out.gctx"
        assert run(folder, path, "-o", output, "--platform", platform, *flags) == 0
        said = capsys.readouterr()
        with h5py.File(output) as file:
            return file["0/DATA/0/matrix"][...].tobytes(), said.out, said.err

    return call


@pytest.mark.parametrize(
    "flags", [("--standardize", "training"), ("--scale", "reference"), ("--platform", "l1000")]
)
def test_flags_that_change_values(told, flags) -> None:
    assert told(*flags)[0] != told()[0]


@pytest.mark.parametrize("flags", [("--impute",), ("--ids", "ensembl"), ("--block-size", "3")])
def test_flags_that_change_nothing_of_a_good_file(told, flags) -> None:
    assert told(*flags) == told()


def test_quiet(told, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.data.progress.SECONDS_BETWEEN_LINES", 0.0)
    plain, quiet = told(), told("--quiet")
    assert plain[:2] == quiet[:2]
    assert plain[2]
    assert not quiet[2]


def test_impute_and_accept_wrong_dimensions(folder, table, tmp_path, write, capsys, model) -> None:
    kept = [n for n, gene in enumerate(table.genes) if gene != model.landmarks.ensembl[4]]
    fewer = replace(table, values=table.values[:, kept], genes=tuple(table.genes[n] for n in kept))
    path = write(fewer, tmp_path / "in.gct", "gct")
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("28", "56200", 1)
    path.write_text("\n".join(lines) + "\n")
    words = [folder, path, "-o", tmp_path / "o.gctx", "--platform", "standardized", "-q"]
    assert run(*words) == 2
    assert "the dimension line says 56200 rows" in capsys.readouterr().err
    words.append("--accept-wrong-dimensions")
    assert run(*words) == 2
    assert f"missing (by Ensembl id on its rows): {model.landmarks.symbols[4]};" in (
        capsys.readouterr().err
    )
    assert run(*words, "--impute") == 0
    assert "1 missing landmarks have their training mean" in capsys.readouterr().out


def test_progress_has_rate_and_time_left(
    folder, table, tmp_path, write, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("dgex_jax.data.progress.SECONDS_BETWEEN_LINES", 0.0)
    path = write(table, tmp_path / "in.gctx", "gctx")
    assert run(folder, path, "-o", tmp_path / "o.gctx", "--platform", "l1000") == 0
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
