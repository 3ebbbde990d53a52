"""What a replay leaves behind: its events as a table, their scores, and a summary."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp import display
from neuroexp.decoder import Spec
from neuroexp.replay import matching
from neuroexp.replay.events import Event
from neuroexp.replay.pace import BEHIND, Tally
from neuroexp.replay.stream import CAUSAL, Health

Trains = Sequence[NDArray[np.int64]]


class Table:
    """Writes the events of a replay as CSV, as they come."""

    def __init__(self, path: Path, spec: Spec):
        """A discharge has its unit (from 1), a CAP the recording that it is in and its class."""
        self.spec = spec
        self.file = path.open("w", newline="")
        self.rows = csv.writer(self.file)
        self.rows.writerow([*(["unit"] if spec.step else ["recording", "class"]), "sample", "time_s", "probability"])

    def write(self, events: Sequence[Event], recording: str) -> None:
        """Append events; samples and seconds count from the beginning of their recording."""
        for event in events:
            which = [event.output + 1] if self.spec.step else [recording, self.spec.outputs[event.output]]
            time_s = event.sample / self.spec.rate_hz
            self.rows.writerow([*which, event.sample, f"{time_s:.6f}", f"{event.probability:.6f}"])


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Read what a `Table` has written."""
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def trains(path: Path, n_units: int) -> list[NDArray[np.int64]]:
    """Return the spike train of each unit from a table of discharges."""
    found: list[list[int]] = [[] for _ in range(n_units)]
    for row in rows(path):
        found[int(row["unit"]) - 1].append(int(row["sample"]))
    return [np.array(sorted(train), dtype=np.int64) for train in found]


def scores(true: Trains, found: Trains, spec: Spec, part: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Return the agreement of each unit and its mean over units, in the samples where `part` (time,) is true, or in all."""
    assert spec.step is not None
    within, words = matching.tolerance(spec.rate_hz, spec.step)
    max_lag = round(matching.MAX_LAG_MS * spec.rate_hz / 1000)
    units = []
    if part is not None:
        true, found = ([train[part[train]] for train in trains] for trains in (true, found))
    for number, (expected, train) in enumerate(zip(true, found, strict=True), start=1):
        agreed = matching.agreement(expected, train, within, max_lag)
        units.append(
            {"unit": number, "rate_of_agreement": agreed.rate, "sensitivity": agreed.sensitivity}
            | {"precision": agreed.precision, "matched": agreed.matched, "only_true": agreed.only_true}
            | {"only_found": agreed.only_found, "lag_ms": 1000 * agreed.lag / spec.rate_hz}
        )
    kinds = ("rate_of_agreement", "sensitivity", "precision")
    known = {kind: [unit[kind] for unit in units if math.isfinite(unit[kind])] for kind in kinds}
    means = {kind: float(np.mean(values)) if values else math.nan for kind, values in known.items()}
    return {"tolerance": words, "max_lag_ms": matching.MAX_LAG_MS, **means, "units": units}


def confusion(path: Path, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return how many CAPs (class of the recording, class decided) a table holds."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for row in rows(path):
        counts[classes.index(row["recording"]), classes.index(row["class"])] += 1
    return counts


def timing(tally: Tally, seconds: float, rate_hz: float, samples: int) -> dict[str, Any]:
    """Return deadlines and latencies in milliseconds."""
    latencies = tally.latencies
    return {
        "deadline_ms": tally.deadline_ms,
        "decided": tally.decided,
        "met": tally.decided - tally.missed,
        "missed": tally.missed,
        "dropped": tally.dropped,
        "dropped_when_behind_ms": BEHIND * tally.deadline_ms,
        "p50_ms": latencies.quantile_ms(0.5),
        "p99_ms": latencies.quantile_ms(0.99),
        "max_ms": latencies.max_ms,
        "seconds": seconds,
        "recorded_s": samples / rate_hz,
    }


def show(summary: Mapping[str, Any], folder: Path) -> None:
    """Print the summary of a replay."""
    from rich.table import Table as Grid  # noqa: PLC0415 - only when there is something to print

    out, time = display.console(), summary["timing"]
    out.print(f"{summary['name']} on {summary['title']}", markup=False, soft_wrap=True)
    out.print(summary["how"], markup=False, soft_wrap=True)
    if summary["stopped"]:
        out.print(f"stopped after {time['recorded_s']:.2f} s of it")
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    heads = ("decisions", "deadline", "met", "missed", "dropped", "p50", "p99", "max")
    for head in heads:
        grid.add_column(head, justify="right")
    shown = [f"{time[name]:.3g} ms" for name in ("p50_ms", "p99_ms", "max_ms")]
    counts = [str(time[name]) for name in ("met", "missed", "dropped")]
    grid.add_row(str(time["decided"]), f"{time['deadline_ms']:.3g} ms", *counts, *shown)
    out.print()
    out.print(grid)
    if "scores" in summary:
        out.print()
        _agreements(out, summary["scores"], summary["trained_on"])
    if "confusion" in summary:
        out.print()
        _classes(out, summary)
    if "unscored" in summary:
        out.print(f"\n{summary['unscored']}", markup=False, soft_wrap=True)
    out.print()
    for note in health(summary["health"]):
        out.print(note, markup=False, soft_wrap=True)
    out.print(f"{folder}/replay.png", markup=False, soft_wrap=True)


def health(found: Mapping[str, Any]) -> list[str]:
    """Return in sentences what was wrong with the streams."""
    said = []
    for recording, kept in found.items():
        begin = f"{recording}: " if recording else ""
        said += [note if note == CAUSAL else begin + note for note in kept["notes"]]
        for channel, count in kept["replaced"].items():
            said.append(f"{begin}channel {channel} was not finite in {count} samples: its last good value stands there")
        if kept["gaps"]:
            said.append(f"{begin}{kept['gaps']} gaps, {kept['lost_windows']} windows that touch them not decided")
        if kept["late_samples"]:
            said.append(f"{begin}{kept['late_samples']} samples came again or too late: dropped")
    return list(dict.fromkeys(said))


def plain(kept: Health) -> dict[str, Any]:
    """Return a stream's health as it goes into the summary."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(kept).items()}


def _agreements(out: Any, found: Mapping[str, Any], own: bool) -> None:
    from rich.table import Table as Grid  # noqa: PLC0415

    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("spike trains")
    for head in ("rate of agreement", "sensitivity", "precision", "matched", "missed", "false"):
        grid.add_column(head, justify="right")
    for part, score in found.items():
        counts = [str(sum(unit[name] for unit in score["units"])) for name in ("matched", "only_true", "only_found")]
        kinds = [
            f"{score[name]:.3f}" if math.isfinite(score[name]) else "-"
            for name in ("rate_of_agreement", "sensitivity", "precision")
        ]
        grid.add_row(part, *kinds, *counts)
    out.print(grid)
    score = next(iter(found.values()))
    out.print(f"matched one to one within {score['tolerance']}, after the best lag within ±{score['max_lag_ms']:g} ms")
    if own:
        out.print("the whole recording includes what the run was trained on")


def _classes(out: Any, summary: Mapping[str, Any]) -> None:
    from rich.table import Table as Grid  # noqa: PLC0415

    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("recording \\ decided")
    for name in summary["outputs"]:
        grid.add_column(name, justify="right")
    grid.add_column("correct", justify="right")
    for number, (name, counts) in enumerate(zip(summary["outputs"], summary["confusion"], strict=True)):
        share = f"{counts[number] / sum(counts):.3f}" if sum(counts) else ""
        grid.add_row(name, *map(str, counts), share)
    out.print(grid)
    out.print(f"accuracy {summary['accuracy']:.3f}; {summary['counted']}", soft_wrap=True)


def timed(path: Path, classes: Sequence[str], spans_s: Sequence[float]) -> list[tuple[int, int, float]]:
    """Return for each CAP of a table its recording's class (-1: not known), its own, and its time, recordings end to end."""
    begins = dict(zip(classes, np.cumsum([0.0, *spans_s]).tolist(), strict=False))
    return [
        (
            classes.index(row["recording"]) if row["recording"] else -1,
            classes.index(row["class"]),
            begins.get(row["recording"], 0.0) + float(row["time_s"]),
        )
        for row in rows(path)
    ]
