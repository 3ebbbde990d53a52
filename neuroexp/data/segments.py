"""Where windows start, what their labels are, which samples they cover, and how much two parts of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Trains = Sequence[Indices]
Label = Callable[[Trains, Indices, int, int], NDArray[np.float32]]


def window_starts(n_samples: int, window: int, step: int) -> Indices:
    """Return the first sample of every window that fits: window n predicts sample n*step from `window` samples around it.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    window, step : int
        Samples in a window, and between two windows.

    Returns
    -------
    array of int64, (window,)

    Raises
    ------
    ValueError
        When the window is longer than the recording.
    """
    if window > n_samples:
        raise ValueError(f"window={window} is longer than the recording ({n_samples} samples)")
    first = -(-(window // 2) // step)  # the first n whose window starts inside the signal
    last = (n_samples - window + window // 2) // step
    return np.arange(first, last + 1, dtype=np.int64) * step - window // 2


def _discharges_within(trains: Trains, low: Indices, high: Indices) -> NDArray[np.float32]:
    """Return (window, unit) 0/1, whether the unit discharges in [low, high)."""
    counts = [np.searchsorted(train, high) > np.searchsorted(train, low) for train in trains]
    return np.stack(counts, axis=1).astype(np.float32)


def label_step(trains: Trains, starts: Indices, window: int, step: int) -> NDArray[np.float32]:
    """Label the discharges in the step around each window's centre: each discharge counts once.

    Parameters
    ----------
    trains : sequence of arrays of int64
        The samples at which each motor unit discharges, increasing.
    starts : array of int64, (window,)
        The first sample of each window.
    window, step : int
        Samples in a window, and between two windows.

    Returns
    -------
    array of float32, (window, unit)
        1 where the unit discharges, else 0.
    """
    low = starts + window // 2 - step // 2
    return _discharges_within(trains, low, low + step)


def label_window(trains: Trains, starts: Indices, window: int, step: int) -> NDArray[np.float32]:
    """Label the discharges anywhere in the window; the positive rate grows with the window.

    Parameters and result are those of `label_step`.
    """
    return _discharges_within(trains, starts, starts + window)


def label_centre(trains: Trains, starts: Indices, window: int, step: int, tolerance: int) -> NDArray[np.float32]:
    """Label the discharges within +-`tolerance` samples of the window's centre.

    Parameters and result are otherwise those of `label_step`.
    """
    if tolerance < 0:
        raise ValueError(f"label.tolerance={tolerance} samples is negative")
    centres = starts + window // 2
    return _discharges_within(trains, centres - tolerance, centres + tolerance + 1)


def outside_window(labels: NDArray[np.float32], trains: Trains, starts: Indices, window: int) -> float:
    """Return the share of positive labels (window, unit) whose window shows no discharge of the unit; NaN without positives.

    With label `step` it is what lies in a step but not in the window, which is shorter: nothing there can be seen.
    """
    positive = labels > 0
    unseen = positive & (_discharges_within(trains, starts, starts + window) == 0)
    return float(unseen.sum() / positive.sum()) if positive.any() else float("nan")


def in_no_window(trains: Trains, starts: Indices, window: int, n_samples: int) -> float:
    """Return the share of the discharges that lie between windows, where no decoder sees them; NaN without discharges.

    What lies before the first window or behind the last one is not counted.
    """
    covered = coverage(n_samples, starts, window) > 0
    discharges = np.concatenate(list(trains))
    discharges = discharges[(discharges >= starts[0]) & (discharges < starts[-1] + window)]
    return float(np.mean(~covered[discharges])) if len(discharges) else float("nan")


def coverage(n_samples: int, starts: Indices, window: int) -> Indices:
    """Return how many of the windows cover each sample (time,)."""
    change = np.zeros(n_samples + 1, dtype=np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + window, -1)
    return np.cumsum(change[:-1])


def overlap_audit(n_samples: int, starts: Indices, window: int, train: Indices, test: Indices) -> tuple[float, float]:
    """Return how much of the test part was seen in training.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    starts : array of int64, (window,)
        The first sample of each window.
    window : int
        Samples in a window.
    train, test : array of int64
        Indices of the windows that train and test.

    Returns
    -------
    overlapping : float
        The share of the test windows that overlap a training window.
    samples_seen : float
        The mean share of a test window's samples that training windows cover.
    """
    seen = np.concatenate([[0], np.cumsum(coverage(n_samples, starts[train], window) > 0)])
    samples_seen = seen[starts[test] + window] - seen[starts[test]]
    return float(np.mean(samples_seen > 0)), float(np.mean(samples_seen) / window)
