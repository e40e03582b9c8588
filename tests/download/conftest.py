"""A misbehaving server of a small file of the paper's kind, and how it is fetched."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.download.fetch import download
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_rpkm
from tests.download.server import IMPATIENT, NAME, Site, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach the local server itself, and spare waits for the disk, which only a power cut shows."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GEUVADIS table of 20 samples (gzip; about 90 kB)."""
    values = np.random.default_rng(1).gamma(1.0, 20.0, (20, 500))
    samples = tuple(f"NA{number:05d}" for number in range(20))
    genes = tuple(f"ENSG{number:011d}.1" for number in range(500))
    path = tmp_path_factory.mktemp("table") / NAME
    write_rpkm(path, Expression(path, values, samples, genes))
    return path.read_bytes()


@pytest.fixture
def serve(content: bytes) -> Iterator[Callable[..., Site]]:
    """Give a function that starts a server of the table's file."""
    with ExitStack() as sites:
        yield lambda context=None: sites.enter_context(serving(content, context))


@pytest.fixture
def site(serve: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> Site:
    """A server without TLS."""
    # Reading the system's certificates takes longer than all the rest of a request.
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda: empty)
    return serve()


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
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the certificate of the test server as the system's own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))


@pytest.fixture
def fetch(tmp_path):
    """Give a function that downloads a site's file and gives the lines it said."""

    def run(site, limits=IMPATIENT, progress=None, said=None, **known) -> list[str]:
        lines: list[str] = [] if said is None else said
        source = site.source(**known)
        download([source], tmp_path, limits=limits, report=lines.append, progress=progress)
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
def complete(tmp_path, content):
    """Give a function that tells whether the folder holds the file and nothing unfinished."""

    def check() -> None:
        assert (tmp_path / NAME).read_bytes() == content
        left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        assert left == {NAME, "SHA256SUMS"}
        sums = (tmp_path / "SHA256SUMS").read_text()
        assert sums == f"{hashlib.sha256(content).hexdigest()}  {NAME}\n"

    return check
