"""What stands in the tables of errors, recomputed with NumPy from weights and prepared values."""

from __future__ import annotations

import dataclasses
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import Lasso, Ridge
from sklearn.neighbors import KNeighborsRegressor

from dgex_jax.config import NetworkConfig
from dgex_jax.parts import PAPER
from dgex_jax.simulate.write import simulated_files
from reproduce import table1
from reproduce.baselines import chosen_values
from reproduce.tables import tables_of, write_table
from tests.reproduce.conftest import rewrite_done

BASELINES = ["Mean", "LR", "LR-L1", "LR-L2", "KNN-GE", "KNN-profiles"]
N_BASELINES = len(BASELINES)
TOLERANCES = {"LR-L1": 5e-4, "LR-L2": 1e-6, "KNN-GE": 1e-6, "KNN-profiles": 1e-6}
"""Of overall errors; that of LR-L1 is what its duality gap leaves."""
SHAPES = [(1, 6), (1, 9), (2, 6), (2, 9)]
RATES = [0.0, 0.1, 0.25]
CASES = {
    "table1": ("te", "va", [0.1], 1),
    "table2": ("GTEx", "1000G", [0.25], 2),
    "tableS2": ("va", "va", RATES, 1),
    "tableS3": ("te", "va", RATES, 1),
    "tableS4": ("1000G", "1000G", RATES, 2),
    "tableS5": ("GTEx", "1000G", RATES, 2),
}
"""Part, where networks are chosen, dropout rates, and blocks (with and without copies)."""
GROUPS = {"1000G": "sets/1000G", "GTEx": "sets/GTEx"}
ERROR = re.compile(r"([\d.]+) ± ([\d.]+)")
GAIN = re.compile(r"([-\d.]+)% \| ([\d.]+)%")
SPLIT = {"tr": "train", "va": "validation", "te": "test"}


@pytest.fixture(scope="module")
def values(made) -> dict[str, np.ndarray]:
    """Standardised values of every part in float64, and which targets are copies."""
    found = {}
    with h5py.File(made.space.prepared) as file:
        for kind in "XY":
            for part, group in GROUPS.items():
                found[kind + part] = file[f"{group}/{kind}"][:].astype(np.float64)
            for part, name in SPLIT.items():
                rows = file[f"compendium/split/{name}"][:]
                found[kind + part] = file[f"compendium/{kind}"][:][rows].astype(np.float64)
        found["copies"] = file["target_info/copy_of_landmark"][:].astype(bool)
        found["half"] = file["target_info/half"][:]
    assert found["copies"].sum() == 3
    return found


def read(made, name) -> pd.DataFrame:
    return pd.read_csv(made.space.tables / f"{name}.csv")


def networks(table) -> list[tuple[float, int, int]]:
    """Rate, layers and units of each network of a table, in its order."""
    return [(rate, *shape) for rate in CASES[table][2] for shape in SHAPES]


def network_errors(made, values, network, part, best) -> np.ndarray:
    """Errors of each gene by a plain forward pass of the kept weights."""
    dropout, layers, units = network
    folder = made.space.results / "runs" / f"{round(100 * dropout)}pct-{units}x{layers}"
    tensors = load_file(folder / f"best_{best}.safetensors")
    weights = {name: array.astype(np.float64) for name, array in tensors.items()}
    predicted = []
    for half in (1, 2):
        hidden = values[f"X{part}"]
        for layer in range(layers):
            hidden = np.tanh(
                hidden @ weights[f"half{half}/W{layer}"] + weights[f"half{half}/b{layer}"]
            )
        predicted.append(
            hidden @ weights[f"half{half}/W{layers}"] + weights[f"half{half}/b{layers}"]
        )
    return np.abs(np.hstack(predicted) - values[f"Y{part}"]).mean(axis=0)


def least_squares_errors(values, part) -> np.ndarray:
    def design(X):
        return np.column_stack([X, np.ones(len(X))])

    W = np.linalg.lstsq(design(values["Xtr"]), values["Ytr"], rcond=None)[0]
    return np.abs(design(values[f"X{part}"]) @ W - values[f"Y{part}"]).mean(axis=0)


def knn_errors(values, part, k) -> np.ndarray:
    difference = values["Xtr"][:, None, :] - values["Ytr"][:, :, None]
    nearest = np.argsort((difference**2).sum(axis=0), axis=1, kind="stable")[:, :k]
    predicted = values[f"X{part}"][:, nearest].mean(axis=2)
    return np.abs(predicted - values[f"Y{part}"]).mean(axis=0)


def penalised_errors(values, part, method, value) -> np.ndarray:
    """Errors of each gene by scikit-learn."""
    model = (
        Lasso(alpha=value, tol=1e-10, max_iter=1_000_000)
        if method == "LR-L1"
        else Ridge(alpha=len(values["Xtr"]) * value, solver="svd")
    ).fit(values["Xtr"], values["Ytr"])
    return np.abs(model.predict(values[f"X{part}"]) - values[f"Y{part}"]).mean(axis=0)


def profile_errors(values, part, k) -> np.ndarray:
    model = KNeighborsRegressor(k).fit(values["Xtr"], values["Ytr"])
    return np.abs(model.predict(values[f"X{part}"]) - values[f"Y{part}"]).mean(axis=0)


def at(method, value, values, part) -> np.ndarray:
    """Errors of each gene of a tuned baseline at one value of its grid."""
    if method == "KNN-GE":
        return knn_errors(values, part, value)
    if method == "KNN-profiles":
        return profile_errors(values, part, value)
    return penalised_errors(values, part, method, value)


def grid(made, method) -> tuple[str, list]:
    """Name and values of what a method tunes."""
    config = made.space.study.baselines
    if method.startswith("KNN"):
        return "k", list(range(1, config.k_max + 1))
    return "lambda", list(config.l1_lambdas if method == "LR-L1" else config.l2_lambdas)


@pytest.mark.parametrize("method", TOLERANCES)
def test_tuning_curves_choose_what_the_tables_have(made, values, method) -> None:
    name, tried = grid(made, method)
    path = made.space.baselines / f"{method}_tuning.tsv"
    # By way of text: how exactly pandas itself reads floats depends on its version.
    curve = pd.read_csv(path, sep="\t", dtype=str).astype(np.float64)
    assert list(curve[name]) == tried
    for part, column in (("va", "GEO-va"), ("1000G", "1000G-va")):
        wanted = [at(method, value, values, part).mean() for value in tried]
        np.testing.assert_allclose(curve[column], wanted, rtol=0, atol=TOLERANCES[method])
        best = int(np.argmin(curve[column]))
        chosen = chosen_values(made.space)[method][part]
        assert chosen[name] == tried[best]
        assert chosen["at_edge"] == (best in {0, len(tried) - 1})
        if method == "LR-L1":
            assert chosen["gap"] == curve["gap"][best]
    if method == "LR-L1":
        assert (curve["gap"] <= 1e-4).all()


def all_errors(made, values, table) -> list[np.ndarray]:
    """Errors of each gene in the order of the table's rows, of one block."""
    part, best, _, _ = CASES[table]
    return [
        np.abs(values[f"Y{part}"]).mean(axis=0),
        least_squares_errors(values, part),
        *(
            at(method, chosen_values(made.space)[method][best][grid(made, method)[0]], values, part)
            for method in TOLERANCES
        ),
        *(network_errors(made, values, one, part, best) for one in networks(table)),
    ]


@pytest.mark.parametrize("table", CASES)
def test_rows(made, table) -> None:
    rows, n_blocks = read(made, table), CASES[table][3]
    methods = [*BASELINES, *["D-GEX"] * len(networks(table))]
    assert list(rows["method"]) == methods * n_blocks
    shown = rows[rows["method"] == "D-GEX"][["dropout", "hidden_layers", "units"]]
    np.testing.assert_array_equal(shown.to_numpy(float), networks(table) * n_blocks)
    assert set(rows["data"]) == {"simulated"}
    titles = ["All 31 targets", "Without the 3 targets that are copies of a landmark"][:n_blocks]
    assert list(rows["targets"]) == [title for title in titles for _ in methods]


@pytest.mark.parametrize("table", CASES)
def test_figures_are_those_of_weights_and_values(made, values, table) -> None:
    rows, errors = read(made, table), all_errors(made, values, table)
    everything = np.ones(31, dtype=bool)
    for block, genes in enumerate((everything, ~values["copies"])[: CASES[table][3]]):
        ours = rows.iloc[len(errors) * block : len(errors) * (block + 1)]
        kept = [one[genes] for one in errors]
        named = zip(ours["mean"], ours["sd"], ours["method"], kept, strict=True)
        for mean, sd, method, one in named:
            atol = max(TOLERANCES.get(method, 0), 1e-5)
            np.testing.assert_allclose([mean, sd], [one.mean(), one.std(ddof=0)], atol=atol)
        for name in ("LR", "KNN-GE"):
            baseline, trained = kept[BASELINES.index(name)], kept[N_BASELINES:]
            gain, share = ours[f"improvement_over_{name}"], ours[f"share_better_than_{name}"]
            assert gain[:N_BASELINES].isna().all()
            gains = [(baseline.mean() - one.mean()) / baseline.mean() for one in trained]
            shares = [(one < baseline).mean() for one in trained]
            np.testing.assert_allclose(gain[N_BASELINES:], gains, atol=2e-5)
            np.testing.assert_allclose(share[N_BASELINES:], shares, atol=1e-5)


def test_copies_matter_on_rna_seq_alone(made, values) -> None:
    """A copy of a landmark has that landmark for its nearest, with error 0 there at k = 1."""
    copies = values["copies"]
    for part in ("GTEx", "1000G"):
        same = (values[f"X{part}"][:, None, :] == values[f"Y{part}"][:, :, None]).all(axis=0)
        np.testing.assert_array_equal(same.any(axis=1), copies)
    rows = read(made, "table2")
    n = len(rows) // 2
    assert (rows["mean"][:n].to_numpy() != rows["mean"][n:].to_numpy()).all()


@pytest.mark.parametrize("table", CASES)
def test_best_network_is_chosen_on_the_validation_part(made, values, table) -> None:
    best = CASES[table][1]
    validation = [network_errors(made, values, s, best, best).mean() for s in networks(table)]
    n_rows = N_BASELINES + len(validation)
    chosen = read(made, table)["chosen"].to_numpy().reshape(-1, n_rows)
    expected = np.zeros(n_rows, dtype=int)
    expected[N_BASELINES + int(np.argmin(validation))] = 1
    np.testing.assert_array_equal(chosen, np.tile(expected, (len(chosen), 1)))


@pytest.mark.parametrize(("name", "selected"), [("table1", "va"), ("table2", "1000G")])
def test_a_good_test_error_chooses_nothing(made, tmp_path, name, selected) -> None:
    """The network best on validation is made worst on test, and the other way round."""
    spec, rate = tables_of(PAPER)[name], CASES[name][2][0]
    space = dataclasses.replace(
        made.space, results=tmp_path / "results", tables=tmp_path / "tables"
    )
    shutil.copytree(made.space.results, space.results)
    for (layers, units), validation, test in zip(
        SHAPES, (0.5, 0.2, 0.4, 0.3), (0.1, 0.9, 0.2, 0.3), strict=True
    ):
        path = space.run(NetworkConfig(layers, units, rate)) / "errors.tsv"
        table = pd.read_csv(path, sep="\t")
        for column in ("va", "te", "1000G", "GTEx"):
            table[f"MAE_{column}"] = validation if column == selected else test
        table.to_csv(path, sep="\t", index=False)
        # Its checksums would tell of the change.
        rewrite_done(path.with_name("done.json"), "files")
    markdown = write_table(space, spec)
    rows = pd.read_csv(space.tables / f"{spec.name}.csv")
    chosen = rows[rows["chosen"] == 1]
    assert {(row.hidden_layers, row.units) for row in chosen.itertuples()} == {(1, 9)}
    validation = "GEO-va" if selected == "va" else "1000G-va"
    assert f"chosen on {validation}: D-GEX-{rate:.0%}-9x1" in markdown
    # Bold marks the lowest error shown, which is another network's.
    assert "**0.1000 ± 0.0000**" in markdown


@pytest.mark.parametrize("table", CASES)
def test_markdown_shows_the_same_figures_and_says_simulated(made, table) -> None:
    text = (made.space.tables / f"{table}.md").read_text(encoding="utf-8")
    assert (text in made.shown) == (table in {"table1", "table2"})
    assert text.startswith(f"# {table.replace('table', 'Table ')} · study tiny (simulated data)\n")
    assert "**Simulated data**: these figures show" in text
    assert "| | 6 units | 9 units |" in text
    for row in read(made, table).itertuples():
        shown = [tuple(map(float, pair)) for pair in ERROR.findall(text)]
        assert any(abs(m - row.mean) < 1e-4 and abs(s - row.sd) < 1e-4 for m, s in shown)
        if row.method == "D-GEX":
            gained = [100 * row.improvement_over_LR, 100 * row.share_better_than_LR]
            pairs = [tuple(map(float, pair)) for pair in GAIN.findall(text)]
            assert any(np.allclose(pair, gained, atol=0.011) for pair in pairs)
    for rate in CASES[table][2]:
        assert f"| D-GEX-{rate:.0%}, 1 hidden layer | " in text
        assert f"| D-GEX-{rate:.0%}, 2 hidden layers | " in text
    for method, by_part in chosen_values(made.space).items():
        name, tried = grid(made, method)
        value = by_part[CASES[table][1]][name]
        edge = ", at the edge of its grid" if value in {tried[0], tried[-1]} else ""
        assert f"{method}: {name} = {value:g}{edge}. " in text
    assert "Not in the paper's tables: Mean" in text


def test_everything_is_under_out(made) -> None:
    assert [path.name for path in made.out.iterdir()] == ["tiny"]
    shown = {path.name for path in (made.out / "tiny").iterdir()}
    names = {name for name in shown if not name.startswith(".")}
    assert names == {
        *("raw", "preparation", "prepared.h5", "baselines", "runs", "analyses", "departures"),
        *("tables", "figures", "report.html", "provenance", "prepared.h5.provenance.json"),
    }
    written = [*CASES, "tableS1", "adjusted_r2", "weight_hubs", "departures"]
    tables = {path.name for path in made.space.tables.iterdir()}
    assert tables == {f"{name}.{suffix}" for name in written for suffix in ("csv", "md", "tex")}
    runs = {path.name for path in (made.space.results / "runs").glob("[!.]*")}
    rates = (0, 10, 25)
    assert runs == {f"{rate}pct-{units}x{layers}" for rate in rates for layers, units in SHAPES}


def test_simulated_files_stay_simulated_in_a_study_of_files(made, tmp_path) -> None:
    """Naming the simulator's files under [files] does not make measurements of them."""
    raw = simulated_files(made.space.results / "raw")
    keys = {"geo": raw.geo, "gtex": raw.gtex, "1000g": raw.thousand_genomes}
    keys |= {"landmarks": raw.landmarks, "targets": raw.targets}
    study = tmp_path / "mine.toml"
    files = "\n".join(f'{key} = "{path}"' for key, path in keys.items())
    study.write_text(
        f'name = "mine"\ntitle = "Mine"\n[files]\n{files}\n[networks]\nhidden_layers = [1]\n'
        "units = [6]\n[training]\nepochs = 1\nmonitor_size = 50\nbatch_size = 50\n"
    )
    assert table1.main(["--study", str(study), "--out", str(tmp_path)]) == 0
    assert set(pd.read_csv(tmp_path / "mine" / "tables" / "table1.csv")["data"]) == {"simulated"}
    text = (tmp_path / "mine" / "tables" / "table1.md").read_text(encoding="utf-8")
    assert "(simulated data)" in text
    assert not (tmp_path / "mine" / "raw").exists()
    assert not (tmp_path / "mine" / "tables" / "table2.csv").exists()
