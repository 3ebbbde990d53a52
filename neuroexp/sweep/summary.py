"""What a terminal shows of a launch at its end: a table, what must be said of it, and how to open it."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from neuroexp.evaluation import convergence
from neuroexp.machine import places
from neuroexp.sweep.outcome import Outcome
from neuroexp.sweep.remarks import notes, remarks
from neuroexp.terminal.screen import _wide, console, whole
from neuroexp.terminal.shown import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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


def goes_on(jobs: int, number: str | None) -> None:
    """Say that a launch has ended without its jobs, which a cluster has under a number."""
    which, they = ("1 job goes", "it") if jobs == 1 else (f"{jobs} jobs go", "them")
    end = "scancel" if number is None else f"scancel {number}"
    console().print(f"\n{which} on in the cluster: neuroexp status shows {they}, {end} ends {they}.")


def lost(jobs: Mapping[int, str]) -> None:
    """Say of each job that has ended without a result what is known of why."""
    for number, why in jobs.items():
        console().print(f"job {number} has left no result: {plain(why, 2000)}", markup=False, soft_wrap=True)
    if jobs:
        console().print("Type the same command again to do what is missing.")


def summary(rows: Sequence[Outcome]) -> None:
    """Print the table of a launch and how to open its runs in MLflow."""
    out = console()
    if len(rows) > 1 or rows[0].status != "failed":
        out.print()
        table(out, rows)
    for sentence in notes(rows):
        out.print(sentence, markup=False, soft_wrap=True)
    for row in rows:
        if row.status == "failed":
            failed(out, row)
    if any(row.status == "killed" for row in rows):
        out.print("Cut short: type the same command again to go on from here.")
    if any(row.status == "elsewhere" for row in rows):
        out.print("What is 'elsewhere' runs in another launch now: type the same command again to see its scores.")
    if any(row.status == "left" for row in rows):
        out.print("A failure stopped this launch (on_failure=stop): what is 'left' did not start.")
    if unsent := next((row.unsent for row in rows if row.unsent), None):
        out.print(plain(unsent, 2000), style="yellow", markup=False, soft_wrap=True)
        out.print("What is finished is kept in ./outputs/cells; `neuroexp sync` sends it when the store is back.")
    linked = [row for row in rows if row.done and row.link]  # the others have no view
    if linked:
        out.print()
        if places.database(linked[-1].uri) is not None:
            command = f"mlflow server --workers 1 --backend-store-uri {shlex.quote(linked[-1].uri)}"
            out.print(plain(command, 5000), markup=False, soft_wrap=True)
        out.print(plain(linked[-1].link, 5000), markup=False, soft_wrap=True)


def failed(out: Console, row: Outcome) -> None:
    """Print why a job failed."""
    from rich.text import Text  # noqa: PLC0415 - only when there is something to print

    error, log = plain(row.error, 2000), plain(row.log, 5000)
    words = Text.assemble((plain(row.name), "red"), f": {error} (details in {log})")
    out.print(words, soft_wrap=True)


def table(out: Console, rows: Sequence[Outcome]) -> None:
    """Print the jobs of a launch with their scores; of very many those that did not finish and the best."""
    scores = list(dict.fromkeys(key for row in rows for key in row.report))
    shown = list(rows)
    if len(rows) > ROWS:
        shown.sort(key=lambda row: (row.done, -row.scores.get(scores[0], -math.inf)))
        shown = shown[:ROWS]
    shared, grid, under = _fitting(out, shown, scores)
    if shared:
        out.print(" ".join(["with", *shared]), markup=False, style="dim")
    whole(out, grid)
    for sentence in under:
        out.print(sentence, markup=False, soft_wrap=True)
    if len(shown) < len(rows):
        counts = Counter(row.status for row in rows)
        all_of_them = ", ".join(f"{count} {status}" for status, count in counts.items())
        out.print(f"... the first {len(shown)} of {len(rows)} jobs: {all_of_them}; MLflow shows them all")
    for sentence in remarks([replace(row, name=_without(row.name, shared)) for row in rows]):
        out.print(sentence, markup=False, soft_wrap=True)


def _fitting(out: Console, rows: Sequence[Outcome], scores: Sequence[str]) -> tuple[list[str], Table, list[str]]:
    """Return the words that need not be said of each run, a table that fits if any does, and what did not fit into it.

    Where there is no room headings are shortened, then what all names have in common is said once, whatever it is, and then
    by how much runs are over their budget is said under the table.
    """
    names = [plain(row.name) for row in rows]
    for short, once, brief in ((False, False, False), (True, False, False), (True, True, False), (True, True, True)):
        shared = _shared(names, once)
        own = [_without(name, shared) for name in names]
        grid = _filled(rows, own, scores, brief)
        for column in grid.columns if short else ():
            column.header = SHORT.get(str(column.header), column.header)
        if short and _wide(out, grid) > out.width:
            grid.collapse_padding = True
        if _wide(out, grid) <= out.width:
            break
    verdicts = zip(own, (plain(row.budget) for row in rows), strict=True)
    return shared, grid, [f"{name}: {words}" for name, words in verdicts if brief and ":" in words]


def _filled(rows: Sequence[Outcome], names: Sequence[str], scores: Sequence[str], brief: bool) -> Table:
    """Return the table of some runs under these names; `brief` says of a budget no more than whether a run is within it."""
    from rich.markup import escape  # noqa: PLC0415 - as above

    budgeted = any(row.budget for row in rows)
    grid = _grid([heading(key) for key in scores], budgeted)
    for row, name in zip(rows, names, strict=True):
        seconds = None if row.status in ("skipped", "elsewhere", "left") else row.seconds
        colour = COLOURS.get(row.status, "green")
        verdict = row.budget.partition(":" if brief else "\n")[0]
        grid.add_row(
            escape(name + convergence.mark(row.scores)),
            plain((row.run_id or "")[:ID]),
            *(_cell(row.scores.get(key)) for key in scores),
            _cell(seconds, 1),
            f"[{colour}]{escape(plain(row.status))}[/]",
            *([_verdict(verdict)] if budgeted else []),
        )
    return grid


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


def _shared(names: Sequence[str], once: bool = False) -> list[str]:
    """Return the settings (`fold0` is none, `seed=3` is) that all names have, or of several names all such words if `once`."""
    first, *others = (name.split() for name in names)
    common = [word for word in first if all(word in other for other in others)]
    return common if once and others else [word for word in common if "=" in word]


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
