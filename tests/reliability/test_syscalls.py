"""By the calls that the system saw: every file was on the disk before it got its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.reliability.commands import STUDY, TABLES, raw_flags
from tests.reliability.syscalls import follow, reason_to_skip, traced

if TYPE_CHECKING:
    from tests.reliability.syscalls import Order

CHECKOUT = Path(__file__).parents[2]
OUT = Path("/out")

WHOLE = """\
7 openat(AT_FDCWD</>, "/out/.7.tmp.a.tsv", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</out/.7.tmp.a.tsv>
7 write(3</out/.7.tmp.a.tsv>, ""..., 10) = 10
7 openat(AT_FDCWD</>, "/out/.7.tmp.a.tsv", O_RDWR|O_CLOEXEC) = 4</out/.7.tmp.a.tsv>
7 fsync(4</out/.7.tmp.a.tsv>) = 0
7 rename("/out/.7.tmp.a.tsv", "/out/a.tsv") = 0
7 openat(AT_FDCWD</>, "/out", O_RDONLY|O_CLOEXEC) = 4</out>
7 fsync(4</out>) = 0
"""
FOLDER = """\
7 mkdir("/out/.7.tmp.model", 0777) = 0
7 openat(AT_FDCWD</>, "/out/.7.tmp.model/w", O_WRONLY|O_CREAT, 0666) = 3</out/.7.tmp.model/w>
7 write(3</out/.7.tmp.model/w>, ""..., 10) = 10
7 fsync(3</out/.7.tmp.model/w>) = 0
7 fsync(4</out/.7.tmp.model>) = 0
7 rename("/out/.7.tmp.model", "/out/model") = 0
7 fsync(5</out>) = 0
"""
RUN = """\
7 openat(AT_FDCWD</>, "/out/log.tsv", O_WRONLY|O_CREAT|O_APPEND, 0666) = 3</out/log.tsv>
7 write(3</out/log.tsv>, ""..., 10) = 10
7 fsync(3</out/log.tsv>) = 0
7 openat(AT_FDCWD</>, "/out/.t.tmp.done.json", O_WRONLY|O_CREAT, 0666) = 4</out/.t.tmp.done.json>
7 pwrite64(4</out/.t.tmp.done.json>, ""..., 10, 0) = 10
7 fsync(4</out/.t.tmp.done.json>) = 0
7 rename("/out/.t.tmp.done.json", "/out/done.json") = 0
7 fsync(5</out>) = 0
"""


def after(log: str) -> Order:
    return follow(log.splitlines(), OUT, Path("/"))


def without(log: str, line: str) -> str:
    kept = [one for one in log.splitlines() if line not in one]
    assert len(kept) == len(log.splitlines()) - 1
    return "\n".join(kept)


@pytest.mark.parametrize(
    ("log", "renamed"), [(WHOLE, ["a.tsv"]), (FOLDER, ["model"]), (RUN, ["done.json"])]
)
def test_the_right_order_has_no_fault(log: str, renamed: list[str]) -> None:
    order = after(log)
    assert (order.faults, order.renamed) == ([], renamed)


@pytest.mark.parametrize(
    ("log", "missing", "fault"),
    [
        (WHOLE, "fsync(4</out/.7", "a.tsv: .7.tmp.a.tsv was not synced before"),
        (WHOLE, "fsync(4</out>", "a.tsv: its folder was not synced at the end"),
        (FOLDER, "fsync(3<", "model: .7.tmp.model/w was not synced before"),
        (FOLDER, "fsync(4<", "model: the name .7.tmp.model/w was not synced before"),
        (FOLDER, "fsync(5<", "model: its folder was not synced at the end"),
        (RUN, "fsync(3<", "done.json: log.tsv was not synced before"),
    ],
)
def test_a_missing_fsync_is_found(log: str, missing: str, fault: str) -> None:
    assert after(without(log, missing)).faults[:1] == [fault]


def test_a_failed_fsync_is_none() -> None:
    log = WHOLE.replace(
        "fsync(4</out/.7.tmp.a.tsv>) = 0",
        "fsync(4</out/.7.tmp.a.tsv>) = -1 EIO (Input/output error)",
    )
    assert after(log).faults == ["a.tsv: .7.tmp.a.tsv was not synced before"]


@pytest.mark.parametrize(
    "write",
    [
        'write(3</out/.7.tmp.a.tsv>, ""..., 1) = 1',
        'pwrite64(3</out/.7.tmp.a.tsv>, ""..., 1, 0) = 1',
        "ftruncate(3</out/.7.tmp.a.tsv>, 9) = 0",
        "sendfile(3</out/.7.tmp.a.tsv>, 9</in>, NULL, 9) = 9",
        "copy_file_range(9</in>, NULL, 3</out/.7.tmp.a.tsv>, NULL, 9, 0) = 9",
    ],
)
def test_a_write_after_the_fsync_is_found(write: str) -> None:
    sync = "7 fsync(4</out/.7.tmp.a.tsv>) = 0\n"
    assert after(WHOLE.replace(sync, f"{sync}8 {write}\n")).faults == [
        "a.tsv: .7.tmp.a.tsv was not synced before"
    ]


def test_a_write_by_another_thread_during_the_fsync_is_found() -> None:
    name = "</out/.7.tmp.a.tsv>"
    sync, write = f"7 fsync(4{name}) = 0\n", f'8 write(3{name}, ""..., 1'
    meanwhile = (
        f"7 fsync(4{name} <unfinished ...>\n{write} <unfinished ...>\n"
        "8 <... write resumed>) = 1\n7 <... fsync resumed>) = 0\n"
    )
    assert after(WHOLE.replace(sync, meanwhile)).faults == [
        "a.tsv: .7.tmp.a.tsv was not synced before"
    ]
    before = f"{write}) = 1\n7 fsync(4{name} <unfinished ...>\n7 <... fsync resumed>) = 0\n"
    assert after(WHOLE.replace(sync, before)).faults == []


def test_a_write_under_the_final_name_is_found() -> None:
    log = '7 openat(AT_FDCWD</>, "/out/b", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</out/b>\n'
    assert "b: written to under its final name" in after(log).faults
    later = f'{WHOLE}7 write(3</out/a.tsv>, ""..., 1) = 1\n'
    assert after(later).faults == ["a.tsv: written to under its final name"]
    lock = '7 openat(AT_FDCWD</>, "/out/.b.lock", O_RDWR|O_CREAT, 0666) = 3</out/.b.lock>\n'
    assert after(lock).faults == []


def test_relative_names_are_found() -> None:
    log = without(WHOLE, "fsync(4</out/.7").replace(
        'rename("/out/.7.tmp.a.tsv", "/out/a.tsv")',
        'renameat2(AT_FDCWD</out>, ".7.tmp.a.tsv", 9</out>, "a.tsv", RENAME_NOREPLACE)',
    )
    assert after(log).faults == ["a.tsv: .7.tmp.a.tsv was not synced before"]


# Whole commands.

IN_ONE_PROCESS = """
import importlib, json, sys
for module, arguments in json.loads(sys.argv[1]):
    if importlib.import_module(module).main(arguments):
        sys.exit(f"failed: {module} {arguments}")
"""
PREDICTED = ("gctx", "h5ad", "zarr", "gct", "gct.gz")
RUN_FILES = ("config.json", "errors.tsv", "best_va.safetensors", "done.json")


@pytest.fixture(scope="module")
def commands_seen(tmp_path_factory: pytest.TempPathFactory) -> Order:
    """Follow all commands that write, in one process, from raw files to tables."""
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("seen").resolve()
    out = folder / "out"
    out.mkdir()
    (folder / "study.toml").write_text(STUDY + TABLES, encoding="utf-8")
    study, all_out = str(folder / "study.toml"), str(out / "all")
    raw, prepared, run = out / "all/small/raw", out / "prepared.h5", out / "run"
    small = ["--hidden-layers", 1, "--units", 8, "--epochs", 3, "--seeds", 1, 2]
    model = out / "model"
    predict = ["predict", model, raw / "geo.gctx", "--platform", "microarray", "-q", "-o"]
    argvs = [
        ("reproduce.table1", ["--study", study, "--out", all_out]),
        ("reproduce.figure1", ["--study", study, "--out", all_out]),
        ("dgex_jax.cli", ["prepare", *raw_flags(raw), "-q", "-o", prepared]),
        ("dgex_jax.cli", ["train", prepared, *small, "-q", "-o", run]),
        ("dgex_jax.cli", ["export", run / "seed-1", prepared, "-o", model]),
        # Over an older one.
        ("dgex_jax.cli", ["export", run / "seed-2", prepared, "-o", model, "--overwrite"]),
        *(("dgex_jax.cli", [*predict, out / f"a.{ending}"]) for ending in PREDICTED),
        ("dgex_jax.cli", ["evaluate", model, prepared, "-q", "-o", out / "by_gene.tsv"]),
    ]
    told = json.dumps([[module, list(map(str, argv))] for module, argv in argvs])
    command = [sys.executable, "-c", IN_ONE_PROCESS, told]
    return traced(command, out, CHECKOUT, folder / "strace.log")


@pytest.mark.long
def test_every_command_waits_for_the_disk_before_it_gives_a_name(commands_seen: Order) -> None:
    assert not commands_seen.faults, "\n".join(sorted(set(commands_seen.faults)))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "prepared.h5",
        "model",
        "by_gene.tsv",
        "run/seeds.tsv",
        *(f"a.{ending}" for ending in PREDICTED),
        *(f"run/seed-1/{name}" for name in RUN_FILES),
        *(f"all/small/tables/table1.{suffix}" for suffix in ("csv", "md", "tex")),
        *(f"all/small/figures/figure1.{suffix}" for suffix in ("csv", "png", "pdf")),
        "all/small/raw/geo.gctx",
        "all/small/baselines/chosen.json",
    ],
)
def test_every_output_got_its_name_by_a_rename(commands_seen: Order, name: str) -> None:
    assert name in commands_seen.renamed, sorted(set(commands_seen.renamed))
