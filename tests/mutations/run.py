"""Turn each deliberate fault of ``faults.toml`` on and see which test finds it.

    python tests/mutations/run.py [WORDS ...]      faults whose rule holds all WORDS (default: all)
    python tests/mutations/run.py --out docs/mutations.md      all of them, and the table as a file

Works on copies of the checkout, one for each of --jobs workers. Prints a table and leaves with 1 if
a fault is found by no test. At last the tests that turned red must pass without any fault.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
RECORDED = re.compile(
    r"train/test_recorded\.py::|test_all_ten_means_are_the_recorded_ones|"
    r"test_sample_is_python_27s|test_paper_monitors_these_profiles|"
    r"test_batch_orders_of_the_papers_size|test_first_weights_of_the_papers_narrowest_network|"
    r"test_recorded_streams_follow_from_the_seeds|test_recorded_study_equals_the_original|"
    r"test_float64_values_are_the_originals|test_one_cluster_keeps_exactly_what_the_original_kept"
)
"""Tests that compare with the recorded behaviour of the original software."""

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?::.+?)(?: - .*)?$", re.MULTILINE)
"""Of a test; a file that can't even be imported finds nothing."""

SECONDS = 600
HEAD = "| rule | file | test that turned red | recorded behaviour |\n|---|---|---|---|"
ABOUT = """\
# Deliberate faults and the tests that find them
Each line is one fault put into one rule (what is replaced by what stands in
[tests/mutations/faults.toml](../tests/mutations/faults.toml)), and the first test that turned red.
"Recorded behaviour" marks tests that compare with what the original Theano / Pylearn2 software and
preprocessing scripts really gave (`tests/golden`). Without a fault
the same tests pass. Made by
`python tests/mutations/run.py --out docs/mutations.md`.
"""


@dataclass(frozen=True)
class Found:
    """A fault, and the test that turned red (empty: none did)."""

    rule: str
    file: str
    test: str

    @property
    def recorded(self) -> bool:
        """Whether that test compares with the original's recorded behaviour."""
        return bool(RECORDED.search(self.test))

    @property
    def line(self) -> str:
        """Row of the table."""
        test = f"`{self.test}`" if self.test else "NO TEST"
        return f"| {self.rule} | `{self.file}` | {test} | {'yes' if self.recorded else 'no'} |"


def main() -> int:
    """Run the faults asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    parser.add_argument("--out", type=Path, help="write the table of all faults as Markdown")
    parser.add_argument("--jobs", type=int, default=2, help="faults tried side by side")
    arguments = parser.parse_args()
    if arguments.out and arguments.words:
        parser.error("--out is for all faults, without WORDS")
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: must be 1 or more")
    faults = tomllib.loads(Path(__file__).with_name("faults.toml").read_text(encoding="utf-8"))
    chosen = [
        fault for fault in faults["fault"] if all(word in fault["rule"] for word in arguments.words)
    ]
    if not chosen:
        parser.error(f"no rule holds {' and '.join(arguments.words)}")
    with tempfile.TemporaryDirectory(prefix="dgex-mutations-") as scratch:
        folders = [Path(scratch) / str(job) for job in range(arguments.jobs)]
        copies = [copied(folder) for folder in folders]
        # A fault that can't be put in is better known now than after half of the others.
        for fault in chosen:
            faulty(fault, copies[0])
        print(HEAD, flush=True)
        found = side_by_side(chosen, copies)
        refuse_red(copies[0], sorted({f"tests/{each.test}" for each in found if "::" in each.test}))
    recorded = sum(each.recorded for each in found)
    total = (
        f"{len(found)} faults, {sum(bool(each.test) for each in found)} found, {recorded} of them "
        "by recorded behaviour of the original."
    )
    print(f"\n{total}")
    if arguments.out:
        lines = [ABOUT, total, "", HEAD, *(each.line for each in found), ""]
        arguments.out.write_text("\n".join(lines), encoding="utf-8")
    return 0 if all(each.test for each in found) else 1


def side_by_side(faults: list[dict[str, Any]], copies: list[Path]) -> list[Found]:
    """Try each fault in a copy of the checkout that no other fault is in; prints as they end."""
    idle: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        idle.put(copy)

    def borrow(fault: dict[str, Any]) -> Found:
        copy = idle.get()
        try:
            found = one(fault, copy)
        finally:
            idle.put(copy)
        print(found.line, flush=True)
        return found

    with ThreadPoolExecutor(len(copies)) as jobs:
        return list(jobs.map(borrow, faults))


def copied(scratch: Path) -> Path:
    """Copy what the tests need of the checkout into `scratch`."""
    copy = scratch / "checkout"
    copy.mkdir(parents=True)
    for name in ("dgex_jax", "docs", "tests", "pyproject.toml", "README.md"):
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(
                source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_build")
            )
        else:
            shutil.copy(source, copy / name)
    if (CHECKOUT.parent / "shared").is_dir():
        copy.with_name("shared").symlink_to(CHECKOUT.parent / "shared")
    return copy


def faulty(fault: dict[str, str], copy: Path) -> str:
    """Return the fault's file with the fault in it; its place must be the only one."""
    sound = (copy / fault["file"]).read_text(encoding="utf-8")
    if sound.count(fault["old"]) != 1:
        raise SystemExit(f"{fault['rule']}: {sound.count(fault['old'])} places in {fault['file']}")
    return sound.replace(fault["old"], fault["new"])


def refuse_red(copy: Path, tests: list[str]) -> None:
    """Leave if a test is red without any fault: it would seem to find them all."""
    red = first_failure(copy, tests, seconds=10 * SECONDS) if tests else ""
    if red:
        raise SystemExit(f"red without any fault: {red}")


def one(fault: dict[str, Any], copy: Path) -> Found:
    """Turn one fault on, run its tests, turn it off."""
    path = copy / fault["file"]
    sound = path.read_text(encoding="utf-8")
    path.write_text(faulty(fault, copy), encoding="utf-8")
    try:
        test = first_failure(copy, fault["tests"])
    finally:
        path.write_text(sound, encoding="utf-8")
    return Found(fault["rule"], fault["file"], test)


def first_failure(copy: Path, tests: list[str], seconds: int = SECONDS) -> str:
    """Run tests until one fails; a run without end counts as a failure of its first test."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    # One cache for all faults (tests/conftest.py): they share programs.
    compiled = str(copy.parents[1] / "compiled")
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "DGEX_TEST_COMPILED": compiled,
    }
    try:
        done = subprocess.run(
            [*pytest, "-m", "not slow", *tests],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (without end)"
    if done.returncode == 0:
        return ""
    failed = FAILED.search(done.stdout)
    if failed is None:
        raise SystemExit(f"pytest could not run:\n{done.stdout}\n{done.stderr}")
    return failed[1].removeprefix("tests/")


if __name__ == "__main__":
    sys.exit(main())
