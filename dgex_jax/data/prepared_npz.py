"""A study that others prepared: ten arrays in an ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import PARTS
from dgex_jax.data.prepared_base import Prepared
from dgex_jax.data.split import half_slices
from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.data.prepared_base import Scaling
    from dgex_jax.formats.expression import FloatArray

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzPrepared(Prepared):
    """Arrays ``X_tr Y_tr X_va Y_va X_te Y_te X_1000G Y_1000G X_GTEx Y_GTEx``, profiles x genes.

    Genes have no names (``L0001`` ..., ``T0001`` ...), no target is known to be a copy of a
    landmark, and the halves are the first floor(T / 2) columns and the rest. Probes, Entrez ids,
    quantiles and the scaling are not known.

    Raises
    ------
    FormatError
        Not a readable ``.npz``, an array is missing, is not numeric or does not fit the others.
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
            wanted = [f"{kind}_{part}" for part in PARTS for kind in "XY"]
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
        self._check_shapes(shapes)
        return shapes

    def _check_shapes(self, shapes: dict[str, tuple[int, int]]) -> None:
        for part in PARTS:
            x, y = f"X_{part}", f"Y_{part}"
            if shapes[x][0] != shapes[y][0]:
                self._mismatch(shapes, x, y, "must have as many rows (profiles)")
            for name, first in ((x, "X_tr"), (y, "Y_tr")):
                if shapes[name][1] != shapes[first][1]:
                    self._mismatch(shapes, name, first, "must have as many columns (genes)")

    def _mismatch(
        self, shapes: dict[str, tuple[int, int]], name: str, other: str, rule: str
    ) -> None:
        raise FormatError(
            f"{self.path}: {name} {shapes[name]} does not fit {other} {shapes[other]}: they {rule}"
        )

    def n_profiles(self, part: str) -> int:
        """Return the number of profiles of one of `parts`."""
        return self._shapes[f"X_{part}"][0]

    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> FloatArray:
        with _npz_errors(self.path), np.load(self.path, allow_pickle=False) as arrays:
            # Whatever is wanted of it, an archive gives an array as a whole.
            values: Any = arrays[f"{kind}_{part}"]
            return np.asarray(values[rows, columns], order="C")

    @property
    def landmark_probes(self) -> tuple[tuple[str, ...], ...]:
        """Not known."""
        raise self._lacks("probes")

    @property
    def target_probes(self) -> tuple[tuple[str, ...], ...]:
        """Not known."""
        raise self._lacks("probes")

    @property
    def landmark_entrez(self) -> tuple[str, ...]:
        """Not known."""
        raise self._lacks("Entrez ids")

    @property
    def target_entrez(self) -> tuple[str, ...]:
        """Not known."""
        raise self._lacks("Entrez ids")

    @property
    def quantile(self) -> None:
        """Not known."""
        return

    @property
    def landmark_quantile(self) -> NDArray[np.float64]:
        """Not known."""
        raise self._lacks("landmark_quantile")

    def scaling(self, part: str, kind: str) -> Scaling:
        """Not known."""
        del part
        raise self._lacks(f"means and deviations of {kind}")

    def _lacks(self, what: str) -> FormatError:
        return FormatError(
            f"{self.path}: has no {what}: an .npz study holds values alone; prepare one of the raw "
            "files (dgex prepare)"
        )

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
