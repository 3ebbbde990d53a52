"""How long one prediction of one window takes with an engine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroexp.deploy.engines import Predict

WARM_UP = 20  # predictions before the clock runs


@dataclass(frozen=True)
class Latency:
    """What one prediction of one window takes, in milliseconds."""

    engine: str
    threads: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    predictions: int
    largest: float = math.nan  # difference of a probability from the trained network's


def clock(
    name: str, threads: int, engine: Predict, windows: NDArray[np.float32], seconds: float, predictions: int = WARM_UP
) -> Latency:
    """Return the quantiles of predictions of single windows, measured for so many seconds and `predictions` at least."""
    singles = [np.ascontiguousarray(windows[number : number + 1]) for number in range(len(windows))]
    for number in range(WARM_UP):
        engine(singles[number % len(singles)])
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(taken) < predictions:
        window = singles[len(taken) % len(singles)]
        began = time.perf_counter()
        engine(window)
        taken.append(time.perf_counter() - began)
    p50, p99 = 1000 * np.quantile(taken, [0.5, 0.99])
    return Latency(name, threads, float(p50), float(p99), 1000 * max(taken), len(taken))
