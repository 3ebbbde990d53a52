"""Scores of binary predictions per motor unit or class, from counts summed over a whole epoch and divided once."""

from __future__ import annotations

from torch import Tensor, nan, stack


def counts(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return (3, unit) int64: true positives, false positives and false negatives of boolean (window, unit) tensors."""
    true = (predicted & labels).sum(dim=0)
    return stack([true, predicted.sum(dim=0) - true, labels.sum(dim=0) - true])


def counts_of(confusion: Tensor) -> Tensor:
    """Return (3, class) true positives, false positives and false negatives of a confusion (true class, predicted class)."""
    true = confusion.diagonal()
    return stack([true, confusion.sum(dim=0) - true, confusion.sum(dim=1) - true])


def precision(tally: Tensor) -> Tensor:
    """Return TP / (TP + FP) per unit (Eq. 5 of ML-DRSNet); 0 where nothing was predicted, NaN where nothing could be found."""
    true, false_positive, false_negative = tally.double()
    ratio = true / (true + false_positive).clamp(min=1)
    return ratio.masked_fill(true + false_negative == 0, nan)


def sensitivity(tally: Tensor) -> Tensor:
    """Return TP / (TP + FN) per unit (Eq. 6); NaN for a unit without a discharge."""
    true, _, false_negative = tally.double()
    return true / (true + false_negative)


def f1(tally: Tensor) -> Tensor:
    """Return 2 TP / (2 TP + FP + FN) per unit (Eq. 7); NaN for a unit without a discharge."""
    true, false_positive, false_negative = tally.double()
    ratio = 2 * true / (2 * true + false_positive + false_negative)
    return ratio.masked_fill(true + false_negative == 0, nan)


def miss_rate(tally: Tensor) -> Tensor:
    """Return FN / (TP + FN) per unit (Eq. 8); NaN for a unit without a discharge."""
    true, _, false_negative = tally.double()
    return false_negative / (
        true + false_negative
    )  # exact where 1 - sensitivity would round across the 0.1 of `identified`


def identified(tally: Tensor, largest_miss_rate: float = 0.1) -> Tensor:
    """Return which units (unit,) count as correctly identified: those that miss less than a tenth of their discharges."""
    return miss_rate(tally) < largest_miss_rate


def count(found: Tensor, scorable: Tensor) -> float:
    """Return how many of the units (unit,) that can be scored were found; NaN when none can be."""
    return float((found & scorable).sum()) if scorable.any() else nan


def share(found: Tensor, scorable: Tensor) -> float:
    """Return which share of the units (unit,) that can be scored were found; NaN when none can be."""
    return count(found, scorable) / max(int(scorable.sum()), 1)


def f1_all_positive(rate: Tensor) -> Tensor:
    """Return the F1 of a predictor that always says discharge, at positive rates (unit,) of the test labels."""
    return 2 * rate / (1 + rate)


def f1_chance(rate: Tensor, predicted_rate: Tensor) -> Tensor:
    """Return the expected F1 of a predictor that says discharge at random, `predicted_rate` (unit,) of the time."""
    return 2 * rate * predicted_rate / (rate + predicted_rate).clamp(min=1e-12)


def mean_and_spread(values: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 1; NaN for one value) over the units that are not NaN; NaN for none."""
    values = values[~values.isnan()]
    if not len(values):
        return nan, nan
    return float(values.mean()), float(values.std()) if len(values) > 1 else nan
