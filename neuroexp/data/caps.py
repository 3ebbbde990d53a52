"""Which peaks of the middle ring are CAPs: thresholds that the training stimuli set, and how well they find the true ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroexp.data import signals
from neuroexp.data.cuff import Candidates, Signatures
from neuroexp.data.splits import Split
from neuroexp.evaluation.matching import pairs

Indices = NDArray[np.int64]

MATCH_S = 0.5e-3  # within which a detected CAP is a true one
POOLED, PER_CLASS, ALL = "pooled", "class", "all"


def select(
    recording: Signatures, split: Split, low_sd: float, high_sd: float, thresholds: str
) -> tuple[Signatures, Split]:
    """Return the candidates whose peaks lie between two thresholds, with facts on them, and the split of what is left.

    The thresholds are the median of the middle ring's absolute value plus so many standard deviations, over the stimuli
    that training windows come from: one pair for all classes (`pooled`), or one for each
    (`class`), which tells a class by how it was cut. A recording whose CAPs were chosen elsewhere stays as it is. Raises
    ValueError when a class has no CAP, or the training or test part none of it, or the validation
    part none at all.
    """
    candidates, stimulus = recording.candidates, recording.stimulus
    if candidates is None or stimulus is None:
        return recording, split
    seen = np.unique(stimulus[split.train])
    limits = _limits(candidates, seen, len(recording.classes), low_sd, high_sd, thresholds)
    chosen, kept = _chosen(recording, limits, thresholds)
    words = f"lies between low_sd={low_sd:g} and high_sd={high_sd:g} standard deviations"
    _check(recording, kept, np.arange(len(kept)), f"no CAP {words} during a stimulus (dataset.preprocessing)")
    for part in ("train", "validation", "test"):
        if part != "validation" or not kept[split.validation].any():  # which scores no class by itself
            why = f"no CAP of the {part} part {words} of the stimuli that train (dataset.preprocessing)"
            _check(recording, kept, getattr(split, part), why)
    place = np.cumsum(kept) - 1
    left = Split(*(place[part[kept[part]]] for part in (split.train, split.validation, split.test)))
    return chosen, left


def _chosen(
    recording: Signatures, limits: NDArray[np.float64], thresholds: str
) -> tuple[Signatures, NDArray[np.bool_]]:
    """Return the candidates between the limits (class, 2) of their class, with facts on them, and which they are."""
    candidates, stimulus = recording.candidates, recording.stimulus
    assert candidates is not None
    assert stimulus is not None
    low, high = limits[recording.label].T
    kept = (candidates.peak_uv >= low) & (candidates.peak_uv <= high)
    chosen = dataclasses.replace(
        recording,
        windows=recording.windows[kept],
        label=recording.label[kept],
        first=recording.first[kept],
        stimulus=stimulus[kept],
        test=None if recording.test is None else recording.test[kept],
        candidates=None,
        facts=recording.facts | _facts(recording, kept, limits, thresholds),
        traces=_traces(recording, limits),
        caps_per_s=float(kept.sum() * recording.rate_hz / candidates.lengths.sum()),
    )
    return chosen, kept


def select_all(recording: Signatures) -> Signatures:
    """Return the CAPs between thresholds that the whole recording of each class sets, before anything is split."""
    assert recording.candidates is not None
    return _chosen(recording, recording.candidates.whole_uv, PER_CLASS)[0]


def _limits(
    candidates: Candidates, seen: Indices, n_classes: int, low_sd: float, high_sd: float, thresholds: str
) -> NDArray[np.float64]:
    """Return (class, 2) lower and upper threshold in microvolts, from the stimuli with the numbers `seen`."""
    used = np.isin(candidates.stimuli, seen)
    groups = [used] if thresholds == POOLED else [used & (candidates.labels == c) for c in range(n_classes)]
    found = [
        signals.cap_thresholds(candidates.trace[np.repeat(group, candidates.lengths)], low_sd, high_sd)
        for group in groups
    ]
    return np.broadcast_to(np.array(found), (n_classes, 2))


def _check(recording: Signatures, kept: NDArray[np.bool_], part: Indices, why: str) -> None:
    """Raise ValueError when a class that has candidates among the windows `part` keeps none of them."""
    lost = np.setdiff1d(recording.label[part], recording.label[part[kept[part]]])
    if len(lost):
        raise ValueError(f"{recording.name} {recording.classes[lost[0]]}: {why}")


def _facts(
    recording: Signatures, kept: NDArray[np.bool_], limits: NDArray[np.float64], thresholds: str
) -> dict[str, float]:
    candidates = recording.candidates
    assert candidates is not None
    facts = dict(zip(("cap_low_uv", "cap_high_uv"), limits[0].tolist(), strict=True)) if thresholds == POOLED else {}
    length = recording.windows.shape[1]
    for number, name in enumerate(recording.classes):
        if thresholds != POOLED:
            facts |= {f"cap_low_uv_{name}": float(limits[number, 0]), f"cap_high_uv_{name}": float(limits[number, 1])}
        peaks = recording.first[kept & (recording.label == number)] + length // 2
        facts[f"caps_{name}"] = len(peaks)
        if number < len(candidates.true):
            found = agreement(peaks, candidates.true[number], round(MATCH_S * recording.rate_hz))
            facts |= {f"{fact}_{name}": value for fact, value in found.items()}
    return facts


def _traces(recording: Signatures, limits: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return what a picture shows, of the candidates those that are CAPs."""
    traces = dict(recording.traces)
    for (low, high), name in zip(limits, recording.classes, strict=True):
        if f"caps_{name}" in traces:
            caps = traces[f"caps_{name}"].astype(np.int64)
            size = np.abs(traces[f"trace_{name}"][caps])
            traces[f"caps_{name}"] = caps[(size >= low) & (size <= high)].astype(np.float64)
    return traces


def agreement(found: NDArray[np.int64], truth: Sequence[NDArray[np.int64]], tolerance: int) -> dict[str, float]:
    """Return how many detected CAPs are true and, of these, evoked, and how many evoked ones were found.

    The first of the true trains is what the stimuli evoke; any others come without a stimulus.
    """
    true = len(pairs(found, np.unique(np.concatenate(list(truth))), tolerance))
    evoked = len(pairs(found, truth[0], tolerance))
    return {
        "cap_precision": true / len(found),
        "cap_evoked": evoked / len(found),
        "cap_recall": evoked / max(len(truth[0]), 1),
    }
