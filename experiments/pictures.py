"""Charts of the artefacts: one colour per network everywhere, error bars, legible in print and by colour-blind readers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .statistics import Comparison

# Okabe and Ito's colours; a hatch or a marker tells networks apart without them
COLOURS = {
    "mldrsnet": "#0072B2",
    "mldcnn": "#E69F00",
    "mtdcnn": "#009E73",
    "mobilescapenet": "#0072B2",
    "escapenet": "#E69F00",
    "engnet": "#009E73",
    "inceptiontime": "#CC79A7",
    "lstm": "#56B4E9",
    "random": "#D55E00",
    "blocked": "#0072B2",
    "contraction": "#009E73",
    "stimulus": "#0072B2",
}
NAMES = {
    "mldrsnet": "ML-DRSNet",
    "mldcnn": "ML-DCNN",
    "mtdcnn": "MT-DCNN",
    "mobilescapenet": "MobilESCAPE-Net",
    "escapenet": "ESCAPE-Net",
    "engnet": "ENGNet",
    "inceptiontime": "InceptionTime",
    "lstm": "LSTM",
}
MARKERS, HATCHES = "osD^vP", ("", "//", "..", "xx", "\\\\", "--")
OTHERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
GREY = "#8C8C8C"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "errorbar.capsize": 2.5,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # text stays text
}
rcParams.update(STYLE)


def name(level: object) -> str:
    """Return how a network or another level is written in a figure."""
    text = str(level)
    return NAMES.get(text, text.rpartition("/")[2])


def colour(level: object) -> str:
    """Return the colour of a network of the papers, or of a split."""
    return COLOURS[str(level)]


def colours(levels: Iterable[object]) -> list[str]:
    """Return a colour for each level: networks of the papers have theirs, others take what is left, as far as it goes."""
    names = [str(level) for level in levels]
    taken = {COLOURS[name] for name in names if name in COLOURS}
    left = itertools.cycle([one for one in OTHERS if one not in taken] or OTHERS)
    return [COLOURS[name] if name in COLOURS else next(left) for name in names]


def ordered(found: Iterable[str], first: Iterable[str]) -> list[str]:
    """Return the networks that were found: those of a paper in its order, then everybody's own."""
    names = set(found)
    known = [name for name in first if name in names]
    return known + sorted(names.difference(known))


def figure(title: str, width: float, height: float, simulated: bool) -> Figure:
    """Return an empty figure; a simulated result says so in its title."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    drawn.suptitle(title + (" · simulated" if simulated else ""), fontsize=11)
    return drawn


def bars(
    axes: Axes,
    means: pd.DataFrame,
    spreads: pd.DataFrame,
    published: Mapping[tuple[object, object], float] | None = None,
) -> None:
    """Draw a group of bars per row and a bar per column; `published` are values by (row, column), drawn as diamonds."""
    n = max(1, len(means.columns))
    width = 0.8 / n
    places = np.arange(len(means))
    for k, (level, shade) in enumerate(zip(means.columns, colours(means.columns), strict=True)):
        at = places + (k - (n - 1) / 2) * width
        spread = spreads[level].to_numpy(dtype=float)
        style: dict[str, Any] = {
            "color": shade,
            "hatch": HATCHES[k % len(HATCHES)],
            "edgecolor": "white",
            "lw": 0.5,
        }
        axes.bar(at, means[level], width * 0.94, label=name(level), **style)
        shown = np.isfinite(spread)
        axes.errorbar(at[shown], means[level].to_numpy()[shown], spread[shown], fmt="none", ecolor="#333333", lw=0.9)
        for place, row in zip(at, means.index, strict=True):
            value = (published or {}).get((row, level), np.nan)
            if np.isfinite(value):
                axes.plot(place, value, "D", ms=5, mfc="white", mec="black", mew=1.1, zorder=5)
    if any(key[0] in means.index and key[1] in means.columns for key in published or ()):
        axes.plot([], [], "D", ms=5, mfc="white", mec="black", mew=1.1, label="published")
    axes.set_xticks(places, [name(row) for row in means.index])


def lines(axes: Axes, table: pd.DataFrame, spreads: pd.DataFrame | None = None) -> None:
    """Draw a line per column over the index, whose values are drawn at equal distances."""
    places = np.arange(len(table))
    for k, (level, shade) in enumerate(zip(table.columns, colours(table.columns), strict=True)):
        shift = (k - (len(table.columns) - 1) / 2) * 0.05
        spread = None if spreads is None else spreads[level]
        style: dict[str, Any] = {"color": shade, "marker": MARKERS[k % len(MARKERS)], "ms": 4.5, "lw": 1.3}
        axes.errorbar(places + shift, table[level], spread, label=name(level), elinewidth=0.8, **style)
    axes.set_xticks(places, [str(value) for value in table.index])


def macro_f1(axes: Axes, chance: float) -> None:
    """Mark what chance reaches, on axes of macro F1."""
    axes.axhline(chance, color=GREY, lw=1, ls="--", label="by chance")
    axes.set(ylabel="macro F1", ylim=(0, 1.05))


def legend(drawn: Figure, columns: int = 6) -> None:
    """Put one legend for all axes below them."""
    found: dict[str, Any] = {}
    for axes in drawn.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        drawn.legend(list(found.values()), list(found), loc="outside lower center", ncols=min(columns, len(found)))


def critical_difference(title: str, comparison: Comparison, n: int, simulated: bool) -> Figure:
    """Return the mean ranks of networks on a line, those joined by a bar that the post hoc test cannot tell apart.

    After Demsar (2006), Fig. 1.
    """
    ranks = comparison.ranks.sort_values()
    k = len(ranks)
    drawn = figure(title, 6, 1.5 + 0.22 * k, simulated)
    axes = drawn.subplots()
    axes.set(xlim=(0, k + 1), ylim=(-0.75 - 0.42 * ((k + 1) // 2), 1.15), yticks=[])
    axes.set_xticks(range(1, k + 1))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(f"mean rank over {n} subjects, 1 is the best")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.spines["top"].set_bounds(1, k)
    top = axes.get_ylim()[1]
    for place, ((level, rank), shade) in enumerate(zip(ranks.items(), colours(ranks.index), strict=True)):
        left = place < (k + 1) // 2
        depth = -0.35 - 0.42 * (place if left else k - 1 - place)
        edge = 0.05 if left else k + 0.95
        axes.plot([rank, rank, edge], [top, depth, depth], color=shade, lw=1.4, clip_on=False)
        axes.plot(rank, top, "o", color=shade, ms=5, clip_on=False, zorder=5)
        text = f"{name(level)} {rank:.2f}"
        axes.text(edge, depth + 0.05, text, ha="left" if left else "right", va="bottom")
    for level, (low, high) in enumerate(joined(comparison)):
        axes.plot([low - 0.03, high + 0.03], [0.8 - 0.28 * level] * 2, color="black", lw=3.5, solid_capstyle="butt")
    reach = comparison.critical_difference
    label = f"critical difference {reach:.2f} (α = 0.05); joined networks cannot be told apart"
    axes.text((k + 1) / 2, axes.get_ylim()[0], label, ha="center", va="bottom", fontsize=8, color="#444444")
    return drawn


def joined(comparison: Comparison) -> list[tuple[float, float]]:
    """Return the lowest and the highest mean rank of each group of networks that the post hoc test cannot tell apart.

    Mean ranks that differ by the critical difference itself are told apart, as those beyond it are.
    """
    ranks = comparison.ranks.sort_values()
    reach = comparison.critical_difference - 1e-9
    return [
        (low, high)
        for i, low in enumerate(ranks)
        if (high := max(rank for rank in ranks if rank - low < reach)) > low
        and not any(high - earlier < reach for earlier in ranks.iloc[:i])
    ]


def heat(
    axes: Axes, table: pd.DataFrame, label: str, low: float = 0, high: float = 1, spreads: pd.DataFrame | None = None
) -> None:
    """Draw a matrix with its values written in the cells; what was not run is left grey."""
    values = table.to_numpy(dtype=float)
    axes.set_facecolor("#EEEEEE")
    axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=low, vmax=high, aspect="auto")
    for row, column in np.ndindex(values.shape):
        if np.isfinite(values[row, column]):
            dark = (values[row, column] - low) / (high - low) > 0.6
            text = f"{values[row, column]:.2f}"
            if spreads is not None and np.isfinite(spreads.iloc[row, column]):
                text += f"\n±{spreads.iloc[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=8)
    axes.set_xticks(range(len(table.columns)), [name(level) for level in table.columns])
    axes.set_yticks(range(len(table.index)), [name(level) for level in table.index])
    axes.set(xlabel=str(table.columns.name or ""), ylabel=str(table.index.name or ""), title=label)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
