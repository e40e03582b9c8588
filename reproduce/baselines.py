"""The methods D-GEX is compared with, fitted on GEO-tr once a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn

from dgex_jax import __version__
from dgex_jax.analysis.errors import mae_per_gene
from dgex_jax.errors import FormatError
from dgex_jax.models.knn import KnnGe
from dgex_jax.models.linear import LeastSquares
from dgex_jax.models.mean import Mean
from dgex_jax.models.tuning import choose
from dgex_jax.training.geneerrors import ERROR_PARTS, write_gene_errors
from dgex_jax.training.record import is_done, mark_done, read_json, write_json
from reproduce.stages import make_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.prepared import Prepared
    from dgex_jax.training.arrays import StudyArrays
    from reproduce.workspace import Workspace

METHODS = ("Mean", "LR", "KNN-GE")
TUNED_ON = {"va": "va", "te": "va", "1000G": "1000G", "GTEx": "1000G"}
"""Which validation part chooses k for each column of errors (paper section 2.2)."""

PROFILES_AT_A_TIME = 2048


def fit_baselines(space: Workspace, study: Prepared, arrays: StudyArrays) -> None:
    """Write ``<method>.tsv`` (errors per gene) and ``chosen.json`` of every baseline, once."""
    config = {
        "prepared_sha256": study.sha256,
        "k_max": space.study.baselines.k_max,
        "versions": {"dgex_jax": __version__, "sklearn": sklearn.__version__},
    }
    folder = space.baselines
    if is_done(folder, config):
        return
    make_folder(folder)
    for name, model in (("Mean", Mean()), ("LR", LeastSquares())):
        print(f"baseline {name}", flush=True)
        model.fit(arrays.X["tr"], arrays.Y["tr"])
        errors = {part: model_errors(model, arrays, part) for part in ERROR_PARTS}
        write_gene_errors(
            folder / f"{name}.tsv", study, errors, n_halves=space.study.training.halves
        )
    print("baseline KNN-GE", flush=True)
    errors, chosen = knn_errors(space.study.baselines.k_max, arrays)
    write_gene_errors(folder / "KNN-GE.tsv", study, errors, n_halves=space.study.training.halves)
    write_json(folder / "chosen.json", {"KNN-GE": chosen})
    mark_done(folder, config)


def model_errors(model: Mean | LeastSquares, arrays: StudyArrays, part: str) -> NDArray[np.float64]:
    """MAE per gene ``(n_targets,)``, inferred in blocks of profiles."""
    X, Y = arrays.X[part], arrays.Y[part]
    total = np.zeros(Y.shape[1])
    for start in range(0, len(X), PROFILES_AT_A_TIME):
        rows = slice(start, start + PROFILES_AT_A_TIME)
        total += mae_per_gene(model.predict(X[rows]), Y[rows]) * len(X[rows])
    return total / len(X)


def knn_errors(
    k_max: int, arrays: StudyArrays
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """MAE per gene of KNN-GE, k tuned on GEO-va for GEO and on 1000G-va for RNA-seq."""
    model = KnnGe(k_max).fit(arrays.X["tr"], arrays.Y["tr"])
    chosen: dict[str, Any] = {}
    by_k = {}
    for part in ("va", "1000G"):
        by_k[part] = model.errors_by_k(arrays.X[part], arrays.Y[part], model.ks_)
        choice = choose(model.ks_, by_k[part].mean(axis=1))
        chosen[part] = {"k": int(choice.value), "at_edge": bool(choice.at_edge)}
    errors = {}
    for part, tuned in TUNED_ON.items():
        k = chosen[tuned]["k"]
        if part in by_k:
            errors[part] = by_k[part][list(model.ks_).index(k)]
        else:
            errors[part] = model.errors_by_k(arrays.X[part], arrays.Y[part], [k])[0]
    return errors, chosen


def chosen_k(space: Workspace) -> dict[str, Any]:
    """Return the k of KNN-GE by validation part: ``{"va": {"k": 8, "at_edge": false}, …}``.

    Raises
    ------
    FormatError
        The file was removed or damaged since it was written.
    """
    path = space.baselines / "chosen.json"
    content = read_json(path)
    if content is None or "KNN-GE" not in content:
        raise FormatError(f"{path}: does not say which k was chosen; remove {path.parent}")
    chosen: dict[str, Any] = content["KNN-GE"]
    return chosen
