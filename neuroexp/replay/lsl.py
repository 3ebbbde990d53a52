"""Live input and output over Lab Streaming Layer: needs pip install 'neuroexp[lsl]'."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.decoder import Spec
from neuroexp.replay.stream import Window

WAIT_S = 10.0  # for a stream to appear
PULL_S = 0.05  # without samples before the inlet is asked again
JITTER_S = 0.02  # between the stamps of chunks that follow one another; more is a gap
QUIET = "[log]\nlevel = -3\n"  # nothing but what ends the process: that a stream fell silent is said at the end
SILENT_S = 1.0  # without samples before the end, which is worth saying
UNITS_UV = {  # what the streams of acquisition systems call them, without case: microvolts
    "microvolts": 1.0,
    "microvolt": 1.0,
    "uv": 1.0,
    "µv": 1.0,
    "μv": 1.0,
    "millivolts": 1e3,
    "millivolt": 1e3,
    "mv": 1e3,
    "volts": 1e6,
    "volt": 1e6,
    "v": 1e6,
}

Piece = tuple[NDArray[np.float32], int, float | None]
Heard = Callable[[Window, NDArray[np.float32]], None]


def inlet(name: str, spec: Spec, seconds: float | None, note: Callable[[str], None]) -> Iterator[Piece]:
    """Yield what the stream `name` sends, for `seconds` or until it is interrupted: samples, number of the first, arrival.

    Samples come in microvolts, whatever unit the stream names for each channel. The number of a chunk's first sample follows
    from its time stamp, so that what was lost on the way shows as a gap; a chunk whose stamps lie before those of the last
    one is late. `note` hears what is worth saying of the stream. Raises ValueError when there is no such stream, or its
    channels, nominal rate or units are not what the run was trained on.
    """
    lsl = _library()
    found = lsl.resolve_byprop("name", name, timeout=WAIT_S)
    if not found:
        others = ", ".join(sorted({info.name() for info in lsl.resolve_streams(1.0)})) or "none"
        raise ValueError(f"input=lsl:{name}: there is no such stream after {WAIT_S:g} s (there: {others})")
    if len({info.uid() for info in found}) > 1:
        raise ValueError(f"input=lsl:{name}: {len(found)} streams have this name")
    info = found[0]
    for what, theirs, ours in (
        ("channels", info.channel_count(), spec.n_channels),
        ("Hz", info.nominal_srate(), spec.rate_hz),
    ):
        if theirs != ours:
            raise ValueError(f"lsl:{name} has {theirs:g} {what}, {spec.name} was trained on {ours:g}")
    source = lsl.StreamInlet(info)
    source.open_stream(timeout=WAIT_S)
    scale = _microvolts(source.info(timeout=WAIT_S), name)
    if scale is None:
        note(f"lsl:{name} names no unit: its values are taken as microvolts")
    return _pulled(source, spec.rate_hz, seconds, np.float32(1) if scale is None else scale, name, note)


def _microvolts(info: Any, name: str) -> NDArray[np.float32] | None:
    """Return the microvolts (channel,) of one unit of a stream, None where it names none; raises ValueError for another."""
    units = [unit.strip() for unit in info.get_channel_units() or [] if unit]
    if len(units) < info.channel_count():
        return None
    unknown = [(number, unit) for number, unit in enumerate(units, start=1) if unit.lower() not in UNITS_UV]
    if unknown:
        raise ValueError(
            f"lsl:{name} has channel {unknown[0][0]} in {unknown[0][1]}: valid are microvolts, millivolts and volts"
        )
    return np.array([UNITS_UV[unit.lower()] for unit in units], dtype=np.float32)


def _pulled(
    source: Any,
    rate_hz: float,
    seconds: float | None,
    scale: np.float32 | NDArray[np.float32],
    name: str,
    note: Callable[[str], None],
) -> Iterator[Piece]:
    began, position = time.perf_counter(), 0
    latest = began
    expected: float | None = None  # stamp of the next sample
    try:
        while seconds is None or time.perf_counter() - began < seconds:
            values, stamps = source.pull_chunk(timeout=PULL_S, min_samples=1, as_numpy=True)
            arrived = time.perf_counter()
            if not len(stamps):
                continue
            latest = arrived
            for piece, first in numbered(np.asarray(stamps), rate_hz, position, expected):
                yield np.asarray(values[piece], dtype=np.float32) * scale, first, arrived
                end = first + piece.stop - piece.start
                if end > position:
                    position, expected = end, float(stamps[piece.stop - 1]) + 1 / rate_hz
    finally:
        silent_s = time.perf_counter() - latest
        if silent_s > SILENT_S:
            note(f"lsl:{name} sent nothing in the last {silent_s:.1f} s, after {position / rate_hz:.1f} s of signal")
        source.close_stream()


def numbered(
    stamps: NDArray[np.float64], rate_hz: float, position: int, expected: float | None
) -> list[tuple[slice, int]]:
    """Cut a chunk where its stamps (time,) jump: slices of it, and the number of the first sample of each.

    The sample with number `position` is expected at `expected` seconds; stamps may be off by `JITTER_S`, either way.
    """
    jumps = np.diff(stamps) - 1 / rate_hz
    cuts = [0, *(np.flatnonzero(np.abs(jumps) > JITTER_S) + 1).tolist(), len(stamps)]
    found = []
    for low, high in itertools.pairwise(cuts):
        late_s = 0.0 if expected is None else float(stamps[low]) - expected
        first = position + (round(late_s * rate_hz) if abs(late_s) > JITTER_S else 0)
        found.append((slice(low, high), first))
        if first + high - low > position:
            position, expected = first + high - low, float(stamps[high - 1]) + 1 / rate_hz
    return found


@contextlib.contextmanager
def outlet(name: str, spec: Spec) -> Iterator[Heard]:
    """Give a function that sends the probabilities (output,) of each decided window as one sample of the stream `name`.

    A channel per output, labelled with it, as soon as it is decided: stamped with the time of sending, at no fixed rate.
    """
    lsl = _library()
    info = lsl.StreamInfo(name, "Decisions", len(spec.outputs), lsl.IRREGULAR_RATE, lsl.cf_float32, spec.run_id)
    channels = info.desc().append_child("channels")
    for label in spec.outputs:
        channels.append_child("channel").append_child_value("label", label).append_child_value("unit", "probability")
    info.desc().append_child_value("run", spec.name)
    sender = lsl.StreamOutlet(info)

    def heard(_: Window, probabilities: NDArray[np.float32]) -> None:
        sender.push_sample(probabilities.tolist())

    yield heard


def _library() -> ModuleType:
    try:
        import pylsl  # noqa: PLC0415 - an extra
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"Lab Streaming Layer needs pip install 'neuroexp[lsl]' ({error})") from None
    own = [Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg")]
    if "LSLAPICFG" not in os.environ and not any(path.exists() for path in own):  # else they say how loud it is
        with contextlib.suppress(NotImplementedError):  # an older liblsl of the system's
            pylsl.set_config_content(QUIET)
    return pylsl
