"""Operations on a signal (time, channel): filters, spike-triggered averages and the alignment of spike trains to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt


def bandpass(
    signal: NDArray[np.float32], rate_hz: float, low_hz: float, high_hz: float, order: int = 2
) -> NDArray[np.float32]:
    """Return the signal (time, channel) after a zero-phase Butterworth band-pass along time.

    Raises ValueError when the band does not lie between 0 and half the sampling rate.
    """
    if not 0 < low_hz < high_hz < rate_hz / 2:
        raise ValueError(f"a band-pass of {low_hz} to {high_hz} Hz does not fit a sampling rate of {rate_hz:g} Hz")
    sections = butter(order, [low_hz, high_hz], btype="bandpass", fs=rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, signal, axis=0), dtype=np.float32)


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
