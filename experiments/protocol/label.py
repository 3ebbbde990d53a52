"""What counts as a discharge in a window, and where it lies: labels and alignment beside what they give away."""

from __future__ import annotations

import pandas as pd

from .. import pictures
from ..artefact import Artefact
from ..cells import Cells, Source

EXPERIMENT = "protocol/label"
FACTORS = ("label", "dataset.align", "window")


def make(source: Source) -> Artefact:
    """Return F1 per label, alignment and window, beside the positive rate and what an all-positive predictor scores."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("protocol/label", "How much of a score is the label", runs=runs)
    cells = Cells(runs, FACTORS)
    artefact.missing = cells.missing(EXPERIMENT)
    artefact.notes = [
        "The paper does not say which discharges a window is labelled with. With label=window the positive rate, and with it "
        "the F1 of predicting every unit always, grows with the window.",
        "align moves each spike train to the peak of its action potential, estimated from the training windows.",
    ]
    if runs.empty:
        return artefact
    groups = cells.scores.groupby(list(FACTORS))
    table = pd.DataFrame(
        {
            "f1": groups["test/f1"].mean(),
            "f1_sd": groups["test/f1"].std(),
            "all_positive": groups["baseline/f1_all_positive"].mean(),
            "chance": groups["baseline/f1_chance"].mean(),
            "positive_rate": groups["data/positive_rate"].mean(),
            "n": groups.size(),
        }
    ).reset_index()
    table["align"] = table.pop("dataset.align").map({True: "yes", False: "no"})
    artefact.tables["label"] = table[["label", "align", "window", "f1", "f1_sd", *list(table)[4:7], "n"]]
    labels = [name for name in ("step", "window", "centre") if name in set(table["label"])]
    drawn = pictures.figure(
        "F1 by label, and what no decoder has to learn", 2.9 * len(labels) + 0.8, 3.2, artefact.simulated
    )
    panels = drawn.subplots(1, len(labels), sharey=True, squeeze=False)[0]
    for axes, label in zip(panels, labels, strict=True):
        of = table[table["label"] == label]
        f1 = of.pivot_table(index="window", columns="align", values="f1").reindex(columns=["no", "yes"])
        f1 = f1.rename(columns={"no": "as labelled", "yes": "aligned"})
        pictures.lines(axes, f1)
        free = of.groupby("window")["all_positive"].mean()
        axes.plot(range(len(free)), free, color=pictures.GREY, ls="--", lw=1.2, label="every unit, always")
        axes.set(title=f"label={label}", xlabel="window (samples)", ylim=(0, 1.02))
    panels[0].set_ylabel("F1")
    pictures.legend(drawn)
    artefact.figures["label"] = drawn
    return artefact
