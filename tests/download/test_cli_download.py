"""``dgex download`` as a user meets it."""

from __future__ import annotations

import sys

import pytest

from dgex_jax.cli import main
from dgex_jax.download import sources as table
from dgex_jax.download.sources import read_sources
from tests.download.server import NAME


@pytest.fixture
def dgex(capsys):
    """Give a function that runs ``dgex download`` and gives code, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(["download", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def local(site, source_of, monkeypatch):
    """A table of one source, on a local server."""
    source = source_of(site)
    monkeypatch.setattr(table, "read_sources", lambda: (source,))
    return site


def test_the_list_says_of_each_source_how_it_is_had(dgex) -> None:
    code, out, err = dgex("--list")
    assert (code, err) == (0, "")
    for source in read_sources():
        block = out[out.index(f"{source.name}: {source.what}") :]
        assert source.file in block
        assert (source.how if source.by_hand else f"fetched from {source.url}") in block
        assert source.sha256 in block
    assert out.count("sha256 not published") == 6
    assert "about 11.5 GB" in out
    assert "size not known" in out


@pytest.mark.parametrize("name", ["bgedv2", "gtex"])
def test_what_is_had_by_e_mail_is_said_and_nothing_else_done(dgex, tmp_path, name) -> None:
    for names in ([name], ["map-lm", name]):
        code, out, err = dgex(*names, "-o", tmp_path / "data")
        assert (code, out) == (2, "")
        assert err.startswith(f"dgex: error: {name} is had from the D-GEX authors by e-mail")
        assert err.count("\n") == 1
        assert f"dgex download --check {tmp_path / 'data'}" in err
        assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "give names"),
        (["map-lm"], "-o FOLDER"),
        (["map-ln", "-o", "x"], "'map-ln' is no source; the nearest is 'map-lm'"),
        (["--list", "--check", "x"], "give names"),
        (["map-lm", "--list"], "give names"),
        (["--check", "nowhere"], "nowhere: no such folder"),
        (["--study"], "-o FOLDER"),
    ],
)
def test_what_makes_no_sense_is_one_line(dgex, tmp_path, monkeypatch, arguments, fault) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = dgex(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert fault in err
    assert list(tmp_path.iterdir()) == []


def test_a_download_from_the_command_line_knows_nothing_but_tls(dgex, local, tmp_path) -> None:
    code, _, err = dgex("table", "-o", tmp_path)
    assert code == 2
    assert err.endswith(": refused: not https\n")
    assert local.requests == []


def test_fetch_then_check(dgex, tls_site, source_of, tmp_path, monkeypatch, certificate) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
    source = source_of(tls_site, profiles=20, genes=500, shape_from="this test", role="1000g")
    monkeypatch.setattr(table, "read_sources", lambda: (source,))
    code, out, err = dgex("table", "-o", tmp_path / "data")
    assert (code, err) == (0, "")
    assert "fetched, " in out
    code, out, err = dgex("--check", tmp_path / "data")
    assert (code, err) == (0, "")
    assert out.startswith(f"sound     table: {NAME}; 20 profiles x 500 Ensembl genes")
    assert "sha256 as SHA256SUMS" in out
    path = tmp_path / "data" / NAME
    path.write_bytes(path.read_bytes()[:-5])
    code, out, err = dgex("--check", tmp_path / "data")
    assert code == 2
    assert out.startswith("not sound table: ")
    assert "truncated gzip file" in out
    assert err == f"dgex: error: {tmp_path / 'data'}: not sound: table\n"


def test_a_study_file(dgex, tmp_path) -> None:
    code, out, _ = dgex("--study", "-o", tmp_path)
    assert (code, out) == (0, f"written: {tmp_path / 'study.toml'}\n")
    code, out, err = dgex("--study", "-o", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_without_pooch_only_fetching_fails(dgex, local, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    code, _, err = dgex("table", "-o", tmp_path)
    assert code == 2
    assert "downloading needs pooch: pip install 'dgex-jax[download]'" in err
    assert dgex("--list")[0] == 0
    assert local.requests == []
