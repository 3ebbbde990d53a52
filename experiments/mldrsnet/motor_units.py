"""Table 1 of Ma et al.: motor units per recording, and how far their pulses stand out."""

from __future__ import annotations

import pandas as pd

from .. import published
from ..artefact import Artefact
from ..cells import Source, per_recording
from ..mldrsnet import EXPERIMENT

RATE, MVC = "data/discharge_rate_hz", "recording.mvc"


def make(source: Source) -> Artefact:
    """Return the number of labelled motor units and their discharge frequency per intensity."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact(
        "mldrsnet/motor_units",
        "Motor units, pulse-to-noise ratio and discharge frequency (Table 1)",
        runs=runs,
        trained=False,
    )
    scores = per_recording(runs)
    artefact.tables["motor_units"] = published.beside(scores, published.read("mldrsnet", "motor_units"))
    if RATE in scores:
        levels = {f"{level:g} % MVC": part for level, part in scores.groupby(MVC)} if MVC in scores else {}
        rows = [
            {"recordings": name, "discharge_hz": part[RATE].mean(), "discharge_hz_sd": part[RATE].std(), "n": len(part)}
            for name, part in ({"all": scores} | levels).items()
        ]
        artefact.tables["discharge_frequency"] = pd.DataFrame(rows)
        artefact.notes.append(
            "discharge_hz: mean over units of one over the mean interval, of those of 3 to 100 Hz; the paper's values stand "
            "in its Table 1, which was not available to us."
        )
    if artefact.simulated:
        artefact.notes.append(
            "A simulated recording has as many labelled units as recording.units asks for, its strongest; its discharges are "
            "known, nothing was decomposed, so there is no pulse-to-noise ratio."
        )
    return artefact
