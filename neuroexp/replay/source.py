"""What is replayed: the run's own recording, or another one that fits it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from neuroexp.data import segments
from neuroexp.data.cuff import Session
from neuroexp.data.recording import Recording, broken_allowed
from neuroexp.deploy.decoder import Spec
from neuroexp.deploy.restore import Asked, Trained, plain
from neuroexp.machine.sentence import sentence
from neuroexp.replay.scoring import steps_of
from neuroexp.settings import callables, resolved

Settings = Mapping[str, Any]  # of a recording: what reads it, and with what

LABELS: dict[str, segments.Label] = {"step": segments.label_step, "window": segments.label_window}  # without a setting


@dataclass(frozen=True)
class Source:
    """One recording, or those of a cuff, one per class.

    Parameters
    ----------
    name : str
        How tables and figures call it.
    parts : tuple of (str, function)
        The name of each ("" for the only one), and how to read it.
    simulated : bool
        Whether a simulator made it.
    own : bool
        Whether it is the recording that the run was trained on.
    tested, trained : array of bool, (time,), optional
        The samples that the run was tested on, and those that it was trained on where windows have a step; recordings end to
        end.
    label : function, optional
        Which discharges make a window positive, where that is known.
    """

    name: str
    parts: tuple[tuple[str, Callable[[], Recording]], ...]
    simulated: bool
    own: bool = False
    tested: NDArray[np.bool_] | None = None
    trained: NDArray[np.bool_] | None = None
    label: segments.Label | None = None

    @property
    def title(self) -> str:
        """Its name; what is simulated says so."""
        return self.name + " (simulated)" * (self.simulated and "simulated" not in self.name)


def chosen(asked: Asked, changes: Sequence[str]) -> tuple[Asked, Settings | None]:
    """Return the run, and the recording that `changes` name in place of its own: None when it is that one, perhaps moved.

    `changes` are words of a command line, `recording=NAME` or `recording.SETTING=VALUE`. Raises ValueError for a name or
    setting that is not there, and for a recording that cannot be read.
    """
    if not changes:
        return asked, None
    config = dict(asked.config)
    recording = _changed(config["recording"], changes, str(config.get("data")), asked.trusted)
    if getattr(_instance(recording, asked.trusted), "sha256", "")[:16] == asked.found["digest"]:
        config |= {"recording": recording, "dataset": config["dataset"] | {"recording": recording}}
        return dataclasses.replace(asked, config=config), None
    return asked, recording


def named(changes: Sequence[str]) -> Settings:
    """Return the recording that `changes` name, for a decoder without its run; raises ValueError as `chosen` does."""
    if not any(word.startswith("recording=") for word in changes):
        raise ValueError(
            "a decoder alone knows no recording: name one with recording=NAME, or a stream with input=lsl:NAME"
        )
    return _changed({}, changes, os.environ.get("NEUROEXP_DATA", "data"))


def _changed(recording: Settings, changes: Sequence[str], data: str, trusted: Sequence[str] = ()) -> Settings:
    """Return a recording's settings, or those of the one that is named, with what else is typed."""
    try:
        dots = plain([word for word in changes if word.startswith("recording.")]).get("recording", {})
    except OmegaConfBaseException as error:
        raise ValueError(str(error)) from None
    for word in changes:
        if word.startswith("recording="):
            recording = _named(word.partition("=")[2], data)
    if unknown := [str(key) for key in dots if key not in recording]:
        settings = ", ".join(str(key) for key in recording if key != "_target_")
        raise ValueError(f"recording.{unknown[0]} is no setting of this recording: {settings}")
    recording = resolved.merged(recording, dots)
    callables.check(recording, trusted, "recording")
    return recording


def _named(name: str, data: str) -> Settings:
    """Return the settings of a recording of the package; `data` is the folder of downloaded ones."""
    folder = files("neuroexp.conf") / "recording"
    valid = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())
    if name not in valid:
        raise ValueError(f"recording={name} is not there: {', '.join(valid)}")
    settings = OmegaConf.create((folder / f"{name}.yaml").read_text())
    found = OmegaConf.to_container(OmegaConf.create({"data": data, "recording": settings}), resolve=True)
    assert isinstance(found, dict)
    return dict(found["recording"])


def _instance(recording: Settings, trusted: Sequence[str] = ()) -> Any:
    try:
        with broken_allowed():
            return callables.build(recording, trusted)
    except Exception as error:
        raise ValueError(sentence(error)) from error


def source(spec: Spec, recording: Settings | None, run: Trained | None = None) -> Source:
    """Return what to stream: `recording`, or the run's own; raises ValueError when it is not of the decoder's kind."""
    if recording is None:
        assert run is not None
        recording = run.asked.config["recording"]
    found = _instance(recording, () if run is None else run.asked.trusted)
    own = getattr(found, "sha256", "")[:16] == spec.digest
    if not isinstance(found, Recording | Session):
        what = getattr(found, "name", type(found).__name__)
        raise ValueError(f"{what} is no stream of samples: name one with recording=NAME or recording.path=FILE")
    if isinstance(found, Session) != (spec.dataset == "eng"):
        kinds = ("a nerve cuff", "HD-sEMG") if isinstance(found, Session) else ("HD-sEMG", "a nerve cuff")
        raise ValueError(f"{found.name} is a recording of {kinds[0]}, {spec.name} was trained on one of {kinds[1]}")
    if isinstance(found, Session):
        return session(found, spec, tested_caps(run) if own and run is not None else None, own)
    label = LABELS.get(spec.label) if run is None else callables.build(run.asked.config["label"], run.asked.trusted)
    if not own or run is None:
        return Source(found.name, (("", lambda: found),), found.simulated, own, label=label)
    found = run.fold.source  # with its spike trains aligned, if the run did that
    tested, trained = (decided(run, part) for part in (run.fold.split.test, run.fold.split.train))
    return Source(found.name, (("", lambda: found),), found.simulated, own, tested, trained, label)


def session(found: Session, spec: Spec, tested: NDArray[np.bool_] | None = None, own: bool = False) -> Source:
    """Return a cuff's recordings to stream, one class after another; raises ValueError when its classes are not the run's."""
    if found.classes != spec.outputs:
        theirs, ours = (", ".join(names) for names in (found.classes, spec.outputs))
        raise ValueError(f"{found.name} has the classes {theirs}; {spec.name} was trained on {ours}")

    def read(name: str) -> Recording:
        with broken_allowed():
            return found.read(name)

    parts = tuple((name, partial(read, name)) for name in found.classes)
    return Source(found.name, parts, found.simulated, own, tested)


def tested_caps(run: Trained) -> NDArray[np.bool_] | None:
    """Return which samples (time,) lie in a signature of the run's test part, recordings end to end; None without CAPs."""
    fold = run.fold
    if run.asked.config["dataset"]["windows"] != "cap":
        return None
    part = np.zeros(fold.source.n_samples, dtype=bool)
    part[fold.source.first[fold.split.test][:, None] + np.arange(fold.window)] = True
    return part


def decided(run: Trained, windows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which samples (time,) some of the run's windows decide on: the step around the centre of each."""
    return steps_of(run.spec).decided(run.fold.starts.numpy()[windows], len(run.fold.signal))


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
