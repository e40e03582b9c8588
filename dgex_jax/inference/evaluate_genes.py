"""Where a prepared study has the genes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.data.genemap import match_ensembl
from dgex_jax.errors import FormatError
from dgex_jax.inference.matching import gene_names, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.data.prepared import Prepared
    from dgex_jax.inference.model import Model, ModelGenes


@dataclass(frozen=True)
class SharedGenes:
    """The genes that a model and a study share.

    Attributes
    ----------
    kind
        What they were matched by.
    landmarks
        ``(n_landmarks,)``: the study's column of X for each landmark of the model.
    kept
        ``(n_shared,)``: places, in the model, of its targets that are targets of the study too.
    targets
        ``(n_shared,)``: the study's columns of Y for these.
    copies
        ``(n_shared,)`` bool: the study knows them as copies of landmarks of the model, as targets
        that repeat an input in RNA-seq.
    """

    kind: Literal["ensembl", "probe"]
    landmarks: NDArray[np.intp]
    kept: NDArray[np.intp]
    targets: NDArray[np.intp]
    copies: NDArray[np.bool_]


def find_in_study(model: Model, study: Prepared) -> SharedGenes:
    """Match the genes of a model with those of a study, whatever their orders.

    By Ensembl id where both have them; else by probes: a gene is the same if its array values are
    the mean of the same probes.

    Raises
    ------
    FormatError
        A landmark of the model is none of the study's (the missing ones are named), no target is
        shared, or the study has no ids.
    """
    if study.gene_ids == "number":
        raise FormatError(
            f"{study.path}: its genes have no ids, so which of them are the model's can't be told; "
            "prepare a study of the raw files (dgex prepare)"
        )
    by_ensembl = study.gene_ids == "ensembl" and any(model.landmarks.ensembl)
    if by_ensembl:
        landmarks = _by_ensembl(model.landmarks, study, study.landmarks)
        targets = _by_ensembl(model.targets, study, study.targets)
    else:
        landmarks = _by_probes(model.landmarks, study.landmark_probes)
        targets = _by_probes(model.targets, study.target_probes)
    kind: Literal["ensembl", "probe"] = "ensembl" if by_ensembl else "probe"
    naming = "Ensembl id" if by_ensembl else "probes"
    missing = np.flatnonzero(landmarks < 0).tolist()
    if missing:
        raise FormatError(
            f"{study.path}: {len(missing)} of {len(landmarks)} landmarks of the model are none of "
            f"its landmarks (by {naming}): {listed(gene_names(model.landmarks, missing))}"
        )
    kept = np.flatnonzero(targets >= 0)
    if not kept.size:
        raise FormatError(
            f"{study.path}: none of the {len(targets)} targets of the model is one of its targets "
            f"(by {naming})"
        )
    found = targets[kept]
    return SharedGenes(kind, landmarks, kept, found, _copies(study, landmarks, found))


def _copies(
    study: Prepared, landmarks: NDArray[np.intp], targets: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which targets copy a landmark of the model: the study may have landmarks of its own."""
    if not study.copy_of_landmark.any():
        return np.zeros(len(targets), dtype=bool)
    inputs = [study.landmarks[column] for column in landmarks.tolist()]
    ids = [study.targets[column] for column in targets.tolist()]
    copied: NDArray[np.bool_] = match_ensembl(ids, inputs) >= 0
    return copied & study.copy_of_landmark[targets]


def _by_ensembl(genes: ModelGenes, study: Prepared, ids: Sequence[str]) -> NDArray[np.intp]:
    try:
        return match_ensembl(genes.ensembl, ids)
    except FormatError as error:
        raise FormatError(f"{study.path}: {error}") from error


def _by_probes(genes: ModelGenes, probes: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    places = {frozenset(names): place for place, names in enumerate(probes) if names}
    return np.array([places.get(frozenset(names), -1) for names in genes.probes], np.intp)
