"""What stands in Tables 1 and 2, recomputed with NumPy from weights and prepared values."""

from __future__ import annotations

import dataclasses
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from dgex_jax.data.simulation.write import simulated_files
from reproduce import table1
from reproduce.baselines import chosen_k
from reproduce.tables import TABLE1, TABLE2, write_table

METHODS = ["Mean", "LR", "KNN-GE", "D-GEX", "D-GEX", "D-GEX", "D-GEX"]
SHAPES = [(1, 6), (1, 9), (2, 6), (2, 9)]
CASES = {"table1": ("te", "va", 0.1), "table2": ("GTEx", "1000G", 0.25)}
GROUPS = {"1000G": "1000G", "GTEx": "GTEx"}
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
                rows = file[f"GEO/split/{name}"][:]
                found[kind + part] = file[f"GEO/{kind}"][:][rows].astype(np.float64)
        found["copies"] = file["target_info/copy_of_landmark"][:].astype(bool)
        found["half"] = file["target_info/half"][:]
    assert found["copies"].sum() == 3
    return found


def read(made, name) -> pd.DataFrame:
    return pd.read_csv(made.space.tables / f"{name}.csv")


def network_errors(made, values, shape, dropout, part, best) -> np.ndarray:
    """Errors of each gene by a plain forward pass of the kept weights."""
    layers, units = shape
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


def all_errors(made, values, table) -> list[np.ndarray]:
    """Errors of each gene in the order of the table's rows, of one block."""
    part, best, dropout = CASES[table]
    tuning = [knn_errors(values, best, k).mean() for k in range(1, 6)]
    return [
        np.abs(values[f"Y{part}"]).mean(axis=0),
        least_squares_errors(values, part),
        knn_errors(values, part, 1 + int(np.argmin(tuning))),
        *(network_errors(made, values, shape, dropout, part, best) for shape in SHAPES),
    ]


@pytest.mark.parametrize("table", CASES)
def test_rows(made, table) -> None:
    rows = read(made, table)
    n_blocks = {"table1": 1, "table2": 2}[table]
    assert list(rows["method"]) == METHODS * n_blocks
    networks = rows[rows["method"] == "D-GEX"]
    shapes = networks[["hidden_layers", "units"]].to_numpy(int)
    np.testing.assert_array_equal(shapes, SHAPES * n_blocks)
    assert set(networks["dropout"]) == {CASES[table][2]}
    assert set(rows["data"]) == {"simulated"}
    titles = ["All 31 targets", "Without the 3 targets that are copies of a landmark"][:n_blocks]
    assert list(rows["targets"]) == [title for title in titles for _ in METHODS]


@pytest.mark.parametrize("table", CASES)
def test_figures_are_those_of_weights_and_values(made, values, table) -> None:
    rows, errors = read(made, table), all_errors(made, values, table)
    everything = np.ones(31, dtype=bool)
    for block, genes in enumerate((everything, ~values["copies"])[: len(rows) // 7]):
        ours = rows.iloc[7 * block : 7 * block + 7]
        kept = [one[genes] for one in errors]
        np.testing.assert_allclose(ours["mean"], [one.mean() for one in kept], rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours["sd"], [one.std(ddof=0) for one in kept], rtol=0, atol=1e-6)
        for name, baseline in (("LR", kept[1]), ("KNN-GE", kept[2])):
            assert ours[f"improvement_over_{name}"][:3].isna().all()
            gains = [(baseline.mean() - one.mean()) / baseline.mean() for one in kept[3:]]
            shares = [(one < baseline).mean() for one in kept[3:]]
            np.testing.assert_allclose(ours[f"improvement_over_{name}"][3:], gains, atol=1e-5)
            np.testing.assert_allclose(ours[f"share_better_than_{name}"][3:], shares, atol=1e-12)


def test_copies_matter_on_rna_seq_alone(made, values) -> None:
    """A copy of a landmark has that landmark for its nearest, with error 0 there at k = 1."""
    copies = values["copies"]
    for part in ("GTEx", "1000G"):
        same = (values[f"X{part}"][:, None, :] == values[f"Y{part}"][:, :, None]).all(axis=0)
        np.testing.assert_array_equal(same.any(axis=1), copies)
    rows = read(made, "table2")
    assert (rows["mean"][:7].to_numpy() != rows["mean"][7:].to_numpy()).all()


@pytest.mark.parametrize("table", CASES)
def test_best_network_is_chosen_on_the_validation_part(made, values, table) -> None:
    _, best, dropout = CASES[table]
    validation = [network_errors(made, values, s, dropout, best, best).mean() for s in SHAPES]
    chosen = read(made, table)["chosen"].to_numpy().reshape(-1, 7)
    expected = np.zeros(7, dtype=int)
    expected[3 + int(np.argmin(validation))] = 1
    np.testing.assert_array_equal(chosen, np.tile(expected, (len(chosen), 1)))


@pytest.mark.parametrize(("spec", "selected"), [(TABLE1, "va"), (TABLE2, "1000G")])
def test_a_good_test_error_chooses_nothing(made, tmp_path, spec, selected) -> None:
    """The network best on validation is made worst on test, and the other way round."""
    space = dataclasses.replace(
        made.space, results=tmp_path / "results", tables=tmp_path / "tables"
    )
    shutil.copytree(made.space.results, space.results)
    for (layers, units), validation, test in zip(
        SHAPES, (0.5, 0.2, 0.4, 0.3), (0.1, 0.9, 0.2, 0.3), strict=True
    ):
        path = space.run(layers, units, spec.dropout) / "errors.tsv"
        table = pd.read_csv(path, sep="\t")
        for column in ("va", "te", "1000G", "GTEx"):
            table[f"MAE_{column}"] = validation if column == selected else test
        table.to_csv(path, sep="\t", index=False)
    markdown = write_table(space, spec)
    rows = pd.read_csv(space.tables / f"{spec.name}.csv")
    chosen = rows[rows["chosen"] == 1]
    assert {(row.hidden_layers, row.units) for row in chosen.itertuples()} == {(1, 9)}
    rate = f"{round(100 * spec.dropout)}%"
    assert f"chosen on {'GEO-va' if selected == 'va' else '1000G-va'}: D-GEX-{rate}-9x1" in markdown
    # Bold marks the lowest error shown, which is another network's.
    assert "**0.1000 ± 0.0000**" in markdown


@pytest.mark.parametrize("table", CASES)
def test_markdown_shows_the_same_figures_and_says_simulated(made, table) -> None:
    text = (made.space.tables / f"{table}.md").read_text(encoding="utf-8")
    assert text in made.shown
    assert text.startswith(f"# {table.replace('table', 'Table ')} · study tiny (simulated data)\n")
    assert "**Simulated data**: these figures show" in text
    assert "| | 6 units | 9 units |" in text
    for row in read(made, table).itertuples():
        assert f"{row.mean:.4f} ± {row.sd:.4f}" in text
    rate = f"{CASES[table][2]:.0%}"
    assert f"| D-GEX-{rate}, 1 hidden layer | " in text
    assert f"| D-GEX-{rate}, 2 hidden layers | " in text
    chosen = chosen_k(made.space)[CASES[table][1]]
    edge = ", at the edge of its grid" if chosen["k"] in {1, 5} else ""
    assert f"KNN-GE: k = {chosen['k']}{edge}. " in text


def test_everything_is_under_out(made) -> None:
    assert [path.name for path in made.out.iterdir()] == ["tiny"]
    names = {path.name for path in (made.out / "tiny").iterdir()}
    assert names == {"raw", "preparation", "prepared.h5", "baselines", "runs", "tables"}
    tables = {path.name for path in made.space.tables.iterdir()}
    assert tables == {"table1.csv", "table1.md", "table2.csv", "table2.md"}
    runs = {path.name for path in (made.space.results / "runs").iterdir()}
    assert runs == {f"{rate}pct-{units}x{layers}" for rate in (10, 25) for layers, units in SHAPES}


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
