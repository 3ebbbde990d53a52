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
QUIET = "[log]\nlevel = -2\n"  # errors alone

Piece = tuple[NDArray[np.float32], int, float | None]
Heard = Callable[[Window, NDArray[np.float32]], None]


def inlet(name: str, spec: Spec, seconds: float | None) -> Iterator[Piece]:
    """Yield what the stream `name` sends, for `seconds` or until it is interrupted: samples, number of the first, arrival.

    The number of a chunk's first sample follows from its time stamp, so that what was lost on the way shows as a gap; a
    chunk whose stamps lie before those of the last one is late. Raises ValueError when there is no such stream, or its
    channels or nominal rate are not what the run was trained on.
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
    return _pulled(source, spec.rate_hz, seconds)


def _pulled(source: Any, rate_hz: float, seconds: float | None) -> Iterator[Piece]:
    began, position = time.perf_counter(), 0
    expected: float | None = None  # stamp of the next sample
    try:
        while seconds is None or time.perf_counter() - began < seconds:
            values, stamps = source.pull_chunk(timeout=PULL_S, min_samples=1, as_numpy=True)
            arrived = time.perf_counter()
            if not len(stamps):
                continue
            for piece, first in numbered(np.asarray(stamps), rate_hz, position, expected):
                yield np.asarray(values[piece], dtype=np.float32), first, arrived
                end = first + piece.stop - piece.start
                if end > position:
                    position, expected = end, float(stamps[piece.stop - 1]) + 1 / rate_hz
    finally:
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
