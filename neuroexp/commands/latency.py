"""How late a trained run decides, engine by engine: `neuroexp latency RUN_ID`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroexp.commands import COMMANDS
from neuroexp.deploy import engines, restore
from neuroexp.deploy.compare import predict
from neuroexp.deploy.decoder import Spec
from neuroexp.deploy.timing import Latency, clock
from neuroexp.deploy.write import write
from neuroexp.machine.command import command
from neuroexp.settings.typecheck import among, whole
from neuroexp.store import provenance
from neuroexp.terminal import screen

WINDOWS = 256  # that are predicted in turn

COMMAND = COMMANDS["latency"]


@dataclass(frozen=True)
class Timing:
    """What a decoder's windows and steps say before any prediction is timed."""

    window_ms: float
    period_ms: float  # between decisions: the step, or the shortest time between two CAPs
    ahead_ms: float  # a window reaches so far beyond the sample that it decides on
    unseen: float  # share of the samples that no window sees

    @classmethod
    def of(cls, spec: Spec) -> Timing:
        """Return the timing of a decoder."""
        window_ms = 1000 * spec.window / spec.rate_hz
        if spec.step is None:
            return cls(window_ms, spec.period_ms, window_ms / 2, np.nan)
        return cls(window_ms, spec.period_ms, window_ms / 2, max(0.0, 1 - spec.window / spec.step))

    def paper_ms(self, prediction_ms: float) -> float:
        """Return the latency as the HD-sEMG paper counts it: the whole window and the prediction."""
        return self.window_ms + prediction_ms

    def age_ms(self, prediction_ms: float) -> float:
        """Return the worst age of information: the oldest sample of a window when the next decision replaces this one."""
        return self.window_ms + self.period_ms + prediction_ms

    def factor(self, prediction_ms: float) -> float:
        """Return the real-time factor: above 1 the decoder falls behind."""
        return prediction_ms / self.period_ms


@command
def main() -> None:
    """Measure a run's decoder with every engine that is there, print the table, add it to the run."""
    asked = restore.asked(sys.argv[1:], COMMAND.usage, COMMAND.own)
    from neuroexp.store.finished_run import add  # noqa: PLC0415 - a second to import
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    try:
        wanted = among("engines", asked.words.get("engines", ",".join(engines.there())), engines.ENGINES)
        threads = [engines.thread_count(word) for word in asked.words.get("threads", _counts()).split(",")]
        seconds = whole("seconds", asked.words.get("seconds", "2"))
        with tempfile.TemporaryDirectory() as folder, screen.working("reading the recording") as say:
            back = restore.load(asked)
            forms = engines.forms(wanted)
            files = write(back, Path(folder), forms, say=say, left_out=lambda why: print(why, file=sys.stderr))
            wanted = [name for name in wanted if name not in engines.EXPORTED or engines.form(name) in files]
            windows = restore.microvolts(back.fold, restore.evenly(back.fold.split.test, WINDOWS)).numpy()
            rows = measure(back, files, windows, wanted, threads, seconds, say)
        with tempfile.TemporaryDirectory() as folder:
            described = {"rows": [vars(row) for row in rows], "environment": provenance.environment()}
            (Path(folder) / "latency.json").write_text(json.dumps(described, indent=1))
            metrics = {f"latency/{r.engine}_{r.threads}_p50_ms": r.p50_ms for r in rows}
            metrics |= {f"latency/{r.engine}_{r.threads}_p99_ms": r.p99_ms for r in rows}
            add(asked.uri, asked.run_id, Path(folder), metrics)
    except (ValueError, StoreError) as error:
        sys.exit(str(error))
    show(back.spec, rows)


def measure(
    back: restore.Trained,
    files: dict[str, Path],
    windows: NDArray[np.float32],
    wanted: Sequence[str],
    threads: Sequence[int],
    seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> list[Latency]:
    """Return what predicting `windows` (window, channel, time) one at a time takes; says which engine cannot run here.

    `say` hears what is measured.
    """
    rows = []
    expected = predict(engines.build("eager", back.decoder, {}), windows, batch=1)
    for name in wanted:
        for count in threads if not name.startswith("cuda") else threads[:1]:
            say(f"{name}, {count} thread{'s' * (count > 1)}")
            try:
                engine = engines.build(name, back.decoder, files, count)
            except ValueError as error:
                print(error, file=sys.stderr)
                break
            largest = float(np.abs(predict(engine, windows, batch=1) - expected).max())
            rows.append(replace(clock(name, count, engine, windows, seconds), largest=largest))
    if not rows:
        raise ValueError("no engine could run")
    return rows


def show(spec: Spec, rows: Sequence[Latency]) -> None:
    """Print the table, and what stays of each step for anything else."""
    from rich.table import Table  # noqa: PLC0415 - only when there is something to print

    out, timing = screen.console(), Timing.of(spec)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    heads = (
        "engine",
        "threads",
        "p50 ms",
        "p99 ms",
        "max ms",
        "window\n+ p50 ms",
        "worst\nage ms",
        "real-time\nfactor",
        "differs\nby",
    )
    for head in heads:
        grid.add_column(head, justify="left" if head == "engine" else "right")
    for row in rows:
        late = timing.factor(row.p99_ms) > 1
        grid.add_row(
            row.engine,
            str(row.threads),
            *(f"{value:.3f}" for value in (row.p50_ms, row.p99_ms, row.max_ms)),
            f"{timing.paper_ms(row.p50_ms):.1f}",
            f"{timing.age_ms(row.p99_ms):.1f}",
            f"{timing.factor(row.p50_ms):.3f}" + (" late" if late else ""),
            f"{row.largest:.1g}",
            style="red" if late else None,
        )
    out.print(f"{spec.name}, one window at a time", style="bold", markup=False)
    screen.whole(out, grid)
    what = "a step" if spec.step else "the shortest time between two CAPs"
    out.print(
        f"\nwindow {timing.window_ms:.2f} ms, {what} {timing.period_ms:.2f} ms; worst age: of a window's oldest sample, "
        "window + that time + p99;\nthe real-time factor is p50 over that time, and late means that the p99 misses it;\n"
        f"differs by: the largest difference of a probability from the trained network's, over {WINDOWS} test windows at most",
        markup=False,
    )
    if timing.unseen > 0:
        out.print(f"{timing.unseen:.0%} of the samples lie between windows and are never seen")


def _counts() -> str:
    return ",".join(str(count) for count in sorted({1, engines.cores()}))
