"""Table I of Gökdağ et al.: signal-to-noise ratio per rat and class."""

from __future__ import annotations

import pandas as pd

from .. import pictures, published
from ..artefact import Artefact
from ..cells import Source, per_recording
from ..mobilescapenet import CLASSES, EXPERIMENT, RATS


def make(source: Source) -> Artefact:
    """Return what the pipeline estimates, beside the table."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact(
        "mobilescapenet/snr", "Signal-to-noise ratio per rat and class (Table I)", runs=runs, trained=False
    )
    facts = published.read("mobilescapenet", "snr")
    scores = per_recording(runs)
    artefact.tables["snr"] = published.beside(scores, facts)
    if artefact.simulated:
        artefact.notes.append(
            "The simulated rats were given the ratios of the table; what is compared is the estimate of the same "
            "pipeline that prepares a real recording."
        )
    have = set(scores.get("recording.rat", []))
    artefact.missing = [f"rat {rat}" for rat in RATS if rat not in have]
    if not have:
        return artefact
    drawn = pictures.figure(artefact.title, 6.5, 3, artefact.simulated)
    axes = drawn.subplots()
    means = scores.set_index("recording.rat")[[f"data/snr_db_{name}" for name in CLASSES]]
    means.columns = pd.Index(CLASSES)
    means.index = pd.Index([f"rat {rat:g}" for rat in means.index])
    known = {
        (fact["condition"].replace("recording.rat=", "rat "), fact["metric"].removeprefix("data/snr_db_")): fact[
            "value"
        ]
        for fact in facts.to_dict("records")
    }
    pictures.bars(axes, means, means * float("nan"), known)
    axes.set_ylabel("dB")
    pictures.legend(drawn)
    artefact.figures["snr"] = drawn
    return artefact
