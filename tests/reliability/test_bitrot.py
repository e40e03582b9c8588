"""A bit that flipped on disk is found when the file is read, or changes nothing that was read.

The same with hundreds of flips of each: ``python tests/stress/bitrot.py``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dgex_jax.errors import FormatError
from tests.reliability import bitrot
from tests.reliability.bitrot import (
    FOUND,
    HARMLESS,
    LOSS,
    Flip,
    choose_flips,
    count,
    flip,
    judge,
    trial,
)
from tests.reliability.bitrot_artefacts import ARTEFACTS, Artefact, fingerprint, read_prepared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = {
    "model folder": 40,
    "checkpoint": 40,
    "finished run": 40,
    "prepared.h5": 40,
    "prepared.npz": 40,
    "zarr store, checked": 40,
    "zarr values, by anndata alone": 8,
    "a.gctx.partial": 40,
    "a.h5ad.partial": 4,
    "a.zarr.partial": 4,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Every artefact in a folder of its name, not to be written to."""
    pytest.importorskip("anndata")
    pytest.importorskip("zarr")
    folder = tmp_path_factory.mktemp("made")
    for artefact in ARTEFACTS.values():
        (folder / artefact.name).mkdir()
        artefact.make(folder / artefact.name)
    return folder


@pytest.fixture(scope="module")
def verdicts(made) -> dict[str, list[bitrot.Verdict]]:
    """One child for all: starting it takes longer than the flips of most artefacts."""
    flips = [
        one
        for name, n in QUICK.items()
        for one in choose_flips(ARTEFACTS[name], made / name, n, everywhere=False)
    ]
    found = trial(made, flips)
    assert [verdict.flip for verdict in found] == flips
    return {name: [one for one in found if one.flip.artefact == name] for name in QUICK}


def test_all_artefacts_are_tried() -> None:
    assert QUICK.keys() == ARTEFACTS.keys()


@pytest.mark.parametrize("name", QUICK)
def test_flips_are_found_or_do_not_matter(verdicts, name) -> None:
    assert len(verdicts[name]) == QUICK[name]
    assert [one for one in verdicts[name] if one.kind == LOSS] == []
    assert count(verdicts[name])[FOUND] >= QUICK[name] / 2


@pytest.mark.long
@pytest.mark.parametrize("name", ["a.h5ad.partial", "a.zarr.partial"])
def test_outputs_that_go_on_are_whole_again(made, name) -> None:
    found = trial(made, choose_flips(ARTEFACTS[name], made / name, 40))
    assert [one for one in found if one.kind == LOSS] == []


def test_an_older_prepared_study_is_read_as_it_is(made, tmp_path) -> None:
    """Without its seal, which is what a version before it wrote; and such a flip was not found."""
    import h5py

    whole = shutil.copytree(made / "prepared.h5", tmp_path / "whole") / "prepared.h5"
    older = shutil.copytree(made / "prepared.h5", tmp_path / "older") / "prepared.h5"
    older.write_bytes(older.read_bytes()[: older.read_bytes().rindex(b'{"size":')])
    assert read_prepared(older.parent) == read_prepared(whole.parent)
    with h5py.File(whole) as file:
        bit = 8 * file["compendium/X_mean"].id.get_offset() + 40
    flip(whole, bit)
    flip(older, bit)
    with pytest.raises(FormatError, match=r"whole/prepared\.h5: damaged: names, attributes"):
        read_prepared(whole.parent)
    assert read_prepared(older.parent) != read_prepared(made / "prepared.h5")


@pytest.mark.parametrize("name", ARTEFACTS)
def test_flips_go_everywhere_and_are_the_same_for_a_seed(made, name) -> None:
    artefact, folder = ARTEFACTS[name], made / name
    flips = choose_flips(artefact, folder, 200)
    assert len(flips) >= 200
    assert flips == choose_flips(artefact, folder, 200)
    assert flips != choose_flips(artefact, folder, 200, seed=2)
    assert {one.file for one in flips} == set(artefact.files(folder))
    for file in artefact.files(folder):
        size = 8 * (folder / file).stat().st_size
        bits = [one.bit for one in flips if one.file == file]
        assert 0 <= min(bits) < 8 * bitrot.EDGE_BYTES
        assert size - 8 * bitrot.EDGE_BYTES <= max(bits) < size
    for file, start, stop in artefact.places(folder):
        inside = [one for one in flips if one.file == file and start <= one.bit // 8 < stop]
        assert inside or start == stop


def test_a_flip_is_one_bit_and_its_own_inverse(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x00\xff\x10")
    flip(path, 13)
    assert path.read_bytes() == b"\x00\xdf\x10"
    flip(path, 13)
    assert path.read_bytes() == b"\x00\xff\x10"


def artefact_that(read: Callable[[Path], tuple[str, list[str]]]) -> Artefact:
    return replace(ARTEFACTS["model folder"], name="made up", read=read)


def refuses(text: str, kind: type[Exception] = FormatError) -> Callable[[Path], tuple[str, list]]:
    def read(_folder: Path) -> tuple[str, list[str]]:
        raise kind(text)

    return read


@pytest.mark.parametrize(
    ("read", "kind", "text"),
    [
        (lambda _: ("same", []), HARMLESS, ""),
        (lambda _: ("same", ["x/a.bin: damaged, skipped"]), FOUND, "x/a.bin: damaged"),
        (lambda _: ("other", []), LOSS, "without a word"),
        (lambda _: ("other", ["a.bin: damaged"]), LOSS, "something else"),
        (refuses("x/a.bin: damaged"), FOUND, "x/a.bin: damaged"),
        (refuses("damaged"), LOSS, "not named"),
        (lambda _: ("same", ["a.bin: damaged\nmore"]), LOSS, "not one line"),
        (refuses("a.bin: damaged", ValueError), LOSS, "ValueError"),
        (refuses("a.bin: no memory", MemoryError), LOSS, "MemoryError"),
    ],
)
def test_judgement(tmp_path, read, kind, text) -> None:
    found = judge(artefact_that(read), Flip("made up", "a.bin", 3), tmp_path, "same")
    assert found[0] == kind
    assert text in found[1]


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ("os.abort()", "the process ended with -6"),
        ("os.kill(os.getpid(), signal.SIGALRM)", "hangs: not read in 20 s"),
        ("sys.exit('out of memory')", "the process ended with 1: out of memory"),
    ],
)
def test_a_child_that_ends_is_a_loss_and_the_others_are_judged(
    tmp_path, monkeypatch, end, text
) -> None:
    """The first child answers once and ends at the second flip; the next one does the rest."""
    (tmp_path / "fake.py").write_text(
        "import json, os, pathlib, signal, sys\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    if json.loads(line)['bit'] == 1:\n"
        f"        {end}\n"
        "    print(json.dumps({'kind': 'found', 'text': '', 'seconds': 0.0}), flush=True)\n"
    )
    monkeypatch.setattr(bitrot, "CHECKOUT", tmp_path)
    flips = [Flip("model folder", "a", bit) for bit in range(4)]
    found = trial(tmp_path, flips, "fake")
    assert [one.flip for one in found] == flips
    assert [one.kind for one in found] == [FOUND, LOSS, FOUND, FOUND]
    assert text in found[1].text


def test_fingerprints_tell_every_bit_apart() -> None:
    import numpy as np

    values = [1, 1.0, True, "1", [1], (1, 2), {"a": 1}, {"b": 1}, None]
    values += [np.float32([1]), np.float64([1]), np.float32([[1]]), np.float32([-0.0, 0.0])]
    values += [np.float32([0.0, 0.0]), Flip("a", "b", 1), Flip("a", "b", 2)]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint(values[:8]) == fingerprint(json.loads(json.dumps(values[:5])) + values[5:8])
