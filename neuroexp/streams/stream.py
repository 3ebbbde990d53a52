"""What the chunks of an acquisition system pass through on their way to a decoder: repair, causal filter, buffer, windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import sosfilt

from neuroexp.data import signals
from neuroexp.data.cuff import CONTACTS, GRID, RINGS
from neuroexp.streams.cuts import Caps, Steps

if TYPE_CHECKING:
    from neuroexp.deploy.decoder import Spec

BLOCK = 2048  # samples that are worked on at once: a chunk of an hour needs no more memory than one of a second
NOTES = 100  # at most, so that memory stays flat
FLAT_S = 1.0  # without any change after which a channel is dead, or saturated when it stands at its extreme
CAUSAL = "the run was trained on a signal filtered forwards and backwards, which no stream can be: here it is filtered causally"
SIGNATURES = (
    "was trained on signatures that were cut elsewhere: how their signal was filtered and CAPs were found is not known"
)


@dataclass(frozen=True)
class Window:
    """What the decoder sees at once.

    Parameters
    ----------
    start : int
        Its first sample, counted in the stream.
    values : array of float32, (channel, time)
        Filtered, microvolts.
    """

    start: int
    values: NDArray[np.float32]


@dataclass
class Health:
    """What was wrong with a stream."""

    replaced: dict[int, int] = field(default_factory=dict)  # channel from 1 -> samples that were not finite
    notes: list[str] = field(default_factory=list)  # dead and saturated channels, gaps
    gaps: int = 0
    missing_samples: int = 0  # in the gaps
    late_samples: int = 0  # that came again or too late, and were dropped
    lost_windows: int = 0  # that touch a gap, and were not decided
    say: Callable[[str], None] | None = field(
        default=None, repr=False
    )  # who hears at once of what breaks a live stream

    def note(self, sentence: str) -> None:
        """Keep a sentence, of the first ones only: a stream may go on for days."""
        if len(self.notes) < NOTES:
            self.notes.append(sentence)

    def gap(self, sentence: str) -> None:
        """Count a gap, say and keep what it is."""
        self.gaps += 1
        if self.say is not None and len(self.notes) < NOTES:
            self.say(sentence)
        self.note(sentence)


class Channels:
    """Keeps what is not finite out of a filter, and notices channels that stand still."""

    def __init__(self, n_channels: int, rate_hz: float, health: Health):
        """Report to `health`."""
        self.rate_hz, self.health = rate_hz, health
        self.last = np.zeros(n_channels, dtype=np.float32)  # good value
        self.changed = np.zeros(n_channels, dtype=np.int64)  # the sample of the latest change
        self.low = np.full(n_channels, np.inf, dtype=np.float32)
        self.high = -self.low
        self.reported = np.zeros(n_channels, dtype=bool)

    def repair(self, chunk: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        """Return samples (time, channel) with the last good value of the channel where they are not finite, at first 0."""
        piece = np.concatenate([self.last[None], chunk])
        good = np.isfinite(piece)
        if not good.all():
            places = np.where(good, np.arange(len(piece))[:, None], 0)
            piece = np.take_along_axis(piece, np.maximum.accumulate(places, axis=0), axis=0)
            for channel in np.flatnonzero(~good.all(axis=0)):
                number = int(channel) + 1
                self.health.replaced[number] = self.health.replaced.get(number, 0) + int((~good[:, channel]).sum())
        self._still(piece, first)
        self.last = piece[-1]
        return piece[1:]

    def _still(self, piece: NDArray[np.float32], first: int) -> None:
        """Report channels that have not changed for `FLAT_S`, each once; `piece` begins with the sample before `first`."""
        limit = round(FLAT_S * self.rate_hz)
        sample = np.arange(first, first + len(piece) - 1)[:, None]
        changes = np.where(piece[1:] != piece[:-1], sample, self.changed)
        latest = np.maximum.accumulate(changes, axis=0)
        for channel in np.flatnonzero((sample - latest >= limit).any(axis=0) & ~self.reported):
            place = int(np.argmax(sample[:, 0] - latest[:, channel] >= limit))
            before = piece[1 : place + 2, channel]
            low, high = min(self.low[channel], before.min()), max(self.high[channel], before.max())
            extreme = low < high and before[-1] in (low, high) and before[-1] != 0
            kind = f"saturated at {before[-1]:g} µV" if extreme else f"dead: flat at {before[-1]:g} µV"
            since_s = latest[place, channel] / self.rate_hz
            self.health.note(f"channel {channel + 1} is {kind} since {since_s:.2f} s")
            self.reported[channel] = True
        self.changed = latest[-1]
        self.low, self.high = np.minimum(self.low, piece[1:].min(axis=0)), np.maximum(self.high, piece[1:].max(axis=0))


class Filter:
    """The run's preparation of the signal, causal and with its state carried from chunk to chunk."""

    def __init__(self, n_channels: int, rate_hz: float, preparation: dict[str, Any], cuff: bool):
        """`preparation` is that of a `Spec`; a cuff is clipped first and referenced to its outer rings at the end."""
        self.clip_uv = preparation["clip_uv"] if cuff else None
        self.per_contact = preparation["per_contact"] if cuff else False
        self.sections = None
        if preparation.get("band_hz"):
            low_hz, high_hz = preparation["band_hz"]
            self.sections = signals.butterworth(rate_hz, low_hz, high_hz, preparation["order"])
            self.state = np.zeros((len(self.sections), 2, n_channels))

    def restart(self) -> None:
        """Forget what was before."""
        if self.sections is not None:
            self.state = np.zeros_like(self.state)

    def __call__(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the next samples (time, channel), at least one, after the filter."""
        if self.clip_uv is not None:
            chunk = np.clip(chunk, -self.clip_uv, self.clip_uv)
        if self.sections is not None:
            filtered, self.state = sosfilt(self.sections, chunk, axis=0, zi=self.state)
            chunk = filtered.astype(np.float32)
        return chunk if self.clip_uv is None else signals.tripolar(chunk, GRID, self.per_contact)


class Buffer:
    """The latest samples of a stream in one piece of memory, in which the rest moves to the front when it is full."""

    def __init__(self, n_channels: int):
        """Begin empty, at sample 0."""
        self.rows = np.empty((2 * BLOCK, n_channels), dtype=np.float32)
        self.restart(0)

    def restart(self, sample: int) -> None:
        """Forget everything, go on at `sample`."""
        self.first, self.low, self.high = sample, 0, 0  # rows[low] is sample `first`

    def extend(self, values: NDArray[np.float32]) -> None:
        """Append samples (time, channel)."""
        if self.high + len(values) > len(self.rows):
            kept = self.rows[self.low : self.high]
            room = max(len(self.rows), 2 * (len(kept) + len(values)))  # more than once at most where CAPs wait long
            rows = self.rows if room == len(self.rows) else np.empty((room, self.rows.shape[1]), dtype=np.float32)
            rows[: len(kept)] = kept.copy()
            self.rows, self.low, self.high = rows, 0, len(kept)
        self.rows[self.high : self.high + len(values)] = values
        self.high += len(values)

    def forget(self, before: int) -> None:
        """Drop the samples before sample `before`."""
        count = min(max(0, before - self.first), self.high - self.low)
        self.low, self.first = self.low + count, self.first + count

    def window(self, start: int, length: int) -> NDArray[np.float32]:
        """Return a copy (channel, time) of `length` samples from sample `start` on."""
        low = self.low + start - self.first
        return np.ascontiguousarray(self.rows[low : low + length].T)


class Stream:
    """Chunks of a recording in, windows out, the same ones however the recording is cut into chunks.

    A window comes as soon as its last sample is there (HD-sEMG) or its CAP is certain (ENG, see `cuts.Caps`). After a gap the
    filter goes on as if nothing were missing: a restart would ring longer with the signal's offset than the splice does. At a
    seam of a recording it starts anew, as it did where the recording was prepared. Windows that touch a gap are left out
    and counted in `health`.

    Parameters
    ----------
    spec : Spec
        Of the decoder.

    Raises
    ------
    ValueError
        When the run's preparation cannot be repeated on a stream.
    """

    def __init__(self, spec: Spec):
        """Begin before the first sample."""
        cuff = spec.dataset == "eng"
        if cuff and not {"clip_uv", "band_hz", "cap_low_uv", "cap_high_uv", "exclusion_ms"} <= spec.preparation.keys():
            raise ValueError(f"{spec.name} {SIGNATURES}")
        if cuff and spec.n_channels != RINGS * CONTACTS:
            raise ValueError(f"{spec.name} has {spec.n_channels} channels, a cuff has {RINGS * CONTACTS}")
        prepared = spec.preparation
        self.spec, self.health = spec, Health()
        self.position: int | None = None  # the next sample
        self.seam, self.anew = "", False
        self.channels = Channels(spec.n_channels, spec.rate_hz, self.health)
        self.filter = Filter(spec.n_channels, spec.rate_hz, prepared, cuff)
        self.buffer = Buffer(spec.n_channels)
        self.cut: Steps | Caps
        if spec.step:
            self.cut = Steps(spec.window, spec.step)
        else:
            thresholds = (prepared["cap_low_uv"], prepared["cap_high_uv"], prepared["exclusion_ms"])
            self.cut = Caps(spec.window, GRID[RINGS // 2], spec.rate_hz, *thresholds)
        if prepared.get("band_hz") and prepared.get("zero_phase"):
            self.health.note(CAUSAL)

    def push(self, chunk: ArrayLike, first: int | None = None) -> Iterator[Window]:
        """Take samples, yield the windows that they complete; to be iterated to its end.

        Parameters
        ----------
        chunk : array, (time, channel)
            Microvolts.
        first : int, optional
            The number of the chunk's first sample, where the source counts them; the very first one says where the count
            begins.

        Yields
        ------
        Window

        Raises
        ------
        ValueError
            For another number of channels than the run was trained on.
        """
        with np.errstate(over="ignore"):  # what is too large for a float32 is not finite and is replaced
            values = np.asarray(chunk, dtype=np.float32)
        if values.ndim != 2 or values.shape[1] != self.spec.n_channels:
            found = f"{values.shape[1]} channels" if values.ndim == 2 else f"{values.ndim} axes, not (time, channel)"
            raise ValueError(f"a chunk has {found}; {self.spec.name} was trained on {self.spec.n_channels} channels")
        if self.position is None:
            self.position = first or 0
            self.channels.changed += self.position
            self.buffer.restart(self.position)
            self.cut.begin(self.position)
        gap = 0 if first is None else first - self.position
        if gap < 0:
            dropped = min(-gap, len(values))
            values = values[dropped:]
            self.health.late_samples += dropped
        elif (gap > 0 or self.seam) and len(values):
            yield from self._skip(gap)
        for low in range(0, len(values), BLOCK):
            block = self.filter(self.channels.repair(values[low : low + BLOCK], self.position))
            self.position += len(block)
            self.buffer.extend(block)
            yield from self._windows(self.cut.extend(block))
            self.buffer.forget(self.cut.needed)

    def part(self, why: str, anew: bool = False) -> None:
        """Say why the samples to come do not follow those before them, whatever their number: a gap of unknown length.

        With `anew` the filter forgets those before.
        """
        if self.position is not None:
            self.seam, self.anew = why, anew

    def flush(self) -> Iterator[Window]:
        """Yield what the end of the stream decides: CAPs that no higher one can follow any more."""
        yield from self._windows(self.cut.flush())

    def _windows(self, starts: list[int]) -> Iterator[Window]:
        for start in starts:
            yield Window(start, self.buffer.window(start, self.spec.window))
        self.health.lost_windows = self.cut.lost

    def _skip(self, gap: int) -> Iterator[Window]:
        yield from self.flush()
        assert self.position is not None
        at_s = self.position / self.spec.rate_hz
        self.health.gap(
            self.seam or f"{gap} samples are missing at {at_s:.2f} s ({1000 * gap / self.spec.rate_hz:.1f} ms)"
        )
        if self.anew:
            self.filter.restart()
        self.seam, self.anew = "", False
        self.health.missing_samples += gap
        self.position += gap
        self.channels.changed += gap
        self.buffer.restart(self.position)
        self.cut.restart(self.position)
