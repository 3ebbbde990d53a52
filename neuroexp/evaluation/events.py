"""From the probabilities of one window after another to events: discharges of motor units, or CAPs with their class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Event:
    """A discharge of a motor unit, or a CAP of a class."""

    output: int  # unit or class, from 0
    sample: int
    probability: float


class Discharges:
    """Joins a unit's positives in consecutive windows to one discharge.

    With label `step` a discharge is in one window, and more positives are windows that are not sure which: the event is at
    the most probable one (`peak`). With `window` or `centre` every window that holds the discharge is positive, about
    window/step of them, of which none is better than another, but the discharge is in the middle of them. Two discharges
    without a negative window between them are one event: nothing in the probabilities tells them apart.
    """

    def __init__(self, n_outputs: int, threshold: float, window: int, step: int, peak: bool):
        """A probability above `threshold` is positive; `window` and `step` in samples."""
        self.threshold, self.centre, self.step, self.peak = threshold, window // 2, step, peak
        self.last = 0  # first sample of the latest window
        self.opened = np.full(n_outputs, -1)  # first sample of an open event's first window
        self.best = np.zeros(n_outputs, dtype=np.float32)
        self.best_at = np.zeros(n_outputs, dtype=np.int64)

    def push(self, start: int, probabilities: NDArray[np.float32]) -> list[Event]:
        """Take the probabilities (unit,) of the window that begins at sample `start`, return the events that have ended."""
        ended = self.flush() if start != self.last + self.step else []  # a window is missing: nothing goes on across it
        positive = probabilities > self.threshold
        ended += self._close(~positive)
        better = positive & ((self.opened < 0) | (probabilities > self.best))
        self.opened[positive & (self.opened < 0)] = start
        self.best[better], self.best_at[better] = probabilities[better], start
        self.last = start
        return ended

    def flush(self) -> list[Event]:
        """Return the events that are open at the end of the stream."""
        return self._close(np.ones(len(self.opened), dtype=bool))

    def _close(self, which: NDArray[np.bool_]) -> list[Event]:
        units = np.flatnonzero(which & (self.opened >= 0))
        at = self.best_at if self.peak else (self.opened + self.last) // 2
        events = [Event(int(unit), int(at[unit]) + self.centre, float(self.best[unit])) for unit in units]
        self.opened[units] = -1
        return events


class Classes:
    """The class of each CAP: the most probable one."""

    def __init__(self, window: int):
        """A CAP is in the middle of its window of so many samples."""
        self.centre = window // 2

    def push(self, start: int, probabilities: NDArray[np.float32]) -> list[Event]:
        """Take the probabilities (class,) of the window that begins at sample `start`, return its event."""
        best = int(np.argmax(probabilities))
        return [Event(best, start + self.centre, float(probabilities[best]))]

    def flush(self) -> list[Event]:
        """Return nothing: no CAP is open."""
        return []
