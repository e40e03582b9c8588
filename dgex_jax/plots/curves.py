"""Errors by epoch, and by number of training profiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.plots.axes import axes_for, check_vectors
from dgex_jax.plots.style import GREY, PALETTE, looks_of
from dgex_jax.train.record import ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.plots.style import Look

    Values = NDArray[np.float64]

APART = 0.09
"""Of the axis: nearer to each other two numbers of profiles are not both written."""


def training_curves(
    log: pd.DataFrame | Path | str,
    parts: Sequence[str] | Mapping[str, str] | None = None,
    *,
    chosen_on: str | None = "va",
    ax: Axes | None = None,
) -> Axes:
    """Draw the errors of a training by epoch, a line a part, and the best epoch.

    Parameters
    ----------
    log
        The log of a run: a folder that `dgex train` wrote (its ``log.tsv`` is read), or that table:
        ``epoch`` (the first is 0) and a column ``MAE_<part>`` a part, overall errors in
        standardised units.
    parts
        Which parts to draw (``tr``, ``va``, ``te``, names of sets), all of the log by default. A
        mapping gives the label of each as well: ``{"va": "GEO-va"}``.
    chosen_on
        The part whose lowest error says which epoch is best: rings at that epoch on all lines.
        Where the targets are in two networks each keeps its own best epoch; this is the best of
        their mean. ``None`` marks nothing.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    FormatError
        A folder whose ``log.tsv`` is missing or can't be read as a log.
    DgexError
        A part that the log does not have, two parts of one label, no epochs, or errors that are not
        finite.
    """
    name = "log"
    if not isinstance(log, pd.DataFrame):
        path = Path(log) / "log.tsv"
        name, log = str(path), _read(path)
    logged = [str(one).removeprefix(ERROR) for one in log.columns if str(one).startswith(ERROR)]
    labels = dict(parts) if isinstance(parts, Mapping) else {part: part for part in parts or logged}
    wanted = [*labels, *([] if chosen_on is None else [chosen_on])]
    missing = [part for part in wanted if part not in logged]
    if missing or "epoch" not in log or not labels:
        raise DgexError(
            f"{name}: has no {f'part {missing[0]}' if missing else 'epochs or parts'}; "
            f"its parts: {', '.join(logged) or 'none'}"
        )
    if len(set(labels.values())) < len(labels):
        raise DgexError(f"{name}: two parts have one label")
    columns = {one: log[one] for one in ("epoch", *(f"{ERROR}{part}" for part in wanted))}
    errors = dict(zip(columns, check_vectors(name, "epoch", columns), strict=True))
    epochs = errors["epoch"]
    lines = {label: errors[f"{ERROR}{part}"] for part, label in labels.items()}
    looks = {label: PALETTE[place % len(PALETTE)] for place, label in enumerate(lines)}
    with axes_for(ax) as axes:
        draw_by_epoch(axes, epochs, lines, looks)
        if chosen_on is not None:
            best = int(np.argmin(errors[f"{ERROR}{chosen_on}"]))
            there = [values[best] for values in lines.values()]
            axes.vlines(
                epochs[best],
                axes.get_ylim()[0],
                max(there),
                colors=GREY,
                linewidths=0.8,
                zorder=1,
                label=f"best epoch on {labels.get(chosen_on, chosen_on)}: {epochs[best]:.0f}",
            )
            rings = np.full(len(there), epochs[best])
            axes.plot(rings, there, "o", color=GREY, mfc="none", ms=7, zorder=3)
        axes.set_ylabel("Overall error\n(MAE, standardised units)")
        axes.legend()
    return axes


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: is no log of a run ({error})") from error


def draw_by_epoch(
    axes: Axes,
    epochs: ArrayLike,
    lines: Mapping[str, Values],
    looks: Mapping[str, Look],
    also: Sequence[float] = (),
) -> None:
    """Draw a line for each label, `also` what else is to lie within the y axis; no legend."""
    x = np.asarray(epochs)
    spacing = max(1, len(x) // 8)
    for number, (label, values) in enumerate(lines.items()):
        own = looks[label]
        axes.plot(
            x,
            values,
            color=own.colour,
            linestyle=own.linestyle,
            marker=own.marker,
            markersize=3.5,
            markevery=(number * spacing // max(1, len(lines)), spacing),
            label=label,
        )
    drawn = np.concatenate([*lines.values(), also])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    air = 0.06 * (high - low) or 0.03 * high
    axes.set_ylim(low - air, high + air)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("Epoch")


def learning_curve(
    table: pd.DataFrame,
    *,
    quantity: str = "Overall error\n(MAE, standardised units)",
    ax: Axes | None = None,
) -> Axes:
    """Draw the error by number of training profiles, a line a method; the x axis is logarithmic.

    Parameters
    ----------
    table
        A line for each method and number of profiles, in any order: ``n_train`` (number of
        training profiles, above 0), ``method`` and ``error``; where it has a column ``sd`` (over
        seeds or splits, say) that is drawn as error bars, where it is not NaN.
    quantity
        Label of the y axis, with the unit of the errors.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        A column that is missing, no lines, a method twice at one number of profiles, numbers of
        profiles that are not above 0, or errors that are not finite.
    """
    missing = [one for one in ("n_train", "method", "error") if one not in table]
    if missing:
        raise DgexError(f"learning curve: the table has no column {missing[0]}")
    sizes, _ = check_vectors(
        "learning curve", "line", {one: table[one] for one in ("n_train", "error")}
    )
    if (sizes <= 0).any() or table.duplicated(["method", "n_train"]).any():
        raise DgexError(
            "learning curve: needs each method once at each number of profiles, all above 0"
        )
    looks = looks_of(table["method"].astype(str))
    spread = "sd" in table and table["sd"].notna().any()
    with axes_for(ax) as axes:
        for method, rows in table.groupby("method", sort=False):
            own, of_method = looks[str(method)], rows.sort_values("n_train")
            axes.errorbar(
                of_method["n_train"],
                of_method["error"],
                yerr=of_method["sd"].fillna(0) if spread else None,
                color=own.colour,
                marker=own.marker,
                linestyle=own.linestyle,
                elinewidth=0.8,
                label=str(method),
            )
        shown = _apart(np.unique(sizes))
        axes.set_xscale("log")
        axes.set_xticks(shown, [f"{size:,.0f}" for size in shown])
        axes.minorticks_off()
        axes.set_xlabel("training profiles")
        axes.set_ylabel(quantity)
        axes.legend()
    return axes


def _apart(sizes: Values) -> list[float]:
    """Leave out numbers that would be written on a larger one."""
    logs = np.log(sizes)
    gap = APART * (logs[-1] - logs[0])
    shown: list[int] = []
    for place in reversed(range(sizes.size)):
        if not shown or logs[shown[-1]] - logs[place] >= gap:
            shown.append(place)
    return [float(sizes[place]) for place in reversed(shown)]
