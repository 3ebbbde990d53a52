"""A recording or a live stream through a trained run, chunk by chunk: `python -m neuroexp.replay run_id=RUN_ID`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from neuroexp import replayed, targets, trained
from neuroexp.cuff import Session
from neuroexp.decoder import Decoder, Spec
from neuroexp.job import sentence
from neuroexp.matching import tolerance
from neuroexp.pace import Decoding, Engine, Tally, chunks, deadline_ms
from neuroexp.recording import Recording
from neuroexp.trained import Asked, Trained

USAGE = (
    "python -m neuroexp.replay run_id=RUN_ID [recording=NAME] [recording.path=FILE] [chunk=SAMPLES] [speed=1|max] "
    "[engine=eager] [threads=1] [input=lsl:STREAM] [output=lsl:STREAM] [seconds=10] [tracking.uri=URI]"
)
OWN = ("chunk", "speed", "engine", "threads", "input", "output", "seconds")
CHUNK_S = 0.005  # of a chunk, unless one is asked for
COUNTED = "every CAP of a recording counts as of its class, spontaneous ones and those that the run was trained on too"


@dataclass(frozen=True)
class Source:
    """What is replayed: one recording, or those of a cuff, one per class."""

    name: str
    parts: tuple[tuple[str, Callable[[], Recording]], ...]  # the name of each ("" for the only one), and how to read it
    simulated: bool
    own: bool  # whether it is the recording that the run was trained on


@dataclass(frozen=True)
class Options:
    """How to replay."""

    chunk: int
    real_time: bool
    threads: int
    engine: str
    seconds: float | None
    input: str | None
    output: str | None


def main() -> None:
    """Replay a recording through a run; print, draw and write what was found and how late it was."""
    words = sys.argv[1:]
    changes = [word for word in words if word.startswith(("recording=", "recording."))]
    asked = trained.asked([word for word in words if word not in changes], USAGE, OWN)
    try:
        asked, recording = _chosen(asked, changes)
        run = trained.load(asked)
        chosen = options(asked.words, run.spec)
        torch.set_num_threads(chosen.threads)
        source = None if chosen.input else _source(run, recording)
        place = Path("outputs") / "replay" / _slug(run.spec, source, chosen)
        summary = replay(run, source, chosen, engine(chosen.engine, run.decoder), place)
    except ValueError as error:
        sys.exit(str(error))
    replayed.show(summary, place)


def options(words: Mapping[str, str], spec: Spec) -> Options:
    """Return the command's own words as values; raises ValueError for one that is not valid."""
    found = {
        "chunk": str(max(1, round(CHUNK_S * spec.rate_hz))),
        "threads": "1",
        "speed": "max",
        "engine": "eager",
    } | dict(words)
    for name in ("chunk", "threads"):
        if not found[name].isdecimal() or int(found[name]) < 1:
            raise ValueError(f"{name}={found[name]} is no whole number of at least 1")
    if found["speed"] not in ("1", "max"):
        raise ValueError(f"speed={found['speed']} is neither 1 (as recorded) nor max (as fast as it goes)")
    for name in ("input", "output"):
        if name in found and not re.fullmatch("lsl:.+", found[name]):
            raise ValueError(f"{name}={found[name]} names no stream: {name}=lsl:NAME")
    seconds = None
    if "seconds" in found:
        with contextlib.suppress(ValueError):
            seconds = float(found["seconds"])
        if seconds is None or not 0 < seconds < math.inf:
            raise ValueError(f"seconds={found['seconds']} is no positive number")
    ends = (found[name].removeprefix("lsl:") if name in found else None for name in ("input", "output"))
    return Options(int(found["chunk"]), found["speed"] == "1", int(found["threads"]), found["engine"], seconds, *ends)


def engine(name: str, decoder: Decoder) -> Engine:
    """Return what turns windows (window, channel, time) into probabilities (window, output)."""
    if name != "eager":
        raise ValueError(f"engine={name} is not there: eager is")

    def eager(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return decoder(torch.from_numpy(windows)).numpy()

    return eager


def _chosen(asked: Asked, changes: Sequence[str]) -> tuple[Asked, DictConfig | None]:
    """Return the run, and the recording to be replayed in place of its own: None when it is that one, perhaps moved."""
    if not changes:
        return asked, None
    config = asked.config.copy()
    dots = OmegaConf.from_dotlist([word for word in changes if word.startswith("recording.")]).get("recording", {})
    for word in changes:
        if word.startswith("recording="):
            name = word.partition("=")[2]
            folder = files("neuroexp.conf") / "recording"
            valid = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())
            if name not in valid:
                raise ValueError(f"recording={name} is not there: {', '.join(valid)}")
            config.recording = OmegaConf.create((folder / f"{name}.yaml").read_text())
    unknown = [str(key) for key in dots if key not in config.recording]
    if unknown:
        raise ValueError(
            f"recording.{unknown[0]} is no setting of this recording: {', '.join(map(str, list(config.recording)[1:]))}"
        )
    config.recording = OmegaConf.merge(config.recording, dots)
    plain = OmegaConf.to_container(config.recording, resolve=True)
    targets.check(plain, "recording", list(config.trusted))
    recording = DictConfig(plain)
    if _read(recording).sha256[:16] == asked.found["digest"]:
        config.recording = config.dataset.recording = recording
        return dataclasses.replace(asked, config=config), None
    return asked, recording


def _read(recording: DictConfig) -> Any:
    try:
        found = instantiate(recording)
    except Exception as error:
        raise ValueError(sentence(error)) from error
    if not isinstance(found, Recording | Session):
        what = getattr(found, "name", "this recording")
        raise ValueError(
            f"{what} is no stream of samples: name one, such as recording=eng_simulated or recording.path=FILE"
        )
    return found


def _source(run: Trained, recording: DictConfig | None) -> Source:
    """Return the recordings to stream; raises ValueError when they are not of the run's kind."""
    spec, own = run.spec, recording is None
    found = _read(run.asked.config.recording if recording is None else recording)
    if isinstance(found, Session) != (spec.dataset == "eng"):
        kinds = ("HD-sEMG", "a nerve cuff")[:: 1 if isinstance(found, Recording) else -1]
        raise ValueError(f"{found.name} is a recording of {kinds[0]}, {spec.name} was trained on one of {kinds[1]}")
    if isinstance(found, Session):
        if found.classes != spec.outputs:
            theirs, ours = (", ".join(names) for names in (found.classes, spec.outputs))
            raise ValueError(f"{found.name} has the classes {theirs}; {spec.name} was trained on {ours}")
        parts = tuple((name, lambda name=name: found.read(name)) for name in found.classes)
        return Source(found.name, parts, found.simulated, own)
    if own:
        found = run.fold.source  # with its spike trains aligned, if the run did that
    return Source(found.name, (("", lambda: found),), found.simulated, own)


def check(spec: Spec, recording: Recording) -> None:
    """Raise ValueError, naming the difference, when a recording does not fit what the run was trained on."""
    units = len(recording.spike_trains)
    for what, theirs, ours in (
        ("channels", recording.signal.shape[1], spec.n_channels),
        ("Hz", recording.rate_hz, spec.rate_hz),
        ("motor units", units, len(spec.outputs) if spec.step and units else units),
    ):
        if theirs != ours:
            raise ValueError(f"{recording.name} has {theirs:g} {what}, {spec.name} was trained on {ours:g}")


def replay(run: Trained, source: Source | None, chosen: Options, engine: Engine, place: Path) -> dict[str, Any]:
    """Replay `source`, or without one the live input; write events, summary and picture into `place`, return the summary."""
    from neuroexp import view  # noqa: PLC0415 - only a terminal needs it

    spec = run.spec
    Decoding(spec, engine, Tally(1.0))  # what cannot be streamed is refused before anything is written
    place.mkdir(parents=True, exist_ok=True)
    tally = Tally(deadline_ms(spec))
    peak = str(run.asked.config.label["_target_"]).endswith("label_step")
    table = replayed.Table(place / ("discharges.csv" if spec.step else "caps.csv"), spec)
    health: dict[str, Any] = {}
    spans_s: list[float] = []
    true: list[Any] = []
    began, samples, stopped = time.perf_counter(), 0, False
    with contextlib.ExitStack() as stack:
        stack.callback(table.file.close)
        heard = None
        if chosen.output is not None:
            from neuroexp import lsl  # noqa: PLC0415 - an extra

            heard = stack.enter_context(lsl.outlet(chosen.output, spec))
        stack.enter_context(view.shown(spec, tally))
        for name, pieces in _pieces(spec, source, chosen, true):
            decoding = Decoding(spec, engine, tally, peak, heard)
            try:
                for chunk, first, arrived in pieces:
                    table.write(decoding.push(chunk, first, arrived), name)
            except KeyboardInterrupt:
                stopped = True
            table.write(decoding.finish(), name)
            health[name] = replayed.plain(decoding.stream.health)
            spans_s.append(tally.samples / spec.rate_hz)
            samples += tally.samples
            if stopped:
                break
    said = "in real time" if chosen.real_time or source is None else "as fast as it goes: latencies are computing alone"
    summary: dict[str, Any] = {
        "name": spec.name, "run_id": spec.run_id, "rate_hz": spec.rate_hz, "outputs": list(spec.outputs),
        "recording": source.name if source else chosen.input, "title": _title(source, chosen),
        "simulated": bool(source and source.simulated),
        "engine": chosen.engine, "threads": chosen.threads, "chunk": chosen.chunk, "stopped": stopped,
        "how": f"{said}, engine {chosen.engine}, {chosen.threads} thread{'s' * (chosen.threads > 1)}, "
        + (f"chunks of {chosen.chunk} samples" if source else "chunks as they came"),
        "event_at": "highest probability" if peak or not spec.step else "middle of the positive windows",
        "timing": replayed.timing(tally, time.perf_counter() - began, spec.rate_hz, samples),
        "health": health, "spans_s": spans_s,
    }  # fmt: skip
    _finish(run, source, summary, tally, true, Path(table.file.name))
    (place / "summary.json").write_text(json.dumps(summary, indent=1, default=float))
    return summary


def _pieces(spec: Spec, source: Source | None, chosen: Options, true: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield, for each recording, its name and its chunks; the spike trains of a recording end up in `true`."""
    if source is None:
        from neuroexp import lsl  # noqa: PLC0415 - an extra

        assert chosen.input is not None
        yield "", lsl.inlet(chosen.input, spec, chosen.seconds)
        return
    for name, read in source.parts:
        recording = read()
        check(spec, recording)
        signal = recording.signal
        if chosen.seconds is not None:
            signal = signal[: round(chosen.seconds * spec.rate_hz)]
        true[:] = [train[train < len(signal)] for train in recording.spike_trains]
        yield name, chunks(signal, chosen.chunk, spec.rate_hz, chosen.real_time)


def _finish(
    run: Trained, source: Source | None, summary: dict[str, Any], tally: Tally, true: list[Any], path: Path
) -> None:
    """Score what is known of the recording, and draw."""
    from neuroexp import replay_plot  # noqa: PLC0415 - matplotlib is needed once, at the end

    spec, picture = run.spec, path.with_name("replay.png")
    if spec.step:
        found, tested = replayed.trains(path, len(spec.outputs)), None
        samples = round(summary["timing"]["recorded_s"] * spec.rate_hz)
        true = [train[train < samples] for train in true]
        if not true:
            summary["unscored"] = "No spike trains are known of this stream: it is not scored."
        else:
            if source is not None and source.own:
                tested = _tested(run, samples)
                if tested.any():
                    summary["scores"] = {"test part": replayed.scores(true, found, spec, tested)}
            summary.setdefault("scores", {})["whole recording"] = replayed.scores(true, found, spec)
        within = tolerance(spec.rate_hz, spec.step)[0]
        replay_plot.discharges(picture, summary, tally, found, true or None, within, tested)
        return
    known = source is not None
    counts = replayed.confusion(path, spec.outputs) if known else None
    if counts is not None:
        summary["confusion"] = counts.tolist()
        summary["accuracy"] = float(counts.trace() / counts.sum()) if counts.sum() else math.nan
        summary["counted"] = COUNTED if source and source.own else COUNTED.partition(" and those")[0]
    else:
        summary["unscored"] = "No class is known of this stream: it is not scored."
    replay_plot.classes(picture, summary, tally, replayed.timed(path, spec.outputs, summary["spans_s"]))


def _tested(run: Trained, samples: int) -> NDArray[np.bool_]:
    """Return which samples (time,) the run's test windows decide on: the step around the centre of each."""
    fold, step = run.fold, run.spec.step
    assert step is not None
    low = fold.starts.numpy()[fold.split.test] + fold.window // 2 - step // 2
    tested = np.zeros(samples + step, dtype=bool)
    places = low[:, None] + np.arange(step)
    tested[places[(places >= 0) & (places < samples)]] = True
    return tested[:samples]


def _title(source: Source | None, chosen: Options) -> str:
    """Return what was replayed; what is simulated says so."""
    if source is None:
        return f"LSL stream {chosen.input}"
    return source.name + " (simulated)" * (source.simulated and "simulated" not in source.name)


def _slug(spec: Spec, source: Source | None, chosen: Options) -> str:
    """Return the name of the folder: the run, and what was replayed if it is not the run's own recording."""
    other = [] if source is not None and source.own else [source.name if source else str(chosen.input)]
    return re.sub(r"[^\w.=]+", "-", " ".join([spec.name, spec.run_id[:8], *other])).strip("-")


if __name__ == "__main__":
    main()
