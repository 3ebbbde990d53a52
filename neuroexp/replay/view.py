"""What a terminal shows while a stream is decoded: who fires, how late a decision is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from neuroexp.deploy.decoder import Spec
from neuroexp.replay.pace import Tally

SPAN_S = 4.0  # of the raster
BINS = 64
REFRESH_HZ = 8
SWITCH_S = 0.0005  # between threads, so that drawing does not cost decisions their deadline


@contextlib.contextmanager
def shown(spec: Spec, tally: Tally) -> Iterator[Callable[[str], None]]:
    """Show the view on stderr while it lasts, if that is a terminal; give a function that prints a line beside it."""
    if not sys.stderr.isatty():
        yield lambda line: print(line, flush=True)
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.live import Live  # noqa: PLC0415

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    console = Console(stderr=True, highlight=False)
    try:
        with Live(
            get_renderable=lambda: drawn(spec, tally), console=console, refresh_per_second=REFRESH_HZ, transient=True
        ):
            yield lambda line: console.print(line, markup=False, soft_wrap=True)
    finally:
        sys.setswitchinterval(before)


def drawn(spec: Spec, tally: Tally) -> Any:
    """Return one state of the view."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    now = tally.samples
    raster = fired(spec, tally)
    latencies = tally.latencies
    late = "red" if tally.missed or tally.dropped else "green"
    grid = Table(box=None, pad_edge=False, show_header=False)
    head = Text(
        f"{now / spec.rate_hz:8.2f} s  latency {latencies.latest_ms:.2f} ms, p99 {latencies.quantile_ms(0.99):.2f} ms  "
    )
    head.append(f"late {tally.missed} of {tally.decided}, dropped {tally.dropped}", style=late)
    grid.add_row("", head, f"due in {tally.deadline_ms:.3g} ms")
    for name, row in zip(spec.outputs, raster, strict=True):
        marks = "".join("·┃█"[min(int(count), 2)] for count in row)
        grid.add_row(name, Text(marks, style="cyan"), f"{row.sum() / SPAN_S:5.1f} /s")
    return grid


def fired(spec: Spec, tally: Tally) -> Any:
    """Return how many events (output, bin) the last seconds had."""
    counts = np.zeros((len(spec.outputs), BINS), dtype=int)
    width = SPAN_S * spec.rate_hz / BINS
    for event in tuple(tally.recent):
        place = BINS - 1 - int((tally.samples - event.sample) // width)
        if 0 <= place < BINS:
            counts[event.output, place] += 1
    return counts
