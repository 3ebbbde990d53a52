"""Table 1 of Ma et al.: motor units per recording, and how far their pulses stand out."""

from __future__ import annotations

from experiments import published
from experiments.artefact import Artefact, main
from experiments.cells import Source, per_recording
from experiments.mldrsnet import EXPERIMENT


def make(source: Source) -> Artefact:
    """Return the number of labelled motor units per intensity."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("mldrsnet/motor_units", "Motor units and pulse-to-noise ratio (Table 1)", runs=runs)
    artefact.tables["motor_units"] = published.beside(per_recording(runs), published.read("mldrsnet", "motor_units"))
    if artefact.simulated:
        artefact.notes.append(
            "A simulated recording has as many labelled units as recording.units asks for, its strongest; its discharges are "
            "known, nothing was decomposed, so there is no pulse-to-noise ratio."
        )
    return artefact


if __name__ == "__main__":
    main(make)
