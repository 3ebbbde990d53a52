"""What went wrong, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuroexp.machine import places
from neuroexp.terminal.shown import plain

if TYPE_CHECKING:
    pass

LONGEST = 2000  # characters of a reason


told: list[int] = []  # the signals to stop that this process has got during the job that it does


def interrupted(error: BaseException) -> bool:
    """Return whether somebody stopped the job; Lightning turns Ctrl-C into an exit, and an import into any error."""
    exits = isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
    return bool(told) or exits or isinstance(error, KeyboardInterrupt)


def sentence(error: BaseException) -> str:
    """Return what went wrong in one line: the message of an error that was foreseen, else with the error's type."""
    if refused := places.told(error):
        return refused
    message = plain(" ".join(str(error).split()), LONGEST) or type(error).__name__
    foreseen = isinstance(error, ValueError | FileNotFoundError)
    return message if foreseen else f"{type(error).__name__}: {message}"
