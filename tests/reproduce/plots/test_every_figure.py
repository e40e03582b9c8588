"""What all figures have in common: legible text, the note, saved files that repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dgex_jax.errors import DgexError
from dgex_jax.plots.style import LOOKS, look, series_looks
from reproduce.plots import style
from reproduce.plots.lines import draw_epochs
from tests.reproduce.plots.conftest import training

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_texts_are_on_the_canvas_and_apart_and_the_note_is_one_of_them(example, texts):
    draw, _ = example
    assert "simulated data" in [text.get_text() for text in texts(draw())]


def test_saved_twice_and_drawn_twice_the_bytes_are_the_same(varied, tmp_path):
    draw, table = varied
    before = dict(mpl.rcParams)
    figure = draw()
    style.save(figure, table, tmp_path, "figure")
    first = read_all(tmp_path)
    assert list(first) == ["figure.csv", "figure.pdf", "figure.png"]
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "pdf.fonttype": 3}):
        style.save(draw(), table, tmp_path, "figure")
    assert read_all(tmp_path) == first
    assert dict(mpl.rcParams) == before

    back = pd.read_csv(tmp_path / "figure.csv", dtype=str, keep_default_na=False)
    for column in table:
        texts, values = back[column].to_numpy(str), table[column].to_numpy()
        if values.dtype.kind == "f":
            read = np.where(texts == "", "nan", texts).astype(float)
            np.testing.assert_allclose(read, values, rtol=5e-5)
        else:
            np.testing.assert_array_equal(texts, values.astype(str))
    assert list(back.columns) == list(table.columns)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size[0] in {round(3.4 * 300), 7 * 300}
        assert set(image.info) == {"dpi", "Software"}
    assert b"Date" not in first["figure.pdf"]


def test_a_picture_is_left_where_its_numbers_agree_to_what_is_shown(tmp_path):
    table = training()
    style.save(draw_epochs(table, "D-GEX-9000x2", "GTEx-te"), table, tmp_path, "figure")
    first = read_all(tmp_path)
    other = table.assign(LR=table["LR"] + 3e-5)
    style.save(draw_epochs(other, "D-GEX-9000x2", "GTEx-te"), other, tmp_path, "figure")
    assert {name for name, content in read_all(tmp_path).items() if content != first[name]} == {
        "figure.pdf"
    }
    other = table.assign(LR=table["LR"] + 2e-3)
    style.save(draw_epochs(other, "D-GEX-9000x2", "GTEx-te"), other, tmp_path, "figure")
    assert all(content != first[name] for name, content in read_all(tmp_path).items())
    # What is no picture of this version is drawn again.
    style.save(draw_epochs(table, "D-GEX-9000x2", "GTEx-te"), table, tmp_path, "figure")
    (tmp_path / "figure.png").write_bytes(b"damaged")
    style.save(draw_epochs(table, "D-GEX-9000x2", "GTEx-te"), table, tmp_path, "figure")
    assert read_all(tmp_path) == first


def test_threads_may_draw_at_the_same_time_and_a_figure_be_saved_again(tmp_path):
    def work(name: str) -> Figure:
        figure = draw_epochs(training(), "D-GEX-9000x2", "GTEx-te")
        style.save(figure, training(), tmp_path, name)
        return figure

    before = dict(mpl.rcParams)
    with ThreadPoolExecutor(2) as pool:
        figure, _ = pool.map(work, ["a", "b"])
    assert dict(mpl.rcParams) == before
    style.save(figure, training(), tmp_path, "c")
    for suffix in ("png", "pdf", "csv"):
        assert len({(tmp_path / f"{name}.{suffix}").read_bytes() for name in "abc"}) == 1


def test_a_second_note_replaces_the_first_and_needs_no_room_in_the_axes(texts):
    figure = draw_epochs(training(), "D-GEX-9000x2", "GTEx-te", note="first")
    style.stamp(figure, "second")
    seen = texts(figure)
    assert "first" not in [text.get_text() for text in seen]
    note = next(text for text in seen if text.get_text() == "second")
    for axes in figure.axes:
        assert not note.get_window_extent().overlaps(axes.get_window_extent())


def test_a_missing_folder_is_an_error_of_one_line(tmp_path):
    figure = draw_epochs(training(), "D-GEX-9000x2", "GTEx-te")
    with pytest.raises(DgexError, match=r"nowhere.*can't be written"):
        style.save(figure, training(), tmp_path / "nowhere", "figure")


def test_looks_differ_in_more_than_colour():
    looks = list(LOOKS.values())
    assert len({one.colour for one in looks}) == len(looks)
    assert len({one.marker for one in looks}) == len(looks)
    assert look("D-GEX-25%-9000x2") == look("D-GEX")
    with pytest.raises(DgexError, match="magic"):
        look("magic")
    for n in (1, 3, 6):
        series = series_looks(n)
        assert len({one.colour for one in series}) == len({one.marker for one in series}) == n


def test_drawing_never_loads_pyplot():
    code = (
        "import sys, reproduce.plots.style, reproduce.plots.panels;"
        "assert 'matplotlib.pyplot' not in sys.modules and 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "MPLBACKEND": ""})
