"""Every choice of protocol on one line each: how far the same network's score moves when nothing but the choice changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from .. import converged, pictures
from ..artefact import Artefact
from ..cells import Source
from ..protocol import eng_control, intensity, label, rats, split

LABEL = 0.16  # of the score axis, what a label takes


class Line(NamedTuple):
    """One way of making a choice: what it scores in the mean over `n` cells and recordings, and from which runs."""

    choice: str
    option: str
    score: float
    free: float  # what is scored without knowledge: by chance, or by predicting every unit always, whichever is more
    n: int
    runs: pd.DataFrame


def make(source: Source) -> Artefact:
    """Return the scores that differ in one choice alone, as means over the cells and recordings that all options share."""
    made = {
        part.__name__.rpartition(".")[2]: part.make(source) for part in (split, label, intensity, eng_control, rats)
    }
    parts = [part.runs for part in made.values() if not part.runs.empty]
    runs = pd.concat(parts or [pd.DataFrame()], ignore_index=True)
    artefact = Artefact("protocol/overview", "How much of a score is protocol", runs=runs)
    artefact.missing = [f"cells of {part.name}, which names them" for part in made.values() if part.missing]
    lines = [
        *_splits(made["split"]),
        *_labels(made["label"]),
        *_intensities(made["intensity"]),
        *_nerves(made["eng_control"]),
        *_rats(made["rats"]),
    ]
    if not lines:
        return artefact
    table = pd.DataFrame([line[:-1] for line in lines], columns=Line._fields[:-1])
    artefact.tables["overview"] = converged.counted(table, [line.runs for line in lines])
    artefact.notes = [
        "Each line is one network on the same recordings and windows; score: F1, or macro F1 for ENG, mean over n cells and "
        "recordings that all options of the line share. Ticks: what is scored without any knowledge (the better of chance and "
        "of predicting every unit always).",
        "A longer line means that the choice, not the decoder, makes more of the number that is published.",
    ]
    artefact.figures["overview"] = _drawn(artefact, table)
    return artefact


def _splits(made: Artefact) -> Iterator[Line]:
    found = made.tables.get("split")
    for which, part in [] if found is None else found.groupby("recording", sort=False):
        real = which == "sample recording"
        table = part.assign(free=part[["chance", "all_positive"]].max(axis=1))
        runs = made.runs[(made.runs["recording"] == "otb") == real]
        yield from _options(f"split, {which}{' (real)' * real}", table, "split", ["window", "step"], runs)


def _labels(made: Artefact) -> Iterator[Line]:
    found = made.tables.get("label")
    if found is None:
        return
    found = found.assign(free=found[["chance", "all_positive"]].max(axis=1))
    aligned = made.runs["dataset.align"].map({False: "no", True: "yes"})
    yield from _options("label", found[found["align"] == "no"], "label", ["window"], made.runs[aligned == "no"])
    names = {"no": "as labelled", "yes": "aligned"}
    part, runs = (
        table[table["label"] == "step"].assign(align=align.map(names))
        for table, align in ((found, found["align"]), (made.runs, aligned))
    )
    yield from _options("alignment, label=step", part, "align", ["window"], runs)


def _options(choice: str, table: pd.DataFrame, option: str, cell: list[str], runs: pd.DataFrame) -> Iterator[Line]:
    """Yield the mean of each option over the cells that all of them have; nothing when there is but one option."""
    f1 = table.pivot_table(index=cell, columns=option, values="f1").dropna()
    free = table.pivot_table(index=cell, columns=option, values="free").reindex(f1.index)
    if len(f1.columns) > 1 and len(f1):
        for name in f1.columns:
            yield Line(choice, str(name), f1[name].mean(), free[name].mean(), len(f1), runs[runs[option] == name])


def _intensities(made: Artefact) -> Iterator[Line]:
    found = made.tables.get("intensity")
    if found is None:
        return
    first, second = intensity.FACTORS
    cells = found.pivot_table(index=[first, second], columns="score", values="mean").reset_index()
    free = cells[["baseline/f1_chance", "baseline/f1_all_positive"]].max(axis=1)
    for option, alike in (("same intensity", True), ("another intensity", False)):
        part, runs = (table[(table[first] == table[second]) == alike] for table in (cells, made.runs))
        if len(part):
            yield Line("trained at", option, part["f1"].mean(), free[part.index].mean(), len(part), runs)


def _nerves(made: Artefact) -> Iterator[Line]:
    found = made.tables.get("eng_control")
    if found is None:
        return
    caps, runs = (table[table["dataset.windows"] == "cap"] for table in (found, made.runs))
    cells = caps.pivot_table(index="split", columns="score", values="mean")
    counts = caps[caps["score"] == "macro_f1"].set_index("split")["n"]
    for option, row in cells.iterrows():
        scores = row["macro_f1"], row["baseline/f1_chance"], int(counts[option])
        yield Line("split, nerve cuff", str(option), *scores, runs[runs["split"] == option])


def _rats(made: Artefact) -> Iterator[Line]:
    found = made.tables.get("rats")
    if found is None or "same_rat" not in found:
        return
    both = found.dropna(subset=["same_rat", "macro_f1"])
    left_out = made.runs["recording"] == "eng_rats"
    for option, column, runs in (
        ("that rat", "same_rat", made.runs[~left_out]),
        ("other rats", "macro_f1", made.runs[left_out]),
    ):
        if len(both):
            yield Line("trained on", option, both[column].mean(), both["f1_chance"].mean(), len(both), runs)


def _drawn(artefact: Artefact, table: pd.DataFrame) -> Figure:
    choices = list(dict.fromkeys(table["choice"]))
    drawn = pictures.figure(artefact.title, 7.2, 0.9 + 0.62 * len(choices), artefact.simulated)
    axes = drawn.subplots()
    for place, choice in enumerate(choices):
        of = table[table["choice"] == choice].sort_values("score")
        axes.plot(of["score"], [place] * len(of), color="#BBBBBB", lw=3, zorder=1, solid_capstyle="round")
        axes.plot(of["free"], [place] * len(of), "|", color=pictures.GREY, ms=11, mew=1.6, zorder=2)
        last = {True: -1.0, False: -1.0}  # score of the latest label above and below
        for k, row in enumerate(of.to_dict("records")):
            axes.plot(row["score"], place, "o", color=pictures.OTHERS[0], mec="white", ms=8, zorder=3)
            above = k % 2 == 0
            away = 8 + 10 * (row["score"] - last[above] < LABEL)
            last[above] = row["score"]
            text = f"{row['option']} {row['score']:.2f}"
            axes.annotate(
                text, (row["score"], place), (0, away if above else -away), textcoords="offset points",
                ha="center" if row["score"] > LABEL / 2 else "left",  # beside the names of the choices
                va="bottom" if above else "top", fontsize=8,
            )  # fmt: skip
    axes.plot([], [], "|", color=pictures.GREY, ms=11, mew=1.6, label="without any knowledge")
    axes.set_yticks(range(len(choices)), choices)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(choices) - 0.4, -0.6), xlabel="F1 (nerve cuff: macro F1)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    pictures.legend(drawn)
    return drawn
