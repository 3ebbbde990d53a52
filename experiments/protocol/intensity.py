"""Train at one contraction intensity, test at another, on the same motor units (known to be the same in the simulator)."""

from __future__ import annotations

from .. import pictures
from ..artefact import Artefact
from ..cells import Cells, Source

EXPERIMENT = "protocol/intensity"
FACTORS = ("recording.train_mvc", "recording.test_mvc")


def make(source: Source) -> Artefact:
    """Return F1 as a matrix of the intensity trained on and the one tested on."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("protocol/intensity", "Across contraction intensities", runs=runs)
    cells = Cells(runs, FACTORS)
    artefact.missing = cells.missing(EXPERIMENT)
    artefact.notes.append(
        "Every cell trains on one contraction and tests on another of the same muscle, the diagonal too. Only units that are "
        "active in both are labelled, so the units differ from cell to cell."
    )
    if runs.empty:
        return artefact
    baselines = ("baseline/f1_chance", "baseline/f1_all_positive")
    table = cells.summary(("test/f1", "test/precision", "test/sensitivity", "data/units", *baselines))
    artefact.tables["intensity"] = table
    of = table[table["score"] == "f1"]
    mean, spread = (
        of.pivot_table(index=FACTORS[0], columns=FACTORS[1], values=value, dropna=False)
        for value in ("mean", "mean_sd")
    )
    mean.index.name, mean.columns.name = "trained at (% MVC)", "tested at (% MVC)"
    drawn = pictures.figure("F1 across intensities", 4.2, 3.4, artefact.simulated)
    pictures.heat(drawn.subplots(), mean, "", spreads=spread.reindex_like(mean))
    artefact.figures["intensity"] = drawn
    return artefact
