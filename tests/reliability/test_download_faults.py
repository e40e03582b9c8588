"""``dgex download`` from a local server: a full disk, no permission, what vanishes.

What had arrived is kept in ``<name>.partial``, by design, and resumed.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dgex_jax.download import fetch, sources
from tests.download.server import IMPATIENT, NAME, Site, serving
from tests.reliability.commands import Command
from tests.reliability.running import DGEX, Outcome, full_disk, not_one_line, plain_user, run_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

KEPT = {f"{NAME}.partial", f"{NAME}.partial.json"}
COMMAND = Command("download", DGEX, ("download", "table", "-q", "-o", "{out}"), (NAME,), ())


@pytest.fixture(scope="session")
def content(world) -> bytes:
    return (world / "raw/1000g.txt.gz").read_bytes()


@pytest.fixture
def site(content, monkeypatch) -> Iterator[Site]:
    """A server of one file, which the command takes for the only source."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # Reading the system's certificates takes longer than all the rest of a request.
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda: empty)
    with serving(content) as site:
        source = site.source(max_size=1_000_000)
        hasty = replace(IMPATIENT, attempts=2, longest_pause=0.01)
        monkeypatch.setattr(sources, "read_sources", lambda: (source,))
        monkeypatch.setattr(fetch, "Limits", lambda: hasty)
        yield site


def download(folder: Path, fault: AbstractContextManager[None] | None = None) -> Outcome:
    return run_here(DGEX, COMMAND.argv(folder), folder.parent, fault)


def shown(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def check_whole(folder: Path, content: bytes) -> None:
    """Whether the plain command, given again, leads to the file and nothing else."""
    outcome = download(folder)
    assert outcome.code == 0, outcome.err
    assert shown(folder) == {NAME, "SHA256SUMS"}
    assert (folder / NAME).read_bytes() == content
    checksum = hashlib.sha256(content).hexdigest()
    assert (folder / "SHA256SUMS").read_text() == f"{checksum}  {NAME}\n"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 1.0])
@pytest.mark.usefixtures("site")
def test_a_full_disk(share, content, tmp_path) -> None:
    folder = tmp_path / "data"
    outcome = download(folder, full_disk(round(share * (len(content) - 1))))
    assert not_one_line(COMMAND, outcome) == []
    assert NAME in outcome.err
    assert "File too large" in outcome.err
    assert shown(folder) <= KEPT
    check_whole(folder, content)


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.usefixtures("site")
def test_no_permission(is_there, content, tmp_path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if is_there:
        (folder / NAME).write_bytes(content)
        (folder / NAME).chmod(0o000)
    else:
        folder.chmod(0o555)
    outcome = download(folder, plain_user())
    assert not_one_line(COMMAND, outcome) == []
    where = "" if is_there else f"{folder / NAME}: can't be locked: "
    assert f"{where}Permission denied" in outcome.err
    assert NAME in outcome.err
    assert shown(folder) == ({NAME} if is_there else set())
    folder.chmod(0o755)
    if is_there:
        (folder / NAME).chmod(0o644)
        assert (folder / NAME).read_bytes() == content
    check_whole(folder, content)


def test_the_folder_vanishes_midway(site, content, tmp_path) -> None:
    folder = tmp_path / "data"

    def half_then_none(handler) -> None:
        rest = handler.rest()
        handler.send(rest[: len(rest) // 2])
        while not (folder / f"{NAME}.partial").exists() and not site.closing.wait(0.005):
            pass
        # At once: a removal one by one fails where a file appears meanwhile.
        folder.rename(tmp_path / "moved away")
        handler.send(rest[len(rest) // 2 :])

    site.faults.append(half_then_none)
    outcome = download(folder)
    assert not_one_line(COMMAND, outcome) == []
    assert str(folder) in outcome.err
    check_whole(folder, content)
