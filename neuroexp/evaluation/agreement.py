"""How far the spike trains of a decoder agree with the true ones, unit by unit, and how far perfect labels would."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroexp.evaluation import matching
from neuroexp.evaluation.events import Discharges
from neuroexp.evaluation.matching import Agreement, Train

GOOD, FAIR = 0.9, 0.5  # rates of agreement at which the field counts a unit


@dataclass(frozen=True)
class Steps:
    """How the windows of a decoder follow one another: window and step in samples, and where in it a discharge is.

    `peak`: a discharge is at the most probable of the consecutive windows that are positive (label `step`), else in the
    middle of them.
    """

    window: int
    step: int
    rate_hz: float
    peak: bool

    @property
    def within(self) -> float:
        """The tolerance in samples with which discharges are matched."""
        return matching.tolerance(self.rate_hz, self.step)[0]

    def trains(self, starts: NDArray[np.int64], probabilities: ArrayLike, threshold: float = 0.5) -> list[Train]:
        """Return the spike train of each unit from the probabilities (window, unit) of the windows that begin at `starts`.

        `starts` increase. Labels are probabilities too: theirs is the best that any decoder can say.
        """
        values = np.asarray(probabilities, dtype=np.float32)
        events = Discharges(values.shape[1], threshold, self.window, self.step, self.peak)
        ended = [event for start, row in zip(starts.tolist(), values, strict=True) for event in events.push(start, row)]
        ended += events.flush()
        return [
            np.array(sorted(e.sample for e in ended if e.output == unit), dtype=np.int64)
            for unit in range(values.shape[1])
        ]

    def decided(self, starts: NDArray[np.int64], n_samples: int) -> NDArray[np.bool_]:
        """Return which samples (time,) the windows decide on: the step around the centre of each."""
        places = starts[:, None] + self.window // 2 - self.step // 2 + np.arange(self.step)
        part = np.zeros(n_samples, dtype=bool)
        part[places[(places >= 0) & (places < n_samples)]] = True
        return part


def compare(
    true: Sequence[Train], found: Sequence[Train], within: float, part: NDArray[np.bool_] | None = None
) -> list[Agreement]:
    """Match the trains of each unit as they stand, no lag removed; with `part` (time,) those of its samples alone."""
    if part is not None:
        true, found = ([inside(train, part) for train in trains] for trains in (true, found))
    return [matching.agreement(*pair, within=within, max_lag=0) for pair in zip(true, found, strict=True)]


def inside(train: Train, part: NDArray[np.bool_]) -> Train:
    """Return the discharges that lie in a part (time,) of a recording."""
    train = train[(train >= 0) & (train < len(part))]
    return train[part[train]]


def rates(units: Sequence[Agreement]) -> NDArray[np.float64]:
    """Return the rate of agreement of each unit; NaN for one that does not discharge, which nobody can score."""
    return np.array([unit.rate if unit.matched + unit.only_true else math.nan for unit in units])
