"""Whatever a server does: a file under its name is complete, and a second start finishes.

What arrived before a break is resumed if and only if it is the start of the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dgex_jax.download import fetch as fetching
from dgex_jax.download.fetch import Limits
from dgex_jax.errors import DgexError
from dgex_jax.io.progress import Progress
from tests.download import server
from tests.download.server import (
    IMPATIENT,
    NAME,
    PAGE,
    any_range,
    chunked,
    part,
    redirect,
    reply,
    silent,
    stalled,
    status,
    truncated,
    until_close,
    wrong_range,
)

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
Usage = namedtuple("Usage", "total used free")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_fetched_once_and_its_checksum_noted(site, fetch, complete, content) -> None:
    said = fetch(site)
    complete()
    assert said[0] == f"{NAME}: {len(content):,} bytes"
    assert said[-1].endswith(
        f"{NAME}: fetched, {len(content):,} bytes, sha256 {sha256(content)} "
        "(none is published: noted in SHA256SUMS, to check against from now on)"
    )
    _, headers = site.requests[-1]
    assert headers["Accept-Encoding"] == "identity"
    n_requests = len(site.requests)
    assert fetch(site)[-1].endswith("(as noted in SHA256SUMS)")
    complete()
    assert len(site.requests) == n_requests


def test_known_checksums_are_held_to(site, fetch, fails, content, tmp_path) -> None:
    sums, true, other = tmp_path / "SHA256SUMS", sha256(content), sha256(b"other")
    said = fails(site, "nothing is kept", sha256=other)
    assert f"its sha256 is {true}, not the {other} published" in said
    sums.write_text(f"{other}  {NAME}\n")
    fails(site, "noted in SHA256SUMS")
    # What is published counts more than what was noted.
    sums.write_text(f"{'1' * 64}  other\n{other}  {NAME}\n")
    assert fetch(site, sha256=true)[-1].endswith("(as published)")
    assert site.gets == [None, None, None]
    assert sums.read_text() == f"{'1' * 64}  other\n{true}  {NAME}\n"


def test_a_file_that_is_there_is_never_overwritten(site, fetch, tmp_path, content) -> None:
    place = tmp_path / NAME
    place.write_bytes(content[:-100])
    with pytest.raises(DgexError, match="truncated gzip file"):
        fetch(site)
    with pytest.raises(DgexError, match="move it away to fetch it"):
        fetch(site, sha256=sha256(content))
    assert place.read_bytes() == content[:-100]
    assert site.requests == []
    place.unlink()
    place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DgexError, match="not an ordinary file"):
        fetch(site)


def test_two_at_once_fetch_it_once(site, fetch, complete) -> None:
    with ThreadPoolExecutor(2) as both:
        said = [line for lines in both.map(lambda _: fetch(site), range(2)) for line in lines]
    complete()
    assert site.gets == [None]
    assert sum(": was there, " in line for line in said) == 1


# Faults that are overcome


ENDS_WELL = {
    "breaks": ([truncated(30_000), truncated(20_000)], [None, 30_000, 50_000]),
    "headway counts anew": ([truncated(17_000)] * 5, [None, *range(17_000, 86_000, 17_000)]),
    "no ranges": ([truncated(30_000), reply()], [None, 30_000]),
    "less than asked for": ([truncated(30_000), part(30_000, 40_000, 93_032)], None),
    "servers in trouble": ([status(500), status(503, Retry_After=3600)], [None] * 3),
    "two lengths": ([server.two_lengths], [None, None]),
    **{f"length {one}": ([reply(Content_Length=one)], [None] * 2) for one in ("-5", "1e3", "")},
    "no length": ([until_close()], [None]),
    "chunks": ([chunked(30_000), chunked()], None),
    "encoded as the file is": ([reply(Content_Encoding="x-gzip")], [None]),
    "shorter now": (
        [truncated(30_000), status(416, Content_Range="bytes */9")],
        [None, 30_000, None],
    ),
    **{
        f"range {text}": ([truncated(30_000), wrong_range(text)], [None, 30_000, None])
        for text in ("bytes 0-9/10", "bytes 30000-99/100", "bytes */5", "lines 1-2/3")
    },
    **{
        f"part from {start}, length {length}": (
            [truncated(30_000), part(start, 60_000, 60_000, **length)],
            [None, 30_000, None],
        )
        for start in (20_000, 40_000)
        for length in ({}, {"Content_Length": None})
    },
}


@pytest.mark.parametrize(("faults", "asked"), ENDS_WELL.values(), ids=ENDS_WELL)
def test_faults_that_are_overcome(site, fetch, complete, faults, asked) -> None:
    site.faults = [*faults]
    said = fetch(site)
    complete()
    if asked is not None:
        assert site.gets == [start and f"bytes={start}-" for start in asked]
    # No longer than our own longest pause.
    assert all(float(line.split()[-2]) <= 0.05 for line in said if "; again in " in line)


def test_it_says_whether_it_resumes(site, fetch) -> None:
    site.faults = [truncated(30_000), truncated(20_000), reply()]
    said = fetch(site)
    assert f"{NAME}: resumes at byte 30,000" in said
    assert f"{NAME}: restarts" in said
    assert [headers.get("If-Range") for _, headers in site.requests[1:]] == [None, *['"one"'] * 2]


def test_progress_counts_what_arrives_now(site, fetch, content, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "MEGABYTE", 1000)
    site.faults = [truncated(30_000)]
    seen: list[tuple[str, int, int]] = []
    fetch(site, progress=Progress(lambda *told: seen.append(told)))
    for arrives, end in ((len(content), 30), (len(content) - 30_000, len(content) // 1000 - 30)):
        done = [done for _, done, total in seen if total == arrives // 1000 + 1]
        assert done[-1] == end
    assert {name for name, _, _ in seen} == {NAME}


def test_stalls_and_drips_are_breaks(site, fetch, fails, complete) -> None:
    site.faults = [server.dripping] * 2
    hasty = replace(IMPATIENT, pace_seconds=0.1, attempts=2)
    fails(site, r"bytes in \d s; given up after 2 attempts; \d+ bytes are kept", limits=hasty)
    site.faults = [stalled(40_000), silent]
    said = fetch(site, limits=replace(IMPATIENT, timeout=0.3, attempts=20))
    complete()
    assert sum("no answer in time" in line for line in said) >= 2


def test_what_is_kept_is_used_only_if_it_is_the_same_file(
    site, fetch, fails, complete, content, tmp_path
) -> None:
    def keep(**known) -> None:
        site.faults = [truncated(30_000), *[status(503)] * 2]
        fails(site, "30,000 bytes are kept in .*partial, the same command resumes there", **known)
        site.requests.clear()

    def finish(*asked: int | None, **known) -> None:
        fetch(site, **known)
        assert site.gets == [start and f"bytes={start}-" for start in asked]
        complete()
        (tmp_path / NAME).unlink()

    # Of another address.
    keep()
    finish(None, url=f"{site.url}?another")
    # Of a date instead of a version, of neither, and of neither with a known checksum.
    site.validators = {"ETag": 'W/"weak"', "Last-Modified": DATE}
    keep()
    finish(30_000)
    assert site.requests[-1][1]["If-Range"] == DATE
    site.validators = {}
    keep()
    finish(None)
    keep(sha256=sha256(content))
    finish(30_000, sha256=sha256(content))
    # Of a file that changed meanwhile, whether the server looks at If-Range or not.
    for faults in ([], [any_range]):
        site.content, site.validators = bytes(len(content)), {"ETag": '"one"'}
        keep()
        site.content, site.validators, site.faults = content, {"ETag": '"two"'}, faults
        finish(30_000, *[None for _ in faults])
    # A part without a version, of a file of another length.
    site.content, site.validators = bytes(60_000), {"ETag": '"one"'}
    keep()
    site.content, site.validators, site.faults = content, {}, [any_range]
    finish(30_000, None)


# Faults that are not


def failures(n: int):
    """Faults of a file of n bytes, how they end, what is known, and what all was asked for."""
    for number in (204, 401, 403, 404, 410, 418, 599):
        yield [status(number)], rf" {number}", {}, [None, None]
    long = [reply(Content_Length=n + 10, ETag=None)] * 3
    yield long, f"ended after {n:,} of {n + 10:,} bytes; given up after 3", {}, [None] * 4
    short = [reply(Content_Length=n - 10)]
    yield short, "is not it, nothing is kept: .*truncated gzip", {}, [None, None]
    yield short, f"{n - 10:,} bytes, not {n:,}: refused", {"size": n}, [None, None]
    yield [], f"the server's file has {n:,} bytes, not 10: refused", {"size": 10}, [None]
    too_much = "200,001 bytes, more than the 200,000 allowed: refused"
    yield [reply(Content_Length=200_001)], too_much, {}, [None, None]
    yield [server.endless], "more than 200,000 bytes arrived: refused", {}, [None, None]
    yield [until_close(30_000)], "truncated gzip file", {}, [None, None]
    yield [reply(Content_Encoding="br")], r"comes encoded \(br\)", {}, [None, None]
    yield [reply(200, PAGE, Content_Type="application/gzip")], "is a web page", {}, [None, None]
    pages = [truncated(30_000), *[reply(200, PAGE, Content_Type="text/html; charset=utf-8")] * 2]
    kept = "a web page came instead of the file; given up .* 30,000 bytes are kept"
    yield pages, kept, {}, [None, *["bytes=30000-"] * 3]


@pytest.mark.parametrize("number", range(17))
def test_faults_that_are_told_and_then_overcome(
    site, fetch, fails, complete, content, tmp_path, number
) -> None:
    site.faults, match, known, asked = [*failures(len(content))][number]
    fails(site, match, **known)
    given_up = "given up" in match
    assert (tmp_path / f"{NAME}.partial").exists() == given_up
    fetch(site)
    complete()
    assert site.gets == asked


def test_a_server_that_is_asked_for_the_size(site, fails, fetch, complete) -> None:
    for number, match in (
        (404, "404 Not Found"),
        (503, "503 Service.*; given up after 3 attempts"),
    ):
        site.head = status(number)
        fails(site, match)
    assert site.gets == []
    site.head = status(405)
    assert fetch(site)[0] == f"{NAME}: of a size the server doesn't tell"
    complete()


def test_nobody_there(site, fails) -> None:
    site.shutdown()
    site.server_close()
    fails(site, "Connection refused; given up after 3 attempts")


def test_room_is_looked_for_first(site, fails, fetch, complete, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 1000, 1000))
        fails(site, r"9\d,\d+ bytes are still to come, the disk has 1,000 bytes free")
        assert site.gets == []
        site.head = status(405)
        fails(site, r"table.txt.gz.partial: can't be written: needs 9\d,\d+ bytes, .* 1,000 free")
    site.head, site.faults = None, [truncated(30_000), *[status(500)] * 2]
    fails(site, "30,000 bytes are kept")
    # What is kept needs none.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 70_000, 70_000))
    assert fetch(site)[0].endswith(" bytes, 30,000 of them kept")
    complete()


def test_any_mix_of_faults_ends_well(site, fetch, complete, content, tmp_path) -> None:
    rng = random.Random(7)
    n = len(content)
    kinds = [
        lambda: truncated(rng.randrange(n)),
        lambda: until_close(rng.randrange(n)),
        lambda: chunked(rng.randrange(n)),
        lambda: status(rng.choice([403, 404, 416, 500, 503])),
        lambda: reply(Content_Length=rng.randrange(150_000)),
        lambda: wrong_range(f"bytes {rng.randrange(90_000)}-{rng.randrange(99_999)}/*"),
        lambda: reply(200, PAGE, Content_Type=rng.choice(["text/html", "text/plain"])),
        reply,
        lambda: redirect(site.url),
    ]
    starts = 0
    for _ in range(15):
        (tmp_path / NAME).unlink(missing_ok=True)
        site.faults = [rng.choice(kinds)() for _ in range(6)]
        for _ in range(10):
            starts += 1
            try:
                fetch(site, limits=replace(IMPATIENT, attempts=rng.choice([1, 2]), pause=0))
            except DgexError:
                assert not (tmp_path / NAME).exists()
            else:
                break
        complete()
    assert starts > 30
    assert any(site.gets)


# Stopped, killed, or at the end of the disk


SCRIPT = """
import json, pathlib, sys
from dgex_jax.download.fetch import Limits, download
from dgex_jax.download.sources import Source
source, limits, folder = json.loads(sys.argv[1])
download([Source(**source)], pathlib.Path(folder), limits=Limits(**limits))
"""


@pytest.mark.long
def test_a_process_that_is_killed_in_the_middle(site, fetch, complete, tmp_path) -> None:
    site.faults = [stalled(70_000)]
    job = [vars(site.source()), {**vars(IMPATIENT), "timeout": 60}, str(tmp_path)]
    command = [sys.executable, "-c", SCRIPT, json.dumps(job)]
    notes = tmp_path / f"{NAME}.partial.json"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        for _ in range(2000):
            if notes.exists() and json.loads(notes.read_text())["n_bytes"] >= 1 << 15:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / NAME).exists()
    fetch(site)
    complete()
    assert 1 << 15 <= int(site.gets[-1].strip("bytes=-")) <= 70_000


def test_a_user_who_stops_it(site, fetch, complete, tmp_path) -> None:
    said: list[str] = []
    site.faults = [truncated(40_000)]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    patience = replace(IMPATIENT, sync_bytes=1 << 30, sync_seconds=3600)
    with pytest.raises(KeyboardInterrupt):
        fetch(site, limits=patience, progress=Progress(stop), said=said)
    assert not (tmp_path / NAME).exists()
    n_bytes = (tmp_path / f"{NAME}.partial").stat().st_size
    kept = f"{n_bytes:,} bytes are kept in {NAME}.partial, the same command resumes there"
    assert said[-1] == f"{NAME}: stopped; {kept}"
    assert 0 < n_bytes <= 40_000
    fetch(site)
    complete()
    assert site.gets == [None, f"bytes={n_bytes}-"]


def test_a_disk_that_takes_no_more(site, fetch, fails, complete) -> None:
    # In two bites, so that a first one is complete before the disk is full.
    site.faults = [truncated(30_000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        fails(site, r"File too large; \d+,\d+ bytes are kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fetch(site)
    complete()
    assert int(site.gets[-1].strip("bytes=-")) >= 30_000


@pytest.mark.parametrize("faults", [[], [until_close()]])
def test_killed_while_it_is_checked_nothing_is_fetched_again(
    site, fetch, complete, monkeypatch, faults
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    site.faults = [*faults]
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "require_complete", killed)
        with pytest.raises(SystemExit):
            fetch(site)
    fetch(site)
    complete()
    assert site.gets == [None]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"url": 3}', None, "link", "cut", "more"])
def test_only_what_the_notes_tell_of_is_resumed(
    site, fetch, fails, complete, tmp_path, tmp_path_factory, damage
) -> None:
    site.faults = [truncated(30_000), *[status(500)] * 2]
    fails(site, "30,000 bytes are kept")
    partial, notes = tmp_path / f"{NAME}.partial", tmp_path / f"{NAME}.partial.json"
    other = tmp_path_factory.mktemp("other") / "file"
    other.write_bytes(bytes(50_000))
    if isinstance(damage, bytes):
        notes.write_bytes(damage)
    elif damage is None:
        notes.unlink()
    elif damage == "link":
        partial.unlink()
        partial.symlink_to(other)
    else:
        os.truncate(partial, 20_000 if damage == "cut" else 130_000)
    fetch(site)
    complete()
    assert site.gets[-1] == ("bytes=30000-" if damage == "more" else None)
    assert other.read_bytes() == bytes(50_000)


def test_the_disk_has_a_file_before_it_gets_its_name(
    site, fetch, tmp_path, content, monkeypatch
) -> None:
    synced: set[tuple[int, int]] = set()

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.add((found.st_ino, found.st_size))
        if (tmp_path / NAME).exists():
            assert ((tmp_path / NAME).stat().st_ino, len(content)) in synced

    monkeypatch.setattr(os, "fsync", fsync)
    fetch(site)
    inodes = {inode for inode, _ in synced}
    assert {(tmp_path / NAME).stat().st_ino, tmp_path.stat().st_ino} <= inodes


# https to the end


AS_A_USER = Limits(timeout=2, attempts=2, pause=0.01, sync_bytes=1 << 15)


@pytest.mark.usefixtures("trusted")
def test_over_tls_as_without(tls_site, fetch, complete) -> None:
    tls_site.faults = [truncated(30_000)]
    said = fetch(tls_site, AS_A_USER)
    complete()
    assert tls_site.gets == [None, "bytes=30000-"]
    assert not any("http:" in line for line in said)


def test_a_certificate_that_nobody_trusts(tls_site, fails, tmp_path) -> None:
    fails(tls_site, r"its certificate is not trusted: self.signed", limits=AS_A_USER)
    assert list(tmp_path.iterdir()) == []
    assert tls_site.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(tls_site, fails) -> None:
    url = tls_site.url.replace("127.0.0.1", "localhost")
    match = "certificate is not trusted: Hostname mismatch"
    fails(tls_site, match, url=url, limits=AS_A_USER)


@pytest.mark.usefixtures("trusted")
def test_nothing_leads_away_from_tls(tls_site, serve, fails) -> None:
    plain = serve()
    for url in (plain.url, "file:///etc/hostname"):
        fails(plain, "refused: not https", url=url, limits=AS_A_USER)
    secret = plain.url.replace("http://", "http://user:password@") + "?token=secret"
    tls_site.faults = [redirect(secret)]
    said = fails(tls_site, r"redirects to http://127.*: refused: not https", limits=AS_A_USER)
    assert "secret" not in said
    assert "password" not in said
    for place in (
        *("file:///etc/hostname", "ftp://127.0.0.1/x", "//[", "data:,x"),
        *("https://127.0.0.1:99999/é", "https://127.0.0.1:x/", "https://a b/", "https://a..b/"),
    ):
        tls_site.faults = [redirect(place)] * 2
        fails(tls_site, ".", limits=AS_A_USER)
    assert plain.requests == []


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_redirects_are_followed_but_not_for_ever(site, fetch, fails, complete, number) -> None:
    site.head = redirect(site.url, number)
    fails(site, "redirects more than 5 times")
    site.head = None
    site.faults = [truncated(30_000), *[redirect("/elsewhere", number)] * 5]
    fetch(site)
    complete()
    assert site.gets == [None, *["bytes=30000-"] * 6]
