"""What a user decides when a model is applied to a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dgex_jax.config import IdKind, Platform, check_choice, check_range
from dgex_jax.errors import StudyError

Standardize = Literal["input", "training"]
Scale = Literal["standardized", "reference"]


@dataclass(frozen=True)
class PredictOptions:
    """How a model is applied to a file.

    Attributes
    ----------
    platform
        What the values are: ``standardized`` (taken as they are), ``microarray``, ``rnaseq`` or
        ``l1000`` (mapped on the reference scale, see `platform.choose_route`).
    standardize
        By the means and deviations of the ``input`` (the paper's way) or of ``training``; ``None``
        for the platform's default (``input`` for RNA-seq), and for standardised values.
    scale
        Of the results: ``standardized`` units or the ``reference`` scale of the training data.
    impute
        Take the training mean for landmarks that the file lacks, instead of refusing it.
    ids
        The only kind of ids to look for in the file; ``None`` for the one that fits.
    block_size
        Profiles read at a time; changes memory and speed, never a result.
    force_platform
        Go on where the values don't look like those of the platform, or a column's name says that
        it is annotation, instead of refusing the file; the output says so.
    accept_wrong_dimensions
        Read GCT files whose dimension line is wrong, trusting the table instead.
    """

    platform: Platform
    standardize: Standardize | None = None
    scale: Scale = "standardized"
    impute: bool = False
    ids: IdKind | None = None
    block_size: int = 512
    accept_wrong_dimensions: bool = False
    force_platform: bool = False

    def __post_init__(self) -> None:
        check_choice("platform", self.platform, Platform)
        check_choice("scale", self.scale, Scale)
        if self.standardize is not None:
            check_choice("standardize", self.standardize, Standardize)
            if self.platform == "standardized":
                raise StudyError(
                    f"standardize = {self.standardize!r}: values of platform 'standardized' are "
                    "taken as they are"
                )
        if self.ids is not None:
            check_choice("ids", self.ids, IdKind)
        check_range("block_size", self.block_size, 1)

    @property
    def standardized_by(self) -> Standardize | None:
        """Whose means and deviations are used; ``None`` for values that are standardised."""
        if self.platform == "standardized":
            return None
        return self.standardize or ("input" if self.platform == "rnaseq" else "training")
