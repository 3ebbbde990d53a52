"""How the exported forms of a decoder compare with the network that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroexp.deploy import engines, restore


@dataclass(frozen=True)
class Exported:
    """One form of a decoder, and how it compares with the network that was trained."""

    form: str  # trained, or the engine that ran it
    size_kb: float
    score: float  # on the test windows
    largest: float  # difference of a probability there, from the trained network's
    agree: float  # share of decisions that are the same
    positive: int  # decisions


def compare(back: restore.Trained, files: Mapping[str, Path]) -> list[Exported]:
    """Return score and differences of the exported forms on the test windows, the trained network first, engine by engine."""
    test = back.fold.split.test
    windows = restore.microvolts(back.fold, test).numpy()
    original = back.probabilities
    weights_kb = sum(p.numel() * p.element_size() for p in back.decoder.parameters()) / 1000
    decisions = restore.decisions(back.spec, original)
    table = [Exported("trained", weights_kb, restore.score(back, original), 0.0, 1.0, int(decisions.sum()))]
    for name in (engine for engine in engines.there() if engines.form(engine) in files):
        found = predict(engines.build(name, back.decoder, files), windows)
        decided = restore.decisions(back.spec, found)
        same, largest = float(np.mean(decided == decisions)), float(np.abs(found - original).max())
        size_kb = files[engines.form(name)].stat().st_size / 1000
        table.append(Exported(name, size_kb, restore.score(back, found), largest, same, int(decided.sum())))
    return table


def predict(engine: engines.Predict, windows: NDArray[np.float32], batch: int = 256) -> NDArray[np.float32]:
    """Return the probabilities (window, output) of windows (window, channel, time), so many at a time."""
    return np.concatenate([engine(windows[low : low + batch]) for low in range(0, len(windows), batch)])
