"""`Recording`: what every reader and simulator returns, and the checks that each one passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_broken_allowed: ContextVar[bool] = ContextVar("broken_allowed", default=False)


@contextmanager
def broken_allowed() -> Iterator[None]:
    """Let recordings have channels that are flat or not finite: a replayed stream survives and reports them."""
    before = _broken_allowed.set(True)
    try:
        yield
    finally:
        _broken_allowed.reset(before)


@dataclass(frozen=True, eq=False)
class Recording:
    """One multichannel recording with what is known of its motor units.

    Channels and motor units are numbered from 1, as in the file, wherever a sentence names one.

    Parameters
    ----------
    name : str
        How tables and figures call it.
    signal : array of float32, (time, channel)
        Microvolts.
    rate_hz : float
        Sampling rate in hertz.
    sha256 : str
        Of the source file, or of the settings of a simulator: recordings are known again by it.
    grid : array of int64, (row, column), optional
        The channel of each electrode, -1 where there is none; rows along the fibres.
    spike_trains : tuple of arrays of int64
        Increasing samples, counted from 0, at which each motor unit discharges.
    force : array of float32, (time,), optional
        In `force_unit`.
    pnr_db : tuple of float
        Pulse-to-noise ratio of each motor unit in dB, where a decomposition says so.
    simulated : bool
        Whether a simulator made it; every table and figure says so then.
    remedy : str
        What to do about broken channels, such as "leave {} out with recording.discard_channels"; `=[numbers]` follows.
    discarded_channels, discarded_units : tuple of int
        Numbers of what the file has and this recording has not.
    filled_channels : tuple of int
        Numbers of the channels that are made of their neighbours.
    force_unit : str
        `% MVC` where it is percent of the maximum voluntary contraction; empty where nobody says.
    notes : tuple of str
        What a user must know of how it was read, a sentence each that names the recording.
    seams : tuple of int
        Increasing samples at which time is missing: none follows on from the one before.

    Raises
    ------
    ValueError
        When a value is not finite or a channel is flat (but see `broken_allowed`), the grid does not fit the channels, or a
        discharge lies outside the signal.
    """

    name: str
    signal: NDArray[np.float32]
    rate_hz: float
    sha256: str
    grid: NDArray[np.int64] | None = None
    spike_trains: tuple[NDArray[np.int64], ...] = ()
    force: NDArray[np.float32] | None = None
    pnr_db: tuple[float, ...] = ()
    simulated: bool = False
    remedy: str = "leave {} out with recording.discard_channels"
    discarded_channels: tuple[int, ...] = ()
    discarded_units: tuple[int, ...] = ()
    filled_channels: tuple[int, ...] = ()
    force_unit: str = ""
    notes: tuple[str, ...] = ()
    seams: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        signal = self.signal
        if signal.ndim != 2 or signal.dtype != np.float32:
            raise ValueError(
                f"{self.name}: the signal is {signal.dtype} of shape {signal.shape}, not float32 (time, channel)"
            )
        if not np.isfinite(self.rate_hz) or self.rate_hz <= 0:
            raise ValueError(f"{self.name}: the sampling rate is {self.rate_hz} Hz, it must be positive")
        if len(signal) < 2:
            raise ValueError(f"{self.name}: the signal has {len(signal)} samples, there is nothing to decode")
        if np.any(np.diff([0, *self.seams, len(signal)]) <= 0):
            raise ValueError(f"{self.name}: its seams do not increase within its {len(signal)} samples")
        if not _broken_allowed.get():
            self._check_channels()
        if self.grid is not None and sorted(self.grid[self.grid >= 0]) != list(range(signal.shape[1])):
            raise ValueError(f"{self.name}: the grid does not name each of the {signal.shape[1]} channels once")
        for place, train in enumerate(self.spike_trains):
            if len(train) and (train[0] < 0 or train[-1] >= len(signal)):
                outside = train[0] if train[0] < 0 else train[-1]
                said = f"has a discharge at sample {outside}, outside 0 to {len(signal) - 1}"
                raise ValueError(self.without_units([place], (said, said)))
            if np.any(np.diff(train) <= 0):
                said = "has discharges that do not increase, or one that is there twice"
                raise ValueError(self.without_units([place], (said, said)))
        if self.force is not None:
            self._check_force(self.force)
        for array in (signal, self.force, *self.spike_trains):
            if array is not None:
                array.setflags(write=False)

    def _check_channels(self) -> None:
        low, high = self.signal.min(axis=0), self.signal.max(axis=0)  # NaN and infinity both show in the extremes
        holed = ~np.isfinite(low) | ~np.isfinite(high)
        numbers = _kept(len(low), self.discarded_channels)
        if holed.all():
            gone = where(np.all(~np.isfinite(self.signal), axis=1), self.rate_hz)
            if gone:
                raise ValueError(f"{self.name}: in {gone} no channel is finite; give a file without that time")
        if holed.any():
            sample = int(np.argmin(np.isfinite(self.signal[:, np.argmax(holed)])))
            words = f"not finite, first at sample {sample} (counted from 0)"
            raise ValueError(self.without_channels(numbers[holed].tolist(), (f"is {words}", f"are {words}")))
        flat = low == high
        if flat.all():
            raise ValueError(f"{self.name}: every channel is flat, so there is no signal in it")
        if flat.any():
            raise ValueError(self.without_channels(numbers[flat].tolist(), ("is flat", "are flat")))

    def _check_force(self, force: NDArray[np.float32]) -> None:
        if force.dtype.kind != "f":
            raise ValueError(f"{self.name}: the force is {force.dtype}, not float32 (time,)")
        if force.shape != (len(self.signal),):
            raise ValueError(f"{self.name}: the force has {len(force)} samples, the signal {len(self.signal)}")
        if not np.isfinite(force).all():
            sample = int(np.argmin(np.isfinite(force)))
            raise ValueError(
                f"{self.name}: the force is not finite, first at sample {sample} (counted from 0); "
                "read the recording without it with recording.force=false"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.signal) / self.rate_hz

    def without_channels(self, numbers: Sequence[int], verbs: tuple[str, str]) -> str:
        """Return the sentence that channels are broken, `verbs` of one and of several, and what to type."""
        return self._without("channel", numbers, verbs, self.remedy, {*self.discarded_channels, *self.filled_channels})

    def without_units(self, places: Sequence[int], verbs: tuple[str, str]) -> str:
        """Return the sentence that motor units, counted from 0 among the trains, cannot be used, and what to type."""
        numbers = _kept(len(self.spike_trains), self.discarded_units)[list(places)].tolist()
        remedy = "leave {} out with recording.discard_units"
        return self._without("motor unit", numbers, verbs, remedy, set(self.discarded_units))

    def _without(self, kind: str, numbers: Sequence[int], verbs: tuple[str, str], remedy: str, before: set[int]) -> str:
        several = len(numbers) > 1
        which = f"{kind}{'s' * several} {','.join(map(str, numbers))} {verbs[several]}"
        setting = ",".join(map(str, sorted(before.union(numbers))))  # all of it, for a setting replaces the one before
        return f"{self.name}: {which}; {remedy.format('them' if several else 'it')}=[{setting}]"

    def with_spike_trains(self, spike_trains: Sequence[NDArray[np.int64]]) -> Recording:
        """Return the same recording with other spike trains."""
        return replace(self, spike_trains=tuple(spike_trains))


def where(samples: NDArray[Any], rate_hz: float) -> str:
    """Return in words which of `samples` (time,) are set, such as "the last 300 samples (from 9.854 s on)"; empty for none."""
    found = np.flatnonzero(samples)
    if not len(found):
        return ""
    count, first, end = len(found), int(found[0]), int(found[-1]) + 1
    which, whole = f"{count:,} sample{'s' * (count > 1)}", end - first == count
    if count == len(samples):
        return "all samples"
    if whole and first == 0:
        return f"the first {which} (to {end / rate_hz:.3f} s)"
    if whole and end == len(samples):
        return f"the last {which} (from {first / rate_hz:.3f} s on)"
    return f"{which} (between {first / rate_hz:.3f} and {end / rate_hz:.3f} s)"


def keep(count: int, discard: Sequence[int], what: str, name: str) -> NDArray[np.int64]:
    """Return the 0-based indices that stay when the 1-based numbers in `discard` are left out of `count`.

    Raises ValueError when a number is not there or when nothing stays; `what` ("channel") and `name` go into the sentence.
    """
    absent = [number for number in discard if not 1 <= number <= count]
    if absent:
        raise ValueError(f"{name}: there is no {what} {absent[0]} to discard, they are numbered 1 to {count}")
    kept = np.setdiff1d(np.arange(count), np.asarray(discard, dtype=np.int64) - 1)
    if not len(kept):
        raise ValueError(f"{name}: discarding all {count} {what}s leaves nothing")
    return kept


def without_channels(grid: NDArray[np.int64], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the grid (row, column) renumbered after only the channels `kept` stay; the others become -1."""
    renumbered = np.full(max(int(grid.max()), int(kept.max())) + 2, -1)
    renumbered[kept] = np.arange(len(kept))
    return renumbered[grid]  # index -1 is the extra last place, which stays -1


def check_ranges(settings: Sequence[tuple[str, float, float, float]]) -> None:
    """Raise ValueError for the first (name, value, low, high) whose value is outside low to high."""
    for name, value, low, high in settings:
        if not low <= value <= high:
            raise ValueError(f"recording.{name}={value} is outside {low:g} to {high:g}")


def unit_numbers(recording: Recording) -> NDArray[np.int64]:
    """Return the number in its file, from 1, of each motor unit that a recording has."""
    return _kept(len(recording.spike_trains), recording.discarded_units)


def _kept(count: int, discarded: Sequence[int]) -> NDArray[np.int64]:
    """Return the numbers in their file, from 1, of `count` channels or units that stay when some are discarded."""
    return np.setdiff1d(np.arange(1, count + len(set(discarded)) + 1), np.asarray(discarded, dtype=np.int64))
