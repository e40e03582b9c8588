from __future__ import annotations

import numpy as np
import pytest

from benchmarks.growth import draw, exponents, main
from benchmarks.growth_stages import AXES, STAGES, Point, plan


def test_exponents_are_those_of_the_powers() -> None:
    sizes = (10, 100, 1000)
    points = [Point("a", "units", n, 3e-4 * n**1.5, 7 * n**2) for n in sizes]
    points += [Point("a", "genes", 5, 1.0, 9)]
    powers, alone = exponents(points)
    assert (powers.stage, powers.axis) == ("a", "units")
    np.testing.assert_allclose((powers.time, powers.memory), (1.5, 2.0), rtol=1e-12)
    assert (alone.time, alone.memory) == (None, None)
    assert (alone.text(alone.time), powers.text(powers.time)) == ("", "1.50")


@pytest.mark.parametrize("small", [False, True])
def test_one_size_changes_at_a_time(small) -> None:
    works = list(plan(STAGES, small=small))
    assert {work.stage for work in works} == set(STAGES)
    for stage in STAGES:
        mine = [work.sizes for work in works if work.stage == stage]
        middle = mine[1]
        for axis in AXES:
            others = [other for other in AXES if other != axis]
            line = {
                getattr(one, axis)
                for one in mine
                if all(getattr(one, other) == getattr(middle, other) for other in others)
            }
            size = getattr(middle, axis)
            assert line == ({size // 2, size, 2 * size} if size else {0})


def test_a_line_for_each_stage_in_every_panel() -> None:
    points = [
        Point(stage, axis, n, n * 1.0, n * 10)
        for stage in ("prepare", "train")
        for axis in AXES
        for n in (1, 2)
    ]
    figure = draw(points)
    time, memory = np.reshape(figure.axes, (2, len(AXES)))
    for column in range(len(AXES)):
        assert [line.get_label() for line in time[column].lines] == ["prepare", "train"]
        np.testing.assert_array_equal(time[column].lines[0].get_ydata(), [1, 2])
        np.testing.assert_array_equal(memory[column].lines[1].get_ydata(), [1e-8, 2e-8])


@pytest.mark.slow
def test_every_stage_is_measured(capsys) -> None:
    assert main(["--small"]) == 0
    said = capsys.readouterr().out
    for stage in STAGES:
        assert f"\n{stage} " in said
