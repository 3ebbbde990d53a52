"""What nerve-cuff readers and simulators return: one recording per class, or signatures that are cut already."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.recording import Recording

RINGS, CONTACTS = 7, 8  # of the cuff of Koh et al. (2020); channels are numbered ring by ring
CLASSES = ("dorsiflexion", "plantarflexion", "pricking")
GRID: NDArray[np.int64] = np.arange(RINGS * CONTACTS).reshape(RINGS, CONTACTS)  # (ring, contact) -> channel


@dataclass(frozen=True, eq=False)
class Session:
    """One animal: a recording per class, each read only when it is asked for, for they may not fit in memory together.

    A recording's `spike_trains` hold, when they are known, one train: the samples at which CAPs pass the middle ring.
    """

    name: str
    sha256: str  # of all source files, or of the settings of a simulator; known before anything is read
    read: Callable[[str], Recording]  # from the name of a class, an entry of `classes`
    classes: tuple[str, ...] = CLASSES
    simulated: bool = False
    notes: tuple[str, ...] = ()  # what a user must know of how it was read, a sentence each that names the files


@dataclass(frozen=True, eq=False)
class Animals:
    """Animals to train on and others to test on."""

    name: str
    train: tuple[Session, ...]
    test: tuple[Session, ...]


@dataclass(frozen=True, eq=False)
class Signatures:
    """Windows around the compound action potentials of one animal, with the class and the stimulus of each.

    `first` and `n_samples` lie on one time axis on which the recordings of the classes follow one another. `stimulus`
    counts the stimuli of all classes from 0, -1 where it is not known. Raises ValueError when something is not finite.
    """

    name: str
    sha256: str
    rate_hz: float
    windows: NDArray[np.float32]  # (window, time, channel), microvolts; channels ring by ring
    label: NDArray[np.int64]  # (window,), index into `classes`
    first: NDArray[np.int64]  # (window,), the sample at which it starts
    n_samples: int
    stimulus: NDArray[np.int64] | None = None  # (window,)
    test: NDArray[np.bool_] | None = None  # (window,), what the source itself has set aside for testing
    rest: Signatures | None = None  # as many windows from between the stimuli
    classes: tuple[str, ...] = CLASSES
    simulated: bool = False
    facts: dict[str, float] = field(default_factory=dict)  # numbers about the data to report beside the scores
    traces: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # what a picture of the preparation shows
    notes: tuple[str, ...] = ()  # of the session, or the sessions, that it was prepared from

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
        number = np.cumsum([0] + [int(stimulus.max()) + 1 for stimulus in stimuli])
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
        )

    return end_to_end(parts, end_to_end(rests, None) if len(rests) == len(parts) else None)


ARRAYS = ("windows", "label", "first", "stimulus")
WORDS = ("name", "sha256", "rate_hz", "n_samples", "classes", "simulated", "facts")


def save(prepared: Signatures, path: Path) -> None:
    """Keep prepared signatures in one file, moved into place when it is whole: a reader never sees half of it."""
    assert prepared.rest is not None
    words: dict[str, Any] = {name: getattr(prepared, name) for name in WORDS}
    arrays = {name: getattr(prepared, name) for name in ARRAYS}
    arrays |= {f"rest_{name}": getattr(prepared.rest, name) for name in ARRAYS}
    arrays |= {f"traces_{name}": value for name, value in prepared.traces.items()}
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            np.savez(file, words=np.array(json.dumps(words)), **arrays)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def load(path: Path) -> Signatures:
    """Read what `save` has kept."""
    with path.open("rb") as opened, np.load(opened) as file:  # NumPy leaves a damaged file open
        words = json.loads(str(file["words"]))
        words["classes"] = tuple(words["classes"])
        traces = {name.removeprefix("traces_"): file[name] for name in file.files if name.startswith("traces_")}
        rest = Signatures(**words, **{name: file[f"rest_{name}"] for name in ARRAYS}, traces=traces)
        return Signatures(**words, **{name: file[name] for name in ARRAYS}, rest=rest, traces=traces)
