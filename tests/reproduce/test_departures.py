"""The table of departures is what was trained, each with one setting changed."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import GridConfig, NetworkConfig
from dgex_jax.parts import PAPER
from reproduce.variants import DEPARTURES, departure_network, departure_space, departures_of

PARTS = {"GEO-va": "va", "GEO-te": "te", "1000G-va": "1000G", "GTEx-te": "GTEx"}


@pytest.fixture(scope="module")
def rows(made) -> pd.DataFrame:
    return pd.read_csv(made.space.tables / "departures.csv").set_index("departure")


def errors(space, network) -> pd.DataFrame:
    return pd.read_csv(space.run(network) / "errors.tsv", sep="\t")


def test_figures_are_those_of_the_runs(made, rows) -> None:
    network = departure_network(made.space.study)
    assert network == NetworkConfig(2, 9, 0.1)
    assert list(rows.index) == ["default", *DEPARTURES]
    assert set(rows["data"]) == {"simulated"}
    for name in rows.index:
        space = made.space if name == "default" else departure_space(made.space, name)
        table = errors(space, network)
        for column, part in PARTS.items():
            assert rows[column][name] == pytest.approx(table[f"MAE_{part}"].mean(), rel=1e-4)
    # Each of them changed something.
    for column in PARTS:
        assert rows[column].nunique() == len(rows)


def test_markdown_shows_the_differences(made) -> None:
    text = (made.space.tables / "departures.md").read_text(encoding="utf-8")
    network = departure_network(made.space.study)

    def mean(space, part) -> float:
        return errors(space, network)[f"MAE_{part}"].mean()

    for name, departure in DEPARTURES.items():
        space = departure_space(made.space, name)
        pairs = [(mean(space, part), mean(made.space, part)) for part in PARTS.values()]
        cells = [f"{ours:.4f} ({ours - default:+.4f})" for ours, default in pairs]
        assert f"| {departure.changes(PAPER)} | {departure.option} | {' | '.join(cells)} |" in text
    assert "**Simulated data**" in text


def test_each_changes_one_setting(made) -> None:
    network = departure_network(made.space.study)

    def config(space) -> dict[str, object]:
        return json.loads((space.run(network) / "config.json").read_text())

    default = config(made.space)
    for name, departure in DEPARTURES.items():
        ours = config(departure_space(made.space, name))
        assert ours["network"] == default["network"]
        changed = {k for k, v in ours["training"].items() if v != default["training"][k]}
        if departure.section == "training":
            assert changed == {departure.key}
            assert ours["prepared_sha256"] == default["prepared_sha256"]
            continue
        assert not changed
        with h5py.File(departure_space(made.space, name).prepared) as file:
            assert json.loads(file.attrs["prepare"])[departure.key] == departure.value
            with h5py.File(made.space.prepared) as other:
                assert sorted(file["targets"][:]) == sorted(other["targets"][:])
                np.testing.assert_array_equal(
                    file["compendium/profiles"][:], other["compendium/profiles"][:]
                )


def test_what_a_study_does_anyway_is_no_departure(made) -> None:
    study = made.space.study
    assert departures_of(study) == tuple(DEPARTURES)
    joint = dataclasses.replace(study, training=dataclasses.replace(study.training, halves=1))
    assert departures_of(joint) == ("autoencoder", "scale-on-train")
    scaled = dataclasses.replace(
        study, prepare=dataclasses.replace(study.prepare, scale_on="train")
    )
    assert departures_of(scaled) == ("one-network", "clustered", "autoencoder")


@pytest.mark.parametrize(
    ("layers", "expected"), [((1, 2, 3), 2), ((1, 3), 1), ((3,), 3), ((2,), 2)]
)
def test_the_network_is_fixed_by_the_study(made, layers, expected) -> None:
    study = dataclasses.replace(made.space.study, grid=GridConfig(layers, (5, 8)))
    assert departure_network(study) == NetworkConfig(expected, 8, 0.1)
