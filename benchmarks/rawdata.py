"""Made-up raw files of the paper's shape: what preparation has to do on them, and no biology.

Arrays are tissue centres and a few common factors times random loadings, plus noise from a reused
table; so profiles fall into clusters and genes are correlated, and nothing else is meant by them.
``python -m benchmarks.rawdata FOLDER --fraction 1/4`` writes a set.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.cli_options import OneLineParser, run_command
from dgex_jax.io.expression import Expression
from dgex_jax.io.files import atomic_path
from dgex_jax.io.writers import GctxWriter, write_gct, write_rpkm
from dgex_jax.simulate.write import simulated_files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dgex_jax.rawfiles import RawFiles

N_FACTORS = 60
N_TISSUES = 40
NOISE_SD = 0.3
NOISE_TABLE = 1 << 22
"""Normal numbers that every profile's noise is a run of (16 MB): a fresh draw would cost ten times
the copy. Runs overlap, but the factors of their profiles differ."""
BLOCK = 256
"""Profiles made together; fixed, as the last bits of a matrix product depend on its size."""
MOST_PROBES_OF_A_GENE = 13
DONE = "raw.json"


@dataclass(frozen=True)
class Shape:
    """How many of everything.

    - `n_profiles`, `n_gtex`, `n_1000g`: columns of the three expression files.
    - `n_copies`: GEO profiles closer than 1.0 to an earlier one.
    - `n_near_misses`: GEO profiles at 1.05 to 1.5 from an earlier one.
    - `n_probes`: of the array.
    - `n_landmarks`, `n_targets`, `n_target_probes`, `n_shared`: lines of the gene maps, probes of
      the targets in all, and landmarks that are targets too.
    - `seed`: of everything random.
    """

    n_profiles: int = 129_158
    n_gtex: int = 2921
    n_1000g: int = 462
    n_copies: int = 18_149
    n_near_misses: int = 1291
    n_probes: int = 22_268
    n_landmarks: int = 943
    n_targets: int = 9520
    n_target_probes: int = 15_744
    n_shared: int = 445
    seed: int = 0

    def scaled(self, fraction: Fraction) -> Shape:
        """Take a part of the profiles and samples; probes and genes stay."""
        counts = {
            name: max(2, round(value * fraction))
            for name, value in asdict(self).items()
            if name in {"n_profiles", "n_gtex", "n_1000g", "n_copies", "n_near_misses"}
        }
        return Shape(**(asdict(self) | counts))


PAPER = Shape()
SMALL = Shape(400, 20, 10, 56, 4, 700, 30, 300, 496, 14)


def make(folder: Path, shape: Shape) -> RawFiles:
    """Write the five raw files, the same for the same `shape` on the same machine.

    The RNA-seq files have the genes of the maps alone: text is slow to write and small beside GEO.

    `folder` is made if missing; a set of this shape that is complete there stays as it is. Files
    are named as by ``dgex simulate``.
    """
    files, done = simulated_files(folder), folder / DONE
    about = json.dumps(asdict(shape), sort_keys=True)
    if done.is_file() and done.read_text(encoding="utf-8") == about:
        return files
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    ids = _write_maps(files, shape)
    _write_geo(files.geo, shape)
    rng = np.random.default_rng([shape.seed, 2])
    for write, path, n in (
        (write_gct, files.gtex, shape.n_gtex),
        (write_rpkm, files.thousand_genomes, shape.n_1000g),
    ):
        profiles = tuple(f"{path.name.partition('.')[0]}_{row:05d}" for row in range(n))
        write(path, Expression(path, _rna_values(rng, n, len(ids)), profiles, ids))
    with atomic_path(done) as temporary:
        temporary.write_text(about, encoding="utf-8")
    return files


def probe_ids(n_probes: int) -> list[str]:
    """Name the array's probes."""
    return [f"{200_000 + number}_at" for number in range(n_probes)]


def _write_maps(files: RawFiles, shape: Shape) -> tuple[str, ...]:
    """Write both gene maps; give the Ensembl ids in them, each once."""
    rng = np.random.default_rng([shape.seed, 1])
    # One gene has as many probes as any of the paper's, so that its mean takes as many additions.
    left = shape.n_target_probes - shape.n_targets - (MOST_PROBES_OF_A_GENE - 1)
    counts = 1 + np.bincount(rng.integers(1, shape.n_targets, left), minlength=shape.n_targets)
    counts[0] = MOST_PROBES_OF_A_GENE
    probes = np.array(probe_ids(shape.n_probes))[rng.permutation(shape.n_probes)]
    of_landmarks, rest = np.split(probes, [shape.n_landmarks])
    of_targets = np.split(rest[: shape.n_target_probes], np.cumsum(counts)[:-1])
    groups = {"landmarks": np.split(of_landmarks, shape.n_landmarks), "targets": of_targets}
    targets = [f"ENSG{number:011d}" for number in range(shape.n_targets)]
    own = shape.n_landmarks - shape.n_shared
    shared = [targets[place] for place in rng.choice(shape.n_targets, shape.n_shared, False)]
    landmarks = [f"ENSG{shape.n_targets + number:011d}" for number in range(own)] + shared
    for path, ids, kind in (
        (files.landmarks, landmarks, "landmarks"),
        (files.targets, targets, "targets"),
    ):
        lines = [
            f"{gene.replace('ENSG', 'G')}\t{gene}\t{','.join(group)}\n"
            for gene, group in zip(ids, groups[kind], strict=True)
        ]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    return (*landmarks[:own], *targets)


def _write_geo(path: Path, shape: Shape) -> None:
    profiles = [f"P{row:06d}" for row in range(shape.n_profiles)]
    with GctxWriter(path, profiles, probe_ids(shape.n_probes), src="made up") as writer:
        for block in geo_blocks(shape):
            writer.append(block)


def copies(shape: Shape) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which profile each is made from, and at which distance.

    Returns `source`: ``(n_profiles,)``: an earlier profile that is no copy, or itself; `distance`:
    ``(n_profiles,)`` float32: 0 to 0.95 for copies, 1.05 to 1.5 for near misses, 0 for others.
    """
    rng = np.random.default_rng([shape.seed, 3])
    source = np.arange(shape.n_profiles)
    distance = np.zeros(shape.n_profiles, np.float32)
    made = shape.n_copies + shape.n_near_misses
    again = 1 + rng.choice(shape.n_profiles - 1, made, replace=False)
    originals = np.setdiff1d(source, again)
    before = np.searchsorted(originals, again)
    source[again] = originals[(rng.random(made) * before).astype(np.intp)]
    distance[again[: shape.n_copies]] = rng.uniform(0, 0.95, shape.n_copies)
    distance[again[shape.n_copies :]] = rng.uniform(1.05, 1.5, shape.n_near_misses)
    return source, distance


def geo_blocks(shape: Shape) -> Iterator[NDArray[np.float32]]:
    """Make the array's profiles, in blocks ``(n, n_probes)`` float32 like log2 intensities."""
    rng = np.random.default_rng([shape.seed, 4])
    table = NOISE_SD * rng.standard_normal(NOISE_TABLE + shape.n_probes, np.float32)
    centre = np.clip(rng.normal(7.5, 2.0, shape.n_probes), 4.0, 13.0).astype(np.float32)
    loadings = 0.08 * rng.standard_normal((N_FACTORS, shape.n_probes), np.float32)
    tissues = 1.5 * rng.standard_normal((N_TISSUES, N_FACTORS), np.float32)
    factors = tissues[rng.integers(0, N_TISSUES, shape.n_profiles)]
    factors += rng.standard_normal(factors.shape, np.float32)
    offsets, own = rng.integers(0, NOISE_TABLE, (2, shape.n_profiles))
    source, distance = copies(shape)

    def block(start: int) -> NDArray[np.float32]:
        rows = slice(start, min(start + BLOCK, shape.n_profiles))
        values = factors[source[rows]] @ loadings
        values += centre
        for place, row in enumerate(range(start, start + len(values))):
            values[place] += table[offsets[source[row]] :][: shape.n_probes]
            if distance[row]:
                apart = table[own[row] :][: shape.n_probes]
                values[place] += distance[row] / np.linalg.norm(apart) * apart
        return values

    with ThreadPoolExecutor(2) as pool:
        starts = range(0, shape.n_profiles, BLOCK)
        waiting = [pool.submit(block, start) for start in starts[:3]]
        for start in starts:
            yield waiting.pop(0).result()
            if start + 3 * BLOCK < shape.n_profiles:
                waiting.append(pool.submit(block, start + 3 * BLOCK))


def _rna_values(rng: np.random.Generator, n: int, n_genes: int) -> NDArray[np.float32]:
    """Values ``(n, n_genes)`` like RPKM: skewed, three decimals, a sixth of the genes at 0."""
    level = rng.normal(1.0, 2.0, n_genes)
    values = np.exp(level + rng.normal(0.0, 0.5, (n, n_genes)))
    values[:, rng.random(n_genes) < 1 / 6] = 0
    return np.round(values, 3).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one set of files."""
    command = OneLineParser(
        prog="python -m benchmarks.rawdata", description=__doc__, allow_abbrev=False
    )
    command.add_argument("folder", type=Path)
    command.add_argument("--fraction", type=Fraction, default=Fraction(1, 16))

    def run(options: argparse.Namespace) -> None:
        print(make(options.folder, PAPER.scaled(options.fraction)).geo)

    command.set_defaults(run=run)
    return run_command(command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
