"""Preprocessing as the original scripts do it: every array whole, in float64, genes x profiles.

Written anew after the published scripts (``kmeans.py``, ``nodup_idx.py``, ``bgedv2.py``,
``*_reqnorm.py``, ``*_norm.py``), in one process instead of one a script, and with two of their
quadratic searches through lists left out (``list.index`` for every value of an RNA-seq sample and
for every probe). Random choices are seeded and genes and profiles stay in file order, so that
its output can be compared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances

from benchmarks.prepare_steps import Stopwatch
from dgex_jax.io.gctx import Gctx
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.simulate.write import simulated_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.rawfiles import RawFiles

    Matrix = NDArray[np.float64]

N_CLUSTERS = 100
MAX_DISTANCE = 1.0
OFFSET = 1e-3


def cluster_labels(data: Matrix) -> NDArray[np.intp]:
    """Label the profiles of `data` ``(n_probes, n_profiles)`` by mini-batch k-means."""
    profiles = data.T
    mixed = profiles[np.random.default_rng(0).permutation(len(profiles))]
    model = MiniBatchKMeans(
        min(N_CLUSTERS, len(profiles)),
        max_iter=10,
        batch_size=1000,
        compute_labels=False,
        n_init=3,
        random_state=0,
    )
    return np.asarray(model.fit(mixed).predict(profiles))


def keep(data: Matrix, labels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Drop the later of two close profiles of a cluster; ``(n_profiles,)``."""
    kept = np.ones(data.shape[1], dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        apart = pairwise_distances(data.T[places], metric="euclidean")
        earlier, later = np.nonzero(apart < MAX_DISTANCE)
        kept[places[later[earlier < later]]] = False
    return kept


def average_probes(files: RawFiles, source: Gctx, kept: NDArray[np.bool_]) -> Matrix:
    """Gene values ``(n_genes, n_kept)``, landmarks first."""
    place = {probe: number for number, probe in enumerate(source.genes)}
    matrix = source.read().T
    columns = np.flatnonzero(kept)
    rows = []
    for path in (files.landmarks, files.targets):
        for probes in read_gene_map(path).probes:
            of_gene = np.array([place[probe] for probe in probes])
            rows.append(matrix[np.ix_(of_gene, columns)].astype(np.float64).mean(axis=0))
    return np.vstack(rows)


def quantile_normalise(data: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
    """Quantile-normalise ``(n_genes, n_profiles)``; also the quantile."""
    ordered, normalised = np.zeros(data.shape), np.zeros(data.shape)
    ranks = np.zeros(data.shape, dtype=np.int64)
    for profile in range(data.shape[1]):
        ordered[:, profile] = np.sort(data[:, profile])
        ranks[:, profile] = (stats.rankdata(data[:, profile]) - 1).astype(np.int64)
    quantile = ordered.mean(axis=1)
    for profile in range(data.shape[1]):
        normalised[:, profile] = quantile[ranks[:, profile]]
    return normalised, quantile


def map_rna(data: Matrix, quantile: NDArray[np.float64]) -> Matrix:
    """Map RNA-seq ``(n_genes, n_samples)`` on a quantile by dense ranks."""
    mapped = np.zeros(data.shape)
    for sample in range(data.shape[1]):
        distinct, dense = np.unique(data[:, sample], return_inverse=True)
        position = (dense + 1.0) / len(distinct)
        mapped[:, sample] = quantile[(position * len(data)).astype(np.int64) - 1]
    return mapped


def scale(data: Matrix) -> Matrix:
    """Standardise every gene of ``(n_genes, n_profiles)``."""
    deviations = data.std(axis=1, keepdims=True) + OFFSET
    return np.asarray((data - data.mean(axis=1, keepdims=True)) / deviations)


def read_rna(path: Path, genes: Sequence[str]) -> Matrix:
    """Read the genes ``(n_genes, n_samples)`` of a text file that has them all."""
    first = 2 if path.name.endswith(".gct.gz") else 0
    table = pd.read_csv(path, sep="\t", skiprows=first, index_col=0)
    values = table.iloc[:, 1 if first else 3 :]
    return np.asarray(values.loc[list(genes)].to_numpy(np.float64))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all of it; writes ``.npy`` files and ``steps.json`` into a folder."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.original_preprocessing")
    command.add_argument("raw", type=Path, help="folder of the raw files")
    command.add_argument("output", type=Path, help="folder to be made")
    options = command.parse_args(arguments)
    options.output.mkdir()
    files, watch = simulated_files(options.raw), Stopwatch()
    with Gctx(files.geo) as source:
        data = source.read().T.astype(np.float64)
        watch("reading GEO as float64", 1, 1)
        labels = cluster_labels(data)
        watch("clusters", 1, 1)
        kept = keep(data, labels)
        del data
        watch("distances inside clusters", 1, 1)
        data = average_probes(files, source, kept)
    watch("means of probes", 1, 1)
    data, quantile = quantile_normalise(data)
    watch("quantile normalisation", 1, 1)
    data = scale(data)
    np.save(options.output / "GEO.npy", data.T)
    del data
    watch("scaling and writing GEO", 1, 1)
    maps = [read_gene_map(path) for path in (files.landmarks, files.targets)]
    genes = [gene for one in maps for gene in one.ensembl]
    for name, path in (("GTEx", files.gtex), ("1000G", files.thousand_genomes)):
        np.save(options.output / f"{name}.npy", scale(map_rna(read_rna(path, genes), quantile)).T)
        watch(name, 1, 1)
    np.save(options.output / "labels.npy", labels)
    np.save(options.output / "kept.npy", kept)
    steps = json.dumps([vars(step) for step in watch.steps()])
    (options.output / "steps.json").write_text(steps, encoding="utf-8")


if __name__ == "__main__":
    main()
