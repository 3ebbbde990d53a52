"""Ids of finished runs as answers, read without MLflow, whose import alone takes seconds."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from neuroexp.completion.line import Answer
from neuroexp.machine import places
from neuroexp.store import ledger
from neuroexp.terminal.shown import plain

SHOWN = 8  # letters of an id in the table of a sweep
MOST = 200  # newest runs that are offered
WAIT_S = 0.5  # for somebody who is writing to the store
QUERY = """SELECT run_uuid, name FROM runs
WHERE status = 'FINISHED' AND lifecycle_stage = 'active' AND substr(run_uuid, 1, ?) = ? ORDER BY start_time DESC LIMIT ?"""

Found = list[tuple[str, str]]  # id and name of runs, the newest first


def beginning(typed: str, words: Sequence[str] = ()) -> Iterator[Answer]:
    """Yield the finished runs whose id begins as `typed`, of the store that `words` or the environment name.

    Each is as many letters of its id as tell it apart, eight at least, with its name; once more are typed, the whole id.
    Without a word about the store it is that of ./outputs.
    """
    named = [word.partition("=")[2] for word in words if word.startswith("tracking.uri=")]
    uri = named[-1] if named else os.environ.get("MLFLOW_TRACKING_URI") or places.store(Path.cwd())
    path = places.database(uri)
    found = _recorded(uri, typed) if path is None else _stored(path, typed)
    ids = [run_id for run_id, _ in found]
    for run_id, name in found:
        length = SHOWN if len(typed) <= SHOWN else len(run_id)
        while sum(other.startswith(run_id[:length]) for other in ids) > 1:
            length += 1
        yield Answer(run_id[:length], plain(name))


def _stored(path: Path, typed: str) -> Found:
    """Return the runs in the file of an SQLite store; none from one that is absent, damaged or of another program."""
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(address, uri=True, timeout=WAIT_S)) as file,
    ):
        rows = file.execute(QUERY, (len(typed), typed, MOST)).fetchall()
        return [(str(run_id), str(name or "")) for run_id, name in rows]
    return []


def _recorded(uri: str, typed: str) -> Found:
    """Return the runs of a server's store that were made in this folder: what their cells say."""
    records = [ledger.read(path) for path in (Path("outputs") / "cells").glob(f"*/*/{ledger.RECORD}")]
    found = [
        record
        for record in records
        if record is not None
        and record["run_id"] is not None
        and record["run_id"].startswith(typed)
        and record.get("store", {"uri": uri})["uri"] == uri
    ]
    found.sort(key=lambda record: record["ended_ms"], reverse=True)
    return [(record["run_id"], record["name"]) for record in found[:MOST]]
