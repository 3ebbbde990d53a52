"""A finished record sent to its store: once however often it is tried, and only where no other launch was first."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from neuroexp.machine import files
from neuroexp.store.ledger import Cell, Record
from neuroexp.store.rivals import TAKEN, rivals

if TYPE_CHECKING:
    from neuroexp.store.tracking import Store

log = logging.getLogger(__name__)


def current(cell: Cell, store: Store | None) -> Record | None:
    """Return the cell's record, unless somebody has deleted its run in MLflow to have it again.

    Nor does a record count any longer whose run has lost its cell to another launch.
    """
    record = cell.record()
    if record is None:
        if cell.retire():
            log.warning("the record in %s was damaged and is gone: the store may have its run", cell.folder)
        return None
    if store is None or not record["sent"]:
        return record
    status = store.status(record["run_id"])
    if status == "unknown":  # a new store in the place of a lost one
        return record | {"run_id": None, "sent": False, "was": record["run_id"]}
    if status != "FINISHED":
        cell.retire()
        return None
    return record


def deliver(cell: Cell, record: Record, store: Store) -> str:
    """Send a finished record to the store, exactly once however often it is tried; return the id of the cell's run.

    Whoever calls this has the claim on the cell: runs of it that are left over from killed processes are marked so.
    """
    if record["run_id"] and store.status(record["run_id"]) in ("deleted", "unknown"):
        record["run_id"] = None
    if done := store.finished(record["key"], besides=record["uid"]):  # on another machine, while this store was away
        if record["run_id"] and store.status(record["run_id"]) != "FINISHED":
            store.withdraw(record["run_id"], TAKEN)
        sent(cell, record | done)
        return str(done["run_id"])
    record["run_id"] = record["run_id"] or store.start(record)
    cell.publish(record)
    folder = cell.kept(record)
    for path in folder.rglob("*") if folder is not None else ():
        if path.is_symlink():  # no run makes any, and what it leads to is not to be sent
            path.unlink()
    if folder is None and record.get("was"):
        folder = store.kept(record["was"])
    record["run_id"] = store.fill(record, folder)
    record |= settled(record, store)
    rivals(store, cell, record["run_id"])
    sent(cell, record)
    return str(record["run_id"])


def settled(record: Record, store: Store) -> Record:
    """Return run_id and scores of the run that stays, now that a record's own is finished, where that is another one."""
    first = store.settle(record["key"])
    return {} if first is None or first["run_id"] == record["run_id"] else first


def sent(cell: Cell, record: Record) -> None:
    """Note that the store has taken everything, and let go of the files."""
    folder = cell.kept(record)
    kept = {name: value for name, value in record.items() if name not in ("files", "was")}
    cell.publish(kept | {"sent": True})
    if folder is not None:
        files.discard(folder)
