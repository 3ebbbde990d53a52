"""Train on all rats but one, test on that one; beside it what a network reaches that has seen the rat."""

from __future__ import annotations

import pandas as pd

from .. import converged, mobilescapenet, pictures
from ..artefact import Artefact
from ..cells import Cells, Source
from ..sweeps import same

EXPERIMENT = "protocol/rats"


def make(source: Source) -> Artefact:
    """Return macro F1 on each rat, left out of training and not."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("protocol/rats", "Across rats", runs=runs)
    cells = Cells(runs, ("recording.train", "recording.test"))
    have = set() if runs.empty else set(runs["recording.test"])
    artefact.missing = [f"tested on rat {rat}" for rat in mobilescapenet.RATS if f"[{rat}]" not in have]
    artefact.notes.append(
        "Simulated rats have nerves drawn independently; what carries over between real ones is not known here."
    )
    if runs.empty:
        return artefact
    metrics = ["test/macro_f1", "test/accuracy", "baseline/f1_chance"]
    table = cells.scores[["recording.test", *metrics]].rename(columns=lambda name: name.rpartition("/")[2])
    table["rat"] = table.pop("recording.test").str.strip("[]")
    known = source.runs(mobilescapenet.EXPERIMENT)
    if not known.empty and "recording.rat" in known:
        known = known[(known["model"] == "mobilescapenet") & known["recording.rat"].astype(str).isin(table["rat"])]
        own = Cells(known, ("model",)).scores
        if len(own):
            table["same_rat"] = table["rat"].map(own.set_index(own["recording.rat"].astype(str))["test/macro_f1"])
            artefact.runs = pd.concat([runs, known], ignore_index=True)
            artefact.notes.append(
                f"same_rat: trained on the rat itself, split at random, from the runs of {mobilescapenet.EXPERIMENT}."
            )
    table = table[["rat", *[name for name in table if name != "rat"]]]
    artefact.tables["rats"] = converged.counted(table, [behind(artefact.runs, rat) for rat in table["rat"]])
    drawn = pictures.figure("Macro F1 on a rat that was left out", 5.5, 3, artefact.simulated)
    axes = drawn.subplots()
    means = table.set_index("rat")[[name for name in ("macro_f1", "same_rat") if name in table]]
    means = means.rename(columns={"macro_f1": "trained on the others", "same_rat": "trained on itself"})
    means.index = pd.Index([f"rat {rat}" for rat in means.index])
    pictures.bars(axes, means, means * float("nan"))
    pictures.macro_f1(axes, table["f1_chance"].mean())
    pictures.legend(drawn)
    artefact.figures["rats"] = drawn
    return artefact


def behind(runs: pd.DataFrame, rat: str) -> pd.DataFrame:
    """Return the runs that were tested on a rat: trained on the others, and on itself."""
    tested = pd.Series(False, runs.index)
    for name in ("recording.test", "recording.rat"):
        if name in runs:
            tested |= runs[name].map(lambda value: same(str(value).strip("[]"), rat))
    return runs[tested]
