"""The raw files of a study: a compendium with any number of named sets, or the original's five."""

# ruff: noqa: RUF009  (`setting` makes a field)

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgex_jax.config import (
    Normalize,
    PrepareConfig,
    Role,
    SetPlatform,
    Settings,
    Standardize,
    Values,
    documented,
    setting,
)
from dgex_jax.errors import StudyError
from dgex_jax.parts import ARRAYS_ALONE, PAPER, Parts, PartSet

if TYPE_CHECKING:
    from collections.abc import Mapping


@documented
@dataclass(frozen=True)
class RawFiles:
    """The five raw files of a study (paper section 2.1)."""

    geo: Path = setting(
        meaning="array profiles to train on, by probe id, log scale: GCTX, GCT, AnnData or a table",
        more=" (the paper: `bgedv2_QNORM.gctx`)",
    )
    gtex: Path = setting(
        meaning="RNA-seq samples to test on, by Ensembl id, same formats, or the GEUVADIS table",
        more=" (the paper: GTEx V4)",
    )
    thousand_genomes: Path = setting(
        key="1000g",
        meaning="RNA-seq samples to validate on, same formats",
        more=" (the paper: 1000 Genomes, GEUVADIS)",
    )
    landmarks: Path = setting(
        meaning="map of the landmark genes: symbol, Ensembl id, probes; tab-separated",
        more=" (original: `map_lm.txt`)",
    )
    targets: Path = setting(meaning="map of the target genes", more=" (original: `map_tg.txt`)")


@documented
@dataclass(frozen=True)
class GeoOnlyFiles:
    """The two raw files of a study of arrays alone, without RNA-seq (paper section 3.4)."""

    geo: Path = setting(
        meaning="profiles to train on, log scale: GCTX, GCT, AnnData or a table, as above; every "
        "row (`var`) that is no landmark is a target"
    )
    landmarks: Path = setting(
        meaning="which rows of `geo` are landmarks: a list, a table with them in some column, or a "
        "GCTX, GCT or AnnData file of which all rows are landmarks",
        more=". The table may be one of LINCS' gene tables (by `pr_is_lm` or `feature_space`), the "
        "file an L1000 file. By probe, Ensembl id, Entrez id or symbol, in the ids of `geo` or in "
        "its annotation, if each is one gene there ([inputs.md](inputs.md))",
    )


VALUES = (
    'what the values of the file are: "log2" or "log1p" (logarithms, taken as they are), "counts", '
    '"tpm", "rpkm" or "fpkm" (become log2(x + 1))'
)


@documented
@dataclass(frozen=True)
class Compendium(Settings):
    """The profiles a study is trained on, split into training, validation and test; its genes."""

    files: tuple[Path, ...] = setting(
        meaning="expression file, or several of one platform: the genes that all of them have, all "
        "their profiles, whose ids must differ",
        more=": GCTX, GCT, AnnData, ARCHS4 or a table",
    )
    landmarks: str | Path = setting(
        meaning='landmark genes: "l1000" (the 978 of the LINCS programme), or a list or a table of '
        "genes by any id (of a gene table those with `pr_is_lm`), or, with `targets`, a map of the "
        "original's form (`map_lm.txt`)",
    )
    targets: Path | None = setting(
        None,
        "target genes: a list or a map, as `landmarks`; by default all other genes that the "
        "compendium and the sets share",
    )
    name: str = setting("compendium", "what tables and figures call it")
    platform: SetPlatform = setting(
        "array", 'what measured it: "array", "rnaseq" or "l1000"', choices=SetPlatform
    )
    values: Values = setting("log2", VALUES, choices=Values)
    genes: Path | None = setting(
        None, "table that says of the rows of the files which gene they are", " (LINCS: gene_info)"
    )
    split_by: str | Path | None = setting(
        None,
        "profiles that belong together go to the same part: a field of the profiles' annotation "
        "(`series_id`), or a file of two columns (.tsv, .csv, .txt), profile and group; needs "
        '`scale_on` "train"',
        ". Several series in one cell are linked; a profile without a group is one of its own",
    )
    samples: Path | None = setting(
        None, "of an ARCHS4 file only these samples or series: a list of GSM or GSE ids"
    )
    sample: int | None = setting(
        None, "of an ARCHS4 file a random choice of so many samples", low=3
    )
    single_cell: float = setting(
        0.5,
        "samples of an ARCHS4 file whose `singlecellprobability` is at least this are left out",
        low=0.0,
        high=2.0,
    )


@documented
@dataclass(frozen=True)
class OtherSet(Settings):
    """A set to validate or to test on: one file, or landmarks and truth from two, paired."""

    platform: SetPlatform = setting(
        meaning='what measured it (its landmarks): "array", "rnaseq" or "l1000"',
        choices=SetPlatform,
    )
    file: Path | None = setting(None, "its expression file, landmarks and targets")
    landmarks: Path | None = setting(None, "instead of `file`: the file of its landmarks …")
    truth: Path | None = setting(None, "… and that of its targets, of the same samples")
    pairs: Path | None = setting(
        None,
        "table that says which profile of `landmarks` and which of `truth` are one sample; by "
        "default those of the same id",
    )
    role: Role = setting(
        "test",
        '"validation": epochs, k and lambda are chosen on it for its test sets; "test": nothing is',
        choices=Role,
    )
    validated_by: str | None = setting(
        None,
        'of a test set: the validation set that chooses for it, or "va", the compendium\'s own; by '
        "default the only validation set of the same platform, else va",
    )
    truth_platform: SetPlatform | None = setting(
        None, "what measured `truth`; by default `platform`", choices=SetPlatform
    )
    values: Values = setting("log2", VALUES, choices=Values)
    truth_values: Values | None = setting(
        None, "the same of `truth`; by default `values`", choices=Values
    )
    standardize: Standardize = setting(
        "input",
        'by whose means and deviations each gene is standardised: "input": the set\'s own (as the '
        'paper); "training": those of the compendium',
        choices=Standardize,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        paired = self.landmarks is not None and self.truth is not None
        if (self.file is not None) == paired or (self.landmarks is None) != (self.truth is None):
            raise StudyError("file: either it is given, or landmarks and truth are")
        if self.pairs is not None and not paired:
            raise StudyError("pairs: only landmarks and truth of two files are paired")
        for key in ("truth_values", "truth_platform"):
            if getattr(self, key) is not None and not paired:
                raise StudyError(f"{key}: means nothing without truth")
        if self.validated_by is not None and self.role == "validation":
            raise StudyError("validated_by: a validation set chooses by itself")

    @property
    def of_truth(self) -> Values:
        """What the values of its targets are."""
        return self.truth_values or self.values


@dataclass(frozen=True)
class StudyFiles:
    """The raw files of a study: a compendium, and any number of sets by name."""

    compendium: Compendium
    sets: Mapping[str, OtherSet]


AnyRawFiles = RawFiles | GeoOnlyFiles | StudyFiles


def paths_of(raw: AnyRawFiles) -> dict[str, Path]:
    """Give the path of each raw file by its role."""
    if not isinstance(raw, StudyFiles):
        return {one.name: getattr(raw, one.name) for one in dataclasses.fields(raw)}
    first, *more = raw.compendium.files
    paths: dict[str, Any] = {"compendium": first}
    paths |= {f"compendium {number}": path for number, path in enumerate(more, start=2)}
    for key in ("landmarks", "targets", "genes", "split_by", "samples"):
        paths[key] = getattr(raw.compendium, key)
    for name, one in raw.sets.items():
        paths[name] = one.file
        paths |= {f"{name} {key}": getattr(one, key) for key in ("landmarks", "truth", "pairs")}
    return {role: path for role, path in paths.items() if isinstance(path, Path)}


def as_study_files(raw: AnyRawFiles) -> StudyFiles:
    """Write the original's files as a compendium and its sets (paper sections 2.1 and 3.4)."""
    if isinstance(raw, StudyFiles):
        return raw
    if isinstance(raw, GeoOnlyFiles):
        return StudyFiles(Compendium((raw.geo,), raw.landmarks, name=ARRAYS_ALONE.compendium), {})
    compendium = Compendium((raw.geo,), raw.landmarks, raw.targets, PAPER.compendium)
    paths = {"1000G": raw.thousand_genomes, "GTEx": raw.gtex}
    sets = {one.name: OtherSet(one.platform, paths[one.name], role=one.role) for one in PAPER.sets}
    return StudyFiles(compendium, sets)


def normalization(raw: AnyRawFiles, config: PrepareConfig) -> Normalize:
    """Return how a study is normalised, where it does not say so by its form."""
    return config.normalize or ("quantile" if isinstance(raw, StudyFiles) else "original")


def parts_of(raw: AnyRawFiles) -> Parts:
    """Return the parts of a study of these files; raises `StudyError` for names that clash."""
    study = as_study_files(raw)
    validation = [(name, one) for name, one in study.sets.items() if one.role == "validation"]
    sets = []
    for name, one in study.sets.items():
        alike = [other for other, of in validation if of.platform == one.platform]
        chooser = one.validated_by or (alike[0] if len(alike) == 1 else "va")
        own = name if one.role == "validation" else chooser
        sets.append(PartSet(name, one.platform, one.role, own))
    return Parts(study.compendium.name, study.compendium.platform, tuple(sets))


def check_rules(raw: AnyRawFiles, config: PrepareConfig) -> None:
    """Raise `StudyError` where the files of a study can't be prepared as `config` says."""
    rule = normalization(raw, config)
    if not isinstance(raw, StudyFiles):
        if rule == "log_cpm":
            raise StudyError("normalize = 'log_cpm': is for counts, which a [compendium] may have")
        return
    if raw.compendium.split_by is not None and config.scale_on != "train":
        raise StudyError(
            'compendium.split_by: needs [prepare] scale_on = "train": scaled over all profiles, '
            "those held out look better inferred than they are"
        )
    values = {"compendium.values": raw.compendium.values}
    for name, one in raw.sets.items():
        if one.file is None and rule == "original":
            raise StudyError(f"sets.{name}: normalize = 'original' knows no paired files")
        values |= {f"sets.{name}.values": one.values, f"sets.{name}.truth_values": one.of_truth}
    for key, kind in values.items():
        if rule == "log_cpm" and kind != "counts":
            raise StudyError(f"{key} = {kind!r}: normalize = 'log_cpm' is for counts")
        if rule == "none" and (kind == "log1p") != (raw.compendium.values == "log1p"):
            raise StudyError(
                f"{key} = {kind!r}: with normalize = 'none' logarithms must be of one base, the "
                f"compendium's are {raw.compendium.values!r}"
            )


def described(config: Compendium | OtherSet) -> dict[str, Any]:
    """Give settings as JSON values; files by their names, wherever they lie."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return list(map(plain, value))
        return value.name if isinstance(value, Path) else value

    return {key: plain(value) for key, value in dataclasses.asdict(config).items()}
