"""An interrupted prediction resumes and ends in the bytes of an undisturbed one; zarr in parts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgex_jax.cli import main
from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError
from dgex_jax.io import partial
from dgex_jax.io.expression import Expression
from dgex_jax.io.files import locked
from dgex_jax.io.manifest import sidecar
from dgex_jax.io.writers import write_gctx
from dgex_jax.io.zarr import check_zarr
from dgex_jax.model import predict as provenance
from dgex_jax.model.model import write_model
from dgex_jax.model.predict import predict
from dgex_jax.train.arrays import BATCH

RNASEQ = PredictOptions("rnaseq", block_size=300)
N = 5 * BATCH + 37
SHARDS = 6
SHARDING = "dgex_jax.io.zarr.default_profiles_per_shard"


@pytest.fixture(autouse=True)
def small_runs(monkeypatch) -> None:
    """A run of the journal, or a shard, is a batch."""
    monkeypatch.setattr(partial, "RUN_BYTES", 1)
    monkeypatch.setattr(SHARDING, lambda _: BATCH)


@pytest.fixture(scope="module")
def many(model, tmp_path_factory):
    """Five whole batches of profiles and a piece, with raw values."""
    rng = np.random.default_rng(12)
    genes = tuple(dict.fromkeys([*model.landmarks.ensembl, *model.targets.ensembl]))
    values = rng.gamma(2, 3, (N, len(genes))).astype(np.float32)
    path = tmp_path_factory.mktemp("many") / "many.gctx"
    write_gctx(path, Expression(path, values, tuple(f"s{k}" for k in range(N)), genes))
    return path


class UnpluggedError(Exception):
    """What no code expects."""


def stop_at(profile: int):
    """A listener that raises when so many profiles are inferred."""

    def listen(step: str, done: int, _total: int) -> None:
        if step == "inferring" and done >= profile:
            raise UnpluggedError

    return listen


def stopped(model, path, output, options=RNASEQ, at=3 * BATCH, **how) -> list[str]:
    said: list[str] = []
    with pytest.raises(UnpluggedError):
        predict(model, path, output, options, progress=stop_at(at), report=said.append, **how)
    return said


def visible(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("at", [BATCH, 2 * BATCH, 4 * BATCH, N])
@pytest.mark.parametrize("name", ["a.gctx", "a.h5ad"])
def test_resumed_is_straight(name, at, model, many, tmp_path) -> None:
    if name == "a.h5ad":
        pytest.importorskip("anndata")
    straight, output, seen = tmp_path / f"straight_{name}", tmp_path / name, []
    predict(model, many, straight, RNASEQ)
    output.write_text("older")
    kept = at // BATCH * BATCH
    (line,) = stopped(model, many, output, at=at)
    left = f"profiles are kept in {name}.partial, the same command resumes there"
    assert line == f"{output}: {kept:,} of 1,317 {left}"
    assert output.read_text() == "older"
    said: list[str] = []
    # Neither the size of blocks nor being asked for progress is part of the job.
    again = replace(RNASEQ, block_size=1000)
    predict(
        model,
        many,
        output,
        again,
        report=said.append,
        progress=lambda *event: seen.append(event),
    )
    assert said == [f"{output}: resumes at profile {kept:,} of 1,317"]
    assert output.read_bytes() == straight.read_bytes()
    whole = [output, straight]
    assert visible(tmp_path) == sorted(
        place.name for path in whole for place in (path, sidecar(path))
    )
    for path in whole:
        (recorded,) = json.loads(sidecar(path).read_text())["files"].values()
        assert recorded == hashlib.sha256(path.read_bytes()).hexdigest()
    # Only what was left is counted.
    inferring = [done for step, done, _ in seen if step == "inferring"]
    assert inferring == [*range(BATCH, N - kept, BATCH), N - kept]


@pytest.mark.parametrize("name", ["a.gct", "a.gct.gz"])
def test_text_restarts(name, model, many, tmp_path) -> None:
    output, seen = tmp_path / name, []
    assert stopped(model, many, output) == []
    assert visible(tmp_path) == []
    predict(model, many, output, RNASEQ, progress=lambda *event: seen.append(event))
    assert ("inferring", BATCH, N) in seen


def with_bias(model):
    method = model.method
    tensors = {**method.tensors, "half2/b2": method.tensors["half2/b2"] + np.float32(1e-6)}
    return replace(model, method=type(method)(method.settings, tensors))


def with_means(model):
    return replace(model, targets=replace(model.targets, mean=model.targets.mean + 1e-9))


def with_errors(model):
    return replace(model, errors={part: errors + 1e-9 for part, errors in model.errors.items()})


def other_file(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    other = path.with_name("other.gctx")
    other.write_bytes(content)
    return other


def first_as_it_is(function, n, change):
    """Let a function answer as ever the first `n` times."""
    calls = iter(range(n))
    return lambda *given: change(*given) if next(calls, None) is None else function(*given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scale": "reference"}, "metadata, options (scale)"),
        ({"standardize": "training"}, "options (standardize)"),
        ({"model_sha256": "cd34"}, "model (sha256)"),
        # A model without a file is known by its weights.
        ({"model": with_bias}, "model (weights)"),
        ({"model": with_means}, "model (weights)"),
        ({"model": with_errors}, "metadata"),
        ({"path": other_file}, "input (name, sha256)"),
        ({"version": (3, lambda _: "0.0.1")}, "software versions (jaxlib, pandas, scipy)"),
        (
            {"processor": (1, lambda: {"model name": "another"})},
            "processor (flags, machine, model name)",
        ),
    ],
)
def test_another_job_restarts(model, many, tmp_path, monkeypatch, change, told) -> None:
    output, said = tmp_path / "a.gctx", []
    ((name, new),) = change.items()
    if name in {"version", "processor"}:
        changed = first_as_it_is(getattr(provenance, name), *new)
        monkeypatch.setattr(provenance, name, changed)
    how = {"model_sha256": new} if name == "model_sha256" else {}
    stopped(model, many, output, model_sha256="ab12" if how else None)
    options = replace(RNASEQ, **change) if name in {"scale", "standardize"} else RNASEQ
    other, path = (new(model) if name == "model" else model), many
    path = new(many) if name == "path" else many
    predict(other, path, output, options, report=said.append, **how)
    assert said == [f"{output}: restarts, not at profile 768: not the same {told}"]
    predict(other, path, tmp_path / "straight.gctx", options, **how)
    assert output.read_bytes() == (tmp_path / "straight.gctx").read_bytes()


def test_one_process_at_a_time(model, many, tmp_path) -> None:
    output, said = tmp_path / "a.gctx", []
    with locked(output):
        with pytest.raises(DgexError, match=rf"a\.gctx: in use by process {os.getpid()} on "):
            predict(model, many, output, RNASEQ, wait=False, report=said.append)
        assert said == []
    free, begun = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(output):
            begun.set()
            free.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(60)

    def report(line: str) -> None:
        said.append(line)
        free.set()

    # Under another name it is the same file.
    link = tmp_path / "link.gctx"
    link.symlink_to(output)
    predict(model, many, link, RNASEQ, report=report)
    holder.join()
    assert len(said) == 1
    assert said[0].startswith(f"{output}: waiting for process {os.getpid()} on ")
    assert output.is_file()


def profiles_in(journal) -> int:
    runs = json.loads(journal.read_text())["runs"] if journal.exists() else []
    return runs[-1][0] if runs else 0


SLOW_DISK = """
import os, sys, time
from dgex_jax.io import partial
from dgex_jax.cli import main
write = os.pwrite
def slowly(*arguments):
    time.sleep(1)
    return write(*arguments)
partial.RUN_BYTES, os.pwrite = 1, slowly
sys.exit(main())
"""


@pytest.fixture(scope="module")
def words(model, many, tmp_path_factory) -> list[str]:
    """What the command gets, but for its output."""
    folder = tmp_path_factory.mktemp("words") / "model"
    write_model(folder, model)
    return ["predict", str(folder), str(many), "--platform", "rnaseq", "-q", "-o"]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_that_is_killed_resumes(number, words, tmp_path, capsys) -> None:
    output, journal = tmp_path / "out.gctx", tmp_path / "out.gctx.partial.json"
    words = [*words, str(output)]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_DISK, *words], stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and profiles_in(journal) < 2 * BATCH:
            time.sleep(0.01)
        if number == signal.SIGKILL:
            # A second command does not touch what a first one writes.
            assert main([*words, "--no-wait"]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"dgex: error: {output}: in use by process {process.pid} on ")
            assert error.count("\n") == 1
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    done = profiles_in(journal)
    assert 2 * BATCH <= done < N
    assert not output.exists()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        left = "profiles are kept in out.gctx.partial, the same command resumes there"
        assert told == f"{output}: {done:,} of 1,317 {left}\ndgex: stopped\n"
    assert main(words) == 0
    assert capsys.readouterr().err == f"{output}: resumes at profile {done:,} of 1,317\n"
    assert visible(tmp_path) == ["out.gctx", "out.gctx.provenance.json"]
    assert main([*words[:-1], str(tmp_path / "straight.gctx")]) == 0
    assert output.read_bytes() == (tmp_path / "straight.gctx").read_bytes()


# Zarr stores, by one process or several


def digest(folder) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def alone(many, model, tmp_path_factory):
    """The store as one process writes it."""
    pytest.importorskip("zarr")
    path = tmp_path_factory.mktemp("alone") / "out.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SHARDING, lambda _: BATCH)
        assert predict(model, many, path, RNASEQ).missing_shards == 0
    return path


def test_anndata_reads_the_values_of_the_gctx_file(many, model, alone, tmp_path) -> None:
    anndata = pytest.importorskip("anndata")
    predict(model, many, tmp_path / "out.gctx", RNASEQ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's own, of pandas
        found = anndata.read_zarr(alone)
    with h5py.File(tmp_path / "out.gctx") as file:
        np.testing.assert_array_equal(found.X, file["0/DATA/0/matrix"][...])
        assert list(found.obs_names) == [name.decode() for name in file["0/META/COL/id"]]
        assert list(found.var_names) == [name.decode() for name in file["0/META/ROW/id"]]
        assert json.loads(found.uns["dgex"]) == json.loads(file.attrs["provenance"])
    assert found.var["source"].value_counts().to_dict() == {"inferred": 45, "measured": 20}
    assert check_zarr(alone) == SHARDS


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 2, 1, 3)])
def test_parts_in_any_order_make_the_same_store(many, model, alone, tmp_path, order) -> None:
    path = tmp_path / "out.zarr"
    left = []
    for number in order:
        assert not path.exists()
        left.append(predict(model, many, path, RNASEQ, part=(number, 4)).missing_shards)
    assert left[0] < SHARDS
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert digest(path) == digest(alone)


def test_a_store_that_was_interrupted_resumes(many, model, alone, tmp_path) -> None:
    path, seen = tmp_path / "out.zarr", []
    stopped(model, many, path)
    assert not path.exists()
    predict(model, many, path, RNASEQ, progress=lambda *event: seen.append(event))
    assert seen[-1] == ("inferring", N - 3 * BATCH, N - 3 * BATCH)
    assert digest(path) == digest(alone)


def test_parts_on_the_command_line(words, alone, tmp_path, capsys) -> None:
    path = tmp_path / "out.zarr"

    def run(*more: str, output=path) -> int:
        return main([*words, str(output), *more])

    assert run("--shard", "2/2") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"{path}: part 2 of 2 is written; 3 shards are missing"
    assert run("--scale", "reference", "--shard", "1/2") == 2
    error = capsys.readouterr().err
    assert re.search(r"belongs to another job \(its .*options \(scale\) differs\)", error)
    assert run("--shard", "1/2") == 0
    assert "missing" not in capsys.readouterr().out.splitlines()[-1]
    found = digest(path)
    # The command knows the model's file, the function does not.
    for name, data in digest(alone).items():
        assert found[name] == data or not name.startswith("X/c")
    assert run("--shard", "1/2", output=tmp_path / "out.gctx") == 2
    error = capsys.readouterr().err
    assert error.endswith("only an output that ends in .zarr can be written in parts\n")
    for wrong in ("0/2", "3/2", "1", "a/2", "1/2/3"):
        with pytest.raises(SystemExit, match="2"):
            run("--shard", wrong)
        assert "is no part I/N" in capsys.readouterr().err
