"""Pictures of a run, as matplotlib figures that need no display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neuroexp.data.cuff import RINGS, Signatures
from neuroexp.data.recording import Recording
from neuroexp.data.signals import spike_triggered_average

rcParams["axes.titley"] = 1.0  # titles stay where they are: finding them a place takes a quarter of the drawing
# Okabe and Ito's colours, told apart by colour-blind readers
SPAN_S = 0.015  # of a spike-triggered average, on either side
_drawn: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()
_latest: list[
    tuple[Recording, Figure]
] = []  # action potentials: most jobs of a sweep are on the recording of the last one
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8C8C8C"


def _figure(
    width: float,
    height: float,
    title: str,
    recording: Recording | Signatures,
    margins: tuple[float, float, float, float] | None = None,
) -> Figure:
    """Return an empty figure; `margins` (left, right, top, bottom) in inches spare the layout, half the time of drawing."""
    figure = Figure(figsize=(width, height), layout=None if margins else "constrained", dpi=110)
    if margins:
        left, right, top, bottom = margins
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    label = recording.name
    if recording.simulated and "simulated" not in label:
        label += " (simulated)"
    FigureCanvasAgg(figure)  # becomes its canvas
    figure.suptitle(f"{title} · {label}", fontsize=11)
    return figure


def write(figure: Figure, path: Path) -> None:
    """Write a picture as PNG, in half the time of savefig, which draws once more to find a layout."""
    if figure not in _drawn:
        content = io.BytesIO()
        figure.canvas.print_png(content, pil_kwargs={"compress_level": 1})  # type: ignore[attr-defined]
        _drawn[figure] = content.getvalue()
    path.write_bytes(_drawn[figure])


def _bare(axes: object) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)  # type: ignore[attr-defined]


def loss_curves(
    history: Sequence[Mapping[str, float]], recording: Recording | Signatures, quantity: str = "binary cross-entropy"
) -> Figure:
    """Return training and validation loss per epoch, the tested epoch marked."""
    figure = _figure(7, 4, "Loss", recording, (0.8, 0.2, 0.45, 0.55))
    axes = figure.subplots()
    epochs = [row["epoch"] + 1 for row in history]
    losses = [row["val/loss"] for row in history]
    marker = "." if len(epochs) < 4 else None  # a line of one point is none
    axes.plot(epochs, [row.get("train/loss", np.nan) for row in history], color=GREY, marker=marker, label="training")
    axes.plot(epochs, losses, color=BLUE, marker=marker, label="validation")
    if losses:
        best = int(np.argmin(losses))
        axes.plot(epochs[best], losses[best], "o", color=BLUE)
        axes.annotate(
            f"tested: epoch {epochs[best]:g}",
            (epochs[best], losses[best]),
            (0, 8),
            textcoords="offset points",
            ha="right" if best > 0.8 * (len(losses) - 1) else "left" if best < 0.2 * (len(losses) - 1) else "center",
            va="bottom",
            fontsize=9,
        )
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    low, high = axes.get_ylim()
    axes.set_ylim(0, max(high, low + 1.2 * (high - low)) * 1.08)  # with room for the annotation above the highest loss
    axes.set_xlim(min(epochs, default=1) - 0.5, max(epochs, default=1) + 0.5)
    axes.legend(frameon=False, loc="best")
    _bare(axes)
    return figure


def raster(
    recording: Recording, centres: NDArray[np.int64], truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> Figure:
    """Return true and predicted discharges of each motor unit in the test windows, over the force."""
    units = truth.shape[1]
    figure = _figure(11, 1.8 + 0.32 * units, "Discharges in the test windows", recording, (0.6, 0.7, 0.45, 0.85))
    time_s = centres / recording.rate_hz
    axes = figure.subplots()
    if recording.force is not None:
        behind = axes.twinx()
        every = slice(None, None, max(1, len(recording.force) // 4000))
        behind.fill_between(
            np.arange(len(recording.force))[every] / recording.rate_hz,
            recording.force[every],
            color=GREY,
            alpha=0.2,
            lw=0,
        )
        behind.set_ylabel(f"force ({recording.force_unit or 'unit not known'})")
        behind.set_ylim(bottom=min(0.0, float(recording.force.min())))
        behind.spines["top"].set_visible(False)
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
    for chosen, colour, low, high in (
        (truth & predicted, BLUE, -0.3, 0.3),
        (truth & ~predicted, ORANGE, -0.3, 0.3),
        (~truth & predicted, RED, -0.02, 0.3),
    ):
        window, unit = np.nonzero(chosen)  # all at once: a call per unit takes longer than drawing
        axes.vlines(time_s[window], unit + 1 + low, unit + 1 + high, color=colour, lw=0.8)
    axes.vlines(time_s, 0.4, 0.52, color="black", lw=0.6)  # where there are test windows at all
    handles = [
        axes.plot([], [], color=colour, label=label)[0]
        for colour, label in ((BLUE, "found"), (ORANGE, "missed"), (RED, "false"), ("black", "tested stretch"))
    ]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False)
    axes.set(
        xlabel="time (s)",
        ylabel="motor unit",
        yticks=range(1, units + 1),
        ylim=(0.4, units + 0.8),
        xlim=(0, recording.duration_s),
    )
    axes.spines["top"].set_visible(False)
    return figure


def f1_per_unit(rows: Sequence[Mapping[str, float]], recording: Recording) -> Figure:
    """Return F1, precision and sensitivity of each motor unit; a unit that misses 10 % or more is drawn pale.

    A unit without a discharge in the test part has no bar: it says so.
    """
    width = max(5, 1.5 + 0.6 * len(rows))
    figure = _figure(width, 4, "Test scores per motor unit", recording, (0.7, 0.2, 0.45, 0.85))
    axes = figure.subplots()
    units = np.array([row["unit"] for row in rows])
    values = np.nan_to_num([row["f1"] for row in rows])
    pale = [0.95 if row["miss_rate"] < 0.1 else 0.4 for row in rows]
    for unit, value, alpha in zip(units, values, pale, strict=True):
        axes.bar(unit, value, color=BLUE, alpha=alpha, width=0.7)
    for unit in units[np.isnan([row["f1"] for row in rows])]:
        axes.text(unit, 0.02, "no discharge here", rotation=90, ha="center", va="bottom", fontsize=8, color="#555555")
    axes.plot(units, [row["precision"] for row in rows], "^", color=ORANGE, label="precision")
    axes.plot(units, [row["sensitivity"] for row in rows], "v", color=GREEN, label="sensitivity")
    axes.bar(0, 0, color=BLUE, label="F1 (pale: misses 10 % or more)")
    axes.set(xlabel="motor unit", ylabel="score", ylim=(0, 1.02), xlim=(0.3, len(rows) + 0.7), xticks=units)
    figure.legend(loc="lower center", ncols=3, frameon=False, fontsize=9)
    _bare(axes)
    return figure


def action_potentials(recording: Recording) -> Figure:
    """Return the spike-triggered averages on the electrode grid, of the eight units with the most discharges."""
    if _latest and _alike(_latest[0][0], recording):
        return _latest[0][1]
    order = np.argsort([-len(train) for train in recording.spike_trains])[:8]
    units = sorted(int(unit) for unit in order)
    grid = recording.grid if recording.grid is not None else np.arange(recording.signal.shape[1])[:, None]
    half = round(SPAN_S * recording.rate_hz)
    lags = np.arange(-half, half + 1)
    figure = _figure(1.2 + 1.7 * len(units), 5.5, "Spike-triggered averages", recording, (0.1, 0.1, 0.4, 0.4))
    axes = figure.subplots()  # one for all units: an axes each takes longer than everything in it
    rows, columns = np.nonzero(grid >= 0)
    across = np.linspace(-0.45, 0.45, len(lags))
    for place, unit in enumerate(units):
        average = spike_triggered_average(recording.signal, recording.spike_trains[unit], lags)
        average = average - average.mean(axis=0)
        peak = np.abs(average).max()
        shapes = -rows + 0.9 * average[:, grid[rows, columns]] / max(peak, 1e-12)  # (lag, electrode)
        left = place * (grid.shape[1] + 0.6)
        traces = np.stack(np.broadcast_arrays(left + columns + across[:, None], shapes), axis=2).swapaxes(0, 1)
        axes.add_collection(LineCollection(list(traces), colors=BLUE, linewidths=0.7))  # 64 lines one by one are slow
        label = f"unit {unit + 1}\n±{peak:.0f} µV"
        axes.text(left + (grid.shape[1] - 1) / 2, 1.2, label, ha="center", va="bottom", fontsize=9)
    axes.set(xlim=(-0.8, len(units) * (grid.shape[1] + 0.6) - 0.8), ylim=(-len(grid), 2.2))
    axes.set_axis_off()
    figure.supxlabel(f"each trace: ±{1000 * SPAN_S:g} ms around the discharge, rows along the fibres", fontsize=9)
    _latest[:] = [(recording, figure)]
    return figure


def _alike(first: Recording, second: Recording) -> bool:
    if first.signal is not second.signal or len(first.spike_trains) != len(second.spike_trains):
        return False
    return all(map(np.array_equal, first.spike_trains, second.spike_trains))


def confusion(counts: NDArray[np.int64], signatures: Signatures) -> Figure:
    """Return the test windows of each true class (row) by predicted class, as counts on shares of the row."""
    figure = _figure(5.2, 4.4, "Test windows by class", signatures)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.6 else "black"
        text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    places = range(len(signatures.classes))
    axes.set(xlabel="predicted", ylabel="true", xticks=places, yticks=places)
    axes.set_xticklabels(signatures.classes)
    axes.set_yticklabels(signatures.classes, rotation=90, va="center")
    figure.colorbar(image, ax=axes, label="share of the true class")
    return figure


def mean_signatures(signatures: Signatures) -> Figure:
    """Return the mean signature of each class (channel by time), as the ENG paper's Fig. 3."""
    n_classes, window, n_channels = len(signatures.classes), *signatures.windows.shape[1:]
    figure = _figure(3.4 * n_classes, 4.4, "Mean signatures", signatures)
    panels = figure.subplots(1, n_classes, sharey=True, squeeze=False)[0]
    means = [signatures.windows[signatures.label == number].mean(axis=0).T for number in range(n_classes)]
    limit = max(float(np.abs(mean).max()) for mean in means)
    half_ms = 500 * window / signatures.rate_hz
    for number, (axes, mean) in enumerate(zip(panels, means, strict=True)):
        extent = (-half_ms, half_ms, n_channels + 0.5, 0.5)
        image = axes.imshow(mean, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent)
        for ring in range(1, RINGS):
            axes.axhline(ring * n_channels / RINGS + 0.5, color=GREY, lw=0.4)
        count = int(np.sum(signatures.label == number))
        axes.set_title(f"{signatures.classes[number]} ({count} CAPs)", fontsize=10)
        axes.set_xlabel("time around the CAP (ms)")
    panels[0].set_ylabel("channel, ring by ring")
    figure.colorbar(image, ax=panels, label="µV")
    return figure


def preparation(signatures: Signatures) -> Figure:
    """Return, per class, a stretch of the middle ring with its stimuli and detected CAPs, and one close up (Fig. 2)."""
    names = signatures.classes
    figure = _figure(12, 1 + 1.9 * len(names), "Middle ring: stimuli and detected CAPs", signatures)
    panels = figure.subplots(len(names), 2, width_ratios=(2, 1), squeeze=False)
    for (wide, close), name in zip(panels, names, strict=True):
        trace, on, caps = (signatures.traces[f"{what}_{name}"] for what in ("trace", "on", "caps"))
        caps = caps.astype(np.int64)
        time_s = np.arange(len(trace)) / signatures.rate_hz
        start, stop = on[np.argmax(on[:, 1] - on[:, 0])] / signatures.rate_hz
        middle = (start + stop) / 2
        for axes, limits in ((wide, (0, time_s[-1])), (close, (middle - 0.1, middle + 0.1))):
            axes.plot(time_s, trace, color=GREY, lw=0.4)
            for low, high in on / signatures.rate_hz:
                axes.axvspan(low, high, color=BLUE, alpha=0.12, lw=0)
            axes.plot(time_s[caps], trace[caps], "o", ms=3, color=RED)
            axes.set_xlim(*limits)
            axes.locator_params(axis="x", nbins=5)
            _bare(axes)
        label = f"{name}\nSNR {signatures.facts[f'snr_db_{name}']:.2f} dB"
        wide.set_ylabel(f"{label}\nµV", fontsize=9)
    panels[-1, 0].set_xlabel("time (s)")
    panels[-1, 1].set_xlabel("time (s), one stimulus close up")
    handles = [
        panels[0, 0].plot([], [], "o", color=RED, ms=3, label="detected CAP")[0],
        panels[0, 0].fill_between([], [], color=BLUE, alpha=0.12, label="stimulus"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure
