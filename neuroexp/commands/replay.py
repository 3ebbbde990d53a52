"""A recording or a live stream through a trained run, chunk by chunk: `neuroexp replay run_id=RUN_ID`."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from neuroexp.commands import COMMANDS
from neuroexp.deploy import engines, restore
from neuroexp.deploy.decoder import Spec
from neuroexp.deploy.engines import Predict
from neuroexp.deploy.write import write
from neuroexp.machine.command import command
from neuroexp.replay import report
from neuroexp.replay import source as sources
from neuroexp.replay.play import Options, folder, options, replay
from neuroexp.replay.source import Source
from neuroexp.terminal import screen

COMMAND = COMMANDS["replay"]


@command
def main() -> None:
    """Replay a recording through a run or an exported decoder; print, draw and write what was found and how late it was."""
    words = sys.argv[1:]
    if words and "=" not in words[0] and Path(words[0]).is_file():
        words[0] = f"decoder={words[0]}"
    changes = [word for word in words if word.startswith(("recording=", "recording."))]
    others = [word for word in words if word not in changes]
    try:
        with tempfile.TemporaryDirectory() as files:
            exported = any(word.startswith("decoder=") for word in others)
            with screen.working("reading the decoder"):
                play = _exported(others, changes) if exported else _run(others, changes, Path(files))
            place = folder(play.spec, play.source, play.chosen)
            summary = replay(play.spec, play.source, play.chosen, play.engine, place)
    except ValueError as error:
        sys.exit(str(error))
    report.show(summary)


@dataclass(frozen=True)
class _Play:
    spec: Spec
    source: Source | None
    chosen: Options
    engine: Predict


def _run(words: list[str], changes: list[str], place: Path) -> _Play:
    """Return what replays a run of MLflow, on its own recording or another."""
    asked, recording = sources.chosen(restore.asked(words, COMMAND.usage, COMMAND.own), changes)
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - a second to import, which an exported decoder does not need

    try:
        run = restore.load(asked)
    except StoreError as error:
        raise ValueError(str(error)) from error
    chosen = options(asked.words, run.spec)
    files = write(run, place, engines.forms([chosen.engine]))
    engine = engines.build(chosen.engine, run.decoder, files, chosen.threads)
    source = None if chosen.input else sources.source(run.spec, recording, run)
    return _Play(run.spec, source, chosen, engine)


def _exported(words: list[str], changes: list[str]) -> _Play:
    """Return what replays an exported decoder, which needs neither its run nor its training data."""
    pairs = dict(word.partition("=")[::2] for word in words)
    unknown = [name for name in pairs if name not in ("decoder", *COMMAND.own)]
    if unknown:
        raise ValueError(f"{unknown[0]} says nothing to an exported decoder\n{COMMAND.usage}")
    path, engine = Path(pairs.pop("decoder")), pairs.pop("engine", None)
    spec = engines.read(path)
    chosen = options(pairs | {"engine": f"{path.name} {engine or ''}".strip()}, spec)
    predict = engines.of_file(path, engine, chosen.threads)
    source = None if chosen.input else sources.source(spec, sources.named(changes))
    return _Play(spec, source, chosen, predict)
