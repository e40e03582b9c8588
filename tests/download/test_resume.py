"""What arrived before a break is gone on from, if and only if it is the same file's beginning."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections import namedtuple
from dataclasses import replace

import pytest

from dgex_jax.data.progress import Progress
from dgex_jax.download import transfer as transferring
from dgex_jax.download.fetch import download
from dgex_jax.errors import DgexError
from tests.download.server import NAME


def test_a_break_is_gone_on_from(site, fetch, faults, whole) -> None:
    site.faults = [faults.truncated(30_000), faults.truncated(20_000)]
    said = fetch(site)
    whole()
    assert site.gets == [None, "bytes=30000-", "bytes=50000-"]
    assert f"{NAME}: goes on at byte 50,000" in said
    _, headers = site.requests[-1]
    assert headers["If-Range"] == '"one"'
    assert headers["Accept-Encoding"] == "identity"


def test_attempts_count_anew_after_headway(site, fetch, faults, whole) -> None:
    site.faults = [faults.truncated(17_000)] * 5
    fetch(site)
    whole()
    assert len(site.gets) == 6


def test_progress_counts_what_arrives_now(
    site, source_of, limits, faults, tmp_path, content, monkeypatch
) -> None:
    monkeypatch.setattr(transferring, "MEGABYTE", 1000)
    site.faults = [faults.truncated(30_000)]
    seen: list[tuple[str, int, int]] = []
    progress = Progress(lambda *told: seen.append(told))
    source = source_of(site)
    download([source], tmp_path, limits=limits, report=lambda _: None, progress=progress)
    first = [done for _, done, total in seen if total == len(content) // 1000 + 1]
    second = [done for _, done, total in seen if total == (len(content) - 30_000) // 1000 + 1]
    assert first[-1] == 30
    assert second[-1] == (len(content) - 30_000) // 1000
    assert {name for name, _, _ in seen} == {NAME}


def test_the_beginning_of_a_file_elsewhere_is_not_gone_on_from(
    site, fails, fetch, faults, whole
) -> None:
    site.faults = [faults.truncated(30_000), *[faults.status(500)] * 2]
    fails(site, "30,000 bytes are kept")
    fetch(site, url=f"{site.url}?another")
    whole()
    assert site.gets[-1] is None


def test_a_stall_is_gone_on_from(site, fetch, faults, whole, limits) -> None:
    site.faults = [faults.stalled(40_000), faults.silent]
    said = fetch(site, patience=replace(limits, timeout=0.3, attempts=20))
    whole()
    assert site.gets[0] is None
    assert set(site.gets[1:]) == {"bytes=40000-"}
    assert sum("no answer in time" in line for line in said) >= 2


def test_a_drip_is_a_stall(site, fails, fetch, faults, whole, limits) -> None:
    site.faults = [faults.dripping] * 2
    hasty = replace(limits, pace_seconds=0.1, attempts=2)
    fails(site, r"bytes in \d s; given up after 2 attempts; \d+ bytes are kept", patience=hasty)
    fetch(site)
    whole()


@pytest.mark.parametrize("validators", [{"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_a_date_tells_versions_apart_as_well(site, fetch, faults, whole, validators) -> None:
    site.validators = {"ETag": 'W/"weak"', **validators}
    site.faults = [faults.truncated(30_000)]
    fetch(site)
    whole()
    assert site.gets == [None, "bytes=30000-"]
    assert site.requests[-1][1]["If-Range"] == validators["Last-Modified"]


def test_without_a_version_it_begins_anew_unless_the_sha256_is_known(
    site, fetch, faults, whole, content, tmp_path
) -> None:
    site.validators = {}
    site.faults = [faults.truncated(30_000)]
    fetch(site)
    whole()
    assert site.gets == [None, None]
    (tmp_path / NAME).unlink()
    site.requests.clear()
    site.faults = [faults.truncated(30_000)]
    fetch(site, sha256=hashlib.sha256(content).hexdigest())
    whole()
    assert site.gets == [None, "bytes=30000-"]


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changes_between_attempts_begins_anew(
    site, fetch, fails, faults, whole, content, honours_if_range
) -> None:
    old = bytes(len(content))
    site.content, site.faults = old, [faults.truncated(30_000), *[faults.status(503)] * 2]
    fails(site, "30,000 bytes are kept in table.txt.gz.partial, the same command goes on there")
    site.content, site.validators = content, {"ETag": '"two"'}
    site.faults = [] if honours_if_range else [faults.any_range]
    fetch(site)
    whole()
    assert site.gets[3] == "bytes=30000-"
    assert site.gets[4:] == ([] if honours_if_range else [None])


def test_a_server_without_ranges_begins_anew(site, fetch, faults, whole) -> None:
    site.faults = [faults.truncated(30_000), faults.no_range]
    assert f"{NAME}: begins anew" in fetch(site)
    whole()


@pytest.mark.parametrize(
    "text",
    ["bytes 0-9/10", "bytes 30000-99/100", "bytes */5", "lines 1-2/3", "bytes 30000-40000/*"],
)
def test_a_wrong_range_begins_anew(site, fetch, faults, whole, text) -> None:
    site.faults = [faults.truncated(30_000), faults.wrong_range(text)]
    fetch(site)
    whole()
    assert site.gets == [None, "bytes=30000-", None]


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("start", [20_000, 40_000])
def test_another_part_than_asked_for_begins_anew(
    site, fetch, faults, whole, content, start, length
) -> None:
    part = faults.part(start, len(content), length=length)
    site.faults = [faults.truncated(30_000), part]
    fetch(site)
    whole()
    assert site.gets == [None, "bytes=30000-", None]


def test_less_than_asked_for_is_taken(site, fetch, faults, whole) -> None:
    site.faults = [faults.truncated(30_000), faults.part(30_000, 40_000)]
    fetch(site)
    whole()
    assert site.gets == [None, "bytes=30000-", "bytes=40000-"]


def test_a_part_without_a_version_but_of_a_longer_file_begins_anew(
    site, fails, fetch, faults, whole, content
) -> None:
    site.content, site.faults = bytes(60_000), [faults.truncated(30_000), *[faults.status(503)] * 2]
    fails(site, "30,000 bytes are kept")
    site.content, site.validators, site.faults = content, {}, [faults.any_range]
    fetch(site)
    whole()
    assert site.gets[-2:] == ["bytes=30000-", None]


def test_a_file_that_became_shorter_begins_anew(site, fails, fetch, faults, whole, content) -> None:
    site.content = content * 2
    site.faults = [faults.truncated(len(content) + 100), *[faults.status(500)] * 2]
    fails(site, "500 Internal Server Error; given up after")
    site.content = content
    site.faults = [faults.status(416, Content_Range=f"bytes */{len(content)}")]
    fetch(site)
    whole()


def test_what_is_kept_needs_no_room(site, fails, fetch, faults, whole, monkeypatch) -> None:
    site.faults = [faults.truncated(30_000), *[faults.status(500)] * 2]
    fails(site, "30,000 bytes are kept")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 70_000, 70_000))
    assert fetch(site)[0].endswith(" bytes, 30,000 of them kept")
    whole()


def test_any_mix_of_faults_ends_well(site, fetch, faults, whole, content, tmp_path, limits) -> None:
    rng = random.Random(7)
    kinds = [
        lambda: faults.truncated(rng.randrange(len(content))),
        lambda: faults.until_close(rng.randrange(len(content))),
        lambda: faults.chunked(rng.randrange(len(content))),
        lambda: faults.status(rng.choice([403, 404, 416, 500, 503])),
        lambda: faults.of_length(rng.randrange(150_000)),
        lambda: faults.wrong_range(f"bytes {rng.randrange(90_000)}-{rng.randrange(99_999)}/*"),
        lambda: faults.page(rng.choice(["text/html", "text/plain"])),
        lambda: faults.no_range,
        lambda: faults.redirect(site.url),
    ]
    starts = 0
    for _ in range(15):
        (tmp_path / NAME).unlink(missing_ok=True)
        site.faults = [rng.choice(kinds)() for _ in range(6)]
        for _ in range(10):
            starts += 1
            try:
                fetch(site, patience=replace(limits, attempts=rng.choice([1, 2]), pause=0))
            except DgexError:
                assert not (tmp_path / NAME).exists()
            else:
                break
        whole()
    assert starts > 30
    assert re.fullmatch("bytes=[1-9][0-9]*-", next(filter(None, site.gets)))
