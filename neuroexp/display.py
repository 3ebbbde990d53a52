"""What a terminal shows of a launch: a progress bar while it runs, a table at its end."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroexp import convergence, launch, places
from neuroexp.remarks import notes, remarks
from neuroexp.shown import lines, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

ROWS = 60  # of a table, at most
ID = 8  # characters of a run's id that tell it from the others
SHORT = {  # in narrow terminals
    "precision": "prec.",
    "sensitivity": "sens.",
    "identified": "ident.",
    "accuracy": "acc.",
    "RoA≥0.9": "RoA.9",
    "ceiling": "ceil.",
    "chance": "ch.",
    "seconds": "s",
}
COLOURS = {"failed": "red", "killed": "yellow", "left": "yellow", "elsewhere": "cyan"}
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
    while launch.folder() is None:
        if ended.wait(REFRESH_S):
            return
    place = launch.folder()
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


def line(jobs: int, rows: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    """Return the state of a sweep in a line: how many jobs did what, what runs, how long the rest may take."""
    from rich.markup import escape  # noqa: PLC0415 - as below

    counts = Counter(row["status"] for row in rows)
    words = [f"[{COLOURS.get(status, 'green')}]{count} {status}[/]" for status, count in counts.items()]
    trained = [row["seconds"] for row in rows if row["status"] == "finished"]
    if trained and len(rows) < jobs:
        left_s = (jobs - len(rows)) * sum(trained) / len(trained) / max(1, len(now))
        words.append(f"about {duration(left_s)} left")
    if len(now) > 1:
        words.append(f"{len(now)} running")
    elif now:  # the name last, where a narrow terminal may cut it
        words += [f"epoch {job['epoch']} of {job['epochs']}" for job in now if "epoch" in job]
        words.append(escape(plain(now[0]["name"])))
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Return a time that people can take in."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 72 * 60 else f"{minutes / 60 / 24:.1f} days"


def console() -> Console:
    """Return where tables are printed; a log file has no edge to wrap at."""
    from rich.console import Console  # noqa: PLC0415 - only when there is something to print

    class Safe(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(lines(text), **how)  # names come out of files, stores and servers

    out = Safe(highlight=False)
    if not out.is_terminal:
        out.width = 200
    return out


def whole(out: Console, grid: Table) -> None:
    """Print a table of which nothing is cut off: in a terminal that is too narrow its lines go on in the next ones."""
    width = out.width
    if _wide(out, grid) > width:
        grid.collapse_padding = True
        out.width = max(width, _wide(out, grid))
    out.print(grid, crop=False)
    out.width = width


def _wide(out: Console, grid: Table) -> int:
    """Return how many characters a table takes of which nothing is cut off."""
    from rich.measure import Measurement  # noqa: PLC0415 - only when there is something to print

    return Measurement.get(out, out.options.update(max_width=10_000), grid).maximum


@contextlib.contextmanager
def working(words: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what a command is doing while it lasts; yields what changes the words.

    Nothing moves in between, so that nothing disturbs what is being timed.
    """

    def say(words: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{words}", end="", file=sys.stderr, flush=True)

    say(f"{words} ...")
    try:
        yield lambda words: say(f"{words} ...")
    finally:
        say("")


def goes_on(jobs: int) -> None:
    """Say that a launch has ended without its jobs."""
    which = "1 job goes" if jobs == 1 else f"{jobs} jobs go"
    console().print(f"\n{which} on in the cluster: python -m neuroexp.status shows them, scancel ends them.")


def summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of a launch and how to open its runs in MLflow."""
    out = console()
    if len(rows) > 1 or rows[0]["status"] != "failed":
        out.print()
        table(out, rows)
    for sentence in notes(rows):
        out.print(sentence, markup=False, soft_wrap=True)
    for row in rows:
        if row["status"] == "failed":
            failed(out, row)
    if any(row["status"] == "killed" for row in rows):
        out.print("Cut short: type the same command again to go on from here.")
    if any(row["status"] == "elsewhere" for row in rows):
        out.print("What is 'elsewhere' runs in another launch now: type the same command again to see its scores.")
    if any(row["status"] == "left" for row in rows):
        out.print("A failure stopped this launch (on_failure=stop): what is 'left' did not start.")
    if unsent := next((row["unsent"] for row in rows if row.get("unsent")), None):
        out.print(plain(unsent, 2000), style="yellow", markup=False, soft_wrap=True)
        out.print(
            "What is finished is kept in ./outputs/cells; `python -m neuroexp.sync` sends it when the store is back."
        )
    linked = [
        row for row in rows if row["status"] in ("finished", "skipped") and "link" in row
    ]  # the others have no view
    if linked:
        out.print()
        if places.database(linked[-1]["uri"]) is not None:
            command = f"mlflow server --workers 1 --backend-store-uri {shlex.quote(linked[-1]['uri'])}"
            out.print(plain(command, 5000), markup=False, soft_wrap=True)
        out.print(plain(linked[-1]["link"], 5000), markup=False, soft_wrap=True)


def failed(out: Console, row: Mapping[str, Any]) -> None:
    """Print why a job failed."""
    from rich.text import Text  # noqa: PLC0415 - only when there is something to print

    error, log = plain(row["error"], 2000), plain(row["log"], 5000)
    words = Text.assemble((plain(row["name"]), "red"), f": {error} (traceback in {log})")
    out.print(words, soft_wrap=True)


def table(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the jobs of a launch with their scores; of very many those that did not finish and the best."""
    from rich.markup import escape  # noqa: PLC0415 - as above

    scores = list(dict.fromkeys(key for row in rows for key in row["report"]))
    shown = list(rows)
    if len(rows) > ROWS:
        shown.sort(key=lambda row: (row["status"] in ("finished", "skipped"), -row["scores"].get(scores[0], -math.inf)))
        shown = shown[:ROWS]
    names = [plain(row["name"]) for row in shown]
    shared = _shared(names)
    if shared:
        out.print(" ".join(["with", *shared]), markup=False, style="dim")
    budgeted = any(row.get("budget") for row in shown)
    heads = [heading(key) for key in scores]
    grid = _grid(heads, budgeted)
    for row, name in zip(shown, names, strict=True):
        seconds = None if row["status"] in ("skipped", "elsewhere", "left") else row["seconds"]
        cells = [_cell(row["scores"].get(key)) for key in scores]
        colour = COLOURS.get(row["status"], "green")
        own = _without(name, shared) + convergence.mark(row["scores"])
        run_id = plain((row.get("run_id") or "")[:ID])
        words = [
            f"[{colour}]{escape(plain(row['status']))}[/]",
            *([_verdict(row.get("budget", ""))] if budgeted else []),
        ]
        grid.add_row(escape(own), run_id, *cells, _cell(seconds, 1), *words)
    if _wide(out, grid) > out.width:
        for column in grid.columns:
            column.header = SHORT.get(str(column.header), column.header)
    whole(out, grid)
    if len(shown) < len(rows):
        counts = Counter(row["status"] for row in rows)
        all_of_them = ", ".join(f"{count} {status}" for status, count in counts.items())
        out.print(f"... the first {len(shown)} of {len(rows)} jobs: {all_of_them}; MLflow shows them all")
    for sentence in remarks([row | {"name": _without(row["name"], shared)} for row in map(dict, rows)]):
        out.print(sentence, markup=False, soft_wrap=True)


def _grid(heads: Sequence[str], budgeted: bool) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above

    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("run", no_wrap=True)
    grid.add_column("id", no_wrap=True, style="dim")
    for head in heads:
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column("seconds", justify="right", no_wrap=True)
    grid.add_column("status", no_wrap=True)
    if budgeted:
        grid.add_column("budget", no_wrap=True)
    return grid


def _shared(names: Sequence[str]) -> list[str]:
    """Return the settings (`fold0` is none, `seed=3` is) that all names end with, which need not be said of each."""
    first, *others = (name.split() for name in names)
    return [word for word in first if "=" in word and all(word in other for other in others)]


def _without(name: str, words: Sequence[str]) -> str:
    return " ".join(word for word in name.split() if word not in words)


def heading(score: str) -> str:
    """Return a score's short name for people: `chance` for `baseline/f1_chance`, `control` for that of the control."""
    stage, _, name = score.partition("/")
    if stage in ("control", "ceiling"):
        return "null" if name.startswith("null_") else stage  # the most that a control scores by chance
    if name.startswith("roa_") and name.endswith("_share"):  # units whose rate of agreement is at least so much
        return f"RoA≥{int(name.split('_')[1]) / 100:g}"
    return plain(score.rsplit("/", maxsplit=1)[-1].removesuffix("_share").removeprefix("f1_"))


def _cell(value: float | None, digits: int = 3) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _verdict(words: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 - as above

    return f"[{'green' if words == 'within' else 'yellow'}]{escape(plain(words))}[/]" if words else ""


def latest(outputs: Path) -> Path | None:
    """Return the folder of the newest launch."""
    found = [path.parent for path in outputs.glob(f"*/{launch.LAUNCH}")]
    return max(found, key=lambda path: path.name, default=None)
