"""Whose a cell is when several launches want it, on one machine or on several that share nothing but the store."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from neuroexp.store.ledger import Cell, claimed

if TYPE_CHECKING:
    from neuroexp.store.open_run import Run
    from neuroexp.store.tracking import Store

log = logging.getLogger(__name__)
TAKEN = "another launch has this cell"  # why a run was withdrawn
AHEAD_S = 86400.0  # no clock is so far ahead of another


def rivals(store: Store, cell: Cell, mine: str | None = None) -> bool:
    """Return whether another run has this cell, live or just finished; one whose process is gone is marked KILLED."""
    from neuroexp.store.tracking import CLAIMANT  # noqa: PLC0415 - --help must not wait for it

    alive = False
    for run_id, tags in store.running(cell.key).items():
        if run_id == mine:
            continue
        claimant = tags.get(CLAIMANT, "")
        held = False if cell.covers(claimant) else claimed(claimant)  # we hold the lock, so the other does not
        if held is None:  # out of sight: does it still say that it lives?
            held = _beats(tags)
        # one that has let go since it was listed has ended by itself, or has withdrawn
        status = "RUNNING" if held else store.status(run_id)
        alive = alive or held or status == "FINISHED"
        if not held and status == "RUNNING":
            store.abandon(run_id, "KILLED", "its process ended without a word")
    return alive


def _beats(tags: dict[str, str]) -> bool:
    """Return whether a run has given a sign of life lately."""
    from neuroexp.store.tracking import ALIVE, stale_s  # noqa: PLC0415 - as above

    try:
        return -AHEAD_S < time.time() - float(tags.get(ALIVE, 0)) < stale_s()
    except ValueError:
        return False


def stays(store: Store, cell: Cell, run: Run) -> bool:
    """Return whether a run that has just begun keeps its cell; else it is gone.

    Every claimant begins its run before it looks for others, so of two at once at least one sees the other and withdraws.
    Who is not running any more by then may have finished since this one looked before: that question comes last.
    """
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    try:
        if not rivals(store, cell, run.run_id) and store.finished(cell.key) is None:
            return True
        run.end("KILLED")
        store.delete(str(run.run_id))
    except StoreError as error:  # it went away: then this training is not lost on it
        log.warning("%s", error)
        return True
    return False


def taken(store: Store, cell: Cell, run: Run) -> dict[str, Any] | None:
    """Return what has become of a cell that a training has lost while it was suspended or cut off from the store.

    Another launch took it for dead: id, scores and notes of its run when that has finished, nothing while it trains. None
    while the cell is still the run's own, also when nobody can be asked.
    """
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    run_id = run.run_id
    try:
        found = store.finished(cell.key, besides=run.record["uid"])
        if found is None and not (run_id and store.status(run_id) == "KILLED" and rivals(store, cell, run_id)):
            return None
        if run_id:
            store.withdraw(run_id, TAKEN)
    except StoreError as error:
        log.warning("%s", error)
        return None
    log.warning("another launch has taken this cell: what was trained here does not count")
    return found or {}
