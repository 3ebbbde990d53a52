"""Measure on a GPU: `python benchmarks/device.py [--minutes 7] [--to FOLDER]`, from a checkout.

It needs PyTorch, PyTorch Lightning, torchmetrics and SciPy and simulates its own data. Every figure is printed and kept in
FOLDER (benchmarks/measured) the moment it is measured, as JSON and as tables: whatever ends the command, they stay. Without
a GPU everything is measured in small, on the processor, which shows that it works.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ""):  # started as a file: Python looks beside it, where no package of this checkout lies
    sys.path[0] = str(ROOT)

from benchmarks.device_machine import clocks, processor  # noqa: E402 - the path comes first
from benchmarks.device_record import Record  # noqa: E402 - as above


def main() -> None:
    """Measure, and say where the figures lie."""
    asked = _asked()
    began = time.time()
    now = datetime.now().astimezone()
    card = re.sub(r"[^A-Za-z0-9]+", "_", clocks().get("name") or processor()).strip("_").lower()
    try:
        asked.to.mkdir(parents=True, exist_ok=True)
        record = Record(asked.to.resolve() / f"{card}_{now:%Y-%m-%d_%H%M%S}.json")
        command = shlex.join(["python", *sys.argv])
        record.note(command=command, date=now.isoformat(timespec="seconds"), minutes=asked.minutes)
    except OSError as error:
        sys.exit(f"--to {asked.to}: nothing can be written there: {error.strerror}")
    ends = began + 60 * asked.minutes
    words = [sys.executable, "-m", "benchmarks.device_worker", str(record.path), str(ends)]
    try:
        ended = supervise(words, record.path, ends)
    except KeyboardInterrupt:
        ended = "it was stopped"
    record = Record(record.path)
    record.note(ended=ended, measuring=None)
    print(f"\n{ended}\n{record.path}\n{record.path.with_suffix('.md')}", flush=True)
    if not any(row["figures"] for row in record.content["rows"]):
        sys.exit("nothing was measured")


def _asked() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=_minutes, default=7.0, help="after so many it ends (7)")
    folder = ROOT / "benchmarks" / "measured"
    asked.add_argument("--to", type=Path, default=folder, metavar="FOLDER", help="of the figures (benchmarks/measured)")
    return asked.parse_args()


def _minutes(word: str) -> float:
    with suppress(ValueError):
        if 0 < float(word) < float("inf"):
            return float(word)
    raise argparse.ArgumentTypeError(f"{word} is no number of minutes above 0")


def supervise(words: Sequence[str], path: Path, ends: float) -> str:
    """Run the measuring process until it has measured everything or `ends`, a moment of the system's clock, has come.

    When it dies, breaks the device's state or overruns a variant's time, that variant becomes a row which says so, and a
    new process goes on with the others. Returns how it ended, as a sentence.
    """
    while True:
        before = len(Record(path).content["rows"])
        # it ends when its input does, and so with this process
        with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True) as worker:
            try:
                code = _watched(worker, path, ends)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)  # with all that it has started
        record = Record(path)
        if code == 0:
            return "everything was measured that the time allowed"
        if measuring := record.content["measuring"]:
            print(record.add(measuring["section"], measuring["variant"], failed=_why(code)), flush=True)
        if time.time() >= ends:
            return "the time was over"
        if len(record.content["rows"]) == before:
            return f"nothing more could be measured: {_why(code)}"


def _watched(worker: subprocess.Popen[bytes], path: Path, ends: float) -> int | None:
    """Return the exit code of the measuring process; None when what it measures has not ended in its time."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return worker.wait(timeout=0.5)
        measuring = Record(path).content["measuring"] or {}
        if time.time() > min(ends, measuring.get("until", ends)):
            return None


def _why(code: int | None) -> str:
    if code is None:
        return "not finished in its time"
    if code < 0:
        return f"the process that measured it was ended by {signal.Signals(-code).name}"
    return f"the process that measured it ended with exit code {code}"


if __name__ == "__main__":
    main()
