"""How much of what a replay found is right, in the part that the run was tested on and in the whole recording."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroexp.data import segments
from neuroexp.deploy.decoder import Spec
from neuroexp.evaluation import agreement, matching, scores
from neuroexp.evaluation.agreement import Steps
from neuroexp.replay.table import rows

Trains = Sequence[NDArray[np.int64]]
LAG = f"after the lag that fits each unit best in what the run was trained on, within ±{matching.MAX_LAG_MS:g} ms"
NO_LAG = "with no lag removed: which part of it the run was trained on is not known"
TESTED, WHOLE = "test part", "whole recording"  # the parts that are scored, the first one where a run says what it is


@dataclass(frozen=True)
class Truth:
    """What is known of the motor units of a recording."""

    trains: Trains
    ceiling: Trains | None = None  # what perfect labels come to, through the same events; None where they are not known
    tested: NDArray[np.bool_] | None = None  # the samples (time,) that the run was tested on
    trained: NDArray[np.bool_] | None = None  # and those that it was trained on


def steps_of(spec: Spec) -> Steps:
    """Return how the windows of a decoder of motor units follow one another."""
    assert spec.step is not None
    return Steps(spec.window, spec.step, spec.rate_hz, spec.label == "step")


def ceiling(true: Trains, label: segments.Label | None, spec: Spec, samples: int) -> Trains | None:
    """Return the spike trains that perfect labels of a recording of so many samples come to, where its label is known."""
    if label is None or samples < spec.window:
        return None
    steps = steps_of(spec)
    starts = segments.window_starts(samples, steps.window, steps.step)
    return steps.trains(starts, label(true, starts, steps.window, steps.step))


def unit_scores(truth: Truth, found: Trains, spec: Spec) -> dict[str, Any]:
    """Return by part (see `TESTED`) the agreement of each unit and its mean over units, and what perfect labels would reach.

    A unit's lag is the one at which it matches best in what the run was trained on; without such a part none is removed.
    """
    assert spec.step is not None
    within, words = matching.tolerance(spec.rate_hz, spec.step)
    max_lag = round(matching.MAX_LAG_MS * spec.rate_hz / 1000)
    lags, lag = [0] * len(found), NO_LAG
    if truth.trained is not None and truth.trained.any():
        seen, early = ([agreement.inside(train, truth.trained) for train in trains] for trains in (truth.trains, found))
        lags = [matching.agreement(*pair, within, max_lag).lag for pair in zip(seen, early, strict=True)]
        lag = LAG
    moved = [train - lag for train, lag in zip(found, lags, strict=True)]
    parts: dict[str, NDArray[np.bool_] | None] = {WHOLE: None}
    if truth.tested is not None and truth.tested.any():
        parts = {TESTED: truth.tested, **parts}
    said = {"tolerance": words, "lag": lag}
    lags_ms = [1000 * lag / spec.rate_hz for lag in lags]
    return {name: said | _agreement(truth, moved, within, part, lags_ms) for name, part in parts.items()}


def _agreement(
    truth: Truth, found: Trains, within: float, part: NDArray[np.bool_] | None, lags_ms: Sequence[float]
) -> dict[str, Any]:
    agreed = agreement.compare(truth.trains, found, within, part)
    ceilings = [math.nan] * len(agreed)
    if truth.ceiling is not None:
        ceilings = agreement.rates(agreement.compare(truth.trains, truth.ceiling, within, part)).tolist()
    units = [
        {"unit": number, "rate_of_agreement": unit.rate, "ceiling": ceiling, "sensitivity": unit.sensitivity}
        | {"precision": unit.precision, "matched": unit.matched, "only_true": unit.only_true}
        | {"only_found": unit.only_found, "lag_ms": lag_ms}
        for number, (unit, ceiling, lag_ms) in enumerate(zip(agreed, ceilings, lags_ms, strict=True), start=1)
    ]
    scored = [unit for unit in units if unit["matched"] + unit["only_true"]]  # as in the run's own scores
    kinds = ("rate_of_agreement", "sensitivity", "precision")
    values = {kind: np.nan_to_num([unit[kind] for unit in scored]) for kind in kinds}
    values["ceiling"] = np.array([unit["ceiling"] for unit in scored])
    means = {kind: float(np.mean(values[kind])) if scored else math.nan for kind in values}
    counts = {
        f"{name}_{kind}": _count(values[rate], least)
        for name, least in (("roa_90", agreement.GOOD), ("roa_50", agreement.FAIR))
        for kind, rate in (("units", "rate_of_agreement"), ("ceiling", "ceiling"))
    }
    unscored = [unit["unit"] for unit in units if unit not in scored]
    return {**means, **counts, "scored": len(scored), "unscored": unscored, "units": units}


def _count(values: NDArray[np.float64], least: float) -> int | None:
    """Return how many units reach a rate; None where that is not known of any."""
    return int(np.sum(values >= least)) if len(values) and not np.isnan(values).all() else None


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
