"""The layout of ``prepared.h5`` on the writing side (docs: the reader, `prepared_hdf5`).

Every write is a run of whole chunks in file order and no clock is asked, so the same study gives
the same file, byte for byte, whatever the block size.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

import dgex_jax
from dgex_jax.data.normalize import standardise
from dgex_jax.data.summation import mean_and_deviation
from dgex_jax.errors import PreparationError
from dgex_jax.formats.hdf5_text import encode_fixed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.data.annotation import Annotation
    from dgex_jax.data.genes import Selection, StudyGenes
    from dgex_jax.data.progress import Progress
    from dgex_jax.data.ranking import Ranked

FORMAT_VERSION = 2
DATA_SETS = ("GEO", "1000G", "GTEx")
"""Groups of a study with RNA-seq; a study of arrays alone has only the first."""
CHUNK_BYTES = 1 << 20
ROWS_AT_A_TIME = 256


def write_genes(
    file: h5py.File,
    genes: Selection,
    probes: Sequence[str],
    annotation: Annotation,
    halves: Sequence[slice],
) -> None:
    """Write ids, gene information, the dropped and the partial genes.

    Parameters
    ----------
    file
        The open file.
    genes
        The genes of the study.
    probes
        Ids of the columns of the GEO file.
    annotation
        What is known of these probes.
    halves
        Columns of the targets of each half.
    """
    _write_role(file, "landmark", genes.landmarks, probes, annotation)
    _write_role(file, "target", genes.targets, probes, annotation)
    half = np.zeros(len(genes.targets), dtype=np.uint8)
    for number, columns in enumerate(halves, start=1):
        half[columns] = number
    file["target_info/half"] = half
    file["target_info/copy_of_landmark"] = genes.copy_of_landmark
    for field in ("role", "symbol", "ensembl", "cause"):
        _write_texts(file, f"dropped/{field}", [getattr(gene, field) for gene in genes.dropped])
    _write_texts(file, "dropped/probes", [",".join(gene.probes) for gene in genes.dropped])
    for field in ("role", "symbol", "ensembl"):
        _write_texts(file, f"partial/{field}", [getattr(gene, field) for gene in genes.partial])
    missing = [",".join(gene.missing_probes) for gene in genes.partial]
    _write_texts(file, "partial/missing_probes", missing)


def _write_role(
    file: h5py.File, role: str, genes: StudyGenes, probes: Sequence[str], annotation: Annotation
) -> None:
    """Write the ids of the landmarks or of the targets and what is known of them."""
    _write_texts(file, f"{role}s", genes.ids)
    _write_texts(file, f"{role}_info/symbol", genes.symbols)
    averaged = [[probes[column] for column in columns] for columns in genes.probes]
    _write_texts(file, f"{role}_info/probes", [",".join(names) for names in averaged])
    _write_texts(file, f"{role}_info/entrez", [annotation.entrez_of(names) for names in averaged])
    if annotation.ensembl:
        ensembl = [annotation.ensembl_of(names) for names in averaged]
        _write_texts(file, f"{role}_info/ensembl", ensembl)


def write_values(
    file: h5py.File,
    name: str,
    ranked: Ranked,
    quantile: NDArray[np.float64],
    *,
    n_landmarks: int,
    order: NDArray[np.intp],
    fitted_on: NDArray[np.intp],
    block_size: int,
    progress: Progress,
) -> None:
    """Standardise one data set gene by gene and write its group.

    Parameters
    ----------
    file, name
        The open file and the group: ``GEO``, ``GTEx`` or ``1000G``.
    ranked
        The data set as rank indices of landmarks, then targets.
    quantile
        Reference quantile.
    n_landmarks
        Number of landmarks.
    order
        Rows of `ranked` in the order they are stored in.
    fitted_on
        Rows of `ranked` that give the means and deviations, in ascending order.
    block_size, progress
        Profiles read at a time; where to report to.

    Raises
    ------
    PreparationError
        Values so large that float64 has no standard deviation of them.
    """
    n_genes = ranked.ranks.n_columns
    with progress.step(f"means of {name}", 2 * len(fitted_on)) as tick:

        def blocks() -> Any:
            for block in ranked.values(quantile, fitted_on, block_size):
                yield block
                tick(len(block))

        mean, deviation = mean_and_deviation(blocks, n_genes)
    if not np.isfinite(deviation).all():
        n_bad = int(np.count_nonzero(~np.isfinite(deviation)))
        raise PreparationError(
            f"{name}: {n_bad} of {n_genes} genes have no standard deviation in float64: "
            "normalised values beyond 1e150 can't be squared"
        )
    group = file.create_group(name)
    _write_texts(group, "profiles", [ranked.profiles[row] for row in order])
    parts = {"X": slice(0, n_landmarks), "Y": slice(n_landmarks, n_genes)}
    for kind, columns in parts.items():
        group[f"{kind}_mean"], group[f"{kind}_sd"] = mean[columns], deviation[columns]
        width = columns.stop - columns.start
        group.create_dataset(
            kind,
            (len(order), width),
            np.float32,
            chunks=(chunk_rows(len(order), width), width),
            fletcher32=True,
        )
    with progress.step(f"writing {name}", len(order)) as tick:
        start = 0
        for block in ranked.values(quantile, order, ROWS_AT_A_TIME):
            scaled = standardise(block, mean, deviation).astype(np.float32)
            for kind, columns in parts.items():
                group[kind][start : start + len(block)] = scaled[:, columns]
            start += len(block)
            tick(len(block))


def chunk_rows(n_rows: int, n_columns: int) -> int:
    """Rows of a chunk: about 1 MB, a divisor of the rows written at a time."""
    rows = min(ROWS_AT_A_TIME, max(1, CHUNK_BYTES // (4 * n_columns)))
    return min(1 << (rows.bit_length() - 1), n_rows)


def write_attributes(file: h5py.File, attributes: Mapping[str, object]) -> None:
    """Write root attributes: text, numbers and truth values as they are, mappings as JSON."""
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["versions"] = as_json(
        {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "scikit-learn": version("scikit-learn"),
            "dgex_jax": dgex_jax.__version__,
        }
    )
    for name, value in attributes.items():
        plain = isinstance(value, str | bool | int | float)
        file.attrs[name] = value if plain else as_json(value)


def as_json(value: object) -> str:
    """Return `value` as JSON with sorted keys; what JSON lacks (paths) becomes text."""
    return json.dumps(value, sort_keys=True, default=str)


def _write_texts(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    group[name] = encode_fixed(texts)
