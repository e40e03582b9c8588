"""Prepared studies to flip bits in: how they are made, and read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import PrepareConfig
from dgex_jax.rawfiles import RawFiles
from tests.reliability.bitrot_artefact import Read, Region, every_file, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(__file__).parents[1] / "golden"
RAW = ("geo.gctx", "gtex.gct.gz", "1000g.txt.gz", "map_lm.txt", "map_tg.txt")


def make_prepared(folder: Path) -> None:
    """All five parts, from the recorded raw files."""
    from dgex_jax.prepare.prepare import prepare

    raw = RawFiles(*(GOLDEN / "preprocess" / name for name in RAW))
    config = PrepareConfig(duplicates="none")
    prepare(raw, folder / "prepared.h5", config, name="made", title="A made study", simulated=True)


def make_npz(folder: Path) -> None:
    """A study of another's making."""
    chance = np.random.default_rng(4)
    arrays = {}
    for place, part in enumerate(("tr", "va", "te", "1000G", "GTEx")):
        n = 30 + place
        arrays |= {f"X_{part}": chance.normal(size=(n, 6)), f"Y_{part}": chance.normal(size=(n, 8))}
    np.savez_compressed(folder / "prepared.npz", **arrays)


def read_prepared(folder: Path) -> Read:
    """As training does, and everything else that a study can be asked for."""
    from dgex_jax.prepare.prepared import open_prepared

    (path,) = (folder / file for file in studies(folder))
    with open_prepared(path) as study:
        parts = {part: (study.X(part), study.Y(part)) for part in study.parts}
        about = [study.name, study.title, study.simulated, study.gene_ids, study.halves]
        about += [study.landmarks, study.landmark_symbols, study.landmark_ensembl]
        about += [study.targets, study.symbols, study.target_ensembl, study.copy_of_landmark]
        if path.suffix == ".h5":
            about += [study.landmark_probes, study.target_probes, study.landmark_entrez]
            about += [study.target_entrez, study.quantile, study.landmark_quantile]
            about += [study.scaling(part, kind) for part in study.parts for kind in "XY"]
    if path.suffix != ".h5":
        # An .npz has no name of its own: it is called after its file.
        return fingerprint(parts, about), []
    return fingerprint(parts, about, attributes(path)), []


def studies(folder: Path) -> list[str]:
    """The study, without what lies beside it."""
    return [file for file in every_file(folder) if file in {"prepared.h5", "prepared.npz"}]


def attributes(path: Path) -> Mapping[str, Any]:
    """What else a prepared study says of its making (models take it over)."""
    from dgex_jax.model.export import preparation

    return preparation(path)


def outside_chunks(folder: Path) -> list[Region]:
    """Runs of bytes in which no values lie: names, attributes and the tables of HDF5."""
    import h5py

    path = folder / "prepared.h5"
    chunks: list[tuple[int, int]] = []
    with h5py.File(path) as file:
        for dataset in (
            file[f"{group}/{kind}"]
            for group in ("compendium", "sets/1000G", "sets/GTEx")
            for kind in "XY"
        ):
            for n in range(dataset.id.get_num_chunks()):
                chunk = dataset.id.get_chunk_info(n)
                chunks.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
    bounds = [0, *(place for chunk in sorted(chunks) for place in chunk), path.stat().st_size]
    gaps = zip(bounds[::2], bounds[1::2], strict=True)
    return [("prepared.h5", start, stop) for start, stop in gaps for _ in range(4)]
