"""A prepared study opened for reading: ``prepared.h5``, or ten arrays in an ``.npz`` file.

Layout of ``prepared.h5`` (format version 3)
--------------------------------------------
``compendium``, ``sets/NAME``
    ``X`` (profiles x landmarks) and ``Y`` (profiles x targets) float32, ``profiles`` ids, and the
    float64 ``X_mean X_sd Y_mean Y_sd`` they were standardised with. Of paired sets ``truth`` has
    the ids of the profiles that Y is of.
``compendium/split/train``, ``validation``, ``test``
    Rows of the compendium, consecutive because profiles are stored in the order of the split.
``compendium/file``, ``compendium/group``
    Of each profile the file it comes from, if there are several, and what it was split by.
``landmarks``, ``targets``
    Ids of the columns. To them belong, in ``landmark_info`` and in ``target_info``, ``symbol``,
    ``entrez``, ``ensembl`` and ``probes`` (comma-joined: those that values of the compendium are
    the mean of), text that is empty where not known; ``ensembl`` is left out where no gene has one
    but as its id; ``target_info/half`` (1 or 2) and ``target_info/copy_of_landmark``.
``quantile``
    Reference quantile, float64: the mean of the compendium's profiles, their genes sorted by value.
``landmark_quantile``
    That of the landmarks alone as they are normalised, over training, float64.
``dropped/role symbol ensembl probes cause``, ``partial/role symbol ensembl missing_probes``
    Genes of the maps that are not in the study; kept genes that lack some probes.
``report``
    Counts of the preparation, as attributes.
``/`` as attributes
    ``format_version``, ``study``, ``title``, ``simulated``, ``gene_ids`` (what the ids of the
    columns are: ``ensembl``, ``entrez``, ``symbol`` or ``probe``), ``source`` and ``licence`` of
    the data where the study tells them, and as JSON ``parts`` (`Parts.to_json`), ``settings``,
    ``prepare``, ``random_streams``, ``versions`` and ``raw_files`` (name and sha256 of each).

Values have a Fletcher-32 in each chunk; all else is covered by the seal behind the HDF5 file
(`io.hdf5.seal_hdf5`), which files of format version 1 lack.

Format version 2 has the groups ``GEO``, ``1000G`` and ``GTEx`` (of arrays alone ``GEO``), named by
``data_sets`` instead of ``parts``. Version 1 has besides no ``entrez``, no ``probes`` (nor in
``dropped``), no ``landmark_quantile``, no ``gene_ids`` and no ``data_sets``: its genes have Ensembl
ids, its groups are all three.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from abc import abstractmethod
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import h5py
import numpy as np

from dgex_jax.config import IdKind
from dgex_jax.errors import FormatError, StudyError
from dgex_jax.io.files import HDF5_MAGIC, Closing, Unchanged, read_head
from dgex_jax.io.hdf5 import check_seal, hdf5_errors
from dgex_jax.io.manifest import file_sha256
from dgex_jax.parts import ARRAYS_ALONE, PAPER, Parts
from dgex_jax.prepare.genes import is_ensembl
from dgex_jax.prepare.split import half_slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from dgex_jax.io.expression import FloatArray

ColumnIds = Literal[IdKind, "number"]
"""What the ids of a study's genes are; ``probe`` where its genes are its probes, ``number`` where
the reader counts columns that have no ids."""

FORMAT_VERSION = 3
COMPENDIUM, SETS = "compendium", "sets/{}"
"""Groups of the values."""
OLD_GROUPS = {("GEO", "1000G", "GTEx"): PAPER, ("GEO",): ARRAYS_ALONE}
"""Groups of format versions 1 and 2."""
SPLIT = {"tr": "train", "va": "validation", "te": "test"}
ROWS_AT_A_TIME = 4096
UNKNOWN = {"probes": "probes", "entrez": "Entrez ids", "landmark_quantile": "landmark_quantile"}
"""What an ``.npz`` does not say, in words."""


def open_prepared(path: Path | str) -> Prepared:
    """Open ``prepared.h5`` or an ``.npz`` of ten arrays, told apart by their first bytes.

    Raises `FormatError` for a file that is missing, damaged, neither of the two, or whose arrays
    are missing or don't fit.
    """
    path = Path(path)
    if read_head(path) == HDF5_MAGIC:
        return Hdf5Prepared(path)
    if zipfile.is_zipfile(path):
        return NpzPrepared(path)
    raise FormatError(f"{path}: is neither a prepared study (HDF5) nor an .npz file")


class Prepared(Closing):
    """A prepared study opened for reading: standardised landmarks X and targets Y of its parts.

    Opening reads names and shapes; values are read, and checked to be finite, when asked for.
    What the file does not say (an ``.npz`` holds values alone, `prepared.h5` of format version 1
    lacks some of it) raises `FormatError`. A context manager.

    Attributes
    ----------
    settings
        What decided what it holds (`Study.preparation_settings`); empty where not known.
    parts
        Its parts by name.
    gene_ids
        What `landmarks` and `targets` hold.
    landmarks, targets
        Unique ids in the order of the columns of X and Y.
    landmark_symbols, symbols
        Gene symbols of landmarks and of targets; empty where not known.
    copy_of_landmark
        ``(n_targets,)`` bool: the target has the Ensembl id of a landmark.
    halves
        Columns of Y of the first and the second half of the targets.
    """

    path: Path
    name: str
    title: str
    simulated: bool  # the expression values are made up
    source: str = ""  # of the data, where the study tells it
    licence: str = ""
    settings: Mapping[str, Any] = MappingProxyType({})
    parts: Parts = PAPER
    gene_ids: ColumnIds
    landmarks: tuple[str, ...]
    landmark_symbols: tuple[str, ...]
    targets: tuple[str, ...]
    symbols: tuple[str, ...]
    copy_of_landmark: NDArray[np.bool_]
    halves: tuple[slice, slice]

    @property
    def n_landmarks(self) -> int:
        """Number of landmark genes."""
        return len(self.landmarks)

    @property
    def n_targets(self) -> int:
        """Number of target genes, both halves."""
        return len(self.targets)

    @cached_property
    def landmark_ensembl(self) -> tuple[str, ...]:
        """Ensembl ids of the landmarks; empty where a gene has none or its id is not known."""
        return self._ensembl("landmark", self.landmarks)

    @cached_property
    def target_ensembl(self) -> tuple[str, ...]:
        """Ensembl ids of the targets, likewise."""
        return self._ensembl("target", self.targets)

    def _ensembl(self, role: str, ids: tuple[str, ...]) -> tuple[str, ...]:
        del role
        if self.gene_ids == "ensembl":
            return ids
        return tuple(one if is_ensembl(one) else "" for one in ids)

    @cached_property
    def landmark_probes(self) -> tuple[tuple[str, ...], ...]:
        """For each landmark the probes that its array values are the mean of, in map order."""
        return self._probes("landmark_info/probes", self.n_landmarks)

    @cached_property
    def target_probes(self) -> tuple[tuple[str, ...], ...]:
        """For each target the probes that its array values are the mean of, in map order."""
        return self._probes("target_info/probes", self.n_targets)

    def _probes(self, name: str, length: int) -> tuple[tuple[str, ...], ...]:
        texts = _decoded(self._vector(name, length))
        return tuple(tuple(text.split(",")) if text else () for text in texts)

    @cached_property
    def landmark_entrez(self) -> tuple[str, ...]:
        """Entrez gene ids of the landmarks, decimal text; empty where not known."""
        return _decoded(self._vector("landmark_info/entrez", self.n_landmarks))

    @cached_property
    def target_entrez(self) -> tuple[str, ...]:
        """Entrez gene ids of the targets, likewise."""
        return _decoded(self._vector("target_info/entrez", self.n_targets))

    @cached_property
    def quantile(self) -> NDArray[np.float64] | None:
        """Reference quantile ``(n_landmarks + n_targets,)`` float64, never falling.

        ``None`` where it is not known.
        """
        return self._vector("quantile", self.n_landmarks + self.n_targets)

    @cached_property
    def landmark_quantile(self) -> NDArray[np.float64]:
        """Reference quantile of the landmarks alone, ``(n_landmarks,)`` float64, never falling.

        The mean over GEO-tr of each profile's sorted landmark values *after* the joint quantile
        normalisation of all genes: the scale that is then standardised. So a profile of which only
        landmarks are known, mapped on it by the ranks among them, is on the scale of `scaling`.
        """
        return self._vector("landmark_quantile", self.n_landmarks)

    def scaling(self, part: str, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and deviations ``(n_genes,)`` that X or Y (`kind`) of `part` was scaled with.

        The standardised value is ``(value - mean) / (deviation + normalize.OFFSET)``.
        """
        group = self._group(part)
        width = self.n_landmarks if kind == "X" else self.n_targets
        mean = self._vector(f"{group}/{kind}_mean", width)
        return mean, self._vector(f"{group}/{kind}_sd", width)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file (hexadecimal)."""
        return file_sha256(self.path)

    def _group(self, part: str) -> str:
        """Name the group of a part in ``prepared.h5``."""
        return COMPENDIUM if part in SPLIT else SETS.format(part)

    def groups(self, part: str) -> NDArray[np.str_] | None:
        """Give what each profile of a part was split by, ``(n_profiles,)`` text.

        ``None`` where the study was split profile by profile, or the part is a set.
        """
        del part
        return None

    def profiles(self, part: str) -> tuple[str, ...] | None:
        """Give the ids of the profiles of a part; ``None`` where they are not known."""
        del part
        return None

    @abstractmethod
    def n_profiles(self, part: str) -> int:
        """Return the number of profiles of one of `parts`."""

    def _vector(self, name: str, length: int | None = None) -> NDArray[Any]:
        """Read a vector by its name in ``prepared.h5``."""
        del length
        last = name.rpartition("/")[2]
        what = UNKNOWN.get(last) or f"means and deviations of {last[0]}"
        raise FormatError(
            f"{self.path}: has no {what}: an .npz study holds values alone; prepare one of the raw "
            "files (dgex prepare)"
        )

    @abstractmethod
    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> FloatArray:
        """Read rows and columns of X or Y of a part; both are given by start and stop."""

    def X(self, part: str, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Landmarks of one of `parts`, ``(n_rows, n_landmarks)`` float32, C-contiguous.

        `rows` says which of its profiles (a slice with step 1). Values that are not finite raise
        `FormatError`.
        """
        return self._checked(part, "X", rows, slice(0, self.n_landmarks))

    def Y(
        self, part: str, columns: slice = slice(None), rows: slice = slice(None)
    ) -> NDArray[np.float32]:
        """Targets of one of `parts`, ``(n_rows, n_columns)`` float32, C-contiguous.

        `columns` says which targets, as one of `halves`, and `rows` which of its profiles (slices
        with step 1). Values that are not finite raise `FormatError`.
        """
        return self._checked(part, "Y", rows, _plain("columns", columns, self.n_targets))

    def _checked(self, part: str, kind: str, rows: slice, columns: slice) -> NDArray[np.float32]:
        if part not in self.parts:
            raise KeyError(f"{part!r} is not one of {', '.join(self.parts)}")
        rows = _plain("rows", rows, self.n_profiles(part))
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(self._read(part, kind, rows, columns), dtype=np.float32)
        n_bad, first = 0, ""
        for start in range(0, len(values), ROWS_AT_A_TIME):
            bad = np.argwhere(~np.isfinite(values[start : start + ROWS_AT_A_TIME]))
            n_bad += len(bad)
            if not first and len(bad):
                row, column = bad[0].tolist()
                place = rows.start + start + row + 1, columns.start + column + 1
                first = f"the first in row {place[0]}, column {place[1]}"
        if n_bad:
            name = self._array_name(part, kind)
            raise FormatError(f"{self.path}: {name}: {n_bad} values are not finite, {first}")
        return values

    def _array_name(self, part: str, kind: str) -> str:
        return f"{kind} of {part}"


def _plain(what: str, run: slice, length: int) -> slice:
    """Return a run of rows or columns by its start and stop, none of them negative or missing."""
    start, stop, step = run.indices(length)
    if step != 1:
        raise ValueError(f"{what} must have step 1, not {step}")
    return slice(start, max(start, stop))


def _decoded(texts: NDArray[Any]) -> tuple[str, ...]:
    return tuple(text.decode() for text in texts.tolist())


class Hdf5Prepared(Prepared):
    """A study prepared by `prepare`; see the module for its layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # HDF5 itself may crash, or read zeros, where a table of its own is damaged.
        check_seal(path)
        with hdf5_errors(path):
            self._file = h5py.File(path, "r", locking="best-effort")
        try:
            self._unchanged = Unchanged.of_hdf5(path, self._file)
            with self._reading():
                self._read_attributes()
                self._read_names()
                self._rows = {part: self._split(name) for part, name in SPLIT.items()}
                for part in ("tr", *self.parts.names):
                    self._check_group(part)
        except BaseException:
            self._file.close()
            raise

    def _read_attributes(self) -> None:
        """Read what the file says of itself."""
        attributes = self._file.attrs
        version = attributes.get("format_version")
        if version is None:
            raise FormatError(f"{self.path}: is HDF5 but not a prepared study: no format_version")
        if version not in range(1, FORMAT_VERSION + 1):
            raise FormatError(
                f"{self.path}: format version {version}; this program reads {FORMAT_VERSION} "
                "and older"
            )
        self._version = int(version)
        self.name, self.title = str(attributes["study"]), str(attributes["title"])
        self.simulated = bool(attributes["simulated"])
        self.source, self.licence = (str(attributes.get(one, "")) for one in ("source", "licence"))
        self.settings = json.loads(attributes.get("settings", "{}"))
        ids = str(attributes["gene_ids"]) if self._version > 1 else "ensembl"
        if ids not in get_args(ColumnIds):
            raise FormatError(f"{self.path}: gene_ids are {ids!r}")
        self.gene_ids = cast("ColumnIds", ids)
        self.parts = self._parts()

    def _parts(self) -> Parts:
        if self._version > 2:
            try:
                return Parts.from_json(json.loads(self._file.attrs["parts"]))
            except StudyError as error:
                raise FormatError(f"{self.path}: {error}") from error
        groups = ("GEO", "1000G", "GTEx")
        if self._version > 1:
            groups = tuple(json.loads(self._file.attrs["data_sets"]))
        if groups not in OLD_GROUPS:
            raise FormatError(f"{self.path}: data_sets are {list(groups)}, not of a study")
        return OLD_GROUPS[groups]

    def _group(self, part: str) -> str:
        if self._version > 2:
            return super()._group(part)
        return "GEO" if part in SPLIT else part

    def _read_names(self) -> None:
        self.landmarks = _decoded(self._vector("landmarks"))
        self.targets = _decoded(self._vector("targets"))
        self.landmark_symbols = _decoded(self._vector("landmark_info/symbol", self.n_landmarks))
        self.symbols = _decoded(self._vector("target_info/symbol", self.n_targets))
        if self._version > 1:
            for name in ("landmark_info/", "target_info/"):
                self._dataset(f"{name}probes")
                self._dataset(f"{name}entrez")
            self._dataset("landmark_quantile")
        copies = self._vector("target_info/copy_of_landmark", self.n_targets)
        self.copy_of_landmark = copies.astype(bool)
        half = self._vector("target_info/half", self.n_targets)
        middle = int(np.count_nonzero(half == 1))
        if (half[:middle] != 1).any() or (half[middle:] != 2).any():
            raise FormatError(f"{self.path}: target_info/half is not a run of 1, then a run of 2")
        self.halves = (slice(0, middle), slice(middle, self.n_targets))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with hdf5_errors(self.path):
            yield
        self._unchanged.check()

    def _dataset(self, name: str) -> h5py.Dataset:
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            older = (
                f": it is of format version {self._version}; prepare the study again with this "
                "version of the program to have it"
            )
            raise FormatError(
                f"{self.path}: has no dataset /{name}{older if self._version < 2 else ''}"
            )
        return dataset

    def _vector(self, name: str, length: int | None = None) -> NDArray[Any]:
        with self._reading():
            dataset = self._dataset(name)
            if dataset.ndim != 1 or length not in (None, len(dataset)):
                raise FormatError(
                    f"{self.path}: /{name} has shape {dataset.shape}, expected ({length or 'n'},)"
                )
            return np.asarray(dataset[:])

    def _split(self, name: str) -> slice:
        place = f"{self._group('tr')}/split/{name}"
        rows = self._vector(place)
        if not len(rows) or (rows != np.arange(rows[0], rows[0] + len(rows))).any():
            raise FormatError(f"{self.path}: /{place} is not a run of rows")
        return slice(int(rows[0]), int(rows[-1]) + 1)

    def _check_group(self, part: str) -> None:
        group = self._group(part)
        n = len(self._vector(f"{group}/profiles"))
        for kind, width in (("X", self.n_landmarks), ("Y", self.n_targets)):
            shape = self._dataset(f"{group}/{kind}").shape
            if shape != (n, width):
                raise FormatError(
                    f"{self.path}: /{group}/{kind} has shape {shape}, expected {(n, width)}: "
                    f"{n} profiles, {width} genes"
                )
        if part == "tr" and max(rows.stop for rows in self._rows.values()) > n:
            raise FormatError(f"{self.path}: /{group}/split has rows beyond the {n} profiles")

    def n_profiles(self, part: str) -> int:
        """Return the number of profiles of one of `parts`."""
        if part in SPLIT:
            return int(self._rows[part].stop - self._rows[part].start)
        return len(self._dataset(f"{self._group(part)}/X"))

    def groups(self, part: str) -> NDArray[np.str_] | None:
        """Give what each profile of a part was split by; see `Prepared.groups`."""
        if part not in SPLIT or f"{self._group(part)}/group" not in self._file:
            return None
        return np.array(self._texts(part, "group"), dtype=np.str_)

    def profiles(self, part: str) -> tuple[str, ...]:
        """Give the ids of the profiles of a part."""
        return self._texts(part, "profiles")

    def _texts(self, part: str, name: str) -> tuple[str, ...]:
        texts = _decoded(self._vector(f"{self._group(part)}/{name}"))
        return texts[self._rows[part]] if part in SPLIT else texts

    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> FloatArray:
        group, first = self._group(part), self._rows[part].start if part in SPLIT else 0
        stored = slice(first + rows.start, first + rows.stop)
        with self._reading():
            return np.asarray(self._dataset(f"{group}/{kind}")[stored, columns])

    def _ensembl(self, role: str, ids: tuple[str, ...]) -> tuple[str, ...]:
        name = f"{role}_info/ensembl"
        if self.gene_ids != "ensembl" and name in self._file:
            return _decoded(self._vector(name, len(ids)))
        return super()._ensembl(role, ids)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzPrepared(Prepared):
    """Arrays ``X_tr Y_tr X_va Y_va X_te Y_te X_1000G Y_1000G X_GTEx Y_GTEx``, profiles x genes.

    Genes have no names (``L0001`` ..., ``T0001`` ...), no target is known to be a copy of a
    landmark, and the halves are the first floor(T / 2) columns and the rest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = self.title = path.stem
        self.simulated = False
        self.gene_ids = "number"
        self._shapes = self._read_shapes()
        n_landmarks, n_targets = self._shapes["X_tr"][1], self._shapes["Y_tr"][1]
        self.landmarks = self.landmark_symbols = _numbered("L", n_landmarks)
        self.targets = self.symbols = _numbered("T", n_targets)
        self.copy_of_landmark = np.zeros(n_targets, dtype=bool)
        self.halves = half_slices(n_targets)

    def _read_shapes(self) -> dict[str, tuple[int, int]]:
        shapes: dict[str, tuple[int, int]] = {}
        with _npz_errors(self.path), zipfile.ZipFile(self.path) as archive:
            names = set(archive.namelist())
            wanted = [f"{kind}_{part}" for part in PAPER for kind in "XY"]
            missing = [name for name in wanted if f"{name}.npy" not in names]
            if missing:
                raise FormatError(f"{self.path}: has no array {', '.join(missing)}")
            for name in wanted:
                with archive.open(f"{name}.npy") as member:
                    version = np.lib.format.read_magic(member)
                    if version not in HEADERS:
                        raise FormatError(f"{self.path}: {name}: unknown npy version {version}")
                    shape, _, dtype = HEADERS[version](member)
                if dtype.kind not in "fiu":
                    raise FormatError(f"{self.path}: {name} holds {dtype}, not numbers")
                if len(shape) != 2 or 0 in shape:
                    raise FormatError(f"{self.path}: {name} has shape {shape}, not a filled table")
                shapes[name] = shape
        genes = [(f"{kind}_{part}", f"{kind}_tr", 1) for part in PAPER for kind in "XY"]
        for one, other, axis in [*((f"X_{part}", f"Y_{part}", 0) for part in PAPER), *genes]:
            if shapes[one][axis] != shapes[other][axis]:
                raise FormatError(
                    f"{self.path}: {one} {shapes[one]} does not fit {other} {shapes[other]}: they "
                    f"must have as many {'columns (genes)' if axis else 'rows (profiles)'}"
                )
        return shapes

    def n_profiles(self, part: str) -> int:
        """Return the number of profiles of one of `parts`."""
        return self._shapes[f"X_{part}"][0]

    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> FloatArray:
        with _npz_errors(self.path), np.load(self.path, allow_pickle=False) as arrays:
            # Whatever is wanted of it, an archive gives an array as a whole.
            values: Any = arrays[f"{kind}_{part}"]
            return np.asarray(values[rows, columns], order="C")

    @property
    def quantile(self) -> None:
        """Not known."""

    def _array_name(self, part: str, kind: str) -> str:
        return f"{kind}_{part}"

    def close(self) -> None:
        """Nothing stays open between reads."""


@contextmanager
def _npz_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into a `FormatError` that names the file."""
    try:
        yield
    except FormatError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        absent = f": it has no array {error}" if isinstance(error, KeyError) else ""
        raise FormatError(f"{path}: damaged .npz file{absent}") from error


def _numbered(letter: str, n: int) -> tuple[str, ...]:
    return tuple(f"{letter}{i:04d}" for i in range(1, n + 1))
