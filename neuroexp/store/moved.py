"""An SQLite store that was moved or copied with its folder: its runs' files are where it is now, not where it was."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

PLACE = "neuroexp.store"  # the tag of an experiment that says where its store was when it was last opened
# what names the files of an experiment, as far as this version of MLflow has it: table, column
NAMED = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))


def settle(store: Path) -> None:
    """Have the experiments of a store keep their files beside it when it was moved or copied; say so in a line.

    MLflow writes down where files are as whole paths, for its pages as well as for us, so they are put right in the store
    itself, once: whoever calls this has the lock on its opening. Files that were never beside the store, and those that are
    still where they were and nowhere else, stay where they are. A store that cannot be written to is left as it is.
    """
    store = store.absolute()
    with contextlib.closing(sqlite3.connect(store)) as database:
        try:
            with database:
                moved = [_settle(database, store, *experiment) for experiment in _experiments(database)]
        except sqlite3.Error as error:  # read only, or no store: whoever opens it next says so
            log.debug("%s cannot be settled: %s", store, error)
            return
    for old, new in sorted({places for places in moved if places is not None}):
        log.warning("%s was moved or copied: the files of its runs are in %s, not in %s any more", store, new, old)


def _experiments(database: sqlite3.Connection) -> list[tuple[int, str, str | None]]:
    """Return id, place of the files and last place of the store for each experiment with files on this machine's disks."""
    found = database.execute(
        "select e.experiment_id, e.artifact_location, t.value from experiments e left join experiment_tags t "
        "on t.experiment_id = e.experiment_id and t.key = ? where e.artifact_location like 'file:%'",
        (PLACE,),
    )
    return list(found)


def _settle(
    database: sqlite3.Connection, store: Path, experiment: int, location: str, place: str | None
) -> tuple[str, str] | None:
    """Settle one experiment; return where its files were and are, when that is somewhere else."""
    if place == str(store):
        return None
    old = Path(unquote(urlsplit(location).path))
    # MLflow's own experiment, 0, has a folder among the artifacts; the others share that beside the store
    beside = old.parent.parent if experiment == 0 else old.parent
    was = beside if place is None else Path(place).parent
    new = store.parent / old.relative_to(was) if old.is_relative_to(was) else old
    runs = [row[0] for row in database.execute("select run_uuid from runs where experiment_id = ?", (experiment,))]
    here = any((new / run).is_dir() for run in runs)
    alone = not runs and (not old.exists() or (was / store.name).is_file())  # nothing can be lost
    copied = alone if place is None else not (runs and old.is_dir())
    same = new == old or (new.exists() and old.exists() and new.samefile(old))
    if not same and not here and not copied:
        return None  # it may be a place that somebody chose, or that is away for a moment
    if not same:
        for table, column in NAMED:
            _rename(database, table, column, experiment, location.rstrip("/"), new.as_uri())
    database.execute("insert or replace into experiment_tags (key, value, experiment_id) values (?, ?, ?)", (
        PLACE, str(store), experiment,
    ))  # fmt: skip
    return None if same or (experiment == 0 and not runs) else (str(old), str(new))


def _rename(database: sqlite3.Connection, table: str, column: str, experiment: int, old: str, new: str) -> None:
    """Have the addresses of an experiment in a column begin with `new` where they began with the folder `old`."""
    if column in (row[1] for row in database.execute(f"pragma table_info({table})")):
        database.execute(
            f"update {table} set {column} = ? || substr({column}, ?) "
            f"where experiment_id = ? and ({column} = ? or substr({column}, 1, ?) = ?)",
            (new, len(old) + 1, experiment, old, len(old) + 1, f"{old}/"),
        )
