"""The parts of a study by name: three of its compendium, and one for each further set."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dgex_jax.config import Role, SetPlatform, check_choice
from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OF_COMPENDIUM = ("tr", "va", "te")
"""The parts that a compendium is split into: training, validation, test."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
"""A set names files, columns and groups."""


@dataclass(frozen=True)
class PartSet:
    """A set of profiles beside the compendium.

    `validated_by` is the part on which whatever is tested on this set is chosen: a validation set,
    or ``va``; of a validation set itself.
    """

    name: str
    platform: SetPlatform
    role: Role
    validated_by: str


@dataclass(frozen=True)
class Parts:
    """The parts of a study; iterates over their names, training first.

    Parts of the compendium are called ``tr``, ``va``, ``te``, a set is one part and called by its
    name. Epochs, k and lambda are chosen on each of `choosers`, and each part shows the errors of
    what was chosen on its own (paper section 2.2: GEO-va for GEO, 1000G for RNA-seq).
    """

    compendium: str
    platform: SetPlatform
    sets: tuple[PartSet, ...] = ()

    def __post_init__(self) -> None:
        names = [self.compendium, *self.names]
        for place, name in enumerate(names):
            if not NAME.fullmatch(name):
                raise StudyError(f"{name!r}: names a set; use letters, digits and '-', '_', '.'")
            if name.casefold() in {*OF_COMPENDIUM, *(one.casefold() for one in names[:place])}:
                raise StudyError(f"{name!r}: is the name of another part, or of the compendium")
        validation = {"va", *(one.name for one in self.sets if one.role == "validation")}
        for one in self.sets:
            own = one.role == "validation"
            if one.validated_by not in validation or (own and one.validated_by != one.name):
                raise StudyError(
                    f"{one.name}: validated_by = {one.validated_by!r}: is no validation set"
                )

    def __iter__(self) -> Iterator[str]:
        return iter((*OF_COMPENDIUM, *self.names))

    def __contains__(self, part: object) -> bool:
        return part in tuple(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets."""
        return tuple(one.name for one in self.sets)

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The parts that a method is judged on: all but training."""
        return tuple(self)[1:]

    @property
    def logged(self) -> tuple[str, ...]:
        """Those whose errors each epoch logs, in the order of the log's columns."""
        return (*self.evaluated, "tr")

    @property
    def choosers(self) -> tuple[str, ...]:
        """The validation parts: ``va``, then the validation sets."""
        return ("va", *(one.name for one in self.sets if one.role == "validation"))

    def chooser_of(self, part: str) -> str:
        """Return the validation part that chooses what a part (not ``tr``) shows."""
        return "va" if part in OF_COMPENDIUM else self._set(part).validated_by

    def tests_of(self, chooser: str) -> tuple[str, ...]:
        """Return the parts that test, unseen, what was chosen on a validation part."""
        tests = [one.name for one in self.sets if one.role == "test"]
        first = ["te"] if chooser == "va" else []
        return (*first, *(name for name in tests if self.chooser_of(name) == chooser))

    def platform_of(self, part: str) -> SetPlatform:
        """Return the platform of a part's truth."""
        return self.platform if part in OF_COMPENDIUM else self._set(part).platform

    def label(self, part: str) -> str:
        """Name a part for people, as the paper does: ``GEO-tr``, ``1000G-va``, ``GTEx-te``."""
        if part in OF_COMPENDIUM:
            return f"{self.compendium}-{part}"
        return f"{part}-{'va' if self._set(part).role == 'validation' else 'te'}"

    def test_for(self, platform: str) -> str:
        """Return the part whose errors tell what to expect of profiles of a platform.

        The first test set of it, else the compendium's own test part.
        """
        fitting = (one.name for one in self.sets if (one.role, one.platform) == ("test", platform))
        return "te" if platform == self.platform else next(fitting, "te")

    def _set(self, name: str) -> PartSet:
        for one in self.sets:
            if one.name == name:
                return one
        raise KeyError(f"{name!r} is not one of {', '.join(self)}")

    def to_json(self) -> dict[str, Any]:
        """Write the parts as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Parts:
        """Undo `to_json`; raises `StudyError` for what can't be used."""
        try:
            sets = tuple(PartSet(**one) for one in content["sets"])
            found = cls(content["compendium"], content["platform"], sets)
        except (KeyError, TypeError) as error:
            raise StudyError(f"parts: {error!r}") from error
        for platform in (found.platform, *(one.platform for one in sets)):
            check_choice("platform", platform, SetPlatform)
        for one in sets:
            check_choice("role", one.role, Role)
        return found


ARRAYS_ALONE = Parts("GEO", "array")
"""A study of arrays alone (paper section 3.4)."""
PAPER = Parts(
    "GEO",
    "array",
    (PartSet("1000G", "rnaseq", "validation", "1000G"), PartSet("GTEx", "rnaseq", "test", "1000G")),
)
"""The paper's study (section 2.1)."""
