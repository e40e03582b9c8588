"""A packed file is unpacked under its name or not at all; what differs in it is said."""

from __future__ import annotations

import gzip
import hashlib
import re
import resource
import shutil
from collections import namedtuple

import numpy as np
import pytest

from dgex_jax.cli import main
from dgex_jax.download import fetch as fetching
from dgex_jax.download import sources as table
from dgex_jax.download.fetch import download
from dgex_jax.download.sources import Finding, check_folder, find_sources, read_sources, study_line
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gctx
from tests.download.server import IMPATIENT, NAME, reply, status, truncated

FILE = NAME.removesuffix(".gz")
N, P = 40, 300
KNOWN = {"file": FILE, "format": "gctx", "entrez": True, "profiles": N, "genes": P}
KNOWN |= {"shape_from": "the file's name"}
Usage = namedtuple("Usage", "total used free")


def matrix(folder, ids=None, n=N, hole=None) -> bytes:
    """A small GCTX file by Entrez id."""
    ids = ids or [str(1 + n) for n in range(P)]
    values = np.random.default_rng(2).uniform(2, 15, (n, len(ids))).astype(np.float32)
    if hole is not None:
        values[3, 5] = hole
    path = folder / "made"
    write_gctx(path, Expression(path, values, tuple(f"S{n}" for n in range(n)), tuple(ids)))
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.fixture
def plain(tmp_path_factory) -> bytes:
    return matrix(tmp_path_factory.mktemp("made"))


@pytest.fixture
def whole(site, plain, tmp_path):
    """The site serves the packed file; gives a check that only the unpacked one is there."""
    site.content = gzip.compress(plain, mtime=0)

    def check(*more: str) -> None:
        assert (tmp_path / FILE).read_bytes() == plain
        left = {
            path.name for path in tmp_path.iterdir() if not path.name.endswith((".lock", "json"))
        }
        assert left == {FILE, "SHA256SUMS", *more}
        sums = (tmp_path / "SHA256SUMS").read_text()
        assert sums == f"{hashlib.sha256(plain).hexdigest()}  {FILE}\n"

    return check


def test_it_is_fetched_unpacked_and_looked_through_once(site, fetch, whole, tmp_path) -> None:
    said = fetch(site, **KNOWN)
    whole()
    assert said[0] == f"{NAME}: {len(site.content):,} bytes; about 48,000 bytes unpacked"
    assert "unpacked, " in said[-2]
    assert said[-1].startswith(f"{FILE}: 40 profiles x 300 genes (1, 2, 3, …; profiles S0, …)")
    n_requests = len(site.requests)
    assert fetch(site, **KNOWN)[-1] == said[-1]
    assert len(site.requests) == n_requests
    # Packed anew it has other bytes, and is the same file.
    (tmp_path / FILE).unlink()
    site.content = gzip.compress(gzip.decompress(site.content), 1, mtime=9)
    assert "(as noted in SHA256SUMS)" in fetch(site, **KNOWN)[-2]
    whole()


@pytest.mark.parametrize("how", ["resumes", "restarts"])
def test_a_break_is_overcome_with_and_without_range(site, fetch, whole, how) -> None:
    site.faults = [truncated(20_000), *([reply()] if how == "restarts" else [])]
    said = fetch(site, **KNOWN)
    whole()
    assert site.gets == [None, "bytes=20000-"]
    assert any(line.startswith(f"{FILE}: {how}") for line in said)


def damages(packed: bytes, plain: bytes, folder):
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 1
    yield bytes(flipped), "damaged gzip file"
    yield packed[:-4], "truncated gzip file"
    yield gzip.compress(plain[:-900]), "truncated HDF5 file"
    yield gzip.compress(b"<html>" * 99), "is no packed HDF5 file: it begins with b'<html>"
    yield plain, "is no gzip file"
    yield gzip.compress(matrix(folder, n=41)), "its sha256 is .*, not the .* noted in SHA256SUMS"
    yield gzip.compress(plain + bytes(600_000)), "more than 296,000 bytes are in it: refused"


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("placed", [False, True])
def test_damage_leaves_nothing_under_the_name(
    site, fetch, whole, plain, tmp_path, tmp_path_factory, number, placed
) -> None:
    noted = f"{hashlib.sha256(plain).hexdigest()}  {FILE}\n"
    (tmp_path / "SHA256SUMS").write_text(noted)
    sound = site.content
    made = tmp_path_factory.mktemp("other")
    damaged, match = [*damages(sound, plain, made)][number]
    if placed:
        (tmp_path / NAME).write_bytes(damaged)
    site.content = damaged
    with pytest.raises(DgexError, match=match):
        fetch(site, **KNOWN)
    left = {path.name for path in tmp_path.iterdir() if path.name[0] != "."}
    assert left == {"SHA256SUMS", *([NAME] if placed else [])}
    assert bool(site.requests) != placed
    (tmp_path / NAME).unlink(missing_ok=True)
    site.content = sound
    fetch(site, **KNOWN)
    whole()


def test_a_packed_file_that_a_user_placed_is_unpacked_and_stays(
    site, fetch, whole, tmp_path, monkeypatch
) -> None:
    (tmp_path / NAME).write_bytes(site.content)
    monkeypatch.setattr(fetching, "_ask", None)
    assert f"{NAME}: is there, unpacking it" in fetch(site, **KNOWN)
    whole(NAME)
    assert site.requests == []


def test_room_is_looked_for_for_both(site, fetch, whole, monkeypatch) -> None:
    n = len(site.content)

    def with_room(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, free))

    with_room(n + 47_999)
    with pytest.raises(DgexError, match=r"are still to come, the disk has"):
        fetch(site, **KNOWN)
    assert site.gets == []
    with_room(n + 48_000)
    fetch(site, **KNOWN)
    whole()


@pytest.mark.parametrize("fault", ["disk", "kill"])
def test_what_arrived_is_not_fetched_again_when_unpacking_fails(
    site, fetch, whole, tmp_path, monkeypatch, fault
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    # What is packed fits in, what is unpacked does not.
    n, match = len(site.content), None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        if fault == "kill":
            patch.setattr(fetching, "require_complete", killed)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (n + 100, hard))
            match = f"{FILE}: can't be written: File too large; {n:,} bytes are kept in {NAME}.part"
        try:
            with pytest.raises((DgexError, SystemExit), match=match):
                fetch(site, **KNOWN)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / FILE).exists()
    site.faults = [status(404)]
    fetch(site, **KNOWN)
    whole()
    assert site.gets == [None]


def contents(folder):
    """Files whose content is other than known, what is known, and what is said."""
    many = [str(1 + n) for n in range(P)]
    yield matrix(folder, n=41), {}, "BUT not the 40 profiles of the file's name"
    yield matrix(folder, many[1:]), {}, "BUT not the 300 genes of the file's name"
    named = matrix(folder, [*many[:-2], "TP53", "0"])
    yield named, {}, r"BUT 2 row ids are no Entrez ids \(TP53, 0\)"
    yield matrix(folder, hole=np.nan), {}, "BUT 1 missing and 0 infinite values"
    yield (
        matrix(folder, hole=-np.inf),
        {},
        "values -inf to 1.*; BUT 0 missing and 1 infinite values",
    )
    weights = {"format": "weights", "profiles": 4, "genes": N}
    yield matrix(folder), weights, "which id is the intercept can't be told.*BUT it can't be read"
    text = {"format": "table", "entrez": False, "columns": ("id", "symbol")}
    yield b"id\tname\n1\tA\n", text, "1 rows of id, name; BUT it has no column 'symbol'"
    yield b"id\tsymbol\n", text, "BUT it has no rows"
    yield b"id\tsymbol\n1\tA\n2\n", text, "line 3, row .2.: 1 columns.*BUT it can't be read"


@pytest.mark.parametrize("number", range(9))
def test_what_differs_in_it_is_said_in_one_line_and_it_stays(
    site, tmp_path, tmp_path_factory, number
) -> None:
    content, changes, match = [*contents(tmp_path_factory.mktemp("made"))][number]
    site.content = gzip.compress(content)
    source, said = site.source(**KNOWN | changes), []
    with pytest.raises(DgexError, match=r"there, but not what is known of them: table$"):
        download([source], tmp_path, limits=IMPATIENT, report=said.append)
    assert (tmp_path / FILE).read_bytes() == content
    assert [line for line in said if "BUT" in line] == [said[-1]]
    finding = next(check_folder(tmp_path, [source]))
    assert finding.state == "not sound"
    for line in (said[-1], finding.text):
        assert "\n" not in line
    assert re.search(match, said[-1])


def test_weights_and_tables_that_are_as_known(site, tmp_path) -> None:
    ids = ["OFFSET", *(str(1 + n) for n in range(P - 1))]
    weights = {"format": "weights", "profiles": P, "genes": N, "entrez": True}
    path = tmp_path / "made"
    values = np.ones((P, N))
    write_gctx(path, Expression(path, values, tuple(ids), tuple(str(9000 + n) for n in range(N))))
    for content, known, text in (
        (path.read_bytes(), weights, "299 landmarks and the intercept 'OFFSET' x 40 genes"),
        (b"a\tb\n1\t2\n", {"format": "table", "columns": ("b",)}, "1 rows of a, b"),
    ):
        site.content, said = gzip.compress(content), []
        source = site.source(file=FILE, **known)
        download([source], tmp_path / known["format"], limits=IMPATIENT, report=said.append)
        assert said[-1] == f"{FILE}: {text}"
        assert next(check_folder(tmp_path / known["format"], [source])).state == "sound"


def test_a_group_is_all_that_its_study_needs(capsys, monkeypatch) -> None:
    known = read_sources()
    group = [source for source in known if source.group == "gse92743"]
    assert len(group) == 6
    assert find_sources(["gse92743", "gse92743-l1000", "map-lm"], known)[:-1] == group
    names = [source.name for source in group]
    assert study_line([Finding(one, "sound", "") for one in group]) == "gse92743 has all it needs"
    part = [Finding(one, "sound" if one.name == names[0] else "missing", "") for one in known]
    assert study_line(part) == f"gse92743 still needs: {', '.join(names[1:])}"
    # A group on the command line.
    monkeypatch.setattr(table, "read_sources", lambda: (group[0],))
    assert main(["download", "gse92743"]) == 2
    assert "where the files go is missing" in capsys.readouterr().err
