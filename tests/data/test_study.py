from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from dgex_jax.config import BaselineConfig, GridConfig, PrepareConfig, RawFiles, TrainingConfig
from dgex_jax.data.simulation.config import SimulationConfig
from dgex_jax.data.study import FILE_KEYS, build, parse_study, read_study
from dgex_jax.errors import StudyError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "study.md"
SECTIONS = {
    "simulate": SimulationConfig,
    "prepare": PrepareConfig,
    "networks": GridConfig,
    "training": TrainingConfig,
    "baselines": BaselineConfig,
}
FIELDS = [(name, f.name) for name, kind in SECTIONS.items() for f in dataclasses.fields(kind)]
SIMULATED = {"name": "one", "title": "One", "simulate": {}}
FILES = {key: f"{key}.txt" for key in FILE_KEYS}


def documented(section: str) -> dict[str, str]:
    """Keys of a section's table in the documentation, with the text of their default."""
    text = DOCS.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", text, re.MULTILINE))


def value_of(default: str) -> object:
    """Read a documented default: TOML, or a fraction."""
    text = default.removeprefix("`").removesuffix("`")
    if fraction := re.fullmatch(r"(\d+)/(\d+)", text):
        return int(fraction[1]) / int(fraction[2])
    return tomllib.loads(f"value = {text}")["value"]


@pytest.mark.parametrize("section", SECTIONS)
def test_documentation_has_every_key_with_its_default_and_no_other(section) -> None:
    defaults, kind = documented(f"[{section}]"), SECTIONS[section]
    assert set(defaults) == {field.name for field in dataclasses.fields(kind)}
    assert build(kind, {key: value_of(text) for key, text in defaults.items()}, section) == kind()


def test_documentation_has_the_needed_keys() -> None:
    assert set(FILE_KEYS.values()) == {field.name for field in dataclasses.fields(RawFiles)}
    assert documented("[files]") == dict.fromkeys(FILE_KEYS, "none, needed")
    assert documented("Top of the file") == dict.fromkeys(("name", "title"), "none, needed")


def test_documented_examples_are_studies() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
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


@pytest.mark.parametrize(("section", "key"), FIELDS)
def test_misspelt_keys_are_refused_with_the_nearest(section, key) -> None:
    wrong = key[:-1] + "zz"
    with pytest.raises(StudyError) as caught:
        parse_study(SIMULATED | {section: {wrong: 1}}, Path())
    assert str(caught.value).endswith(
        f"{section}.{wrong}: unknown key; the nearest known key is {section}.{key}"
    )


@pytest.mark.parametrize("section", [*SECTIONS, "files", "name", "title"])
def test_misspelt_tables_are_refused_with_the_nearest(section) -> None:
    with pytest.raises(StudyError, match=f"^{section}s?z: unknown key; .* key is {section}$"):
        parse_study(SIMULATED | {f"{section}z": {}}, Path())


@pytest.mark.parametrize("key", FILE_KEYS)
def test_all_five_files_are_needed(key) -> None:
    study = {"name": "one", "title": "One"}
    with pytest.raises(StudyError, match=rf"^files\.{key}: is missing"):
        parse_study(study | {"files": {k: v for k, v in FILES.items() if k != key}}, Path())
    with pytest.raises(StudyError, match=rf"^files\.{key}: is missing"):
        parse_study(study | {"files": FILES | {key: 3}}, Path())
    with pytest.raises(StudyError, match=rf"^files\.{key}s: unknown key; .* is files\.{key}$"):
        parse_study(study | {"files": FILES | {f"{key}s": "x"}}, Path())


def test_paths_are_relative_to_the_study(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    paths = FILES | {"gtex": "../data/g.gct", "1000g": "/far/k.txt", "targets": "~/t.txt"}
    lines = ['name = "one"', 'title = "One"', "[files]"]
    lines += [f'{key} = "{path}"' for key, path in paths.items()]
    (tmp_path / "one.toml").write_text("\n".join(lines))
    study = read_study(tmp_path / "one.toml")
    assert study.files == RawFiles(
        geo=tmp_path / "geo.txt",
        gtex=tmp_path / "../data/g.gct",
        thousand_genomes=Path("/far/k.txt"),
        landmarks=tmp_path / "landmarks.txt",
        targets=Path("/home/someone/t.txt"),
    )
    with pytest.raises(StudyError, match=r"files\.geo = '~nobody-here/x': there is no such user"):
        parse_study(
            {"name": "a", "title": "A", "files": FILES | {"geo": "~nobody-here/x"}}, tmp_path
        )


@pytest.mark.parametrize("content", [{"files": FILES, "simulate": {}}, {}])
def test_files_or_simulation_but_one(content) -> None:
    with pytest.raises(StudyError, match=r"^needs either \[files\] .* not both or neither$"):
        parse_study({"name": "one", "title": "One"} | content, Path())


@pytest.mark.parametrize("name", ["", " ", 3, "a/b", "..", ".hidden", "a b", "-", "a\nb"])
def test_names_that_make_no_folder(name) -> None:
    with pytest.raises(StudyError, match=r"^name"):
        parse_study(SIMULATED | {"name": name}, Path())


def test_title_is_needed() -> None:
    with pytest.raises(StudyError, match=r"^title: is missing"):
        parse_study({"name": "one", "simulate": {}}, Path())


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("training", "epochs", "3", "training.epochs = '3': must be a whole number"),
        ("training", "epochs", 3.0, "training.epochs = 3.0: must be a whole number"),
        ("training", "epochs", True, "training.epochs = True: must be a whole number"),
        ("training", "epochs", 0, "training.epochs = 0: must be at least 1"),
        ("training", "learning_rate", "fast", "training.learning_rate = 'fast': must be a number"),
        ("training", "learning_rate", float("nan"), "training.learning_rate = nan: must be"),
        ("training", "momentum", "auto", "training.momentum = 'auto': must be a number"),
        ("training", "momentum", False, "training.momentum = False: must be a number"),
        ("training", "halves", 3, "training.halves = 3: must be between 1 and 2"),
        ("training", "precision", "half", "training.precision = 'half': must be one of 'highest'"),
        ("prepare", "scale_on", ["all"], "prepare.scale_on = ['all']: must be one of 'all'"),
        ("prepare", "partition", "kmeans", "prepare.partition = 'kmeans': must be one of 'random'"),
        ("training", "pretrain", "rbm", "training.pretrain = 'rbm': must be one of 'none'"),
        ("training", "pretrain_epochs", 5, "training.pretrain_epochs = 5: means nothing without"),
        (
            "prepare",
            "accept_wrong_dimensions",
            1,
            "prepare.accept_wrong_dimensions = 1: must be true or false",
        ),
        ("networks", "units", 9, "networks.units = 9: must be a list"),
        ("networks", "units", [], "networks.units = []: must be a list that is not empty"),
        ("networks", "units", [9, 3], "networks.units = [9, 3]: must grow"),
        ("networks", "units", [3, 3], "networks.units = [3, 3]: must grow, without repeats"),
        ("networks", "units", ["3"], "networks.units = '3': must be a whole number"),
        ("networks", "hidden_layers", [4], "networks.hidden_layers = 4: must be between 1 and 3"),
        ("baselines", "k_max", 0, "baselines.k_max = 0: must be at least 1"),
        ("simulate", "n_gtex", 1, "simulate.n_gtex = 1: must be between 2"),
    ],
)
def test_values_that_can_not_be_used(section, key, value, message) -> None:
    with pytest.raises(StudyError, match=f"^{re.escape(message)}") as caught:
        parse_study(SIMULATED | {section: {key: value}}, Path())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", [*SECTIONS, "files"])
def test_a_table_must_be_a_table(section) -> None:
    content = {"name": "one", "title": "One", "simulate": {}} | {section: 3}
    if section == "files":
        del content["simulate"]
    with pytest.raises(StudyError, match=rf"^{section} = 3: must be a table \[{section}\]$"):
        parse_study(content, Path())


def test_whole_numbers_and_auto() -> None:
    study = parse_study(
        SIMULATED | {"training": {"learning_rate": 1, "momentum": 0}}, Path()
    ).training
    assert (study.learning_rate, study.momentum) == (1.0, 0.0)
    assert type(study.learning_rate) is float
    auto = parse_study(SIMULATED | {"training": {"learning_rate": "auto"}}, Path())
    assert auto.training == TrainingConfig()


def test_preparation_settings_hold_what_decides_the_prepared_study() -> None:
    """Each changed key changes them, but the block size; they survive JSON."""
    study = parse_study(SIMULATED, Path())
    settings = study.preparation_settings()
    assert json.loads(json.dumps(settings)) == settings
    changes = {
        "prepare": {
            "duplicates": "none",
            "scale_on": "train",
            "partition": "clustered",
            "seed": 2,
            "block_size": 7,
            "accept_wrong_dimensions": True,
            "force_platform": True,
        },
        "simulate": {"seed": 2, "n_profiles": 5000},
    }
    assert set(changes["prepare"]) == {field.name for field in dataclasses.fields(PrepareConfig)}
    for section, values in changes.items():
        for key, value in values.items():
            changed = parse_study(SIMULATED | {section: {key: value}}, Path())
            assert (changed.preparation_settings() == settings) == (key == "block_size"), key
    for section, values in {"training": {"epochs": 3}, "networks": {"units": [5]}}.items():
        changed = parse_study(SIMULATED | {section: values}, Path())
        assert changed.preparation_settings() == settings


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
    with pytest.raises(StudyError, match=f"^{re.escape(str(path))}: {cause}") as caught:
        read_study(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "reproduce" / "studies").glob("*.toml")), ids=str)
def test_studies_of_the_project(path) -> None:
    study = read_study(path)
    assert study.name == path.stem
    assert study.simulated == ("simulated" in study.title.lower())
