"""Commands as a user gives them, on small recorded studies."""

from __future__ import annotations

from pathlib import Path

from dgex_jax.cli import main

GOLDEN = Path(__file__).parents[1] / "golden"
STUDY_A = GOLDEN / "study_a.npz"
PARTS = ("va", "te", "1000G", "GTEx", "tr")
RAW_NAMES = {"geo": "geo.gctx", "gtex": "gtex.gct.gz", "1000g": "1000g.txt.gz"}
RAW_NAMES |= {"landmarks": "map_lm.txt", "targets": "map_tg.txt"}
RAW = {f"--{flag}": GOLDEN / "preprocess" / name for flag, name in RAW_NAMES.items()}
"""The raw files of the recorded preprocessing, as flags."""
RECORDED = {
    "hidden-layers": 1,
    "units": 48,
    "dropout": 0,
    "epochs": 60,
    "batch-size": 200,
    "learning-rate": 1.2e-2,
    "monitor-size": 300,
    "seed": 1,
    "halves": 1,
}


def words_of(flags: dict[str, object]) -> list[str]:
    """Flags with their values, as words; ``None`` for a flag without one."""
    return [str(word) for pair in flags.items() for word in pair if word is not None]


def command(*arguments: object) -> int:
    """Run ``dgex`` with these words; exit codes of argparse as well."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def train(study: Path, folder: Path, *more: object, **changes: object) -> int:
    """Run ``dgex train`` with the settings of the recorded run, some of them changed."""
    settings = RECORDED | {key.replace("_", "-"): value for key, value in changes.items()}
    flags = words_of({f"--{key}": value for key, value in settings.items()})
    return command("train", study, "-o", folder, "-q", *flags, *more)


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of everything in a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.stat()
        found[path] = (status.st_size if path.is_file() else -1, status.st_mtime_ns)
    return found


def refused_line(capsys, folder: Path, run, *arguments: object) -> str:
    """Run what must fail with exit code 2 and one line, and change nothing in a folder."""
    before = snapshot(folder)
    code = run(*arguments)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert said.err.startswith("dgex")
    assert snapshot(folder) == before
    return said.err
