"""Every choice of protocol on one line each: how far the same network's score moves when nothing but the choice changes."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from .. import converged, pictures
from ..artefact import Artefact
from ..cells import Source
from ..protocol import eng_control, intensity, label, rats, split

LABEL = 0.16  # of the score axis, what a label takes
FREE = "free"  # what is scored without knowledge: by chance, or by predicting every unit always, whichever is more


def make(source: Source) -> Artefact:
    """Return the scores that differ in one choice alone, as means over the cells and recordings that all options share."""
    made = [part.make(source) for part in (split, label, intensity, eng_control, rats)]
    runs = pd.concat([part.runs for part in made if not part.runs.empty] or [pd.DataFrame()], ignore_index=True)
    artefact = Artefact("protocol/overview", "How much of a score is protocol", runs=runs)
    artefact.missing = [f"cells of {part.name}, which names them" for part in made if part.missing]
    tables = {part.name.partition("/")[2]: part.tables for part in made}
    rows = [row for found in (_splits, _labels, _intensities, _nerves) for row in found(tables)]
    if not rows:
        return artefact
    table = pd.DataFrame(rows, columns=["choice", "option", "score", FREE, "n"])
    parts = {part.name.partition("/")[2]: part.runs for part in made}
    artefact.tables["overview"] = converged.counted(
        table, [behind(parts, choice, option) for choice, option in table[["choice", "option"]].itertuples(index=False)]
    )
    artefact.notes = [
        "Each line is one network on the same recordings and windows; score: F1, or macro F1 for ENG, mean over n cells and "
        "recordings that all options of the line share. Ticks: what is scored without any knowledge (the better of chance and "
        "of predicting every unit always).",
        "A longer line means that the choice, not the decoder, makes more of the number that is published.",
    ]
    artefact.figures["overview"] = _drawn(artefact, table)
    return artefact


Row = tuple[str, str, float, float, int]


def _splits(tables: dict[str, dict[str, pd.DataFrame]]) -> Iterator[Row]:
    found = tables["split"].get("split")
    for which, part in [] if found is None else found.groupby("recording", sort=False):
        free = part[["chance", "all_positive"]].max(axis=1)
        real = " (real)" * (which == "sample recording")
        yield from _options(f"split, {which}{real}", part.assign(free=free), "split", ["window", "step"])


def _labels(tables: dict[str, dict[str, pd.DataFrame]]) -> Iterator[Row]:
    found = tables["label"].get("label")
    if found is None:
        return
    found = found.assign(free=found[["chance", "all_positive"]].max(axis=1))
    yield from _options("label", found[found["align"] == "no"], "label", ["window"])
    names = {"no": "as labelled", "yes": "aligned"}
    aligned = found[found["label"] == "step"].assign(align=found["align"].map(names))
    yield from _options("alignment, label=step", aligned, "align", ["window"])


def _intensities(tables: dict[str, dict[str, pd.DataFrame]]) -> Iterator[Row]:
    found = tables["intensity"].get("intensity")
    if found is None:
        return
    cells = found.pivot_table(index=list(intensity.FACTORS), columns="score", values="mean").reset_index()
    free = cells[["baseline/f1_chance", "baseline/f1_all_positive"]].max(axis=1)
    same = cells[intensity.FACTORS[0]] == cells[intensity.FACTORS[1]]
    for option, part in (("same intensity", cells[same]), ("another intensity", cells[~same])):
        if len(part):
            yield "trained at", option, part["f1"].mean(), free[part.index].mean(), len(part)


def _nerves(tables: dict[str, dict[str, pd.DataFrame]]) -> Iterator[Row]:
    found = tables["eng_control"].get("eng_control")
    if found is not None:
        caps = found[found["dataset.windows"] == "cap"]
        cells = caps.pivot_table(index="split", columns="score", values="mean")
        counts = caps[caps["score"] == "macro_f1"].set_index("split")["n"]
        for option, row in cells.iterrows():
            yield "split, nerve cuff", str(option), row["macro_f1"], row["baseline/f1_chance"], int(counts[option])
    found = tables["rats"].get("rats")
    if found is not None and "same_rat" in found:
        both = found.dropna(subset=["same_rat", "macro_f1"])
        for option, column in (("that rat", "same_rat"), ("other rats", "macro_f1")):
            if len(both):
                yield "trained on", option, both[column].mean(), both["f1_chance"].mean(), len(both)


def behind(parts: dict[str, pd.DataFrame], choice: str, option: str) -> pd.DataFrame:
    """Return the runs of the `parts` by which a choice was made in one way."""
    kind, _, which = choice.partition(", ")
    if choice == "split, nerve cuff":
        runs = parts["eng_control"]
        return runs[(runs["split"] == option) & (runs["dataset.windows"] == "cap")]
    if kind == "split":
        runs = parts["split"]
        return runs[(runs["split"] == option) & ((runs["recording"] == "otb") == which.startswith("sample"))]
    if kind == "label":
        runs = parts["label"]
        return runs[(runs["label"] == option) & (runs["dataset.align"] == False)]  # noqa: E712 - of a column
    if kind == "alignment":
        runs = parts["label"]
        return runs[(runs["label"] == "step") & (runs["dataset.align"] == (option == "aligned"))]
    if kind == "trained at":
        runs = parts["intensity"]
        first, second = intensity.FACTORS
        return runs[(runs[first] == runs[second]) == (option == "same intensity")]
    runs = parts["rats"]
    return runs[runs["recording"].eq("eng_rats") == (option == "other rats")]


def _options(choice: str, table: pd.DataFrame, option: str, cell: list[str]) -> Iterator[Row]:
    """Yield the mean of each option over the cells that all of them have; nothing when there is but one option."""
    f1 = table.pivot_table(index=cell, columns=option, values="f1").dropna()
    free = table.pivot_table(index=cell, columns=option, values="free").reindex(f1.index)
    if len(f1.columns) > 1 and len(f1):
        for name in f1.columns:
            yield choice, str(name), f1[name].mean(), free[name].mean(), len(f1)


def _drawn(artefact: Artefact, table: pd.DataFrame) -> Figure:
    choices = list(dict.fromkeys(table["choice"]))
    drawn = pictures.figure(artefact.title, 7.2, 0.9 + 0.62 * len(choices), artefact.simulated)
    axes = drawn.subplots()
    for place, choice in enumerate(choices):
        of = table[table["choice"] == choice].sort_values("score")
        axes.plot(of["score"], [place] * len(of), color="#BBBBBB", lw=3, zorder=1, solid_capstyle="round")
        axes.plot(of[FREE], [place] * len(of), "|", color=pictures.GREY, ms=11, mew=1.6, zorder=2)
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
