"""Table IV of Gökdağ et al.: accuracy and macro F1 of the networks over rats."""

from __future__ import annotations

from .. import comparison, pictures, published
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mobilescapenet import EXPERIMENT, NETWORKS

SCORES = ("test/macro_f1", "test/accuracy")
CONTROL = ("control/balanced_accuracy", "control/null_95")


def make(source: Source) -> Artefact:
    """Return the networks compared, chance and control beside them."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("mobilescapenet/model_comparison", "Networks compared over rats (Table IV)", runs=runs)
    cells = Cells(runs, ("model",))
    facts = published.read("mobilescapenet", "model_comparison")
    artefact.tables["model_comparison"] = published.beside(cells.scores, facts)
    artefact.notes.append(
        "Published is the mean over animals, and for macro F1 over classes, of one test part each; its split is random as we "
        "read it. The standard deviation of macro F1 is over the scores of every class on every rat, there and here; over rats "
        "alone, as in networks and in the picture, it is smaller."
    )
    artefact.missing = cells.missing(EXPERIMENT)
    if runs.empty:
        return artefact
    artefact.tables["networks"] = cells.summary((*SCORES, "baseline/f1_chance", *CONTROL))
    comparison.add(artefact, cells, SCORES)
    drawn = pictures.figure(artefact.title, 7, 3, artefact.simulated)
    axes = drawn.subplots()
    groups = cells.scores.groupby("model")[list(SCORES)]
    order = pictures.ordered(groups.groups, NETWORKS)
    means, spreads = (
        table.loc[order].T.rename(lambda name: name.rpartition("/")[2]) for table in (groups.mean(), groups.std())
    )
    means.index = spreads.index = means.index.str.replace("_", " ")
    known = {}
    for fact in facts.to_dict("records"):
        value = fact["value"] / (100 if fact["unit"] == "%" else 1)
        known[fact["metric"].rpartition("/")[2].replace("_", " "), fact["model"]] = value
    pictures.bars(axes, means, spreads, known)
    pictures.macro_f1(axes, cells.scores["baseline/f1_chance"].mean())
    axes.set_ylabel("")
    pictures.legend(drawn)
    artefact.figures["model_comparison"] = drawn
    return artefact
