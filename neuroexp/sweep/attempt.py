"""One job: its cell is found finished, or trained, tested, recorded, and then sent to MLflow."""

from __future__ import annotations

import contextlib
import logging
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from neuroexp.machine import files, garbage, places
from neuroexp.machine.sentence import interrupted, sentence
from neuroexp.settings import keys, resolved, sources, trust
from neuroexp.store import provenance
from neuroexp.store.delivery import current, deliver, sent, settled
from neuroexp.store.job import Job, Result
from neuroexp.store.ledger import Cell
from neuroexp.store.rivals import rivals, stays, taken
from neuroexp.sweep import leftovers
from neuroexp.terminal.quiet import quiet

if TYPE_CHECKING:
    from neuroexp.store.open_run import Run
    from neuroexp.store.tracking import Store

log = logging.getLogger(__name__)  # to the job's log


def run(job: Job, started: Callable[[str], None] = lambda run_id: None) -> Result:
    """Do a job and return its status and scores; failures and interruptions are statuses, nothing is raised.

    Status: finished, skipped (finished before), elsewhere (running in another launch), failed, killed. `started` is told the
    id of the run.
    """
    quiet()
    result: Result = {"status": "failed", "scores": {}}
    try:
        sources.fresh(job.sources)
        trust.check(job.config, job.trusted)
        _run(job, result, started)
    except BaseException as error:
        if "run_id" not in result:  # else it is in the log already, and with it in the run
            log.exception("the job ended before its run began")
        if interrupted(error):
            result["status"] = "killed"
        else:
            foreseen = isinstance(error, ValueError | FileNotFoundError)
            result |= {"status": "failed", "error": _reason(job, error), "foreseen": foreseen}
    return result


def recorded(job: Job) -> Result | None:
    """Return the result of a job whose cell has a record of a finished training; None when it is to be done.

    Asked first, by whichever process: it costs no process of its own, and nothing is imported that a training needs.
    """
    cell = job.cell
    if cell.record() is None:
        return None
    quiet()
    leftovers.clear(cell.ledger)
    result: Result = {}
    store = _store(job, result)
    with cell.claim() as mine:
        found = _found(job, cell, store, cell.folder.name) if mine else _occupied(cell)
    return None if found is None else result | found


def _store(job: Job, result: Result) -> Store | None:
    """Return the store of a job, None when it is away; note in the result where it is, or why it cannot be reached."""
    from neuroexp.store.tracking import StoreError, open_store  # noqa: PLC0415 - --help must not wait for it

    tracking = job.config["tracking"]
    result["uri"] = tracking["uri"]
    try:
        store = open_store(tracking["uri"], tracking["artifacts"], job.config["experiment"])
    except StoreError as error:
        result["unsent"] = str(error)
        log.warning("%s", error)
        return None
    result["link"] = store.link(job.launch)
    return store


def _run(job: Job, result: Result, started: Callable[[str], None]) -> None:
    cell = job.cell
    key = cell.folder.name
    leftovers.clear(cell.ledger)
    store = _store(job, result)
    with cell.claim() as mine:
        begun = _begin(job, cell, store, key, mine)
        if isinstance(begun, dict):
            result |= begun
            return
        run = begun
        if run.run_id is not None:
            result["run_id"] = run.run_id
            started(run.run_id)
        try:
            run.text(resolved.text(job.config), "config.yaml")
            if job.sources:
                sources.keep(job.sources, run.folder / sources.FOLDER)
                run.tags({sources.TAG: "true"})
            from neuroexp.training.train import train  # noqa: PLC0415 - seconds that a cell which is finished does not need

            garbage.usual()
            scores = train(job, run, cell)
        except BaseException as error:
            killed = interrupted(error)
            log.exception("interrupted" if killed else "the job failed")
            run.tags({"error": "interrupted" if killed else _reason(job, error)})
            with contextlib.suppress(OSError):  # where the disk is full, for one
                run.text("".join(traceback.format_exception(error)), "traceback.txt")
                run.file(job.log)
            run.end("KILLED" if killed else "FAILED")
            if run.send():
                files.discard(run.folder)
            result["notes"] = run.record["notes"]
            raise
        run.file(job.log)
        result |= _end(job, cell, store, run, scores)
    if store is not None:
        store.save_view(job.launch, job.columns, job.config["report"])


def _end(job: Job, cell: Cell, store: Store | None, run: Run, scores: dict[str, float]) -> Result:
    """Finish the run of a training that went well, unless another launch has finished or taken its cell meanwhile."""
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    lost = None if store is None else taken(store, cell, run)
    if lost is not None:
        run.end("KILLED")
        files.discard(run.folder)
        cell.clear()
        return lost
    tracking = job.config["tracking"]
    where = {"uri": tracking["uri"], "artifacts": tracking["artifacts"], "experiment": job.config["experiment"]}
    record = run.end("FINISHED") | {"scores": scores, "store": where}
    cell.publish(record)  # from here on the cell is finished, whatever happens to this process or to the store
    cell.clear()
    result: Result = {"status": "finished", "scores": scores, "notes": record["notes"]}
    if store is None or not run.send():
        return result | ({"unsent": run.problem} if run.problem else {})
    record["run_id"] = run.run_id  # it may have been away when the run began
    first: Result = {}
    with contextlib.suppress(StoreError):
        first = settled(record, store)
    sent(cell, record | first)
    return {"status": "skipped", **first} if first else result | {"run_id": run.run_id}


def _begin(job: Job, cell: Cell, store: Store | None, key: str, mine: bool) -> Run | Result:
    """Begin the run of a cell, or return the result of a cell that needs none."""
    from neuroexp.store.open_run import Run, new_record  # noqa: PLC0415 - as above

    while True:
        found = _found(job, cell, store, key) if mine else _occupied(cell)
        if found is not None:
            return found
        record = new_record(key, job.name, job.launch, job.parameters, provenance.revision())
        record["tags"] |= {
            "neuroexp.condition": keys.condition_key(job.config),
            "neuroexp.claimant": cell.claimant(),
            "neuroexp.alive": str(time.time()),
        }
        files.discard(cell.files)  # of a process that was killed
        run = Run(store, record, cell.files)
        if store is None or run.run_id is None or stays(store, key, cell, run):
            return run
        time.sleep(random.uniform(0.2, 2))  # should both have withdrawn, one comes back first


def _occupied(cell: Cell) -> Result:
    record = cell.record()  # another launch may hold the cell only to see that it is finished
    if record is None:
        return {"status": "elsewhere"}
    return {
        "status": "skipped",
        "scores": record["scores"],
        "run_id": record["run_id"],
        "notes": record.get("notes", []),
    }


def _found(job: Job, cell: Cell, store: Store | None, key: str) -> Result | None:
    """Return the result of a cell that needs no training: finished, or running elsewhere."""
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    found: Result | None = None
    try:
        record = current(cell, store)
        if record is not None:
            found = {"status": "skipped", "scores": record["scores"], "notes": record.get("notes", [])}
            if store is not None and not record["sent"]:
                record["run_id"] = deliver(cell, record, store)
            found["run_id"] = record["run_id"]
        elif store is not None:
            if done := store.finished(key):  # on another machine, or before there were records
                found = {"status": "skipped", **done}
            elif rivals(store, key, cell):
                found = {"status": "elsewhere"}
        if store is not None and found is not None and found["status"] == "skipped":
            store.join(found["run_id"], job.launch)
            store.save_view(job.launch, job.columns, job.config["report"])
    except StoreError as error:
        log.warning("%s", error)
        if found is not None:
            found["unsent"] = str(error)
    return found


def _reason(job: Job, error: BaseException) -> str:
    """Return why a job failed; that a disk is full, libraries say in words in which nobody would recognise it."""
    if not isinstance(error, ValueError | FileNotFoundError):
        for place in (job.folder, Path(job.config["tracking"]["ledger"])):
            if places.no_room(place):
                return places.full(place)
    return sentence(error)
