"""Study files: every key as documented, and refusals that name the file, the key and the cause."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from dgex_jax.config import BaselineConfig, GridConfig, PrepareConfig, TrainingConfig
from dgex_jax.errors import StudyError
from dgex_jax.prepare.study import FILE_KEYS, SECTIONS, build, parse_study, read_study
from dgex_jax.rawfiles import GeoOnlyFiles, RawFiles
from dgex_jax.simulate.config import SimulationConfig
from tests.prepare.checks import refused

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
DOCUMENTED = [name for name in SECTIONS if name != "jobs"]
FIELDS = [(name, f.name) for name, kind in SECTIONS.items() for f in dataclasses.fields(kind)]
SIMULATED = {"name": "one", "title": "One", "simulate": {}}
FILES = {key: f"{key}.txt" for key in FILE_KEYS}
REAL = {"name": "one", "title": "One", "files": FILES}


def documented(section: str) -> dict[str, str]:
    """Keys of a section's table in the documentation, with the text of their default."""
    text = DOCS.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", text, re.MULTILINE))


def value_of(default: str) -> object:
    """Read a documented default: TOML, or a fraction."""
    text = default.removeprefix("`").removesuffix("`")
    if fraction := re.fullmatch(r"(\d+)/(\d+)", text):
        return int(fraction[1]) / int(fraction[2])
    return tomllib.loads(f"value = {text}")["value"]


@pytest.mark.parametrize("section", DOCUMENTED)
def test_documentation_has_every_key_with_its_default_and_no_other(section) -> None:
    defaults, kind = documented(f"[{section}]"), SECTIONS[section]
    assert set(defaults) == {field.name for field in dataclasses.fields(kind)}
    assert build(kind, {key: value_of(text) for key, text in defaults.items()}, section) == kind()


def test_documentation_has_the_needed_keys() -> None:
    assert set(FILE_KEYS.values()) == {field.name for field in dataclasses.fields(RawFiles)}
    assert documented("[files]") == dict.fromkeys(FILE_KEYS, "none, needed")
    assert documented("Top of the file") == dict.fromkeys(("name", "title"), "none, needed")


def test_documented_examples_are_studies() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    real, simulated = (parse_study(tomllib.loads(text), Path("/study")) for text in examples)
    assert real.files is not None
    assert not real.simulated
    assert real.prepare == PrepareConfig(scale_on="train")
    assert real.training == TrainingConfig(epochs=100)
    assert simulated.files is None
    assert simulated.simulation == SimulationConfig(
        seed=7, n_profiles=600, n_gtex=60, n_1000g=40, n_landmarks=60, n_targets=150
    )
    assert simulated.grid == GridConfig((1, 2), (32, 64))
    assert simulated.baselines == BaselineConfig(30)


def test_paths_are_relative_to_the_study(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    paths = FILES | {"gtex": "../data/g.gct", "1000g": "/far/k.txt", "targets": "~/t.txt"}
    lines = ['name = "one"', 'title = "One"', "[files]"]
    lines += [f'{key} = "{path}"' for key, path in paths.items()]
    (tmp_path / "one.toml").write_text("\n".join(lines))
    assert read_study(tmp_path / "one.toml").files == RawFiles(
        geo=tmp_path / "geo.txt",
        gtex=tmp_path / "../data/g.gct",
        thousand_genomes=Path("/far/k.txt"),
        landmarks=tmp_path / "landmarks.txt",
        targets=Path("/home/someone/t.txt"),
    )


def test_arrays_alone_need_two_files(tmp_path) -> None:
    files = {"geo": "g.gctx", "landmarks": "l.txt"}
    parsed = parse_study(REAL | {"files": files}, tmp_path)
    assert parsed.files == GeoOnlyFiles(tmp_path / "g.gctx", tmp_path / "l.txt")
    assert not parsed.simulated
    for more in ("gtex", "1000g", "targets"):
        missing = next(one for one in ("gtex", "1000g", "targets") if one != more)
        study = REAL | {"files": files | {more: "x"}}
        refused(lambda s=study: parse_study(s, tmp_path), rf"^files\.{missing}: is m", StudyError)


def changed(section: str, key: str, value: object) -> dict[str, object]:
    return (REAL if section == "files" else SIMULATED) | {
        section: (FILES if section == "files" else {}) | {key: value}
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *(
            (SIMULATED | {f"{one}z": {}}, f"{one}z: unknown key; the nearest known key is {one}")
            for one in [*SECTIONS, "files", "name", "title"]
        ),
        *(
            (REAL | {"files": {k: v for k, v in FILES.items() if k != key}}, f"files.{key}: is mis")
            for key in FILES
        ),
        *((changed("files", key, 3), f"files.{key}: is missing") for key in FILES),
        *((changed("files", f"{key}s", "x"), f"files.{key}s: unknown key; ") for key in FILES),
        (REAL | {"files": {"geo": "x"}}, "files.gtex: is missing"),
        (REAL | {"files": {"geo": "", "landmarks": "x"}}, "files.geo: is missing"),
        (
            changed("files", "geo", "~nobody-here/x"),
            "files.geo = '~nobody-here/x': there is no s",
        ),
        (SIMULATED | {"files": FILES}, "needs either [files] (real data) or [simulate], not both"),
        ({"name": "one", "title": "One"}, "needs either [files]"),
        *(
            (SIMULATED | {"name": name}, "name")
            for name in ("", " ", 3, "a/b", "..", ".hidden", "a b", "-", "a\nb")
        ),
        ({"name": "one", "simulate": {}}, "title: is missing"),
        *((SIMULATED | {one: 3}, f"{one} = 3: must be a table [{one}]") for one in SECTIONS),
        (REAL | {"files": 3}, "files = 3: must be a table [files]"),
    ],
)
def test_keys_that_can_not_be_used(content, message) -> None:
    refused(lambda: parse_study(content, Path()), f"^{re.escape(message)}", StudyError)


@pytest.mark.parametrize(("section", "key"), FIELDS)
def test_misspelt_keys_are_refused_with_the_nearest(section, key) -> None:
    nearest = rf"unknown key; the nearest known key is {section}\.{key}$"
    misspelt = changed(section, f"{key[:-1]}zz", 1)
    refused(lambda: parse_study(misspelt, Path()), nearest, StudyError)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.epochs", "3", "'3': must be a whole number"),
        ("training.epochs", 3.0, "3.0: must be a whole number"),
        ("training.epochs", True, "True: must be a whole number"),
        ("training.epochs", 0, "0: must be at least 1"),
        ("training.learning_rate", "fast", "'fast': must be a number"),
        ("training.learning_rate", float("nan"), "nan: must be"),
        ("training.momentum", "auto", "'auto': must be a number"),
        ("training.momentum", False, "False: must be a number"),
        ("training.halves", 3, "3: must be between 1 and 2"),
        ("training.precision", "half", "'half': must be one of 'highest'"),
        ("training.pretrain", "rbm", "'rbm': must be one of 'none'"),
        ("training.pretrain_epochs", 5, "5: means nothing without"),
        ("prepare.scale_on", ["all"], "['all']: must be one of 'all'"),
        ("prepare.partition", "kmeans", "'kmeans': must be one of 'random'"),
        ("prepare.accept_wrong_dimensions", 1, "1: must be true or false"),
        ("networks.units", 9, "9: must be a list"),
        ("networks.units", [], "[]: must be a list that is not empty"),
        ("networks.units", [9, 3], "[9, 3]: must grow"),
        ("networks.units", [3, 3], "[3, 3]: must grow, without repeats"),
        ("networks.units", ["3"], "'3': must be a whole number"),
        ("networks.hidden_layers", [4], "4: must be between 1 and 3"),
        ("baselines.k_max", 0, "0: must be at least 1"),
        ("simulate.n_gtex", 1, "1: must be between 2"),
    ],
)
def test_values_that_can_not_be_used(key, value, message) -> None:
    section, _, name = key.partition(".")
    study = changed(section, name, value)
    refused(lambda: parse_study(study, Path()), f"^{re.escape(f'{key} = {message}')}", StudyError)


def test_whole_numbers_and_auto() -> None:
    content = SIMULATED | {"training": {"learning_rate": 1, "momentum": 0}}
    study = parse_study(content, Path()).training
    assert (study.learning_rate, study.momentum) == (1.0, 0.0)
    assert type(study.learning_rate) is float
    auto = parse_study(changed("training", "learning_rate", "auto"), Path())
    assert auto.training == TrainingConfig()


def test_settings_hold_what_decides_the_prepared_study_and_nothing_else() -> None:
    """Each changed key changes them, but the block size; they survive JSON."""
    study = parse_study(SIMULATED, Path())
    settings = study.preparation_settings()
    assert json.loads(json.dumps(settings)) == settings
    assert study.is_prepared_by(settings)
    decisive = {
        "prepare": {
            "duplicates": "none",
            "scale_on": "train",
            "partition": "clustered",
            "seed": 2,
            "accept_wrong_dimensions": True,
            "force_platform": True,
        },
        "simulate": {"seed": 2, "n_profiles": 5000},
    }
    names = {field.name for field in dataclasses.fields(PrepareConfig)}
    assert {*decisive["prepare"], "block_size"} == names
    for section, values in decisive.items():
        for key, value in values.items():
            other = parse_study(changed(section, key, value), Path())
            assert other.preparation_settings() != settings, key
            assert not other.is_prepared_by(settings)
    for same in (
        *({"name": "two"}, {"title": "Two"}, {"prepare": {"block_size": 7}}),
        *({"training": {"epochs": 3}}, {"networks": {"units": [5]}}),
    ):
        assert parse_study(SIMULATED | same, Path()).preparation_settings() == settings
    # As the first versions recorded them.
    assert study.is_prepared_by({"name": "two", "title": "Two", **settings})
    assert not study.is_prepared_by({})


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "can't be read: No such file"),
        ("folder", "can't be read: Is a directory"),
        (b"name = ", "is no TOML: Invalid value"),
        (b"\xff\xfe", "is no TOML: .*utf-8"),
        (b'name = "a"\nname = "b"', "is no TOML: Cannot overwrite"),
        (b"nane = 1", "nane: unknown key; the nearest known key is name"),
    ],
)
def test_files_that_are_no_study(tmp_path, content, cause) -> None:
    path = tmp_path / "one.toml"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    refused(lambda: read_study(path), f"^{re.escape(str(path))}: {cause}", StudyError)


@pytest.mark.parametrize("path", sorted((ROOT / "reproduce" / "studies").glob("*.toml")), ids=str)
def test_studies_of_the_project(path) -> None:
    study = read_study(path)
    assert study.name == path.stem
    assert study.simulated == ("simulated" in study.title.lower())
