"""Study files: every key as documented, and refusals that name the file, the key and the cause."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from itertools import combinations
from pathlib import Path

import pytest

from dgex_jax.config import BaselineConfig, GridConfig, PrepareConfig, TrainingConfig
from dgex_jax.errors import StudyError
from dgex_jax.parts import PAPER, PartSet
from dgex_jax.prepare.study import FACTS, FILE_KEYS, SECTIONS, build, parse_study, read_study
from dgex_jax.rawfiles import Compendium, GeoOnlyFiles, OtherSet, RawFiles, StudyFiles
from dgex_jax.simulate.config import SimulationConfig
from tests.prepare.checks import refused

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "reference" / "study.md").read_text(encoding="utf-8")
DOCUMENTED = [name for name in SECTIONS if name != "jobs"]
FIELDS = [(name, f.name) for name, kind in SECTIONS.items() for f in dataclasses.fields(kind)]
SIMULATED = {"name": "one", "title": "One", "simulate": {}}
FILES = {key: f"{key}.txt" for key in FILE_KEYS}
REAL = {"name": "one", "title": "One", "files": FILES}
OWN = {"files": "c.gctx", "landmarks": "lm.txt", "targets": "tg.txt"}
FORMS = {"compendium": OWN, "files": FILES, "simulate": {}}


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
    top = dict.fromkeys(("name", "title"), "none, needed") | dict.fromkeys(FACTS, "none")
    assert documented("Top of the file") == top


def test_documented_examples_are_studies() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    paper, arrays, real, simulated = (
        parse_study(tomllib.loads(text), Path("/study")) for text in examples
    )
    assert isinstance(paper.files, StudyFiles)
    assert (paper.parts, paper.prepare) == (PAPER, PrepareConfig(normalize="original"))
    assert isinstance(arrays.files, StudyFiles)
    assert arrays.parts.sets == (PartSet("tumours", "rnaseq", "test", "va"),)
    assert isinstance(real.files, RawFiles)
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


def own(sets: object = None, prepare: object = None, **compendium: object) -> dict[str, object]:
    """Write a study by its own files."""
    content: dict[str, object] = {"name": "one", "title": "One", "compendium": OWN | compendium}
    content |= {} if sets is None else {"sets": sets}
    return content | ({} if prepare is None else {"prepare": prepare})


RNA: dict[str, object] = {"file": "r.gct", "platform": "rnaseq"}
PAIRED: dict[str, object] = {"landmarks": "l.gctx", "truth": "t.gct", "platform": "l1000"}
VALIDATION = RNA | {"role": "validation"}


def test_a_compendium_and_its_sets(tmp_path) -> None:
    pairs = PAIRED | {"pairs": "p.tsv", "truth_platform": "rnaseq", "truth_values": "tpm"}
    sets = {"1000G": VALIDATION, "GTEx": RNA, "both": pairs, "last": RNA | {"validated_by": "va"}}
    study = parse_study(own(sets, files=["a.gctx", "b.gctx"]), tmp_path)
    raw = study.files
    assert isinstance(raw, StudyFiles)
    assert raw.compendium == Compendium(
        (tmp_path / "a.gctx", tmp_path / "b.gctx"), tmp_path / "lm.txt", tmp_path / "tg.txt"
    )
    assert raw.sets["GTEx"] == OtherSet("rnaseq", tmp_path / "r.gct")
    assert (raw.sets["both"].of_truth, raw.sets["both"].values) == ("tpm", "log2")
    assert raw.sets["both"].pairs == tmp_path / "p.tsv"
    chosen = [(one.name, one.platform, one.role, one.validated_by) for one in study.parts.sets]
    assert chosen == [
        ("1000G", "rnaseq", "validation", "1000G"),
        ("GTEx", "rnaseq", "test", "1000G"),
        ("both", "l1000", "test", "va"),
        ("last", "rnaseq", "test", "va"),
    ]
    assert (study.parts.compendium, study.parts.platform) == ("compendium", "array")
    # Of two validation sets of a platform none is the one.
    two = parse_study(own({"v": VALIDATION, "w": VALIDATION, "t": RNA}), tmp_path)
    assert two.parts.chooser_of("t") == "va"
    # Where the files lie decides nothing, what they are called and what they hold does.
    settings = study.preparation_settings()
    assert json.loads(json.dumps(settings)) == settings
    assert parse_study(own(sets, files=["a.gctx", "b.gctx"]), Path()).is_prepared_by(settings)
    for other in (own(sets), own(sets, files=["a.gctx", "b.gctx"], values="log1p"), own({})):
        assert not parse_study(other, tmp_path).is_prepared_by(settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (REAL | {"sets": {"GTEx": RNA}}, "sets: belong to a [compendium]"),
        ({**SIMULATED, "sets": {}}, "sets: belong to a [compendium]"),
        (own(3), "sets = 3: must be a table"),
        (own({"a": 3}), "a = 3: must be a table"),
        (own(names="x"), "compendium.names: unknown key; the nearest known key is compendium.name"),
        (
            own({"a": RNA | {"fil": "x"}}),
            "sets.a.fil: unknown key; the nearest known key is sets",
        ),
        (own(files=[]), "compendium.files = []: must be a list that is not empty"),
        (own(files=[3]), "compendium.files = 3: is no name of a file"),
        (own(platform="chip"), "compendium.platform = 'chip': must be one of 'array'"),
        (own(values="raw"), "compendium.values = 'raw': must be one of 'log2'"),
        (own({"a": {"file": "x"}}), "sets.a.platform: is missing: what measured it"),
        *(
            (own({"a": one}), "sets.a.file: either it is given, or landmarks and truth are")
            for one in (RNA | PAIRED, {"platform": "array"}, RNA | {"truth": "t.gct"})
        ),
        (own({"a": RNA | {"pairs": "p"}}), "sets.a.pairs: only landmarks and truth"),
        (own({"a": RNA | {"truth_values": "tpm"}}), "sets.a.truth_values: means nothing without"),
        (own({"a": VALIDATION | {"validated_by": "va"}}), "sets.a.validated_by: a validation set"),
        (own({"a": RNA | {"validated_by": "b"}}), "a: validated_by = 'b': is no validation set"),
        (own({"a": RNA | {"validated_by": "t"}, "t": RNA}), "a: validated_by = 't': is no val"),
        *(
            (own({name: RNA}), f"{name!r}: is the name of another part, or of the compendium")
            for name in ("tr", "VA", "te", "Compendium")
        ),
        (own({"a": RNA, "A": RNA}), "'A': is the name of another part"),
        (own({"a": RNA}, name="a"), "'a': is the name of another part"),
        *((own({name: RNA}), f"{name!r}: names a set; use") for name in ("", "a/b", ".a", "a b")),
        (own(split_by="series_id"), 'compendium.split_by: needs [prepare] scale_on = "train"'),
        (
            own({"a": PAIRED}, {"normalize": "original"}),
            "sets.a: normalize = 'original' knows no paired files",
        ),
        (
            own({"a": RNA | {"values": "tpm"}}, {"normalize": "log_cpm"}, values="counts"),
            "sets.a.values = 'tpm': normalize = 'log_cpm' is for counts",
        ),
        (own(None, {"normalize": "log_cpm"}), "compendium.values = 'log2': normalize = 'log_cpm'"),
        (
            own(
                {"a": PAIRED | {"values": "counts", "truth_values": "tpm"}},
                {"normalize": "log_cpm"},
                values="counts",
            ),
            "sets.a.truth_values = 'tpm': normalize = 'log_cpm' is for counts",
        ),
        *(
            (
                one | {"prepare": {"normalize": "log_cpm"}},
                "normalize = 'log_cpm': is for c",
            )
            for one in (REAL, REAL | {"files": {"geo": "g", "landmarks": "l"}})
        ),
        (own(None, {"normalize": "rank"}), "prepare.normalize = 'rank': must be one of"),
        (own(None, {"max_zero_share": 1.5}), "prepare.max_zero_share = 1.5: must be between"),
        (own(None, {"min_genes": -1}), "prepare.min_genes = -1: must be at least 0"),
    ],
)
def test_compendia_and_sets_that_can_not_be_used(content, message) -> None:
    refused(lambda: parse_study(content, Path()), f"^{re.escape(message)}", StudyError)


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
        *(
            (
                {"name": "one", "title": "One", **forms},
                "needs one of [compendium] (with [sets.N",
            )
            for forms in ({}, *map(dict, combinations(FORMS.items(), 2)), FORMS)
        ),
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
            "normalize": "none",
            "max_zero_share": 0.5,
            "min_genes": 9,
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
        *({"source": "GSE1"}, {"licence": "CC0"}),
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
