"""Decomposed recordings: which motor units are good enough, and what looks wrong in them, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.recording import Recording, unit_numbers
from neuroexp.evaluation.matching import TOLERANCE_MS, agreement

SHARED = 0.3  # of the discharges of the unit with fewer, from which on two units are taken for one
MOST_LAG_MS = 10.0  # between two decompositions of one unit
FEWEST = 10  # discharges of a unit that is compared
REFRACTORY_MS = 5.0  # after a discharge, in which no second one is expected
SPREAD_UV = (1.0, 1e4)  # of the median channel: electrode noise alone is above, no muscle is beyond
SILENT_S = 2.0  # of activity without a discharge, from which on it is named
BIN_S = 0.25
ACTIVE = 0.5  # of the signal, and of the force, that there is when units discharge
MOST_NAMED = 8


def noticed(recording: Recording, typed_units: Sequence[int] = ()) -> Recording:
    """Return the recording with a note for each kind of oddity in it; `typed_units` were left out by the user already."""
    typed = set(typed_units)
    found = [_spread(recording), _shared(recording, typed), _close(recording, typed), _silent(recording)]
    said = [f"{recording.name}: {sentence}" for sentence in found if sentence]
    return replace(recording, notes=(*recording.notes, *said)) if said else recording


def enough_pnr(
    ratios: NDArray[Any] | Sequence[float], kept: NDArray[np.int64], least_db: float | None, name: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return which of the units `kept` have a pulse-to-noise ratio of at least `least_db`, and a note on the others.

    `ratios` are those of all units, NaN where it is not known; None leaves all in. Raises ValueError when no unit stays, or
    no ratio is known.
    """
    if least_db is None:
        return kept, ()
    if isinstance(least_db, bool) or not isinstance(least_db, int | float) or not np.isfinite(least_db):
        raise ValueError(f"recording.min_pnr_db={least_db} must be a number of decibels, such as 30, or null")
    known = np.asarray(ratios, dtype=np.float64)
    if not len(known):
        raise ValueError(
            f"{name}: recording.min_pnr_db={least_db:g} needs the pulse-to-noise ratio of each motor unit, and this file tells "
            "none that can be used; type recording.min_pnr_db=null"
        )
    with np.errstate(invalid="ignore"):
        enough = known[kept] >= least_db
    if not enough.any():
        highest = max((ratio for ratio in known[kept] if not np.isnan(ratio)), default=np.nan)
        raise ValueError(
            f"{name}: no motor unit reaches recording.min_pnr_db={least_db:g}, the highest ratio is {highest:.1f} dB"
        )
    if enough.all():
        return kept, ()
    out = [f"{unit + 1} ({known[unit]:.1f} dB)" for unit in kept[~enough]]
    which = f"motor unit{'s' * (len(out) > 1)} {', '.join(out)} {'are' if len(out) > 1 else 'is'}"
    return kept[enough], (f"{name}: {which} left out: below recording.min_pnr_db={least_db:g}",)


def listed(words: Sequence[str]) -> str:
    """Return words as they stand in a sentence: of very many the first."""
    shown = list(words[:MOST_NAMED])
    if len(words) > MOST_NAMED:
        shown.append(f"{len(words) - MOST_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _spread(recording: Recording) -> str:
    """Return the sentence that the signal cannot be in microvolts, if it cannot."""
    spread = float(np.median(recording.signal.std(axis=0, dtype=np.float64)))
    low, high = SPREAD_UV
    if not np.isfinite(spread) or low <= spread <= high:  # broken channels may be allowed
        return ""
    advice = "volts take recording.scale_uv=1e6, millivolts recording.scale_uv=1000"
    if spread > high:
        advice = "nanovolts take recording.scale_uv=0.001, a converter's counts the microvolts of one count"
    return (
        f"its channels have a standard deviation of {spread:.2g}, which is not that of a muscle in microvolts; {advice}"
    )


def _shared(recording: Recording, typed: set[int]) -> str:
    """Return the sentence that pairs of units share their discharges, and what leaves one of each out."""
    trains, numbers = recording.spike_trains, unit_numbers(recording)
    within, most = TOLERANCE_MS * recording.rate_hz / 1000, round(MOST_LAG_MS * recording.rate_hz / 1000)
    said: list[str] = []
    out: set[int] = set()
    for one, other in combinations(range(len(trains)), 2):
        fewer = min(len(trains[one]), len(trains[other]))
        if fewer < FEWEST:
            continue
        share = agreement(trains[one], trains[other], within, most).matched / fewer
        if share >= SHARED:
            said.append(f"{numbers[one]} and {numbers[other]} ({share:.0%})")
            if not out & {one, other}:
                out.add(_worse(recording, one, other))
    if not said:
        return ""
    discard = _discard(typed | {int(numbers[unit]) for unit in out})
    return (
        f"motor units {listed(said)} share their discharges, so that each pair may be one unit that counts twice; "
        f"{discard} leaves one of each out"
    )


def _worse(recording: Recording, one: int, other: int) -> int:
    """Return which of two units to leave out: of lower pulse-to-noise ratio where it is known, else of fewer discharges."""
    trains, pnr_db = recording.spike_trains, recording.pnr_db
    known = len(pnr_db) == len(trains)
    quality = [(pnr_db[unit] if known else 0.0, len(trains[unit])) for unit in (one, other)]
    return one if quality[0] < quality[1] else other


def _close(recording: Recording, typed: set[int]) -> str:
    """Return the sentence that discharges of a unit follow on another within its refractory time."""
    least = REFRACTORY_MS * recording.rate_hz / 1000
    counts = [int(np.sum(np.diff(train) < least)) for train in recording.spike_trains]
    numbers = unit_numbers(recording)
    units = [unit for unit, count in enumerate(counts) if count]
    if not units:
        return ""
    said = listed([f"{numbers[unit]} ({counts[unit]} times)" for unit in units])
    discard = _discard(typed | {int(numbers[unit]) for unit in units})
    which = f"motor unit{'s' * (len(units) > 1)} {said} {'discharge' if len(units) > 1 else 'discharges'}"
    return (
        f"{which} again within {REFRACTORY_MS:g} ms, where nearly no motor unit can: each such pulse is a label of its own; "
        f"correct the decomposition, or leave {'them' if len(units) > 1 else 'it'} out with {discard}"
    )


def _silent(recording: Recording) -> str:
    """Return the sentence that the muscle is active for long stretches in which no unit discharges.

    Where a force is there, it must be up as well. One that is not counted from rest decides nothing, nor one that falls.
    """
    size = max(1, round(BIN_S * recording.rate_hz))
    count = len(recording.signal) // size
    trains = [train for train in recording.spike_trains if len(train)]
    if not trains or count < SILENT_S / BIN_S:
        return ""
    labelled = np.bincount(np.concatenate(trains) // size, minlength=count)[:count] > 0
    if not labelled.any():
        return ""
    spread = _effort(recording.signal, size, count)
    active = ~labelled & (spread >= ACTIVE * np.median(spread[labelled]))
    if recording.force is not None:
        force = recording.force[: count * size].reshape(count, size).mean(axis=1, dtype=np.float64)
        active &= force >= ACTIVE * np.median(force[labelled])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    stretches = [(a * BIN_S, b * BIN_S) for a, b in edges.reshape(-1, 2) if (b - a) * BIN_S >= SILENT_S]
    if not stretches:
        return ""
    said = listed([f"{a:.1f} to {b:.1f} s" for a, b in stretches])
    return (
        f"the muscle is as active as elsewhere from {said}, and no motor unit discharges; if nobody decomposed that time, its "
        "labels are wrong: give a file of the time that was decomposed alone"
    )


def _effort(signal: NDArray[np.float32], size: int, count: int) -> NDArray[np.float64]:
    """Return for each bin the standard deviation within it, of the median channel."""
    bins = (signal[low * size : (low + 1) * size] for low in range(count))
    return np.array([np.median(part.std(axis=0)) for part in bins], dtype=np.float64)


def _discard(numbers: set[int]) -> str:
    return f"recording.discard_units=[{','.join(map(str, sorted(numbers)))}]"
