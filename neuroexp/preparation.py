"""From the recordings of a cuff to signatures: the ENG paper's preprocessing, done once per rat and setting, then cached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from neuroexp import signals
from neuroexp.cuff import CONTACTS, GRID, RINGS, Session, Signatures, load, save
from neuroexp.recording import Recording

FORMAT = 2  # of a prepared file; to be raised when the same settings come to mean something else
MATCH_S = 0.5e-3  # within which a detected CAP is a true one
TRACE_S = 4.0  # of the middle ring, kept for a picture


@dataclass(frozen=True)
class Preprocessing:
    """The steps of the ENG paper's Sec. III in its order; what the paper leaves open is marked in conf/dataset/eng.yaml."""

    clip_uv: float
    most_clipped: float
    band_hz: Sequence[float]
    order: int
    zero_phase: bool
    per_contact: bool
    smooth_s: float
    apart_s: float
    prominence: float
    level: float
    guard_s: float
    low_sd: float
    high_sd: float
    exclusion_ms: float


@dataclass(frozen=True)
class _Class:
    """What one recording yields: first samples of the windows around CAPs and at rest, and the windows themselves."""

    first: NDArray[np.int64]
    stimulus: NDArray[np.int64]
    windows: NDArray[np.float32]
    rest_first: NDArray[np.int64]
    rest_gap: NDArray[np.int64]
    rest_windows: NDArray[np.float32]
    n_samples: int
    n_stimuli: int
    facts: dict[str, float]
    traces: dict[str, NDArray[np.float64]]


def prepare(session: Session, settings: Preprocessing, window: int, rate_hz: float, cache: str) -> Signatures:
    """Return the signatures of all classes, from the folder `cache` when they were prepared before with equal settings.

    Several processes may ask at once: one prepares, the others wait and read. Raises ValueError, naming the recording,
    when it does not fit the cuff, the sampling rate or the settings, or when no CAP is found in it.
    """
    if window < 2:
        raise ValueError(f"window={window} is too short for a signature")
    described = [FORMAT, session.sha256, dataclasses.asdict(settings), window, rate_hz]
    key = hashlib.sha256(json.dumps(described, default=list).encode()).hexdigest()[:24]
    path = Path(cache) / f"{key}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        try:
            prepared = load(path)
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            zipfile.BadZipFile,
        ):  # not there, or not whole: then it is made again
            prepared = _join(session, settings, window, rate_hz)
            save(prepared, path)
    return dataclasses.replace(prepared, notes=session.notes)


def _join(session: Session, settings: Preprocessing, window: int, rate_hz: float) -> Signatures:
    """Prepare one class after another, and lay their time axes end to end."""
    bar = tqdm(
        session.classes, desc=f"preparing {session.name}", unit="class", leave=False, disable=not sys.stderr.isatty()
    )
    parts: list[_Class] = []
    for name in bar:
        parts.append(_prepare(session.read(name), settings, window, rate_hz, len(parts)))
    offsets = np.cumsum([0] + [part.n_samples for part in parts])
    stimuli = np.cumsum([0] + [part.n_stimuli + 1 for part in parts])  # a gap more than stimuli
    facts: dict[str, float] = {}
    traces: dict[str, NDArray[np.float64]] = {}
    for name, part in zip(session.classes, parts, strict=True):
        facts |= {f"{fact}_{name}": value for fact, value in part.facts.items()}
        traces |= {f"{trace}_{name}": value for trace, value in part.traces.items()}

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
        )

    return common("first", "stimulus", "windows", common("rest_first", "rest_gap", "rest_windows", None))


def _prepare(recording: Recording, settings: Preprocessing, window: int, rate_hz: float, number: int) -> _Class:
    _check(recording, rate_hz)
    name, n_samples = recording.name, len(recording.signal)
    grid = recording.grid if recording.grid is not None else GRID
    signal, beyond = signals.clip(recording.signal, settings.clip_uv)
    clipped = np.flatnonzero(beyond > settings.most_clipped)
    if len(clipped):
        most = f"more than dataset.preprocessing.most_clipped={settings.most_clipped:g}"
        said = f"beyond ±{settings.clip_uv:g} µV in {beyond[clipped].max():.0%} of the samples, {most}"
        raise ValueError(recording.without_channels((clipped + 1).tolist(), (f"lies {said}", f"lie {said} at most")))
    low_hz, high_hz = settings.band_hz
    signal = signals.bandpass(signal, rate_hz, low_hz, high_hz, settings.order, settings.zero_phase)
    signal = signals.tripolar(signal, grid, settings.per_contact)
    middle = signal[:, grid[len(grid) // 2]]
    on = signals.activity_intervals(
        middle, rate_hz, settings.smooth_s, settings.apart_s, settings.prominence, settings.level
    )
    off = signals.between(on, n_samples, round(settings.guard_s * rate_hz))
    if not len(on) or not len(off):
        raise ValueError(
            f"{name}: no stimulus stands out of the middle ring's moving average (see dataset.preprocessing)"
        )

    trace = signals.channel_mean(signal, grid[len(grid) // 2])
    low_uv, high_uv = signals.cap_thresholds(trace, settings.low_sd, settings.high_sd)
    caps = signals.detect_caps(trace, rate_hz, low_uv, high_uv, settings.exclusion_ms)
    stimulus = np.searchsorted(on[:, 0], caps, side="right") - 1
    first = caps - window // 2
    kept = (stimulus >= 0) & (caps < on[stimulus, 1]) & (first >= 0) & (first + window <= n_samples)
    caps, stimulus, first = caps[kept], stimulus[kept], first[kept]
    if not len(caps):
        raise ValueError(
            f"{name}: no CAP lies between low_sd={settings.low_sd:g} and high_sd={settings.high_sd:g} standard deviations "
            "during a stimulus (dataset.preprocessing)"
        )
    rest_first, rest_gap = _at_rest(off, window, len(caps), np.random.default_rng([number, 0]))
    facts = {
        "snr_db": signals.snr_db(signal, on, off),
        "stimuli": len(on),
        "stimulus_s": float(np.mean(on[:, 1] - on[:, 0]) / rate_hz),
        "caps": len(caps),
        "cap_low_uv": low_uv,
        "cap_high_uv": high_uv,
    }
    if recording.spike_trains:
        facts |= _agreement(caps, recording.spike_trains, round(MATCH_S * rate_hz))
    begin = max(0, int(on[0, 0] - 0.5 * rate_hz))
    shown = slice(begin, begin + round(TRACE_S * rate_hz))
    traces = {
        "trace": trace[shown].astype(np.float64),
        "on": np.clip(on, shown.start, shown.stop)[np.any((on >= shown.start) & (on < shown.stop), axis=1)] - begin,
        "caps": caps[(caps >= shown.start) & (caps < shown.stop)] - begin,
    }
    return _Class(
        first=first,
        stimulus=stimulus,
        windows=_cut(signal, first, window),
        rest_first=rest_first,
        rest_gap=rest_gap,
        rest_windows=_cut(signal, rest_first, window),
        n_samples=n_samples,
        n_stimuli=len(on),
        facts=facts,
        traces=traces,
    )


def _check(recording: Recording, rate_hz: float) -> None:
    n_channels = recording.signal.shape[1]
    if n_channels != RINGS * CONTACTS:
        raise ValueError(
            f"{recording.name}: {n_channels} channels, a cuff of {RINGS} rings with {CONTACTS} contacts has {RINGS * CONTACTS}"
        )
    if recording.rate_hz != rate_hz:
        raise ValueError(
            f"{recording.name}: sampled at {recording.rate_hz:g} Hz, but dataset.rate_hz is {rate_hz:g}; "
            f"set dataset.rate_hz={recording.rate_hz:g} to count the window in its samples"
        )


def _cut(signal: NDArray[np.float32], first: NDArray[np.int64], window: int) -> NDArray[np.float32]:
    return signal[first[:, None] + np.arange(window)]  # (window, time, channel)


def _at_rest(
    off: signals.Intervals, window: int, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw up to `count` windows that do not overlap from between the stimuli: first samples, and the gap each is in."""
    slots = [np.arange(start, stop - window + 1, window) for start, stop in off]
    first = np.concatenate(slots)
    gap = np.repeat(np.arange(len(off)), [len(slot) for slot in slots])
    drawn = np.sort(rng.permutation(len(first))[:count])
    return first[drawn], gap[drawn]


def _agreement(found: NDArray[np.int64], truth: Sequence[NDArray[np.int64]], tolerance: int) -> dict[str, float]:
    """Return how many detected CAPs are true and, of these, evoked, and how many evoked ones were found.

    The first of the true trains is what the stimuli evoke; any others come without a stimulus.
    """
    true = _matches(found, np.unique(np.concatenate(list(truth))), tolerance)
    evoked = _matches(found, truth[0], tolerance)
    return {
        "cap_precision": true / len(found),
        "cap_evoked": evoked / len(found),
        "cap_recall": evoked / max(len(truth[0]), 1),
    }


def _matches(found: NDArray[np.int64], truth: NDArray[np.int64], tolerance: int) -> int:
    """Count the pairs of found and true samples within the tolerance; each is matched once, in order of time."""
    matched, place = 0, 0
    for sample in found:
        while place < len(truth) and truth[place] < sample - tolerance:
            place += 1
        if place < len(truth) and truth[place] <= sample + tolerance:
            matched, place = matched + 1, place + 1
    return matched
