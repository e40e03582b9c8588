"""Every platform on the reference scale, against plain loops and against preparation."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import FormatError, StudyError
from dgex_jax.io.expression import Expression
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.model.scale import Plan, make_plan

if TYPE_CHECKING:
    from dgex_jax.model.model import Model


def planned(model: Model, source: Any, platform: str, **options: Any) -> Plan:
    return make_plan(model, source, PredictOptions(platform, **options), Progress())  # type: ignore[arg-type]


def landmarks(plan: Plan) -> np.ndarray:
    return plan.landmarks(slice(0, len(plan.match.source.profiles)))


def a_file(path: Path, genes: list[str], n_profiles: int = 40, values: Any = None) -> Expression:
    """Tied values, so that the rules for ties count."""
    if values is None:
        values = np.random.default_rng(8).integers(0, 30, (n_profiles, len(genes))) / 4
    profiles = tuple(f"p{n}" for n in range(len(values)))
    return Expression(path, np.asarray(values, float), profiles, tuple(genes))


def average_ranks(values: list[float]) -> list[int]:
    """``int(average rank - 1)`` of a profile, as the original has it."""
    return [
        int(sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 - 1) for x in values
    ]


def dense_ranks(values: list[float], n_genes: int) -> list[int]:
    """``int(r / U * genes) - 1`` of a sample, clipped at 0, as the original has it."""
    distinct = sorted(set(values))
    return [max(int((distinct.index(x) + 1) / len(distinct) * n_genes) - 1, 0) for x in values]


def mapped(values: np.ndarray, quantile: np.ndarray, platform: str) -> np.ndarray:
    """Values of a quantile by rank, profile by profile."""
    rows = []
    for row in values.tolist():
        ranks = dense_ranks(row, len(row)) if platform == "rnaseq" else average_ranks(row)
        rows.append([quantile[rank] for rank in ranks])
    return np.array(rows)


def joint_ids(model: Model) -> list[str]:
    return list(dict.fromkeys([*model.landmarks.ensembl, *model.targets.ensembl]))


@pytest.mark.parametrize("platform", ["microarray", "rnaseq"])
@pytest.mark.parametrize("n_missing", [0, 4])
def test_joint_rule(model, tmp_path, platform, n_missing) -> None:
    """With nearly all genes: ranks among all that are there, landmarks and targets."""
    gone = [name for name in model.targets.ensembl if name not in model.landmarks.ensembl]
    genes = [name for name in joint_ids(model) if name not in gone[:n_missing]]
    file = a_file(tmp_path / "a", genes[::-1])
    plan = planned(model, file, platform, standardize="training")
    there = [name for name in model.targets.ensembl if name in genes]
    ranked = [*model.landmarks.ensembl, *there]
    values = file.values[:, [file.genes.index(name) for name in ranked]]
    n_all = 20 + 45
    assert len(ranked) == n_all - n_missing
    assert model.quantile is not None
    fractions = (np.arange(len(ranked)) + 0.5) / len(ranked)
    own = (np.arange(n_all) + 0.5) / n_all
    quantile = np.interp(fractions, own, model.quantile) if n_missing else model.quantile
    expected = mapped(values, quantile, platform)[:, :20]
    expected = ((expected - model.landmarks.mean) / model.landmarks.sd).astype(np.float32)
    np.testing.assert_array_equal(landmarks(plan), expected)
    fewer = " (at the same rank fractions)" if n_missing else ""
    assert plan.route.note == (
        f"{len(ranked)} of the model's 65 genes are there: ranks among them mapped to the "
        f"reference quantile, as in training{fewer}"
    )


@pytest.mark.parametrize("platform", ["microarray", "rnaseq", "l1000"])
@pytest.mark.parametrize("n_missing", [0, 3])
def test_landmarks_only(model, tmp_path, platform, n_missing) -> None:
    names = list(model.landmarks.ensembl)[n_missing:]
    file = a_file(tmp_path / "a", names)
    plan = planned(model, file, platform, standardize="training", impute=True)
    n = len(names)
    quantile = model.landmark_quantile
    if n_missing:
        quantile = np.interp((np.arange(n) + 0.5) / n, (np.arange(20) + 0.5) / 20, quantile)
    expected = mapped(file.values, quantile, platform)
    scaled = (expected - model.landmarks.mean[n_missing:]) / model.landmarks.sd[n_missing:]
    found = landmarks(plan)
    np.testing.assert_array_equal(found[:, n_missing:], scaled.astype(np.float32))
    assert not found[:, :n_missing].any()
    assert plan.imputed == list(model.landmarks.symbols[:n_missing])
    fewer = " (of 20, at the same rank fractions)" if n_missing else ""
    note = f"ranks among the {n} landmarks present, mapped to the reference quantile of the "
    assert plan.route.note.endswith(f": {note}landmarks{fewer}")
    assert not any("probes" in line for line in plan.lines())
    if platform != "l1000":
        n_there = n + sum(name in names for name in model.targets.ensembl)
        assert plan.route.note.startswith(
            f"{n_there} of the model's 65 genes are there, fewer than 90%: "
        )


def test_ninety_per_cent_is_the_border(model, tmp_path) -> None:
    gone = [name for name in model.targets.ensembl if name not in model.landmarks.ensembl]
    for n_missing, joint in ((6, True), (7, False)):
        genes = [name for name in joint_ids(model) if name not in gone[:n_missing]]
        plan = planned(model, a_file(tmp_path / "a", genes), "microarray")
        assert ("as in training" in plan.route.note) is joint


def test_model_without_a_joint_quantile(model, tmp_path) -> None:
    bare = replace(model, quantile=None)
    file = a_file(tmp_path / "a", joint_ids(model))
    plan = planned(bare, file, "microarray")
    assert plan.route.note.startswith("the model's study was not quantile-normalised: ranks among")


@pytest.mark.parametrize(
    ("platform", "standardize", "group", "name"),
    [
        ("microarray", "training", "compendium", "geo"),
        ("microarray", "input", "compendium", "geo"),
        ("rnaseq", None, "sets/GTEx", "gtex"),
        ("rnaseq", None, "sets/1000G", "thousand_genomes"),
    ],
)
def test_own_raw_file_gives_what_was_prepared(
    model, prepared, raw, platform, standardize, group, name
) -> None:
    """The way of a file of the study itself, raw, is that of training."""
    with h5py.File(prepared) as file, ExitStack() as files:
        stored = pd.DataFrame(file[f"{group}/X"][:], index=file[f"{group}/profiles"].asstr()[:])
        source = open_input(getattr(raw, name), files)
        plan = planned(model, source, platform, standardize=standardize)
        X = landmarks(plan)
        profiles = list(plan.match.source.profiles)
    expected = stored.loc[profiles].to_numpy()
    np.testing.assert_allclose(X, expected, rtol=0, atol=1e-5)
    ours, theirs = (np.concatenate(list(model.method(values))) for values in (X, expected))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("block_size", [1, 7, 33, 512])
def test_standardised_by_the_input(model, table, tmp_path, block_size) -> None:
    file = table.expression(tmp_path / "a")
    plan = planned(
        model, file, "microarray", standardize="input", block_size=block_size, input_ids="ensembl"
    )
    columns = [table.genes.index(name) for name in model.landmarks.ensembl]
    values = mapped(table.values[:, columns], model.landmark_quantile, "microarray")
    expected = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)
    found = landmarks(plan)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    whole = planned(model, file, "microarray", standardize="input", input_ids="ensembl")
    assert found.tobytes() == landmarks(whole).tobytes()


def of_landmarks(model: Model, values: np.ndarray, platform: str, **options: Any) -> Plan:
    """A plan for a file of the landmarks alone."""
    file = a_file(Path("a"), list(model.landmarks.ensembl), values=values)
    return planned(model, file, platform, **options)


def test_too_few_profiles_for_their_own_deviations(model) -> None:
    values = np.random.default_rng(8).integers(0, 30, (30, 20)) / 4
    for n in (1, 29):
        with pytest.raises(FormatError, match=rf"has {n} profiles, too few for .*\(30 are needed"):
            of_landmarks(model, values[:n], "rnaseq")
        assert len(landmarks(of_landmarks(model, values[:n], "l1000"))) == n
    assert len(landmarks(of_landmarks(model, values, "rnaseq"))) == 30


def test_landmarks_with_one_value(model) -> None:
    """A landmark that never changes becomes 0; a file that never changes is refused."""
    lowest, symbol = np.random.default_rng(1).normal(size=(35, 20)), model.landmarks.symbols[4]
    lowest[:, 4] = -99
    plan = of_landmarks(model, lowest, "microarray", standardize="input")
    assert plan.scaling is not None
    assert plan.scaling.constant == (symbol,)
    assert not landmarks(plan)[:, 4].any()
    assert f"1 landmarks have one value in all profiles and become 0: {symbol}" in plan.lines()
    with pytest.raises(FormatError, match="every landmark has one value in all profiles"):
        of_landmarks(model, np.tile(lowest[:1], (35, 1)), "rnaseq")


def test_l1000_in_the_reference_range_stays(model) -> None:
    low, high = model.quantile[0], model.quantile[-1]
    values = np.random.default_rng(2).uniform(low, high, (10, 20))
    values[3, 4] = high + 2
    plan = of_landmarks(model, values, "l1000")
    scaled = (values - model.landmarks.mean) / model.landmarks.sd
    np.testing.assert_array_equal(landmarks(plan), scaled.astype(np.float32))
    assert plan.route.note.startswith("99.5% of the values are in the reference range from")
    assert plan.route.note.endswith("values are taken as they are")
    values[5] += high
    plan = of_landmarks(model, values, "l1000")
    assert "ranks among the 20 landmarks present" in plan.route.note
    expected = mapped(values, model.landmark_quantile, "l1000")
    scaled = (expected - model.landmarks.mean) / model.landmarks.sd
    np.testing.assert_array_equal(landmarks(plan), scaled.astype(np.float32))


def test_values_that_are_hardly_standardised(model) -> None:
    values = np.random.default_rng(2).normal(size=(3, 20))
    assert of_landmarks(model, values, "standardized").warnings == ()
    plan = of_landmarks(model, values * 500, "standardized")
    assert plan.lines()[-1].startswith("warning: values up to ")


@pytest.mark.parametrize("platform", ["standardized", "microarray", "rnaseq", "l1000"])
@pytest.mark.parametrize("block_size", [3, 512])
def test_values_that_can_not_be_used(model, platform, block_size) -> None:
    bad, flat, huge = (np.random.default_rng(2).normal(size=(40, 20)) for _ in range(3))
    bad[7, 2] = bad[39, 3] = np.nan
    bad[20, 5] = np.inf
    flat[[4, 9]] = 3.25
    huge[3, 3] = 1e300
    first = f"the first is nan in profile 'p7', gene {model.landmarks.ensembl[2]!r}"
    for values, cause in (
        (bad, f"2 missing and 1 infinite values; {first}"),
        (flat, "2 profiles have one value for all genes, the first is 'p4'"),
        (huge, "beyond the range of float32"),
    ):
        with pytest.raises(FormatError) as caught:
            of_landmarks(model, values, platform, block_size=block_size)
        assert str(caught.value).startswith("a: ")
        assert str(caught.value).endswith(cause)


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(StudyError, match="are taken as they are"):
        PredictOptions("standardized", standardize="training")
    with pytest.raises(StudyError, match="platform = 'array': must be one of 'standardized'"):
        PredictOptions("array")  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="block_size = 0: must be at least 1"):
        PredictOptions("l1000", block_size=0)
    settled = {
        (trained_on, platform): PredictOptions(platform).settled(trained_on).standardize
        for trained_on in ("array", "rnaseq", "l1000")
        for platform in ("microarray", "rnaseq", "l1000", "standardized")
    }
    by_training = {
        *(("array", "microarray"), ("array", "l1000"), ("rnaseq", "rnaseq")),
        *(("l1000", "l1000"), ("l1000", "microarray")),
    }
    assert {pair for pair, by in settled.items() if by == "training"} == by_training
    assert {platform for (_, platform), by in settled.items() if by is None} == {"standardized"}
    assert PredictOptions("rnaseq", standardize="input").settled("rnaseq").standardize == "input"
