"""The study ``gse92743`` as it stands, on a miniature in exactly its files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.io.gctx import Gctx
from dgex_jax.prepare.prepare import prepare
from dgex_jax.prepare.study import read_study
from reproduce import all as everything
from reproduce.workspace import STUDIES
from tests.gse92743_mini import write_real, write_simulated

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gse92743_mini import Mini

SMALL = """
[networks]
hidden_layers = [1, 2]
units = [8, 12]
[training]
epochs = 2
monitor_size = 50
learning_rate = 3e-3
"""
OFFSET = 1e-3


def study_of(mini: Mini, folder: Path, more: str = SMALL) -> Path:
    """Write the study file with the names of the miniature, which differ in their numbers."""
    text = (STUDIES / "gse92743.toml").read_text(encoding="utf-8")
    for path in (mini.training, mini.rnaseq, mini.l1000, mini.weights, mini.genes, mini.pairs):
        pattern = re.sub(r"n\d+x\d+", r"n\\d+x\\d+", re.escape(path.name))
        text, n = re.subn(rf"\.\./\.\./data/gse92743/{pattern}", path.name, text)
        assert n, path
    study = folder / "study.toml"
    study.write_text(text + more, encoding="utf-8")
    return study


def frame(path: Path) -> pd.DataFrame:
    with Gctx(path) as file:
        return pd.DataFrame(file.read().astype(float), file.profiles, file.genes)


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / (values.std(axis=0) + OFFSET)


@pytest.mark.long
def test_the_whole_way(tmp_path) -> None:
    mini = write_simulated(tmp_path)
    study = study_of(mini, tmp_path)
    assert everything.main(["--study", str(study), "--out", str(tmp_path / "out")]) == 0
    out = tmp_path / "out" / "gse92743"
    tables = {path.stem for path in (out / "tables").glob("*.csv")}
    sets = {"table2", "table2_GTEx-L1000", "tableS5", "tableS5_GTEx-L1000"}
    assert {"table1", "tableS1", "tableS2", "tableS3", *sets} <= tables
    assert "tableS4" not in tables
    for figure in ("figure1", "figure3", "figure4", "figure4_GTEx-L1000", "figure5"):
        assert (out / "figures" / f"{figure}.png").is_file()
    for name in tables & {"table1", "tableS2", "tableS3", *sets}:
        methods = set(pd.read_csv(out / "tables" / f"{name}.csv")["method"])
        assert ("LINCS-OLS" in methods) == (name in sets), name

    # By other code, from the raw files: pairs, least squares, LINCS' weights.
    training, rnaseq, l1000 = map(frame, (mini.training, mini.rnaseq, mini.l1000))
    pairs = pd.read_csv(mini.pairs, sep="\t").set_index("inst_id")["rnaseq_inst_id"]
    with h5py.File(out / "prepared.h5") as file:
        genes = {kind: file[kind].asstr()[:] for kind in ("landmarks", "targets")}
        kept = file["compendium/profiles"].asstr()[:][file["compendium/split/train"][:]]
        of_l1000, of_truth = (
            file[f"sets/GTEx-L1000/{kind}"].asstr()[:] for kind in ("profiles", "truth")
        )
    assert list(of_truth) == list(pairs[of_l1000])
    X, Y = (standardised(training[genes[kind]].to_numpy()) for kind in ("landmarks", "targets"))
    rows = training.index.get_indexer(kept)
    design = np.column_stack([np.ones(len(rows)), X[rows]])
    coefficients = np.linalg.lstsq(design, Y[rows], rcond=None)[0]
    weights = frame(mini.weights).loc[genes["landmarks"], genes["targets"]].to_numpy()
    errors = {
        method: pd.read_csv(
            out / "baselines" / f"{method}.tsv", sep="\t", dtype={"target": str}
        ).set_index("target")
        for method in ("LR", "LINCS-OLS")
    }
    for part, measured, truth in (
        ("GTEx", rnaseq, rnaseq),
        ("GTEx-L1000", l1000.loc[of_l1000], rnaseq.loc[of_truth]),
    ):
        x, y = measured[genes["landmarks"]].to_numpy(), truth[genes["targets"]].to_numpy()
        sd = y.std(axis=0) + OFFSET
        inferred = {
            "LR": np.column_stack([np.ones(len(x)), standardised(x)]) @ coefficients,
            "LINCS-OLS": (x - x.mean(axis=0)) @ weights / sd,
        }
        for method, values in inferred.items():
            wanted = np.abs(values - standardised(y)).mean(axis=0)
            ours = errors[method].loc[genes["targets"], f"MAE_{part}"]
            np.testing.assert_allclose(ours, wanted, atol=2e-5, err_msg=f"{method} {part}")


def test_the_order_of_the_pairs_says_nothing(tmp_path) -> None:
    mini = write_simulated(tmp_path, n_profiles=120, n_targets=40, n_pairs=35)
    study = read_study(study_of(mini, tmp_path))
    made = []
    for name in ("first", "second"):
        output = tmp_path / f"{name}.h5"
        assert study.files is not None
        prepare(study.files, output, study.prepare, name="m", title="m", simulated=False)
        with h5py.File(output) as file:
            made.append({key: file[f"sets/GTEx-L1000/{key}"][()] for key in ("X", "Y", "truth")})
        table = pd.read_csv(mini.pairs, sep="\t", dtype=str).sample(frac=1, random_state=1)
        table.to_csv(mini.pairs, sep="\t", index=False)
    for key, values in made[0].items():
        np.testing.assert_array_equal(values, made[1][key])


@pytest.mark.long
def test_real_arrays_in_these_files(tmp_path, shared) -> None:
    mini = write_real(tmp_path, shared)
    study = read_study(study_of(mini, tmp_path))
    assert study.files is not None
    report = prepare(
        study.files, tmp_path / "p.h5", study.prepare, name="m", title="m", simulated=False
    )
    assert report.counts["landmarks"] == 970
    assert report.counts["targets"] == len(frame(mini.training).columns) - 970
    assert report.counts["gtex-l1000_profiles"] == 80
