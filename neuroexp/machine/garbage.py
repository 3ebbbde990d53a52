"""When Python looks for garbage: hardly ever while modules are imported, as it always does while networks are trained."""

from __future__ import annotations

import atexit
import gc

USUAL = gc.get_threshold()
SELDOM = 100_000  # objects, once more than there were when it looked last


def seldom() -> None:
    """Look for garbage seldom, and not once more at the end.

    What is imported stays: a hundred looks through it cost a third of the imports' own time.
    """
    gc.set_threshold(SELDOM)
    atexit.register(gc.freeze)


def usual() -> None:
    """Look for garbage as often as Python does by itself: signals and tensors may be part of it."""
    gc.set_threshold(*USUAL)
