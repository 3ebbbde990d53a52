"""What is finished, one small file per cell that MLflow is filled from, and the lock that lets a cell run once."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import Timeout

from neuroexp.machine import files

RECORD, LOCK, LAST = "record.json", "lock", "last.ckpt"
STORE = "store.json"  # in the folder of an experiment's cells: whose they are, and where their ledger was
FILES = "files"  # of a run, in its cell until the store has taken them
LAUNCHES = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{4}"  # the names of launches
CLAIM_S = 0.5  # who clears up after a killed process holds its cell's lock for less

Record = dict[str, Any]


def _id(value: Any) -> bool:
    return files.text(value) and re.fullmatch("[0-9a-f]{32}", value) is not None


def _point(value: Any) -> bool:
    """Return whether a value is a metric's name, value, time in ms and epoch."""
    return (
        isinstance(value, list) and len(value) == 4 and files.text(value[0]) and all(map(files.number, value[1:]))
    )  # fmt: skip


def _store(value: Any) -> bool:
    return files.fits(value, dict.fromkeys(("uri", "artifacts", "experiment"), files.text))


NEEDED: files.Shape = {
    "uid": _id,
    "key": files.text,
    "name": files.text,
    "sweep": files.text,
    "began_ms": files.whole,
    "ended_ms": files.whole,
    "status": lambda value: value == "FINISHED",
    "parameters": files.mapping_of(files.text),
    "tags": files.mapping_of(files.text),
    "dataset": files.mapping_of(files.text),
    "metrics": files.list_of(_point),
    "scores": files.mapping_of(files.number),
    "run_id": files.maybe(_id),
    "sent": files.flag,
}
POSSIBLE: files.Shape = {
    "store": _store,
    "files": files.maybe(files.text),
    "was": files.maybe(_id),
    "notes": files.list_of(files.text),
}


STORE_SHAPE: files.Shape = dict.fromkeys(("uri", "outputs", "experiment"), files.text)


class Cell:
    """The folder of one cell of a grid, wherever and however often it is launched."""

    def __init__(self, ledger: str | Path, uri: str, experiment: str, key: str):
        """A cell is known by its configuration's key, within one MLflow experiment of one store."""
        place = hashlib.sha256(uri.encode()).hexdigest()[:6]
        self.folder = Path(ledger).absolute() / f"{re.sub(r'[^A-Za-z0-9]+', '-', experiment)}-{place}" / key
        self._store = {"uri": uri, "outputs": str(Path(ledger).absolute().parent), "experiment": experiment}

    @classmethod
    def at(cls, folder: Path) -> Cell:
        """Return the cell whose folder this is."""
        cell = cls.__new__(cls)
        cell.folder, cell._store = folder.absolute(), {}
        return cell

    @property
    def key(self) -> str:
        """The key of its configuration."""
        return self.folder.name

    @property
    def ledger(self) -> Path:
        """The folder of all cells."""
        return self.folder.parent.parent

    def record(self) -> Record | None:
        """Return what a finished job left here; None when nothing is there, or nothing that is whole."""
        return read(self.folder / RECORD)

    def publish(self, record: Record) -> None:
        """Leave the record of a finished job; from then on the cell is finished."""
        files.write(self.folder / RECORD, record, durable=True)

    def retire(self) -> bool:
        """Forget the record, so that the cell runs again; return whether there was one."""
        path = self.folder / RECORD
        there = path.exists() or path.is_symlink()
        files.make_way(path)
        path.unlink(missing_ok=True)
        return there

    @contextlib.contextmanager
    def claim(self, wait_s: float = CLAIM_S) -> Iterator[bool]:
        """Yield whether this process may run the cell; the system gives the claim back when the process dies."""
        lock = files.lock(self.folder / LOCK)
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            yield False
            return
        try:
            if self._store and not (self.folder.parent / STORE).exists():
                files.write(self.folder.parent / STORE, self._store)
            for path in self.folder.glob("*.part"):  # of a process that died while it wrote
                files.discard(path)
            yield True
        finally:
            lock.release()

    def claimant(self) -> str:
        """Return where the claim on this cell can be looked up."""
        return f"{_identity(self.ledger)}:{socket.gethostname()}:{self.folder / LOCK}"

    def covers(self, claimant: str) -> bool:
        """Return whether a claim was made through the same ledger, so that who holds this cell's lock holds the claim."""
        ledger, place = claimant.partition(":")[::2]
        return ledger == _identity(self.ledger) or place == self.claimant().partition(":")[2]

    @property
    def last(self) -> Path:
        """The checkpoint that an interrupted training continues from."""
        return self.folder / LAST

    @property
    def files(self) -> Path:
        """Where a run's files are until the store has taken them."""
        return self.folder / FILES

    def kept(self, record: Mapping[str, Any]) -> Path | None:
        """Return the folder with the files of a finished run that wait for the store; None when there is none.

        It is the cell's own, whatever the record says: what is in it is sent, and then deleted. Earlier versions kept it in
        the job's folder below the ledger's own outputs.
        """
        ledger = self.ledger.resolve()
        number = Path(record.get("files") or "").parent.name
        sweep = record["sweep"] if re.fullmatch(LAUNCHES, record["sweep"]) else "no launch"
        earlier = ledger.parent / sweep / (number if re.fullmatch("[0-9]+", number) else "") / FILES
        for place in (ledger / self.folder.parent.name / self.folder.name / FILES, earlier):
            if place.is_dir() and place.resolve() == place:  # no link leads there
                return place
        return None

    def clear(self) -> None:
        """Remove the checkpoints."""
        for path in self.folder.glob("*.ckpt*"):
            files.discard(path)


def _identity(ledger: Path) -> str:
    """Return a name that no other ledger has, on whichever machines its folder can be seen."""
    path = ledger / "id"
    if (known := _name(path)) is None:
        with files.lock(ledger / "id.lock"):
            if (known := _name(path)) is None:
                known = secrets.token_hex(8)
                with files.replacing(path) as partial:
                    partial.write_text(known)
    return known


def _name(path: Path) -> str | None:
    try:
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return None
    return found if re.fullmatch("[0-9a-f]{16}", found) else None


def claimed(claimant: str) -> bool | None:
    """Return whether a claim is still held; None when it was made on another machine, out of sight from here."""
    _, host, path = claimant.split(":", 2) if claimant.count(":") > 1 else ("", "", "")
    return files.held(Path(path)) if host == socket.gethostname() else None


def waiting(ledger: str | Path) -> list[Path]:
    """Return the records that no store has taken yet, of the cells that lie in the ledger itself."""
    return [path for path in _records(ledger) if not (read(path) or {"sent": True})["sent"]]


def damaged(ledger: str | Path) -> list[Path]:
    """Return the files in the place of records that are none."""
    return [path for path in _records(ledger) if read(path) is None]


def _records(ledger: str | Path) -> list[Path]:
    place = Path(ledger).resolve()
    return sorted(path for path in place.glob(f"*/*/{RECORD}") if path.parent.resolve() == path.parent)


def read(path: Path) -> Record | None:
    """Return a record; None when there is none, or none that is whole and of its cell."""
    found = files.read(path, NEEDED, POSSIBLE)
    return found if found is not None and found["key"] == path.parent.name else None
