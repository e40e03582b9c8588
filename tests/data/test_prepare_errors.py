from __future__ import annotations

import errno
import gzip
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.data import rawfiles, rowstore
from dgex_jax.errors import DgexError, FormatError, PreparationError

if TYPE_CHECKING:
    from pathlib import Path


def test_missing_rna_values_matter_only_in_needed_genes(
    run_prepare, edit_text, golden_raw, tmp_path
) -> None:
    def blank(lines: list[str], gene: int) -> list[str]:
        cells = lines[gene].split("\t")
        cells[10] = "NA"
        return [*lines[:gene], "\t".join(cells), *lines[gene + 1 :]]

    mapped = golden_raw.landmarks.read_text() + golden_raw.targets.read_text()
    lines = gzip.decompress(golden_raw.thousand_genomes.read_bytes()).decode().splitlines()
    needed = [line.split(".")[0] in mapped for line in lines]
    for gene, refused in ((needed.index(True, 1), True), (needed.index(False, 1), False)):
        folder = tmp_path / str(gene)
        path = edit_text(golden_raw.thousand_genomes, folder, lambda t, g=gene: blank(t, g))
        raw = replace(golden_raw, thousand_genomes=path)
        if refused:
            with pytest.raises(FormatError, match=r"1 missing .* profile 'HG00006', gene 'ENSG"):
                run_prepare(raw, tmp_path / "p.h5")
        else:
            run_prepare(raw, tmp_path / "p.h5")


def _left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_errors_leave_nothing_and_an_older_study_stays(
    run_prepare, change_geo, golden_raw, tmp_path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    output = folder / "p.h5"

    def spoil(values, _profiles, _genes):
        values[123, 7] = np.nan
        return values

    raw = change_geo(golden_raw, tmp_path / "raw", spoil)
    with pytest.raises(FormatError, match=r"1 missing and 0 infinite values; the first is nan"):
        run_prepare(raw, output)
    assert _left_over(folder) == []
    run_prepare(golden_raw, output)
    before = output.read_bytes()
    with pytest.raises(FormatError):
        run_prepare(raw, output)
    assert _left_over(folder) == ["p.h5", "p.h5.provenance.json"]
    assert output.read_bytes() == before

    def interrupt(*_news) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_prepare(golden_raw, output, progress=interrupt)
    assert _left_over(folder) == ["p.h5", "p.h5.provenance.json"]


def test_too_few_profiles(run_prepare, change_geo, golden_raw, tmp_path) -> None:
    def copy(values, _profiles, _genes):
        return np.broadcast_to(values[:1], values.shape) + np.zeros((300, 1), np.float32)

    raw = change_geo(golden_raw, tmp_path / "raw", copy)
    with pytest.raises(PreparationError, match="1 GEO profiles are left"):
        run_prepare(raw, tmp_path / "p.h5")


def test_places_that_can_not_be_written(
    run_prepare, change_geo, golden_raw, tmp_path, monkeypatch
) -> None:
    with pytest.raises(DgexError, match="nowhere"):
        run_prepare(golden_raw, tmp_path / "nowhere" / "p.h5")
    raw = change_geo(golden_raw, tmp_path / "raw", lambda values, _p, _g: values)
    content = raw.geo.read_bytes()
    with pytest.raises(PreparationError, match=r"geo\.gctx: is a raw file"):
        run_prepare(raw, raw.geo)
    assert raw.geo.read_bytes() == content
    usage = rawfiles.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(rawfiles.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(PreparationError, match=r"needs about .* GiB"):
        run_prepare(golden_raw, tmp_path / "p.h5")
    assert _left_over(tmp_path) == ["raw"]


def test_a_full_disk_is_one_line_and_leaves_nothing(
    run_prepare, golden_raw, tmp_path, monkeypatch
) -> None:
    def full(*_arguments) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rowstore.RowStore, "append", full)
    with pytest.raises(PreparationError, match=r"p\.h5: can't be prepared: No space left"):
        run_prepare(golden_raw, tmp_path / "p.h5")
    assert _left_over(tmp_path) == []
