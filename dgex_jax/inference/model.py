"""A trained model with all it needs to infer target genes from profiles it has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dgex_jax.config import CHOSEN_PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig


@dataclass(frozen=True)
class ModelGenes:
    """Landmark or target genes of a model, in its order.

    Attributes
    ----------
    ensembl, symbols, entrez
        ``(n_genes,)`` ids, empty text where the gene has none.
    probes
        For each gene its probes; empty where they are not known.
    mean, sd
        ``(n_genes,)`` float64: standardised = (value - mean) / sd on the reference scale, over GEO
        (`sd` holds the original's + 1e-3).
    """

    ensembl: tuple[str, ...]
    symbols: tuple[str, ...]
    entrez: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.symbols)


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes
    ----------
    landmarks, targets
        Its genes; targets of the first half, then of the second.
    network
        Its architecture.
    halves
        Parameters of each half as Flax takes them, float32.
    half_sizes
        Target genes of each half.
    selected_on
        Which best epoch its weights are of: ``va`` (GEO-va) or ``1000G`` (1000G-va).
    quantile
        ``(n_landmarks + n_targets,)`` float64, GEO's reference quantile of all genes, growing;
        ``None`` for a model of a study without quantile normalisation.
    landmark_quantile
        ``(n_landmarks,)`` float64: the same of the landmarks alone, over GEO-tr.
    errors
        Part (`config.EVALUATED`, as far as the study has it) → ``(n_targets,)`` float64 MAE
        of these very weights, standardised units.
    record
        How it was trained, as JSON values: study, settings, seeds, versions, checksums.
    copy_of_landmark
        ``(n_targets,)`` bool: the target has the Ensembl id of a landmark; ``None`` if not known.
    """

    landmarks: ModelGenes
    targets: ModelGenes
    network: NetworkConfig
    halves: Sequence[Any]
    half_sizes: tuple[int, ...]
    selected_on: str
    quantile: NDArray[np.float64] | None
    landmark_quantile: NDArray[np.float64]
    errors: Mapping[str, NDArray[np.float64]]
    record: Mapping[str, Any]
    copy_of_landmark: NDArray[np.bool_] | None = None

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases, all halves."""
        return sum(
            int(array.size)
            for half in self.halves
            for layer in half.values()
            for array in (layer["kernel"], layer["bias"])
        )

    @property
    def expected_on(self) -> str | None:
        """Part whose errors are those to expect of unseen profiles; ``None`` without errors."""
        _, part = CHOSEN_PARTS[self.selected_on]
        return part if part in self.errors else None

    @property
    def simulated(self) -> bool | None:
        """Whether the study's values are made up; ``None`` if the record does not say."""
        study = self.record.get("study")
        said = study.get("simulated") if isinstance(study, dict) else None
        return said if isinstance(said, bool) else None
