"""The events of a replay as CSV, written as they come, read again at the end, and the scores of each unit."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.deploy.decoder import Spec
from neuroexp.evaluation.events import Event


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


def write_units(path: Path, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the scores of each unit in each part as CSV; what cannot be scored is blank."""
    lines = [{"part": part} | unit for part, score in scores.items() for unit in score["units"]]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(
            {name: "" if isinstance(value, float) and math.isnan(value) else value for name, value in line.items()}
            for line in lines
        )


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
