"""From a file to a file: the same bits however it is cut, read again by others, whole or absent."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgex_jax.data.progress import Progress
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import Gctx, write_gctx
from dgex_jax.inference.network import BATCH
from dgex_jax.inference.options import PredictOptions
from dgex_jax.inference.plan import make_plan
from dgex_jax.inference.predict import inferred, predict

PLAIN = PredictOptions("standardized")


@pytest.fixture(scope="module")
def many(model, tmp_path_factory):
    """Two whole batches of profiles and a piece, with raw values."""
    n = 2 * BATCH + 37
    rng = np.random.default_rng(11)
    genes = tuple(dict.fromkeys([*model.landmarks.ensembl, *model.targets.ensembl]))
    values = (rng.gamma(2, 3, (n, len(genes))) - 3.5).astype(np.float32)
    profiles = tuple(f"s{k}" for k in range(n))
    path = tmp_path_factory.mktemp("many") / "many.gctx"
    write_gctx(path, Expression(path, values, profiles, genes))
    return path


def matrix(path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["0/DATA/0/matrix"][...]


@pytest.mark.parametrize(
    ("platform", "scale"), [("standardized", "reference"), ("rnaseq", "standardized")]
)
def test_any_block_size_gives_the_same_file(many, model, tmp_path, platform, scale) -> None:
    sums = set()
    for size in (1, 100, 256, 257, 5000):
        options = PredictOptions(platform, scale=scale, block_size=size)
        predict(model, many, tmp_path / "a.gctx", options)
        sums.add(hashlib.sha256((tmp_path / "a.gctx").read_bytes()).hexdigest())
    assert len(sums) == 1
    assert matrix(tmp_path / "a.gctx").shape == (2 * BATCH + 37, 65)


def test_a_run_of_profiles_is_that_part_of_all(many, model, network) -> None:
    """Shares of a file, cut where batches begin, have the bits of the whole."""
    with Gctx(many) as source:
        plan = make_plan(model, source, PLAIN, Progress())
        whole = np.concatenate(list(inferred(plan, network, slice(0, len(source.profiles)))))
        for rows in (slice(BATCH, 2 * BATCH), slice(2 * BATCH, len(source.profiles))):
            part = np.concatenate(list(inferred(plan, network, rows)))
            assert part.tobytes() == whole[rows].tobytes()
        with pytest.raises(ValueError, match="rows begin at 7, no multiple"):
            next(inferred(plan, network, slice(7, 20)))


class Watched:
    """A source that counts the most profiles read at a time."""

    def __init__(self, base) -> None:
        self._base = base
        self.most = 0

    def __getattr__(self, name: str):
        return getattr(self._base, name)

    def read(self, profiles=None, genes=None):
        values = self._base.read(profiles, genes)
        self.most = max(self.most, len(values))
        return values


def test_no_more_profiles_at_a_time_than_a_block(many, model, network) -> None:
    with Gctx(many) as source:
        watched = Watched(source)
        options = PredictOptions("rnaseq", block_size=BATCH)
        plan = make_plan(model, watched, options, Progress())
        n = sum(len(values) for values in inferred(plan, network, slice(0, len(source.profiles))))
    assert n == 2 * BATCH + 37
    assert watched.most == BATCH


def test_provenance_says_what_decides_the_values(model, table, tmp_path, write) -> None:
    names = list(model.landmarks.ensembl)
    kept = [place for place, gene in enumerate(table.genes) if gene not in names[2:5]]
    fewer = replace(
        table, values=table.values[:, kept], genes=tuple(table.genes[place] for place in kept)
    )
    path = write(fewer, tmp_path / "in.tsv", "tsv")
    options = PredictOptions("rnaseq", impute=True, scale="reference")
    done = predict(model, path, tmp_path / "a.gctx", options)
    with h5py.File(tmp_path / "a.gctx") as file:
        told = json.loads(file.attrs["provenance"])
        sources = [text.decode() for text in file["0/META/ROW/source"]]
        errors = file["0/META/ROW/expected_error"][20:]
    assert told["input"] == {
        "name": "in.tsv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "genes": "by Ensembl id on its rows",
        "second": "",
        "renamed": {},
        "by_other_names": {},
        "notes": [next(note for note in done.notes if note.endswith("taken for logarithms"))],
        "comments": [],
    }
    assert told["warnings"] == []
    assert told["options"] == {
        "platform": "rnaseq",
        "standardize": "input",
        "scale": "reference",
        "impute": True,
        "force_platform": False,
    }
    assert told["imputed"] == list(model.landmarks.symbols[2:5])
    assert told["expected_error_on"] == "GTEx"
    assert [place for place, text in enumerate(sources) if text == "imputed"] == [2, 3, 4]
    np.testing.assert_allclose(errors, model.errors["GTEx"] * model.targets.sd)
    values = matrix(tmp_path / "a.gctx")
    np.testing.assert_allclose(
        values[:, 2:5], np.tile(model.landmarks.mean[2:5], (40, 1)), rtol=1e-6
    )
    assert str(tmp_path) not in json.dumps(told)
    assert done.notes[0] == "40 profiles, 17 of 20 landmarks by Ensembl id on its rows"
    assert (
        f"3 missing landmarks have their training mean: {', '.join(told['imputed'])}" in done.notes
    )
    assert "the model was trained on simulated data" in done.notes
    with pytest.raises(FormatError, match="3 of 20 landmarks are missing"):
        predict(model, path, tmp_path / "b.gctx", PredictOptions("rnaseq"))
    assert not (tmp_path / "b.gctx").exists()


@pytest.mark.parametrize("name", ["a.gctx", "a.gct", "a.h5ad"])
def test_a_failure_on_the_way_leaves_nothing(name, model, many, tmp_path) -> None:
    if name == "a.h5ad":
        pytest.importorskip("anndata")
    (tmp_path / name).write_text("older")
    seen = []

    def fail(step: str, done: int, total: int) -> None:
        seen.append((step, done, total))
        if step == "inferring" and done > BATCH:
            raise DgexError("the disk is gone")

    with pytest.raises(DgexError, match="the disk is gone"):
        predict(model, many, tmp_path / name, PLAIN, progress=fail)
    assert ("inferring", 2 * BATCH, 2 * BATCH + 37) in seen
    # The empty lock file stays, as beside every output.
    assert {path.name for path in tmp_path.iterdir()} == {name, f".{name}.lock"}
    assert (tmp_path / name).read_text() == "older"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("a.txt", "the output ends in .gctx, .gct, .gct.gz, .h5ad or .zarr"),
        ("no/a.gctx", "can't be written: not a file in a folder that is there"),
        ("folder.gct", "can't be written: not a file in a folder that is there"),
        ("in.gctx", "is the input, not to be overwritten"),
    ],
)
def test_places_that_can_not_be_written(name, cause, model, table, tmp_path, write) -> None:
    path = write(table, tmp_path / "in.gctx", "gctx")
    before = path.read_bytes()
    (tmp_path / "folder.gct").mkdir()
    with pytest.raises(DgexError, match=re.escape(f"{tmp_path / name}: {cause}")):
        predict(model, path, tmp_path / name, PLAIN)
    assert path.read_bytes() == before
