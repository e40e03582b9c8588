"""What an output says of its making, and the checksums of it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import dgex_jax
from dgex_jax.errors import DgexError
from dgex_jax.io.manifest import (
    content_sum,
    head_commit,
    is_sealed,
    known_sha256,
    record,
    sealed,
    sidecar,
    write_record,
    write_sidecar,
)

ZEROS = "0" * 64
GIT = shutil.which("git") or "git"
CALM = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


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
    with pytest.raises(DgexError, match="none: can't be read"):
        write_sidecar(tmp_path / "none", made())
    write_sidecar(path, made())
    assert json.loads(sidecar(path).read_text())["files"] == {"large.h5": true}
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
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    write_record(path, made(), {"a": "1" * 64})
    assert json.loads(path.read_text())["files"] == {"a": "1" * 64}


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "gc.auto=0")
    return subprocess.run(
        [GIT, *identity, *words],
        cwd=folder,
        env=os.environ | CALM,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "a-branch/with.dots")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def test_the_commit_is_that_of_the_checkout_or_worktree(checkout, tmp_path, monkeypatch) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    assert head_commit(checkout) == first
    other = tmp_path / "other"
    git(checkout, "worktree", "add", "-q", "-b", "there", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "there")
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    assert head_commit(other) == git(other, "-C", ".", "--git-dir", ".git", "rev-parse", "HEAD")
    assert head_commit(other) != first == head_commit(checkout)


def test_where_there_is_no_checkout_or_no_git_there_is_no_commit(
    checkout, tmp_path, monkeypatch
) -> None:
    site_packages = checkout / ".venv/lib/site-packages"
    site_packages.mkdir(parents=True)
    git(tmp_path, "init", "-q", "new")
    (tmp_path / "damaged/.git").mkdir(parents=True)
    (tmp_path / "damaged/.git/HEAD").write_bytes(b"\xff")
    for folder in (site_packages, tmp_path / "new", tmp_path / "nowhere", tmp_path / "damaged"):
        assert head_commit(folder) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert head_commit(checkout) is None
