"""The example studies as they stand, on made-up files of the public forms; pandas is the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.model.model import read_model
from dgex_jax.prepare.report import count_key
from dgex_jax.prepare.study import read_study
from tests.cli.case import command, refused_line
from tests.prepare.checks import datasets
from tests.prepare.public_files import (
    MAKERS,
    archs4,
    expression,
    landmark_rows,
    per_million,
    real_genes,
    recount3,
    xena,
)
from tests.prepare.test_sets import normal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.prepare.public_files import Public

SMALL = {"sample = 20000": "sample = 70", "min_genes = 8000": "min_genes = 200"}
"""What asks more of ARCHS4 than a small file has."""


def small(made: Public) -> Public:
    """Change the study so that it goes with small files."""
    text = made.study.read_text()
    for large, less in SMALL.items():
        assert text.count(large) == ("ARCHS4" in text)
        text = text.replace(large, less)
    made.study.write_text(text)
    return made


def prepared(made: Public, *more: str) -> Path:
    """Prepare a study beside its files."""
    output = made.study.with_name("prepared.h5")
    assert command("prepare", made.study, "-o", output, "--quiet", *more) == 0
    return output


def check_study(path: Path, made: Public, *, by_rank: bool) -> None:
    """Expect genes, normalised values and standardised ones to be those of the logarithms."""
    data = datasets(path)
    landmarks, targets = (data[f"{role}_info/probes"].tolist() for role in ("landmark", "target"))
    profiles, train = data["compendium/profiles"], data["compendium/split/train"]
    logs = made.logs.loc[profiles]
    stays = set(logs.columns[(logs == 0).mean() <= 0.5])
    assert len(stays) < logs.shape[1]
    assert sorted(landmarks) == sorted(stays & landmark_rows())
    assert sorted(targets) == sorted(stays - landmark_rows())
    genes = [*landmarks, *targets]
    quantile = np.sort(logs[genes].to_numpy()[train], axis=1).mean(axis=0)
    np.testing.assert_allclose(data["quantile"], quantile, rtol=1e-6)
    expected: dict[str, pd.DataFrame] = {"compendium": logs}
    expected |= {f"sets/{name}": values for name, values in made.sets.items()}
    for group, values in expected.items():
        of_group = values.loc[data[f"{group}/profiles"], genes]
        found = normal(of_group.to_numpy(), data["quantile"] if by_rank else None)
        stored, mean, sd = (
            np.concatenate([data[f"{group}/{kind}{what}"] for kind in "XY"], axis=-1)
            for what in ("", "_mean", "_sd")
        )
        np.testing.assert_allclose(stored * (sd + 1e-3) + mean, found, rtol=0, atol=2e-6)
        if group == "compendium":
            ours = found[train].mean(axis=0), found[train].std(axis=0)
        np.testing.assert_allclose((mean, sd), ours, rtol=0, atol=1e-6)


def linked(ids: Mapping[str, set[str]]) -> list[set[str]]:
    """Give the profiles that go together, as some of their ids are the same."""
    groups: list[tuple[set[str], set[str]]] = []
    for profile, of_profile in ids.items():
        same = [one for one in groups if one[1] & of_profile]
        groups = [one for one in groups if one not in same]
        profiles, all_ids = zip(({profile}, of_profile), *same, strict=True)
        groups.append((set().union(*profiles), set().union(*all_ids)))
    return [profiles for profiles, _ in groups]


def check_split(path: Path, made: Public) -> None:
    """Expect whole groups in one part each, and parts of about the usual size."""
    data = datasets(path)
    profiles = data["compendium/profiles"]
    parts = [
        {*profiles[data[f"compendium/split/{part}"]]} for part in ("train", "validation", "test")
    ]
    assert set().union(*parts) == {*profiles}
    assert sum(map(len, parts)) == len(profiles)
    for held in parts[1:]:
        assert len(profiles) / 10 - 1 <= len(held) <= len(profiles) / 5
    groups = linked({one: ids for one, ids in made.groups.items() if one in profiles})
    for group in groups:
        assert sum(bool(part & group) for part in parts) == 1
    name = read_study(made.study).parts.compendium
    with h5py.File(path) as file:
        counts = dict(file["report"].attrs)
    assert counts.get("groups") == (len(groups) or None)
    assert counts[count_key(name, "profiles_kept")] == len(profiles)
    lost = 978 - len({*made.logs.columns} & landmark_rows())
    genes = sum(counts[one] for one in ("landmarks", "targets", "genes_dropped"))
    assert genes == made.logs.shape[1] + lost


@pytest.mark.parametrize("name", [one for one in MAKERS if one != "archs4"])
def test_an_example(tmp_path, capsys, name) -> None:
    made = MAKERS[name](tmp_path)
    path = prepared(made)
    assert capsys.readouterr().err == ""
    check_study(path, made, by_rank=name != "recount3")
    check_split(path, made)
    data = datasets(path)
    assert sorted(data["compendium/profiles"]) == sorted(made.logs.index)
    symbols = dict(zip(data["landmark_info/probes"], data["landmark_info/symbol"], strict=True))
    known = set(real_genes()["old"]) | set(real_genes().index)
    assert set(symbols.values()) <= known
    entrez = {
        one: real_genes()["entrez"][symbol]
        for one, symbol in symbols.items()
        if symbol in real_genes().index
    }
    for one, number in zip(data["landmark_info/probes"], data["landmark_info/entrez"], strict=True):
        assert number == entrez.get(one, number)


@pytest.mark.parametrize("version", [2, 1])
def test_archs4(tmp_path, capsys, version) -> None:
    """In both layouts; a file of few samples and genes is too small for the study as it stands."""
    made = archs4(tmp_path, version)
    words = ("prepare", made.study, "-o", tmp_path / "p.h5", "-q")
    line = refused_line(capsys, tmp_path, command, *words)
    assert line.endswith("human_gene_v2.5.h5: sample = 20000: only 84 samples are left\n")
    assert any(len(made.groups[one]) == 2 for one in made.logs.index)
    path = prepared(small(made))
    said = capsys.readouterr()
    assert said.err == ""
    assert "6 single cells (singlecellprobability >= 0.5) are left out" in said.out
    check_study(path, made, by_rank=False)
    check_split(path, made)
    assert len(datasets(path)["compendium/profiles"]) == 70


def trained(path: Path, *more: str) -> Path:
    """Train on a prepared study for two epochs, and export."""
    run, model = path.with_name("run"), path.with_name("model")
    sizes = ("--hidden-layers", "1", "--units", "16", "--epochs", "2", "--learning-rate", "0.01")
    assert command("train", path, "-o", run, "-q", *sizes, *more) == 0
    assert command("export", run, path, "-o", model) == 0
    return model


def inferred(path: Path, X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Apply the network of a model, by NumPy, to landmarks in its order."""
    halves = []
    for half in read_model(path).method.halves:
        *hidden, last = (
            {name: values.astype(np.float64) for name, values in layer.items()}
            for layer in half.values()
        )
        values = X.astype(np.float64)
        for layer in hidden:
            values = np.tanh(values @ layer["kernel"] + layer["bias"])
        halves.append(values @ last["kernel"] + last["bias"])
    return np.hstack(halves)


def predicted(path: Path) -> pd.DataFrame:
    """Read a prediction."""
    return pd.read_csv(path, sep="\t", index_col=0)


@pytest.mark.parametrize(
    ("make", "name", "group"),
    [(xena, "TCGA.BRCA.HiSeqV2.gz", "sets/BRCA"), (archs4, "human_gene_v2.5.h5", "compendium")],
)
def test_a_raw_file_is_inferred_as_the_set_it_was(tmp_path, make, name, group) -> None:
    """By the same ranks or counts per million, and means and deviations of the compendium."""
    path = prepared(small(make(tmp_path)))
    model, output, raw = trained(path), tmp_path / "out.tsv", tmp_path / name
    assert command("predict", model, raw, "-o", output, "--platform", "rnaseq", "-q") == 0
    data, found = datasets(path), predicted(output)
    ids = [*data["landmarks"], *data["targets"]]
    found, X = found.loc[data[f"{group}/profiles"], ids], data[f"{group}/X"]
    n = len(data["landmarks"])
    np.testing.assert_allclose(found.iloc[:, :n], X, atol=1e-5)
    np.testing.assert_allclose(found.iloc[:, n:], inferred(model, X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", ["counts", "tpm", "log2"])
def test_counts_are_inferred_as_they_are(tmp_path, values) -> None:
    """By the million reads of all genes of their file, known to the model or not."""
    made = recount3(tmp_path)
    path = prepared(made)
    model, data = trained(path), datasets(path)
    probes = [*data["landmark_info/probes"], *data["target_info/probes"]]
    profiles = [f"new{k}" for k in range(12)]
    counts = (2 ** expression(profiles, 8).T - 1).mul(np.arange(1, 13) * 9, axis=0).round()
    counts.columns = real_genes()["ensembl"]
    counts["ENSG00000999999.1"] = 10**4
    counts["ENSG00000888888.1"] = 10**5
    logs = per_million(counts)
    given = {"counts": counts, "tpm": counts, "log2": logs}[values].iloc[:, ::-1]
    if values == "counts":
        # Reads that are of no gene don't count.
        given = given.assign(N_unmapped=10**6, __no_feature=10**5)
    raw, output = tmp_path / "raw.csv", tmp_path / "out.tsv"
    given.T.to_csv(raw)
    more = () if values == "counts" else ("--values", values)
    words = ("predict", model, raw, "-o", output, "--platform", "rnaseq", "-q", *more)
    assert command(*words) == 0
    n = len(data["landmarks"])
    mean, sd = data["compendium/X_mean"], data["compendium/X_sd"]
    X = (logs[probes[:n]].to_numpy() - mean) / (sd + 1e-3)
    found = predicted(output)[[*data["landmarks"], *data["targets"]]]
    np.testing.assert_allclose(found.iloc[:, :n], X, atol=1e-5)
    np.testing.assert_allclose(found.iloc[:, n:], inferred(model, X), rtol=1e-4, atol=1e-5)


def test_counts_by_ranks_are_warned_of(tmp_path, capsys) -> None:
    made = recount3(tmp_path)
    path = prepared(made, "--normalize", "quantile")
    warning = "recount3: counts know no lengths: ranks between genes depend on them"
    assert capsys.readouterr().err == f"dgex: warning: {warning}\n"
    check_study(path, replace(made, logs=np.log2(made.counts + 1)), by_rank=True)
