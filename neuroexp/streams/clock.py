"""The clock of a live stream: its samples are counted at the nominal rate, its time stamps only tell where some are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEP_S = (
    0.02  # by which stamps leave the count's clock for good where samples are lost or the clock was set; less is jitter
)
HOLD_S = 0.05  # after which samples that came too late for their count do not catch up any more, as those of a burst do
DRIFT = 0.02  # of its nominal rate by which a stream may be slower before that counts as lost samples
SLOW, SLOW_S = 0.005, 5.0  # a share of the rate that is worth saying, after as many seconds
FAR, MANY = 0.1, 10  # a share of the rate, and gaps, from which on it is the rate itself that is doubtful
STILL = 0.9  # of the time that stamps do not pass
SET_S = 10.0  # a stamp further ahead than this of the time that has passed comes from a clock that was set


@dataclass(frozen=True)
class Placed:
    """Samples that follow one another."""

    values: NDArray[np.float32]  # (time, channel)
    first: int  # number of the first
    arrived: float
    seam: str = ""  # why they do not follow what was before them, where no sample is known to be missing


class Clock:
    """Numbers the samples of a stream from their count, and leaves out numbers where stamps show that samples are lost.

    A device that stamps samples when it sends them, in bursts, stamps the first of a burst late and the last in time. So the
    sample that came least late is the anchor of a line at the nominal rate, which may become slower by `DRIFT`. Samples that
    lie `STEP_S` after the line, or half the longest burst where that is longer, are held for `HOLD_S`, or two of these bursts:
    either later ones catch up, and nothing is lost, or none does, and as many are missing as fit in between. Stamps that step
    back by more make a seam: nobody knows what is missing there. liblsl's own smoothing of stamps does not serve: it
    spreads one gap of 125 ms over the next two seconds and more.
    """

    def __init__(self, rate_hz: float):
        """`rate_hz` is the stream's nominal rate."""
        self.rate_hz = rate_hz
        self.count = 0  # the number of the next sample
        self.gaps = self.missing = 0
        self.held: list[tuple[NDArray[np.float32], NDArray[np.float64], float]] = []
        self._longest_s = self._slower_s = 0.0
        self._anchor: tuple[int, float] | None = None  # number and stamp
        self._latest = 0.0  # stamp
        self._settled = self._arrived = self._since = 0.0

    @property
    def step_s(self) -> float:
        """Seconds by which stamps must leave the line."""
        return max(STEP_S, self._longest_s / 2)

    def take(self, values: NDArray[np.float32], stamps: NDArray[np.float64], arrived: float) -> Iterator[Placed]:
        """Take samples (time, channel) with their stamps (time,), yield those whose numbers are known.

        To be iterated to its end. `arrived` is the time of a clock that nobody sets.
        """
        if not len(stamps):
            return
        if self._anchor is None:
            self._set(float(stamps[0]), arrived)
        if self.held:
            caught_up = np.flatnonzero(self._late(stamps, self._ahead, drift=0) <= self.step_s)
            if not len(caught_up):
                self.held.append((values, stamps, arrived))
                return
            first, held, self.held = int(caught_up[0]), self.held, []
            self._longest_s = max(self._longest_s, (sum(len(piece[1]) for piece in held) + first) / self.rate_hz)
            for piece in (*held, (values[:first], stamps[:first], arrived)):
                yield from self._counted(*piece)
            values, stamps = values[first:], stamps[first:]
        late = self._lateness(stamps)
        jumps = np.diff(stamps, prepend=self._latest) - 1 / self.rate_hz
        back = (late < -self.step_s) & (jumps < -self.step_s) & (arrived > self._settled)
        broken = np.flatnonzero(back | (late > self.step_s))
        end = int(broken[0]) if len(broken) else len(stamps)
        self._move(stamps[:end])
        yield from self._counted(values[:end], stamps[:end], arrived)
        if end == len(stamps):
            return
        values, stamps = values[end:], stamps[end:]
        if back[end]:
            seam = f"the clock of the stream stepped back by {-late[end]:.3g} s at {self.count / self.rate_hz:.2f} s"
            self._set(float(stamps[0]), arrived)
            self._move(stamps[:1])
            yield from self._counted(values[:1], stamps[:1], arrived, f"{seam}: its samples are counted on")
            yield from self.take(values[1:], stamps[1:], arrived)
        else:
            self._since = arrived
            self.held.append((values[:1], stamps[:1], arrived))
            yield from self.take(values[1:], stamps[1:], arrived)

    def due(self, now: float) -> Iterator[Placed]:
        """Yield what was held long enough at the time `now`, after the numbers that are missing before it."""
        while self.held and now - self._since >= max(HOLD_S, 2 * self._longest_s):
            held, self.held, before = self.held, [], 0
            late_s = np.inf
            for _, stamps, _ in held:
                late_s = min(late_s, float(self._late(stamps, before, drift=0).min()))
                before += len(stamps)
            seam = ""
            if late_s - (held[0][2] - self._arrived) > SET_S:
                seam = f"the clock of the stream went ahead by {late_s:.3g} s at {self.count / self.rate_hz:.2f} s"
                seam += ", more than have passed: its samples are counted on"
                self._set(float(held[0][1][0]), held[0][2])
            else:
                missing = round(late_s * self.rate_hz)
                self.count, self.missing, self.gaps = self.count + missing, self.missing + missing, self.gaps + 1
            for piece in held:
                for placed in self.take(*piece):
                    yield Placed(placed.values, placed.first, placed.arrived, placed.seam or seam)
                    seam = ""

    def finish(self) -> Iterator[Placed]:
        """Yield what is held at the end of the stream, such as the beginning of a burst: nothing is known to be missing."""
        held, self.held = self.held, []
        for piece in held:
            yield from self._counted(*piece)

    def pace(self) -> str:
        """Return in a sentence that the stream was not as fast as it says, if that is so."""
        passed_s = self.count / self.rate_hz
        share = self._slower_s / max(passed_s, 1e-9)
        if passed_s < SLOW_S or (abs(share) < SLOW and self.missing < FAR * self.count):
            return ""
        if share < -STILL:
            return "its time stamps stand still, so nobody can tell whether samples are lost: its nominal rate counts alone"
        if share < -FAR or (self.gaps >= MANY and self.missing > FAR * self.count):
            found_hz = self.rate_hz * (1 - self.missing / self.count) / (1 + share)
            many = (
                f", or {self.missing / self.count:.0%} of its samples are lost, in {self.gaps} gaps"
                if self.missing
                else ""
            )
            return f"by its time stamps it sends about {found_hz:.0f} Hz, its nominal rate is {self.rate_hz:g} Hz{many}"
        if abs(share) < SLOW:
            return ""
        found = f"its samples came {100 * abs(share):.1f} % {'slower' if share > 0 else 'faster'} than its nominal rate says"
        return f"{found}, which is its clock here{', or some are lost here and there' if share > 0 else ''}"

    @property
    def _ahead(self) -> int:
        return sum(len(stamps) for _, stamps, _ in self.held)

    def _set(self, stamp: float, arrived: float) -> None:
        """Begin a new line at the next sample; what is sent at once with it may still turn out to be less late."""
        self._anchor, self._latest, self._settled = (self.count, stamp), stamp, arrived + HOLD_S

    def _late(self, stamps: NDArray[np.float64], ahead: int, drift: float = DRIFT) -> NDArray[np.float64]:
        """Return by how many seconds samples (time,), `ahead` of which come before, lie after the line."""
        assert self._anchor is not None
        number, stamp = self._anchor
        return stamps - stamp - (self.count + ahead - number + np.arange(len(stamps))) * ((1 + drift) / self.rate_hz)

    def _lateness(self, stamps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same of the next samples, after the line that each finds, which those before it have moved."""
        late = self._late(stamps, 0)
        return late - np.minimum.accumulate(np.concatenate([[0.0], late]))[:-1]

    def _move(self, stamps: NDArray[np.float64]) -> None:
        """Move the anchor to the sample that came least late, if it is one of the next ones."""
        if not len(stamps):
            return
        late = self._late(stamps, 0)
        place = len(late) - 1 - int(np.argmin(late[::-1]))
        if late[place] <= 0:
            fall_s = -float(self._late(stamps, 0, drift=0)[place])  # of the lateness, as in a burst
            self._longest_s = max(self._longest_s, min(fall_s, place / self.rate_hz))
            assert self._anchor is not None
            number, stamp = self._anchor
            self._anchor = (self.count + place, float(stamps[place]))
            if number:  # the first sample of all may be late itself
                self._slower_s += float(stamps[place]) - stamp - (self._anchor[0] - number) / self.rate_hz

    def _counted(
        self, values: NDArray[np.float32], stamps: NDArray[np.float64], arrived: float, seam: str = ""
    ) -> Iterator[Placed]:
        if len(stamps):
            first, self.count = self.count, self.count + len(stamps)
            self._latest, self._arrived = float(stamps[-1]), arrived
            yield Placed(values, first, arrived, seam)
