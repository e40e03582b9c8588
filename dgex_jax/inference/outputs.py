"""Inferred profiles as files: in which format, under whose name, and by one process at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from dgex_jax.errors import DgexError
from dgex_jax.formats.gct_stream import GctWriter
from dgex_jax.formats.gctx import GctxWriter
from dgex_jax.formats.h5ad_write import H5adWriter
from dgex_jax.formats.partial import Resume
from dgex_jax.formats.zarr_folder import StoreFolders
from dgex_jax.formats.zarr_write import ZarrWriter
from dgex_jax.inference.network import BATCH
from dgex_jax.locks import locked, say
from dgex_jax.provenance import drop_sidecar, sidecar, write_record, write_sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.formats.profilewriter import ProfileWriter

WHOLE = (1, 1)
"""The part of an output that one process writes alone."""

ZARR = ".zarr"
WHITESPACE = re.compile(r"[\t\r\n\0]+")


class OutputWriter(Protocol):
    """What every output takes (see `profilewriter.ProfileWriter`)."""

    missing: int

    def pending(self) -> Sequence[slice]:
        """Give the runs of profiles still to be written; they begin at multiples of `BATCH`."""

    def append(self, block: FloatArray) -> None:
        """Add the next profiles ``(n, n_genes)`` in the order of `pending`."""


@dataclass(frozen=True)
class Output:
    """What is to be written, but for the values.

    Attributes
    ----------
    path
        The file; it appears under its name when all profiles have arrived.
    profiles, genes
        Ids, in the order of the values to come.
    profile_metadata, gene_metadata
        One line an id.
    provenance
        JSON values: a root attribute of GCTX, ``uns["dgex"]`` of AnnData; GCT has no place for it
        but profile fields (the checksums and the options).
    job
        All that decides the values, as JSON values: an interrupted output of this very job goes on
        where it stopped, if its format can.
    wait
        Whether to wait for another process that writes this output, or to raise `DgexError`.
    report
        Gets a line when it waits, goes on, or begins anew.
    part
        Part i (from 1) of n of the profiles; more than one for zarr alone.
    record
        A `provenance.record` to lie beside the output, with the checksum of a file; a zarr store
        has checksums of its own. ``None``: nothing lies there.
    """

    path: Path
    profiles: Sequence[str]
    genes: Sequence[str]
    profile_metadata: pd.DataFrame
    gene_metadata: pd.DataFrame
    provenance: Mapping[str, Any]
    job: Mapping[str, Any]
    wait: bool = True
    report: Callable[[str], None] = say
    part: tuple[int, int] = WHOLE
    record: Mapping[str, Any] | None = None


def check_output(output: Path, input_path: Path, part: tuple[int, int] = WHOLE) -> None:
    """Check where results shall go, before hours of work.

    Raises
    ------
    DgexError
        Another ending than those that can be written, not in a folder that is there, a folder
        where a file shall be (or the other way round), the input itself, or a part of a file that
        can't be written in parts.
    """
    opener_of(output)
    is_store = output.name.endswith(ZARR)
    if part != WHOLE and not is_store:
        raise DgexError(f"{output}: only an output that ends in {ZARR} can be written in parts")
    if is_store:
        StoreFolders(output).check()
    elif not output.parent.is_dir() or (output.exists() and not output.is_file()):
        raise DgexError(f"{output}: can't be written: not a file in a folder that is there")
    if output.exists() and input_path.exists() and output.samefile(input_path):
        raise DgexError(f"{output}: is the input, not to be overwritten")


def open_output(output: Output) -> AbstractContextManager[OutputWriter]:
    """Give a writer for the format that the name of `output` ends in."""
    return opener_of(output.path)(output)


def opener_of(path: Path) -> Opener:
    """Give what opens an output of this name.

    Raises
    ------
    DgexError
        No format that can be written has its ending.
    """
    for ending, opener in OPENERS.items():
        if path.name.endswith(ending):
            return opener
    *most, last = OPENERS
    raise DgexError(f"{path}: the output ends in {', '.join(most)} or {last}")


@contextmanager
def _file(output: Output, writer: ProfileWriter) -> Iterator[OutputWriter]:
    """Open a writer of one file, which two processes must not write together."""
    path = output.path.resolve() if output.path.is_symlink() else output.path
    with locked(path, wait=output.wait, report=output.report):
        with writer:
            yield writer
            drop_sidecar(output.path)
        if output.record is not None:
            write_sidecar(output.path, output.record, writer.sha256)


def _gct(output: Output) -> AbstractContextManager[OutputWriter]:
    metadata = carried(output.profile_metadata)
    described = _described(metadata, output.profiles, output.provenance)
    writer = GctWriter(output.path, output.profiles, output.genes, described, output.gene_metadata)
    return _file(output, writer)


def _gctx(output: Output) -> AbstractContextManager[OutputWriter]:
    writer = GctxWriter(
        output.path,
        output.profiles,
        output.genes,
        profile_metadata=carried(output.profile_metadata),
        gene_metadata=output.gene_metadata,
        src=output.provenance["made_by"],
        attributes={"provenance": output.provenance},
        resume=Resume(output.job, BATCH, output.report),
    )
    return _file(output, writer)


def _h5ad(output: Output) -> AbstractContextManager[OutputWriter]:
    writer = H5adWriter(
        output.path,
        output.profiles,
        output.genes,
        carried(output.profile_metadata),
        output.gene_metadata,
        output.provenance,
        Resume(output.job, BATCH, output.report),
    )
    return _file(output, writer)


@contextmanager
def _zarr(output: Output) -> Iterator[OutputWriter]:
    with _store(output) as writer:
        yield writer
    # Once it is whole: the last of several processes comes here with nothing missing.
    if output.record is not None and not writer.missing:
        write_record(sidecar(output.path), output.record, {})


def _store(output: Output) -> ZarrWriter:
    return ZarrWriter(
        output.path,
        output.profiles,
        output.genes,
        carried(output.profile_metadata),
        output.gene_metadata,
        output.provenance,
        job=output.job,
        part=output.part,
        report=output.report,
    )


Opener = Callable[[Output], AbstractContextManager[OutputWriter]]

OPENERS: Mapping[str, Opener] = {
    ".gctx": _gctx,
    ".gct": _gct,
    ".gct.gz": _gct,
    ".h5ad": _h5ad,
    ZARR: _zarr,
}
"""Ending of a name → what opens such an output. Whoever writes in another way than one process a
file (see `_file`) sees to its own locks."""


def carried(metadata: pd.DataFrame) -> pd.DataFrame:
    """Give profile metadata that every format can hold.

    Fields called ``id`` (LINCS files have one beside the ids themselves) become ``input_id``,
    slashes in names underscores, tabs and line ends in texts spaces.
    """
    names: list[str] = []
    for field in metadata.columns:
        plain = WHITESPACE.sub(" ", str(field)).replace("/", "_").strip()
        name = f"input_{plain}" if plain in {"", ".", "id"} else plain
        while name in names:
            name += "_"
        names.append(name)
    clean = metadata.set_axis(pd.Index(names, dtype=object), axis=1)
    for place, name in enumerate(names):
        column = clean.iloc[:, place]
        if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
            texts = [WHITESPACE.sub(" ", x) if isinstance(x, str) else x for x in column]
            clean[name] = pd.Series(texts, index=clean.index, dtype=object)
    return clean


def _described(
    metadata: pd.DataFrame, profiles: Sequence[str], provenance: Mapping[str, Any]
) -> pd.DataFrame:
    model = provenance["model"]
    simulated = " (trained on simulated data)" if model["simulated"] else ""
    options = ", ".join(f"{key} {value}" for key, value in provenance["options"].items())
    told = {
        "dgex_model": f"{model['network']} {model['sha256'] or 'from memory'}{simulated}",
        "dgex_input": provenance["input"]["sha256"],
        "dgex_options": f"{options}; {provenance['mapping']}; {provenance['made_by']}",
    }
    described = metadata.copy() if len(metadata.columns) else pd.DataFrame(index=list(profiles))
    for name, text in told.items():
        described[name] = text
    return described
