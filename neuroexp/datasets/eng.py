"""ENG: from the recordings of a nerve cuff to a fold of signatures labelled with the class of their stimulus."""

from __future__ import annotations

import dataclasses

import numpy as np

from neuroexp import control, segments, splits
from neuroexp.cuff import GRID, Animals, Session, Signatures, joined
from neuroexp.fold import Fold
from neuroexp.preparation import Preprocessing, prepare

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
) -> Fold:
    """Cut a signature of `window` samples around every CAP and label it with its class.

    `windows="rest"` takes windows from between the stimuli instead: each class is a recording of its own, and what can be
    told apart there is the recording, not the nerve. With CAPs a small probe learns these windows, split as the CAPs are:
    the fold's control. Raises ValueError for another kind of recording, sampling rate or number of channels, or when a
    class has too little for the split.
    """
    if not isinstance(recording, Session | Animals | Signatures):
        name = getattr(recording, "name", recording)
        raise ValueError(
            f"{name} is no recording of a nerve cuff: dataset=eng takes recording=eng_simulated, eng_rats, intan or signatures"
        )
    if step is not None:
        raise ValueError(f"step={step}: with dataset=eng windows follow the CAPs, so there is no step; leave it null")
    for key, value, valid in (("order", order, tuple(ORDERS)), ("windows", windows, ("cap", "rest"))):
        if value not in valid:
            raise ValueError(f"dataset.{key}={value} is neither {' nor '.join(valid)}")
    if not 0 < test_share < 1:
        raise ValueError(f"dataset.test_share={test_share} must lie between 0 and 1")
    if batch_size < 1:
        raise ValueError(f"dataset.batch_size={batch_size} must be at least 1")
    steps = (
        {} if isinstance(recording, Signatures) else dataclasses.asdict(preprocessing)
    )  # else they were cut elsewhere
    if isinstance(recording, Session):
        recording = prepare(recording, preprocessing, window, rate_hz, cache)
    elif isinstance(recording, Animals):
        train, test = (
            [prepare(session, preprocessing, window, rate_hz, cache) for session in sessions]
            for sessions in (recording.train, recording.test)
        )
        recording = joined(recording.name, train, test)
    elif (recording.windows.shape[1], recording.rate_hz) != (window, rate_hz):
        raise ValueError(
            f"{recording.name}: its signatures are {recording.windows.shape[1]} samples at {recording.rate_hz:g} Hz, "
            f"not window={window} at dataset.rate_hz={rate_hz:g}"
        )
    used, rest = (recording, recording.rest) if windows == "cap" else (recording.rest, None)
    if used is None:
        raise ValueError(f"{recording.name}: signatures that were cut elsewhere come without windows at rest")

    events = splits.Events(used.label, used.stimulus, used.classes, test_share, used.test, windows == "rest")
    parts = split(used.first, window, splits.Timeline(used.n_samples, rate_hz, events=events), fold)
    facts = dict(used.facts)
    facts |= {f"{part}_windows": len(getattr(parts, part)) for part in ("train", "validation", "test")}
    # a mean over classes is no better known than the rarest of them
    facts["test_windows_of_rarest_class"] = int(np.bincount(used.label[parts.test], minlength=len(used.classes)).min())
    if used.stimulus is not None:  # else the time axis is not known
        overlapping, samples_seen = segments.overlap_audit(used.n_samples, used.first, window, parts.train, parts.test)
        facts |= {"test_windows_overlapping_train": overlapping, "test_samples_seen_in_train": samples_seen}
        groups = [np.unique(used.stimulus[indices]) for indices in (parts.train, parts.test)]
        facts["test_stimuli_seen_in_train"] = float(np.isin(groups[1], groups[0]).mean())

    known: dict[str, float] = {}
    if rest is not None:
        known, note = _control(rest, split, fold, test_share)
        recording = dataclasses.replace(recording, notes=(*recording.notes, *note))
    cut = used.windows[:, :, ORDERS[order]]
    return Fold(
        signal=cut.reshape(-1, cut.shape[2]),  # one signature after another: windows start every `window` samples
        starts=np.arange(len(cut), dtype=np.int64) * window,
        window=window,
        labels=np.eye(len(used.classes), dtype=np.float32)[used.label],
        split=parts,
        batch_size=batch_size,
        seed=seed,
        facts=facts,
        source=recording,
        control=known,
        order=ORDERS[order],
        preparation=steps | _thresholds(recording),
        decisions_hz=_caps_per_s(recording),
    )


def _control(
    rest: Signatures, split: splits.Splitter, fold: int, test_share: float
) -> tuple[dict[str, float], list[str]]:
    """Return the scores of the control, or none and a sentence that says why there are none."""
    events = splits.Events(rest.label, rest.stimulus, rest.classes, test_share, rest.test, at_rest=True)
    timeline = splits.Timeline(rest.n_samples, rest.rate_hz, events=events)
    try:
        parts = split(rest.first, rest.windows.shape[1], timeline, fold)
    except ValueError as error:
        return {}, [f"{rest.name}: there is no control: {error}"]
    return control.scores(rest, parts), []


def _caps_per_s(recording: Signatures) -> float | None:
    """Return the CAPs per second of stimulus over all classes; None where they were cut elsewhere, without their times."""
    caps, seconds = 0.0, 0.0
    for name in recording.classes:
        if f"stimulus_s_{name}" not in recording.facts:
            return None
        caps += recording.facts[f"caps_{name}"]
        seconds += recording.facts[f"stimuli_{name}"] * recording.facts[f"stimulus_s_{name}"]
    return caps / seconds


def _thresholds(recording: Signatures) -> dict[str, float]:
    """Return the thresholds of a CAP, averaged over the classes: a stream does not know which of them it is."""
    found = [[value for name, value in recording.facts.items() if name.startswith(fact)] for fact in THRESHOLDS]
    return {fact: float(np.mean(values)) for fact, values in zip(THRESHOLDS, found, strict=True) if values}
