"""A recording or a live stream through a decoder, chunk by chunk; what was found and how late it was, as files."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.deploy import engines
from neuroexp.deploy.decoder import Spec
from neuroexp.deploy.engines import Predict
from neuroexp.evaluation.matching import tolerance
from neuroexp.replay import report, scoring
from neuroexp.replay import source as sources
from neuroexp.replay.pace import Decoding, Tally, chunks
from neuroexp.replay.source import Source
from neuroexp.replay.table import Table, timed, trains, write_units
from neuroexp.settings.typecheck import whole
from neuroexp.streams.stream import Stream

CHUNK_S = 0.005  # of a chunk, unless one is asked for
COUNTED = "every CAP of a recording counts as of its class, spontaneous ones and those that the run was trained on too"


@dataclass(frozen=True)
class Options:
    """How to replay.

    Parameters
    ----------
    chunk : int
        Samples that come at a time.
    real_time : bool
        By the clock, or as fast as it goes.
    threads : int
        Of the engine.
    engine : str
        Its name, such as "eager" or "int8".
    seconds : float, optional
        Of the recording or stream.
    threshold : float, optional
        In place of the run's own.
    input, output : str, optional
        Names of live streams.
    channels : str, optional
        Of the live input, by label or number.
    """

    chunk: int
    real_time: bool
    threads: int
    engine: str
    seconds: float | None
    threshold: float | None
    input: str | None
    output: str | None
    channels: str | None = None


def options(words: Mapping[str, str], spec: Spec) -> Options:
    """Return the command's own words as values; raises ValueError for one that is not valid."""
    found = {
        "chunk": str(max(1, round(CHUNK_S * spec.rate_hz))),
        "threads": "1",
        "speed": "max",
        "engine": "eager",
    } | dict(words)
    chunk, threads = whole("chunk", found["chunk"]), engines.thread_count(found["threads"])
    if found["speed"] not in ("1", "max"):
        raise ValueError(f"speed={found['speed']} is neither 1 (as recorded) nor max (as fast as it goes)")
    for name in ("input", "output"):
        if name in found and not re.fullmatch("lsl:.+", found[name]):
            raise ValueError(f"{name}={found[name]} names no stream: {name}=lsl:NAME")
    seconds = _number(found, "seconds", math.inf, "is no positive number")
    threshold = _number(found, "threshold", 1, "is no probability between 0 and 1")
    if threshold is not None and not spec.step:
        raise ValueError(f"threshold={threshold:g} says nothing to {spec.name}: a CAP is of its most probable class")
    ends = (found[name].removeprefix("lsl:") if name in found else None for name in ("input", "output"))
    if "channels" in found and "input" not in found:
        raise ValueError("channels= chooses among those of a live stream: it needs input=lsl:NAME")
    streams = (*ends, found.get("channels"))
    return Options(chunk, found["speed"] == "1", threads, found["engine"], seconds, threshold, *streams)


def _number(found: Mapping[str, str], name: str, below: float, wrong: str) -> float | None:
    """Return a number above 0 that was typed, None where there is none; raises ValueError for another."""
    if name not in found:
        return None
    value = math.nan
    with contextlib.suppress(ValueError):
        value = float(found[name])
    if not 0 < value < below:
        raise ValueError(f"{name}={found[name]} {wrong}")
    return value


@dataclass
class _Known:
    """What is known of the recordings of a source."""

    trains: list[NDArray[np.int64]]  # true spike trains of the only one
    tested: dict[str, NDArray[np.bool_]]  # of each, the samples (time,) that the run was tested on
    notes: list[str]  # on how they fit the run, and on how they came
    live: bool = False  # what breaks it is said at once
    said: list[str] = dataclasses.field(default_factory=list)  # as it happened
    say: Callable[[str], None] | None = None  # where that is said
    stream: Stream | None = None  # the one that is decoded

    def happened(self, sentence: str) -> None:
        """Say at once what breaks a live stream."""
        self.said.append(sentence)
        if self.say is not None:
            self.say(sentence)

    def part(self, sentence: str, anew: bool = False) -> None:
        """Have the stream go on behind a seam."""
        if self.stream is not None:
            self.stream.part(sentence, anew)


def replay(spec: Spec, source: Source | None, chosen: Options, engine: Predict, place: Path) -> dict[str, Any]:
    """Replay a recording or a live stream; write events, summary and picture into a folder.

    What the folder held is replaced at the end; a recording that is stopped on its way goes into a folder of its own.

    Parameters
    ----------
    spec : Spec
        Of the decoder.
    source : Source, optional
        What to replay; None: the live input of `chosen`.
    chosen : Options
        How.
    engine : function
        From one window (channel, time) in microvolts to its probabilities.
    place : Path
        The folder.

    Returns
    -------
    dict
        The summary, as in `summary.json`.

    Raises
    ------
    ValueError
        When the source is not of the run's kind.
    """
    from neuroexp.replay import view  # noqa: PLC0415 - only a terminal needs it

    if chosen.threshold is not None:
        spec = dataclasses.replace(spec, threshold=chosen.threshold)
    Stream(spec)  # refuses what cannot be streamed, and the first part what does not fit, before anything is written
    tally, known = Tally(spec.period_ms), _Known([], {}, [], live=source is None)
    parts = _pieces(spec, source, chosen, known)
    parts = itertools.chain([next(parts)], parts)
    working = place.with_name(f"{place.name}.part")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    table = Table(working / ("discharges.csv" if spec.step else "caps.csv"), spec)
    with contextlib.ExitStack() as stack:
        stack.callback(table.file.close)
        heard = None
        if chosen.output is not None:
            from neuroexp.streams import lsl  # noqa: PLC0415 - an extra

            heard = stack.enter_context(lsl.outlet(chosen.output, spec))
        known.say = stack.enter_context(view.shown(spec, tally))
        went = _decoded(parts, lambda: Decoding(spec, engine, tally, heard), spec.rate_hz, table, known)
    summary: dict[str, Any] = {
        "name": spec.name, "run_id": spec.run_id, "rate_hz": spec.rate_hz, "outputs": list(spec.outputs),
        "recording": source.name if source else chosen.input, "title": source.title if source else f"LSL stream {chosen.input}",
        "simulated": bool(source and source.simulated), "trained_on": bool(source and source.own),
        "engine": chosen.engine, "threads": chosen.threads, "chunk": chosen.chunk,
        "how": _how(spec, source, chosen),
        "event_at": _event_at(spec),
        **went,
        "threshold": spec.threshold if spec.step else None, "highest_probability": tally.highest,
    }  # fmt: skip
    _finish(spec, source, summary, tally, known, Path(table.file.name))
    summary |= {"notes": known.notes, "said": known.said}
    if summary["stopped"] and source is not None:
        place = place.with_name(f"{place.name}-stopped")
    summary["folder"] = str(place)
    finite = json.loads(json.dumps(summary, default=float), parse_constant=lambda _: None)  # JSON has no NaN
    (working / "summary.json").write_text(json.dumps(finite, indent=1))
    shutil.rmtree(place, ignore_errors=True)
    working.replace(place)
    return summary


def _decoded(
    parts: Iterator[tuple[str, Any]], begin: Callable[[], Decoding], rate_hz: float, table: Table, known: _Known
) -> dict[str, Any]:
    """Send the chunks of each part through a decoder of its own into a table; return what the summary says of how it went."""
    health: dict[str, Any] = {}
    spans_s: list[float] = []
    began, samples, stopped = time.perf_counter(), 0, False
    for name, pieces in parts:
        decoding = begin()
        tally, known.stream = decoding.tally, decoding.stream
        if known.live:
            known.stream.health.say = known.happened
        try:
            for chunk, first, arrived in pieces:
                table.write(decoding.push(chunk, first, arrived), name)
        except KeyboardInterrupt:
            stopped = True
        table.write(decoding.finish(), name)
        health[name] = report.plain(decoding.stream.health)
        spans_s.append(tally.samples / rate_hz)
        samples += tally.samples
        if stopped:
            break
    timing = report.timing(tally, time.perf_counter() - began, rate_hz, samples)
    return {"stopped": stopped, "timing": timing, "health": health, "spans_s": spans_s}


def _pieces(spec: Spec, source: Source | None, chosen: Options, known: _Known) -> Iterator[tuple[str, Any]]:
    """Yield, for each recording, its name and its chunks; what is known of it is added to `known`."""
    if source is None:
        from neuroexp.streams import lsl  # noqa: PLC0415 - an extra

        assert chosen.input is not None
        yield "", lsl.inlet(chosen.input, spec, chosen.seconds, known.notes.append, known.part, chosen.channels)
        return
    if not source.own and spec.step:
        known.notes.append(
            f"{spec.name} was trained on {spec.recording}, not on this recording: its units need not be those of this one"
        )
    begin = 0
    for name, read in source.parts:
        recording = read()
        sources.check(spec, recording)
        known.notes.extend(note for note in recording.notes if note not in known.notes)
        signal = recording.signal
        if chosen.seconds is not None:
            signal = signal[: round(chosen.seconds * spec.rate_hz)]
        if len(signal) < spec.window:
            raise ValueError(f"{len(signal)} samples of {recording.name} are less than one window of {spec.window}")
        known.trains = [train[train < len(signal)] for train in recording.spike_trains]
        if source.tested is not None:
            known.tested[name] = source.tested[begin : begin + len(signal)]
        begin += len(recording.signal)
        yield (
            name,
            chunks(signal, chosen.chunk, spec.rate_hz, chosen.real_time, recording.seams, partial(_seam, spec, known)),
        )


def _seam(spec: Spec, known: _Known, sample: int) -> None:
    known.part(f"time is missing from the recording at {sample / spec.rate_hz:.3f} s", anew=True)


def _finish(
    spec: Spec, source: Source | None, summary: dict[str, Any], tally: Tally, known: _Known, path: Path
) -> None:
    """Score what is known of the recording, and draw."""
    from neuroexp.replay import plot  # noqa: PLC0415 - matplotlib is needed once, at the end

    picture = path.with_name("replay.png")
    if not spec.step:
        if source is None:
            summary["unscored"] = "No class is known of this stream: it is not scored."
        else:
            summary["scores"] = scoring.class_scores(path, spec, known.tested)
            summary["counted"] = COUNTED if source.own else COUNTED.partition(" and those")[0]
        plot.classes(picture, summary, tally, timed(path, spec.outputs, summary["spans_s"]))
        return
    found = trains(path, len(spec.outputs))
    samples = round(summary["timing"]["recorded_s"] * spec.rate_hz)
    true = [train[train < samples] for train in known.trains]
    tested = known.tested[""][:samples] if known.tested else None
    if true:
        assert source is not None
        trained = None if source.trained is None else source.trained[:samples]
        truth = scoring.Truth(true, scoring.ceiling(true, source.label, spec, samples), tested, trained)
        summary["scores"] = scoring.unit_scores(truth, found, spec)
        write_units(path.with_name("per_unit.csv"), summary["scores"])
    else:
        summary["unscored"] = "No spike trains are known of this stream: it is not scored."
    within = tolerance(spec.rate_hz, spec.step)[0]
    plot.discharges(picture, summary, tally, found, true or None, within, tested)


def _event_at(spec: Spec) -> str:
    """Return in words where the time of an event is."""
    if not spec.step:
        return "CAP"
    return "highest probability" if spec.label == "step" else "middle of the positive windows"


def _how(spec: Spec, source: Source | None, chosen: Options) -> str:
    """Return in words what a latency is counted from."""
    threads = f"{chosen.threads} thread{'s' * (chosen.threads > 1)}"
    chunks = f"chunks of {chosen.chunk} samples" if source else "chunks as they come"
    if source is None or chosen.real_time:
        since = "in real time, from the arrival of a window's last chunk"
    else:
        since = "as fast as it goes, latencies are computing alone"
    if chosen.threshold is not None:
        since += f"; a discharge is a probability above {chosen.threshold:g}"
    if not spec.step:
        since += f"; a CAP is certain {spec.preparation['exclusion_ms']:g} ms after its peak, which is not counted"
    return f"engine {chosen.engine}, {threads}, {chunks}; {since}"


def folder(spec: Spec, source: Source | None, chosen: Options) -> Path:
    """Return where the files go: a folder for the run, in it one for how, how long, and on what if not the run's recording."""
    words = [chosen.engine, "1" if chosen.real_time or source is None else "max"]
    if chosen.seconds is not None:
        words.append(f"{chosen.seconds:g}s")
    if chosen.threshold is not None:
        words.append(f"above {chosen.threshold:g}")
    if source is None or not source.own:
        words.append(source.name if source else f"lsl {chosen.input}")
    if chosen.channels is not None:
        words.append(f"channels {chosen.channels}")
    plain = (re.sub(r"[^\w.]+", "-", word).strip("-") for word in (spec.run_id[:8] or spec.name, " ".join(words)))
    return Path("outputs", "replay", *plain)
