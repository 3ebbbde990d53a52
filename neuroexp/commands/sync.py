"""Send what was finished while MLflow was away: `neuroexp sync`, exactly once however often it is typed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from urllib.parse import quote

from neuroexp.machine import places, reach
from neuroexp.machine.command import command
from neuroexp.store import movedcells
from neuroexp.store.delivery import deliver
from neuroexp.store.ledger import RECORD, Cell, Record, damaged, waiting
from neuroexp.terminal.quiet import quiet
from neuroexp.terminal.shown import plain


@command
def main() -> None:
    """Deliver the records that wait in a ledger, by default ./outputs/cells; exit with 1 when a store is still away."""
    ledger = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/cells")
    if len(sys.argv) > 2 or not ledger.is_dir():
        sys.exit(f"{ledger} is no folder of finished cells: neuroexp sync [FOLDER], by default ./outputs/cells")
    quiet()
    movedcells.settle(ledger)
    paths = waiting(ledger)
    for path in damaged(ledger):
        print(f"{path} is damaged: type the launch's command again, its run is in MLflow or is trained anew")
    print(f"{len(paths)} finished runs wait in {ledger}" if paths else f"every finished run in {ledger} is in MLflow")
    problems: dict[str, str] = {}  # by the store
    for path in paths:
        cell = Cell.at(path.parent)
        with cell.claim() as mine:
            record = cell.record() if mine else None  # somebody else may be sending it
            if record is not None and not record["sent"]:
                _send(cell, record, problems)
    if problems:
        sys.exit("\n".join(problems.values()))


def _send(cell: Cell, record: Record, problems: dict[str, str]) -> None:
    from neuroexp.store.tracking import StoreError, open_store  # noqa: PLC0415 - a second to import

    uri = record.get("store", {}).get("uri", "")
    if (why := refused(cell, record)) is not None:
        problems[str(cell.folder)] = f"{cell.folder / RECORD} is not sent: {why}"
    elif uri not in problems:
        try:
            run_id = deliver(cell, record, open_store(uri, _artifacts(cell, record), record["store"]["experiment"]))
        except (StoreError, ValueError) as error:
            problems[uri] = str(error)
        else:
            print(plain(f"{record['name']}: {run_id} in {reach.shown(uri)}", 2000))


def refused(cell: Cell, record: Record) -> str | None:
    """Return why a record cannot go to the store that it names; None when it can.

    It is sent only to the store whose cell it is in, and nothing is made outside the ledger's own outputs: neither a store
    nor tables in a file that is none.
    """
    if "store" not in record:
        return "it names no store"
    uri, experiment = record["store"]["uri"], record["store"]["experiment"]
    if Cell(cell.ledger, uri, experiment, record["key"]).folder != cell.folder:
        return f"it names {reach.shown(uri)}, and lies in the folder of another store"
    file = places.database(uri)
    if file is None:
        return None
    path = file.absolute()
    ours = cell.ledger.resolve().parent in path.resolve().parents or uri == os.environ.get("MLFLOW_TRACKING_URI")
    if not ours and not _has_runs(path):
        return f"{path} holds no MLflow store, and none is made there: type the launch's command again"
    return None


def _has_runs(path: Path) -> bool:
    """Return whether a file is an MLflow store; it is only read."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as found:
            return bool(found.execute("select 1 from sqlite_master where name = 'experiments'").fetchone())
    except sqlite3.Error:
        return False


def _artifacts(cell: Cell, record: Record) -> str:
    """Return where a new experiment of an SQLite store keeps its files: where the record says, if that is in our outputs."""
    outputs = cell.ledger.resolve().parent
    named = Path(record["store"]["artifacts"]).absolute()
    return str(named if outputs in named.resolve().parents else outputs / "artifacts")
