"""The picture of a replay: what was found when, how late it was, and how much of it was right."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroexp.evaluation.matching import pairs
from neuroexp.replay.pace import EDGES_MS, Tally
from neuroexp.replay.report import nothing
from neuroexp.replay.scoring import TESTED, WHOLE
from neuroexp.tasks.plots import BLUE, GREEN, GREY, ORANGE, RED

Trains = Sequence[NDArray[np.int64]]
WIDE = 11.0  # inches


def picture(summary: Mapping[str, Any], tally: Tally, lanes: int) -> tuple[Figure, Any, Any]:
    """Return a figure with latencies drawn, its upper axes for `lanes` of events, and the one beside the latencies."""
    upper = 0.9 + 0.34 * lanes
    figure = Figure(figsize=(WIDE, upper + 3.4), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    how = textwrap.fill(summary["how"], 110)
    figure.suptitle(f"Replay of {summary['name']} · {summary['title']}\n{how}", fontsize=10)
    grid = figure.add_gridspec(2, 2, height_ratios=(upper, 2.4), width_ratios=(3, 2))
    top, left, right = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    for axes in (top, left, right):
        axes.spines[["top", "right"]].set_visible(False)
    _latencies(left, tally, summary["timing"])
    return figure, top, right


def _latencies(axes: Any, tally: Tally, timing: Mapping[str, Any]) -> None:
    counts = tally.latencies.counts[1:-1].reshape(-1, 4).sum(axis=1)  # four bins of the histogram to a bar
    edges = EDGES_MS[::4]
    used = np.flatnonzero(counts)
    deadline = tally.deadline_ms
    late = edges[:-1] >= deadline
    ends_at = np.where(late, edges[1:], np.minimum(edges[1:], deadline))  # no bar in time reaches beyond the deadline
    for which, colour in ((~late, BLUE), (late, RED)):
        axes.bar(edges[:-1][which], counts[which], (ends_at - edges[:-1])[which], align="edge", color=colour, lw=0)
    ends = [deadline, *edges[used], *edges[used + 1]]
    low, high = min(ends) / 1.4, max(ends) * 1.6
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(0.7, 20 * max(counts.max(), 1)))
    axes.set(xlabel="latency (ms, logarithmic)", ylabel="decisions (logarithmic)")
    place = axes.get_xaxis_transform()
    for x, text, colour, style, down in (
        (deadline, f"deadline {deadline:.3g} ms", RED, "-", 2),
        (timing["p50_ms"], "p50", "black", ":", 2),
        (timing["p99_ms"], "p99", "black", "--", 28),
    ):
        if np.isfinite(x):
            across = -10 if x < deadline else 2
            down += 64 if x > deadline else 0  # noqa: PLW2901 - below the label of the deadline
            axes.axvline(x, color=colour, lw=1.5 if style == "-" else 0.9, ls=style)
            where = {
                "xytext": (across, -down),
                "textcoords": "offset points",
                "va": "top",
                "rotation": 90,
                "fontsize": 8,
            }
            axes.annotate(text, (x, 1), xycoords=place, color=colour, **where)
    figures = " · ".join(f"{name} {timing[f'{name}_ms']:.3g} ms" for name in ("p50", "p99", "max"))
    late_ones = f"{timing['missed']} of {timing['decided']} late, {timing['dropped']} dropped"
    axes.set_title(f"{figures}\n{late_ones}", fontsize=9)
    ticks = [tick * 10.0**power for power in range(-3, 6) for tick in (1, 2, 5)]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}")


def discharges(
    path: Path,
    summary: Mapping[str, Any],
    tally: Tally,
    found: Trains,
    true: Trains | None,
    within: float,
    tested: NDArray[np.bool_] | None,
) -> None:
    """Draw the spike trains that were found, over the true ones where they are known."""
    units, rate_hz = len(found), summary["rate_hz"]
    figure, top, right = picture(summary, tally, units)
    if true is None:
        for unit, train in enumerate(found, start=1):
            top.vlines(train / rate_hz, unit - 0.32, unit + 0.32, color=BLUE, lw=0.8)
        right.barh(range(1, units + 1), [len(train) / summary["timing"]["recorded_s"] for train in found], color=BLUE)
        right.set(xlabel="discharges per second", ylabel="motor unit", yticks=range(1, units + 1))
    else:
        lags = [round(unit["lag_ms"] * rate_hz / 1000) for unit in summary["scores"][WHOLE]["units"]]
        _compared(top, true, found, lags, within, rate_hz)
        _agreement(right, summary["scores"])
    if tested is not None:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], tested.astype(np.int8), [0]])))
        for low, high in edges.reshape(-1, 2) / rate_hz:
            top.axvspan(low, high, color=GREEN, alpha=0.13, lw=0)
        top.fill_between([], [], color=GREEN, alpha=0.25, label=TESTED)
    top.set(ylabel="motor unit", xlabel="time (s)", yticks=range(1, units + 1), ylim=(0.4, units + 0.7))
    top.set_xlim(0, summary["timing"]["recorded_s"])
    if silent := nothing(summary):
        right.text(
            0.5,
            0.5,
            silent.replace(": ", ":\n").replace(", ", ",\n"),
            ha="center",
            va="center",
            transform=right.transAxes,
        )
    if true is not None:
        top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=9)
    figure.savefig(path)


def _compared(axes: Any, true: Trains, found: Trains, lags: Sequence[int], within: float, rate_hz: float) -> None:
    for unit, (train, late, lag) in enumerate(zip(true, found, lags, strict=True), start=1):
        matched = np.array(pairs(train, late - lag, within), dtype=np.int64).reshape(-1, 2)
        missed, false = np.delete(train, matched[:, 0]), np.delete(late, matched[:, 1])
        for samples, colour, low, high, label in (
            (train[matched[:, 0]], BLUE, -0.32, 0.32, "found"),
            (missed, ORANGE, -0.32, 0.0, "missed"),
            (false, "black", 0.0, 0.32, "false"),
        ):
            axes.vlines(
                samples / rate_hz, unit + low, unit + high, color=colour, lw=0.8, label=label if unit == 1 else None
            )


def _agreement(axes: Any, scores: Mapping[str, Any]) -> None:
    whole_alone = len(scores) == 1
    for part, score in scores.items():
        tested = part == TESTED
        shift = 0 if whole_alone else 0.2 if tested else -0.2
        places = np.array([unit["unit"] + shift for unit in score["units"]])
        values = np.array([unit["rate_of_agreement"] for unit in score["units"]], dtype=float)
        ceilings = np.array([unit["ceiling"] for unit in score["units"]], dtype=float)
        label = f"{part}: {score['rate_of_agreement']:.2f}" + (
            f" of {score['ceiling']:.2f}" if np.isfinite(score["ceiling"]) else ""
        )
        height = 0.7 if whole_alone else 0.38
        axes.barh(places, values, height, color=BLUE if tested or whole_alone else GREY, label=label)
        axes.vlines(ceilings, places - height / 2, places + height / 2, color="black", lw=1.6)
        for place in places[[unit["unit"] in score["unscored"] for unit in score["units"]]]:
            axes.text(0.01, place, "no discharge here", va="center", fontsize=7, color="#555555")
    axes.vlines([], [], [], color="black", lw=1.6, label="ceiling")
    axes.set(xlim=(0, 1.02), xlabel="rate of agreement", ylabel="motor unit", yticks=range(1, len(values) + 1))
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1)


def classes(path: Path, summary: Mapping[str, Any], tally: Tally, caps: Sequence[tuple[int, int, float]]) -> None:
    """Draw each CAP (class of its recording or -1, class decided, seconds on a common axis) in the lane of its decision."""
    names = summary["outputs"]
    figure, top, right = picture(summary, tally, 2 * len(names))
    known = "scores" in summary
    kinds = (("as its recording", BLUE, True), ("another class", RED, False)) if known else (("", BLUE, False),)
    for label, colour, agrees in kinds:
        chosen = [(time_s, decided) for true, decided, time_s in caps if (true == decided) == agrees]
        times, lanes = np.array(chosen).reshape(-1, 2).T
        top.vlines(times, lanes + 0.65, lanes + 1.35, color=colour, lw=0.6, label=label)
    top.set(yticks=range(1, len(names) + 1), ylim=(0.5, len(names) + 0.85), xlabel="time (s)", ylabel="decided class")
    top.set_yticklabels(names)
    top.set_xlim(0, summary["timing"]["recorded_s"])
    if known:
        _spans(top, names, summary["spans_s"])
        top.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=9)
        _confusion(right, names, summary["scores"])
    else:
        counts = np.bincount([decided for _, decided, _ in caps], minlength=len(names))
        right.barh(range(1, len(names) + 1), counts / summary["timing"]["recorded_s"], color=BLUE)
        right.set(xlabel="CAPs per second", yticks=range(1, len(names) + 1))
        right.set_yticklabels(names)
    figure.savefig(path)


def _spans(axes: Any, names: Sequence[str], spans_s: Sequence[float]) -> None:
    """Say which recording is when; one that was stopped has fewer than there are classes."""
    ends = np.cumsum(spans_s)
    for number, (name, end, span) in enumerate(zip(names, ends, spans_s, strict=False), start=1):
        axes.axvspan(end - span, end, color=GREY, alpha=0.12 * (number % 2), lw=0)
        axes.text(end - span / 2, len(names) + 0.58, f"recording of {name}", ha="center", va="bottom", fontsize=9)


def _confusion(axes: Any, names: Sequence[str], scores: Mapping[str, Any]) -> None:
    part = next(iter(scores))
    counts = np.array(scores[part]["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(counts.shape):
        text = f"{counts[row, column]}\n{shares[row, column]:.0%}" if counts[row].any() else "-"
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="decided", ylabel=f"recording ({part})")
    axes.set_xticklabels(names, fontsize=8)
    axes.set_yticklabels(names, fontsize=8)
    axes.set_title(
        "accuracy " + ", ".join(f"{name} {score['accuracy']:.2f}" for name, score in scores.items()), fontsize=10
    )
