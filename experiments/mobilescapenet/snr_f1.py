"""Fig. 5c of Gökdağ et al.: macro F1 of MobilESCAPE-Net against the signal-to-noise ratio of the rat."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .. import pictures, published, statistics
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mobilescapenet import CLASSES, EXPERIMENT


def make(source: Source) -> Artefact:
    """Return score and ratio of each rat."""
    runs = source.runs(EXPERIMENT)
    if not runs.empty:
        runs = runs[runs["model"] == "mobilescapenet"]
    artefact = Artefact("mobilescapenet/snr_f1", "F1 against signal-to-noise ratio (Fig. 5c)", runs=runs)
    cells = Cells(runs, ("model",))
    artefact.tables["snr_f1"] = published.beside(cells.scores, published.read("mobilescapenet", "snr_f1"))
    artefact.notes.append(
        "The paper plots the points without giving their numbers; it names the mean and spread alone."
    )
    if runs.empty:
        artefact.missing.append("mobilescapenet on any rat")
        return artefact
    scores = cells.scores
    if not all(f"data/snr_db_{name}" in scores for name in CLASSES):
        artefact.missing.append("signal-to-noise ratios: these recordings are signatures that were cut elsewhere")
        return artefact
    scores["snr_db"] = scores[[f"data/snr_db_{name}" for name in CLASSES]].mean(axis=1)
    columns = [
        name
        for name in ("recording.rat", "snr_db", "test/macro_f1", "control/balanced_accuracy", "runs")
        if name in scores
    ]
    artefact.tables["rats"] = scores[columns]
    if len(scores) >= 3:
        artefact.notes.append(_correlation(scores["snr_db"].to_numpy(), scores["test/macro_f1"].to_numpy()))
    drawn = pictures.figure(artefact.title, 4.6, 3.2, artefact.simulated)
    axes = drawn.subplots()
    axes.plot(scores["snr_db"], scores["test/macro_f1"], "o", color=pictures.colour("mobilescapenet"), ms=7)
    for number, row in enumerate(scores.sort_values("snr_db").to_dict("records")):
        if "recording.rat" in row:
            place, side = (row["snr_db"], row["test/macro_f1"]), 1 - 2 * (number % 2)  # neighbours above and below
            axes.annotate(
                f"rat {row['recording.rat']:g}", place, (0, 11 * side), textcoords="offset points", ha="center",
                va="center", fontsize=8,
            )  # fmt: skip
    axes.margins(x=0.15)
    axes.set(xlabel="signal-to-noise ratio, mean of the classes (dB)", ylabel="macro F1", ylim=(0, 1.05))
    artefact.figures["snr_f1"] = drawn
    return artefact


def _correlation(ratios: NDArray[np.float64], f1: NDArray[np.float64]) -> str:
    """Return in a sentence how far score and ratio go together, and whether that is more than chance."""
    known = np.isfinite(ratios) & np.isfinite(f1)
    begin = f"Spearman's rank correlation over {known.sum()} rats: "
    if min(len(np.unique(values[known])) for values in (ratios, f1)) < 2:
        return begin + "none, for all have the same value."
    found, p = _spearman(ratios[known], f1[known])
    least = 2 / math.factorial(int(known.sum()))  # both orders, where no values are tied
    if least > statistics.ALPHA:
        return (
            begin
            + f"{found:.2f}, not tested: so few cannot reach {statistics.ALPHA:g} (smallest possible p {least:.2g})."
        )
    return begin + f"{found:.2f}, p = {p:.3g} (exact)."


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Return Spearman's rank correlation and its p over all orders of the values (over 50,000 from nine values on)."""
    one, other = (stats.zscore(stats.rankdata(values)) for values in (first, second))
    found = stats.permutation_test(
        (one,), lambda x, axis: (x * other).mean(axis=axis), permutation_type="pairings", n_resamples=50_000,
        vectorized=True, rng=0,
    )  # fmt: skip
    return float(found.statistic), float(found.pvalue)
