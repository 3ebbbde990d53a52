"""Where a stream's windows begin, known as soon as their last sample is there: at a step, or around the CAPs of a cuff."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.signals import channel_mean


class Steps:
    """Windows at a step, where `segments.window_starts` puts them: window n predicts sample n*step."""

    def __init__(self, window: int, step: int):
        """`window` and `step` in samples."""
        self.window, self.step, self.end = window, step, 0
        self.needed = -(-(window // 2) // step) * step - window // 2  # the next window begins here
        self.lost = 0  # windows that touch a gap

    def extend(self, values: NDArray[np.float32]) -> list[int]:
        """Take the next samples (time, channel), return the first samples of the windows that they complete."""
        self.end += len(values)
        low, self.needed = self.needed, self.needed + self.step * max(0, self._due())
        return list(range(low, self.needed, self.step))

    def _due(self) -> int:
        return (self.end - self.window - self.needed) // self.step + 1

    def flush(self) -> list[int]:
        """Return what the end of the samples completes: nothing, every window was complete before."""
        return []

    def begin(self, sample: int) -> int:
        """Count from `sample` on, return how many windows would have begun before it."""
        skipped = max(0, -(-(sample - self.needed) // self.step))
        self.end, self.needed = sample, self.needed + skipped * self.step
        return skipped

    def restart(self, sample: int) -> None:
        """Go on at `sample` after a gap; windows that touch it are lost."""
        self.lost += self.begin(sample)


class Caps:
    """Windows around the CAPs that `signals.detect_caps` finds in the mean of some channels.

    A peak is a CAP when no higher one lies within `exclusion_ms` on either side, which is known that long after it: the same
    CAPs as in the whole recording, at the price of a decision `exclusion_ms` after the peak (or half a window, if that is
    longer). Where several peaks follow one another, each higher than the last, the decision on the first waits for the last.
    """

    def __init__(
        self,
        window: int,
        channels: NDArray[np.int64],
        rate_hz: float,
        low_uv: float,
        high_uv: float,
        exclusion_ms: float,
    ):
        """The thresholds are for the absolute value of the mean of `channels`."""
        self.window, self.channels = window, channels
        self.low_uv, self.high_uv = low_uv, high_uv
        self.apart = math.ceil(max(1, exclusion_ms * rate_hz / 1000))
        self.lost = 0  # windows around CAPs that a gap cuts off
        self._gap = False
        self.begin(0)

    def begin(self, sample: int) -> None:
        """Count from `sample` on, which is no peak: nothing is known of what was before it."""
        self.end = self._origin = self._begin = sample
        self._tail = np.array([np.inf], dtype=np.float32)  # the two latest values that differ
        self._open: list[tuple[float, int]] = []  # peaks whose fate is not known: height, sample
        self._waiting: deque[int] = deque()  # first samples of windows around CAPs, in order of time

    def restart(self, sample: int) -> None:
        """Go on at `sample` after a gap; windows around CAPs that reach into it are lost."""
        self.lost += len(self._waiting)
        self._gap = True
        self.begin(sample)

    @property
    def needed(self) -> int:
        """The first sample that a window to come may have."""
        peaks = min((sample for _, sample in self._open), default=self._known())
        return min([peaks - self.window // 2, *list(self._waiting)[:1]])

    def extend(self, values: NDArray[np.float32]) -> list[int]:
        """Take the next samples (time, channel), return the first samples of the windows that they complete."""
        if not len(values):
            return []
        self._open += self._peaks(np.abs(channel_mean(values, self.channels)))
        self._decide(self._known())
        return self._complete()

    def flush(self) -> list[int]:
        """Decide at the end of the samples on what is open, return the first samples of the windows that are there."""
        self._decide(math.inf)
        return self._complete()

    def _known(self) -> int:
        """Return the sample from which on there may be peaks that are not known; a plateau may become one until it ends."""
        return self._begin if self._tail[-1] >= self.low_uv else self.end

    def _peaks(self, size: NDArray[np.float32]) -> list[tuple[float, int]]:
        """Return the local maxima above the lower threshold that end in these samples, a plateau at its middle."""
        piece = np.concatenate([self._tail, size])
        runs = np.flatnonzero(np.concatenate([[True], piece[1:] != piece[:-1]]))  # of equal values
        heights, first = piece[runs], runs + (self.end - len(self._tail))
        if len(self._tail) > 1:
            first[1] = self._begin
        inner = heights[1:-1]
        found = (
            np.flatnonzero((heights[:-2] < inner) & (inner > heights[2:]) & (inner.astype(float) >= self.low_uv)) + 1
        )
        self.end += len(size)
        self._tail, self._begin = heights[-2:], int(first[-1])
        return [(heights[run], int(first[run] + first[run + 1] - 1) // 2) for run in found]

    def _decide(self, known: float) -> None:
        """Settle which open peaks are CAPs, the highest first, of equal ones the later."""
        fates: dict[int, bool | None] = {}  # by sample
        caps = []
        for height, sample in sorted(self._open, reverse=True):
            higher = [fate for other, fate in fates.items() if abs(other - sample) < self.apart]
            if True in higher:
                fates[sample] = False
            elif None in higher or sample + self.apart > known:
                fates[sample] = None
            else:
                fates[sample] = True
                if height <= self.high_uv:  # else an artefact, which hides its neighbours all the same
                    caps.append(sample)
        self._open = [peak for peak in self._open if fates[peak[1]] is None]
        starts = [cap - self.window // 2 for cap in sorted(caps)]
        self._waiting.extend(start for start in starts if start >= self._origin)
        if self._gap:
            self.lost += sum(start < self._origin for start in starts)

    def _complete(self) -> list[int]:
        found = []
        while self._waiting and self._waiting[0] + self.window <= self.end:
            found.append(self._waiting.popleft())
        return found
