"""Which part of a recording DEMUSE decomposed: its interval, in seconds or samples, beside where the pulses lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroexp.matlab.matfile import MatFile

FEW = 0.01  # of the pulses, below which those outside the interval look like mistakes
SLACK_S = 1.0  # by which an interval may reach beyond the recording: programs round


def decomposed_part(
    file: MatFile, crop: bool | None, n_samples: int, rate_hz: float, trains: Sequence[NDArray[np.int64]]
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Return the first sample and the end of what to keep, None for all, and a note where nobody has typed which."""
    if crop is not None:
        return _interval(file, n_samples, rate_hz) if crop else None, ()
    said = [file.get(key) for key in ("startSIGInt", "stopSIGInt")]
    if all(isinstance(value, np.ndarray) and not value.size for value in said):
        return None, ()
    samples = np.concatenate([*trains, np.empty(0, np.int64)])
    try:
        low, high = _interval(file, n_samples, rate_hz)
    except ValueError as error:
        stretch = _in_samples(file, n_samples, rate_hz, samples)
        if stretch is None:
            return None, (f"{error}; the whole recording is used",)
        low, high = stretch
    outside = int(np.sum((samples < low - 1) | (samples > high)))  # a pulse may lie on either edge
    if not len(samples) or high - low >= n_samples - 1:
        return None, ()
    if outside:
        return None, _astray(file.stem, outside, len(samples), (low / rate_hz, high / rate_hz, n_samples / rate_hz))
    low, high = min(low, int(samples.min())), max(high, int(samples.max()) + 1)
    note = (
        f"{file.stem}: only {low / rate_hz:g} to {high / rate_hz:g} s of {n_samples / rate_hz:g} s are used, startSIGInt to "
        "stopSIGInt, for all pulses lie there and nobody decomposed the rest; recording.crop=false uses all"
    )
    return (max(low, 0), min(high, n_samples)), (note,)


def _astray(name: str, outside: int, count: int, seconds: tuple[float, float, float]) -> tuple[str, ...]:
    """Return a note where nearly all pulses lie in the interval, or none does: either is seldom meant."""
    low_s, high_s, end_s = seconds
    if FEW * count < outside < count:
        return ()
    which = f"{outside} of {count} pulses lie{'s' * (outside == 1)}" if outside < count else "all pulses lie"
    advice = f"recording.crop=true keeps {low_s:g} to {high_s:g} s alone"
    if outside == count:
        advice = "if they count from the start of that interval, they have to be moved"
    return (f"{name}: {which} outside startSIGInt to stopSIGInt, so that all {end_s:g} s are used; {advice}",)


def _interval(file: MatFile, n_samples: int, rate_hz: float) -> tuple[int, int]:
    seconds = [file.number(key) for key in ("startSIGInt", "stopSIGInt")]
    low, high = (float(np.round(second * rate_hz)) for second in seconds)
    slack = SLACK_S * rate_hz
    if not (-slack <= low < high <= n_samples + slack and low < n_samples and high > 0):
        raise ValueError(
            f"{file.name}: startSIGInt to stopSIGInt is {seconds[0]:g} to {seconds[1]:g} s of {n_samples / rate_hz:g} s"
        )
    return max(int(low), 0), min(int(high), n_samples)


def _in_samples(file: MatFile, n_samples: int, rate_hz: float, samples: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the interval where it counts samples instead of seconds: it is a second at least, and all pulses lie in it."""
    try:
        low, high = (file.number(key) for key in ("startSIGInt", "stopSIGInt"))
    except ValueError:
        return None
    whole = low >= 0 and low + rate_hz <= high <= n_samples and low == round(low) and high == round(high)
    inside = len(samples) and low - 1 <= samples.min() and samples.max() <= high
    return (int(low), int(high)) if whole and inside else None
