"""What every command shows on a terminal: tables that nothing is cut off, what is being done, times that people can take in."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from neuroexp.terminal.shown import lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


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
