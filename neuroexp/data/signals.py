"""Operations on a signal (time, channel): filters, references, activity, nerve potentials, spike-triggered averages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, find_peaks, sosfilt, sosfiltfilt

Intervals = NDArray[np.int64]  # (interval, 2): first sample, and the one after the last


def stretches(n_samples: int, seams: Sequence[int]) -> Intervals:
    """Return the stretches of a signal between its `seams`, the samples that do not follow on from those before them."""
    edges = np.array([0, *(seam for seam in seams if seam < n_samples), n_samples], dtype=np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def clip(signal: NDArray[np.float32], limit_uv: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the signal (time, channel) limited to +-limit_uv, and the share of samples (channel,) beyond it."""
    if limit_uv <= 0:
        raise ValueError(f"clip_uv={limit_uv} must be positive")
    beyond = np.mean((signal > limit_uv) | (signal < -limit_uv), axis=0)
    return np.clip(signal, -limit_uv, limit_uv), beyond


def butterworth(rate_hz: float, low_hz: float, high_hz: float, order: int) -> NDArray[np.float64]:
    """Return a Butterworth band-pass as second-order sections; raises ValueError when band or order do not fit.

    `order` is that of the low-pass behind it, as SciPy and MATLAB count: the band-pass has twice as many poles, and run
    forwards and backwards it acts as one of four times as many. A paper's "order 6" may mean either: 3 has six poles.
    """
    if order < 1:
        raise ValueError(f"order={order} of a band-pass must be at least 1")
    if said := _misfit((low_hz, high_hz), rate_hz):
        raise ValueError(said)
    return np.asarray(butter(order, [low_hz, high_hz], btype="bandpass", fs=rate_hz, output="sos"))


def check_rate(
    name: str, found_hz: float, rate_hz: float, band_hz: Sequence[float] | None, key: str, counted: str
) -> None:
    """Raise ValueError where a recording has another sampling rate than is set, or its band does not fit it.

    The sentence names all that is to be typed: `key` sets the band, `counted` is what counts samples at that rate.
    """
    misfit = _misfit(band_hz, found_hz) if band_hz is not None else ""
    band = f"{key}={_fitting(band_hz, found_hz)}" if misfit and band_hz is not None else ""
    if found_hz != rate_hz:
        raise ValueError(
            f"{name}: sampled at {found_hz:g} Hz, but dataset.rate_hz is {rate_hz:g}; "
            f"set dataset.rate_hz={found_hz:g} to count {counted} in its samples"
            + (f", and {band} to filter it" if band else "")
        )
    if misfit:
        raise ValueError(f"{name}: {misfit}; set {band}")


def _misfit(band_hz: Sequence[float], rate_hz: float) -> str:
    """Return why a band cannot be filtered at a sampling rate, as the rest of a sentence; empty when it can."""
    low_hz, high_hz = band_hz
    if 0 < low_hz < high_hz < rate_hz / 2:
        return ""
    return f"a band-pass of {low_hz} to {high_hz} Hz does not fit a sampling rate of {rate_hz:g} Hz"


def _fitting(band_hz: Sequence[float], rate_hz: float) -> str:
    """Return the band as it is typed, its edges moved to where they fit a sampling rate: the upper to 0.9 of half of it."""
    low_hz, high_hz = band_hz
    high_hz = high_hz if 0 < high_hz < rate_hz / 2 else 0.45 * rate_hz
    low_hz = low_hz if 0 < low_hz < high_hz else 0.1 * high_hz
    return f"[{low_hz:g},{high_hz:g}]"


def bandpass(
    signal: NDArray[np.float32],
    rate_hz: float,
    low_hz: float,
    high_hz: float,
    order: int = 2,
    zero_phase: bool = True,
    seams: Sequence[int] = (),
) -> NDArray[np.float32]:
    """Return the signal (time, channel) after a Butterworth band-pass along time, forwards and backwards or causal.

    Each of its `stretches` is filtered alone. Raises ValueError when the band does not lie between 0 and half the sampling
    rate.
    """
    sections = butterworth(rate_hz, low_hz, high_hz, order)
    filtered = np.empty(signal.shape, dtype=np.float32)
    parts = stretches(len(signal), seams)

    def channel(number: int) -> None:
        for low, high in parts:
            part = signal[low:high, number]
            padding = min(6 * len(sections) + 3, len(part) - 1)  # SciPy's own, where the stretch is as long
            run = partial(sosfiltfilt, padlen=padding) if zero_phase else sosfilt
            filtered[low:high, number] = run(sections, part)

    # a channel at a time keeps the double-precision copies small; SciPy filters outside Python's lock
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(channel, range(signal.shape[1])))
    return filtered


def tripolar(signal: NDArray[np.float32], grid: NDArray[np.int64], per_contact: bool = False) -> NDArray[np.float32]:
    """Return the signal (time, channel) less what its cuff's outermost rings record: the noise that is common to all.

    `grid` (ring, contact) names the channels. The mean of both outer rings is taken from every channel, or with
    `per_contact` the mean of the two outer contacts of the same angular position (Struijk and Thomsen, 1995).
    """
    if len(grid) < 3:
        raise ValueError(f"a tripolar reference needs three rings, this cuff has {len(grid)}")
    outer = grid[[0, -1]]
    if not per_contact:
        return signal - channel_mean(signal, outer.ravel())[:, None]
    reference = (signal[:, outer[0]] + signal[:, outer[1]]) / 2  # (time, contact)
    referenced = np.empty_like(signal)
    for ring in grid:
        referenced[:, ring] = signal[:, ring] - reference
    return referenced


def channel_mean(signal: NDArray[np.float32], channels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean (time,) of some channels of the signal (time, channel).

    The channels are summed in their order: NumPy's own mean sums a single sample in another order than a whole recording,
    and a stream would differ from it in the last bit.
    """
    total = signal[:, channels[0]].copy()
    for channel in channels[1:]:
        total += signal[:, channel]
    return total / np.float32(len(channels))


def activity_intervals(
    signal: NDArray[np.float32],
    rate_hz: float,
    smooth_s: float,
    apart_s: float,
    prominence: float,
    level: float,
    seams: Sequence[int] = (),
) -> Intervals:
    """Return where the signal (time, channel) is active: around each peak of the moving average of its absolute value.

    The average runs over `smooth_s` and all channels. Peaks lie at least `apart_s` apart and stand out by `prominence` of
    the range between the average's 5th and 95th percentile; an interval reaches to where the average falls to `level` of
    the way from the quiet (10th percentile) to the peak. The average and the intervals end at a seam; activity that one
    cuts in its middle is two intervals.
    """
    size, active = max(1, round(smooth_s * rate_hz)), np.abs(signal).mean(axis=1, dtype=np.float64)
    parts = stretches(len(signal), seams)
    average = np.concatenate([uniform_filter1d(active[start:stop], size, mode="nearest") for start, stop in parts])
    low, quiet, high = np.quantile(average, [0.05, 0.1, 0.95])
    found: list[tuple[int, int]] = []
    for begin, end in parts.tolist():
        envelope = average[begin:end]
        cut = int(begin > 0), int(end < len(average))  # at a seam an average may be at its highest
        padded = np.pad(envelope, cut, constant_values=low)
        peaks, _ = find_peaks(padded, distance=max(1, apart_s * rate_hz), prominence=prominence * (high - low))
        for peak in peaks - cut[0]:
            below = envelope < quiet + level * (envelope[peak] - quiet)
            before, after = np.flatnonzero(below[:peak]), np.flatnonzero(below[peak:])
            start = begin + (int(before[-1]) + 1 if len(before) else 0)
            stop = begin + int(peak + after[0]) if len(after) else end
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(stop, found[-1][1]))
            else:
                found.append((start, stop))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def between(intervals: Intervals, n_samples: int, guard: int = 0, seams: Sequence[int] = ()) -> Intervals:
    """Return what lies outside `intervals`, cut at seams, and shortened by `guard` samples where it meets an interval."""
    found = []
    for low, high in stretches(n_samples, seams):
        inside = intervals[(intervals[:, 0] >= low) & (intervals[:, 1] <= high)]
        starts = np.concatenate([[low], inside[:, 1] + guard])
        stops = np.concatenate([inside[:, 0] - guard, [high]])
        found.append(np.stack([starts, stops], axis=1))
    outside = np.concatenate(found)
    return outside[outside[:, 1] > outside[:, 0]]


def snr_db(signal: NDArray[np.float32], on: Intervals, off: Intervals) -> float:
    """Return 10 log10 of the power inside `on` over that inside `off`, averaged over channels (the ENG paper's Sec. III)."""
    return float(10 * np.log10(np.mean(_power(signal, on) / _power(signal, off))))


def _power(signal: NDArray[np.float32], intervals: Intervals) -> NDArray[np.float64]:
    total = sum(np.einsum("tc,tc->c", part, part, dtype=np.float64) for part in (signal[a:b] for a, b in intervals))
    return np.asarray(total / np.sum(intervals[:, 1] - intervals[:, 0]))


def cap_thresholds(trace: NDArray[np.float32], low_sd: float, high_sd: float) -> tuple[float, float]:
    """Return two thresholds for the absolute value of `trace` (time,): its median plus that many standard deviations."""
    if not 0 <= low_sd < high_sd:
        raise ValueError(f"low_sd={low_sd} and high_sd={high_sd} must be rising thresholds of at least 0")
    median, spread = np.median(np.abs(trace)), trace.std()
    return float(median + low_sd * spread), float(median + high_sd * spread)


def detect_caps(
    trace: NDArray[np.float32],
    rate_hz: float,
    low_uv: float,
    high_uv: float,
    exclusion_ms: float,
    seams: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Return the samples at which the absolute value of `trace` (time,) peaks between two thresholds.

    Of peaks within `exclusion_ms` only the highest counts, and none does when that one is above the upper threshold: an
    artefact. No peak outdoes one behind a seam.
    """
    size, apart = np.abs(trace), max(1, exclusion_ms * rate_hz / 1000)
    parts = stretches(len(trace), seams)
    peaks = np.concatenate([low + find_peaks(size[low:high], height=low_uv, distance=apart)[0] for low, high in parts])
    return np.asarray(peaks[size[peaks] <= high_uv])


def spike_triggered_average(
    signal: NDArray[np.float32],
    train: NDArray[np.int64],
    lags: NDArray[np.int64],
    seen: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return the mean signal (lag, channel) around the discharges of `train`, in the signal's unit.

    Samples outside the signal or where `seen` (time,) is False take no part; a lag without any sample is zero.
    """
    average = np.zeros((len(lags), signal.shape[1]))
    for row, lag in enumerate(lags):
        samples = train + lag
        samples = samples[(samples >= 0) & (samples < len(signal))]
        if seen is not None:
            samples = samples[seen[samples]]
        if len(samples):
            average[row] = signal[samples].mean(axis=0, dtype=np.float64)
    return average


def muap_lags(
    signal: NDArray[np.float32],
    trains: Sequence[NDArray[np.int64]],
    max_lag: int,
    seen: NDArray[np.bool_] | None = None,
    min_discharges: int = 10,
) -> NDArray[np.int64]:
    """Return for each train the lag in samples, within +-max_lag, where its action potential has the most energy.

    The energy is that of the spike-triggered average, summed over channels. With `seen` (time,), only discharges and
    samples inside it are used: pass what the training windows cover, and the test part stays unseen. A train with fewer
    than `min_discharges` usable discharges keeps lag 0.
    """
    lags = np.arange(-max_lag, max_lag + 1)
    centred = signal - (signal if seen is None else signal[seen]).mean(axis=0)
    found = np.zeros(len(trains), dtype=np.int64)
    for unit, train in enumerate(trains):
        usable = train if seen is None else train[seen[train]]
        if len(usable) >= min_discharges:
            energy = np.sum(spike_triggered_average(centred, usable, lags, seen) ** 2, axis=1)
            found[unit] = lags[np.argmax(energy)]
    return found


def shift(trains: Sequence[NDArray[np.int64]], lags: NDArray[np.int64], n_samples: int) -> list[NDArray[np.int64]]:
    """Return the trains moved by their lags in samples; a discharge that leaves the signal is dropped."""
    moved = [train + lag for train, lag in zip(trains, lags, strict=True)]
    return [train[(train >= 0) & (train < n_samples)] for train in moved]


def discharge_rate_hz(
    trains: Sequence[NDArray[np.int64]], rate_hz: float, band_hz: tuple[float, float] = (3, 100)
) -> float:
    """Return the mean over units of each one's mean discharge rate, NaN when no unit has one.

    A unit's rate is one over its mean interval; intervals that are no steady discharge, of rates outside `band_hz` (the
    3 to 100 Hz of Ma et al.), such as between two contractions, take no part.
    """
    means = []
    for train in trains:
        intervals_s = np.diff(train) / rate_hz
        steady = intervals_s[(intervals_s >= 1 / band_hz[1]) & (intervals_s <= 1 / band_hz[0])]
        if len(steady):
            means.append(1 / steady.mean())
    return float(np.mean(means)) if means else float("nan")


def pulse_to_noise_db(source: NDArray[np.floating], discharges: NDArray[np.int64], max_lag: int = 0) -> float:
    """Return how far a motor unit's pulses stand out of its innervation pulse train (time,), in dB.

    Mean square at the discharges over that elsewhere (Holobar, Minetto and Farina, J Neural Eng 11, 2014), at the lag of up
    to `max_lag` samples at which the pulses are: exports may move discharges and train against one another.
    """
    power = np.asarray(source, dtype=np.float64) ** 2
    lags = range(-max_lag, max_lag + 1)
    places = [np.clip(discharges + lag, 0, len(power) - 1) for lag in lags]
    at = np.zeros(len(power), dtype=bool)
    at[max(places, key=lambda place: power[place].mean())] = True
    if at.all():
        return float("inf")
    with np.errstate(divide="ignore", invalid="ignore"):  # a train of nothing but pulses has no noise
        return float(10 * np.log10(power[at].mean() / power[~at].mean()))
