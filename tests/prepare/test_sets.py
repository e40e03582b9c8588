"""A compendium and sets of any platform: by NumPy and SciPy alone, and the paper's study again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import rankdata

from dgex_jax.cli import main
from dgex_jax.config import PrepareConfig
from dgex_jax.errors import DgexError, FormatError, PreparationError, StudyError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import GctxWriter, write_gct
from dgex_jax.parts import PAPER
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.study import read_study
from dgex_jax.rawfiles import Compendium, OtherSet, RawFiles, StudyFiles
from tests.prepare.checks import assert_same, datasets, refused

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QUICK = PrepareConfig(duplicates="none")
LANDMARKS = {f"ENSG0000000000{n}": [f"l{n}_at"] for n in range(6)}
"""Probes by Ensembl id; the first target is the gene of the first landmark, by other probes."""
TARGETS = {f"ENSG000000000{n}": [f"t{n}{x}_at" for x in "abc"[: n % 3 + 1]] for n in range(20, 31)}
TARGETS = {next(iter(LANDMARKS)): ["t0_at"], **TARGETS}
PROBES = [probe for of in (LANDMARKS, TARGETS) for probes in of.values() for probe in probes]
GENES = list({**LANDMARKS, **TARGETS})


@dataclass(frozen=True)
class Made:
    """A made-up file: float32 values ``(n_profiles, n_genes)``, in an order of its own."""

    path: Path
    values: NDArray[np.float32]
    profiles: list[str]
    genes: list[str]

    def rows(self, profiles: list[str], genes: list[str]) -> NDArray[np.float32]:
        """Give some values."""
        found = self.values[[self.profiles.index(one) for one in profiles]]
        return found[:, [self.genes.index(one) for one in genes]]

    def changed(self, values: NDArray[np.floating]) -> Made:
        """Write other values."""
        return write(self.path, values, self.profiles, self.genes)


def write(path: Path, values: NDArray[np.floating], profiles: list[str], genes: list[str]) -> Made:
    made = Made(path, values.astype(np.float32), profiles, genes)
    with GctxWriter(path, profiles, genes) as writer:
        writer.append(made.values)
    return made


@pytest.fixture
def make(tmp_path):
    """Give a function that makes a file of some kind of values, with genes of no map."""

    def file(name: str, n: int, genes: list[str], kind: str, prefix: str = "") -> Made:
        rng = np.random.default_rng([len(name), n])
        genes = list(rng.permutation([*genes, "other1", "other2"]))
        log = rng.normal(5, 2, (1, len(genes))) + rng.normal(0, 1.5, (n, len(genes)))
        values = {
            "log2": np.round(log.clip(0), 1),
            "counts": rng.poisson(2 ** log.clip(-2)) // 4,
            "tpm": np.round(2**log, 1),
        }[kind]
        profiles = [f"{prefix or name}-{k}" for k in rng.permutation(n)]
        return write(tmp_path / f"{name}.gctx", values, profiles, genes)

    return file


@pytest.fixture
def maps(tmp_path) -> tuple[Path, Path]:
    """Both maps of genes."""
    paths = []
    for name, genes in (("lm.txt", LANDMARKS), ("tg.txt", TARGETS)):
        lines = [f"S{n}\t{gene}\t{','.join(of)}\n" for n, (gene, of) in enumerate(genes.items())]
        (tmp_path / name).write_text("".join(lines))
        paths.append(tmp_path / name)
    return paths[0], paths[1]


def logs(made: Made, kind: str, rule: str) -> Made:
    """Take logarithms, of counts by million of all genes."""
    values = made.values.astype(np.float64)
    if kind == "log2":
        return made
    if rule == "log_cpm":
        values *= 1e6 / values.sum(axis=1, keepdims=True)
    return replace(made, values=np.log2(values + 1).astype(np.float32))


def normal(values: NDArray[np.floating], quantile: NDArray | None) -> NDArray[np.float64]:
    """Map average ranks, truncated, on a quantile; without one they are values in float32."""
    if quantile is None:
        return values.astype(np.float32).astype(np.float64)
    return quantile[(rankdata(values, axis=1) - 1).astype(int)]


def check_study(
    path: Path, study: StudyFiles, files: dict[str, Made], config: PrepareConfig, partner=None
) -> None:
    """Expect what the raw values `files`, by role, give."""
    data, rule = datasets(path), config.normalize or "quantile"
    landmarks, targets = data["landmarks"].tolist(), data["targets"].tolist()
    n, ids = len(landmarks), [*landmarks, *targets]
    assert (sorted(landmarks), sorted(targets)) == (sorted(LANDMARKS), sorted(TARGETS))
    probes = [*(LANDMARKS[one] for one in landmarks), *(TARGETS[one] for one in targets)]
    compendium = logs(files["compendium"], study.compendium.values, rule)
    profiles, train = data["compendium/profiles"].tolist(), data["compendium/split/train"]
    assert sorted(profiles) == sorted(compendium.profiles)
    genes = np.column_stack(
        [compendium.rows(profiles, of).astype(np.float64).mean(axis=1) for of in probes]
    )
    fitted = train if config.scale_on == "train" else slice(None)
    quantile = np.sort(genes[fitted], axis=1).mean(axis=0)
    values = normal(genes, quantile if rule == "quantile" else None)
    alone = {
        kind: np.sort(values[train][:, columns], axis=1).mean(axis=0)
        for kind, columns in (("X", slice(n)), ("Y", slice(n, None)))
    }
    np.testing.assert_allclose(data["quantile"], quantile, rtol=0, atol=1e-12)
    np.testing.assert_allclose(data["landmark_quantile"], alone["X"], rtol=0, atol=1e-12)
    ours = values[fitted].mean(axis=0), values[fitted].std(axis=0)
    expected = {"compendium": (values, ours)}
    for name, one in study.sets.items():
        rows = data[f"sets/{name}/profiles"].tolist()
        if one.file is not None:
            of_set = logs(files[name], one.values, rule).rows(rows, ids)
            found = normal(of_set, quantile if rule == "quantile" else None)
            assert f"sets/{name}/truth" not in data
        else:
            truth = data[f"sets/{name}/truth"].tolist()
            assert truth == [partner[profile] for profile in rows]
            X = logs(files[f"{name} X"], one.values, rule).rows(rows, landmarks)
            Y = logs(files[f"{name} Y"], one.of_truth, rule).rows(truth, targets)
            both = zip((X, Y), alone.values(), strict=True)
            found = np.hstack(
                [normal(half, of if rule == "quantile" else None) for half, of in both]
            )
        own = found.mean(axis=0), found.std(axis=0)
        expected[f"sets/{name}"] = found, ours if one.standardize == "training" else own
    for group, (of_group, (mean, deviation)) in expected.items():
        scaled = (of_group - mean) / (deviation + 1e-3)
        for kind, columns in (("X", slice(n)), ("Y", slice(n, None))):
            stored = data[f"{group}/{kind}"]
            assert stored.dtype == np.float32
            np.testing.assert_allclose(stored, scaled[:, columns], rtol=1e-6, atol=1e-5)
            for what, wanted in (("mean", mean), ("sd", deviation)):
                was = data[f"{group}/{kind}_{what}"]
                np.testing.assert_allclose(was, wanted[columns], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        replace(QUICK, normalize=None),
        replace(QUICK, normalize="quantile", scale_on="train", partition="clustered"),
        replace(QUICK, normalize="none", scale_on="train", partition="clustered"),
        replace(QUICK, normalize="log_cpm"),
    ],
    ids=["default", "quantile", "none", "log_cpm"],
)
def test_values_are_those_of_the_rules_for_any_block_size(
    make, maps, run_prepare, tmp_path, config
) -> None:
    counted = config.normalize == "log_cpm"
    kinds: dict[str, Any] = dict.fromkeys(("tpm", "log2"), "counts") if counted else {}
    tpm, log2 = (kinds.get(kind, kind) for kind in ("tpm", "log2"))
    files = {
        "compendium": make("c", 90, PROBES, "counts"),
        "check": make("check", 11, GENES, tpm),
        "own": make("own", 14, GENES, log2),
        "pairs X": make("x", 20, list(LANDMARKS), log2),
        "pairs Y": make("y", 17, list(TARGETS), tpm),
        "same X": make("same1", 9, list(LANDMARKS), log2, "s"),
        "same Y": make("same2", 12, list(TARGETS), "counts", "s"),
    }
    x, y = files["pairs X"].profiles, files["pairs Y"].profiles
    order = np.random.default_rng(3).permutation(15)
    (tmp_path / "pairs.tsv").write_text("".join(f"{y[k]}\t{x[k]}\n" for k in order))
    partner = dict(zip(x[:15], y, strict=False))
    partner |= {profile: profile for profile in files["same X"].profiles}
    sets = {
        "check": OtherSet("rnaseq", files["check"].path, role="validation", values=tpm),
        "own": OtherSet("array", files["own"].path, values=log2, standardize="training"),
    }
    for name, of_truth in (("pairs", tpm), ("same", "counts")):
        sets[name] = OtherSet(
            "l1000",
            landmarks=files[f"{name} X"].path,
            truth=files[f"{name} Y"].path,
            pairs=tmp_path / "pairs.tsv" if name == "pairs" else None,
            truth_platform="rnaseq",
            values=log2,
            truth_values=of_truth,
            standardize="training" if name == "same" else "input",
        )
    path = files["compendium"].path
    study = StudyFiles(Compendium((path,), *maps, "c", "rnaseq", "counts"), sets)
    written = set()
    for block_size in (7, 1024):
        report = run_prepare(study, tmp_path / "p.h5", replace(config, block_size=block_size))
        written.add((tmp_path / "p.h5").read_bytes())
    assert len(written) == 1
    check_study(tmp_path / "p.h5", study, files, config, partner)
    counts = {"c_profiles_read": 90, "c_profiles_kept": 90, "pairs_profiles": 15}
    counts |= {"check_profiles": 11, "own_profiles": 14, "same_profiles": 9}
    assert counts.items() <= report.counts.items()
    lengths = "c: counts know no lengths: ranks between genes depend on them"
    assert (lengths in report.warnings) == (config.normalize in (None, "quantile"))
    assert any("2 of 17 profiles of" in note and "no partner" in note for note in report.notes)
    with open_prepared(tmp_path / "p.h5") as opened:
        assert tuple(opened.parts) == ("tr", "va", "te", "check", "own", "pairs", "same")
        assert opened.parts.choosers == ("va", "check")
        np.testing.assert_array_equal(opened.Y("same"), datasets(opened.path)["sets/same/Y"])


def test_counts_of_text_are_per_million_of_all_its_genes(make, maps, run_prepare, tmp_path) -> None:
    """Not only of those that the maps have, which alone are read of text otherwise."""
    files = {"compendium": make("c", 60, PROBES, "counts"), "own": make("own", 14, GENES, "counts")}
    for name, made in files.items():
        path = made.path.with_suffix(".gct")
        write_gct(path, Expression(path, made.values, tuple(made.profiles), tuple(made.genes)))
        files[name] = replace(made, path=path)
    sets = {"own": OtherSet("rnaseq", files["own"].path, values="counts")}
    compendium = Compendium((files["compendium"].path,), *maps, "c", "rnaseq", "counts")
    study, config = StudyFiles(compendium, sets), replace(QUICK, normalize="log_cpm")
    run_prepare(study, tmp_path / "p.h5", config)
    check_study(tmp_path / "p.h5", study, files, config)


PAPER_AGAIN = """
name = "paper"
title = "The paper's study"
[compendium]
name = "GEO"
files = "{geo}"
landmarks = "{landmarks}"
targets = "{targets}"
[sets.1000G]
role = "validation"
file = "{thousand_genomes}"
platform = "rnaseq"
values = "{values}"
[sets.GTEx]
file = "{gtex}"
platform = "rnaseq"
values = "{values}"
[prepare]
normalize = "original"
"""


@pytest.mark.parametrize("values", ["rpkm", "log2"])
@pytest.mark.parametrize(
    "config",
    [QUICK, PrepareConfig(duplicates="all-pairs", scale_on="train", partition="clustered")],
)
def test_the_papers_study_by_its_sets(golden_raw, run_prepare, tmp_path, values, config) -> None:
    text = PAPER_AGAIN.format(values=values, **vars(golden_raw))
    (tmp_path / "study.toml").write_text(text)
    study = read_study(tmp_path / "study.toml")
    assert study.files is not None
    reports = [
        run_prepare(files, tmp_path / name, replace(config, normalize=study.prepare.normalize))
        for files, name in ((study.files, "sets.h5"), (golden_raw, "files.h5"))
    ]
    assert_same(tmp_path / "sets.h5", tmp_path / "files.h5")
    ours, theirs = (replace(report, output=tmp_path) for report in reports)
    assert ours == theirs
    with open_prepared(tmp_path / "sets.h5") as opened:
        assert opened.parts == PAPER


@pytest.fixture
def counted(make, maps) -> tuple[StudyFiles, Made]:
    """A compendium of counts, some profiles and genes of which are mostly 0."""
    made = make("c", 60, PROBES, "counts")
    rng = np.random.default_rng(5)
    values = made.values + 1
    values[:, rng.permutation(len(made.genes))[:9]] *= rng.random((60, 9)) < 0.5
    values[rng.permutation(60)[:12]] *= rng.random((12, len(made.genes))) < 0.3
    made = made.changed(values)
    return StudyFiles(Compendium((made.path,), *maps, "c", "rnaseq", "counts"), {}), made


@pytest.mark.parametrize(("share", "least"), [(0.4, 0), (1.0, 9), (0.4, 9)])
def test_filters_leave_out_what_is_mostly_zero(
    counted, run_prepare, tmp_path, share, least
) -> None:
    study, made = counted
    config = replace(QUICK, max_zero_share=share, min_genes=least)
    report = run_prepare(study, tmp_path / "p.h5", config)
    genes = [
        *((one, of) for one, of in LANDMARKS.items()),
        *((one, of) for one, of in TARGETS.items()),
    ]
    above = np.column_stack([(made.rows(made.profiles, of) > 0).any(axis=1) for _, of in genes])
    rich = above.sum(axis=1) >= least
    stays = (~above[rich]).mean(axis=0) <= share
    assert (rich.all(), stays.all()) == (least == 0, share == 1)
    data, n = datasets(tmp_path / "p.h5"), len(LANDMARKS)
    kept = [name for name, one in zip(made.profiles, rich, strict=True) if one]
    assert sorted(data["compendium/profiles"]) == sorted(kept)
    for role, of, some in (("landmarks", LANDMARKS, stays[:n]), ("targets", TARGETS, stays[n:])):
        assert sorted(data[role]) == sorted(np.array([*of])[some])
    lost = [("landmark" if k < n else "target", genes[k][0]) for k in np.flatnonzero(~stays)]
    written = zip(data["dropped/role"].tolist(), data["dropped/ensembl"].tolist(), strict=True)
    assert sorted(written) == sorted(lost)
    assert set(data["dropped/cause"]) <= {"zero in more than 40% of the profiles"}
    counts = report.counts
    assert (counts["c_profiles_read"], counts["c_profiles_kept"]) == (60, len(kept))
    assert (counts["genes_dropped"], counts["targets"]) == (len(lost), stays[n:].sum())
    note = f"c: {60 - len(kept)} profiles with fewer than {least} genes above 0 left out"
    assert (note in report.notes) == bool(least)
    # The others are as without the filters that left nothing out.
    np.testing.assert_allclose(data["compendium/Y"].mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "change", "kind", "text"),
    [
        ({"min_genes": 99}, 1, PreparationError, "no profile has 99 genes above 0"),
        ({"max_zero_share": 0.0}, 0, PreparationError, "no landmark or no target is left: zero in"),
        # A missing value is no 0.
        ({"max_zero_share": 0.4, "min_genes": 9}, np.nan, FormatError, "60 missing"),
    ],
)
def test_filters_that_leave_nothing(
    counted, run_prepare, tmp_path, config, change, kind, text
) -> None:
    study, made = counted
    values = made.values.copy()
    values[:, made.genes.index("l1_at")] *= change
    if change == 0:
        values[0] = 0
    made.changed(values)
    wrong = replace(QUICK, **config)
    refused(lambda: run_prepare(study, tmp_path / "p.h5", wrong), text, kind, made.path)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize("place", ["compendium", "other"])
@pytest.mark.parametrize(
    ("kind", "said", "text"),
    [
        ("tpm", "log2", r"values = 'log2', but they go up to 1e\+04: \"counts\""),
        ("tpm", "log1p", r"values = 'log1p', but they go up to 1e\+04: \"counts\""),
        (
            "log2",
            "tpm",
            r"values = 'tpm', but they go from .* as logarithms do: values = \"log2\"?",
        ),
        ("log2", "counts", r"values = 'counts', but they go from 0 to "),
    ],
)
def test_values_that_are_not_what_is_said(
    make, maps, run_prepare, tmp_path, place, kind, said, text
) -> None:
    kinds = dict.fromkeys(("compendium", "other"), "log2") | {place: kind}
    files = {
        "compendium": make("c", 30, PROBES, kinds["compendium"]),
        "other": make("other", 12, GENES, kinds["other"]),
    }
    if kind == "tpm":
        values = files[place].values.copy()
        values[3, files[place].genes.index({"compendium": "t0_at", "other": GENES[0]}[place])] = 1e4
        values = np.minimum(values, 1e4)
        files[place] = files[place].changed(values)
    values = dict.fromkeys(kinds, "log2") | {place: said}
    compendium = Compendium((files["compendium"].path,), *maps, "c", values=values["compendium"])
    other = OtherSet("rnaseq", files["other"].path, values=values["other"])
    study, output = StudyFiles(compendium, {"other": other}), tmp_path / "p.h5"
    refused(lambda: run_prepare(study, output, QUICK), text, path=files[place].path)
    assert not output.exists()
    forced = replace(QUICK, force_platform=True)
    report = run_prepare(study, output, forced)
    assert any("(forced)" in one and f"values = {said!r}" in one for one in report.warnings)
    if said != "log1p":
        check_study(output, study, files, forced)


def test_negative_counts_and_empty_profiles_have_no_logarithm(
    counted, run_prepare, tmp_path
) -> None:
    study, made = counted
    for change, rule, text in (
        (-1, "quantile", "'c-0' has a value below 0, of which there is no log2"),
        (0, "log_cpm", "'c-0' counts no reads"),
    ):
        values = made.values.copy()
        values[made.profiles.index("c-0")] = change
        made.changed(values)
        config = replace(QUICK, normalize=rule)
        refused(lambda of=config: run_prepare(study, tmp_path / "p.h5", of), text, path=made.path)


def test_rules_hold_for_flags_and_from_python(
    golden_raw, maps, run_prepare, tmp_path, capsys
) -> None:
    """Not only where a study file is read."""
    split = StudyFiles(Compendium((golden_raw.geo,), *maps, split_by="series_id"), {})
    refused(lambda: run_prepare(split, tmp_path / "p.h5"), "needs .prepare. scale_on", StudyError)
    text = PAPER_AGAIN.format(values="rpkm", **vars(golden_raw))
    (tmp_path / "study.toml").write_text(text)
    words = ["prepare", str(tmp_path / "study.toml"), "-o", str(tmp_path / "p.h5")]
    assert main([*words, "--normalize", "log_cpm"]) == 2
    error = capsys.readouterr().err
    assert "compendium.values = 'log2': normalize = 'log_cpm' is for counts" in error
    assert error.count("\n") == 1
    files: Any = golden_raw
    assert isinstance(files, RawFiles)
    cpm = replace(QUICK, normalize="log_cpm")
    refused(lambda: run_prepare(files, tmp_path / "p.h5", cpm), "is for counts", DgexError)
    assert not (tmp_path / "p.h5").exists()
