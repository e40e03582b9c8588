"""A misbehaving server, a small file of the paper's kind for it to serve, and how it is fetched."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.download.fetch import download
from dgex_jax.download.limits import Limits
from dgex_jax.download.sources import Source
from dgex_jax.errors import DgexError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.rpkm import write_rpkm
from tests.download.server import NAME, Faults, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def faults() -> type[Faults]:
    """What a server can do wrong."""
    return Faults


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach the local server itself."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare what takes most of the time, and what only a power cut could show."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Expression:
    """A GEUVADIS table of 20 samples."""
    values = np.random.default_rng(1).gamma(1.0, 20.0, (20, 500))
    samples = tuple(f"NA{number:05d}" for number in range(20))
    genes = tuple(f"ENSG{number:011d}.1" for number in range(500))
    return Expression(tmp_path_factory.mktemp("table") / NAME, values, samples, genes)


@pytest.fixture(scope="session")
def content(table: Expression) -> bytes:
    """The bytes of the table's file (gzip; about 90 kB)."""
    write_rpkm(table.path, table)
    return table.path.read_bytes()


@pytest.fixture
def serve(content: bytes) -> Iterator[Callable[..., Site]]:
    """Give a function that starts a server of the table's file."""
    sites: list[Site] = []

    def start(context: ssl.SSLContext | None = None) -> Site:
        site = Site(content, context)
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        sites.append(site)
        return site

    yield start
    for site in sites:
        site.closing.set()
        site.shutdown()
        site.server_close()


@pytest.fixture
def site(serve: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> Site:
    """A server without TLS."""
    # Reading the system's certificates takes longer than all the rest of a request.
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda: empty)
    return serve()


@pytest.fixture
def source_of() -> Callable[..., Source]:
    """Give a function that makes the source of a server's file."""

    def make(site: Site, **changes: object) -> Source:
        known: dict[str, object] = {
            "name": "table",
            "what": "a small table",
            "file": NAME,
            "format": "geuvadis",
            "kind": "https",
            "url": site.url,
            "max_size": 200_000,
        }
        return Source(**{**known, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def limits() -> Limits:
    """As impatient as a test, but for its clocks: a busy machine is no fault."""
    return Limits(
        timeout=10,
        attempts=3,
        headway=1 << 14,
        pause=0.01,
        longest_pause=0.05,
        pace_seconds=10,
        pace_bytes=1000,
        sync_bytes=1 << 15,
        allow_http=True,
    )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that nobody trusts, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    arguments = [*command.split(), "-keyout", path, "-out", path.with_name("cert.pem")]
    subprocess.run(arguments, check=True, capture_output=True)
    with path.open("ab") as file:
        file.write(path.with_name("cert.pem").read_bytes())
    return path


@pytest.fixture
def tls_site(serve: Callable[..., Site], certificate: Path) -> Site:
    """A server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return serve(context)


@pytest.fixture
def fetch(source_of, limits, tmp_path):
    """Give a function that downloads a site's file and gives the lines it said."""

    def run(site, patience=limits, **known) -> list[str]:
        lines: list[str] = []
        download([source_of(site, **known)], tmp_path, limits=patience, report=lines.append)
        return lines

    return run


@pytest.fixture
def fails(fetch, tmp_path):
    """Give a function that must fail, leaving nothing under the file's name."""

    def run(site, match: str, **known) -> str:
        with pytest.raises(DgexError, match=match) as error:
            fetch(site, **known)
        assert "\n" not in str(error.value)
        assert not (tmp_path / NAME).exists()
        return str(error.value)

    return run


@pytest.fixture
def whole(tmp_path, content):
    """Give a function that tells whether the folder holds the file and nothing unfinished."""

    def check() -> None:
        assert (tmp_path / NAME).read_bytes() == content
        left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        assert left == {NAME, "SHA256SUMS"}
        sums = (tmp_path / "SHA256SUMS").read_text()
        assert sums == f"{hashlib.sha256(content).hexdigest()}  {NAME}\n"

    return check
