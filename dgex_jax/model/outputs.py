"""Inferred profiles as files: in which format, under whose name, and by one process at a time.

An output may have further layers, such as bounds of its values, and columns of numbers of each
profile. AnnData holds both inside. Of the other formats a layer is a file of its own beside the
output, which has its name last; GCTX and GCT hold the columns among their metadata, beside the
tables lies one of them. What lies beside an output says in its record whose it is (`OWNER`), and
the next prediction of that output removes or replaces it.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from dgex_jax.errors import DgexError
from dgex_jax.io.files import locked, make_folder, require_space, say, writing
from dgex_jax.io.h5ad import H5adWriter
from dgex_jax.io.lines import kind_of
from dgex_jax.io.manifest import (
    SUFFIX,
    drop_sidecar,
    drop_with_sidecar,
    read_record,
    sidecar,
    write_record,
    write_sidecar,
)
from dgex_jax.io.partial import Resume
from dgex_jax.io.wide import ParquetWriter, TextTableWriter
from dgex_jax.io.writers import GctWriter, GctxWriter, ProfileWriter
from dgex_jax.io.zarr import ZarrWriter, check_place
from dgex_jax.pages.page import ENDING
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.io.expression import FloatArray

WHOLE = (1, 1)
"""The part of an output that one process writes alone."""

ZARR = ".zarr"
PARQUET = ".parquet"
TABLES = (".tsv", ".tsv.gz", ".csv", ".csv.gz")
H5AD = ".h5ad"
ENDINGS = (".gctx", ".gct", ".gct.gz", *TABLES, PARQUET, H5AD, ZARR)
COLUMNS_SUFFIX = ".profiles.tsv"
"""Of the file that holds the profile columns of a table, behind all of the table's name."""

OWNER = "belongs_to"
"""Key of the record of a file beside an output: the output's name."""

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
    layers: tuple[str, ...] = ()  # names of further values, of the shape of the values
    profile_columns: tuple[str, ...] = ()  # names of numbers of each profile that come with them


def is_table_output(output: Path) -> bool:
    """Whether an output is a table, which has no place for what is known of profiles."""
    return output.name.endswith((*TABLES, PARQUET))


def files_of(
    output: Path, layers: Sequence[str] = (), profile_columns: Sequence[str] = ()
) -> list[Path]:
    """Name the files (or the store) of an output: itself first, then one a layer, then columns."""
    ending = check_ending(output)
    if ending in (H5AD, ZARR):
        return [output]
    names = [f"{_stem(output)}.{layer}{ending}" for layer in layers]
    if profile_columns and ending in (*TABLES, PARQUET):
        names.append(f"{output.name}{COLUMNS_SUFFIX}")
    return [output, *(output.with_name(name) for name in names)]


def _stem(output: Path) -> str:
    return output.name.removesuffix(check_ending(output))


def _beside(output: Path) -> list[Path]:
    """Name what earlier predictions of `output` wrote beside it, as the records of it say."""
    start = f"{_stem(output)}."
    with writing(output):
        there = list(output.parent.iterdir())
    records = [one for one in there if one.name.startswith(start) and one.name.endswith(SUFFIX)]
    ours = [one for one in records if read_record(one).get(OWNER) == output.name]
    return [one.with_name(one.name.removesuffix(SUFFIX)) for one in ours]


def check_ending(output: Path) -> str:
    """Give the ending; raise `DgexError` for another than those that can be written."""
    for ending in ENDINGS:
        if output.name.endswith(ending):
            return ending
    *most, last = ENDINGS
    raise DgexError(f"{output}: the output ends in {', '.join(most)} or {last}")


def check_output(
    output: Path,
    input_path: Path,
    part: tuple[int, int] = WHOLE,
    layers: Sequence[str] = (),
    profile_columns: Sequence[str] = (),
) -> None:
    """Check where results shall go, before hours of work.

    Raises `DgexError` for another ending than those that can be written, not in a folder that is
    there, a folder where a file shall be (or the other way round), the input itself (also where a
    layer shall be, or what is removed with an older output), or a part of a file that can't be
    written in parts.
    """
    check_ending(output)
    is_store = output.name.endswith(ZARR)
    if part != WHOLE and not is_store:
        raise DgexError(f"{output}: only an output that ends in {ZARR} can be written in parts")
    if is_store:
        check_place(output)
    files = files_of(output, layers, profile_columns)
    for file in [] if is_store else files:
        if not file.parent.is_dir() or (file.exists() and not file.is_file()):
            raise DgexError(f"{file}: can't be written: not a file in a folder that is there")
    for file in (*files, *_beside(output)):
        if file.exists() and input_path.exists() and file.samefile(input_path):
            raise DgexError(f"{file}: is the input, not to be overwritten")


def outputs_in(
    folder: Path,
    inputs: Sequence[Path],
    ending: str = "gctx",
    layers: Sequence[str] = (),
    profile_columns: Sequence[str] = (),
) -> list[Path]:
    """Name an output in `folder`, which is made if missing, for each input, by its name.

    Raises `FormatError` for an input that is none by what it holds; `DgexError` for standard input,
    two inputs that give one name (layers have one as well), an `ending` that can't be written, or a
    folder called like an output or that can't be made.
    """
    if folder.name.endswith(ENDINGS):
        raise DgexError(
            f"{folder}: with several inputs, or --format, the output is a folder of one file for "
            "each; its name ends as a file's does"
        )
    check_ending(folder / f".{ending}")
    outputs: list[Path] = []
    inputs_of: dict[Path, Path] = {}
    for path in inputs:
        if str(path) == "-":
            raise DgexError("standard input has no name for its output; give it alone")
        name = f"{INPUT_ENDING.sub('', path.name, count=1) or path.name}.{ending}"
        outputs.append(folder / name)
        for file in files_of(outputs[-1], layers, profile_columns):
            other = inputs_of.setdefault(file, path)
            if other is not path:
                raise DgexError(f"{path}: its output would be {file}, as that of {other}")
        if not path.is_fifo():
            kind_of(path)
    with writing(folder):
        make_folder(folder)
    return outputs


def pages_in(folder: Path, outputs: Sequence[Path]) -> list[Path]:
    """Name a report in `folder`, which is made if missing, for each output, by its name.

    Raises `DgexError` for a folder called like a page or that can't be made.
    """
    if folder.suffix == ENDING:
        raise DgexError(
            f"{folder}: with several inputs, or --format, the reports go to a folder, one page for "
            "each; its name ends as a page's does"
        )
    with writing(folder):
        make_folder(folder)
    return [folder / f"{_stem(output)}{ENDING}" for output in outputs]


@contextmanager
def open_output(output: Output) -> Iterator[ProfileWriter]:
    """Open a writer for the format that the name of `output` ends in.

    Two processes must not write a file together: the second waits, or raises `DgexError`. Files of
    one output appear together, itself last: when all are complete, older ones are removed and the
    new ones moved into place.
    """
    path, record = output.path, output.record
    writers = _writers(output)
    writer = writers[0]
    if isinstance(writer, ZarrWriter):
        with writer:
            yield writer
        # Of several processes the last one comes here with nothing missing.
        if record is not None and not writer.missing:
            write_record(sidecar(path), record, {})
        return
    about_further = {**(record or {}), OWNER: path.name}
    with ExitStack() as locks:
        for one in writers:
            place = one.path.resolve() if one.path.is_symlink() else one.path
            locks.enter_context(locked(place, wait=output.wait, report=output.report))
        together = writer if len(writers) == 1 else _Together(writers, output)
        with together:
            yield together
            together.finish()
            _make_way(path, [one.path for one in writers[1:]], about_further)
        for one in writers[1:]:
            write_sidecar(one.path, about_further, one.sha256)
        if record is not None:
            write_sidecar(path, record, writer.sha256)


def _make_way(path: Path, further: Sequence[Path], about_further: Mapping[str, Any]) -> None:
    """Remove what older predictions left, so that old and new files never lie together.

    A kill from here on leaves the older output alone, none, or the new one. What comes to lie
    beside it has a record of whose it is before it is there.
    """
    for old in _beside(path):
        drop_with_sidecar(old)
    (drop_with_sidecar if further else drop_sidecar)(path)
    for one in further:
        write_record(sidecar(one), about_further, {})


class _Together(ProfileWriter):
    """Several files that are one output (see `files_of`), the first of which gets its name last.

    Each resumes where it stopped: profiles that a file has already are not written to it again.
    """

    def __init__(self, files: Sequence[ProfileWriter], output: Output) -> None:
        further = output.layers, output.profile_columns
        super().__init__(output.path, output.profiles, output.genes, None, None, *further)
        self._files = files

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        left: list[slice] = []
        needed = 0
        for file in self._files:
            left += stack.enter_context(file).pending()
            needed += sum(4 * len(file.genes) * (run.stop - run.start) for run in file.pending())
        require_space(self.path, needed)
        n = len(self.profiles)
        return [slice(min((run.start for run in left), default=n), n)]

    def _write(self, start: int, blocks: Sequence[FloatArray], columns: FloatArray) -> None:
        given = [*blocks, columns] if len(self._files) > len(blocks) else blocks
        for file, block in zip(self._files, given, strict=True):
            pending = file.pending()
            there = pending[0].start - start if pending else len(block)
            if there < len(block):
                held = columns[there:] if file.profile_columns else None
                file.append(block[there:], profile_values=held)

    def _finish(self) -> None:
        for file in self._files:
            file.finish()


def _writers(output: Output) -> list[ProfileWriter]:
    """Give a writer for each of `files_of`."""
    about = _carried(output.profile_metadata, output.profile_columns)
    # The errors of a model in memory, for one, decide no value, but bytes of the output.
    frames = "".join(frame.to_csv() for frame in (about, output.gene_metadata))
    sha256 = hashlib.sha256(frames.encode("utf-8", "surrogatepass")).hexdigest()
    job = {**output.job, "metadata": sha256}
    if output.layers or output.profile_columns:
        job |= {"layers": output.layers, "profile columns": output.profile_columns}
    files = files_of(output.path, output.layers, output.profile_columns)
    writers = [_writer(output, output.path, about, job, output.provenance)]
    for layer, path in zip(output.layers, files[1:], strict=False):
        told = {**output.provenance, "layer": layer}
        writers.append(_writer(output, path, about, job | {"layer": layer}, told))
    if len(files) > len(writers):
        writers.append(TextTableWriter(files[-1], output.profiles, output.profile_columns))
    return writers


def _writer(
    output: Output,
    path: Path,
    about: pd.DataFrame,
    job: Mapping[str, Any],
    told: Mapping[str, Any],
) -> ProfileWriter:
    """Give the writer of one file or store."""
    name, genes, columns = path.name, output.gene_metadata, output.profile_columns
    what = path, output.profiles, output.genes
    inside: dict[str, Any] = {"layers": output.layers, "profile_columns": columns}
    resume = Resume(job, BATCH, output.report)
    if name.endswith(ZARR):
        options: dict[str, Any] = {"part": output.part, "report": output.report, **inside}
        return ZarrWriter(*what, about, genes, told, job=job, **options)
    if name.endswith(H5AD):
        return H5adWriter(*what, about, genes, told, resume, **inside)
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
            profile_columns=columns,
        )
    return GctWriter(*what, _described(about, output.profiles, told), genes, columns)


def _carried(metadata: pd.DataFrame, taken: Sequence[str]) -> pd.DataFrame:
    """Give profile metadata that every format can hold.

    Fields called ``id`` (LINCS files have one beside the ids themselves) become ``input_id``, and
    so do those with a name that is `taken`; slashes in names become underscores, tabs and line ends
    in texts spaces.
    """
    names: list[str] = []
    for field in metadata.columns:
        plain = WHITESPACE.sub(" ", str(field)).replace("/", "_").strip()
        name = f"input_{plain}" if plain in {"", ".", "id", *taken} else plain
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
    if "layer" in provenance:
        described["dgex_layer"] = provenance["layer"]
    return described
