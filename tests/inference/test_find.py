"""Models by path, by name and by address; nothing that an archive can do is done."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dgex_jax.cli import main
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.model import find
from dgex_jax.model.find import find_model, shipped
from dgex_jax.model.model import read_model, write_model
from tests.download.server import IMPATIENT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.download.server import Site


@pytest.fixture
def model(new_model, tmp_path) -> Path:
    """A model folder."""
    write_model(tmp_path / "made", new_model())
    return tmp_path / "made"


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """The folder that the package believes to lie in."""
    root = tmp_path / "checkout"
    (root / "models").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "dgex-jax"\n')
    monkeypatch.setattr(find.dgex_jax, "__file__", str(root / "dgex_jax" / "__init__.py"))
    return root


def refused(given: object) -> str:
    with pytest.raises(DgexError) as caught:
        find_model(given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_name_is_that_of_a_model_of_this_checkout(checkout, model, tmp_path, monkeypatch) -> None:
    model.rename(checkout / "models" / "small")
    (checkout / "models" / "README.md").touch()
    monkeypatch.chdir(tmp_path)
    assert find_model("small") == checkout / "models" / "small"
    assert [one.name for one in shipped()] == ["small"]
    assert "models by name: small" in refused("smal")
    # What is there under that path goes first, and what is no name is a path alone.
    (tmp_path / "small").mkdir()
    assert find_model("small") == Path("small")
    assert find_model("models/small") == Path("models/small")
    # Another project's folder of models is none of ours.
    (checkout / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert shipped() == []
    assert "no model comes with this installation" in refused("tiny")


def test_info_lists_them(checkout, model, capsys) -> None:
    assert main(["info"]) == 0
    assert "no model comes with this installation" in capsys.readouterr().out
    model.rename(checkout / "models" / "small")
    assert main(["info"]) == 0
    assert capsys.readouterr().out.startswith("small  7 landmarks to 9 targets, ")
    assert main(["info", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["n_targets"]) == ("small", 9)
    assert main(["info", "small"]) == 0
    assert "checksums ok" in capsys.readouterr().out
    assert main(["info", "large"]) == 2
    assert "models by name: small" in capsys.readouterr().err


# --- by address


@pytest.fixture
def site(monkeypatch, tmp_path) -> Iterator[Site]:
    """A server of an archive, and a cache of the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ssl, "create_default_context", lambda: None)
    with serving(b"") as made:
        yield made


def address(site: Site, name: str = "mine.zip") -> str:
    return site.url.rpartition("/")[0] + f"/{name}"


def fetched(site: Site) -> Path:
    return find_model(address(site), limits=IMPATIENT, report=lambda _line: None)


def archive(files: dict[str | zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return stream.getvalue()


def packed(model: Path, top: str = "") -> dict[str | zipfile.ZipInfo, bytes]:
    return {f"{top}{path.name}": path.read_bytes() for path in sorted(model.iterdir())}


@pytest.mark.parametrize("top", ["", "a model/", "./deep/er/"])
def test_an_archive_is_fetched_once_and_unpacked(site, model, new_model, same, top) -> None:
    if top.startswith("./"):
        top = top.removeprefix("./")
        site.content = archive(packed(model, top))
        with pytest.raises(FormatError, match="a model is one folder"):
            fetched(site)
        return
    site.content = archive({top: b"", **packed(model, top)} if top else packed(model))
    path = fetched(site)
    same(new_model(), read_model(path))
    assert path.name == "mine"
    asked = len(site.requests)
    assert fetched(site) == path
    assert len(site.requests) == asked
    assert sorted(one.name for one in path.parent.iterdir() if one.name[0] != ".") == [
        "SHA256SUMS",
        "mine",
    ]


def linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE = {
    "climbs": ({"../model.json": b"{}"}, "a model is one folder"),
    "climbs far": ({"../../evil.py": b"1"}, "'../../evil.py', which is no file of a model"),
    "absolute": ({"/etc/model.json": b"{}"}, "a model is one folder"),
    "backslash": ({"..\\model.json": b"{}"}, "which is no file of a model"),
    "link": ({linked("weights.safetensors"): b"/etc/passwd"}, "which is no file of a model"),
    "stranger": ({"setup.py": b"1"}, "'setup.py', which is no file of a model"),
    "two folders": ({"a/model.json": b"{}", "b/genes.tsv": b""}, "a model is one folder"),
    "nothing": ({}, "no model.json"),
    "another model.json": ({"model.json": b"{}"}, "describes no D-GEX model"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(site, tmp_path, name) -> None:
    files, cause = HOSTILE[name]
    site.content = archive(files)
    with pytest.raises(FormatError, match=r"mine\.zip: holds no sound model: ") as caught:
        fetched(site)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)
    left = [one for one in tmp_path.rglob("*") if one.is_file() and one.name[0] != "."]
    assert {one.name for one in left} <= {"SHA256SUMS"}


def test_altered_truncated_too_large_or_none_at_all(site, model, tmp_path, monkeypatch) -> None:
    files = packed(model)
    files["weights.safetensors"] = files["weights.safetensors"][:-1] + b"\1"
    site.content = archive(files)
    with pytest.raises(FormatError, match=r"weights.safetensors: damaged or replaced"):
        fetched(site)
    whole = archive(packed(model))
    for content in (whole[:-30], b"<html>no</html>" * 20):
        site.content = content
        with pytest.raises(DgexError, match=r"what arrived is not it, nothing is kept: .* no zip"):
            fetched(site)
    # One that tells less than is in it: zipfile stops at the size told.
    place = whole.rindex(b"PK\1\2") + 24
    site.content = whole[:place] + (5).to_bytes(4, "little") + whole[place + 4 :]
    with pytest.raises(FormatError, match="holds no sound model: "):
        fetched(site)
    monkeypatch.setattr(find, "MOST_BYTES", 4 * len(whole))
    site.content = archive({"genes.tsv": bytes(8 * len(whole))})
    with pytest.raises(FormatError, match="bytes are in it, more than"):
        fetched(site)
    monkeypatch.setattr(find, "MOST_BYTES", len(whole) - 1)
    site.content = whole
    with pytest.raises(DgexError, match="allowed: refused"):
        fetched(site)
    folder = tmp_path / "cache/dgex-jax/models" / hashlib.sha256(address(site).encode()).hexdigest()
    assert not folder.with_name(folder.name[:16]).joinpath("mine").exists()


def test_addresses_that_are_none(site) -> None:
    assert "an address of a model ends in NAME.zip" in refused("https://example.org/model.tar.gz")
    assert "an address of a model ends in NAME.zip" in refused("https://example.org/.zip")
    # Without TLS only for tests.
    assert "refused: not https" in refused(address(site))
    assert site.requests == []
    assert find_model("ftp://example.org/m.zip") == Path("ftp://example.org/m.zip")
