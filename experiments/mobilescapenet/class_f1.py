"""Figs. 6 and 7 of Gökdağ et al.: F1 per class and rat, and per class over rats."""

from __future__ import annotations

import pandas as pd

from .. import pictures, published
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mobilescapenet import CLASSES, EXPERIMENT, NETWORKS

SCORES = tuple(f"test/f1_{name}" for name in CLASSES)


def make(source: Source) -> Artefact:
    """Return F1 of each class, per rat as matrices and over rats as bars."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("mobilescapenet/class_f1", "F1 per class and rat (Figs. 6, 7)", runs=runs)
    cells = Cells(runs, ("model",))
    facts = published.read("mobilescapenet", "class_f1")
    artefact.tables["class_f1"] = published.beside(cells.scores, facts)
    artefact.missing = cells.missing(EXPERIMENT, model="escapenet,mobilescapenet")
    if runs.empty:
        return artefact
    artefact.tables["classes"] = cells.summary(SCORES)
    scores = cells.scores
    networks = pictures.ordered(scores["model"], NETWORKS)
    if "recording.rat" in scores:
        drawn = pictures.figure("F1 per class and rat (Fig. 6)", 2.9 * len(networks) + 0.6, 3.2, artefact.simulated)
        for axes, network in zip(drawn.subplots(1, len(networks), squeeze=False)[0], networks, strict=True):
            table = scores[scores["model"] == network].set_index("recording.rat")[list(SCORES)]
            table.columns = pd.Index([name.removeprefix("test/f1_") for name in SCORES])
            table.index = pd.Index([f"rat {rat:g}" for rat in table.index])
            pictures.heat(axes, table, pictures.name(network))
            axes.tick_params(axis="x", labelsize=8)
        artefact.figures["class_and_rat"] = drawn
    groups = scores.groupby("model")[list(SCORES)]
    means, spreads = (
        table.loc[networks].T.rename(lambda name: name.removeprefix("test/f1_"))
        for table in (groups.mean(), groups.std())
    )
    drawn = pictures.figure("F1 per class over rats (Fig. 7)", 7, 3, artefact.simulated)
    axes = drawn.subplots()
    known = {
        (fact["metric"].removeprefix("test/f1_"), fact["model"]): fact["value"]
        for fact in facts[~facts["model"].str.contains(" ")].to_dict("records")
    }
    pictures.bars(axes, means, spreads, known)
    axes.set(ylabel="F1", ylim=(0, 1.05))
    pictures.legend(drawn)
    artefact.figures["class_f1"] = drawn
    return artefact
