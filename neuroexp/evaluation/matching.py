"""Spike trains scored as the decomposition field does: events matched one to one, discharges after removing the best lag."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Train = NDArray[np.int64]  # increasing samples
TOLERANCE_MS = 0.5  # either way, as between two decompositions of one recording
MAX_LAG_MS = 20.0  # either way, as dataset.max_lag_ms


@dataclass(frozen=True)
class Agreement:
    """How far two spike trains are one."""

    matched: int
    only_true: int
    only_found: int
    lag: int  # samples by which the found train comes late

    @property
    def rate(self) -> float:
        """Rate of agreement: the matched discharges over all; NaN when there are none."""
        return _share(self.matched, self.matched + self.only_true + self.only_found)

    @property
    def sensitivity(self) -> float:
        """Share of the true discharges that were found."""
        return _share(self.matched, self.matched + self.only_true)

    @property
    def precision(self) -> float:
        """Share of the found discharges that are true."""
        return _share(self.matched, self.matched + self.only_found)


def tolerance(rate_hz: float, step: int) -> tuple[float, str]:
    """Return the tolerance in samples, and in words: ±0.5 ms where decisions are that fine, else ±half a step."""
    fine, coarse = TOLERANCE_MS * rate_hz / 1000, step / 2
    chosen = max(fine, coarse)
    ms = 1000 * chosen / rate_hz
    return chosen, f"±{ms:.3g} ms" + (f", half a step of {step} samples" if coarse > fine else "")


def pairs(true: Train, found: Train, within: float) -> list[tuple[int, int]]:
    """Return a largest set of pairs (index in `true`, index in `found`) at most `within` samples apart, each used once.

    The earliest free partner is always a right one to take, since all pairs have the same reach.
    """
    chosen, place = [], 0
    for number, sample in enumerate(true.tolist()):
        while place < len(found) and found[place] < sample - within:
            place += 1
        if place < len(found) and found[place] <= sample + within:
            chosen.append((number, place))
            place += 1
    return chosen


def agreement(true: Train, found: Train, within: float, max_lag: int) -> Agreement:
    """Compare two trains at the lag within ±`max_lag` samples that matches most of them, of equal ones the smallest."""
    best = (-1, 0)
    lags, bounds = _coincidences(true, found, within, max_lag)
    for place in np.lexsort((lags, np.abs(lags), -bounds)):
        if bounds[place] < best[0]:
            break  # no lag from here on can match more
        lag = int(lags[place])
        count = len(pairs(true, found - lag, within)) if bounds[place] else 0
        if (count, -abs(lag)) > (best[0], -abs(best[1])):
            best = (count, lag)
    matched, lag = best
    return Agreement(matched, len(true) - matched, len(found) - matched, lag)


def _coincidences(true: Train, found: Train, within: float, max_lag: int) -> tuple[Train, Train]:
    """Return all lags and, for each, how many pairs are within reach: never fewer than can be matched."""
    reach = max_lag + within
    first, last = np.searchsorted(found, true - reach), np.searchsorted(found, true + reach, side="right")
    distances = np.sort(
        np.concatenate([true[:0], *(found[a:b] - t for t, a, b in zip(true, first, last, strict=True))])
    )
    lags = np.arange(-max_lag, max_lag + 1)
    low, high = np.searchsorted(distances, lags - within), np.searchsorted(distances, lags + within, side="right")
    return lags, high - low


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
