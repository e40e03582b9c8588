"""https to the end: certificates are verified, and nothing leads away from TLS."""

from __future__ import annotations

import pytest

from dgex_jax.download.fetch import download
from dgex_jax.download.limits import Limits
from dgex_jax.errors import DgexError
from tests.download.server import NAME


@pytest.fixture
def fetch(source_of, tmp_path):
    """Give a function that downloads a site's file as a user does."""

    def run(site, **known) -> list[str]:
        lines: list[str] = []
        patience = Limits(timeout=2, attempts=2, pause=0.01, sync_bytes=1 << 15)
        download([source_of(site, **known)], tmp_path, limits=patience, report=lines.append)
        return lines

    return run


@pytest.fixture
def trusted(certificate, monkeypatch):
    """Trust the certificate of the test server as the system's own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))


@pytest.mark.usefixtures("trusted")
def test_over_tls_as_without(tls_site, fetch, faults, tmp_path, content) -> None:
    tls_site.faults = [faults.truncated(30_000)]
    said = fetch(tls_site)
    assert (tmp_path / NAME).read_bytes() == content
    assert tls_site.gets == [None, "bytes=30000-"]
    assert not any("http:" in line for line in said)


def test_a_certificate_that_nobody_trusts(tls_site, fetch, tmp_path) -> None:
    with pytest.raises(DgexError, match=r"its certificate is not trusted: self.signed"):
        fetch(tls_site)
    assert list(tmp_path.iterdir()) == []
    assert tls_site.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(tls_site, fetch) -> None:
    url = tls_site.url.replace("127.0.0.1", "localhost")
    with pytest.raises(DgexError, match="certificate is not trusted: Hostname mismatch"):
        fetch(tls_site, url=url)


def test_no_address_without_tls(site, fetch) -> None:
    with pytest.raises(DgexError, match="refused: not https"):
        fetch(site)
    with pytest.raises(DgexError, match="refused: not https"):
        fetch(site, url="file:///etc/hostname")
    assert site.requests == []


@pytest.mark.usefixtures("trusted")
def test_no_redirect_leads_away_from_tls(tls_site, serve, fetch, faults, tmp_path) -> None:
    plain = serve()
    secret = plain.url.replace("http://", "http://user:password@") + "?token=secret"
    tls_site.faults = [faults.redirect(secret)]
    with pytest.raises(DgexError, match=r"redirects to http://127.*: refused: not https") as error:
        fetch(tls_site)
    assert "secret" not in str(error.value)
    assert "password" not in str(error.value)
    for place in (
        *("file:///etc/hostname", "ftp://127.0.0.1/x", "//[", "data:,x"),
        *("https://127.0.0.1:99999/é", "https://127.0.0.1:x/", "https://a b/", "https://a..b/"),
    ):
        tls_site.faults = [faults.redirect(place)] * 2
        with pytest.raises(DgexError):
            fetch(tls_site)
    assert plain.requests == []
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_but_not_for_ever(
    site, limits, source_of, faults, tmp_path, content, status
) -> None:
    def fetch() -> None:
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)

    site.head = faults.redirect(site.url, status)
    with pytest.raises(DgexError, match="redirects more than 5 times"):
        fetch()
    site.head = None
    site.faults = [faults.truncated(30_000), *[faults.redirect("/elsewhere", status)] * 5]
    fetch()
    assert (tmp_path / NAME).read_bytes() == content
    assert site.gets == [None, *["bytes=30000-"] * 6]
