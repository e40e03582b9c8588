"""The layout of ``prepared.h5`` on the writing side (documented at the reader, `prepared`).

Every write is a run of whole chunks in file order and no clock is asked, so the same study gives
the same file, byte for byte, whatever the block size.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

import h5py
import numpy as np

import dgex_jax
from dgex_jax.errors import PreparationError
from dgex_jax.io.hdf5 import encode_fixed
from dgex_jax.prepare.normalize import mean_and_deviation, standardise
from dgex_jax.prepare.prepared import FORMAT_VERSION
from dgex_jax.prepare.split import half_slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.io.progress import Progress
    from dgex_jax.prepare.genes import Annotation, Selection, StudyGenes
    from dgex_jax.prepare.normalize import Ranked

CHUNK_BYTES = 1 << 20
ROWS_AT_A_TIME = 256


def write_genes(
    file: h5py.File,
    genes: Selection,
    probes: Sequence[str],
    annotation: Annotation,
) -> None:
    """Write ids, gene information, the dropped and the partial genes.

    `probes` are the ids of the columns of the GEO file, `annotation` what is known of them.
    """
    _write_role(file, "landmark", genes.landmarks, probes, annotation)
    _write_role(file, "target", genes.targets, probes, annotation)
    half = np.zeros(len(genes.targets), dtype=np.uint8)
    for number, columns in enumerate(half_slices(len(genes.targets)), start=1):
        half[columns] = number
    file["target_info/half"] = half
    file["target_info/copy_of_landmark"] = genes.copy_of_landmark
    for field in ("role", "symbol", "ensembl", "cause"):
        _write_texts(file, f"dropped/{field}", [getattr(gene, field) for gene in genes.dropped])
    _write_texts(file, "dropped/probes", [",".join(gene.probes) for gene in genes.dropped])
    for field in ("role", "symbol", "ensembl"):
        _write_texts(file, f"partial/{field}", [getattr(gene, field) for gene in genes.partial])
    missing = [",".join(gene.probes) for gene in genes.partial]
    _write_texts(file, "partial/missing_probes", missing)


def _write_role(
    file: h5py.File, role: str, genes: StudyGenes, probes: Sequence[str], annotation: Annotation
) -> None:
    """Write the ids of the landmarks or of the targets and what is known of them."""
    averaged = [[probes[column] for column in columns] for columns in genes.probes]

    def common(ids: Mapping[str, str]) -> list[str]:
        """For each gene the one id that its probes have; empty if they have none or two."""
        found = [{ids[probe] for probe in names if probe in ids} for names in averaged]
        return [one.pop() if len(one) == 1 else "" for one in found]

    _write_texts(file, f"{role}s", genes.ids)
    _write_texts(file, f"{role}_info/symbol", genes.symbols)
    _write_texts(file, f"{role}_info/probes", [",".join(names) for names in averaged])
    _write_texts(file, f"{role}_info/entrez", common(annotation.entrez))
    if annotation.ensembl:
        _write_texts(file, f"{role}_info/ensembl", common(annotation.ensembl))


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
    """Standardise one data set gene by gene and write its group `name`.

    The rows of `ranked` (landmarks, then targets) are stored in `order`; those in `fitted_on`,
    ascending, give the means and deviations. Raises `PreparationError` for values so large that
    float64 has no standard deviation of them.
    """
    n_genes = ranked.ranks.n_columns
    with progress.step(f"means of {name}", 2 * len(fitted_on)) as tick:

        def blocks() -> Iterator[NDArray[np.float64]]:
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
    """Write root attributes: text, numbers and truth values as they are, mappings as JSON.

    With sorted keys; what JSON lacks (paths) becomes text.
    """
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "scikit-learn": version("scikit-learn"),
        "dgex_jax": dgex_jax.__version__,
    }
    for name, value in (
        {"format_version": FORMAT_VERSION, "versions": versions} | dict(attributes)
    ).items():
        plain = isinstance(value, str | bool | int | float)
        file.attrs[name] = value if plain else json.dumps(value, sort_keys=True, default=str)


def _write_texts(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    group[name] = encode_fixed(texts)
