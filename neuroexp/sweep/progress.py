"""What a terminal shows of a sweep while it runs: one bar over its jobs, and its state in a line."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neuroexp.machine import places
from neuroexp.sweep import launch, summary
from neuroexp.sweep.outcome import Outcome
from neuroexp.terminal import screen
from neuroexp.terminal.shown import plain

REFRESH_S = 0.5
BAR = 20  # characters


@contextlib.contextmanager
def bar(wanted: bool) -> Iterator[None]:
    """Show one bar over the jobs of a sweep while it runs, if that is wanted and there is a terminal."""
    ended = threading.Event()
    thread = threading.Thread(target=_draw, args=(ended,), daemon=True)
    if wanted and sys.stderr.isatty():
        os.environ[launch.BAR] = "1"
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()


def _draw(ended: threading.Event) -> None:
    while places.of_launch() is None:
        if ended.wait(REFRESH_S):
            return
    place = places.of_launch()
    assert place is not None
    jobs = launch.jobs()
    if not jobs or jobs == 1:
        return
    from rich.console import Console  # noqa: PLC0415 - not for --help
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    columns = (  # a narrow terminal cuts the description and nothing else
        TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=Column(min_width=len(f"{jobs}/{jobs}"))),
        BarColumn(BAR, table_column=Column(min_width=BAR)),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
    )
    out = Console(stderr=True, highlight=False)
    with Progress(*columns, console=out, transient=True, expand=True) as progress:
        task = progress.add_task("starting", total=jobs)
        while not ended.wait(REFRESH_S):
            rows, now = launch.results(place), [facts for _, facts in launch.unended(place)]
            progress.update(task, completed=len(rows), description=line(jobs, rows, now))


def line(jobs: int, rows: Sequence[Outcome], now: Sequence[Mapping[str, Any]]) -> str:
    """Return the state of a sweep in a line: how many jobs did what, what runs, how long the rest may take."""
    from rich.markup import escape  # noqa: PLC0415 - as below

    counts = Counter(row.status for row in rows)
    words = [f"[{summary.COLOURS.get(status, 'green')}]{count} {status}[/]" for status, count in counts.items()]
    trained = [row.seconds for row in rows if row.status == "finished"]
    if trained and len(rows) < jobs:
        left_s = (jobs - len(rows)) * sum(trained) / len(trained) / max(1, len(now))
        words.append(f"about {screen.duration(left_s)} left")
    if len(now) > 1:
        words.append(f"{len(now)} running")
    elif now:  # the name last, where a narrow terminal may cut it
        words += [f"epoch {job['epoch']} of {job['epochs']}" for job in now if "epoch" in job]
        words.append(escape(plain(now[0]["name"])))
    return ", ".join(words)
