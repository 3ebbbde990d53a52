"""Whether a training had converged: early stopping ended it, or its lowest validation loss came before its last epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

CONVERGED = "train/converged"  # 1 or 0, of a run
MARK = "†"  # beside the scores of a run that had not
LAST = 0.1  # share of the epochs in which a lowest loss says that it was still falling
LOSS = "val/loss"


def converged(history: Sequence[Mapping[str, float]], stopped: bool) -> float:
    """Return 1 or 0 for the epochs of a training, a row of scores each; NaN when no loss was ever measured.

    `stopped`: early stopping ended it for want of progress. Epochs behind the last whose loss is a number do not count: a
    training that breaks while its loss falls had not converged.
    """
    if stopped:
        return 1.0
    losses = [row.get(LOSS, math.nan) for row in history]
    known = [number for number, loss in enumerate(losses) if math.isfinite(loss)]
    if not known:
        return math.nan
    return _before_the_last(min(known, key=losses.__getitem__) + 1, known[-1] + 1)


def recorded(scores: Mapping[str, float], max_epochs: float | None, monitor: str) -> float:
    """Return what the scores of a finished run say: 1, 0, or NaN when they do not.

    Runs of earlier versions did not record it, but how many epochs they had and which of them was tested: the one with the
    best `monitor`.
    """
    if CONVERGED in scores and math.isfinite(scores[CONVERGED]):
        return scores[CONVERGED]
    epochs, best = scores.get("time/epochs", math.nan), scores.get("selected/epoch", math.nan)
    if math.isfinite(epochs) and (max_epochs is None or max_epochs < 0 or epochs < max_epochs):
        return 1.0
    if monitor != LOSS or not math.isfinite(epochs + best):
        return math.nan
    return _before_the_last(best, epochs)


def known(scores: Mapping[str, float], trainer: Mapping[str, Any]) -> dict[str, float]:
    """Return `recorded` as a score, for a run with these settings of trainer; empty when it is not known."""
    best = (trainer.get("callbacks") or {}).get("best") or {}
    value = recorded(scores, trainer.get("max_epochs"), str(best.get("monitor")))
    return {} if math.isnan(value) else {CONVERGED: value}


def mark(scores: Mapping[str, float]) -> str:
    """Return what to write beside the name of a run with these scores."""
    return MARK if scores.get(CONVERGED) == 0 else ""


def _before_the_last(best: float, epochs: float) -> float:
    """Return 1 when epoch `best`, counted from 1, is not among the last tenth of `epochs`, else 0."""
    return float(best <= epochs - math.ceil(LAST * epochs))
