"""Flip one bit of a file, read it as the product does, and judge what came of it.

Reading happens in a child process with limits of time and memory, since a flipped bit can make a
library hang or crash: ``python -m tests.reliability.bitrot FOLDER`` gets flips as JSON lines and
answers each with a verdict.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError
from tests.reliability.bitrot_artefacts import ARTEFACTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.reliability.bitrot_artefacts import Artefact

CHECKOUT = Path(__file__).resolve().parents[2]
EDGE_BYTES = 64
"""Of a file's beginning and end, where headers and checksums lie: flips are sure to go there."""
SECONDS = 20
MEMORY_BYTES = 2 << 30
"""What a reading may take beyond what the process had before."""

FOUND, HARMLESS, LOSS = "found", "no matter", "LOSS"


@dataclass(frozen=True)
class Flip:
    """Bit `bit` (from 0, the lowest of the first byte) of `file` in the folder of an artefact."""

    artefact: str
    file: str
    bit: int


@dataclass(frozen=True)
class Verdict:
    """What came of a flip: `FOUND`, `HARMLESS` or `LOSS`, why, and in how many seconds."""

    flip: Flip
    kind: str
    text: str
    seconds: float


def choose_flips(
    artefact: Artefact, folder: Path, n: int, seed: int = 1, *, everywhere: bool = True
) -> list[Flip]:
    """`n` flips, the same for the same seed.

    Half of them uniform over all bits of all files; the others go round the regions of the
    artefact: places of its own, every file, its first and its last bytes. With `everywhere` each
    region is visited, even if that takes more than `n`.
    """
    chance = random.Random(seed)
    files = artefact.files(folder)
    sizes = [8 * (folder / file).stat().st_size for file in files]
    picked = chance.choices(files, sizes, k=n // 2)
    flips = [(file, chance.randrange(8 * (folder / file).stat().st_size)) for file in picked]
    regions = [
        (file, 8 * start, 8 * stop) for file, start, stop in artefact.places(folder) if start < stop
    ]
    for file, size in zip(files, sizes, strict=True):
        edge = min(8 * EDGE_BYTES, size)
        regions += [(file, 0, size), (file, 0, edge), (file, size - edge, size)]
    for number in range(max(n - len(flips), len(regions) if everywhere else 0)):
        file, start, stop = regions[number % len(regions)]
        flips.append((file, chance.randrange(start, stop)))
    return [Flip(artefact.name, file, bit) for file, bit in flips]


def flip(path: Path, bit: int) -> None:
    """Flip a bit of a file in its place."""
    place, number = divmod(bit, 8)
    with path.open("r+b") as stream:
        stream.seek(place)
        (value,) = stream.read(1)
        stream.seek(place)
        stream.write(bytes([value ^ 1 << number]))


def judge(artefact: Artefact, one: Flip, folder: Path, pristine: str) -> tuple[str, str]:
    """Read what has a flipped bit; the kind of verdict and its text."""
    try:
        digest, told = artefact.read(folder)
    except Exception as error:  # noqa: BLE001
        text, digest, told = str(error), pristine, [str(error)]
        if not isinstance(error, DgexError) and not artefact.foreign:
            return LOSS, f"{type(error).__name__}: {text}"
    text = " | ".join(told)
    if digest != pristine:
        return LOSS, f"read as something else ({text or 'without a word'})"
    if not told:
        return HARMLESS, ""
    if any("\n" in line for line in told) and not artefact.foreign:
        return LOSS, f"not one line: {text!r}"
    if not artefact.foreign and not any(artefact.names(line, one.file) for line in told):
        return LOSS, f"the file is not named: {text}"
    return FOUND, text


def judge_all(folder: Path, flips: Sequence[Flip]) -> Iterator[Verdict]:
    """Judge flips one after the other; the artefacts lie below `folder` by name."""
    damaged, there = folder / "damaged", ""
    pristine = {name: digest_of(name, folder) for name in {one.artefact for one in flips}}
    # Once all of them were read, so that no library is loaded within the limit.
    limit_memory()
    for one in flips:
        artefact, whole = ARTEFACTS[one.artefact], folder / one.artefact
        if one.artefact != there:
            renew(damaged, whole)
            there = one.artefact
        flip(damaged / one.file, one.bit)
        start = time.monotonic()
        signal.alarm(SECONDS)
        kind, text = judge(artefact, one, damaged, pristine[artefact.name])
        signal.alarm(0)
        yield Verdict(one, kind, text, time.monotonic() - start)
        if artefact.changes:
            renew(damaged, whole)
        else:
            flip(damaged / one.file, one.bit)


def digest_of(name: str, folder: Path) -> str:
    """Read an artefact that is whole, in the place where it will be damaged."""
    renew(folder / "damaged", folder / name)
    digest, told = ARTEFACTS[name].read(folder / "damaged")
    if told:
        raise AssertionError(f"{name}: complaints about no damage: {told}")
    return digest


def renew(damaged: Path, whole: Path) -> None:
    """Copy what is whole over what is damaged."""
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(whole, damaged)


def limit_memory() -> None:
    """Let this process take no more than `MEMORY_BYTES` beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def trial(
    folder: Path, flips: Sequence[Flip], module: str = "tests.reliability.bitrot"
) -> list[Verdict]:
    """Judge flips in child processes (of `module`); one that ends its child is a loss."""
    verdicts: list[Verdict] = []
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", module, str(folder)]
    while len(verdicts) < len(flips):
        left = flips[len(verdicts) :]
        lines = "".join(f"{json.dumps(asdict(one))}\n" for one in left)
        child = subprocess.run(
            command,
            input=lines,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=CHECKOUT,
        )
        answers = [json.loads(line) for line in child.stdout.splitlines()]
        verdicts += [Verdict(one, **answer) for one, answer in zip(left, answers, strict=False)]
        if len(answers) < len(left):
            if child.returncode >= 0 and not answers:
                raise RuntimeError(f"the child failed by itself:\n{child.stderr}")
            cause = f"the process ended with {child.returncode}: {child.stderr[-300:]}"
            if child.returncode == -signal.SIGALRM:
                cause = f"hangs: not read in {SECONDS} s"
            verdicts.append(Verdict(left[len(answers)], LOSS, cause, float(SECONDS)))
    return verdicts


def count(verdicts: Sequence[Verdict]) -> Counter[str]:
    """How many verdicts of each kind."""
    return Counter(verdict.kind for verdict in verdicts)


def main() -> None:
    """The child's side of `trial`."""
    flips = [Flip(**json.loads(line)) for line in sys.stdin]
    # What libraries print must not be taken for a verdict.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for verdict in judge_all(Path(sys.argv[1]), flips):
        about = {"kind": verdict.kind, "text": verdict.text, "seconds": verdict.seconds}
        print(json.dumps(about), file=answers, flush=True)


if __name__ == "__main__":
    main()
