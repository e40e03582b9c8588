"""A prediction that was interrupted goes on, and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgex_jax.cli import main
from dgex_jax.config import NetworkConfig
from dgex_jax.errors import DgexError
from dgex_jax.formats import partial
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import write_gctx
from dgex_jax.inference import provenance
from dgex_jax.inference.model import ModelGenes
from dgex_jax.inference.modelfile import write_model
from dgex_jax.inference.network import BATCH
from dgex_jax.inference.options import PredictOptions
from dgex_jax.inference.predict import predict
from dgex_jax.locks import locked
from dgex_jax.provenance import sidecar

RNASEQ = PredictOptions("rnaseq", block_size=300)
N = 5 * BATCH + 37


@pytest.fixture(autouse=True)
def small_runs(monkeypatch) -> None:
    """A run of the journal is a batch."""
    monkeypatch.setattr(partial, "RUN_BYTES", 1)


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
    left = f"profiles are kept in {name}.partial, the same command goes on there"
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
    assert said == [f"{output}: goes on at profile {kept:,} of 1,317"]
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
def test_text_begins_anew(name, model, many, tmp_path) -> None:
    output, seen = tmp_path / name, []
    assert stopped(model, many, output) == []
    assert visible(tmp_path) == []
    predict(model, many, output, RNASEQ, progress=lambda *event: seen.append(event))
    assert ("inferring", BATCH, N) in seen


@pytest.fixture
def begins_anew(model, many, tmp_path):
    """Give a function that says why a prediction does not go on with another one's work."""

    def why(options=RNASEQ, other=model, path=many, **how) -> str:
        output = tmp_path / "a.gctx"
        stopped(model, many, output, model_sha256="ab12" if how else None)
        said: list[str] = []
        predict(other, path, output, options, report=said.append, **how)
        predict(other, path, tmp_path / "straight.gctx", options, **how)
        assert output.read_bytes() == (tmp_path / "straight.gctx").read_bytes()
        (line,) = said
        start = f"{output}: begins anew, not at profile 768: not the same "
        assert line.startswith(start)
        return line.removeprefix(start)

    return why


def test_another_job_begins_anew(begins_anew, model, many, tmp_path) -> None:
    about = "ids and metadata, "
    told = begins_anew(replace(RNASEQ, scale="reference"))
    assert told == f"{about}options (scale)"
    told = begins_anew(replace(RNASEQ, standardize="training"))
    assert told == f"{about}options (standardize)"
    assert begins_anew(model_sha256="cd34") == f"{about}model (sha256)"
    # A model without a file is known by its weights.
    halves = [{**half, "output": {**half["output"]}} for half in model.halves]
    halves[1]["output"]["bias"] = halves[1]["output"]["bias"] + np.float32(1e-6)
    assert begins_anew(other=replace(model, halves=halves)) == "model (weights)"
    moved = replace(model.targets, mean=model.targets.mean + 1e-9)
    assert begins_anew(other=replace(model, targets=moved)) == "model (weights)"
    other = tmp_path / "many.gctx"
    content = bytearray(many.read_bytes())
    content[-5] ^= 1
    other.write_bytes(content)
    assert begins_anew(path=other) == f"{about}input (sha256)"


@pytest.mark.parametrize(
    ("what", "change", "told"),
    [
        ("version", lambda _: "0.0.1", "software versions (jaxlib, pandas, scipy)"),
        ("processor", lambda: {"model name": "another"}, "processor (flags, machine, model name)"),
    ],
)
def test_other_software_or_another_machine_begins_anew(
    begins_anew, monkeypatch, what, change, told
) -> None:
    before = getattr(provenance, what)
    calls = iter(range(100))
    n = 3 if what == "version" else 1

    def first_as_it_is(*arguments):
        return before(*arguments) if next(calls) < n else change(*arguments)

    monkeypatch.setattr(provenance, what, first_as_it_is)
    assert begins_anew() == told


def test_an_output_names_the_device(model, many, tmp_path) -> None:
    predict(model, many, tmp_path / "a.gctx", RNASEQ)
    with h5py.File(tmp_path / "a.gctx") as file:
        told = json.loads(file.attrs["provenance"])
    assert told["device"] == {"platform": "cpu", "kind": "cpu"}
    assert told["precision"] == "highest"


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


@pytest.fixture(scope="module")
def large(model, tmp_path_factory):
    """A model of 3,000 targets as a folder, 4,000 profiles for it, and their prediction."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(8)
    n = 3000
    targets = ModelGenes(
        ensembl=tuple(f"ENSG8{k:010d}" for k in range(n)),
        symbols=tuple(f"T{k}" for k in range(n)),
        entrez=("",) * n,
        probes=((),) * n,
        mean=rng.normal(size=n),
        sd=rng.uniform(0.5, 2, n),
    )
    n_landmarks = len(model.landmarks)
    layers = {
        name: {
            "kernel": rng.normal(size=(n_in, n_out)).astype(np.float32),
            "bias": rng.normal(size=n_out).astype(np.float32),
        }
        for name, n_in, n_out in (("hidden1", n_landmarks, 16), ("output", 16, n))
    }
    large = replace(
        model,
        targets=targets,
        network=NetworkConfig(1, 16, 0.1),
        halves=[layers],
        half_sizes=(n,),
        quantile=None,
        errors={},
    )
    write_model(folder / "model", large)
    values = rng.normal(size=(4000, n_landmarks)).astype(np.float32)
    profiles = tuple(f"p{k}" for k in range(4000))
    path = folder / "in.gctx"
    write_gctx(path, Expression(path, values, profiles, model.landmarks.ensembl))
    words = [str(folder / "model"), str(path), "--platform", "standardized"]
    assert main(["predict", *words, "-o", str(folder / "straight.gctx"), "-q"]) == 0
    return words, (folder / "straight.gctx").read_bytes()


SLOW_DISK = """
import os, sys, time
from dgex_jax.formats import partial
from dgex_jax.cli import main
write = os.pwrite
def slowly(*arguments):
    time.sleep(0.2)
    return write(*arguments)
partial.RUN_BYTES, os.pwrite = 1, slowly
sys.exit(main())
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_that_is_killed_goes_on(number, large, tmp_path, capsys) -> None:
    words, straight = large
    output = tmp_path / "out.gctx"
    words = ["predict", *words, "-o", str(output), "-q"]
    journal = tmp_path / "out.gctx.partial.json"
    capsys.readouterr()
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_DISK, *words], stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (
            journal.exists() and journal.read_bytes().count(b"\n") > 2
        ):
            time.sleep(0.01)
        if number == signal.SIGKILL:
            # A second command does not touch what a first one writes.
            assert main([*words, "--no-wait"]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"dgex: error: {output}: in use by process {process.pid} on ")
            assert error.count("\n") == 1
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    done = 256 * (journal.read_bytes().count(b"\n") - 1)
    assert 2 * 256 <= done < 4000
    assert not output.exists()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        left = "profiles are kept in out.gctx.partial, the same command goes on there"
        assert told == f"{output}: {done:,} of 4,000 {left}\ndgex: stopped\n"
    assert main(words) == 0
    assert capsys.readouterr().err == f"{output}: goes on at profile {done:,} of 4,000\n"
    assert output.read_bytes() == straight
    assert visible(tmp_path) == ["out.gctx", "out.gctx.provenance.json"]


def test_a_full_disk_is_one_line(large, tmp_path, capsys, monkeypatch) -> None:
    words, straight = large
    output, write, left = tmp_path / "out.gctx", os.pwrite, iter(range(3))
    words = ["predict", *words, "-o", str(output), "-q"]

    def full(*arguments) -> int:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert main(words) == 2
    assert capsys.readouterr().err == (
        f"dgex: error: {output}: can't be written: No space left on device; 768 of 4,000 profiles "
        "are kept in out.gctx.partial, the same command goes on there\n"
    )
    assert main(words) == 0
    assert output.read_bytes() == straight
