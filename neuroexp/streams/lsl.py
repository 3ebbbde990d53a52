"""Live input and output over Lab Streaming Layer: needs pip install 'neuroexp[lsl]'."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.deploy.decoder import Spec
from neuroexp.streams import montage
from neuroexp.streams.clock import Clock, Placed
from neuroexp.streams.stream import Window

WAIT_S = 10.0  # for a stream to appear
PULL_S = 0.05  # without samples before the inlet is asked again
QUIET = "[log]\nlevel = -3\n"  # nothing but what ends the process: that a stream fell silent is said at the end
SILENT_S = 1.0  # without samples before the end, which is worth saying

Piece = tuple[NDArray[np.float32], int, float | None]
Heard = Callable[[Window, NDArray[np.float32]], None]


def inlet(
    name: str,
    spec: Spec,
    seconds: float | None,
    note: Callable[[str], None],
    part: Callable[[str], None] = lambda why: None,
    channels: str | None = None,
) -> Iterator[Piece]:
    """Yield what the stream `name` sends, for `seconds`, until it ends or is interrupted.

    Pieces are samples, the number of the first, and when they arrived. Samples come in microvolts, whatever unit the stream
    names for each channel; `channels` chooses them by label or number. Samples are numbered by a `Clock`, so that what was
    lost on the way shows as a gap. `note` hears what is worth saying of the
    stream, `part` why the next samples do not follow those before, where nobody knows how many are missing. Raises ValueError
    when there is no such stream, or its channels, nominal rate or units are not what the run was trained on.
    """
    lsl = _library()
    found = lsl.resolve_byprop("name", name, timeout=WAIT_S)
    if not found:
        others = ", ".join(sorted({info.name() for info in lsl.resolve_streams(1.0)})) or "none"
        raise ValueError(f"input=lsl:{name}: there is no such stream after {WAIT_S:g} s (there: {others})")
    if len({info.uid() for info in found}) > 1:
        raise ValueError(f"input=lsl:{name}: {len(found)} streams have this name")
    info = found[0]
    if info.nominal_srate() == lsl.IRREGULAR_RATE:
        raise ValueError(
            f"lsl:{name} names no sampling rate (it is irregular in LSL's words), {spec.name} was trained on "
            f"{spec.rate_hz:g} Hz: set the nominal rate where the stream is made"
        )
    if info.nominal_srate() != spec.rate_hz:
        raise ValueError(f"lsl:{name} has {info.nominal_srate():g} Hz, {spec.name} was trained on {spec.rate_hz:g}")
    source = lsl.StreamInlet(info)
    try:
        source.open_stream(timeout=WAIT_S)
        whole = source.info(timeout=WAIT_S)
    except (lsl.util.LostError, lsl.util.TimeoutError):
        raise ValueError(
            f"lsl:{name} was there a moment ago and does not answer any more: start it, and this again"
        ) from None
    taken = montage.chosen(channels, whole.get_channel_labels() or [], whole.channel_count(), name, spec)
    scale, said = montage.microvolts(whole.get_channel_units() or [], taken, name)
    if said:
        note(said)
    return _pulled(source, spec.rate_hz, seconds, scale, taken, name, note, part)


def _pulled(
    source: Any,
    rate_hz: float,
    seconds: float | None,
    scale: NDArray[np.float32],
    taken: NDArray[np.int64],
    name: str,
    note: Callable[[str], None],
    part: Callable[[str], None],
) -> Iterator[Piece]:
    clock, began, lost = Clock(rate_hz), time.perf_counter(), _library().util.LostError
    latest, ended = began, False

    def pieces(placed: Iterator[Placed]) -> Iterator[Piece]:
        for piece in placed:
            if piece.seam:
                part(piece.seam)
            yield np.asarray(piece.values[:, taken], dtype=np.float32) * scale, piece.first, piece.arrived

    try:
        while not ended and (seconds is None or time.perf_counter() - began < seconds):
            try:
                values, stamps = source.pull_chunk(timeout=PULL_S, min_samples=1, as_numpy=True)
            except lost:  # a stream without a source id is not waited for
                ended = True
                continue
            arrived = time.perf_counter()
            if len(stamps):
                latest = arrived
                yield from pieces(clock.take(np.asarray(values), np.asarray(stamps, dtype=float), arrived))
            yield from pieces(clock.due(arrived))
        yield from pieces(clock.finish())
    finally:
        silent_s, signal_s = time.perf_counter() - latest, clock.count / rate_hz
        if ended:
            note(f"lsl:{name} ended after {signal_s:.1f} s of signal")
        elif silent_s > SILENT_S:
            note(f"lsl:{name} sent nothing in the last {silent_s:.1f} s, after {signal_s:.1f} s of signal")
        if pace := clock.pace():
            note(f"lsl:{name}: {pace}")
        source.close_stream()


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
