"""A recording or a live stream through a trained run, chunk by chunk: `python -m neuroexp.replay run_id=RUN_ID`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from neuroexp import engines, export, trained
from neuroexp.replay import report
from neuroexp.replay import source as sources
from neuroexp.replay.play import options, replay, slug

USAGE = (
    "python -m neuroexp.replay run_id=RUN_ID [recording=NAME] [recording.path=FILE] [chunk=SAMPLES] [speed=1|max] "
    "[engine=eager] [threads=1] [input=lsl:STREAM] [output=lsl:STREAM] [seconds=10] [tracking.uri=URI]"
)
OWN = ("chunk", "speed", "engine", "threads", "input", "output", "seconds")


def main() -> None:
    """Replay a recording through a run; print, draw and write what was found and how late it was."""
    words = sys.argv[1:]
    changes = [word for word in words if word.startswith(("recording=", "recording."))]
    asked = trained.asked([word for word in words if word not in changes], USAGE, OWN)
    try:
        asked, recording = sources.chosen(asked, changes)
        run = trained.load(asked)
        chosen = options(asked.words, run.spec)
        torch.set_num_threads(chosen.threads)
        source = None if chosen.input else sources.source(run, recording)
        place = Path("outputs") / "replay" / slug(run.spec, source, chosen)
        peak = str(run.asked.config.label["_target_"]).endswith("label_step")
        with tempfile.TemporaryDirectory() as folder:
            files = export.write(run, Path(folder)) if chosen.engine in engines.FILES else {}
            engine = engines.build(chosen.engine, run.decoder, files, chosen.threads)
            summary = replay(run.spec, source, chosen, engine, place, peak)
    except ValueError as error:
        sys.exit(str(error))
    report.show(summary, place)


if __name__ == "__main__":
    main()
