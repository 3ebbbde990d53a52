"""What killed processes have left lying about, cleared up by the next launch: what nobody holds, in our own folders alone."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from functools import cache
from pathlib import Path

from neuroexp.machine import files
from neuroexp.store.ledger import FILES, LAUNCHES, LOCK, Cell, waiting
from neuroexp.sweep import launch

LOOKED = 20  # launches, the newest


@cache
def clear(ledger: Path) -> None:
    """Clear up a ledger and the launches beside it, once in a process."""
    with contextlib.suppress(OSError):  # of somebody else, on a full disk: it is a courtesy
        _clear(ledger.resolve())


def _clear(place: Path) -> None:
    for folder in sorted({path.parent for name in ("*.part", FILES) for path in place.glob(f"*/*/{name}")}):
        if folder.resolve() == folder and _is_cell(folder):
            _cell(Cell.at(folder))
    if place.parent.is_dir():
        found = [path for path in place.parent.iterdir() if re.fullmatch(LAUNCHES, path.name)]
        for folder in sorted(found)[-LOOKED:]:
            _launch(folder, place)


def _is_cell(folder: Path) -> bool:
    """Return whether a cell has made a folder: somebody may have named any other as their ledger."""
    named = re.fullmatch("[0-9a-f]{20}", folder.name) and re.fullmatch(".*-[0-9a-f]{6}", folder.parent.name)
    return named is not None and files.held(folder / LOCK) is False


def _cell(cell: Cell) -> None:
    """Remove the files of a run that has ended without a word; its checkpoint stays, to be continued from."""
    with cell.claim(wait_s=0) as mine:  # which removes what was half written
        record = cell.record() if mine else None
        if mine and (record is None or record["sent"]):
            files.discard(cell.files)


def _launch(folder: Path, ledger: Path) -> None:
    left = [path for pattern in ("*.part", "[0-9]*/*.part") for path in folder.glob(pattern)]
    left = [path for path in left if not _lives(path)]
    earlier = [*folder.glob(FILES), *folder.glob(f"[0-9]*/{FILES}")]  # where earlier versions kept what is in cells now
    if not (left or earlier) or folder.is_symlink() or not _ended(folder):
        return
    records = [(Cell.at(path.parent), Cell.at(path.parent).record()) for path in (waiting(ledger) if earlier else ())]
    kept = {cell.kept(record) for cell, record in records if record is not None}
    for path in {*left, *earlier} - kept:
        files.discard(path)


def _ended(folder: Path) -> bool:
    """Return whether a launch has ended, and its jobs with it: those of a cluster go on."""
    facts = launch.facts(folder)
    ours = facts is not None and facts["host"] == socket.gethostname() and not facts["cluster"]
    return ours and files.held(folder / launch.ALIVE) is False


def _lives(partial: Path) -> bool:
    """Return whether the process that writes NAME.PID.part is there."""
    pid = partial.suffixes[-2].removeprefix(".") if len(partial.suffixes) > 1 else ""
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
