"""Whatever a server does: a file under its name is whole, and a second start finishes."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest

from dgex_jax.download import fetch as fetching
from dgex_jax.errors import DgexError
from tests.download.server import NAME


def test_a_file_is_fetched_once_and_its_checksum_noted(site, fetch, whole, content) -> None:
    said = fetch(site)
    whole()
    sha256 = hashlib.sha256(content).hexdigest()
    assert said[0] == f"{NAME}: {len(content):,} bytes"
    assert said[-1].endswith(
        f"{NAME}: fetched, {len(content):,} bytes, sha256 {sha256} "
        "(none is published: noted in SHA256SUMS, to check against from now on)"
    )
    n_requests = len(site.requests)
    again = fetch(site)
    whole()
    assert len(site.requests) == n_requests
    assert again[-1].endswith("(as noted in SHA256SUMS)")


def test_a_published_checksum_is_held_to(site, fetch, fails, whole, content) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    other = hashlib.sha256(b"other").hexdigest()
    said = fails(site, "nothing is kept", sha256=other)
    assert f"its sha256 is {sha256}, not the {other} published" in said
    assert fetch(site, sha256=sha256)[-1].endswith("(as published)")
    assert site.gets == [None, None]
    whole()


def test_a_noted_checksum_is_held_to(site, fetch, fails, whole, tmp_path) -> None:
    fetch(site)
    noted = (tmp_path / "SHA256SUMS").read_text()
    (tmp_path / NAME).unlink()
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {NAME}\n")
    fails(site, "noted in SHA256SUMS")
    (tmp_path / "SHA256SUMS").write_text(noted)
    fetch(site)
    whole()


def test_what_is_published_counts_more_than_what_was_noted(site, fetch, tmp_path, content) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{'1' * 64}  other\n{'0' * 64}  {NAME}\n")
    fetch(site, sha256=sha256)
    sums = (tmp_path / "SHA256SUMS").read_text()
    assert sums == f"{'1' * 64}  other\n{sha256}  {NAME}\n"


def test_a_file_that_is_there_is_never_written_over(site, fetch, tmp_path, content) -> None:
    place = tmp_path / NAME
    place.write_bytes(content[:-100])
    with pytest.raises(DgexError, match="truncated gzip file"):
        fetch(site)
    with pytest.raises(DgexError, match="move it away to fetch it"):
        fetch(site, sha256=hashlib.sha256(content).hexdigest())
    assert place.read_bytes() == content[:-100]
    assert site.requests == []
    place.unlink()
    place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DgexError, match="not an ordinary file"):
        fetch(site)


def test_two_at_once_fetch_it_once(site, fetch, whole) -> None:
    with ThreadPoolExecutor(2) as both:
        said = [line for lines in both.map(lambda _: fetch(site), range(2)) for line in lines]
    whole()
    assert site.gets == [None]
    assert sum(": was there, " in line for line in said) == 1


def test_servers_in_trouble_are_tried_again(site, fetch, faults, whole) -> None:
    site.head = faults.status(503, Retry_After=0)
    with pytest.raises(DgexError, match="503 Service Unavailable; given up after 3 attempts"):
        fetch(site)
    site.head = None
    site.faults = [faults.status(500), faults.status(503, Retry_After=3600)]
    said = fetch(site)
    whole()
    # No longer than our own longest pause.
    assert any(line.endswith("503 Service Unavailable; again in 0.05 s") for line in said)


@pytest.mark.parametrize("number", [204, 401, 403, 404, 410, 418, 599])
def test_what_a_retry_can_not_mend_is_not_retried(
    site, fails, fetch, faults, whole, number
) -> None:
    site.faults = [faults.status(number)]
    fails(site, rf": {number}")
    assert len(site.gets) == 1
    fetch(site)
    whole()


def test_a_missing_file_is_told_before_anything_is_fetched(site, fails, faults) -> None:
    site.head = faults.status(404)
    fails(site, "404 Not Found")
    assert site.gets == []


def test_a_server_that_does_not_like_to_be_asked_is_asked_for_the_file(
    site, fetch, faults, whole
) -> None:
    site.head = faults.status(405)
    assert fetch(site)[0] == f"{NAME}: of a size the server doesn't tell"
    whole()


def test_nobody_there(site, fails) -> None:
    site.shutdown()
    site.server_close()
    fails(site, "Connection refused; given up after 3 attempts")


def test_a_length_that_is_too_long_is_a_break(site, fails, fetch, faults, whole, content) -> None:
    site.faults = [faults.of_length(len(content) + 10)] * 3
    site.validators = {}
    fails(site, rf"ended after {len(content):,} of {len(content) + 10:,} bytes; given up after 3")
    fetch(site)
    whole()


def test_a_length_that_is_too_short_is_found_out(
    site, fails, fetch, faults, whole, content
) -> None:
    site.faults = [faults.of_length(len(content) - 10)]
    fails(site, "what arrived is not it, nothing is kept: .*truncated gzip file")
    site.faults = [faults.of_length(len(content) - 10)]
    fails(site, f"{len(content) - 10:,} bytes, not {len(content):,}: refused", size=len(content))
    fetch(site)
    whole()


def test_two_lengths_that_differ(site, fetch, faults, whole) -> None:
    site.faults = [faults.two_lengths]
    assert any("the server gives no sound length" in line for line in fetch(site))
    whole()


@pytest.mark.parametrize("length", ["-5", "many", "1e3", ""])
def test_a_length_that_is_none(site, fetch, faults, whole, length) -> None:
    site.faults = [faults.of_length(length)]
    fetch(site)
    whole()
    assert len(site.gets) == 2


def test_without_a_length_the_file_itself_tells(site, fails, fetch, faults, whole) -> None:
    site.faults = [faults.until_close(30_000)]
    fails(site, "truncated gzip file")
    site.faults = [faults.until_close()]
    fetch(site)
    whole()


def test_chunks(site, fetch, faults, whole) -> None:
    site.faults = [faults.chunked(30_000), faults.chunked()]
    fetch(site)
    whole()


def test_no_more_is_taken_than_allowed(site, fails, fetch, faults, whole, tmp_path) -> None:
    site.faults = [faults.endless]
    fails(site, "more than 200,000 bytes arrived: refused")
    assert not (tmp_path / f"{NAME}.partial").exists()
    site.faults = [faults.of_length(200_001)]
    fails(site, "200,001 bytes, more than the 200,000 allowed: refused")
    fetch(site)
    whole()


def test_another_size_than_known_is_refused_before_the_file(site, fails, content) -> None:
    fails(site, f"the server's file has {len(content):,} bytes, not 10: refused", size=10)
    assert site.gets == []


def test_a_web_page_is_not_the_file(site, fails, fetch, faults, whole) -> None:
    site.faults = [faults.page("application/gzip")]
    fails(site, r"is a web page")
    site.faults = [faults.truncated(30_000), *[faults.page("text/html; charset=utf-8")] * 2]
    fails(site, "a web page came instead of the file; given up .* 30,000 bytes are kept")
    fetch(site)
    whole()
    assert site.gets[-1] == "bytes=30000-"


def test_a_file_that_comes_encoded_is_refused_unless_that_is_the_file(
    site, fails, fetch, faults, whole
) -> None:
    site.faults = [faults.encoded("br")]
    fails(site, r"comes encoded \(br\)")
    site.faults = [faults.encoded("x-gzip")]
    fetch(site)
    whole()


def test_a_full_disk_is_told_first(site, fails, fetch, faults, whole, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 1000, 1000))
        fails(site, r"93,\d+ bytes are still to come, the disk has 1,000 bytes free")
        assert site.gets == []
        site.head = faults.status(405)
        fails(site, r"table.txt.gz.partial: needs 93,\d+ bytes, the disk has 1,000 bytes free")
    fetch(site)
    whole()


def test_an_error_of_ours_is_not_taken_for_a_wrong_checksum(site, fetch, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(fetching, "transfer", broken)
    with pytest.raises(ValueError, match=r"^a bug$"):
        fetch(site)
