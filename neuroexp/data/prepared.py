"""All classes of an animal as signatures: prepared once per animal and setting, then kept in a file for all jobs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from neuroexp.data.cuff import Candidates, Session, Signatures
from neuroexp.data.preparation import DriftError, Prepared, Preprocessing, limit_uv, prepared
from neuroexp.machine import files

FORMAT = 4  # of a prepared file; to be raised when the same settings come to mean something else
ARRAYS = ("windows", "label", "first", "stimulus")
OF_CANDIDATES = ("peak_uv", "trace", "lengths", "stimuli", "labels", "whole_uv")
LIMITS = ("lowest_uv", "above_uv")
WORDS = ("name", "sha256", "rate_hz", "n_samples", "classes", "simulated", "facts")


def prepare_all(
    sessions: Sequence[Session], settings: Preprocessing, window: int, rate_hz: float, cache: str
) -> list[Signatures]:
    """Return `prepare` of several animals, with the peaks above what stimuli of any of them could set as a threshold."""
    made = [prepare(session, settings, window, rate_hz, cache) for session in sessions]
    known = [one.candidates for one in made if one.candidates is not None]
    lowest = min(candidates.lowest_uv for candidates in known)
    return [
        one if candidates.above_uv <= lowest else prepare(session, settings, window, rate_hz, cache, lowest)
        for session, one, candidates in zip(sessions, made, known, strict=True)
    ]


def prepare(
    session: Session, settings: Preprocessing, window: int, rate_hz: float, cache: str, above_uv: float = np.inf
) -> Signatures:
    """Return windows around the peaks of all classes, from the folder `cache` when they were prepared with equal settings.

    Which of the peaks are CAPs is for the stimuli of a fold's training part to say (`caps.select`), so that all folds share
    what is prepared: every peak above the lowest threshold that any stimuli could set, or above `above_uv` if that is lower.
    Several processes may ask at once: one prepares, the others wait and read. Raises ValueError, naming the recording,
    when it does not fit the cuff, the sampling rate or the settings, or when no CAP is found in it.
    """
    if window < 2:
        raise ValueError(f"window={window} is too short for a signature")
    described = [FORMAT, session.sha256, dataclasses.asdict(settings), window, rate_hz]
    described += [above_uv] if np.isfinite(above_uv) else []
    key = hashlib.sha256(json.dumps(described, default=list).encode()).hexdigest()[:24]
    path = Path(cache) / f"{key}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        try:
            made = load(path)
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            zipfile.BadZipFile,
        ):  # not there, or not whole: then it is made again
            made = _joined(session, rate_hz, _classes(session, settings, window, rate_hz, above_uv))
            save(made, path)
    return dataclasses.replace(made, notes=session.notes)


def _classes(session: Session, settings: Preprocessing, window: int, rate_hz: float, above_uv: float) -> list[Prepared]:
    """Prepare one class after another, all with the peaks above what stimuli of any of them could set as a threshold."""
    bar = tqdm(
        session.classes, desc=f"preparing {session.name}", unit="class", leave=False, disable=not sys.stderr.isatty()
    )
    parts: list[Prepared] = []
    for name in bar:
        try:
            parts.append(prepared(session.read(name), settings, window, rate_hz, len(parts), above_uv, parts))
        except DriftError as error:  # one limit for all classes, so that no other refuses it
            rest = (other for other in session.classes if other != name)
            limits_uv = [limit_uv(session.read(other), settings.most_clipped) for other in rest]
            raise ValueError(error.advised(max(error.limit_uv, *limits_uv))) from None
    lowest = min([above_uv, *(part.lowest_uv for part in parts)])
    for number, name in enumerate(session.classes):
        if parts[number].above_uv > lowest:  # another class is much quieter
            others = [*parts[:number], *parts[number + 1 :]]
            parts[number] = prepared(session.read(name), settings, window, rate_hz, number, lowest, others)
    return parts


def _joined(session: Session, rate_hz: float, parts: Sequence[Prepared]) -> Signatures:
    """Lay the time axes of the classes end to end."""
    offsets = np.cumsum([0] + [part.n_samples for part in parts])
    stimuli = np.cumsum([0] + [part.n_stimuli + 1 for part in parts])  # a gap more than stimuli
    facts: dict[str, float] = {}
    traces: dict[str, NDArray[np.float64]] = {}
    for name, part in zip(session.classes, parts, strict=True):
        facts |= {f"{fact}_{name}": value for fact, value in part.facts.items()}
        traces |= {f"{trace}_{name}": value for trace, value in part.traces.items()}

    candidates = Candidates(
        peak_uv=np.concatenate([part.peak_uv for part in parts]),
        trace=np.concatenate([part.trace for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        stimuli=np.concatenate([np.arange(part.n_stimuli) + low for part, low in zip(parts, stimuli, strict=False)]),
        labels=np.repeat(np.arange(len(parts)), [part.n_stimuli for part in parts]),
        lowest_uv=min(part.lowest_uv for part in parts),
        above_uv=max(part.above_uv for part in parts),
        whole_uv=np.array([part.whole_uv for part in parts]),
        true=_moved([part.true for part in parts], offsets),
    )

    def common(first: str, group: str, windows: str, rest: Signatures | None) -> Signatures:
        return Signatures(
            name=session.name,
            sha256=session.sha256,
            rate_hz=rate_hz,
            windows=np.concatenate([getattr(part, windows) for part in parts]),
            label=np.repeat(np.arange(len(parts)), [len(getattr(part, first)) for part in parts]),
            first=np.concatenate([getattr(part, first) + low for part, low in zip(parts, offsets, strict=False)]),
            n_samples=int(offsets[-1]),
            stimulus=np.concatenate([getattr(part, group) + low for part, low in zip(parts, stimuli, strict=False)]),
            rest=rest,
            classes=session.classes,
            simulated=session.simulated,
            facts=facts,
            traces=traces,
            candidates=None if rest is None else candidates,
        )

    return common("first", "stimulus", "windows", common("rest_first", "rest_gap", "rest_windows", None))


def _moved(
    true: Sequence[tuple[NDArray[np.int64], ...]], offsets: NDArray[np.int64]
) -> tuple[tuple[NDArray[np.int64], ...], ...]:
    """Return the true CAPs of each class on the common time axis; none where they are not known of all."""
    if not all(true):
        return ()
    return tuple(tuple(train + low for train in trains) for trains, low in zip(true, offsets, strict=False))


def save(prepared: Signatures, path: Path) -> None:
    """Keep prepared signatures in one file, moved into place when it is whole: a reader never sees half of it."""
    assert prepared.rest is not None
    words: dict[str, Any] = {name: getattr(prepared, name) for name in WORDS}
    arrays = {name: getattr(prepared, name) for name in ARRAYS}
    arrays |= {f"rest_{name}": getattr(prepared.rest, name) for name in ARRAYS}
    arrays |= {f"traces_{name}": value for name, value in prepared.traces.items()}
    candidates = prepared.candidates
    assert candidates is not None
    words |= {name: getattr(candidates, name) for name in LIMITS}
    arrays |= {f"candidates_{name}": getattr(candidates, name) for name in OF_CANDIDATES}
    for number, trains in enumerate(candidates.true):
        arrays |= {f"true_{number}_{kind}": train for kind, train in enumerate(trains)}
    with files.replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, words=np.array(json.dumps(words)), **arrays)


def load(path: Path) -> Signatures:
    """Read what `save` has kept."""
    with path.open("rb") as opened, np.load(opened) as file:  # NumPy leaves a damaged file open
        words = json.loads(str(file["words"]))
        words["classes"] = tuple(words["classes"])
        traces = {name.removeprefix("traces_"): file[name] for name in file.files if name.startswith("traces_")}
        trains: dict[str, list[NDArray[np.int64]]] = {}
        for name in (name for name in file.files if name.startswith("true_")):
            trains.setdefault(name.split("_")[1], []).append(file[name])
        candidates = Candidates(
            **{name: file[f"candidates_{name}"] for name in OF_CANDIDATES},
            **{name: words.pop(name) for name in LIMITS},
            true=tuple(tuple(kinds) for kinds in trains.values()),
        )
        rest = Signatures(**words, **{name: file[f"rest_{name}"] for name in ARRAYS}, traces=traces)
        arrays = {name: file[name] for name in ARRAYS}
        return Signatures(**words, **arrays, rest=rest, traces=traces, candidates=candidates)
