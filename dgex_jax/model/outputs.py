"""Inferred profiles as files: in which format, under whose name, and by one process at a time."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from dgex_jax.errors import DgexError
from dgex_jax.io.files import locked, make_folder, say, writing
from dgex_jax.io.lines import kind_of
from dgex_jax.io.manifest import drop_sidecar, sidecar, write_record, write_sidecar
from dgex_jax.io.partial import Resume
from dgex_jax.io.wide import ParquetWriter, TextTableWriter
from dgex_jax.io.writers import GctWriter, GctxWriter, H5adWriter
from dgex_jax.io.zarr import ZarrWriter, check_place
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.io.writers import ProfileWriter

WHOLE = (1, 1)
"""The part of an output that one process writes alone."""

ZARR = ".zarr"
PARQUET = ".parquet"
TABLES = (".tsv", ".tsv.gz", ".csv", ".csv.gz")
ENDINGS = (".gctx", ".gct", ".gct.gz", *TABLES, PARQUET, ".h5ad", ZARR)
INPUT_ENDING = re.compile(r"(\.(gctx?|tsv|csv|txt|tab|h5ad))?(\.(gz|bz2|xz))?$", re.IGNORECASE)
"""What of an input's name is not in that of its output."""
WHITESPACE = re.compile(r"[\t\r\n\0]+")


@dataclass(frozen=True)
class Output:
    """What is to be written, but for the values; ids are in the order of the values to come."""

    path: Path  # appears under its name when all profiles have arrived
    profiles: Sequence[str]
    genes: Sequence[str]
    profile_metadata: pd.DataFrame  # one line an id
    gene_metadata: pd.DataFrame
    provenance: Mapping[str, Any]  # JSON values; of GCT profile fields hold the most of it
    job: Mapping[str, Any]  # JSON values that decide the values: the same job resumes, if it can
    wait: bool = True  # for another process that writes this output, or raise `DgexError`
    report: Callable[[str], None] = say  # gets a line when it waits, resumes or restarts
    part: tuple[int, int] = WHOLE  # i (from 1) of n of the profiles; more than one for zarr alone
    record: Mapping[str, Any] | None = None  # a `manifest.record` to lie beside the output, if any


def check_ending(output: Path) -> None:
    """Raise `DgexError` for another ending than those that can be written."""
    if not output.name.endswith(ENDINGS):
        *most, last = ENDINGS
        raise DgexError(f"{output}: the output ends in {', '.join(most)} or {last}")


def check_output(output: Path, input_path: Path, part: tuple[int, int] = WHOLE) -> None:
    """Check where results shall go, before hours of work.

    Raises `DgexError` for another ending than those that can be written, not in a folder that is
    there, a folder where a file shall be (or the other way round), the input itself, or a part of a
    file that can't be written in parts.
    """
    check_ending(output)
    is_store = output.name.endswith(ZARR)
    if part != WHOLE and not is_store:
        raise DgexError(f"{output}: only an output that ends in {ZARR} can be written in parts")
    if is_store:
        check_place(output)
    elif not output.parent.is_dir() or (output.exists() and not output.is_file()):
        raise DgexError(f"{output}: can't be written: not a file in a folder that is there")
    if output.exists() and input_path.exists() and output.samefile(input_path):
        raise DgexError(f"{output}: is the input, not to be overwritten")


def outputs_in(folder: Path, inputs: Sequence[Path], ending: str = "gctx") -> list[Path]:
    """Name an output in `folder`, which is made if missing, for each input, by its name.

    Raises `FormatError` for an input that is none by what it holds; `DgexError` for standard input,
    two inputs that give one name, an `ending` that can't be written, or a folder called like an
    output or that can't be made.
    """
    if folder.name.endswith(ENDINGS):
        raise DgexError(
            f"{folder}: with several inputs, or --format, the output is a folder of one file for "
            "each; its name ends as a file's does"
        )
    check_ending(folder / f".{ending}")
    outputs: dict[Path, Path] = {}
    for path in inputs:
        if str(path) == "-":
            raise DgexError("standard input has no name for its output; give it alone")
        name = f"{INPUT_ENDING.sub('', path.name, count=1) or path.name}.{ending}"
        other = outputs.setdefault(folder / name, path)
        if other is not path:
            raise DgexError(f"{path}: its output would be {folder / name}, as that of {other}")
        if not path.is_fifo():
            kind_of(path)
    with writing(folder):
        make_folder(folder)
    return list(outputs)


@contextmanager
def open_output(output: Output) -> Iterator[ProfileWriter]:
    """Open a writer for the format that the name of `output` ends in.

    Two processes must not write a file together: the second waits, or raises `DgexError`.
    """
    path, record = output.path, output.record
    writer = _writer(output)
    if isinstance(writer, ZarrWriter):
        with writer:
            yield writer
        # Of several processes the last one comes here with nothing missing.
        if record is not None and not writer.missing:
            write_record(sidecar(path), record, {})
        return
    place = path.resolve() if path.is_symlink() else path
    with locked(place, wait=output.wait, report=output.report):
        with writer:
            yield writer
            drop_sidecar(path)
        if record is not None:
            write_sidecar(path, record, writer.sha256)


def _writer(output: Output) -> ProfileWriter:
    name, told = output.path.name, output.provenance
    what = output.path, output.profiles, output.genes
    about, genes = _carried(output.profile_metadata), output.gene_metadata
    # The errors of a model in memory, for one, decide no value, but bytes of the output.
    frames = "".join(frame.to_csv() for frame in (about, genes)).encode("utf-8", "surrogatepass")
    job = {**output.job, "metadata": hashlib.sha256(frames).hexdigest()}
    resume = Resume(job, BATCH, output.report)
    if name.endswith(ZARR):
        options: dict[str, Any] = {"part": output.part, "report": output.report}
        return ZarrWriter(*what, about, genes, told, job=job, **options)
    if name.endswith(".h5ad"):
        return H5adWriter(*what, about, genes, told, resume)
    if name.endswith(TABLES):
        return TextTableWriter(*what)
    if name.endswith(PARQUET):
        return ParquetWriter(*what, genes, told)
    if name.endswith(".gctx"):
        return GctxWriter(
            *what,
            profile_metadata=about,
            gene_metadata=genes,
            src=told["made_by"],
            attributes={"provenance": told},
            resume=resume,
        )
    return GctWriter(*what, _described(about, output.profiles, told), genes)


def _carried(metadata: pd.DataFrame) -> pd.DataFrame:
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
    """Add the provenance as profile fields."""
    model = provenance["model"]
    simulated = " (trained on simulated data)" if model["simulated"] else ""
    options = ", ".join(f"{key} {value}" for key, value in provenance["options"].items())
    described = metadata.copy() if len(metadata.columns) else pd.DataFrame(index=list(profiles))
    described["dgex_model"] = f"{model['method']} {model['sha256'] or 'from memory'}{simulated}"
    described["dgex_input"] = provenance["input"]["sha256"]
    described["dgex_options"] = f"{options}; {provenance['mapping']}; {provenance['made_by']}"
    return described
