"""Can windows at rest tell the recordings of the classes apart? A small probe, and what it scores where nothing can."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.cuff import GRID, Signatures
from neuroexp.data.splits import Split

Array = NDArray[np.float64]

SHRINKAGE = 0.1  # of the covariance of the features, towards one without correlations
PERMUTATIONS = 999
BLOCK = 256  # windows whose features are computed at once, and deals that are scored at once


def scores(rest: Signatures, split: Split) -> dict[str, float]:
    """Return what a probe that learns the windows at rest of the training part scores on those of the test part.

    `balanced_accuracy` is the mean over classes of the share of windows that lie nearest to the mean of their own class,
    after whitening; `null_95` is what it reaches in 95 of 100 cases when gaps between stimuli are dealt to the classes at
    random, whole gaps within the part that they are in, and the probe learns again; `p_value` is the share of such deals
    that score as much. Windows of one gap are no independent observations, gaps are.
    """
    z = _whitened(features(rest.windows), split.train)
    gap = rest.stimulus if rest.stimulus is not None else np.arange(len(rest.label))
    gaps, first, of = np.unique(gap, return_index=True, return_inverse=True)
    deals = _deals(rest.label[first], gaps, gap, split)
    scored = [
        _balanced_accuracy(z, of, deals[low : low + BLOCK], split, len(rest.classes))
        for low in range(0, len(deals), BLOCK)
    ]
    found = np.concatenate(scored)
    observed, null = found[0], found[1:]
    return {
        "balanced_accuracy": float(observed),
        "null_95": float(np.nanquantile(null, 0.95)),
        "p_value": float((1 + np.sum(null >= observed)) / (1 + len(null))),
    }


def features(windows: NDArray[np.float32]) -> Array:
    """Return what tells electrodes apart (window, feature), of windows (window, time, channel).

    They are the logarithm of each channel's power, where a gain shows, and Fisher's z of the correlations of neighbours
    around and along the cuff, where a lost balance of the reference shows.
    """
    around = np.stack([GRID, np.roll(GRID, -1, axis=1)], axis=-1).reshape(-1, 2)
    along = np.stack([GRID[:-1], GRID[1:]], axis=-1).reshape(-1, 2)
    first, second = np.concatenate([around, along]).T
    parts = []
    for low in range(0, len(windows), BLOCK):
        part = windows[low : low + BLOCK].astype(np.float64)
        part -= part.mean(axis=1, keepdims=True)
        power = np.maximum(np.mean(part**2, axis=1), 1e-12)
        common = np.mean(part[:, :, first] * part[:, :, second], axis=1)
        correlation = common / np.sqrt(power[:, first] * power[:, second])
        parts.append(np.concatenate([np.log(power), np.arctanh(np.clip(correlation, -0.999, 0.999))], axis=1))
    return np.concatenate(parts)


def _whitened(found: Array, train: NDArray[np.int64]) -> Array:
    """Return features without scale and correlations in the training part; no label takes part in this."""
    seen = found[train]
    spread = seen.std(axis=0)
    z = (found - seen.mean(axis=0)) / np.where(spread > 0, spread, 1)
    covariance = (1 - SHRINKAGE) * np.cov(z[train].T, bias=True) + SHRINKAGE * np.eye(z.shape[1])
    return np.asarray(np.linalg.solve(np.linalg.cholesky(covariance), z.T).T)


def _deals(
    label: NDArray[np.int64], gaps: NDArray[np.int64], gap: NDArray[np.int64], split: Split
) -> NDArray[np.int64]:
    """Return classes (1 + PERMUTATIONS, gap): the true ones, then those dealt anew among the gaps of the same parts."""
    within = np.isin(gaps, gap[split.train]) + 2 * np.isin(gaps, gap[split.test])  # a random split has gaps in both
    dealt = np.tile(label, (1 + PERMUTATIONS, 1))
    rng = np.random.default_rng(0)
    for part in np.unique(within):
        places = np.flatnonzero(within == part)
        dealt[1:, places] = rng.permuted(dealt[1:, places], axis=1)
    return dealt


def _balanced_accuracy(
    z: Array, of: NDArray[np.int64], deals: NDArray[np.int64], split: Split, n_classes: int
) -> Array:
    """Return the balanced accuracy (deal,) of the nearest class mean; `of` (window,) is the gap of each window."""
    n_gaps = deals.shape[1]
    sums = np.zeros((n_gaps, z.shape[1]))
    np.add.at(sums, of[split.train], z[split.train])
    classes = np.arange(n_classes)[:, None]
    taught = (deals[:, None] == classes).astype(np.float64)  # (deal, class, gap)
    counts = (taught @ np.bincount(of[split.train], minlength=n_gaps))[:, :, None]
    means = taught @ sums / np.maximum(counts, 1)  # (deal, class, feature)
    nearness = means @ z[split.test].T - 0.5 * np.sum(means**2, axis=2, keepdims=True)
    nearness = np.where(counts > 0, nearness, -np.inf)
    labels = deals[:, of[split.test]]
    true = labels[:, None] == classes
    right = true & (nearness.argmax(axis=1) == labels)[:, None]
    asked = true.sum(axis=2)
    shares = np.where(
        asked > 0, right.sum(axis=2) / np.maximum(asked, 1), np.nan
    )  # a deal may test no window of a class
    return np.asarray(np.nanmean(shares, axis=1))
