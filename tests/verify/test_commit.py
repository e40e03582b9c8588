"""The commit is the one that git says, read without git; what is no checkout has none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import dgex_jax
from dgex_jax.provenance import head_commit

GIT = shutil.which("git") or "git"
CALM = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


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
        pytest.skip("needs git, to compare with")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "a-branch/with.dots")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def test_a_branch_a_packed_branch_and_no_branch(checkout) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    assert head_commit(checkout) == first
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git/refs/heads/a-branch/with.dots").exists()
    assert head_commit(checkout) == first
    # A new commit lies beside the packed one, and counts.
    git(checkout, "commit", "-q", "--allow-empty", "-m", "two")
    assert head_commit(checkout) == git(checkout, "rev-parse", "HEAD") != first
    git(checkout, "checkout", "-q", first)
    assert head_commit(checkout) == first


def test_a_worktree(checkout, tmp_path) -> None:
    other = tmp_path / "other"
    git(checkout, "worktree", "add", "-q", "-b", "there", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "there")
    assert head_commit(other) == git(other, "rev-parse", "HEAD") != head_commit(checkout)
    git(checkout, "pack-refs", "--all")
    assert head_commit(other) == git(other, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "head",
    [
        "",
        "ref: refs/heads/none",
        "ref: refs/heads/../../../secret",
        "ref: /etc/passwd",
        "ref: secret",
        "e" * 39,
        "\udcff",
        "ref: refs/heads/" + "x" * 5000,
    ],
)
def test_what_is_no_head_has_no_commit(tmp_path, head) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "secret").write_text("5" * 40)
    (tmp_path / ".git/secret").write_text("5" * 40)
    (tmp_path / ".git/HEAD").write_bytes(head.encode(errors="surrogateescape"))
    assert head_commit(tmp_path) is None


def test_an_unborn_branch_and_a_folder_inside_a_checkout_have_none(checkout, tmp_path) -> None:
    site_packages = checkout / ".venv/lib/site-packages"
    site_packages.mkdir(parents=True)
    assert head_commit(site_packages) is None
    git(tmp_path, "init", "-q", "new")
    assert head_commit(tmp_path / "new") is None
    assert head_commit(tmp_path / "nowhere") is None


def test_this_checkout() -> None:
    root = Path(dgex_jax.__file__).parents[1]
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("no checkout")
    assert head_commit(root) == git(root, "rev-parse", "HEAD")
