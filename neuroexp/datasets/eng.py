"""ENG: from the recordings of a nerve cuff to a fold of signatures labelled with the class of their stimulus."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from neuroexp.data import caps, control, segments, splits
from neuroexp.data.cuff import GRID, Animals, Session, Signatures, joined
from neuroexp.data.fold import Fold, Metadata
from neuroexp.data.preparation import Preprocessing
from neuroexp.data.prepared import prepare, prepare_all

ORDERS = {"spatial": GRID.ravel(), "temporal": GRID.T.ravel()}  # contacts of a ring adjacent, or rings of a contact

THRESHOLDS = ("cap_low_uv", "cap_high_uv")


def eng(
    recording: Session | Animals | Signatures,
    window: int,
    step: int | None,
    fold: int,
    seed: int,
    split: splits.Splitter,
    rate_hz: float,
    preprocessing: Preprocessing,
    cache: str,
    order: str,
    windows: str,
    test_share: float,
    batch_size: int,
    thresholds: str = caps.ALL,
) -> Fold:
    """Cut a signature of `window` samples around every CAP and label it with its class.

    A CAP is a peak between two thresholds, which the stimuli of the training part set.

    Parameters
    ----------
    recording : Session, Animals or Signatures
        Of a nerve cuff.
    window : int
        Samples in a signature.
    step : None
        Windows follow CAPs.
    fold, seed : int
        Which fold validates, and the seed of the order of the batches.
    split : function
        From windows to parts, such as `stimulus`.
    rate_hz : float
        The sampling rate that window is counted in.
    preprocessing : Preprocessing
        What is done to the signal before.
    cache : str
        Folder of signatures that were prepared already.
    order : str
        "spatial": the contacts of a ring are adjacent rows; "temporal": the rings of a contact.
    windows : str
        "cap", or "rest" for windows from between the stimuli: each class is a recording of its own, and what can be told apart
        there is the recording, not the nerve. With "cap" a small probe learns those windows, split as the CAPs are: the fold's
        control.
    test_share : float
        Share of each class that is held out for testing.
    batch_size : int
        Windows in a training batch.
    thresholds : str
        "pooled": one pair for all classes; "class": of each class for itself; "all": the whole recording of each class sets
        them, as in runs of earlier versions, which name none.

    Returns
    -------
    Fold

    Raises
    ------
    ValueError
        For another kind of recording, sampling rate or number of channels, or when a class has too little for the split.
    """
    _check(recording, step, order, windows, thresholds, test_share, batch_size)
    steps = {} if isinstance(recording, Signatures) else dataclasses.asdict(preprocessing)  # else cut elsewhere
    recording = _prepared(recording, preprocessing, window, rate_hz, cache, thresholds)
    used, rest = (recording, recording.rest) if windows == "cap" else (recording.rest, None)
    if used is None:
        raise ValueError(f"{recording.name}: signatures that were cut elsewhere come without windows at rest")

    def divided(part: Signatures, at_rest: bool) -> splits.Split:
        events = splits.Events(part.label, part.stimulus, part.classes, test_share, part.test, at_rest)
        return split(part.first, window, splits.Timeline(part.n_samples, rate_hz, events=events), fold)

    parts = divided(used, windows == "rest")
    if steps:
        limits = (preprocessing.low_sd, preprocessing.high_sd, thresholds)
        if windows == "cap":
            used, parts = caps.select(recording, parts, *limits)
            recording = used
        else:  # no CAP trains or tests: a replay alone needs the thresholds
            every = np.arange(len(recording.label))
            recording, _ = caps.select(recording, splits.Split(every, every, every), *limits)
    scores, missed = ({}, "") if rest is None else _control(rest, lambda: divided(rest, at_rest=True))
    if missed:
        recording = dataclasses.replace(recording, notes=(*recording.notes, missed))
    channels = ORDERS[order]
    return Fold(
        signal=used.windows[:, :, channels].reshape(-1, len(channels)),  # windows start every `window` samples
        starts=np.arange(len(used.label), dtype=np.int64) * window,
        window=window,
        labels=np.eye(len(used.classes), dtype=np.float32)[used.label],
        split=parts,
        batch_size=batch_size,
        seed=seed,
        metadata=Metadata(
            facts=recording.facts | _facts(used, parts),
            source=recording,
            control=scores,
            order=channels,
            preparation=steps | _thresholds(recording),
            decisions_hz=recording.caps_per_s,
        ),
    )


def _control(rest: Signatures, divide: Callable[[], splits.Split]) -> tuple[dict[str, float], str]:
    """Return the scores of the control and nothing, or none and the sentence that says why there is none."""
    try:
        return control.scores(rest, divide()), ""
    except ValueError as error:
        return {}, f"{rest.name}: there is no control: {error}"


def _check(
    recording: Any, step: int | None, order: str, windows: str, thresholds: str, test_share: float, batch_size: int
) -> None:
    """Raise ValueError for the first setting that is not valid."""
    if not isinstance(recording, Session | Animals | Signatures):
        name = getattr(recording, "name", recording)
        raise ValueError(
            f"{name} is no recording of a nerve cuff: dataset=eng takes recording=eng_simulated, eng_rats, intan or signatures"
        )
    if step is not None:
        raise ValueError(f"step={step}: with dataset=eng windows follow the CAPs, so there is no step; leave it null")
    for key, value, valid in (
        ("order", order, tuple(ORDERS)),
        ("windows", windows, ("cap", "rest")),
        ("thresholds", thresholds, (caps.POOLED, caps.PER_CLASS, caps.ALL)),
    ):
        if value not in valid:
            raise ValueError(f"dataset.{key}={value} is neither {' nor '.join(valid)}")
    if not 0 < test_share < 1:
        raise ValueError(f"dataset.test_share={test_share} must lie between 0 and 1")
    if batch_size < 1:
        raise ValueError(f"dataset.batch_size={batch_size} must be at least 1")


def _prepared(
    recording: Session | Animals | Signatures,
    preprocessing: Preprocessing,
    window: int,
    rate_hz: float,
    cache: str,
    thresholds: str,
) -> Signatures:
    """Return the windows of a recording, or of several animals; raises ValueError where they are cut elsewhere otherwise."""
    if isinstance(recording, Session):
        made = prepare(recording, preprocessing, window, rate_hz, cache)
        return caps.select_all(made) if thresholds == caps.ALL else made
    if isinstance(recording, Animals):
        each = prepare_all([*recording.train, *recording.test], preprocessing, window, rate_hz, cache)
        each = [caps.select_all(one) for one in each] if thresholds == caps.ALL else each
        return joined(recording.name, each[: len(recording.train)], each[len(recording.train) :])
    if (recording.windows.shape[1], recording.rate_hz) != (window, rate_hz):
        raise ValueError(
            f"{recording.name}: its signatures are {recording.windows.shape[1]} samples at {recording.rate_hz:g} Hz, "
            f"not window={window} at dataset.rate_hz={rate_hz:g}; set window={recording.windows.shape[1]} and "
            f"dataset.rate_hz={recording.rate_hz:g}"
        )
    return recording


def _facts(used: Signatures, parts: splits.Split) -> dict[str, float]:
    """Return how large the parts are and what of the test part was seen in training."""
    facts: dict[str, float] = {f"{part}_windows": len(getattr(parts, part)) for part in ("train", "validation", "test")}
    # a mean over classes is no better known than the rarest of them
    facts["test_windows_of_rarest_class"] = int(np.bincount(used.label[parts.test], minlength=len(used.classes)).min())
    if used.stimulus is not None:  # else the time axis is not known
        length = used.windows.shape[1]
        overlapping, samples_seen = segments.overlap_audit(used.n_samples, used.first, length, parts.train, parts.test)
        facts |= {"test_windows_overlapping_train": overlapping, "test_samples_seen_in_train": samples_seen}
        groups = [np.unique(used.stimulus[indices]) for indices in (parts.train, parts.test)]
        facts["test_stimuli_seen_in_train"] = float(np.isin(groups[1], groups[0]).mean())
    return facts


def _thresholds(recording: Signatures) -> dict[str, float]:
    """Return the thresholds of a CAP; where each class has its own their mean, for a stream does not know which it is."""
    found = [[value for name, value in recording.facts.items() if name.startswith(fact)] for fact in THRESHOLDS]
    return {fact: float(np.mean(values)) for fact, values in zip(THRESHOLDS, found, strict=True) if values}
