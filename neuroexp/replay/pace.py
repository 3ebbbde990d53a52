"""Chunks in, decisions out, each in its time: the loop of a replay, with its deadlines and latencies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroexp.data.signals import stretches
from neuroexp.deploy.decoder import Spec
from neuroexp.deploy.engines import Predict
from neuroexp.evaluation.events import Classes, Discharges, Event
from neuroexp.streams.stream import Stream, Window

BEHIND = 20  # deadlines by which a decision may be late before its window is dropped, so that a replay catches up
WARM_UP = 5  # predictions before the first chunk, which pay for what a process does once
EDGES_MS = np.logspace(-3, 5, 801)  # of the latency histogram: each bin 2.3 % wider than the one before


class Latencies:
    """Latencies counted in a histogram, whose size does not grow: quantiles are within 2.3 %, the maximum is exact."""

    def __init__(self) -> None:
        """Begin with none."""
        self.counts = np.zeros(len(EDGES_MS) + 1, dtype=np.int64)
        self.max_ms = self.latest_ms = 0.0

    def add(self, latency_ms: float) -> None:
        """Count one."""
        self.counts[np.searchsorted(EDGES_MS, latency_ms)] += 1
        self.max_ms, self.latest_ms = max(self.max_ms, latency_ms), latency_ms

    def quantile_ms(self, share: float) -> float:
        """Return the upper edge of the bin below which `share` of the latencies lie; NaN when there are none."""
        total = self.counts.sum()
        if not total:
            return float("nan")
        place = int(np.searchsorted(np.cumsum(self.counts), share * total))
        return min(self.max_ms, float(EDGES_MS[min(place, len(EDGES_MS) - 1)]))


class Tally:
    """What a replay counts, over all its recordings."""

    def __init__(self, deadline_ms: float):
        """A decision is due `deadline_ms` after its window's last sample."""
        self.deadline_ms = deadline_ms
        self.latencies = Latencies()
        self.decided = self.missed = self.dropped = self.samples = 0
        self.highest = 0.0  # probability
        self.recent: deque[Event] = deque(maxlen=4096)  # for a live view


class Decoding:
    """One stream decoded: windows to the engine, probabilities to events, one window at a time."""

    def __init__(
        self,
        spec: Spec,
        engine: Predict,
        tally: Tally,
        decided: Callable[[Window, NDArray[np.float32]], Any] | None = None,
    ):
        """`decided` hears of every window with its probabilities."""
        self.engine, self.tally, self.decided = engine, tally, decided
        self.stream = Stream(spec)
        self.events: Discharges | Classes = Classes(spec.window)
        if spec.step:
            peak = spec.label == "step"
            self.events = Discharges(len(spec.outputs), spec.threshold, spec.window, spec.step, peak)
        for _ in range(WARM_UP):
            engine(np.zeros((1, spec.n_channels, spec.window), dtype=np.float32))

    def push(self, chunk: ArrayLike, first: int | None = None, arrived: float | None = None) -> list[Event]:
        """Take samples (time, channel), see `Stream.push`, return the events that have ended.

        `arrived` is when, by `time.perf_counter`, the chunk was there; without it a window counts as there when the one
        before it is decided, and its latency is what deciding takes.
        """
        found = self._decide(self.stream.push(chunk, first), arrived)
        self.tally.samples = self.stream.position or 0
        return found

    def finish(self) -> list[Event]:
        """Return the events that the end of the stream closes."""
        found = self._decide(self.stream.flush(), None)
        last = self.events.flush()
        self.tally.recent.extend(last)
        return found + last

    def _decide(self, windows: Iterator[Window], arrived: float | None) -> list[Event]:
        found: list[Event] = []
        began = time.perf_counter() if arrived is None else arrived
        for window in windows:
            if 1000 * (time.perf_counter() - began) > BEHIND * self.tally.deadline_ms and arrived is not None:
                self.tally.dropped += 1
                continue
            probabilities = self.engine(window.values[None])[0]
            found += self.events.push(window.start, probabilities)
            now = time.perf_counter()
            latency_ms = 1000 * (now - began)
            self.tally.latencies.add(latency_ms)
            self.tally.decided += 1
            self.tally.highest = max(self.tally.highest, float(probabilities.max()))
            self.tally.missed += latency_ms > self.tally.deadline_ms
            if self.decided is not None:
                self.decided(window, probabilities)
            if arrived is None:
                began = time.perf_counter()
        self.tally.recent.extend(found)
        return found


def chunks(
    signal: NDArray[np.float32],
    size: int,
    rate_hz: float,
    real_time: bool,
    seams: Sequence[int] = (),
    part: Callable[[int], None] = lambda seam: None,
) -> Iterator[tuple[NDArray[np.float32], int, float | None]]:
    """Yield a signal (time, channel) in chunks: samples, number of the first, and when it arrived by the clock.

    In real time a chunk is there when its last sample would be, whether or not anyone is ready for it. A chunk ends at a
    seam of the signal, and `part` hears of it before the next one comes.
    """
    began = time.perf_counter()
    for low, high in stretches(len(signal), seams).tolist():
        if low:
            part(low)
        for first in range(low, high, size):
            chunk = signal[first : min(first + size, high)]
            due = None
            if real_time:
                due = began + (first + len(chunk)) / rate_hz
                time.sleep(max(0.0, due - time.perf_counter()))
            yield chunk, first, due
