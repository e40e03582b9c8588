"""The study of GSE92743 as it stands, on its miniature; NumPy and pandas on the raw files judge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from reproduce import all as everything
from reproduce import table2
from reproduce.baselines import LINCS
from reproduce.workspace import STUDIES
from tests.cli.case import command
from tests.gse92743_mini import Mini, write_real, write_simulated
from tests.prepare.checks import assert_same
from tests.reproduce.conftest import Made, run_script

if TYPE_CHECKING:
    from pathlib import Path

NAMED = re.compile(r'"\.\./\.\./data/gse92743/([^"]*?)(?:_n\d+x\d+)?(\.\w+)"')
SMALL = """
k_max = 5
l1_lambdas = [1e-2, 1e-1]
l2_lambdas = [1e-2, 1e-1]
[networks]
hidden_layers = [1, 2]
units = [9]
[training]
epochs = 2
monitor_size = 50
batch_size = 50
learning_rate = 1e-2
"""
"""Behind the study's last table, ``[baselines]``."""
WITH_LINCS = {"table2", "table2_GTEx-L1000", "tableS5", "tableS5_GTEx-L1000"}
WITHOUT = {"table1", "tableS2", "tableS3"}


@dataclass(frozen=True)
class OfMini(Made):
    mini: Mini


def reproduce(mini: Mini, script) -> OfMini:
    """Change the names of the study's files to the miniature's, and run a script of it."""
    folder = mini.training.parent
    text, n = NAMED.subn(
        lambda name: f'"{next(folder.glob(f"{name[1]}*{name[2]}"))}"',
        (STUDIES / "gse92743.toml").read_text(encoding="utf-8"),
    )
    assert n == 8
    study, out = folder / "study.toml", folder / "out"
    study.write_text(text + SMALL, encoding="utf-8")
    return OfMini(**vars(run_script(script, study, out)), mini=mini)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> OfMini:
    return reproduce(write_simulated(tmp_path_factory.mktemp("gse92743")), everything)


def matrix(path: Path) -> pd.DataFrame:
    """Columns of a GCTX file by its rows, float64, without our reader."""
    with h5py.File(path) as file:
        ids = (file[f"0/META/{axis}/id"].asstr()[:] for axis in ("COL", "ROW"))
        return pd.DataFrame(file["0/DATA/0/matrix"][:].astype(float), *ids)


def standardised(values: pd.DataFrame) -> np.ndarray:
    return ((values - values.mean()) / (values.std(ddof=0) + 1e-3)).to_numpy()


def check_errors(made: OfMini) -> dict[str, tuple[float, float]]:
    """Expect the errors of LR and of LINCS' weights on both sets; returns their means."""
    mini, space = made.mini, made.space
    genes = pd.read_csv(mini.genes, sep="\t", dtype=str)
    landmarks = genes.pr_gene_id[genes.pr_is_lm == "1"]
    found = {
        name: pd.read_csv(space.baselines / f"{name}.tsv", sep="\t", dtype={"target": str})
        for name in ("LR", LINCS)
    }
    targets = found["LR"]["target"]
    assert sorted(targets) == sorted(genes.pr_gene_id[genes.pr_is_lm == "0"])
    with h5py.File(space.prepared) as file:
        profiles = file["compendium/profiles"].asstr()[:]
        train = file["compendium/split/train"][:]
        paired = [
            file[f"sets/GTEx-L1000/{side}"].asstr()[:].tolist() for side in ("profiles", "truth")
        ]
    training = matrix(mini.training).loc[profiles]
    X, Y = (standardised(training[one])[train] for one in (landmarks, targets))
    # Centred, so that where there are fewer profiles than landmarks the intercept stays free.
    coef = np.linalg.lstsq(X - X.mean(axis=0), Y - Y.mean(axis=0), rcond=None)[0]
    intercept = Y.mean(axis=0) - X.mean(axis=0) @ coef
    weights = matrix(mini.weights).loc[landmarks, targets].to_numpy()
    rnaseq, l1000 = matrix(mini.rnaseq), matrix(mini.l1000)
    pairs = pd.read_csv(mini.pairs, sep="\t")
    assert {*zip(*paired, strict=True)} == {*zip(pairs.inst_id, pairs.rnaseq_inst_id, strict=True)}
    means = {}
    for part, inputs, truth in (
        ("GTEx", rnaseq, rnaseq),
        ("GTEx-L1000", l1000.loc[pairs.inst_id], rnaseq.loc[pairs.rnaseq_inst_id]),
    ):
        x, y = inputs[landmarks], truth[targets]
        predicted = standardised(x) @ coef + intercept
        by_lincs = (x - x.mean()).to_numpy() @ weights / (y.std(ddof=0) + 1e-3).to_numpy()
        wanted = [np.abs(one - standardised(y)).mean(axis=0) for one in (predicted, by_lincs)]
        for errors, own in zip(found.values(), wanted, strict=True):
            np.testing.assert_allclose(errors[f"MAE_{part}"], own, rtol=0, atol=1e-5)
        means[part] = tuple(errors.mean() for errors in wanted)
    assert found[LINCS][["MAE_va", "MAE_te"]].isna().all(axis=None)
    return means


def test_the_whole_study_and_what_numpy_makes_of_the_raw_files(simulated) -> None:
    space = simulated.space
    means = check_errors(simulated)
    tables = {path.stem: pd.read_csv(path) for path in space.tables.glob("table*.csv")}
    assert tables.keys() > WITH_LINCS | WITHOUT
    assert "tableS4" not in tables
    assert {name for name in tables if LINCS in set(tables[name].get("method", ()))} == WITH_LINCS
    for name, part in (("table2", "GTEx"), ("table2_GTEx-L1000", "GTEx-L1000")):
        shown = tables[name].set_index("method")["mean"]
        assert tuple(shown[["LR", LINCS]]) == pytest.approx(means[part], rel=1e-4)
        # Both are least squares; theirs on all profiles, but without two landmarks.
        assert abs(shown[LINCS] - shown["LR"]) < 0.25 * (shown["Mean"] - shown["LR"])
        text = (space.tables / f"{name}.md").read_text(encoding="utf-8")
        assert "2 of their 62 landmarks are not in the study and held at their means" in text
        assert text in simulated.shown
    assert "LINCS: its rows are genes: 300 of 300 are a gene each by their" in simulated.shown
    figures = {path.stem for path in space.figures.glob("*.png")}
    both = {f"figure{n}{of}" for n in (4, 5) for of in ("", "_GTEx-L1000")}
    assert {"figure1", "figure2", "figure3", *both} <= figures
    assert (space.results / "report.html").is_file()


def test_pairs_are_found_in_any_order_of_their_table(simulated, tmp_path) -> None:
    """What their samples are is in the test above: its truth is joined by pandas."""
    lines = simulated.mini.pairs.read_text().splitlines()
    order = np.random.default_rng(7).permutation(len(lines) - 1) + 1
    table = tmp_path / simulated.mini.pairs.name
    table.write_text("\n".join([lines[0], *(lines[n] for n in order)]) + "\n")
    study = tmp_path / "study.toml"
    study.write_text(simulated.study.read_text().replace(str(simulated.mini.pairs), str(table)))
    assert str(table) in study.read_text()
    assert command("prepare", study, "-o", tmp_path / "prepared.h5", "--quiet") == 0
    assert_same(tmp_path / "prepared.h5", simulated.space.prepared)


@pytest.mark.long
def test_of_real_arrays(shared, tmp_path) -> None:
    """Fewer profiles than landmarks: LR and the weights are not the same, but both are judged."""
    real = reproduce(write_real(tmp_path, shared), table2)
    means = check_errors(real)
    for name, part in (("table2", "GTEx"), ("table2_GTEx-L1000", "GTEx-L1000")):
        shown = pd.read_csv(real.space.tables / f"{name}.csv").set_index("method")["mean"]
        assert tuple(shown[["LR", LINCS]]) == pytest.approx(means[part], rel=1e-4)
        assert shown[LINCS] < shown["Mean"]
