"""ENG: CAPs of a stimulus on both sides of the split or not, and what can be told apart where no nerve is at work."""

from __future__ import annotations

from .. import pictures
from ..artefact import Artefact
from ..cells import Cells, Source

EXPERIMENT = "mobilescapenet/control"
FACTORS = ("split", "dataset.windows")
CONTROL = ("control/balanced_accuracy", "control/null_95", "control/p_value")


def make(source: Source) -> Artefact:
    """Return macro F1 on CAPs and at rest, and the control, under the paper's split and with whole stimuli held out."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("protocol/eng_control", "Random against stimulus, and the resting control", runs=runs)
    cells = Cells(runs, FACTORS)
    artefact.missing = cells.missing(EXPERIMENT)
    artefact.notes = [
        "Each class is a recording of its own. A network that is trained and tested on windows at rest can only learn which "
        "recording a window is from: what it scores above chance is not the nerve.",
        "The control (balanced_accuracy) is a probe that learns power and correlations of the channels at rest; null_95 is "
        "what it reaches in 95 of 100 cases when the gaps between stimuli are dealt to the classes at random.",
        "random is a reading of the paper's split, over CAPs: CAPs of nearly every test stimulus are in training too.",
    ]
    if runs.empty:
        return artefact
    artefact.tables["eng_control"] = cells.summary(
        ("test/macro_f1", "baseline/f1_chance", *CONTROL, "data/test_stimuli_seen_in_train")
    )
    groups = cells.scores.groupby(list(FACTORS))["test/macro_f1"]
    means, spreads = (
        values.unstack("split").rename({"cap": "CAPs", "rest": "windows at rest"})
        for values in (groups.mean(), groups.std())
    )
    drawn = pictures.figure(artefact.title, 5, 3, artefact.simulated)
    axes = drawn.subplots()
    if CONTROL[0] in cells.scores and cells.scores[CONTROL[0]].notna().any():
        probe = cells.scores.dropna(subset=[CONTROL[0]]).groupby("split")[CONTROL[0]]
        means.loc["control"], spreads.loc["control"] = probe.mean(), probe.std()
        axes.axhline(cells.scores[CONTROL[1]].mean(), color=pictures.GREY, lw=1, ls=":", label="control's null, 95 %")
    pictures.bars(axes, means, spreads)
    pictures.macro_f1(axes, cells.scores["baseline/f1_chance"].mean())
    axes.set_ylabel("macro F1; control: balanced accuracy")
    pictures.legend(drawn)
    artefact.figures["eng_control"] = drawn
    return artefact
