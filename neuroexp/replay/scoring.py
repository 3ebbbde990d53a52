"""How much of what a replay found is right, in the part that the run was tested on and in the whole recording."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroexp import scores
from neuroexp.decoder import Spec
from neuroexp.replay import matching
from neuroexp.replay.table import rows

Trains = Sequence[NDArray[np.int64]]
TESTED, WHOLE = "test part", "whole recording"  # the parts that are scored, the first one where a run says what it is


def unit_scores(true: Trains, found: Trains, spec: Spec, tested: NDArray[np.bool_] | None) -> dict[str, Any]:
    """Return by part (see `TESTED`) the agreement of each unit and its mean over units; `tested` (time,) is the test part."""
    parts = {WHOLE: _agreement(true, found, spec)}
    if tested is None or not tested.any():
        return parts
    expected, late = ([train[tested[train]] for train in trains] for trains in (true, found))
    return {TESTED: _agreement(expected, late, spec)} | parts


def _agreement(true: Trains, found: Trains, spec: Spec) -> dict[str, Any]:
    assert spec.step is not None
    within, words = matching.tolerance(spec.rate_hz, spec.step)
    max_lag = round(matching.MAX_LAG_MS * spec.rate_hz / 1000)
    units = []
    for number, (expected, train) in enumerate(zip(true, found, strict=True), start=1):
        agreed = matching.agreement(expected, train, within, max_lag)
        units.append(
            {"unit": number, "rate_of_agreement": agreed.rate, "sensitivity": agreed.sensitivity}
            | {"precision": agreed.precision, "matched": agreed.matched, "only_true": agreed.only_true}
            | {"only_found": agreed.only_found, "lag_ms": 1000 * agreed.lag / spec.rate_hz}
        )
    kinds = ("rate_of_agreement", "sensitivity", "precision")
    scored = [unit for unit in units if unit["matched"] + unit["only_true"]]  # as in the run's own scores
    values = {kind: np.nan_to_num([unit[kind] for unit in scored]) for kind in kinds}
    means = {kind: float(np.mean(values[kind])) if scored else math.nan for kind in kinds}
    return {"tolerance": words, "max_lag_ms": matching.MAX_LAG_MS, **means, "scored": len(scored), "units": units}


def class_scores(path: Path, spec: Spec, tested: Mapping[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """Return by part (see `TESTED`) how the CAPs of a table were decided; `tested` is the test part (time,) by recording."""
    counts = {part: np.zeros((len(spec.outputs), len(spec.outputs)), dtype=np.int64) for part in (TESTED, WHOLE)}
    for row in rows(path):
        name = row["recording"]
        place = spec.outputs.index(name), spec.outputs.index(row["class"])
        counts[WHOLE][place] += 1
        counts[TESTED][place] += name in tested and bool(tested[name][int(row["sample"])])
    return {part: _decided(confusion) for part, confusion in counts.items() if part == WHOLE or confusion.any()}


def _decided(confusion: NDArray[np.int64]) -> dict[str, Any]:
    """Return accuracy and mean F1 over the classes that are there, beside a confusion (class of recording, class decided)."""
    f1 = scores.f1(scores.counts_of(torch.from_numpy(confusion)))
    accuracy = float(confusion.trace() / confusion.sum()) if confusion.any() else math.nan
    return {"confusion": confusion.tolist(), "accuracy": accuracy, "macro_f1": float(f1.nanmean())}
