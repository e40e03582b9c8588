"""A study: a small TOML file that says which raw files, which networks, how long to train.

``docs/reference/study.md`` explains every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from dgex_jax.config import (
    BaselineConfig,
    GridConfig,
    JobsConfig,
    PrepareConfig,
    TrainingConfig,
)
from dgex_jax.errors import StudyError
from dgex_jax.parts import PAPER, Parts
from dgex_jax.rawfiles import (
    AnyRawFiles,
    Compendium,
    GeoOnlyFiles,
    OtherSet,
    RawFiles,
    StudyFiles,
    check_rules,
    described,
    parts_of,
)
from dgex_jax.simulate.config import SimulationConfig

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

T = TypeVar("T")

FILE_KEYS = {one.metadata["key"] or one.name: one.name for one in dataclasses.fields(RawFiles)}
GEO_ONLY_KEYS = tuple(one.name for one in dataclasses.fields(GeoOnlyFiles))
SECTIONS: dict[str, type[Any]] = {
    "simulate": SimulationConfig,
    "prepare": PrepareConfig,
    "networks": GridConfig,
    "training": TrainingConfig,
    "baselines": BaselineConfig,
    "jobs": JobsConfig,
}
FACTS = ("source", "licence")
"""What a study may say of its data, a line each."""
FORMS = ("compendium", "files", "simulate")
"""Where a study's profiles come from."""
BUILT_IN = ("l1000",)
"""Landmarks that come with the program."""
TABLES = (".tsv", ".csv", ".txt", ".gz")
"""Endings of a file where a field may be named as well."""
NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}

MAX_BYTES = 1 << 16
MAX_LINE = 1 << 12
"""Of a study file and a line of it, many times what all keys take. A key of many parts (``a.b.c…``)
takes Python's parser time by the square of their number: minutes for 200 KB."""


@dataclass(frozen=True)
class Study:
    """What a study file says."""

    name: str
    """Names the folders of results."""
    title: str
    """One line for tables and reports."""
    files: AnyRawFiles | None
    """``None`` for a simulated study, whose files are made on the spot."""
    simulation: SimulationConfig | None
    """The simulator's settings; ``None`` for a study of real files."""
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    jobs: JobsConfig = field(default_factory=JobsConfig)
    source: str = ""
    """Where the data are from, in a line; empty where the file does not say."""
    licence: str = ""
    """Under which terms they may be used, likewise."""

    @property
    def simulated(self) -> bool:
        """Whether the expression values are made up."""
        return self.simulation is not None

    def preparation_settings(self) -> dict[str, Any]:
        """Everything that decides what the prepared study holds, as JSON values.

        The study's name, title, source and licence are recorded beside them and decide nothing.
        """
        settings = {
            "simulation": dataclasses.asdict(self.simulation) if self.simulation else None,
            "prepare": rules_of(self.prepare),
        }
        if isinstance(self.files, StudyFiles):
            settings["compendium"] = described(self.files.compendium)
            settings["sets"] = {name: described(one) for name, one in self.files.sets.items()}
        return settings

    @property
    def parts(self) -> Parts:
        """The parts of the study by name."""
        return PAPER if self.files is None else parts_of(self.files)

    def is_prepared_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether recorded settings (`Prepared.settings`) are this study's.

        The first versions recorded the study's name and title among them: these don't count.
        """
        decisive = {key: one for key, one in settings.items() if key not in ("name", "title")}
        return decisive == self.preparation_settings()


def rules_of(config: PrepareConfig) -> dict[str, Any]:
    """Give what of `config` decides what a prepared study holds."""
    default = PrepareConfig()
    # Finished studies of versions without these settings stay as they are.
    younger = ("force_platform", "normalize", "max_zero_share", "min_genes")
    return {
        key: value
        for key, value in dataclasses.asdict(config).items()
        if key != "block_size" and (key not in younger or value != getattr(default, key))
    }


def read_study(path: Path) -> Study:
    """Read a study file; relative paths in it are relative to its folder.

    Raises `StudyError` if it can't be read, or for a key or value that can't be used (named, with
    the nearest known key).
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StudyError(f"{path}: can't be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise StudyError(f"{path}: is larger than a study file can be ({MAX_BYTES} bytes)")
    try:
        _check_lines(raw)
        content = tomllib.loads(raw.decode())
        _check_whole_numbers(content)
        return parse_study(content, path.parent)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    except RecursionError as error:
        raise StudyError(f"{path}: is no TOML: nested too deeply") from error
    except ValueError as error:
        raise StudyError(f"{path}: is no TOML: {error}") from error


def _check_lines(raw: bytes) -> None:
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if len(line) > MAX_LINE:
            raise StudyError(f"is no TOML: line {number} is longer than {MAX_LINE} bytes")


def _check_whole_numbers(content: Mapping[str, Any]) -> None:
    """Raise `StudyError` for a number beyond the 64 bits that TOML promises.

    Python reads any, but neither makes a float of it nor writes one of thousands of digits. Dotted
    keys nest deeper than recursion goes.
    """
    values: list[Any] = [content]
    while values:
        value = values.pop()
        if isinstance(value, dict | list):
            values += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise StudyError("is no TOML: a whole number of more than 64 bits")


def parse_study(content: Mapping[str, Any], folder: Path) -> Study:
    """Make a study of the parsed TOML (see `read_study`)."""
    _refuse_unknown(content, ["name", "title", *FACTS, *FORMS, "sets", *SECTIONS], "")
    name = text(content, "name")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name[0] == ".":
        raise StudyError(f"name = {name!r}: names a folder; use letters, digits, '-', '_' and '.'")
    if sum(form in content for form in FORMS) != 1:
        raise StudyError(
            "needs one of [compendium] (with [sets.NAME]), [files] (the original's) and [simulate]"
        )
    if "sets" in content and "compendium" not in content:
        raise StudyError("sets: belong to a [compendium]")
    parts = {
        key: build(kind, _table(content, key), key, folder)
        for key, kind in SECTIONS.items()
        if key in content or key != "simulate"
    }
    files: AnyRawFiles | None = None
    if "files" in content:
        files = _raw_files(_table(content, "files"), folder)
    elif "compendium" in content:
        files = _collection(content, folder)
    if files is not None:
        check_rules(files, parts["prepare"])
    return Study(
        name=name,
        title=text(content, "title"),
        files=files,
        simulation=parts.get("simulate"),
        prepare=parts["prepare"],
        grid=parts["networks"],
        training=parts["training"],
        baselines=parts["baselines"],
        jobs=parts["jobs"],
        **{key: text(content, key) for key in FACTS if key in content},
    )


def _raw_files(content: Mapping[str, Any], folder: Path) -> AnyRawFiles:
    """Read ``[files]``: a path for each of the five raw files, or for ``geo`` and ``landmarks``."""
    _refuse_unknown(content, FILE_KEYS, "files.")
    geo_only = set(content) == set(GEO_ONLY_KEYS)
    paths = {}
    for key in GEO_ONLY_KEYS if geo_only else FILE_KEYS:
        paths[FILE_KEYS[key]] = _path(text(content, key, "files."), f"files.{key}", folder)
    return GeoOnlyFiles(**paths) if geo_only else RawFiles(**paths)


def _path(value: Any, key: str, folder: Path) -> Path:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise StudyError(f"{key} = {value!r}: is no name of a file")
    try:
        return folder / Path(value).expanduser()
    except RuntimeError as error:
        raise StudyError(f"{key} = {value!r}: there is no such user") from error


def _collection(content: Mapping[str, Any], folder: Path) -> StudyFiles:
    """Read ``[compendium]`` and its ``[sets.NAME]``."""
    compendium = build(Compendium, _table(content, "compendium"), "compendium", folder)
    tables = _table(content, "sets")
    sets: dict[str, OtherSet] = {
        name: build(OtherSet, _table(tables, name), f"sets.{name}", folder) for name in tables
    }
    found = StudyFiles(compendium, sets)
    parts_of(found)
    return found


def build(kind: type[T], content: Mapping[str, Any], section: str, folder: Path = Path()) -> T:
    """Make a frozen dataclass of a TOML table, its values checked against the field types.

    Paths are relative to `folder`.
    """
    hints = get_type_hints(kind)
    _refuse_unknown(content, hints, f"{section}.")
    values = {
        key: _coerce(value, hints[key], f"{section}.{key}", folder)
        for key, value in content.items()
    }
    for one in dataclasses.fields(cast("Any", kind)):
        if one.default is dataclasses.MISSING and one.name not in values:
            raise StudyError(f"{section}.{one.name}: is missing: {one.metadata['meaning']}")
    try:
        return kind(**values)
    except StudyError as error:
        raise StudyError(f"{section}.{error}") from error


def _coerce(value: Any, hint: Any, key: str, folder: Path) -> Any:
    """Check a TOML value against a type hint; an integer may stand for a float, "auto" for None."""
    origin, arguments = get_origin(hint), get_args(hint)
    # With a Literal, `|` makes a Union of another kind.
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, key, folder)
    if origin is tuple:
        values = [value] if isinstance(value, str) and arguments[0] is Path else value
        if not isinstance(values, list) or not values:
            raise StudyError(f"{key} = {value!r}: must be a list that is not empty")
        return tuple(_coerce(item, arguments[0], key, folder) for item in values)
    if origin is Literal or hint is Path:
        return value if hint is not Path else _path(value, key, folder)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise StudyError(f"{key} = {value!r}: must be {NAMES[hint]}")
    return value


def _one_of(value: Any, kinds: tuple[Any, ...], key: str, folder: Path) -> Any:
    """Check a value that may be ``None`` ("auto"), or stands for itself or for a file."""
    if value == "auto" and type(None) in kinds:
        return None
    first, *others = (kind for kind in kinds if kind is not type(None))
    if not others:
        return _coerce(value, first, key, folder)
    is_name = value in BUILT_IN or (key.endswith("split_by") and not str(value).endswith(TABLES))
    return _coerce(value, str if is_name else Path, key, folder)


def text(content: Mapping[str, Any], key: str, section: str = "") -> str:
    """Return a text that must be there and not be empty."""
    value = content.get(key)
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"{section}{key}: is missing (a text that is not empty)")
    return value


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, dict):
        raise StudyError(f"{key} = {value!r}: must be a table [{key}]")
    return value


def _refuse_unknown(content: Mapping[str, Any], known: Collection[str], section: str) -> None:
    """Raise `StudyError` for a key that is not known, naming the nearest one that is."""
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)
            hint = f"; the nearest known key is {section}{near[0]}" if near else ""
            raise StudyError(f"{section}{key}: unknown key{hint}")
