"""Cells that were moved or copied with their outputs: what waits in them, and continues, is for the store beside them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuroexp.machine import files, places
from neuroexp.store.ledger import LAST, RECORD, STORE, STORE_SHAPE, Cell, read
from neuroexp.store.ledger import LOCK as CLAIM

log = logging.getLogger(__name__)

GROUP = re.compile(r"(.*)-[0-9a-f]{6}")  # the folder of an experiment's cells in one store
LOCK = "moved.lock"


def settle(ledger: Path, uri: str | None = None) -> None:
    """Have the cells of a ledger that was moved with its store belong to the store beside it, and say so in a line.

    `uri` is the address that a launch has for that store; without one it is found by its name. Cells of a server, or of a
    store that was never beside the ledger, stay as they are, and a cell that is there already is not written over.
    """
    ledger = ledger.resolve()
    moved: dict[tuple[str, str], int] = {}
    for folder in _groups(ledger):
        facts = _was(folder)
        if facts is None:
            continue
        old, outputs = Path(facts["database"]), Path(facts["outputs"])
        new = ledger.parent / old.name
        if old.parent != outputs or outputs == ledger.parent or not _ours(uri, new):
            continue
        address = uri or places.address(new)
        with files.lock(ledger / LOCK):
            cells = [(cell, Cell(ledger, address, facts["experiment"], cell.name)) for cell in _cells(folder)]
            count = sum(_move(cell, new_cell, address, outputs) for cell, new_cell in cells)
            _clear(folder)
        moved[str(old), str(new)] = moved.get((str(old), str(new)), 0) + count
    for (was, now), count in moved.items():
        if count:
            which = "1 cell" if count == 1 else f"{count} cells"
            log.warning(
                "%s was moved or copied: %s of %s belong%s to %s now", ledger, which, was, "s" * (count == 1), now
            )


def _groups(ledger: Path) -> list[Path]:
    found = ledger.iterdir() if ledger.is_dir() else ()
    return sorted(
        folder for folder in found if GROUP.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    )


def _cells(folder: Path) -> list[Path]:
    return sorted(
        cell for cell in folder.iterdir() if re.fullmatch("[0-9a-f]{20}", cell.name) and not cell.is_symlink()
    )


def _was(folder: Path) -> dict[str, str] | None:
    """Return the database of a group's store, in which outputs its ledger was, and its experiment; None when nobody says."""
    said: Mapping[str, Any] | None = files.read(folder / STORE, STORE_SHAPE)
    if said is None:  # of an earlier version: where its files go by default is beside the ledger
        records = (read(cell / RECORD) for cell in _cells(folder))
        store = next((record["store"] for record in records if record is not None and "store" in record), None)
        said = None if store is None else store | {"outputs": str(Path(store["artifacts"]).parent)}
    database = None if said is None else places.database(said["uri"])
    if said is None or database is None:
        return None
    return {"database": str(database), "outputs": said["outputs"], "experiment": said["experiment"]}


def _ours(uri: str | None, new: Path) -> bool:
    """Return whether an address is that of the store beside the ledger."""
    file = new if uri is None else places.database(uri)
    return file is not None and file.absolute().parent.resolve() / file.name == new


def _move(old: Path, cell: Cell, uri: str, outputs: Path) -> bool:
    """Move a cell to its new place; return whether there was anything in it that is needed there."""
    record, new = read(old / RECORD), cell.folder
    if record is None and not (old / LAST).exists():
        return False
    with Cell.at(old).claim() as theirs, cell.claim() as ours:
        if not (theirs and ours) or (new / RECORD).exists() or (new / LAST).exists():
            return False
        for path in sorted(old.iterdir()):
            if path.name not in (RECORD, CLAIM):
                files.discard(new / path.name)
                path.rename(new / path.name)
        if record is not None:
            if "store" in record:
                kept = Path(record["store"]["artifacts"])
                inside = cell.ledger.parent / kept.relative_to(outputs) if kept.is_relative_to(outputs) else kept
                record["store"] |= {"uri": uri, "artifacts": str(inside)}
            cell.publish(record)
            (old / RECORD).unlink()
    return True


def _clear(folder: Path) -> None:
    """Remove what is left of an experiment's cells in the old store, unless something of theirs is."""
    for cell in _cells(folder):
        if {path.name for path in cell.iterdir()} <= {CLAIM}:
            files.discard(cell)
    if {path.name for path in folder.iterdir()} <= {STORE}:
        files.discard(folder)
