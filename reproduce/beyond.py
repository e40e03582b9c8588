"""Beyond the paper: every method on several splits of a study, scaled on training alone.

``python -m reproduce.beyond --study STUDY`` prepares the study once a split, fits and chooses on
the validation part that belongs to a set, and writes ``beyond`` (table and figure). Each split is
kept as it is done, so that a command that was stopped resumes. All settings are chosen on
validation; of D-GEX the architecture too, on the first split.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax import __version__
from dgex_jax.cli_options import OneLineParser, run_command
from dgex_jax.compiled import keep_compiled
from dgex_jax.config import NetworkConfig
from dgex_jax.errors import StudyError
from dgex_jax.io.manifest import digest, read_json, write_json
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Fitted, Tables
from dgex_jax.methods.members import fit_member, members_for
from dgex_jax.methods.stack import fit_stack
from dgex_jax.model.certainty import certainty_of
from dgex_jax.model.evaluate import part_scores
from dgex_jax.model.fit import tables_of
from dgex_jax.prepare.of_study import prepare_study
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.rawfiles import StudyFiles
from dgex_jax.train.arrays import StudyArrays, load_arrays
from dgex_jax.train.devices import choose_devices, share_cpu
from dgex_jax.train.record import mark_done
from dgex_jax.train.train import train_group
from reproduce.baselines import fit_baseline
from reproduce.plots.panels import draw_beyond
from reproduce.plots.style import save
from reproduce.stages import beyond_config, make_folder, raw_files
from reproduce.tables import markdown_rows, preface
from reproduce.workspace import at_rates, open_workspace
from reproduce.written import rounded_csv, write_table_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.prepare.study import Study
    from reproduce.workspace import Workspace

BASELINES = ("LR", "LR-L1", "LR-L2", "KNN-GE")
BEYOND = ("kernel-ridge", "sample-lasso", "learned-kernel", "residual-mlp")
DGEX, STACK = "D-GEX", "stack"
METHODS = (*BASELINES, DGEX, *BEYOND, STACK)
CURVE = (DGEX, "LR-L2", "kernel-ridge", "residual-mlp", STACK)
CURVE_SIZES = (250, 500, 1000, 2000, 4000)
LEVEL = 0.9
FORMAT = 1


@dataclass(frozen=True)
class Split:
    """One way to divide a study: by which seed, at random or by groups, how much of training."""

    seed: int
    by_group: bool
    n_train: int | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        size = "" if self.n_train is None else f"-{self.n_train}"
        return f"{'groups' if self.by_group else 'random'}-{self.seed}{size}"


def split_study(study: Study, split: Split) -> Study:
    """Return the study divided so, everything scaled on training alone."""
    files = study.files
    if isinstance(files, StudyFiles) and not split.by_group:
        files = dataclasses.replace(
            files, compendium=dataclasses.replace(files.compendium, split_by=None)
        )
    config = dataclasses.replace(study.prepare, seed=split.seed, scale_on="train")
    return dataclasses.replace(study, prepare=config, files=files)


def measure_split(
    space: Workspace,
    split: Split,
    methods: Sequence[str],
    networks: dict[str, NetworkConfig],
    choosers: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure methods on one split, or read what was measured; `networks` are filled on the first.

    `choosers` are the validation parts whose sets are measured, all by default. Of each method:
    ``errors`` (part → overall error), ``seconds`` and ``memory_mb`` (peak beyond
    what was held before; Linux alone), ``chosen`` (validation part → what it is made of). With the
    stack ``coverage`` (part → share of values inside its 90 % intervals).
    """
    folder = space.results / "beyond" / split.name
    path = folder / "measured.json"
    study = split_study(space.study, split)
    job = digest(
        {
            "format": FORMAT,
            **beyond_config(dataclasses.replace(space, study=study)),
            "split": dataclasses.asdict(split),
            "choosers": list(choosers),
            "version": __version__,
        }
    )
    found = read_json(path) or {}
    if found.get("job") != job:
        found = {"job": job, "methods": {}, "networks": {}}
    networks |= {part: NetworkConfig(**one) for part, one in found["networks"].items()}
    missing = [one for one in methods if one not in found["methods"]]
    if not missing:
        return found
    print(f"{split.name}: {', '.join(missing)}", flush=True)
    make_folder(folder)
    with open_prepared(_prepared(space, study, split)) as prepared:
        found |= {
            "n_train": split.n_train or prepared.n_profiles("tr"),
            "simulated": prepared.simulated,
            "labels": {part: prepared.parts.label(part) for part in prepared.parts},
        }
        job_of = _Job(study, prepared, split, networks, choosers)
        for method in missing:
            start = time.perf_counter()
            before = _reset_peak()
            errors, more = job_of.measure(method)
            found["methods"][method] = {
                "errors": errors,
                "seconds": time.perf_counter() - start,
                "memory_mb": None if before is None else max(0.0, _memory("VmHWM") - before),
                **more,
            }
            found["networks"] = {part: dataclasses.asdict(one) for part, one in networks.items()}
            shown = ", ".join(f"{found['labels'][part]} {one:.4f}" for part, one in errors.items())
            print(f"  {method}: {shown}; {time.perf_counter() - start:.0f} s", flush=True)
            write_json(path, found)
    return found


def _prepared(space: Workspace, study: Study, split: Split) -> Path:
    """Prepare a split, unless that was done."""
    whole = dataclasses.replace(split, n_train=None)
    path = space.results / "beyond" / whole.name / "prepared.h5"
    settings = study.preparation_settings()
    if path.exists():
        with open_prepared(path) as made:
            if dict(made.settings) == json.loads(json.dumps(settings)):
                return path
    make_folder(path.parent)
    raw = raw_files(space) if study.files is None else study.files
    prepare_study(study, path, raw=raw, progress=True)
    return path


class _Job:
    """One split in memory; what was fitted on it is kept for the stack."""

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        split: Split,
        networks: dict[str, NetworkConfig],
        choosers: Sequence[str],
    ) -> None:
        self._study, self._prepared, self._networks = study, prepared, networks
        self._split, self._fitted = split, dict[tuple[str, str], Fitted]()
        self._parts = prepared.parts
        self._choosers = choosers or self._parts.choosers
        for one in self._choosers:
            if one not in self._parts.choosers:
                known = ", ".join(self._parts.choosers)
                raise StudyError(f"--choosers: {one!r} is no validation part of the study: {known}")

    def measure(self, method: str) -> tuple[dict[str, float], dict[str, Any]]:
        """Give the overall error on every part, and what else is to be told of a method."""
        errors, more = self._measure(method)
        of = {part for one in self._choosers for part in (one, *self._parts.tests_of(one))}
        return {part: errors[part] for part in self._parts.evaluated if part in of}, more

    def _measure(self, method: str) -> tuple[dict[str, float], dict[str, Any]]:
        if method in BASELINES:
            measured = fit_baseline(method, self._study.baselines, self._arrays(1), lambda _n: None)
            reached = {part: float(one.mean()) for part, one in measured.errors.items()}
            return reached, {"chosen": {part: dict(one) for part, one in measured.chosen.items()}}
        if method == DGEX:
            return self._measure_networks()
        errors: dict[str, float] = {}
        chosen: dict[str, str] = {}
        coverage: dict[str, Any] = {}
        for chooser in self._choosers:
            fitted = self._stack(chooser) if method == STACK else self._fit(method, chooser)
            chosen[chooser] = fitted.title
            for part in (chooser, *self._parts.tests_of(chooser)):
                errors[part] = float(part_scores(fitted, self._prepared, part).mae.mean())
            if method == STACK:
                _, covered = certainty_of(self._prepared, fitted)
                coverage |= {
                    part: one.to_json()
                    for part in self._parts.tests_of(chooser)
                    for one in covered[part]
                    if one.level == LEVEL
                }
        more = {"chosen": chosen, **({"coverage": coverage} if coverage else {})}
        return errors, more

    def _arrays(self, halves: int) -> StudyArrays:
        arrays, n = load_arrays(self._prepared, halves), self._split.n_train
        if n is None:
            return arrays
        return dataclasses.replace(
            arrays,
            X={**arrays.X, "tr": arrays.X["tr"][:n]},
            Y={**arrays.Y, "tr": arrays.Y["tr"][:n]},
        )

    def _tables(self, chooser: str) -> Tables:
        tables, n = tables_of(self._prepared, chooser), self._split.n_train
        groups = None if tables.groups is None else tables.groups[:n]
        return dataclasses.replace(tables, X=tables.X[:n], Y=tables.Y[:n], groups=groups)

    def _fit(self, method: str, chooser: str) -> Fitted:
        if (method, chooser) not in self._fitted:
            fitted = fit_member(method, self._tables(chooser), progress=Progress(True))
            self._fitted[method, chooser] = fitted
        return self._fitted[method, chooser]

    def _stack(self, chooser: str) -> Fitted:
        tables = self._tables(chooser)
        members: dict[str, Callable[[Tables], Fitted]] = {
            name: partial(lambda name, _tables: self._fit(name, chooser), name)
            for name in members_for(len(tables.X))
        }
        return fit_stack(tables, members)[0]

    def _measure_networks(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Train the networks chosen on the first split; on it all, to choose."""
        training = self._study.training
        arrays = self._arrays(training.halves)
        (devices, *_), _ = choose_devices(None, training.halves)
        wanted = list(dict.fromkeys(self._networks.values())) or list(at_rates(self._study))
        errors = {}
        with Progress(True).step("networks", len(wanted), "networks") as tick:
            for one in wanted:
                (trained,) = train_group(arrays, [one], training, devices, lambda *_: None)
                errors[one] = {part: float(mae.mean()) for part, mae in trained.gene_errors.items()}
                tick(1)
        for chooser in self._parts.choosers:
            best = min(errors, key=lambda one: errors[one][chooser])
            self._networks.setdefault(chooser, best)
        chosen = {chooser: self._networks[chooser].name for chooser in self._parts.choosers}
        return {
            part: errors[self._networks[self._parts.chooser_of(part)]][part]
            for part in self._parts.evaluated
        }, {"chosen": chosen, "n_trained": len(wanted)}


def _memory(name: str) -> float:
    """Memory of this process in MiB, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1]) / 1024
    raise AssertionError(name)


def _reset_peak() -> float | None:
    """Begin to count peak memory anew; gives what is held now, ``None`` where that can't be."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _memory("VmRSS")
    except OSError:
        return None


# --- what is written


def summary(splits: Sequence[dict[str, Any]], kind: str) -> pd.DataFrame:
    """Make a row of each method and part: mean and sd over splits, and the difference to D-GEX.

    `difference` is paired: of the same splits; sd are of the sample (ddof 1), missing for one.
    """
    rows = []
    methods = [one for one in METHODS if all(one in split["methods"] for split in splits)]
    for method in methods:
        of = [split["methods"][method] for split in splits]
        for part in of[0]["errors"]:
            errors = np.array([one["errors"][part] for one in of])
            row = {
                "split": kind,
                "method": method,
                "part": part,
                "label": splits[0]["labels"][part],
                "n_splits": len(splits),
                "error": errors.mean(),
                "sd": errors.std(ddof=1) if len(errors) > 1 else np.nan,
                "seconds": float(np.mean([one["seconds"] for one in of])),
                "memory_mb": np.nan
                if of[0]["memory_mb"] is None
                else max(one["memory_mb"] for one in of),
            }
            if DGEX in methods:
                theirs = [split["methods"][DGEX]["errors"][part] for split in splits]
                apart = errors - np.array(theirs)
                row |= {
                    "difference": apart.mean(),
                    "difference_sd": apart.std(ddof=1) if len(apart) > 1 else np.nan,
                }
            covered = [one.get("coverage", {}).get(part, {}).get("values", np.nan) for one in of]
            row["coverage"] = float(np.mean(covered))
            rows.append(row)
    return pd.DataFrame(rows)


def write_beyond(
    space: Workspace, table: pd.DataFrame, curve: pd.DataFrame, *, simulated: bool
) -> str:
    """Write the table (CSV, Markdown, LaTeX) and the figure; returns the Markdown."""
    title = f"Beyond the paper, study {space.study.name}"
    caption = (
        f"{space.study.title}. Overall error (mean absolute, standardised on training alone), "
        "mean ± standard deviation over splits; in brackets the paired difference to D-GEX. All is "
        "chosen on validation."
    )
    lines = preface(title, caption, simulated=simulated)
    for kind, of_kind in table.groupby("split", sort=False):
        labels = list(dict.fromkeys(of_kind["label"]))
        n = int(of_kind["n_splits"].iloc[0])
        lines += [f"## {kind}, {n} split{'s' if n > 1 else ''}", ""]
        rows = [
            [
                str(method),
                *(_cell(rows[rows["label"] == label].iloc[0]) for label in labels),
                f"{rows['seconds'].iloc[0]:,.0f}",
                _number(rows["memory_mb"].iloc[0], "{:,.0f}"),
            ]
            for method, rows in of_kind.groupby("method", sort=False)
        ]
        lines += markdown_rows(["", *labels, "seconds", "MB"], rows)
        covered = of_kind.dropna(subset=["coverage"])
        for row in covered.to_dict("records"):
            share = f"90 % intervals of the {row['method']} cover {row['coverage']:.1%}"
            lines += ["", f"{share} of the values of {row['label']}."]
        lines.append("")
    if len(curve):
        lines += ["## By number of training profiles", ""]
        of_test = curve[curve["part"] == "te"]
        first = of_test["label"].iloc[0]
        wide = of_test.pivot_table(index="method", columns="n_train", values="error", sort=False)
        rows = [
            [str(name), *(_number(one, "{:.4f}") for one in row)]
            for name, row in zip(wide.index, wide.to_numpy(), strict=True)
        ]
        lines += [f"Error on {first}.", ""]
        lines += [*markdown_rows(["", *(f"{n:,}" for n in wide.columns)], rows), ""]
    text = "\n".join(lines)
    make_folder(space.tables)
    csv = rounded_csv(table.assign(data="simulated" if simulated else "measured"))
    shown = table[["split", "method", "label", "error", "sd"]]
    tex = shown.to_latex(index=False, float_format="%.4f")
    write_table_files(space.tables, "beyond", csv=csv, md=text, tex=tex)
    make_folder(space.figures)
    both = pd.concat([table.assign(n_train=np.nan), curve.assign(split="curve")])
    figure = draw_beyond(table, curve, note="simulated data" if simulated else None)
    save(figure, both, space.figures, "beyond")
    mark_done(space.results / "beyond", beyond_config(space))
    return text


def _number(value: float, form: str) -> str:
    return "" if np.isnan(value) else form.format(value)


def _cell(row: pd.Series[Any]) -> str:
    text = f"{row['error']:.4f}" + _number(row["sd"], " ± {:.4f}")
    if "difference" in row and row["method"] != DGEX:
        text += _number(row["difference"], " ({:+.4f}") + _number(row["difference_sd"], " ± {:.4f}")
        text += ")"
    return text


# --- the command


def run(options: argparse.Namespace) -> None:
    """Measure all splits of a study, and write the table and the figure."""
    keep_compiled()
    space = open_workspace(options.study, options.out)
    share_cpu(space.study.training.halves)
    methods = options.methods or METHODS
    files = space.study.files
    grouped = isinstance(files, StudyFiles) and files.compendium.split_by is not None
    tables, curve = [], []
    simulated = False
    for by_group in (False, True) if grouped else (False,):
        networks: dict[str, NetworkConfig] = {}
        measured = [
            measure_split(space, Split(seed, by_group), methods, networks, options.choosers)
            for seed in range(1, options.splits + 1)
        ]
        simulated |= measured[0]["simulated"]
        tables.append(summary(measured, "by groups" if by_group else "at random"))
        if by_group or options.no_curve:
            continue
        whole = measured[0]["n_train"]
        for n in [one for one in CURVE_SIZES if one < whole]:
            some = [one for one in CURVE if one in methods]
            found = measure_split(space, Split(1, False, n), some, networks, ["va"])
            curve.append(summary([found], "curve").assign(n_train=n))
        if whole > 1.1 * max((one for one in CURVE_SIZES if one < whole), default=0):
            own = summary(measured[:1], "curve").assign(n_train=whole)
            curve.append(own[own["method"].isin(CURVE)])
    points = pd.concat(curve) if curve else pd.DataFrame({"part": [], "label": [], "n_train": []})
    print(write_beyond(space, pd.concat(tables), points, simulated=simulated))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    command = OneLineParser(
        prog="python -m reproduce.beyond",
        description="Methods beyond the paper against D-GEX, on several splits of a study.",
        epilog="""examples:
  python -m reproduce.beyond
  python -m reproduce.beyond --study my_study.toml --out /data/dgex --splits 3

A command that was stopped, or killed, resumes when it is given again.
""",
        allow_abbrev=False,
    )
    command.add_argument("--study", default="demo", help="name or path of a study file")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="put everything under DIR/<study>/"
    )
    command.add_argument("--splits", type=_count, default=5, metavar="N", help="(default: 5)")
    command.add_argument(
        "--methods", nargs="+", choices=METHODS, metavar="NAME", help=f"of {', '.join(METHODS)}"
    )
    command.add_argument(
        "--choosers",
        nargs="+",
        default=[],
        metavar="PART",
        help="measure the sets of these validation parts alone, as va: each costs as much again",
    )
    command.add_argument("--no-curve", action="store_true", help="no learning curve")
    command.set_defaults(run=run)
    return run_command(command, arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a count, at least 1")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
