"""A model of the recorded preprocessing with made-up weights, and files of every kind for it."""

from __future__ import annotations

import gzip
import importlib.util
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import NetworkConfig, PredictOptions, PrepareConfig
from dgex_jax.io.expression import Expression
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.io.writers import write_gct, write_gctx
from dgex_jax.methods.network import network
from dgex_jax.methods.uncertainty import learn_uncertainty
from dgex_jax.model.model import Model, ModelGenes
from dgex_jax.model.predict import inferred
from dgex_jax.model.scale import make_plan
from dgex_jax.parts import PAPER
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.prepare import prepare
from dgex_jax.rawfiles import RawFiles
from tests.inference.conftest import drawn_half

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


RAW = Path(__file__).parents[2] / "golden" / "preprocess"
UNITS = 7


@pytest.fixture(scope="session")
def raw() -> RawFiles:
    """Raw files of the recorded study."""
    names = ("geo.gctx", "gtex.gct.gz", "1000g.txt.gz", "map_lm.txt", "map_tg.txt")
    return RawFiles(*(RAW / name for name in names))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, raw: RawFiles) -> Path:
    """What preparation stores of these files; every profile is kept."""
    output = tmp_path_factory.mktemp("prepared") / "prepared.h5"
    config = PrepareConfig(duplicates="none")
    prepare(raw, output, config, name="recorded", title="Recorded", simulated=True)
    return output


def _genes(file: h5py.File, role: str, kind: str, raw: RawFiles, first: int) -> ModelGenes:
    ids = tuple(file[f"{role}s"].asstr()[:])
    genes = read_gene_map(raw.landmarks if role == "landmark" else raw.targets)
    places = [genes.ensembl.index(name) for name in ids]
    return ModelGenes(
        ensembl=ids,
        symbols=tuple(genes.symbols[place] for place in places),
        entrez=tuple(str(first + 7 * n) for n in range(len(ids))),
        probes=tuple(genes.probes[place] for place in places),
        mean=file[f"compendium/{kind}_mean"][:],
        sd=file[f"compendium/{kind}_sd"][:] + 1e-3,
    )


@pytest.fixture(scope="session")
def model(prepared: Path, raw: RawFiles) -> Model:
    """20 landmarks, 22 and 23 targets, two hidden layers."""
    rng = np.random.default_rng(5)
    with h5py.File(prepared) as file:
        landmarks = _genes(file, "landmark", "X", raw, 780)
        targets = _genes(file, "target", "Y", raw, 5001)
        quantile = file["quantile"][:]
        X = (
            file["compendium/X"][:] * (file["compendium/X_sd"][:] + 1e-3)
            + file["compendium/X_mean"][:]
        )
    sizes = (22, len(targets) - 22)
    return Model(
        landmarks=landmarks,
        targets=targets,
        method=network(
            NetworkConfig(2, UNITS, 0.1),
            [drawn_half(rng, [len(landmarks), UNITS, UNITS, size]) for size in sizes],
        ),
        selected_on="va",
        parts=PAPER,
        quantile=quantile,
        landmark_quantile=np.sort(X, axis=1).mean(axis=0),
        errors={part: rng.uniform(0.2, 0.9, len(targets)) for part in ("va", "te", "GTEx")},
        record={"study": {"name": "recorded", "simulated": True}},
    )


@dataclass(frozen=True)
class Table:
    """Standardised landmarks of a few profiles, float32 values (all formats hold them exactly)."""

    values: NDArray[np.float32]
    profiles: tuple[str, ...]
    genes: tuple[str, ...]

    def expression(self, path: Path) -> Expression:
        """With a field of metadata on each axis."""
        return Expression(
            path,
            self.values,
            self.profiles,
            self.genes,
            pd.DataFrame({"tissue": [f"t{n % 3}" for n in range(len(self.profiles))]})
            .astype(object)
            .set_index(pd.Index(self.profiles, dtype=object)),
            pd.DataFrame(index=pd.Index(self.genes, dtype=object)),
        )

    def frame(self) -> pd.DataFrame:
        """Genes by profiles."""
        return pd.DataFrame(
            self.values.T.astype(np.float64), index=list(self.genes), columns=list(self.profiles)
        )


@pytest.fixture(scope="session")
def table(model: Model) -> Table:
    """40 profiles; the landmarks in another order, among other genes."""
    rng = np.random.default_rng(6)
    genes = [*model.landmarks.ensembl, *(f"ENSG9{n:010d}" for n in range(9))]
    order = rng.permutation(len(genes))
    return Table(
        rng.normal(1, 1, (40, len(genes))).astype(np.float32),
        tuple(f"p{n:02d}" for n in range(40)),
        tuple(genes[place] for place in order),
    )


def anndata() -> Any:
    """The optional package; its tests are skipped where it is missing."""
    if importlib.util.find_spec("anndata") is None:
        pytest.skip("needs the optional package anndata")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anndata as package
    return package


def _write_h5ad(path: Path, table: Table, kind: str) -> None:
    from scipy import sparse

    package = anndata()
    X: Any = table.values
    if kind != "dense":
        X = (sparse.csr_matrix if kind == "csr" else sparse.csc_matrix)(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = package.AnnData(
            X,
            obs=table.expression(path).profile_metadata,
            var=pd.DataFrame(index=pd.Index(table.genes, dtype=object)),
        )
        made.write_h5ad(path)


def _text(frame: pd.DataFrame, path: Path, **options: Any) -> None:
    text = frame.to_csv(float_format=None, **options)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_table(table: Table, path: Path, kind: str) -> Path:
    """Write the table as `kind` of file; `path` is its name."""
    frame = table.frame()
    match kind:
        case "gctx":
            write_gctx(path, table.expression(path))
        case "packed gctx":
            write_gctx(path, table.expression(path))
            with h5py.File(path, "r+") as file:
                values = file["0/DATA/0/matrix"][...]
                del file["0/DATA/0/matrix"]
                file.create_dataset("0/DATA/0/matrix", data=values, compression="gzip")
        case "gct":
            write_gct(path, table.expression(path), version="1.3")
        case "gct 1.2":
            write_gct(path, table.expression(path), version="1.2")
        case "tsv":
            _text(frame, path, sep="\t", index_label="gene")
        case "csv":
            _text(frame, path)
        case "quoted csv":
            _text(frame, path, quoting=1)
        case "R's header":
            text = frame.to_csv(sep="\t").removeprefix("\t")
            path.write_text(text)
        case "BOM and CRLF":
            text = frame.to_csv(sep="\t", lineterminator="\r\n")
            path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        case _:
            _write_h5ad(path, table, kind)
    return path


@pytest.fixture(scope="session")
def write() -> Callable[[Table, Path, str], Path]:
    """Write a `Table` as a file; see `write_table`."""
    return write_table


@pytest.fixture
def results(model: Model) -> Callable[..., NDArray[np.float32]]:
    """Give a function that infers from a file, without writing: landmarks, then targets."""

    def run(path: Path, platform: str = "standardized", **options: Any) -> NDArray[np.float32]:
        chosen = PredictOptions(platform, **options)  # type: ignore[arg-type]
        with ExitStack() as files:
            plan = make_plan(model, open_input(path, files), chosen, Progress())
            rows = slice(0, len(plan.match.source.profiles))
            return np.concatenate([block.values for block in inferred(plan, rows)])

    return run


@pytest.fixture(scope="module")
def sure(model: Model) -> Model:
    """The model with intervals for arrays and wider ones for RNA-seq."""
    rng = np.random.default_rng(3)

    def drawn(n: int, spread: float) -> tuple[Any, Any]:
        X = rng.normal(size=(n, len(model.landmarks))).astype(np.float32)
        noise = spread * rng.normal(size=(n, len(model.targets))).astype(np.float32)
        return X, model.method.predict(X) + noise

    validation = {"va": drawn(60, 0.3), "1000G": drawn(60, 3.0)}
    X = drawn(80, 0)[0]
    r2 = {"te": rng.uniform(size=len(model.targets))}
    return replace(model, uncertainty=learn_uncertainty(model.method, X, validation), r2=r2)
