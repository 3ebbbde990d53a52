"""The same network on the same windows, split at random, in blocks of time and by contraction."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .. import pictures
from ..artefact import Artefact
from ..cells import Cells, Source

EXPERIMENTS = {"three contractions": "protocol/split", "sample recording": "protocol/split_real"}
COLUMNS = {
    "f1": "test/f1",
    "chance": "baseline/f1_chance",
    "all_positive": "baseline/f1_all_positive",
    "overlapping": "data/test_windows_overlapping_train",
    "seen": "data/test_samples_seen_in_train",
}


def make(source: Source) -> Artefact:
    """Return F1 per split, window and step, beside what the split gave away and what no decoder has to learn."""
    found = {which: source.runs(experiment) for which, experiment in EXPERIMENTS.items()}
    runs = pd.concat([table for table in found.values() if not table.empty] or [pd.DataFrame()], ignore_index=True)
    artefact = Artefact("protocol/split", "How much of a score is the split", runs=runs)
    tables = []
    for which, table in found.items():
        cells = Cells(table, ("split", "window", "step"))
        artefact.missing += [f"{which}: {line}" for line in cells.missing(EXPERIMENTS[which])]
        if not table.empty:
            groups = cells.scores.groupby(["split", "window", "step"])
            columns = {name: groups[metric].mean() for name, metric in COLUMNS.items()}
            spread = {"f1_sd": groups["test/f1"].std(), "n": groups.size()}
            tables.append(pd.DataFrame(columns | spread).reset_index().assign(recording=which))
    if not tables:
        return artefact
    table = pd.concat(tables, ignore_index=True)
    artefact.tables["split"] = table[["recording", "split", "window", "step", "f1", "f1_sd", *list(COLUMNS)[1:], "n"]]
    artefact.notes = [
        "overlapping: share of test windows that share samples with a training window; seen: mean share of a test window's "
        "samples that training has seen. Both papers' subsets may be random: they do not say.",
        "split=contraction needs more than one contraction: the sample recording has one.",
    ]
    artefact.notes += _costs(table)
    for which, part in table.groupby("recording", sort=False):
        simulated = bool(found[which]["recording_name"].str.startswith("simulated").all())
        artefact.figures[f"split_{which}"] = _drawn(f"F1 by split, {which}", part, simulated)
    return artefact


def _drawn(title: str, part: pd.DataFrame, simulated: bool) -> Figure:
    windows = sorted(part["window"].unique())
    steps = sorted(part["step"].unique())
    drawn = pictures.figure(title, max(5.5, 2.6 * len(steps) + 1.2), 5, simulated)
    panels = drawn.subplots(2, len(steps), sharey="row", sharex=True, squeeze=False, height_ratios=(2, 1))
    for (above, below), step in zip(panels.T, steps, strict=True):
        of = part[part["step"] == step]
        order = [name for name in ("random", "blocked", "contraction") if name in set(of["split"])]
        f1, spread, seen = (
            of.pivot_table(index="window", columns="split", values=value, dropna=False).reindex(
                index=windows, columns=order
            )
            for value in ("f1", "f1_sd", "seen")
        )
        pictures.lines(above, f1, spread)
        chance = of.groupby("window")["chance"].mean().reindex(f1.index)
        above.plot(range(len(chance)), chance, color=pictures.GREY, ls="--", lw=1, label="by chance")
        pictures.lines(below, seen)
        above.set(title=f"step {step}", ylim=(0, 1.02))
        below.set(xlabel="window (samples)", ylim=(-0.03, 1.05))
    panels[0, 0].set_ylabel("F1")
    panels[1, 0].set_ylabel("samples seen\nin training")
    pictures.legend(drawn)
    return drawn


def _costs(table: pd.DataFrame) -> list[str]:
    """Return by how much F1 falls when a random split is replaced, over the cells that have both."""
    notes = []
    for which, part in table.groupby("recording", sort=False):
        f1 = part.pivot_table(index=["window", "step"], columns="split", values="f1")
        for other in ("blocked", "contraction"):
            if "random" in f1 and other in f1:
                both = f1[["random", other]].dropna()
                fall = (both["random"] - both[other]).mean()
                notes.append(
                    f"{which}: F1 is {fall:+.2f} higher under random than under {other}, mean of {len(both)} cells."
                )
    return notes
