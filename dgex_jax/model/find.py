"""Where a model is: a folder, the name of one that comes with the checkout, or an https address."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tomllib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import dgex_jax
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.files import (
    locked,
    make_folder,
    one_line,
    replace_folder,
    require_space,
    say,
    temporary_folder,
    user_cache,
    writing,
)
from dgex_jax.model.model import DESCRIPTION, EVERY_FILE, read_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.download.fetch import Limits

    Report = Callable[[str], None]

ADDRESS = re.compile(r"https?://", re.IGNORECASE)
NAME = re.compile(r"\w[\w.-]*", re.ASCII)
MOST_BYTES = 8 * 10**9
"""Of an archive, and of what is in it: twice the paper's largest network."""
PIECE_BYTES = 1 << 20


class Shipped(NamedTuple):
    """A model that comes with the checkout."""

    name: str
    path: Path
    n_landmarks: int
    n_targets: int
    n_bytes: int

    @property
    def line(self) -> str:
        """Say what it is."""
        genes = f"{self.n_landmarks:,} landmarks to {self.n_targets:,} targets"
        return f"{self.name}  {genes}, {self.n_bytes / 1e6:.1f} MB ({self.path})"


def find_model(given: str | Path, *, report: Report = say, limits: Limits | None = None) -> Path:
    """Give the folder of a model that is `given` by its path, its name, or an https address.

    What exists under that path always goes first. A name is that of a folder in ``models/`` of the
    checkout (`shipped`). A ``.zip`` of a model folder is fetched once into the user's cache and
    unpacked there; `report` is told of it, `limits` are the download's. Raises `DgexError` if there
    is no such model, it can't be fetched, or the archive holds anything but a sound model.
    """
    text, path = str(given), Path(given)
    if path.exists():
        return path
    if isinstance(given, str) and ADDRESS.match(text):
        return fetch_model(text, report=report, limits=limits)
    if not NAME.fullmatch(text):
        return path
    known = {one.name: one.path for one in shipped()}
    if text not in known:
        names = ", ".join(known)
        there = f"models by name: {names}" if known else "no model comes with this installation"
        raise FormatError(f"{text}: no such model folder, and no model of that name ({there})")
    return known[text]


def shipped() -> list[Shipped]:
    """List the models that come with the checkout, by name; an installed package has none."""
    root = Path(dgex_jax.__file__).resolve().parents[1]
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        if project["project"]["name"] != "dgex-jax":
            return []
        found = []
        for path in sorted((root / "models").glob(f"*/{DESCRIPTION}")):
            counts = json.loads(path.read_bytes())["counts"]
            n_bytes = sum(one.stat().st_size for one in path.parent.iterdir())
            numbers = counts["landmarks"], counts["targets"], n_bytes
            found.append(Shipped(path.parent.name, path.parent, *numbers))
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found


def fetch_model(url: str, *, report: Report = say, limits: Limits | None = None) -> Path:
    """Fetch a ``.zip`` of a model folder, unless it is in the cache; give its folder there.

    Raises `DgexError` as `find_model`.
    """
    name = Path(urlsplit(url).path)
    if name.suffix != ".zip" or not NAME.fullmatch(name.stem):
        shown = urlsplit(url).path
        raise DgexError(f"{shown}: an address of a model ends in NAME.zip, a zip of its folder")
    cache = user_cache()
    if cache is None:
        raise DgexError("a model by address needs a cache: set HOME or XDG_CACHE_HOME")
    folder = cache / "models" / hashlib.sha256(url.encode()).hexdigest()[:16]
    final = folder / name.stem
    make_folder(folder)
    with locked(final, report=report):
        if not final.exists():
            archive = folder / name.name
            _fetch(url, archive, report, limits)
            try:
                with writing(final), temporary_folder(final) as temporary:
                    _take_out(archive, temporary)
                    replace_folder(temporary, final)
            finally:
                archive.unlink(missing_ok=True)
            report(f"{final}: unpacked, checksums ok; kept there for the next time")
    return final


def _fetch(url: str, archive: Path, report: Report, limits: Limits | None) -> None:
    from dgex_jax.download.fetch import download  # noqa: PLC0415  (ssl and http, when asked)
    from dgex_jax.download.sources import Source  # noqa: PLC0415

    source = Source(archive.stem, "a model", archive.name, "zip", "https", url, MOST_BYTES)
    # What was noted of an earlier archive says nothing of the one that is there now.
    (archive.parent / "SHA256SUMS").unlink(missing_ok=True)
    download([source], archive.parent, limits=limits, report=report)


def _take_out(archive: Path, folder: Path) -> None:
    try:
        _unpack(archive, folder)
        read_model(folder)
    except FormatError as error:
        cause = str(error).replace(f"{folder}/", "")
        raise FormatError(f"{archive.name}: holds no sound model: {cause}") from error


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of a model, alone or in one folder; anything else in the archive is refused.

    Nothing is written under a name that the archive chooses.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [one for one in file.infolist() if not one.is_dir()]
            tops = {one.filename.rpartition("/")[0] for one in members}
            taken: set[str] = set()
            for one in members:
                top, _, name = one.filename.rpartition("/")
                kind = stat.S_IFMT(one.external_attr >> 16)
                plain = kind in {0, stat.S_IFREG} and not one.flag_bits & 1
                if name not in EVERY_FILE or name in taken or not plain:
                    raise FormatError(f"it holds {one.filename!r}, which is no file of a model")
                if len(tops) > 1 or "/" in top or top in {".", ".."}:
                    raise FormatError(f"it holds {one.filename!r}: a model is one folder")
                taken.add(name)
            size = sum(one.file_size for one in members)
            if size > MOST_BYTES:
                raise FormatError(f"{size:,} bytes are in it, more than {MOST_BYTES:,}: refused")
            require_space(folder, size)
            for one in members:
                with file.open(one) as packed, (folder / Path(one.filename).name).open("xb") as to:
                    # As long as it says, and no longer: zipfile stops there.
                    while piece := packed.read(PIECE_BYTES):
                        to.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"it is no zip archive, or a damaged one: {one_line(error)}") from error
