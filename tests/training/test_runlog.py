from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dgex_jax.training.loop import EpochRecord
from dgex_jax.training.runlog import RunLog

PARTS = ("va", "te", "1000G", "GTEx", "tr")
ERRORS = [f"MAE_{part}" for part in PARTS]
CHANGES = [f"d_{part}" for part in PARTS]
SIZES = (19, 20)


def records(n_halves: int, n_epochs: int = 4) -> list[EpochRecord]:
    stream = np.random.default_rng(3)
    return [
        EpochRecord(
            epoch,
            stream.uniform(0.1, 0.9, (n_halves, 5)),
            stream.uniform(1e-5, 1e-2, n_halves).astype(np.float32),
            0.25 * epoch,
        )
        for epoch in range(n_epochs)
    ]


def write(folder, sizes, epochs) -> None:
    log = RunLog(folder, sizes)
    for number, record in enumerate(epochs, start=2):
        log.append(record)
        # On disk at once, so that a run can be watched and nothing is lost when it is stopped.
        assert len((folder / "log.tsv").read_text().splitlines()) == number


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str)


def numbers(table: pd.DataFrame, columns: list[str], kind=np.float64) -> np.ndarray:
    return table[columns].to_numpy(str).astype(kind)


def test_one_half_writes_one_log(tmp_path) -> None:
    epochs = records(1)
    write(tmp_path, (40,), epochs)
    assert [path.name for path in tmp_path.iterdir()] == ["log.tsv"]
    table = read(tmp_path / "log.tsv")
    pairs = [column for pair in zip(ERRORS, CHANGES, strict=True) for column in pair]
    assert list(table) == ["epoch", *pairs, "learning_rate", "seconds"]
    assert list(table["epoch"]) == ["0", "1", "2", "3"]
    assert list(table["seconds"]) == ["0.0000", "0.2500", "0.5000", "0.7500"]


def test_two_halves_write_a_log_each_and_their_mean_by_genes(tmp_path) -> None:
    epochs = records(2)
    write(tmp_path, SIZES, epochs)
    both = read(tmp_path / "log.tsv")
    halves = [read(tmp_path / f"log_half{half}.tsv") for half in (1, 2)]
    errors = [numbers(table, ERRORS) for table in halves]
    for half, table in enumerate(halves):
        np.testing.assert_array_equal(errors[half], [one.errors[half] for one in epochs])
        np.testing.assert_array_equal(
            numbers(table, ["learning_rate"], np.float32)[:, 0],
            [one.learning_rates[half] for one in epochs],
        )
    mean = (19 * errors[0] + 20 * errors[1]) / 39
    np.testing.assert_allclose(numbers(both, ERRORS), mean, rtol=1e-15)
    np.testing.assert_array_equal(
        numbers(both, ["learning_rate_half1", "learning_rate_half2"], np.float32),
        [one.learning_rates for one in epochs],
    )
    assert "learning_rate" not in both
    assert list(halves[0]) == list(halves[1])


@pytest.mark.parametrize("name", ["log.tsv", "log_half1.tsv", "log_half2.tsv"])
def test_changes_are_relative_to_the_epoch_before(tmp_path, name) -> None:
    write(tmp_path, SIZES, records(2))
    table = read(tmp_path / name)
    errors = numbers(table, ERRORS)
    before = np.vstack([np.full(5, 10.0), errors[:-1]])
    np.testing.assert_allclose(numbers(table, CHANGES), errors / before - 1, rtol=1e-4)


def test_a_new_log_replaces_the_old(tmp_path) -> None:
    write(tmp_path, SIZES, records(2))
    write(tmp_path, SIZES, records(2, n_epochs=1))
    assert [len(read(path)) for path in sorted(tmp_path.iterdir())] == [1, 1, 1]
