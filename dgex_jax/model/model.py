"""A trained model, and its folder (docs/reference/models.md), complete or not there at all."""

from __future__ import annotations

import json
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.io.expression import Genes, check_storable
from dgex_jax.io.files import (
    fill_tensors,
    one_line,
    read_head,
    reading,
    replace_folder,
    restore_folder,
    sync,
    temporary_folder,
    writing,
)
from dgex_jax.io.manifest import SEAL, file_sha256, is_sealed, sealed
from dgex_jax.methods.kinds import load_fitted
from dgex_jax.methods.network import Network
from dgex_jax.methods.uncertainty import Uncertainty
from dgex_jax.parts import PAPER, Parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import Normalize, Platform, Values
    from dgex_jax.methods import Fitted
    from dgex_jax.methods.uncertainty import Calibration

MODEL_FILES = ("model.json", "weights.safetensors", "genes.tsv", "reference.safetensors")
DESCRIPTION, WEIGHTS, GENES, REFERENCE = MODEL_FILES
UNCERTAINTY = "uncertainty.safetensors"
"""Of models that know how sure they are."""
EVERY_FILE = {*MODEL_FILES, UNCERTAINTY}
FORMAT, FORMAT_VERSION = "dgex model", 4
WITHOUT_HALF_PRECISION = 3
"""Version of a model whose weights are float32, which older programs read."""
STORED = "weights_stored_as"
LANDMARK, TARGET = "landmark", "target"
OBJECTS = ("counts", "training", "files")

QUANTILE, LANDMARK_QUANTILE = "quantile", "landmark_quantile"
ERROR, R2 = "MAE_", "R2_"
COLUMNS = (
    *("role", "ensembl", "symbol", "entrez", "probes", "mean", "sd"),
    *("half", "copy_of_landmark"),
)
"""Of ``genes.tsv``; the last two and the errors that follow are of targets alone."""

TRUSTED = 0.5
"""Expected error, in standardised units, below which a gene is called worth trusting: half of its
standard deviation in training."""


@dataclass(frozen=True)
class ModelGenes(Genes):
    """Landmark or target genes of a model, in its order.

    `mean` and `sd` are ``(n_genes,)`` float64: standardised = (value - mean) / sd on the reference
    scale, over GEO (`sd` holds the original's + 1e-3).
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def names(self, places: Sequence[int]) -> list[str]:
        """Name genes as a reader knows them: by symbol, else by the first id they have."""
        return [
            self.symbols[place]
            or self.ensembl[place]
            or self.entrez[place]
            or ",".join(self.probes[place])
            for place in places
        ]


@dataclass(frozen=True)
class Model:
    """A trained model with all it needs to infer target genes from profiles it has never seen.

    `method` infers standardised targets of standardised landmarks; it was chosen (of a network the
    best epoch) `selected_on` a validation part of the study's `parts`. `quantile`
    ``(n_landmarks + n_targets,)`` float64 is GEO's reference quantile of all genes, growing,
    ``None`` for a study without quantile normalisation; `landmark_quantile` ``(n_landmarks,)`` the
    same of the landmarks alone, over GEO-tr. `errors`: part (`Parts.evaluated`) → ``(n_targets,)``
    float64 MAE of these very weights, standardised units; `r2`: test part → ``(n_targets,)``
    float64, NaN where it is not defined. `uncertainty`: intervals, and what training was like;
    ``None`` of models made before there was such a thing. `record`: how it was trained, as JSON
    values (study, settings, seeds, versions, checksums). `copy_of_landmark` ``(n_targets,)`` bool:
    the target has the Ensembl id of a landmark; ``None`` if not known. With `half_precision` the
    method's tensors hold values of float16 (`in_half_precision`), and are stored so.
    """

    landmarks: ModelGenes
    targets: ModelGenes
    method: Fitted
    selected_on: str
    quantile: NDArray[np.float64] | None
    landmark_quantile: NDArray[np.float64]
    errors: Mapping[str, NDArray[np.float64]]
    record: Mapping[str, Any]
    parts: Parts
    copy_of_landmark: NDArray[np.bool_] | None = None
    r2: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    uncertainty: Uncertainty | None = None
    half_precision: bool = False

    @property
    def n_parameters(self) -> int:
        """Number of values in the method's tensors: of a network its weights and biases."""
        return sum(int(array.size) for array in self.method.tensors.values())

    @property
    def half_sizes(self) -> tuple[int, ...]:
        """Targets of each network, which come in this order; of other methods all in one."""
        method = self.method
        return method.half_sizes if isinstance(method, Network) else (method.n_targets,)

    @property
    def expected_on(self) -> str | None:
        """Part whose errors are those to expect of unseen profiles; ``None`` without errors."""
        tests = self.parts.tests_of(self.selected_on)
        return next((part for part in tests if part in self.errors), None)

    def expected_for(self, platform: Platform) -> str | None:
        """Part whose errors to expect: the test set of a platform; without it as `expected_on`."""
        part = self.parts.test_for("array" if platform == "microarray" else platform)
        return part if part in self.errors else self.expected_on

    def interval_for(self, platform: Platform) -> Calibration:
        """Give the intervals for profiles of a platform.

        Those calibrated on the validation part of the set whose errors are to be expected, else on
        the part that chose the model. Raises `DgexError` if the model has none.
        """
        if self.uncertainty is None or not self.uncertainty.calibrated:
            raise DgexError(
                "interval: this model has none, it was made before there were any; export or fit "
                "it again"
            )
        part, calibrated = self.expected_for(platform), self.uncertainty.calibrated
        chooser = self.selected_on if part is None else self.parts.chooser_of(part)
        return calibrated.get(chooser) or calibrated[self.selected_on]

    @property
    def normalize(self) -> Normalize:
        """How the study's profiles were brought on one scale (`PrepareConfig.normalize`)."""
        said: Normalize | None = known(self.record, str, "settings", "prepare", "normalize")
        return said or "original"

    @property
    def values(self) -> Values:
        """What the values of the compendium were (`Compendium.values`)."""
        said: Values | None = known(self.record, str, "settings", "prepare", "values")
        return said or "log2"

    @property
    def simulated(self) -> bool | None:
        """Whether the study's values are made up; ``None`` if the record does not say."""
        said: bool | None = known(self.record, bool, "study", "simulated")
        return said


def known(record: Mapping[str, Any], kind: Any, *keys: str) -> Any:
    """Give an entry of the record, ``None`` where it is missing or of another kind."""
    value: Any = record
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    if isinstance(value, bool) and kind is not bool:
        return None
    return value if isinstance(value, kind) else None


def refuse_place(final: Path, overwrite: bool) -> None:
    """Raise `DgexError` if a model may not go to `final`; changes nothing.

    It may be no file, no folder with anything but a model, nor (unless `overwrite`) a model.
    """
    with reading(final):
        if final.exists() and not final.is_dir():
            raise DgexError(f"{final}: is a file, not a model folder")
        found = {path.name for path in final.iterdir()} if final.exists() else set()
    if strangers := found - EVERY_FILE:
        raise DgexError(f"{final}: is no model folder: it holds {min(strangers)}")
    if found and DESCRIPTION not in found:
        raise DgexError(f"{final}: is no model folder: it holds {min(found)} but no {DESCRIPTION}")
    if found and not overwrite:
        raise DgexError(
            f"{final}: holds a model; choose another folder, or --overwrite to replace it"
        )


def write_model(path: Path | str, model: Model, *, overwrite: bool = False) -> None:
    """Write a model folder; the same model gives the same bytes.

    It is filled under another name and read again before it is moved to `path`; a symbolic link
    there keeps pointing at the folder it names. With `overwrite` a model that is there is replaced.
    Raises `DgexError` if the folder holds something else, can't be written, or the model's pieces
    don't fit each other; an older model is left as it was.
    """
    path = Path(path)
    with _model_folder(path, overwrite=overwrite) as folder:
        try:
            _write_genes(folder / GENES, model)
            _write_tensors(folder, model)
            _write_description(folder / DESCRIPTION, model)
            read_model(folder)
        except (DgexError, OSError, SafetensorError) as error:
            # Nobody has seen the temporary folder, nor need know which writer failed how.
            cause = one_line(error).removeprefix(f"{folder}").lstrip(": /")
            cause = cause.replace("can't be written: ", "")
            raise DgexError(f"{path}: can't be written: {cause}") from error


@contextmanager
def _model_folder(final: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside `final`; move it to `final` when the block succeeds."""
    place = final.resolve()
    with writing(final):
        restore_folder(place)
        refuse_place(final, overwrite)
        with temporary_folder(place) as folder:
            yield folder
            refuse_place(final, overwrite)
            if strangers := {path.name for path in folder.iterdir()} - EVERY_FILE:
                raise DgexError(f"{final}: can't be written: {min(strangers)} can't be removed")
            for path in (*folder.iterdir(), folder):
                sync(path, os.O_RDONLY)
            replace_folder(folder, place)


def read_model(path: Path | str) -> Model:
    """Read a model folder as it was written, to the last bit, and check all of it.

    Raises `FormatError` if there is no model, a newer version made it, a file is missing or damaged
    (by its sha256), its pieces don't fit each other, or a value is not finite.
    """
    path = Path(path)
    if not path.is_dir():
        cause = "is a file, not a model folder" if path.exists() else "no such model folder"
        raise FormatError(f"{path}: {cause}")
    if not (path / DESCRIPTION).exists():
        raise FormatError(f"{path}: is no model folder: it has no {DESCRIPTION}")
    content = _read_description(path / DESCRIPTION)
    for name in (*MODEL_FILES[1:], *({UNCERTAINTY} & content["files"].keys())):
        read_head(path / name)
        if checksum(path / name) != content["files"].get(name):
            raise FormatError(
                f"{path / name}: damaged or replaced: its sha256 is not the one in {DESCRIPTION}"
            )
    parts = _parts_of(path / DESCRIPTION, content)
    genes, half_sizes = _read_genes(path / GENES, parts)
    n_landmarks, n_targets = len(genes["landmarks"]), len(genes["targets"])
    half_precision = _half_precision(path / DESCRIPTION, content)
    tensors = _read_tensors(path / WEIGHTS, np.float16 if half_precision else np.float32)
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    method = _method_of(path, content, tensors)
    reference = _read_tensors(path / REFERENCE, np.float64)
    _check_reference(path / REFERENCE, reference, n_landmarks, n_targets)
    if (method.n_landmarks, method.n_targets) != (n_landmarks, n_targets):
        raise FormatError(
            f"{path / WEIGHTS}: infers {method.n_targets} targets of {method.n_landmarks} "
            f"landmarks, but {GENES} has {n_targets} and {n_landmarks}"
        )
    n_parameters = sum(int(values.size) for values in tensors.values())
    counts = {"landmarks": n_landmarks, "targets": n_targets, "parameters": n_parameters}
    if content.get("counts") != counts:
        cause = f"counts = {content.get('counts')}, but {counts} by the other files"
        raise FormatError(f"{path / DESCRIPTION}: {cause}")
    model = Model(
        **genes,
        method=method,
        selected_on=content["selected_on"],
        parts=parts,
        quantile=reference.get(QUANTILE),
        landmark_quantile=reference[LANDMARK_QUANTILE],
        record=content["training"],
        uncertainty=_uncertainty_of(path, content, (n_landmarks, n_targets)),
        half_precision=half_precision,
    )
    if model.half_sizes != half_sizes:
        found = f"{list(model.half_sizes)}, but {list(half_sizes)}"
        raise FormatError(f"{path / DESCRIPTION}: half_sizes = {found} by the other files")
    return model


# --- model.json


def _write_description(path: Path, model: Model) -> None:
    """Write ``model.json`` for the other files, which lie beside it already."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if model.half_precision else WITHOUT_HALF_PRECISION,
        **({STORED: "float16"} if model.half_precision else {}),
        "method": {"kind": model.method.kind, "settings": model.method.settings},
        "selected_on": model.selected_on,
        "parts": model.parts.to_json(),
        "counts": {
            "landmarks": len(model.landmarks),
            "targets": len(model.targets),
            "parameters": model.n_parameters,
        },
        "training": dict(model.record),
        **({} if model.uncertainty is None else {"uncertainty": model.uncertainty.settings()}),
        "files": {
            name: file_sha256(path.with_name(name))
            for name in (*MODEL_FILES[1:], UNCERTAINTY)
            if path.with_name(name).exists()
        },
    }
    try:
        text = json.dumps(sealed(content), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_bytes(f"{text}\n".encode())
    except (TypeError, ValueError, RecursionError) as error:
        cause = one_line(error)
        raise DgexError(f"the training record can't be stored as JSON: {cause}") from error


def _read_description(path: Path) -> dict[str, Any]:
    """Read ``model.json``, and verify its own checksum and the version of its format."""
    read_head(path)
    try:
        content = json.loads(path.read_bytes().decode())
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: damaged: is no JSON ({one_line(error)})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FormatError(f"{path}: describes no D-GEX model (format is not {FORMAT!r})")
    version = content.get("format_version")
    if type(version) is not int or version < 1:
        raise FormatError(f"{path}: format_version = {version!r}: there is no such format")
    # A newer version may describe itself otherwise.
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path}: made by a newer version of this program (model format {version}; this one "
            f"reads up to {FORMAT_VERSION})"
        )
    if not is_sealed(content):
        raise FormatError(f"{path}: damaged or edited: its content does not match {SEAL}")
    for name in OBJECTS:
        if not isinstance(content.get(name), dict):
            raise FormatError(f"{path}: {name} is missing or not an object")
    return content


def _half_precision(path: Path, content: Mapping[str, Any]) -> bool:
    stored = content.get(STORED, "float32")
    if stored not in {"float16", "float32"}:
        raise FormatError(f"{path}: {STORED} = {stored!r}: must be 'float16' or 'float32'")
    return bool(stored == "float16")


def _parts_of(path: Path, content: Mapping[str, Any]) -> Parts:
    """Give the parts of the study a model was trained on; of format 1 the paper's."""
    try:
        parts = PAPER if content["format_version"] == 1 else Parts.from_json(content["parts"])
    except (KeyError, TypeError, StudyError) as error:
        raise FormatError(f"{path}: parts: can't be used: {one_line(error)}") from error
    if content.get("selected_on") not in [*parts.choosers]:
        known = " or ".join(map(repr, parts.choosers))
        raise FormatError(f"{path}: selected_on = {content.get('selected_on')!r}: must be {known}")
    return parts


def _method_of(path: Path, content: Mapping[str, Any], tensors: Mapping[str, Any]) -> Fitted:
    """Make the fitted method that a model folder describes; formats 1 and 2 had networks alone."""
    try:
        if content["format_version"] < 3:
            settings = {**content["network"], "half_sizes": content["half_sizes"]}
            return load_fitted(Network.kind, settings, tensors)
        return load_fitted(content["method"]["kind"], content["method"]["settings"], tensors)
    except (KeyError, TypeError, FormatError) as error:
        cause = one_line(error)
        if cause.startswith("tensor "):
            raise FormatError(f"{path / WEIGHTS}: {cause}") from error
        raise FormatError(f"{path / DESCRIPTION}: method: can't be used: {cause}") from error


def _uncertainty_of(
    path: Path, content: Mapping[str, Any], sizes: tuple[int, int]
) -> Uncertainty | None:
    """Read how sure a model is, where its folder says so."""
    if UNCERTAINTY not in content["files"]:
        return None
    tensors = _read_tensors(path / UNCERTAINTY, np.float32)
    try:
        made = Uncertainty.load(content.get("uncertainty", {}), tensors)
    except DgexError as error:
        raise FormatError(f"{path / UNCERTAINTY}: can't be used: {one_line(error)}") from error
    widths = {one.widths.shape[1] for one in made.calibrated.values()}
    if {made.anchors.shape[1], *widths} - {*sizes}:
        raise FormatError(f"{path / UNCERTAINTY}: is of another number of genes")
    return made


def checksum(path: Path) -> str:
    """Checksum of a file (hexadecimal sha256); raises `FormatError` if it can't be read."""
    with reading(path):
        return file_sha256(path)


# --- tensors: those of the weights are float32, the quantiles float64


def _write_tensors(folder: Path, model: Model) -> None:
    about = {"method": model.method.title, "selected_on": model.selected_on}
    if model.simulated:
        about["data"] = "simulated"
    reference = {LANDMARK_QUANTILE: model.landmark_quantile}
    if model.quantile is not None:
        reference[QUANTILE] = model.quantile
    written: list[tuple[str, Mapping[str, NDArray[Any]], dict[str, str] | None]] = [
        (WEIGHTS, _stored(model), {"dgex": json.dumps(about, sort_keys=True)}),
        (REFERENCE, reference, None),
    ]
    if model.uncertainty is not None:
        written.append((UNCERTAINTY, model.uncertainty.tensors(), None))
    for name, tensors, more in written:
        path = folder / name
        path.touch()
        fill_tensors(path, {key: np.ascontiguousarray(tensors[key]) for key in tensors}, path, more)


def _stored(model: Model) -> Mapping[str, NDArray[Any]]:
    """Give the tensors of the method as they are written."""
    tensors = model.method.tensors
    if not model.half_precision:
        return tensors
    with np.errstate(over="ignore"):
        halves = {name: values.astype(np.float16) for name, values in tensors.items()}
    for name, values in halves.items():
        if not np.array_equal(values, tensors[name]):
            raise DgexError(f"half precision: tensor {name} has values that float16 can't hold")
    return halves


def _read_tensors(path: Path, dtype: type[np.floating[Any]]) -> dict[str, NDArray[Any]]:
    """Read finite tensors of a dtype."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    for name, values in tensors.items():
        if values.dtype != dtype:
            raise FormatError(f"{path}: tensor {name} is {values.dtype}, not {dtype.__name__}")
        _check_finite(path, name, values)
    return tensors


def _check_reference(
    path: Path, tensors: Mapping[str, NDArray[Any]], n_landmarks: int, n_targets: int
) -> None:
    if LANDMARK_QUANTILE not in tensors:
        raise FormatError(f"{path}: tensor {LANDMARK_QUANTILE} is missing")
    wanted = {LANDMARK_QUANTILE: (n_landmarks,), QUANTILE: (n_landmarks + n_targets,)}
    for name, values in tensors.items():
        if name not in wanted:
            raise FormatError(f"{path}: tensor {name} belongs to no such model")
        if values.shape != wanted[name]:
            raise FormatError(
                f"{path}: tensor {name} has shape {values.shape}, expected {wanted[name]}"
            )


def _check_finite(path: Path, name: str, values: NDArray[Any]) -> None:
    n_bad = int(values.size - np.isfinite(values).sum())
    if n_bad:
        raise FormatError(f"{path}: {name}: {n_bad} values are not finite")


# --- genes.tsv: a line for each landmark, then for each target. Numbers have as many digits as it
# takes to read the same float64 again.


def _write_genes(path: Path, model: Model) -> None:
    columns = {
        f"{name}{part}": of_part[part]
        for name, of_part in ((ERROR, model.errors), (R2, model.r2))
        for part in model.parts.evaluated
        if part in of_part
    }
    lines = ["\t".join([*COLUMNS, *columns])]
    landmarks, targets = model.landmarks, model.targets
    nothing = [[""] * len(landmarks)] * (2 + len(columns))
    lines += map("\t".join, zip(*_gene_cells(path, LANDMARK, landmarks), *nothing, strict=True))
    halves = [str(n) for n, size in enumerate(model.half_sizes, start=1) for _ in range(size)]
    copies = [""] * len(targets)
    if model.copy_of_landmark is not None:
        copies = list(map(str, model.copy_of_landmark.astype(int).tolist()))
    numbers = [_texts(values) for values in columns.values()]
    # Pieces of another length are found when the folder is read again.
    about = zip(*_gene_cells(path, TARGET, targets), halves, copies, *numbers, strict=False)
    lines += map("\t".join, about)
    path.write_bytes(("\n".join(lines) + "\n").encode())


def _gene_cells(path: Path, role: str, genes: ModelGenes) -> list[Sequence[str]]:
    ids = genes.columns()
    for name in COLUMNS[1:4]:
        check_storable(path, f"{name} of a {role}", ids[name], "\t\n\r\0")
    for probes in genes.probes:
        check_storable(path, f"probe of a {role}", probes, "\t\n\r\0,")
        if "" in probes:
            raise FormatError(f"{path}: a probe of a {role} has no name")
    return [[role] * len(genes), *ids.values(), _texts(genes.mean), _texts(genes.sd)]


def _texts(values: NDArray[np.float64]) -> list[str]:
    return ["" if math.isnan(value) else repr(value) for value in values.tolist()]


def _read_genes(path: Path, of_study: Parts) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Read what `_write_genes` wrote, as parts of a `Model`, and the targets of each half."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    names, *rows = (line.split("\t") for line in text.removesuffix("\n").split("\n"))
    parts, scored = (
        [part for part in of_study.evaluated if f"{name}{part}" in names] for name in (ERROR, R2)
    )
    columns = [*(f"{ERROR}{part}" for part in parts), *(f"{R2}{part}" for part in scored)]
    if names != [*COLUMNS, *columns]:
        raise FormatError(f"{path}: line 1: are not the columns of a model's genes")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise FormatError(f"{path}: line {number}: {len(row)} columns, not {len(names)}")
    roles = [row[0] for row in rows]
    n = roles.count(LANDMARK)
    if not 0 < n < len(rows) or roles != [LANDMARK] * n + [TARGET] * (len(rows) - n):
        raise FormatError(f"{path}: are not the landmarks, then the targets of a model")
    landmarks, targets = (
        dict(zip(names, zip(*some, strict=True), strict=True)) for some in (rows[:n], rows[n:])
    )
    sizes = tuple(targets["half"].count(half) for half in ("1", "2"))
    if targets["half"] != ("1",) * sizes[0] + ("2",) * sizes[1]:
        raise FormatError(f"{path}: half is not a run of 1, then a run of 2")
    copies = targets["copy_of_landmark"]
    if any(copies) and not set(copies) <= {"0", "1"}:
        raise FormatError(f"{path}: copy_of_landmark is neither 0 nor 1")
    genes = {
        "landmarks": _genes(path, landmarks),
        "targets": _genes(path, targets),
        "copy_of_landmark": np.array(copies) == "1" if any(copies) else None,
        "errors": {part: _numbers(path, targets, f"{ERROR}{part}") for part in parts},
        "r2": {part: _numbers(path, targets, f"{R2}{part}", gaps=True) for part in scored},
    }
    return genes, sizes if sizes[1] else sizes[:1]


def _genes(path: Path, columns: Mapping[str, Sequence[str]]) -> ModelGenes:
    ensembl, symbols, entrez = (tuple(columns[name]) for name in COLUMNS[1:4])
    probes = tuple(tuple(cell.split(",")) if cell else () for cell in columns["probes"])
    mean, sd = _numbers(path, columns, "mean"), _numbers(path, columns, "sd")
    if sd.min() <= 0:
        raise FormatError(f"{path}: sd: {sd.min()} is not above 0")
    return ModelGenes(ensembl, symbols, entrez, probes, mean, sd)


def _numbers(
    path: Path, columns: Mapping[str, Sequence[str]], name: str, *, gaps: bool = False
) -> NDArray[np.float64]:
    """Read a column of finite numbers; of `gaps` an empty cell is NaN."""
    cells = columns[name]
    places = [place for place, cell in enumerate(cells) if cell or not gaps]
    numbers = np.full(len(cells), np.nan)
    try:
        values = np.array([float(cells[place]) for place in places])
    except ValueError as error:
        raise FormatError(f"{path}: {name}: {one_line(error)}") from error
    _check_finite(path, name, values)
    numbers[places] = values
    return numbers
