"""Files whose numbers agree to what is shown stay as they are; all others are written."""

from __future__ import annotations

import pytest

from reproduce.written import write_table_files

CSV = "method,mean,share_better_than_LR,chosen\nLR,0.46068,,0\nD-GEX,{},{},1\n"
MD = "# Table 1\n\n| D-GEX | **{:.4f}** | {:.1%} |\n"


def write(folder, mean=0.45221, share=0.701, words="") -> dict[str, str]:
    texts = {"csv": CSV.format(mean, share), "md": words + MD.format(mean, share)}
    write_table_files(folder, "table1", **texts, tex=texts["md"])
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("changes", [{"mean": 0.45225}, {"share": 0.702}, {"mean": 0.4522}])
def test_what_another_machine_changes_is_left(tmp_path, changes) -> None:
    first = write(tmp_path)
    assert write(tmp_path, **changes) == first


@pytest.mark.parametrize("changes", [{"mean": 0.45241}, {"share": 0.704}])
def test_other_numbers_are_written_everywhere(tmp_path, changes) -> None:
    first = write(tmp_path)
    again = write(tmp_path, **changes)
    assert all(again[name] != first[name] for name in first)


def test_other_words_are_written_and_the_numbers_left(tmp_path) -> None:
    first = write(tmp_path)
    again = write(tmp_path, words="# Simulated\n")
    assert again["table1.csv"] == first["table1.csv"]
    assert again["table1.md"].startswith("# Simulated")


@pytest.mark.parametrize("damage", ["", "method,mean\n", "\x00\x01", CSV.format("nan", 0.701)])
def test_a_damaged_file_of_numbers_is_written_again(tmp_path, damage) -> None:
    first = write(tmp_path)
    (tmp_path / "table1.csv").write_text(damage)
    (tmp_path / "table1.md").unlink()
    assert write(tmp_path) == first


def test_a_stop_before_the_numbers_leaves_nothing_old(tmp_path) -> None:
    """The numbers are written last: until then the other forms are written again."""
    write(tmp_path)
    old = (tmp_path / "table1.csv").read_text()
    wanted = write(tmp_path, mean=0.5)
    (tmp_path / "table1.csv").write_text(old)
    (tmp_path / "table1.tex").write_text("# Table 1\n\n| D-GEX | **0.4522** | 70.1% |\n")
    assert write(tmp_path, mean=0.5) == wanted
