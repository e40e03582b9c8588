"""A study's raw files as they are open: looked at while they are read, and on a log scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dgex_jax.io.expression import View
from dgex_jax.prepare.looks import Watched
from dgex_jax.prepare.normalize import LogScale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.config import Normalize, Platform, SetPlatform, Values
    from dgex_jax.io.expression import AnnotatedSource, ExpressionSource, FloatArray
    from dgex_jax.io.expression import Selection as Chosen
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.genes import Annotation, Selection
    from dgex_jax.prepare.prepared import GeneIds
    from dgex_jax.rawfiles import OtherSet

PLATFORMS: dict[SetPlatform, Platform] = {
    "array": "microarray",
    "rnaseq": "rnaseq",
    "l1000": "l1000",
}


class RawFile:
    """A raw file of a study as it is read: looked at, and on a log scale.

    `name` is for people; `path`, `profiles` and `genes` are those of the file.
    """

    def __init__(
        self,
        name: str,
        base: AnnotatedSource,
        platform: SetPlatform,
        values: Values,
        rule: Normalize,
    ) -> None:
        self.name, self.base = name, base
        self.platform, self.values, self.rule = platform, values, rule
        self.path, self.profiles, self.genes = base.path, base.profiles, base.genes
        self._watched = Watched(base)
        self._source = self._logs(self._watched)

    def _logs(self, source: ExpressionSource) -> ExpressionSource:
        if self.values in ("log2", "log1p"):
            return source
        return LogScale(source, per_million=self.rule == "log_cpm")

    @property
    def unwatched(self) -> ExpressionSource:
        """The same, to be read before."""
        return self._logs(self.base)

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the genes."""
        return self.base.gene_metadata

    def read(self, profiles: Chosen = None, genes: Chosen = None) -> FloatArray:
        """Read the next profiles, always the same genes of them."""
        return self._source.read(profiles, genes)

    def taken(self, profiles: NDArray[np.intp]) -> RawFile:
        """Return some of the profiles."""
        base = View(self.base, profile_places=profiles)
        return RawFile(self.name, base, self.platform, self.values, self.rule)

    def verdict(self, *, force: bool) -> tuple[list[str], list[str]]:
        """Judge what was read: notes and warnings; raises `FormatError` (see `Watched.verdict`)."""
        # The original takes values of any scale, by their ranks.
        said = None if self.rule == "original" else self.values
        note, warnings = self._watched.verdict(PLATFORMS[self.platform], said, force=force)
        if self.values == "counts" and self.rule == "quantile":
            warnings.append("counts know no lengths: ranks between genes depend on them")
        return [f"{self.name}: {note}"] * bool(note), [f"{self.name}: {one}" for one in warnings]


@dataclass(frozen=True)
class RawSet:
    """A set, open: the file of its landmarks, and that of its targets if it is another."""

    settings: OtherSet
    landmarks: RawFile
    truth: RawFile | None = None

    @property
    def sides(self) -> tuple[AnnotatedSource, AnnotatedSource]:
        """Give the file of the landmarks and that of the targets."""
        return self.landmarks.base, (self.truth or self.landmarks).base


@dataclass(frozen=True)
class RawSources:
    """The raw files of a study, open, and the genes that all platforms have."""

    parts: Parts
    compendium: RawFile
    sets: Mapping[str, RawSet]
    genes: Selection
    gene_ids: GeneIds
    annotation: Annotation
    """What is known of the compendium's rows."""
    notes: tuple[str, ...]
    """What was left out of the files, and by which names genes were found, a line each."""
    file_names: tuple[str, ...] | None = None
    """Of each profile of the compendium its file, if there are several."""
    group_names: tuple[str, ...] | None = None
    """Of each profile what it is split by, as written."""
    groups: NDArray[np.intp] | None = None
    """Of each profile the number of its group ``(n_profiles,)``."""

    def files(self) -> Iterator[RawFile]:
        """Give every file."""
        yield self.compendium
        for one in self.sets.values():
            yield one.landmarks
            if one.truth is not None:
                yield one.truth

    def taken(self, profiles: NDArray[np.intp]) -> RawSources:
        """Return some profiles of the compendium."""

        def some(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if texts is None else tuple(texts[place] for place in profiles.tolist())

        return replace(
            self,
            compendium=self.compendium.taken(profiles),
            file_names=some(self.file_names),
            group_names=some(self.group_names),
            groups=None if self.groups is None else self.groups[profiles],
        )
