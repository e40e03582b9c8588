"""Turn each deliberate fault of ``faults.toml`` on and see which test finds it.

    python tests/mutations/run.py [WORDS ...]      faults whose rule holds all WORDS (default: all)

Works on a copy of the checkout. Prints a table and leaves with 1 if a fault is found by no test.
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
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
RECORDED = re.compile(
    r"test_recorded\.py|test_pylearn2\.py|test_all_ten_means|test_recorded_study_equals|"
    r"test_one_cluster_keeps_exactly_what_the_original_kept"
)
"""Tests that compare with the recorded behaviour of the original software."""

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
SECONDS = 300


def main() -> int:
    """Run the faults asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    faults = tomllib.loads(Path(__file__).with_name("faults.toml").read_text(encoding="utf-8"))
    chosen = [fault for fault in faults["fault"] if all(word in fault["rule"] for word in words)]
    with tempfile.TemporaryDirectory(prefix="dgex-mutations-") as scratch:
        copy = Path(scratch) / "checkout"
        for name in ("dgex_jax", "tests", "pyproject.toml", "README.md"):
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        if (CHECKOUT.parent / "shared").is_dir():
            copy.with_name("shared").symlink_to(CHECKOUT.parent / "shared")
        print("| rule | found by | recorded behaviour |\n|---|---|---|", flush=True)
        found = [one(fault, copy) for fault in chosen]
    recorded = sum(bool(RECORDED.search(test)) for test in found)
    print(
        f"\n{len(chosen)} faults, {sum(map(bool, found))} found, {recorded} of them by recorded "
        "behaviour of the original"
    )
    return 0 if all(found) else 1


def one(fault: dict[str, str], copy: Path) -> str:
    """Turn one fault on, run its tests, turn it off; gives the test that failed, if one did."""
    path = copy / fault["file"]
    sound = path.read_text(encoding="utf-8")
    if sound.count(fault["old"]) != 1:
        raise SystemExit(f"{fault['rule']}: {sound.count(fault['old'])} places in {fault['file']}")
    path.write_text(sound.replace(fault["old"], fault["new"]), encoding="utf-8")
    try:
        test = first_failure(copy, fault["tests"])
    finally:
        path.write_text(sound, encoding="utf-8")
    recorded = "yes" if RECORDED.search(test) else ""
    print(f"| {fault['rule']} | {f'`{test}`' if test else 'NO TEST'} | {recorded} |", flush=True)
    return test


def first_failure(copy: Path, tests: list[str]) -> str:
    """Run tests until one fails; a run without end counts as a failure of its first test."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*pytest, "-m", "not slow", *tests],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
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
