"""Tables, reports, paired timing, the machine, and the memory of other processes."""

from __future__ import annotations

import math
import os
import platform
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import memory
from benchmarks.machine import Machine, describe
from benchmarks.report import Bound, Line, Report, Table, as_markdown, as_text, comparison, write
from benchmarks.timing import Timing, noise_note, paired, ratio, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MACHINE = Machine("a processor", 2, 8.0, (), "Linux 6.1 x86_64", {"python": "3.11.7"})
ORIGIN = "python -m benchmarks.some", MACHINE


def _report(**changes: object) -> Report:
    line = Line(
        "an epoch",
        Timing((1.0, 2.0, 1.5)),
        "PyTorch eager",
        Timing((3.0, 3.0, 3.0)),
        Bound(0.75, "30 Gflop at 40 Gflop/s"),
    )
    given: dict[str, object] = {
        "name": "some",
        "title": "Some benchmark",
        "lines": [line],
    }
    return Report(**(given | changes))  # type: ignore[arg-type]


class _Clock:
    """Time passes only when something works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(name)
            self.now += seconds

        return call


def test_paired_takes_turns_in_both_orders_after_a_warmup() -> None:
    clock = _Clock()
    timings = paired(
        {"a": clock.work("a", 2.0), "b": clock.work("b", 3.0)}, 2, warmups=1, clock=clock
    )
    assert "".join(clock.calls) == "baabba"
    assert timings["a"].seconds == (2.0, 2.0)
    assert timings["b"].seconds == (3.0, 3.0)
    assert ratio(timings["a"], timings["b"]).rounds == (1.5, 1.5)


def test_timing_says_its_spread() -> None:
    timing = Timing((1.0, 4.0, 2.0))
    assert (timing.median, timing.low, timing.high, timing.spread) == (2.0, 1.0, 4.0, 1.5)
    assert timing.per(2).seconds == (0.5, 2.0, 1.0)
    assert str(timing) == "2 s (1 s to 4 s)"
    assert noise_note({"quiet": Timing((1.0, 1.05)), "loud": timing}).endswith("loud 150%")
    assert noise_note({"quiet": Timing((1.0, 1.05))}) == ""


@pytest.mark.parametrize("seconds", [(), (0.0,), (1.0, math.nan), (math.inf,), (-1.0,)])
def test_no_timing_without_positive_finite_times(seconds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not positive finite"):
        Timing(seconds)


def test_ratios_are_of_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio(Timing((1.0, 2.0)), Timing((1.0,)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5e-6, "2.5 us"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (900, "15 min"), (72000, "20 h")],
)
def test_times_have_fitting_units(seconds: float, text: str) -> None:
    assert show(seconds) == text


def test_table_is_aligned_and_refuses_ragged_rows() -> None:
    table = Table(("what", "time"), (("short", "1 s"), ("rather long", "10 ms")))
    lines = table.text().splitlines()
    assert lines[0].startswith("what")
    assert {len(line) for line in lines} == {len("rather long  10 ms")}
    assert table.markdown().splitlines() == [
        "| what | time |", "| --- | ---: |", "| short | 1 s |", "| rather long | 10 ms |",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="1 cells below 2 headings"):
        Table(("what", "time"), (("short",),))


def test_comparison_shows_ratio_bound_and_what_is_missing() -> None:
    row = dict(
        zip(comparison(_report().lines).header, comparison(_report().lines).rows[0], strict=True)
    )
    assert row["ours"] == "1.5 s (1 s to 2 s)"
    assert row["peer"] == "PyTorch eager: 3 s (3 s to 3 s)"
    assert row["peer / ours"] == "2.00 (1.50 to 3.00)"
    assert row["quickest"] == "3.00"
    assert (row["bound"], row["bound / ours"]) == ("750 ms", "50%")
    alone = comparison([Line("an epoch", Timing((1.0,)), "PyTorch eager")]).rows[0]
    assert alone == ("an epoch", "1 s", "PyTorch eager: not here", "", "", "", "")


def test_report_names_machine_command_reckoning_and_noise(tmp_path: Path) -> None:
    report = _report(
        notes=["a note"], rates=["a rate"], tables=[("More", Table(("x",), (("1",),)))]
    )
    for text in (as_text(report, *ORIGIN), as_markdown(report, *ORIGIN)):
        for piece in (
            "2 x a processor, 8 GiB, no GPU", "python 3.11.7", "python -m benchmarks.some",
            "a rate",
            "bound of an epoch: 30 Gflop at 40 Gflop/s", "noisy", "an epoch, ours 67%", "a note",
        ):  # fmt: skip
            assert piece in text
    path = write(report, *ORIGIN, tmp_path / "results")
    assert path == tmp_path / "results" / "some.md"
    assert path.read_text() == as_markdown(report, *ORIGIN)
    assert [each.name for each in path.parent.iterdir()] == ["some.md"]


def test_machine_is_described_without_names() -> None:
    machine = describe()
    assert machine.cores >= 1
    assert machine.memory_gb > 0.1
    assert machine.versions["python"] == platform.python_version()
    assert {"jax", "numpy"} <= set(machine.versions)
    text = " ".join(machine.lines())
    for name in (socket.gethostname(), os.environ.get("USER", "")):
        assert len(name) < 4 or name not in text


@pytest.mark.slow
def test_memory_is_that_of_the_child_alone() -> None:
    """100 MB more are seen as such, and what this process holds isn't counted."""
    held = bytearray(200 * 2**20)
    runs = [
        memory.run([sys.executable, "-c", f"x = b'1' * ({megabytes} * 2**20)"])
        for megabytes in (1, 101)
    ]
    less, more = (run.peak_bytes / 2**20 for run in runs)
    assert less < 100
    assert 90 < more - less < 110
    assert all(run.exit_code == 0 and run.seconds > 0 for run in runs)
    failed = memory.run([sys.executable, "-c", "raise SystemExit(3)"])
    assert failed.exit_code == 3
    del held


@pytest.mark.slow
def test_scripts_refuse_nonsense_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.all", "--only", "nothing"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
