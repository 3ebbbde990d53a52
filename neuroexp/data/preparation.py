"""From one recording of a cuff to windows around the peaks of its stimuli: the ENG paper's preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroexp.data import signals
from neuroexp.data.cuff import CLASSES, CONTACTS, GRID, RINGS
from neuroexp.data.recording import Recording
from neuroexp.machine import memory

ROOM = 0.9  # of the threshold that the noise at rest would set, which other recordings of a cuff have as well
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
class Prepared:
    """What one recording yields: first samples of the windows around peaks and at rest, and the windows themselves."""

    lowest_uv: float  # the lowest threshold that some of its stimuli could set
    above_uv: float  # above which peaks were taken
    whole_uv: tuple[float, float]  # thresholds that all of it sets, stimuli or not
    peak_uv: NDArray[np.float32]
    trace: NDArray[np.float32]  # during the stimuli
    lengths: NDArray[np.int64]  # of these
    true: tuple[NDArray[np.int64], ...]
    first: NDArray[np.int64]
    stimulus: NDArray[np.int64]
    windows: NDArray[np.float32]
    rest_first: NDArray[np.int64]
    rest_gap: NDArray[np.int64]
    rest_windows: NDArray[np.float32]
    n_samples: int
    n_stimuli: int
    n_caps: int  # among the peaks, were all its stimuli to set the thresholds
    facts: dict[str, float]
    traces: dict[str, NDArray[np.float64]]


def prepared(
    recording: Recording,
    settings: Preprocessing,
    window: int,
    rate_hz: float,
    number: int,
    above_uv: float,
    others: Sequence[Prepared] = (),
) -> Prepared:
    """Return what the recording of class `number` yields, peaks above what its stimuli or, if lower, `above_uv` need.

    `others` are in memory already. Raises ValueError as `prepared.prepare` does.
    """
    _check(recording, rate_hz, settings.band_hz)
    grid = recording.grid if recording.grid is not None else GRID
    if window > len(recording.signal):
        raise ValueError(f"window={window} is longer than {recording.name}, which has {len(recording.signal)} samples")
    signal = _cleaned(recording, settings, grid)
    seams = recording.seams
    on, off = _stimuli(recording, signal[:, grid[len(grid) // 2]], settings)
    trace = signals.channel_mean(signal, grid[len(grid) // 2])
    lowest_uv = _lowest_threshold(trace, on, settings.low_sd)
    quiet_uv, _ = signals.cap_thresholds(_pieces(trace, off), settings.low_sd, settings.high_sd)
    above_uv = min(above_uv, lowest_uv, ROOM * quiet_uv)
    peaks = signals.detect_caps(trace, rate_hz, above_uv, np.inf, settings.exclusion_ms, seams)
    peaks, stimulus = _during_stimuli(peaks, on, window, signals.stretches(len(signal), seams), seams)
    first, size, during = peaks - window // 2, np.abs(trace[peaks]), _pieces(trace, on)
    n_caps = _count_caps(recording.name, size, during, settings)
    _check_memory(recording.name, window, [*((len(one.first), one.n_caps) for one in others), (len(first), n_caps)])
    rest_first, rest_gap = _at_rest(off, window, n_caps, np.random.default_rng([number, 0]))
    return Prepared(
        lowest_uv=lowest_uv,
        above_uv=above_uv,
        whole_uv=signals.cap_thresholds(trace, settings.low_sd, settings.high_sd),
        peak_uv=size,
        trace=during,
        lengths=on[:, 1] - on[:, 0],
        true=recording.spike_trains,
        first=first,
        stimulus=stimulus,
        windows=_cut(signal, first, window),
        rest_first=rest_first,
        rest_gap=rest_gap,
        rest_windows=_cut(signal, rest_first, window),
        n_samples=len(signal),
        n_stimuli=len(on),
        n_caps=n_caps,
        facts={
            "snr_db": signals.snr_db(signal, on, off),
            "stimuli": len(on),
            "stimulus_s": float(np.mean(on[:, 1] - on[:, 0]) / rate_hz),
        },
        traces=_traces(trace, on, peaks, rate_hz, seams),
    )


def _cleaned(recording: Recording, settings: Preprocessing, grid: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the signal (time, channel) clipped, filtered and referenced; raises ValueError for channels that clip."""
    signal, beyond = signals.clip(recording.signal, settings.clip_uv)
    clipped = np.flatnonzero(beyond > settings.most_clipped)
    if _drifts(clipped, grid):
        raise DriftError(recording, settings, len(clipped))
    if len(clipped):
        most = f"more than dataset.preprocessing.most_clipped={settings.most_clipped:g}"
        said = f"beyond ±{settings.clip_uv:g} µV in {beyond[clipped].max():.0%} of the samples, {most}"
        raise ValueError(recording.without_channels((clipped + 1).tolist(), (f"lies {said}", f"lie {said} at most")))
    low_hz, high_hz = settings.band_hz
    shape = (low_hz, high_hz, settings.order, settings.zero_phase)
    signal = signals.bandpass(signal, recording.rate_hz, *shape, seams=recording.seams)
    return signals.tripolar(signal, grid, settings.per_contact)


def _drifts(clipped: NDArray[np.int64], grid: NDArray[np.int64]) -> bool:
    """Return whether so many channels clip that no neighbours could replace them: more than half, or a whole ring."""
    return len(clipped) > grid.size / 2 or any(np.isin(ring, clipped).all() for ring in grid)


def limit_uv(recording: Recording, most_clipped: float) -> float:
    """Return the smallest clip_uv, in two digits, beyond which no channel has more than a share of its samples."""
    highest = max(float(np.quantile(np.abs(channel), 1 - most_clipped)) for channel in recording.signal.T)
    digit = 10 ** max(np.floor(np.log10(max(highest, 1))) - 1, 0)
    return float((np.floor(highest / digit) + 1) * digit)


class DriftError(ValueError):
    """Most of a recording lies beyond clip_uv, which broken contacts do not explain; `advised` says what to set."""

    def __init__(self, recording: Recording, settings: Preprocessing, count: int):
        """`count` channels lie beyond."""
        self.limit_uv = limit_uv(recording, settings.most_clipped)
        self.said = (
            f"{recording.name}: {count} of {recording.signal.shape[1]} channels lie beyond ±{settings.clip_uv:g} µV in "
            f"more than {settings.most_clipped:.0%} of their samples (dataset.preprocessing.most_clipped): "
            "that is drift or an offset, not broken contacts"
        )
        super().__init__(self.advised(self.limit_uv))

    def advised(self, limit_uv: float) -> str:
        """Return the sentence with a limit that fits; the band-pass, which comes after it, takes the drift away."""
        return f"{self.said}; set dataset.preprocessing.clip_uv={limit_uv:g}, the band-pass then removes it"


def _stimuli(
    recording: Recording, middle: NDArray[np.float32], settings: Preprocessing
) -> tuple[signals.Intervals, signals.Intervals]:
    """Return where the middle ring (time, contact) is active, and where it is at rest; raises ValueError without either."""
    rate_hz = recording.rate_hz
    on = signals.activity_intervals(
        middle, rate_hz, settings.smooth_s, settings.apart_s, settings.prominence, settings.level, recording.seams
    )
    off = signals.between(on, len(middle), round(settings.guard_s * rate_hz), recording.seams)
    if not len(on) or not len(off):
        raise ValueError(
            f"{recording.name}: no stimulus stands out of the middle ring's moving average (see dataset.preprocessing)"
        )
    return on, off


def _during_stimuli(
    peaks: NDArray[np.int64],
    on: signals.Intervals,
    window: int,
    stretches: signals.Intervals,
    seams: Sequence[int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the peaks within a stimulus whose windows cross neither a seam nor an end, and the number of its stimulus."""
    stimulus = np.searchsorted(on[:, 0], peaks, side="right") - 1
    first = peaks - window // 2
    begin, end = stretches[np.searchsorted(seams, peaks, side="right")].T
    kept = (stimulus >= 0) & (peaks < on[stimulus, 1]) & (first >= begin) & (first + window <= end)
    return peaks[kept], stimulus[kept]


def _count_caps(name: str, size: NDArray[np.float32], during: NDArray[np.float32], settings: Preprocessing) -> int:
    """Return how many peaks are CAPs when all stimuli set the thresholds; raises ValueError when none is."""
    low_uv, high_uv = signals.cap_thresholds(during, settings.low_sd, settings.high_sd)
    count = int(np.sum((size >= low_uv) & (size <= high_uv)))
    if not count:
        raise ValueError(
            f"{name}: no CAP lies between low_sd={settings.low_sd:g} and high_sd={settings.high_sd:g} standard "
            "deviations during a stimulus (dataset.preprocessing)"
        )
    return count


def _lowest_threshold(trace: NDArray[np.float32], on: signals.Intervals, low_sd: float) -> float:
    """Return what no choice of stimuli can set the lower threshold below.

    A median over several of them is no smaller than the smallest over one, and neither is a standard deviation.
    """
    each = [signals.cap_thresholds(trace[start:stop], 0, 1) for start, stop in on]
    return min(median for median, _ in each) + low_sd * min(top - median for median, top in each)


def _traces(
    trace: NDArray[np.float32], on: signals.Intervals, peaks: NDArray[np.int64], rate_hz: float, seams: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Return a stretch of the middle ring for a picture, with its stimuli and peaks counted from where it begins."""
    stretch, end = signals.stretches(len(trace), seams)[np.searchsorted(seams, on[0, 0], side="right")]
    begin = max(int(stretch), int(on[0, 0] - 0.5 * rate_hz))
    shown = slice(begin, min(int(end), begin + round(TRACE_S * rate_hz)))
    inside = np.any((on >= shown.start) & (on < shown.stop), axis=1)
    return {
        "trace": trace[shown].astype(np.float64),
        "on": (np.clip(on, shown.start, shown.stop)[inside] - begin).astype(np.float64),
        "caps": (peaks[(peaks >= shown.start) & (peaks < shown.stop)] - begin).astype(np.float64),
    }


def _check(recording: Recording, rate_hz: float, band_hz: Sequence[float]) -> None:
    n_channels = recording.signal.shape[1]
    if n_channels != RINGS * CONTACTS:
        raise ValueError(
            f"{recording.name}: {n_channels} channels, a cuff of {RINGS} rings with {CONTACTS} contacts has {RINGS * CONTACTS}"
        )
    key = "dataset.preprocessing.band_hz"
    signals.check_rate(recording.name, recording.rate_hz, rate_hz, band_hz, key, "the window")


def _pieces(trace: NDArray[np.float32], intervals: signals.Intervals) -> NDArray[np.float32]:
    return np.concatenate([trace[start:stop] for start, stop in intervals])


def _check_memory(name: str, window: int, counts: Sequence[tuple[int, int]]) -> None:
    """Refuse windows that are more than the memory, by the peaks and CAPs of each class known so far, before they are cut.

    All peaks, and as many windows at rest as there are CAPs, are held twice while the classes are laid end to end; CAPs
    three times while a fold is made: as chosen, in the order of their channels, and standardised.
    """
    peaks, found = (sum(column) for column in zip(*counts, strict=True))
    per_sample = max(2 * peaks, 3 * found) * RINGS * CONTACTS * 4
    fits = memory.round_down(memory.spare() / per_sample * len(counts) / len(CLASSES))  # the other classes like these
    advice = f"window={fits} would fit" if fits > 1 else "take a shorter recording"
    memory.check(window * per_sample, f"{name}: window={window} around {peaks:,} peaks", advice)


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
