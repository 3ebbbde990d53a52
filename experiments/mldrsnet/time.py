"""Tables 4 and 11 of Ma et al.: time per epoch, per prediction, and the latency until a discharge is reported."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .. import pictures, published
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mldrsnet import BEST, EXPERIMENT, NETWORKS


def make(source: Source) -> Artefact:
    """Return times per network and cell."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("mldrsnet/time", "Time of training and prediction (Tables 4, 11)", runs=runs, trained=False)
    if not runs.empty:
        runs["window_ms"] = 1000 * runs["window"] / runs["dataset.rate_hz"]
        runs["step_ms"] = 1000 * runs["step"] / runs["dataset.rate_hz"]
        runs["latency_ms"] = runs["window_ms"] + runs["cost/ms_per_window"]
        runs["half_window_latency_ms"] = runs["window_ms"] / 2 + runs["cost/ms_per_window"]
        runs["worst_age_ms"] = runs["latency_ms"] + runs["step_ms"]
    cells = Cells(runs, ("model", "window", "step"))
    artefact.tables["time"] = published.beside(cells.scores, published.read("mldrsnet", "time"))
    artefact.notes += [
        "The paper's methods say that a prediction lags by half a window, its results add the whole window: both are here.",
        "Published, ML-DRSNet takes 5.39 ms for a prediction, mean of its cells; at a step of 10 one is due every 4.88 ms.",
        "The published seconds per epoch include testing, ours are training and validation.",
    ]
    artefact.missing = [
        f"{name} at window={w} step={s}"
        for name, (w, s) in BEST.items()
        if runs.empty or runs[(runs["model"] == name) & (runs["window"] == w) & (runs["step"] == s)].empty
    ]
    if runs.empty:
        return artefact
    machines = {source.machine(EXPERIMENT, run_id) for run_id in runs.groupby("sweep")["run_id"].first()}
    mixed = " (several machines: choose one's runs before comparing)" if len(machines) > 1 else ""
    artefact.notes.insert(
        0,
        f"Ours on {'; '.join(sorted(machines))}{mixed}; predictions on one thread, with whatever else ran beside it.",
    )
    columns = [
        "time/s_per_epoch",
        "cost/ms_per_window",
        "latency_ms",
        "half_window_latency_ms",
        "worst_age_ms",
        "step_ms",
    ]
    table = cells.scores.groupby(["model", "window", "step"])[columns].mean().reset_index()
    table["keeps_up"] = (table["cost/ms_per_window"] < table["step_ms"]).map({True: "yes", False: "no"})
    artefact.tables["cells"] = table
    artefact.figures["time"] = _drawn(artefact, table)
    return artefact


def _drawn(artefact: Artefact, table: pd.DataFrame) -> Figure:
    drawn = pictures.figure("Milliseconds per prediction (batch 1) over window", 6, 3.4, artefact.simulated)
    axes = drawn.subplots()
    by_window = table.pivot_table(index="window", columns="model", values="cost/ms_per_window")
    pictures.lines(axes, by_window[pictures.ordered(by_window, NETWORKS)])
    axes.axhline(5.39, color=pictures.GREY, lw=1, ls="--")
    axes.text(0, 5.39, "ML-DRSNet as published, RTX 3090", va="bottom", fontsize=8, color="#555555")
    axes.axhline(10 / 2.048, color=pictures.GREY, lw=1, ls=":")
    axes.text(len(by_window) - 1, 10 / 2.048, "a step of 10 samples", va="top", ha="right", fontsize=8, color="#555555")
    axes.set(xlabel="window (samples)", ylabel="ms per window", yscale="log")
    axes.legend()
    return drawn
