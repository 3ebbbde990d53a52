"""What nerve-cuff readers and simulators return: one recording per class, or signatures that are cut already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.recording import Recording

RINGS, CONTACTS = 7, 8  # of the cuff of Koh et al. (2020); channels are numbered ring by ring
COPIES = 3.3  # of a class's signal that preparing it holds at once: as read, filtered and referenced; measured
CLASSES = ("dorsiflexion", "plantarflexion", "pricking")
GRID: NDArray[np.int64] = np.arange(RINGS * CONTACTS).reshape(RINGS, CONTACTS)  # (ring, contact) -> channel


@dataclass(frozen=True, eq=False)
class Session:
    """One animal: a recording per class, each read only when it is asked for, for they may not fit in memory together.

    Parameters
    ----------
    name : str
        How tables and figures call it.
    sha256 : str
        Of all source files, or of the settings of a simulator; known before anything is read.
    read : function
        From the name of a class, an entry of `classes`, to its `Recording`. Its `spike_trains` hold, when they are known, one
        train: the samples at which CAPs pass the middle ring.
    classes : tuple of str
        The names of the stimuli.
    simulated : bool
        Whether a simulator made it.
    notes : tuple of str
        What a user must know of how it was read, a sentence each that names the files.
    """

    name: str
    sha256: str
    read: Callable[[str], Recording]
    classes: tuple[str, ...] = CLASSES
    simulated: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Animals:
    """Animals to train on and others to test on.

    Parameters
    ----------
    name : str
        How tables and figures call them.
    train, test : tuple of Session
        At least one each.
    """

    name: str
    train: tuple[Session, ...]
    test: tuple[Session, ...]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What it takes to tell which windows are around CAPs, when it is known which stimuli may set the thresholds.

    The windows are around all peaks during the stimuli that any choice of these stimuli could make CAPs.
    """

    peak_uv: NDArray[np.float32]  # (window,), absolute value of the middle ring's mean at its peak
    trace: NDArray[np.float32]  # (time,), the middle ring's mean during the stimuli, one after another, microvolts
    lengths: NDArray[np.int64]  # (stimulus,), samples of each in `trace`
    stimuli: NDArray[np.int64]  # (stimulus,), its number as in `Signatures.stimulus`
    labels: NDArray[np.int64]  # (stimulus,), its class
    lowest_uv: float  # no choice of stimuli sets a lower threshold
    above_uv: float  # all peaks above are here
    whole_uv: NDArray[
        np.float64
    ]  # (class, 2), thresholds that all of a class's recording sets; empty for several animals
    true: tuple[tuple[NDArray[np.int64], ...], ...] = ()  # by class, true CAPs on the time axis: evoked ones, others


@dataclass(frozen=True, eq=False)
class Signatures:
    """Windows around the compound action potentials of one animal, with the class and the stimulus of each.

    Parameters
    ----------
    name, sha256 : str
        As in `Recording`.
    rate_hz : float
        Sampling rate in hertz.
    windows : array of float32, (window, time, channel)
        Microvolts; channels ring by ring.
    label : array of int64, (window,)
        Index into `classes`.
    first : array of int64, (window,)
        The sample at which each window starts, on one time axis on which the recordings of the classes follow one another.
    n_samples : int
        Length of that time axis.
    stimulus : array of int64, (window,), optional
        Counts the stimuli of all classes from 0, -1 where it is not known.
    test : array of bool, (window,), optional
        What the source itself has set aside for testing.
    rest : Signatures, optional
        As many windows from between the stimuli.
    classes : tuple of str
        The names of the stimuli.
    simulated : bool
        Whether a simulator made them.
    facts : dict of float
        Numbers about the data to report beside the scores.
    traces : dict of arrays
        What a picture of the preparation shows.
    notes : tuple of str
        Of the session, or the sessions, that they were prepared from.
    candidates : Candidates, optional
        Where it is still to be chosen which windows are around CAPs.
    caps_per_s : float, optional
        During the stimuli of all classes, where that is known.

    Raises
    ------
    ValueError
        When something is not finite.
    """

    name: str
    sha256: str
    rate_hz: float
    windows: NDArray[np.float32]
    label: NDArray[np.int64]
    first: NDArray[np.int64]
    n_samples: int
    stimulus: NDArray[np.int64] | None = None
    test: NDArray[np.bool_] | None = None
    rest: Signatures | None = None
    classes: tuple[str, ...] = CLASSES
    simulated: bool = False
    facts: dict[str, float] = field(default_factory=dict)
    traces: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    candidates: Candidates | None = None
    caps_per_s: float | None = None

    def __post_init__(self) -> None:
        if self.windows.ndim != 3 or self.windows.dtype != np.float32:
            raise ValueError(f"{self.name}: signatures are {self.windows.dtype} of shape {self.windows.shape}")
        if not np.isfinite(self.windows).all():
            broken = int(np.flatnonzero(~np.isfinite(self.windows).all(axis=(1, 2)))[0])
            raise ValueError(f"{self.name}: signature {broken + 1} holds a value that is not finite")


def joined(name: str, train: Sequence[Signatures], test: Sequence[Signatures]) -> Signatures:
    """Return the signatures of several animals as one, those of `test` set aside for testing; facts are means over animals."""
    parts = [*train, *test]
    tested = np.repeat([False, True], [len(train), len(test)])
    rests = [part.rest for part in parts if part.rest is not None]
    facts = {fact: float(np.mean([part.facts[fact] for part in parts])) for fact in parts[0].facts}

    def end_to_end(parts: Sequence[Signatures], rest: Signatures | None) -> Signatures:
        low = np.cumsum([0] + [part.n_samples for part in parts])
        stimuli = [part.stimulus if part.stimulus is not None else part.first for part in parts]
        last = [max(int(s.max()), _last(part)) for s, part in zip(stimuli, parts, strict=True)]
        number = np.cumsum([0] + [one + 1 for one in last])
        return Signatures(
            name=name,
            sha256=hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest(),
            rate_hz=parts[0].rate_hz,
            windows=np.concatenate([part.windows for part in parts]),
            label=np.concatenate([part.label for part in parts]),
            first=np.concatenate([part.first + start for part, start in zip(parts, low, strict=False)]),
            n_samples=int(low[-1]),
            stimulus=np.concatenate([known + start for known, start in zip(stimuli, number, strict=False)]),
            test=np.repeat(tested, [len(part.label) for part in parts]),
            rest=rest,
            classes=parts[0].classes,
            simulated=any(part.simulated for part in parts),
            facts=facts,
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
            candidates=_joined_candidates([part.candidates for part in parts], number, low),
        )

    return end_to_end(parts, end_to_end(rests, None) if len(rests) == len(parts) else None)


def _last(part: Signatures) -> int:
    return -1 if part.candidates is None else int(part.candidates.stimuli.max())


def _joined_candidates(
    parts: Sequence[Candidates | None], number: NDArray[np.int64], low: NDArray[np.int64]
) -> Candidates | None:
    """Return the candidates of several animals as one, their stimuli counted from `number`, their samples from `low`."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None

    def end_to_end(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in known])

    true: tuple[tuple[NDArray[np.int64], ...], ...] = ()
    if all(part.true for part in known):
        moved = [[[t + start for t in trains] for trains in part.true] for part, start in zip(known, low, strict=False)]
        true = tuple(
            tuple(np.concatenate(kind) for kind in zip(*animals, strict=True)) for animals in zip(*moved, strict=True)
        )
    return Candidates(
        peak_uv=end_to_end("peak_uv"),
        trace=end_to_end("trace"),
        lengths=end_to_end("lengths"),
        stimuli=np.concatenate([part.stimuli + start for part, start in zip(known, number, strict=False)]),
        labels=end_to_end("labels"),
        lowest_uv=min(part.lowest_uv for part in known),
        above_uv=max(part.above_uv for part in known),
        whole_uv=np.empty((0, 2)),
        true=true,
    )
