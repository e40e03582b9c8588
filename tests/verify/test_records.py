"""What stands in a record is not trusted: it names no place outside, and can't break the reader."""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import dgex_jax
from dgex_jax.provenance import (
    content_sum,
    is_sealed,
    known_sha256,
    record,
    sealed,
    sidecar,
    write_record,
    write_sidecar,
)
from dgex_jax.verify.check import verify
from dgex_jax.verify.records import of_step

ZEROS = "0" * 64


def made(**inputs: dict[str, str]) -> dict[str, object]:
    return record("dgex train", precision="highest", inputs=inputs, seeds={"weights": 3})


def test_a_record_says_what_ran_and_nothing_of_who_and_where() -> None:
    told = made(prepared={"name": "prepared.h5", "sha256": ZEROS})
    assert told["made_by"] == f"dgex train {dgex_jax.__version__}"
    versions = told["versions"]
    assert isinstance(versions, dict)
    assert versions["numpy"] == np.__version__
    assert versions["jax"] == version("jax")
    assert {"python", "h5py", "dgex_jax"} <= versions.keys()
    assert (told["precision"], told["seeds"], told["device"]) == ("highest", {"weights": 3}, None)
    text = json.dumps(told)
    for secret in (socket.gethostname(), str(Path.home()), str(Path.cwd())):
        assert secret not in text
    assert f'"{getpass.getuser()}"' not in text
    assert made() == made()


def test_the_seal_is_of_values_and_any_other_value_breaks_it() -> None:
    content = sealed({"b": [1, 2.5, "ü"], "a": {"x": None}})
    assert is_sealed(json.loads(json.dumps(content)))
    assert is_sealed(dict(reversed(content.items())))
    assert not is_sealed({**content, "b": [1, 2.5, "u"]})
    assert not is_sealed({**content, "c": 1})
    assert not is_sealed({"a": 1})
    plain = '{"a":{"x":null},"b":[1,2.5,"\\u00fc"]}'
    assert content_sum(content) == hashlib.sha256(plain.encode()).hexdigest()


def test_beside_a_file_is_its_checksum(tmp_path) -> None:
    path = tmp_path / "large.h5"
    path.write_bytes(b"values")
    true = hashlib.sha256(b"values").hexdigest()
    assert known_sha256(path) == true
    write_sidecar(path, made())
    content = json.loads(sidecar(path).read_text())
    assert content["files"] == {"large.h5": true}
    # Known means not read again: that is what the record is for.
    path.write_bytes(b"altered")
    assert known_sha256(path) == true
    sidecar(path).write_text(sidecar(path).read_text().replace(true, ZEROS))
    assert known_sha256(path) == hashlib.sha256(b"altered").hexdigest()


def test_a_record_is_not_written_twice(tmp_path) -> None:
    path = tmp_path / "a.json"
    write_record(path, made(), {"a": ZEROS})
    before = path.stat()
    write_record(path, made(), {"a": ZEROS})
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino
    write_record(path, made(), {"a": "1" * 64})
    assert json.loads(path.read_text())["files"] == {"a": "1" * 64}


PLACES = ["../x", "../../../x", "/etc/passwd", "a/../../x", "", "..", "../..", "a\0b"]


@pytest.mark.parametrize("name", PLACES)
def test_a_place_outside_is_no_place_of_an_output(tmp_path, name) -> None:
    folder = tmp_path / "results" / "provenance"
    folder.mkdir(parents=True)
    (tmp_path / "x").write_text("secret")
    for number, (files, inputs) in enumerate(
        [({name: ZEROS}, {}), ({}, {name: {"name": name, "sha256": ZEROS}})]
    ):
        path = folder / f"{number}.json"
        write_record(path, record("x", precision="", inputs=inputs), files)
        piece = of_step(path)
        assert piece.files == {}
        assert piece.sources == ()
        assert piece.faults[path][0] == "altered"


CONTENTS = [
    "",
    "[]",
    "{}",
    "nonsense",
    "[" * 100_000,
    '{"files": 3}',
    *(
        json.dumps(sealed({"format_version": 1, "inputs": {}, "files": {}, **bad}), indent=2) + "\n"
        for bad in (
            {"files": []},
            {"files": {"a": 3}},
            {"files": {"a": "short"}},
            {"inputs": {"a": {}}},
            {"inputs": {"a": {"name": 3, "sha256": ZEROS}}},
            {"inputs": 3},
            {"format_version": "1"},
        )
    ),
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("name", ["a.h5.provenance.json", "done.json", "model.json"])
def test_any_content_gives_a_finding(tmp_path, content, name) -> None:
    good = tmp_path / "good.h5"
    good.write_text("good")
    write_sidecar(good, made())
    (tmp_path / name).write_text(content)
    verdict = verify(tmp_path)
    states = {one.place: one.state for one in verdict.findings}
    if name == "done.json" and content == "{}":
        # So it may be in an older version's results.
        assert states[name] == "unknown"
    elif name != "done.json" or states[name] != "whole":
        assert states[name] == "altered"
    assert states["good.h5"] == "whole"


def test_a_newer_record_is_left_alone(tmp_path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("a")
    write_sidecar(path, made())
    content = json.loads(sidecar(path).read_text())
    (tmp_path / "b.h5.provenance.json").write_text(
        json.dumps(sealed(content | {"format_version": 2}), indent=2) + "\n"
    )
    verdict = verify(tmp_path)
    (newer,) = [one for one in verdict.findings if one.place.startswith("b.")]
    assert (newer.state, newer.cause) == ("unknown", "made by a newer version of dgex")
