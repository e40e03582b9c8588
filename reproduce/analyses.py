"""The paper's two analyses (section 3.3): adjusted R² of the last hidden layer, weight hubs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.adjusted_r2 import Comparison, adjusted_r2, compare, last_hidden
from dgex_jax.errors import FormatError
from dgex_jax.io.expression import listed
from dgex_jax.io.files import atomic_path
from dgex_jax.io.manifest import read_json, record
from dgex_jax.model.predict import told_device
from dgex_jax.parts import PAPER
from dgex_jax.plots.weight_map import kept_connections
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.pylearn2 import initial_weights
from dgex_jax.train.record import DONE, is_done, load_weights, mark_done
from dgex_jax.weight_hubs import WeightHubs, find_hubs
from reproduce.figures import leave_out, note, write_figure
from reproduce.paper import published_facts
from reproduce.plots.panels import draw_genewise, draw_weight_map
from reproduce.stages import inputs_of, make_folder
from reproduce.tables import (
    best_of,
    data_label,
    holds_simulated,
    markdown_rows,
    preface,
    write_plain,
)
from reproduce.workspace import Needs, Product, at_rates, hub_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig
    from reproduce.workspace import Workspace

LANDMARKS, HIDDEN = "adjusted_r2_landmarks", "adjusted_r2_hidden"
UNTRAINED = "adjusted_r2_untrained"

IN_SD, OUT_SD = 4.0, 5.0
"""The paper's thresholds of major weights (section 3.3)."""

GENES_SHOWN = 8
DEGREES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
SPREAD_COLUMNS = ("kept connections", "hidden units by input", "hidden units by output")
HUB_COLUMNS = {
    "unit": "hub (hidden unit)",
    "output_connections": "output connections",
    "share_positive": "positive",
    "of_one_sign": "",
    "input_connections": "input connections",
    "landmark_genes": "landmark genes",
    "target_genes": "target genes",
}
"""Column of the CSV → of the table that is shown."""


@dataclass(frozen=True)
class Nonlinearity:
    """What the last hidden layer adds (paper section 3.3, "Examining the nonlinearity").

    - `network`: the best on ``va``.
    - `by_target`: A row a target: ids, half, adjusted R² on the `LANDMARKS`, on the `HIDDEN` layer,
      and as a control on that of the `UNTRAINED` network, whose units are random features; the R²
      that are not adjusted. NaN where there is no number.
    - `sizes`: profiles, landmarks and hidden units, and the rank of each design.
    - `reasons`: why a design gives no numbers, if it does not.
    """

    network: NetworkConfig
    by_target: pd.DataFrame
    sizes: dict[str, int]
    reasons: dict[str, str]

    @property
    def comparison(self) -> Comparison:
        """In how many targets the activations explain more."""
        return compare(self.by_target[LANDMARKS], self.by_target[HIDDEN])

    @property
    def control(self) -> Comparison:
        """In how many targets random features explain more: what width alone does."""
        return compare(self.by_target[LANDMARKS], self.by_target[UNTRAINED])


def nonlinearity(space: Workspace) -> Nonlinearity:
    """Return the analysis of a workspace whose grid is trained; computed once, then read.

    Raises `FormatError`: weights or the kept results can't be read.
    """
    network = best_of(space, at_rates(space.study), "va")
    folder = space.analyses / "adjusted_r2"
    run = read_json(space.run(network) / DONE) or {}
    config = {"run": run.get("config_hash"), "network": network.name}
    path = folder / "by_target.tsv"
    if not (is_done(folder, config) and path.is_file()):
        table, facts = _compute(space, network)
        make_folder(folder)
        with atomic_path(path) as temporary:
            table.to_csv(temporary, sep="\t", index=False)
        made = record(
            "reproduce adjusted-r2",
            precision="float64",
            inputs=inputs_of(space, [space.run(network) / DONE, space.prepared]),
            seeds={"untrained": space.study.training.seed},
            device=told_device(),
        )
        mark_done(folder, config, files=[path.name], provenance=made, **facts)
    done = read_json(folder / DONE) or {}
    return Nonlinearity(network, _read(path), done.get("sizes", {}), done.get("reasons", {}))


def _compute(space: Workspace, network: NetworkConfig) -> tuple[pd.DataFrame, dict[str, Any]]:
    halves = load_weights(space.run(network) / "best_va.safetensors")
    with open_prepared(space.prepared) as study:
        arrays = load_arrays(study, space.study.training.halves)
        table = pd.DataFrame({"target": study.targets, "symbol": study.symbols})
    X, Y = arrays.X["tr"], arrays.Y["tr"]
    table["half"] = 0
    raw = adjusted_r2(X, Y)
    table[LANDMARKS], table["r2_landmarks"] = raw.values, raw.r2
    table[HIDDEN] = table["r2_hidden"] = np.nan
    sizes = {"profiles": len(X), "landmarks": X.shape[1], "rank of landmarks": raw.rank}
    reasons = {"landmarks": raw.reason}
    for number, (columns, params) in enumerate(zip(arrays.halves, halves, strict=True), start=1):
        found = adjusted_r2(last_hidden(params, X), Y[:, columns])
        rows = table.index[columns]
        table.loc[rows, "half"] = number
        table.loc[rows, HIDDEN], table.loc[rows, "r2_hidden"] = found.values, found.r2
        sizes["hidden units"] = found.n_features
        sizes[f"rank of the hidden layer, half {number}"] = found.rank
        reasons[f"hidden layer, half {number}"] = found.reason
    units, depth = network.units, network.hidden_layers
    # Both halves start with the same hidden layers.
    start = initial_weights(space.study.training.seed, X.shape[1], 1, depth, units)
    table[UNTRAINED] = adjusted_r2(last_hidden(start, X), Y).values
    return table, {
        "sizes": sizes,
        "reasons": {name: reason for name, reason in reasons.items() if reason},
    }


def _read(path: Path) -> pd.DataFrame:
    try:
        # Text first, so that the same numbers come back to the last bit.
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        for name in (LANDMARKS, HIDDEN, UNTRAINED, "r2_landmarks", "r2_hidden"):
            column = table[name].to_numpy(str)
            table[name] = np.where(column == "", "nan", column).astype(np.float64)
        table["half"] = table["half"].astype(int)
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is no table of adjusted R² ({error}); remove it") from error
    return table


def write_adjusted_r2(space: Workspace) -> str:
    """Write the numbers of every target (CSV) and what they say (Markdown, LaTeX)."""
    found = nonlinearity(space)
    comparison, table = found.comparison, found.by_target
    reasons = "; ".join(dict.fromkeys(found.reasons.values()))
    parts = space.study.parts

    def share(one: Comparison) -> str:
        return f"{one.share:.2%}" if one.share is not None else f"(empty: {reasons})"

    def median(name: str) -> str:
        return f"{table[name].median():.4f}" if table[name].notna().any() else f"(empty: {reasons})"

    rows = [
        [f"network (the best on {parts.label('va')})", found.network.name],
        *([name, f"{value:,}"] for name, value in found.sizes.items()),
        ["median adjusted R² on the landmarks", median(LANDMARKS)],
        ["median adjusted R² on the last hidden layer", median(HIDDEN)],
        ["targets compared", f"{comparison.n_compared:,} of {comparison.n_targets:,}"],
        ["targets with a larger adjusted R² on the last hidden layer", share(comparison)],
        ["control: the same with initial, untrained weights", share(found.control)],
    ]
    if parts == PAPER:
        paper = published_facts()["adjusted_r2_share_larger"]
        told = f"{paper.value}% ({paper.source}: {paper.note})"
        rows.append(["the paper, on its own data", told])
    title = f"Adjusted R² on {parts.label('tr')}, study {space.study.name}"
    caption = (
        f"{space.study.title}. Least squares with intercept of every target gene on the raw "
        "landmark genes, and on the activations of the last hidden layer of each half's own best "
        "network, no dropout; p is the rank of the centred design."
    )
    lines = preface(title, caption, simulated=holds_simulated(space))
    lines += markdown_rows(["", ""], rows)
    latex = pd.DataFrame(rows, columns=["", "value"])
    numbers = table.assign(data=data_label(space))
    return write_plain(space, "adjusted_r2", numbers, lines, latex, f"{title}. {caption}")


def write_figure_s2(space: Workspace) -> str:
    """Write Figure S2, where there are numbers on both axes."""
    found = nonlinearity(space)
    if not found.comparison.n_compared:
        return leave_out(space, "figureS2", "; ".join(dict.fromkeys(found.reasons.values())))
    ours, other = f"last hidden layer of {found.network.name}", "raw landmark genes"
    table = found.by_target[["target", "symbol", HIDDEN, LANDMARKS]].rename(
        columns={HIDDEN: ours, LANDMARKS: other}
    )
    quantity = f"adjusted R² on {space.study.parts.label('tr')}"
    figure = draw_genewise(table, ours, [other], quantity, larger=True, note=note(space))
    return write_figure(space, "figureS2", figure, table)


@dataclass(frozen=True)
class HubAnalysis:
    """The first half of one network: its weights and what is kept of them.

    - `network`: one hidden layer, the narrowest, 10 % dropout; best on ``va``.
    - `found`: kept connections and hubs.
    - `W_in`, `W_out`: ``(n_landmarks, units)`` and ``(units, n_targets)`` float32.
    - `landmarks`, `targets`: gene symbols.
    """

    network: NetworkConfig
    found: WeightHubs
    W_in: NDArray[np.float32]
    W_out: NDArray[np.float32]
    landmarks: Sequence[str]
    targets: Sequence[str]

    def connections(self) -> pd.DataFrame:
        """List the kept connections: layer, the units they join, the gene, the weight."""
        table = kept_connections(self.found, self.W_in, self.W_out)
        into = table["layer"] == "input"
        genes = [
            self.landmarks[start] if one else self.targets[end]
            for one, start, end in zip(into, table["from"], table["to"], strict=True)
        ]
        table.insert(3, "gene", genes)
        return table

    def hubs(self) -> pd.DataFrame:
        """Return a row a hub, with all its genes, those of the largest weights first."""
        rows = [
            (
                hub.unit,
                hub.out_degree,
                hub.share_positive,
                int(hub.of_one_sign),
                hub.in_degree,
                ";".join(self.landmarks[int(gene)] for gene in hub.landmarks),
                ";".join(self.targets[int(gene)] for gene in hub.targets),
            )
            for hub in self.found.hubs
        ]
        return pd.DataFrame(rows, columns=list(HUB_COLUMNS))


def hub_analysis(space: Workspace) -> HubAnalysis:
    """Find the hubs of a workspace where the network is trained.

    Raises `FormatError`: its weights can't be read.
    """
    network = hub_network(space.study)
    params = load_weights(space.run(network) / "best_va.safetensors")[0]
    W_in, W_out = params["hidden1"]["kernel"], params["output"]["kernel"]
    with open_prepared(space.prepared) as study:
        landmarks = study.landmark_symbols
        columns = study.halves[0] if space.study.training.halves == 2 else slice(None)
        targets = study.symbols[columns]
    found = find_hubs(W_in, W_out, in_sd=IN_SD, out_sd=OUT_SD)
    return HubAnalysis(network, found, W_in, W_out, landmarks, targets)


def write_weight_hubs(space: Workspace) -> str:
    """Write every hub with its genes (CSV) and what the weights show (Markdown, LaTeX)."""
    analysis = hub_analysis(space)
    found, units = analysis.found, analysis.network.units
    figures = _observed(found)
    title = f"Weight hubs, study {space.study.name}"
    caption = (
        f"{space.study.title}. {analysis.network.name}, first half of the targets, weights best on "
        f"{space.study.parts.label('va')}. Kept: input weights more than {IN_SD:g} standard "
        "deviations from the mean of their input unit, output weights more than "
        f"{OUT_SD:g} from that of their output unit. "
        "Hubs: the 1% of hidden units with the most kept output connections, at least 5."
    )
    lines = preface(title, caption, simulated=holds_simulated(space))
    lines += markdown_rows(["figure", "here", "the paper's words (section 3.3)"], figures)
    lines += ["", *markdown_rows(SPREAD_COLUMNS, _by_degree(found)), ""]
    if found.hubs:
        lines += markdown_rows([one for one in HUB_COLUMNS.values() if one], _shown_hubs(analysis))
        lines += ["", f"Genes: the {GENES_SHOWN} with the largest weights; all of them in the CSV."]
    else:
        lines.append(
            f"No output weight lies more than {OUT_SD:g} standard deviations from its mean: there "
            f"are no hubs. (Of {units} weights none can lie further than {np.sqrt(units - 1):.1f}.)"
        )
    latex = pd.DataFrame(figures, columns=["figure", "here", "the paper"])
    numbers = analysis.hubs().assign(data=data_label(space))
    return write_plain(space, "weight_hubs", numbers, lines, latex, f"{title}. {caption}")


def _observed(found: WeightHubs) -> list[list[str]]:
    """List the figures that test what the paper observed."""

    def share(value: float | None) -> str:
        return "(empty: nothing is kept)" if value is None else f"{value:.1%}"

    n_in, n_out = found.kept_in.size, found.kept_out.size
    return [
        ["input weights kept", f"{found.n_kept_in:,} of {n_in:,}", "“so sparse”"],
        ["output weights kept", f"{found.n_kept_out:,} of {n_out:,}", "“similar patterns”"],
        ["landmarks with a kept connection", share(found.share_landmarks_connected), "“most”"],
        ["targets with a kept connection", share(found.share_targets_connected), "“most”"],
        [
            "hidden units without any",
            share(found.share_units_unconnected),
            "“only a sparse number” have connections",
        ],
        [
            f"output connections held by the hubs ({len(found.hubs)})",
            share(found.share_held_by_hubs),
            "“dominated by a few hidden units”",
        ],
        [
            "hubs with output connections of one sign",
            share(found.share_hubs_of_one_sign),
            "“lots of the hub units”",
        ],
    ]


def _by_degree(found: WeightHubs) -> list[list[str]]:
    """Count hidden units by their degree."""
    edges = [*DEGREES, np.inf]
    counts = (np.histogram(degree, edges)[0] for degree in (found.in_degree, found.out_degree))
    rows = []
    for low, high, *n in zip(DEGREES, edges[1:], *counts, strict=True):
        name = f"{low}+" if high == np.inf else f"{low}" if high == low + 1 else f"{low}-{high - 1}"
        rows.append([name, *map(str, n)])
    while rows and rows[-1][1:] == ["0", "0"]:
        rows.pop()
    return rows


def _shown_hubs(analysis: HubAnalysis) -> list[list[str]]:
    """List the hubs for reading: the genes with the largest weights alone."""

    def shown(genes: object) -> str:
        return listed(str(genes).split(";") if genes else [], GENES_SHOWN)

    return [
        [
            f"{hub['unit']}",
            f"{hub['output_connections']}",
            f"{hub['share_positive']:.1%}",
            f"{hub['input_connections']}",
            shown(hub["landmark_genes"]),
            shown(hub["target_genes"]),
        ]
        for hub in analysis.hubs().to_dict("records")
    ]


def write_figure_s3(space: Workspace) -> str:
    """Write the map of the major weights, where any weight is kept."""
    analysis = hub_analysis(space)
    table = analysis.connections()
    if table.empty:
        return leave_out(
            space, "figureS3", f"no weight of {analysis.network.name} lies far enough from its mean"
        )
    n_landmarks, n_hidden = analysis.W_in.shape
    n_targets = analysis.W_out.shape[1]
    hubs = [hub.unit for hub in analysis.found.hubs]
    figure = draw_weight_map(table, n_landmarks, n_hidden, n_targets, hubs, note(space))
    return write_figure(space, "figureS3", figure, table)


FIGURES = (
    Product(
        "figureS2",
        "Figure S2: adjusted R² on the last hidden layer against that on the landmarks.",
        lambda study: Needs(networks=at_rates(study)),
        write_figure_s2,
    ),
    Product(
        "figureS3",
        "Figure S3: the map of the major weights.",
        lambda study: Needs(networks=(hub_network(study),)),
        write_figure_s3,
    ),
)
ANALYSES = (
    Product(
        "adjusted-r2",
        "Adjusted R² of every target gene on the landmarks and on the last hidden layer.",
        lambda study: Needs(networks=at_rates(study)),
        write_adjusted_r2,
    ),
    Product(
        "weight-hubs",
        "Weight hubs: the major weights of a network with one hidden layer.",
        lambda study: Needs(networks=(hub_network(study),)),
        write_weight_hubs,
    ),
)
