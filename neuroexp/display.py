"""What a terminal shows of a launch at its end: a table, what must be said of it, and how to open it."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
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
    scores = list(dict.fromkeys(key for row in rows for key in row["report"]))
    shown = list(rows)
    if len(rows) > ROWS:
        shown.sort(key=lambda row: (row["status"] in ("finished", "skipped"), -row["scores"].get(scores[0], -math.inf)))
        shown = shown[:ROWS]
    shared, grid, under = _fitting(out, shown, scores)
    if shared:
        out.print(" ".join(["with", *shared]), markup=False, style="dim")
    whole(out, grid)
    for sentence in under:
        out.print(sentence, markup=False, soft_wrap=True)
    if len(shown) < len(rows):
        counts = Counter(row["status"] for row in rows)
        all_of_them = ", ".join(f"{count} {status}" for status, count in counts.items())
        out.print(f"... the first {len(shown)} of {len(rows)} jobs: {all_of_them}; MLflow shows them all")
    for sentence in remarks([row | {"name": _without(row["name"], shared)} for row in map(dict, rows)]):
        out.print(sentence, markup=False, soft_wrap=True)


def _fitting(
    out: Console, rows: Sequence[Mapping[str, Any]], scores: Sequence[str]
) -> tuple[list[str], Table, list[str]]:
    """Return the words that need not be said of each run, a table that fits if any does, and what did not fit into it.

    Where there is no room headings are shortened, then what all names have in common is said once, whatever it is, and then
    by how much runs are over their budget is said under the table.
    """
    names = [plain(row["name"]) for row in rows]
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
    verdicts = zip(own, (plain(row.get("budget", "")) for row in rows), strict=True)
    return shared, grid, [f"{name}: {words}" for name, words in verdicts if brief and ":" in words]


def _filled(rows: Sequence[Mapping[str, Any]], names: Sequence[str], scores: Sequence[str], brief: bool) -> Table:
    """Return the table of some runs under these names; `brief` says of a budget no more than whether a run is within it."""
    from rich.markup import escape  # noqa: PLC0415 - as above

    budgeted = any(row.get("budget") for row in rows)
    grid = _grid([heading(key) for key in scores], budgeted)
    for row, name in zip(rows, names, strict=True):
        seconds = None if row["status"] in ("skipped", "elsewhere", "left") else row["seconds"]
        colour = COLOURS.get(row["status"], "green")
        verdict = row.get("budget", "").partition(":" if brief else "\n")[0]
        grid.add_row(
            escape(name + convergence.mark(row["scores"])),
            plain((row.get("run_id") or "")[:ID]),
            *(_cell(row["scores"].get(key)) for key in scores),
            _cell(seconds, 1),
            f"[{colour}]{escape(plain(row['status']))}[/]",
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


def latest(outputs: Path) -> Path | None:
    """Return the folder of the newest launch."""
    found = [path.parent for path in outputs.glob(f"*/{launch.LAUNCH}")]
    return max(found, key=lambda path: path.name, default=None)
