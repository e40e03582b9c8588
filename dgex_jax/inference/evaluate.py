"""A model applied to the parts of a prepared study, and scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.analysis.scores import GeneScores, Summary, summarise
from dgex_jax.config import PART_NAMES, PARTS
from dgex_jax.data.progress import Progress
from dgex_jax.errors import StudyError
from dgex_jax.inference.evaluate_genes import SharedGenes, find_in_study
from dgex_jax.inference.network import Network
from dgex_jax.inference.parterrors import part_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dgex_jax.data.prepared import Prepared
    from dgex_jax.data.progress import Listener
    from dgex_jax.inference.model import Model

LEARNED_FROM = "tr"
RNA_SEQ = ("1000G", "GTEx")
"""Parts in which a target that copies a landmark repeats an input."""


@dataclass(frozen=True)
class PartEvaluation:
    """How a model does on a part.

    Attributes
    ----------
    genes
        Scores of the shared targets.
    every
        Their summary.
    without_copies
        The same without the targets that are copies of a landmark; ``None`` where that says nothing
        new: on array parts, without such targets, or with no others.
    """

    genes: GeneScores
    every: Summary
    without_copies: Summary | None


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a study.

    Attributes
    ----------
    shared
        The genes of both.
    own_study
        Whether the study is the one that the model was trained on, by its sha256; ``None``: the
        model does not say.
    parts
        Part → scores, in the order asked for.
    """

    shared: SharedGenes
    own_study: bool | None
    parts: Mapping[str, PartEvaluation]


def evaluate(
    model: Model,
    study: Prepared,
    parts: Sequence[str] | None = None,
    *,
    progress: bool | Listener = False,
) -> Evaluation:
    """Apply a model to parts of a study and compare what it infers with what was measured.

    Errors are in standardised units of the study: X and Y of each data set (GEO, 1000G, GTEx) were
    standardised gene by gene with means and deviations over that data set itself, as the paper
    does, so that the mean profile is 0 and an error of 1 is about one standard deviation of the
    gene *there*. On a study other than the model's own this is not the scale of training: a shift
    or a change of spread between the two studies is taken out before anything is compared.

    Parameters
    ----------
    model
        The model.
    study
        A prepared study with all of its landmarks and some of its targets, in any order.
    parts
        Of the study; ``None``: all but ``tr``, the profiles to learn from.
    progress
        ``True``: on standard error; a callable gets (step, profiles done, profiles in all).

    Returns
    -------
    Evaluation
        Memory does not grow with the number of profiles.

    Raises
    ------
    StudyError
        The study lacks a part, or one is named twice.
    FormatError
        Genes don't match (`find_in_study`), or values can't be read or are not finite.
    """
    chosen = _chosen_parts(study, parts)
    shared = find_in_study(model, study)
    network = Network(model)
    show = Progress(progress)
    found = {}
    for part in chosen:
        with show.step(PART_NAMES[part], study.n_profiles(part)) as tick:
            genes = part_scores(network, study, part, shared, tick)
        found[part] = PartEvaluation(genes, summarise(genes), _without_copies(part, genes, shared))
    return Evaluation(shared, is_own_study(model, study), found)


def is_own_study(model: Model, study: Prepared) -> bool | None:
    """Whether a model was trained on just this file; ``None`` if its record does not say."""
    about = model.record.get("study")
    known = about.get("prepared_sha256") if isinstance(about, dict) else None
    return study.sha256 == known if isinstance(known, str) else None


def _chosen_parts(study: Prepared, parts: Sequence[str] | None) -> Sequence[str]:
    if parts is None:
        return [part for part in study.parts if part != LEARNED_FROM]
    for place, part in enumerate(parts):
        if part not in study.parts:
            known = ", ".join(part for part in PARTS if part in study.parts)
            raise StudyError(f"{study.path}: has no part {part!r}, only {known}")
        if part in parts[:place]:
            raise StudyError(f"parts: {part!r} is named twice")
    return parts


def _without_copies(part: str, genes: GeneScores, shared: SharedGenes) -> Summary | None:
    copies = shared.copies
    if part not in RNA_SEQ or not copies.any() or copies.all():
        return None
    return summarise(genes, ~copies)
