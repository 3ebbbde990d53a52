"""What is finished, one small file per cell that MLflow is filled from, and the lock that lets a cell run once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

RECORD, LOCK, LAST = "record.json", "lock", "last.ckpt"

Record = dict[str, Any]


class Cell:
    """The folder of one cell of a grid, wherever and however often it is launched."""

    def __init__(self, ledger: str | Path, uri: str, experiment: str, key: str):
        """A cell is known by its configuration's key, within one MLflow experiment of one store."""
        place = hashlib.sha256(uri.encode()).hexdigest()[:6]
        self.folder = Path(ledger).absolute() / f"{re.sub(r'[^A-Za-z0-9]+', '-', experiment)}-{place}" / key

    @classmethod
    def at(cls, folder: Path) -> Cell:
        """Return the cell whose folder this is."""
        cell = cls.__new__(cls)
        cell.folder = folder.absolute()
        return cell

    def record(self) -> Record | None:
        """Return what a finished job left here."""
        return read(self.folder / RECORD)

    def publish(self, record: Record) -> None:
        """Leave the record of a finished job; from then on the cell is finished."""
        write(self.folder / RECORD, record)

    def retire(self) -> None:
        """Forget the record, so that the cell runs again."""
        (self.folder / RECORD).unlink(missing_ok=True)

    @contextlib.contextmanager
    def claim(self) -> Iterator[bool]:
        """Yield whether this process may run the cell; the system gives the claim back when the process dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def claimant(self) -> str:
        """Return where the claim on this cell can be looked up."""
        return f"{_identity(self.folder.parent.parent)}:{socket.gethostname()}:{self.folder / LOCK}"

    def covers(self, claimant: str) -> bool:
        """Return whether a claim was made through the same ledger, so that who holds this cell's lock holds the claim."""
        return claimant.partition(":")[0] == _identity(self.folder.parent.parent)

    @property
    def last(self) -> Path:
        """The checkpoint that an interrupted training continues from."""
        return self.folder / LAST

    def clear(self) -> None:
        """Remove the checkpoints."""
        for path in self.folder.glob("*.ckpt*"):
            path.unlink(missing_ok=True)


def _identity(ledger: Path) -> str:
    """Return a name that no other ledger has, on whichever machines its folder can be seen."""
    path = ledger / "id"
    if not path.is_file():
        ledger.mkdir(parents=True, exist_ok=True)
        with FileLock(ledger / "id.lock"):
            if not path.is_file():
                path.write_text(secrets.token_hex(8))
    return path.read_text()


def claimed(claimant: str) -> bool | None:
    """Return whether a claim is still held; None when it was made on another machine, out of sight from here."""
    _, host, path = claimant.split(":", 2) if claimant.count(":") > 1 else ("", "", "")
    if host != socket.gethostname() or not Path(path).is_file():
        return None
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def waiting(ledger: str | Path) -> list[Path]:
    """Return the records that no store has taken yet."""
    return sorted(path for path in Path(ledger).glob(f"*/*/{RECORD}") if not (read(path) or {"sent": True})["sent"])


def read(path: Path) -> Record | None:
    """Return a record; None when there is none, or none that is whole."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def write(path: Path, record: Record) -> None:
    """Write a record so that no reader, and no power failure, ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    with partial.open("w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def discard(folder: str | Path) -> None:
    """Remove a folder of files that a store has taken."""
    shutil.rmtree(folder, ignore_errors=True)
