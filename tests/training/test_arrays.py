"""The arrays in memory are the study's, cut into halves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.config import PARTS
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import StudyError
from dgex_jax.training.arrays import StudyArrays, load_arrays

if TYPE_CHECKING:
    from pathlib import Path


def test_float32_of_the_file(golden: Path, study_a: StudyArrays) -> None:
    with np.load(golden / "study_a.npz") as file:
        for part in PARTS:
            for kind, arrays in (("X", study_a.X), ("Y", study_a.Y)):
                assert arrays[part].dtype == np.float32
                np.testing.assert_array_equal(
                    arrays[part], file[f"{kind}_{part}"].astype(np.float32)
                )
    assert study_a.n_landmarks == 24


def test_halves_divide_the_targets(study_a: StudyArrays, halved_a: StudyArrays) -> None:
    assert study_a.half_sizes() == [40]
    assert halved_a.half_sizes() == [20, 20]
    for part in PARTS:
        columns = [halved_a.half(part, index, 20) for index in (0, 1)]
        np.testing.assert_array_equal(np.concatenate(columns, axis=1), study_a.Y[part])


def test_narrow_half_is_filled_up_with_zeros(study_a: StudyArrays) -> None:
    arrays = StudyArrays(study_a.X, study_a.Y, (slice(0, 19), slice(19, 40)))
    assert arrays.half_sizes() == [19, 21]
    padded = arrays.half("va", 0, 21)
    assert padded.shape == (150, 21)
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[:, :19], study_a.Y["va"][:, :19])
    assert not padded[:, 19:].any()


def test_one_target_makes_no_two_halves(golden: Path, tmp_path: Path) -> None:
    with np.load(golden / "study_a.npz") as file:
        arrays = {name: file[name][:, :1] if name[0] == "Y" else file[name] for name in file}
    path = tmp_path / "narrow.npz"
    np.savez(path, **arrays)
    with open_prepared(path) as study:
        assert load_arrays(study, 1).half_sizes() == [1]
        with pytest.raises(StudyError, match="halves") as caught:
            load_arrays(study, 2)
    assert str(path) in str(caught.value)
