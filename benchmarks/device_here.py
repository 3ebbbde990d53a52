"""Where a section measures, how large, on which simulated recording, and what it yields: variants to be measured in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from benchmarks.device_record import Record
from neuroexp.data import segments, splits
from neuroexp.data.fold import Fold
from neuroexp.datasets.hdsemg import hdsemg
from neuroexp.recordings import hdsemg_simulated

RATE_HZ = 2048


DATA = "a simulated minute of 64 channels and 15 motor units, a window every 10 samples"
LITTLE = (
    "without a GPU everything is small: 12 simulated seconds of 8 channels and 4 motor units, a window every 50 samples"
)


@dataclass(frozen=True)
class Here:
    """The device that is measured; without a GPU everything is small: a short recording, small batches, moments."""

    device: torch.device
    record: Record

    @property
    def small(self) -> bool:
        """Whether there is no GPU."""
        return self.device.type != "cuda"

    @property
    def about_s(self) -> float:
        """How long a figure is measured."""
        return 0.1 if self.small else 2.0

    @property
    def windows(self) -> tuple[int, int]:
        """The shortest and the longest window of the papers, in samples."""
        return (20, 40) if self.small else (20, 140)

    def fold(self, window: int, number: int = 0) -> Fold:
        """Return a fold of the simulated recording, on the device."""
        return _fold(self.device, window, number)

    def peak_mb(self) -> float | None:
        """Return the most memory that the card's tensors have taken since the last question; None without a card."""
        if self.small:
            return None
        peak = torch.cuda.max_memory_allocated() / 1e6
        torch.cuda.reset_peak_memory_stats()
        return peak


@dataclass(frozen=True)
class Variant:
    """One row of a section: what tells it apart, and what measures its figures."""

    names: dict[str, Any]
    measure: Callable[[], dict[str, Any]]
    needs_s: float = 3.0  # it does not begin with less time left
    most_s: float = 60.0  # after which it is ended


def simulated(small: bool, window: int, number: int = 0) -> Fold:
    """Return a fold of what `DATA` says, or of what `LITTLE` says."""
    duration_s, units, step = (12, 4, 50) if small else (60, 15, 10)
    recording = hdsemg_simulated.read(duration_s=duration_s, units=units)
    if small:
        recording = replace(recording, signal=np.ascontiguousarray(recording.signal[:, :8]), grid=None)
    blocked = partial(splits.blocked, seed=0, block_s=1.0, shortest_block_s=0.4)
    label = segments.label_step
    return hdsemg(recording, window, step, number, 0, label, blocked, RATE_HZ, None, True, False, 20, 64)


@lru_cache(maxsize=16)
def _fold(device: torch.device, window: int, number: int) -> Fold:
    fold = simulated(device.type != "cuda", window, number)
    fold.signal, fold.starts, fold.labels = (part.to(device) for part in (fold.signal, fold.starts, fold.labels))
    return fold
