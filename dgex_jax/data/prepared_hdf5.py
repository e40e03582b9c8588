"""``prepared.h5`` read back.

Layout (format version 2)
-------------------------
``GEO``, ``1000G``, ``GTEx`` (a study of arrays alone: ``GEO``)
    ``X`` (profiles x landmarks) and ``Y`` (profiles x targets) float32, ``profiles`` ids, and the
    float64 ``X_mean X_sd Y_mean Y_sd`` they were standardised with.
``GEO/split/train``, ``validation``, ``test``
    Rows of ``GEO``, consecutive because profiles are stored in shuffled order.
``landmarks``, ``targets``
    Ids of the columns (Ensembl; of arrays alone the probe ids). To them belong, in
    ``landmark_info`` and in ``target_info``, ``symbol``, ``entrez`` and ``probes`` (comma-joined:
    those that array values are the mean of), text that is empty where not known, and ``ensembl``
    if the array file told it of its probes;
    ``target_info/half`` (1 or 2) and ``target_info/copy_of_landmark``.
``quantile``
    Reference quantile, float64.
``landmark_quantile``
    That of the landmarks alone after quantile normalisation, over GEO-tr, float64.
``dropped/role symbol ensembl probes cause``, ``partial/role symbol ensembl missing_probes``
    Genes of the maps that are not in the study; kept genes that lack some probes.
``report``
    Counts of the preparation, as attributes.
``/`` as attributes
    ``format_version``, ``study``, ``title``, ``simulated``, ``gene_ids`` (``ensembl`` or
    ``probe``), and as JSON ``data_sets`` (the groups), ``settings``, ``prepare``,
    ``random_streams``, ``versions`` and ``raw_files`` (name and sha256 of each).

Values have a Fletcher-32 in each chunk; all else is covered by the seal behind the HDF5 file
(`formats.hdf5_seal`), which files of older versions lack.

Format version 1 has no ``entrez``, no ``probes`` (nor in ``dropped``), no ``landmark_quantile``, no
``gene_ids`` and no ``data_sets``: its genes have Ensembl ids, its groups are all three.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dgex_jax.config import PARTS
from dgex_jax.data.prepared_base import Prepared
from dgex_jax.data.prepared_write import DATA_SETS, FORMAT_VERSION
from dgex_jax.errors import FormatError
from dgex_jax.formats.hdf5_errors import hdf5_errors
from dgex_jax.formats.hdf5_seal import check_seal
from dgex_jax.formats.unchanged import Unchanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.data.prepared_base import Scaling
    from dgex_jax.formats.expression import FloatArray

SPLIT = {"tr": "train", "va": "validation", "te": "test"}
VERSIONS = (1, FORMAT_VERSION)
SINCE_2 = (
    *(f"{role}_info/{name}" for role in ("landmark", "target") for name in ("probes", "entrez")),
    "landmark_quantile",
)


class Hdf5Prepared(Prepared):
    """A study prepared by `prepare`; see the module for its layout.

    Raises
    ------
    FormatError
        Not a prepared study, of another format version, damaged, or its pieces are missing or
        don't fit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # HDF5 itself may crash, or read zeros, where a table of its own is damaged.
        check_seal(path)
        with hdf5_errors(path):
            self._file = h5py.File(path, "r", locking="best-effort")
        try:
            self._unchanged = Unchanged.of_hdf5(path, self._file)
            with self._reading():
                self._read_names()
                self._rows = {part: self._split(name) for part, name in SPLIT.items()}
                for group in self._groups:
                    self._check_group(group)
        except BaseException:
            self._file.close()
            raise

    def _read_names(self) -> None:
        attributes = self._file.attrs
        version = attributes.get("format_version")
        if version is None:
            raise FormatError(f"{self.path}: is HDF5 but not a prepared study: no format_version")
        if version not in VERSIONS:
            raise FormatError(
                f"{self.path}: format version {version}; this program reads {FORMAT_VERSION} "
                "and older"
            )
        self._version = int(version)
        self.name, self.title = str(attributes["study"]), str(attributes["title"])
        self.simulated = bool(attributes["simulated"])
        self._read_kind()
        self.landmarks, self.targets = self._texts("landmarks"), self._texts("targets")
        self.landmark_symbols = self._texts("landmark_info/symbol", self.n_landmarks)
        self.symbols = self._texts("target_info/symbol", self.n_targets)
        copies = self._vector("target_info/copy_of_landmark", self.n_targets)
        self.copy_of_landmark = copies.astype(bool)
        half = self._vector("target_info/half", self.n_targets)
        middle = int(np.count_nonzero(half == 1))
        if (half[:middle] != 1).any() or (half[middle:] != 2).any():
            raise FormatError(f"{self.path}: target_info/half is not a run of 1, then a run of 2")
        self.halves = (slice(0, middle), slice(middle, self.n_targets))

    def _read_kind(self) -> None:
        """Read which data sets there are, and what ids their genes have."""
        attributes = self._file.attrs
        groups, ids = list(DATA_SETS), "ensembl"
        if self._version > 1:
            groups, ids = json.loads(attributes["data_sets"]), str(attributes["gene_ids"])
        if groups not in (list(DATA_SETS), ["GEO"]):
            raise FormatError(f"{self.path}: data_sets are {groups}, not {', '.join(DATA_SETS)}")
        if ids not in ("ensembl", "probe"):
            raise FormatError(f"{self.path}: gene_ids are {ids!r}, neither 'ensembl' nor 'probe'")
        self._groups: list[str] = groups
        self.gene_ids = "ensembl" if ids == "ensembl" else "probe"
        self.parts = tuple(part for part in PARTS if part in SPLIT or part in groups)
        if self._version > 1:
            for name in SINCE_2:
                self._dataset(name)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with hdf5_errors(self.path):
            yield
        self._unchanged.check()

    def _dataset(self, name: str) -> h5py.Dataset:
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError(f"{self.path}: has no dataset /{name}")
        return dataset

    def _vector(self, name: str, length: int | None = None) -> NDArray[Any]:
        with self._reading():
            dataset = self._dataset(name)
            if dataset.ndim != 1 or length not in (None, len(dataset)):
                raise FormatError(
                    f"{self.path}: /{name} has shape {dataset.shape}, expected ({length or 'n'},)"
                )
            return np.asarray(dataset[:])

    def _texts(self, name: str, length: int | None = None) -> tuple[str, ...]:
        return tuple(text.decode() for text in self._vector(name, length).tolist())

    def _split(self, name: str) -> slice:
        rows = self._vector(f"GEO/split/{name}")
        if not len(rows) or (rows != np.arange(rows[0], rows[0] + len(rows))).any():
            raise FormatError(f"{self.path}: /GEO/split/{name} is not a run of rows")
        return slice(int(rows[0]), int(rows[-1]) + 1)

    def _check_group(self, group: str) -> None:
        n = len(self._vector(f"{group}/profiles"))
        for kind, width in (("X", self.n_landmarks), ("Y", self.n_targets)):
            shape = self._dataset(f"{group}/{kind}").shape
            if shape != (n, width):
                raise FormatError(
                    f"{self.path}: /{group}/{kind} has shape {shape}, expected {(n, width)}: "
                    f"{n} profiles, {width} genes"
                )
        if group == "GEO" and max(rows.stop for rows in self._rows.values()) > n:
            raise FormatError(f"{self.path}: /GEO/split has rows beyond the {n} profiles")

    def _place(self, part: str) -> tuple[str, slice]:
        return ("GEO", self._rows[part]) if part in SPLIT else (part, slice(None))

    def n_profiles(self, part: str) -> int:
        """Return the number of profiles of one of `parts`."""
        group, rows = self._place(part)
        return len(range(*rows.indices(self._dataset(f"{group}/X").shape[0])))

    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> FloatArray:
        group, place = self._place(part)
        first = place.start or 0
        stored = slice(first + rows.start, first + rows.stop)
        with self._reading():
            return np.asarray(self._dataset(f"{group}/{kind}")[stored, columns])

    def _known_ensembl(self, role: str) -> tuple[str, ...] | None:
        name = f"{role}_info/ensembl"
        length = self.n_landmarks if role == "landmark" else self.n_targets
        return self._texts(name, length) if name in self._file else None

    @cached_property
    def landmark_probes(self) -> tuple[tuple[str, ...], ...]:
        """Probes of each landmark; see `Prepared`."""
        return self._lists("landmark_info/probes", self.n_landmarks)

    @cached_property
    def target_probes(self) -> tuple[tuple[str, ...], ...]:
        """Probes of each target; see `Prepared`."""
        return self._lists("target_info/probes", self.n_targets)

    @cached_property
    def landmark_entrez(self) -> tuple[str, ...]:
        """Entrez ids of the landmarks; see `Prepared`."""
        return self._texts(self._since_2("landmark_info/entrez"), self.n_landmarks)

    @cached_property
    def target_entrez(self) -> tuple[str, ...]:
        """Entrez ids of the targets; see `Prepared`."""
        return self._texts(self._since_2("target_info/entrez"), self.n_targets)

    @cached_property
    def quantile(self) -> NDArray[np.float64]:
        """Reference quantile of all data sets; see `Prepared`."""
        return self._vector("quantile", self.n_landmarks + self.n_targets)

    @cached_property
    def landmark_quantile(self) -> NDArray[np.float64]:
        """Reference quantile of the landmarks alone; see `Prepared`."""
        return self._vector(self._since_2("landmark_quantile"), self.n_landmarks)

    def scaling(self, part: str, kind: str) -> Scaling:
        """Means and deviations that X or Y (`kind`) of `part` was scaled with; see `Prepared`."""
        group, _ = self._place(part)
        width = self.n_landmarks if kind == "X" else self.n_targets
        mean = self._vector(f"{group}/{kind}_mean", width)
        return mean, self._vector(f"{group}/{kind}_sd", width)

    def _lists(self, name: str, length: int) -> tuple[tuple[str, ...], ...]:
        texts = self._texts(self._since_2(name), length)
        return tuple(tuple(text.split(",")) if text else () for text in texts)

    def _since_2(self, name: str) -> str:
        if self._version < 2:
            raise FormatError(
                f"{self.path}: has no dataset /{name}: it is of format version {self._version}; "
                "prepare the study again with this version of the program to have it"
            )
        return name

    def _array_name(self, part: str, kind: str) -> str:
        return f"{kind} of {part}"

    def close(self) -> None:
        """Close the file."""
        self._file.close()
