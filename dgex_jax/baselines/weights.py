"""The linear regression that LINCS infers genes by, as its weights are published (GSE92743)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.baselines.arrays import check_matrix
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import FiniteCheck, listed
from dgex_jax.io.gctx import Gctx
from dgex_jax.prepare.normalize import OFFSET

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]
    Scaling = tuple[Doubles, Doubles]

ENTREZ_ID = re.compile(r"[1-9]\d*")


@dataclass(frozen=True)
class StudyWeights:
    """Published coefficients in the order of a study's genes, for deviations from means.

    `coef` is ``(n_targets, n_landmarks)``, NaN where `known`, ``(n_targets,)``, is false, as there
    are no weights for that target. `held` are the landmarks that the study lacks: each is held at
    its mean.
    """

    coef: Doubles
    known: NDArray[np.bool_]
    held: tuple[str, ...]


@dataclass(frozen=True)
class OlsWeights:
    """Published weights, float64, of log2 values on log2 values; genes by Entrez id.

    `intercept` is ``(n_targets,)``, `coefficients` ``(n_landmarks, n_targets)``; `intercept_id` is
    what the file calls the intercept.
    """

    path: Path
    intercept: Doubles
    coefficients: Doubles
    landmarks: tuple[str, ...]
    targets: tuple[str, ...]
    intercept_id: str

    def aligned(self, landmarks: Sequence[str], targets: Sequence[str]) -> StudyWeights:
        """Put the weights in the order of a study's genes (Entrez ids, empty where unknown).

        A landmark of the study without weights counts for nothing. One of the weights that the
        study lacks is held at its mean, from which it then never deviates.

        Raises
        ------
        DgexError
            The study has a landmark of the weights twice, or none of them, or none of the targets.
        """
        counts = Counter(landmarks)
        twice = [name for name, n in counts.items() if name and n > 1]
        if twice:
            raise DgexError(f"{self.path}: the study has landmarks twice: {listed(twice)}")
        absent = tuple(name for name in self.landmarks if name not in counts)
        if len(absent) == len(self.landmarks):
            raise DgexError(
                f"{self.path}: the study has none of the {len(absent):,} landmarks of these "
                f"weights: {listed(absent)}"
            )
        rows, columns = _places(self.landmarks, landmarks), _places(self.targets, targets)
        known = columns >= 0
        if not known.any():
            raise DgexError(f"{self.path}: has no weights for any target of the study")
        coef = np.where(known[:, None], np.zeros(len(landmarks)), np.nan)
        used = rows >= 0
        coef[np.ix_(known, used)] = self.coefficients[np.ix_(rows[used], columns[known])].T
        return StudyWeights(coef, known, absent)


def read_weights(path: Path | str, landmarks: Collection[str] | None = None) -> OlsWeights:
    """Read a GCTX file of regression weights: an intercept and landmarks by target genes.

    Either axis may have the landmarks. It is the one of which exactly one id, then the intercept,
    is none of `landmarks`; without these the one of which exactly one id is no Entrez number
    (``OFFSET``).

    Raises
    ------
    FormatError
        Not GCTX, no axis or both of that kind, targets that are no Entrez ids, or values that are
        not finite.
    """
    with Gctx(path) as file:
        axes = (file.profiles, file.genes)
        odd = [_no_landmarks(ids, landmarks) for ids in axes]
        if [len(ids) for ids in odd].count(1) != 1:
            rule = "no Entrez id" if landmarks is None else "no landmark"
            shown = " and ".join(
                f"{len(others):,} of its {len(ids):,} {kind}"
                + (f" ({listed(others, 3)})" if others else "")
                for kind, ids, others in zip(("columns", "rows"), axes, odd, strict=True)
            )
            raise FormatError(
                f"{file.path}: which id is the intercept can't be told: {shown} are {rule}; it "
                "must be exactly one, of the landmarks' axis"
            )
        values = file.read().astype(np.float64)
        check = FiniteCheck(file.path, file.genes)
        check.add(values, file.profiles)
        check.raise_if_any()
    turned = len(odd[1]) == 1
    if turned:
        values = values.T
    names, targets = axes[turned], axes[not turned]
    strange = [name for name in targets if not ENTREZ_ID.fullmatch(name)]
    if strange:
        raise FormatError(f"{file.path}: targets that are no Entrez ids: {listed(strange, 3)}")
    place = names.index(odd[turned][0])
    return OlsWeights(
        file.path,
        values[place].copy(),
        np.delete(values, place, axis=0),
        (*names[:place], *names[place + 1 :]),
        targets,
        names[place],
    )


def standardised_prediction(
    weights: StudyWeights, X: ArrayLike, x_deviation: Doubles, y_deviation: Doubles
) -> Doubles:
    """Predict standardised targets ``(n_profiles, n_targets)`` from standardised landmarks.

    By deviations and without the intercept: those of the landmarks from the means that X was
    standardised with (log2; the standard deviations ``(n_genes,)`` are as `Prepared.scaling` gives
    them) times the coefficients are those of the targets. So the weights are spared the shift
    between platforms, as every other method is; what differs in a gene's spread stays. Standardised
    by what they were fitted on it is their own prediction, as least squares passes through the
    means. NaN where there are no weights. Raises `DgexError`: another number of landmarks, or
    values that are not finite.
    """
    standardised = check_matrix("X", X, n_genes=len(x_deviation)).astype(np.float64)
    apart = standardised * (x_deviation + OFFSET) @ weights.coef.T
    return np.asarray(apart / (y_deviation + OFFSET))


def _no_landmarks(ids: Sequence[str], landmarks: Collection[str] | None) -> list[str]:
    if landmarks is None:
        return [name for name in ids if not ENTREZ_ID.fullmatch(name)]
    known = set(landmarks)
    return [name for name in ids if name not in known]


def _places(of: Sequence[str], wanted: Sequence[str]) -> NDArray[np.intp]:
    """Where each wanted id stands, -1 if nowhere."""
    place = {name: number for number, name in enumerate(of)}
    return np.array([place.get(name, -1) for name in wanted], dtype=np.intp)
