"""The report: complete, by itself, honest about what it shows, the same when written again."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import h5py
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.parts import PAPER
from reproduce.products import groups_of
from reproduce.report import to_html, write_report
from reproduce.workspace import open_workspace
from tests.pages import Page
from tests.reproduce.conftest import rewrite_done

TIME = re.compile(r'<(\w+) class="time[^>]*>[^<]*</\1>')


def shown_by(space) -> dict[str, str]:
    """What the products returned, as far as their files tell."""
    texts, groups = {}, groups_of(PAPER)
    for one in (*groups["tables"], *groups["analyses"]):
        path = space.tables / f"{one.name.replace('-', '_')}.md"
        if path.is_file():
            texts[one.name] = path.read_text(encoding="utf-8")
    for one in groups["figures"]:
        path = space.figures / f"{one.name}.png"
        drawn = f"{path} (.pdf, .csv)"
        texts[one.name] = drawn if path.is_file() else f"{one.name}: not drawn: nothing is <kept>"
    return texts


def write(space, left_out=None):
    texts = shown_by(space)
    return write_report(space, texts, left_out or {})


@pytest.fixture(scope="module")
def report(made):
    return (made.space.results / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(report):
    return Page(report)


@pytest.fixture
def copy(made, out):
    """Give a workspace of the same study to change; its study file is ``tiny.toml`` beside it."""
    study = shutil.copy(made.study, out.with_name("tiny.toml"))
    return open_workspace(str(study), out)


def test_every_figure_is_inside_byte_for_byte(made, page):
    drawn = sorted(made.space.figures.glob("*.png"))
    prefix = "data:image/png;base64,"
    inside = [
        base64.b64decode(image["src"].removeprefix(prefix), validate=True)
        for image in page.all("img")
    ]
    assert len(drawn) > 3
    assert sorted(inside) == sorted(path.read_bytes() for path in drawn)
    assert all(image["alt"].startswith("Figure ") for image in page.all("img"))
    # A PNG of 300 dots to an inch keeps its proportions.
    for image, data in zip(page.all("img"), inside, strict=True):
        width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
        assert int(image["width"]) / int(image["height"]) == pytest.approx(width / height, rel=0.01)


def test_every_row_of_every_table_is_there(made, page):
    rows = {tuple(cell.strip() for cell in row) for row in page.rows}
    paths = sorted(made.space.tables.glob("*.md"))
    assert {path.stem for path in paths} >= {"table1", "table2", "tableS1", "tableS5"}
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        table = [line for line in lines if line.startswith("|") and not line.startswith("|---")]
        assert table, path
        for line in table:
            cells = [re.sub(r"\*\*|`", "", cell).strip() for cell in line[1:-1].split("|")]
            assert tuple(cells) in rows or not any(cells), f"{path.name}: {line}"


def test_main_result_agrees_with_the_table(made, page):
    with (made.space.tables / "table1.csv").open(encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row["targets"].startswith("All")]
    by_method = {row["method"]: f"{float(row['mean']):.4f}" for row in table if not row["units"]}
    chosen = next(row for row in table if row["chosen"] == "1")
    header = next(row for row in page.rows if row[:2] == ["tested on", "targets"])
    line = next(row for row in page.rows if row[0] == "GEO-te (Table 1)")
    assert dict(zip(header[2:], line[2:], strict=True)) == by_method | {
        "D-GEX": f"{float(chosen['mean']):.4f}"
    }
    assert f"{100 * abs(float(chosen['improvement_over_LR'])):.2f}%" in page.text


def test_simulated_data_is_said_first_of_all(page):
    body = page.tags[[tag for tag, _ in page.tags].index("body") :]
    first = next(attributes for tag, attributes in body if tag not in ("body", "a"))
    assert first["class"] == "banner"
    assert "say nothing about biology" in page.text
    assert page.all("title")
    assert page.having("class", "tag")


def test_measured_data_has_no_banner(copy):
    with h5py.File(copy.prepared, "r+") as file:
        file.attrs["simulated"] = False
    page = Page(write(copy).read_text(encoding="utf-8"))
    assert not page.having("class", "banner")
    assert not page.having("class", "tag")
    assert "measured" in page.text


def test_checksums_are_those_of_the_files(made, page):
    files = [path for path in made.space.raw.iterdir() if path.name != "done.json"]
    shown = {(row[1], row[2]) for row in page.rows if len(row) == 3}
    assert len(files) == 5
    for path in [*files, made.space.prepared, made.study]:
        assert (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) in shown


def test_nothing_is_loaded_and_no_folder_is_told(made, report, page):
    assert not page.all("script")
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "srcset", "data", "poster") or (tag, name) == ("link", "href"):
                assert value.startswith("data:"), (tag, name)
            assert not name.startswith("on"), (tag, name)
            if "//" in value:
                assert (tag, name) == ("a", "href") or value.startswith("data:"), (tag, name)
    assert "url(" not in report
    assert "@import" not in report
    assert str(made.out) not in report
    assert str(Path.home()) not in report


def test_links_lead_somewhere(made, page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        if link["href"].startswith("#"):
            assert link["href"][1:] in ids
        else:
            assert (made.space.results / link["href"]).is_file(), link["href"]


def test_every_network_and_the_study_file_are_there(made, page):
    rows = {row[0]: row for row in page.rows if len(row) == 5}
    for path in sorted((made.space.results / "runs").glob("*/done.json")):
        config = json.loads((path.parent / "config.json").read_text())["network"]
        done = json.loads(path.read_text())
        name = f"D-GEX-{config['dropout']:.0%}-{config['units']}x{config['hidden_layers']}"
        assert rows[name][2:] == [
            ", ".join(map(str, done["best_va_epochs"])),
            ", ".join(map(str, done["best_1000G_epochs"])),
            ", ".join(done["devices"]),
        ]
    assert made.study.read_text(encoding="utf-8") in page.words
    assert "python -m reproduce.all --study tiny.toml --out DIR" in page.text


def test_markup_in_a_title_is_shown_not_obeyed(copy, tmp_path):
    title = '<b>bold</b> & "quoted" ![x](http://example.org/x.png)'
    text = copy.path.read_text(encoding="utf-8").replace('"A tiny study"', f"'{title}'")
    copy.path.write_text(f"# What <i>it</i> is\n{text}", encoding="utf-8")
    with h5py.File(copy.prepared, "r+") as file:
        file.attrs["title"] = title
    space = open_workspace(str(copy.path), tmp_path / "out")
    texts = shown_by(space) | {"table1": f"# Table 1\n\n{title}\n\n| a |\n|---|\n| {title} |\n"}
    path = write_report(space, texts, {})
    page = Page(path.read_text(encoding="utf-8"))
    assert page.text.count(title) >= 2
    assert "What <i>it</i> is" in page.text
    assert not page.all("b")
    assert not page.all("i")
    assert all(image["src"].startswith("data:") for image in page.all("img"))


def test_what_is_left_out_is_said(copy):
    for suffix in ("png", "pdf", "csv"):
        (copy.figures / f"figure1.{suffix}").unlink()
    path = write(copy, {"figure5": "study tiny lacks the rate <0.1>"})
    text = Page(path.read_text(encoding="utf-8")).text
    assert "study tiny lacks the rate <0.1>" in text
    assert "Not drawn: nothing is <kept>" in text


@pytest.mark.parametrize(
    ("changes", "same"), [({"seconds": 3600.0}, True), ({"best_va_epochs": [977, 978]}, False)]
)
def test_the_same_twice_but_for_times_and_other_results(copy, changes, same):
    first = write(copy).read_text(encoding="utf-8")
    rewrite_done(next((copy.results / "runs").glob("*/done.json")), **changes)
    second = write(copy).read_text(encoding="utf-8")
    assert first != second
    assert (TIME.sub("", first) == TIME.sub("", second)) == same


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda space: cut(space.figures / "figure1.png"), "figure1.png"),
        (lambda space: (space.figures / "figure1.pdf").unlink(), "figure1.pdf"),
        (lambda space: (space.tables / "table2.csv").unlink(), "table2.csv"),
        (lambda space: cut(run_of(space) / "done.json"), "done.json"),
        (lambda space: (run_of(space) / "config.json").write_text("{}"), "config.json"),
        (lambda space: cut(space.prepared), "prepared.h5"),
        (lambda space: without(space.prepared, "raw_files"), "prepared.h5"),
        (lambda space: cut(space.baselines / "chosen.json"), "chosen.json"),
        (lambda space: space.path.unlink(), "tiny.toml"),
    ],
)
def test_a_damaged_piece_is_named_and_the_old_report_stays(copy, damage, named):
    path = copy.results / "report.html"
    before = path.read_bytes()
    texts = shown_by(copy)
    damage(copy)
    with pytest.raises(FormatError, match=re.escape(named)) as raised:
        write_report(copy, texts, {})
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == before
    assert not list(copy.results.glob(".*tmp*"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(path: Path, attribute: str) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs[attribute]


def run_of(space) -> Path:
    return min((space.results / "runs").glob("[!.]*"))


def test_markdown_becomes_tables_that_scroll():
    page = Page(
        to_html("# Gone\n\n### Kept\n\n| | b |\n|---|---|\n| *x* | -1.5% |\n| y | |\n", "L & M")
    )
    assert page.rows == [["", "b"], ["x", "-1.5%"], ["y", ""]]
    assert "Gone" not in page.text
    assert len(page.all("h4")) == 1
    assert page.all("div")[0]["aria-label"] == "L & M"
    assert [scope["scope"] for scope in page.all("th")] == ["col", "row", "row"]
    assert page.all("td")[1]["class"] == "number right"


def test_a_header_of_nothing_is_left_out():
    page = Page(to_html("| | |\n|---|---|\n| a | 1 |\n", "x"))
    assert page.rows == [["a", "1"]]
