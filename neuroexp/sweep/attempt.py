"""One job: its cell is found finished, or trained, tested, recorded, and then sent to MLflow."""

from __future__ import annotations

import contextlib
import logging
import random
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroexp.machine import files, garbage, places
from neuroexp.machine.sentence import interrupted, sentence
from neuroexp.settings import callables, keys, resolved, sources
from neuroexp.store import provenance
from neuroexp.store.delivery import current, deliver, sent, settled
from neuroexp.store.job import Job
from neuroexp.store.ledger import Cell
from neuroexp.store.rivals import rivals, stays, taken
from neuroexp.sweep import leftovers
from neuroexp.sweep.outcome import Outcome
from neuroexp.terminal.quiet import quiet

if TYPE_CHECKING:
    from neuroexp.store.open_run import Run
    from neuroexp.store.tracking import Store

log = logging.getLogger(__name__)  # to the job's log


def run(job: Job, started: Callable[[str], None] = lambda run_id: None) -> Outcome:
    """Do a job and return what became of it: failures and interruptions are among that, nothing is raised.

    `started` is told the id of the run.
    """
    quiet()
    try:
        sources.fresh(job.sources)
        callables.check(job.config, job.trusted)
        return _run(job, started)
    except BaseException as error:
        log.exception("the job ended outside its training")
        return _failed(job, Outcome.of(job), error)


def recorded(job: Job) -> Outcome | None:
    """Return what became of a job whose cell has a record of a finished training; None when it is to be done.

    Asked first, by whichever process: it costs no process of its own, and nothing is imported that a training needs.
    """
    cell = job.cell
    if cell.record() is None:
        return None
    quiet()
    leftovers.clear(cell.ledger)
    store, outcome = _store(job)
    with cell.claim() as mine:
        return _found(job, outcome, cell, store) if mine else _occupied(outcome, cell)


def _store(job: Job) -> tuple[Store | None, Outcome]:
    """Return the store of a job, None when it is away; and the outcome to begin with, which says where it is, or why not."""
    from neuroexp.store.tracking import StoreError, open_store  # noqa: PLC0415 - --help must not wait for it

    tracking = job.config["tracking"]
    outcome = replace(Outcome.of(job), uri=tracking["uri"])
    try:
        store = open_store(tracking["uri"], tracking["artifacts"], job.config["experiment"])
    except StoreError as error:
        log.warning("%s", error)
        return None, replace(outcome, unsent=str(error))
    return store, replace(outcome, link=store.link(job.launch))


def _run(job: Job, started: Callable[[str], None]) -> Outcome:
    cell = job.cell
    leftovers.clear(cell.ledger)
    store, outcome = _store(job)
    with cell.claim() as mine:
        begun = _begin(job, outcome, cell, store, mine)
        if isinstance(begun, Outcome):
            return begun
        run = begun
        if run.run_id is not None:
            outcome = replace(outcome, run_id=run.run_id)
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
            return _failed(job, replace(outcome, notes=tuple(run.record["notes"])), error)
        run.file(job.log)
        outcome = _end(job, outcome, cell, store, run, scores)
    if store is not None:
        store.save_view(job.launch, job.columns, job.config["report"])
    return outcome


def _failed(job: Job, outcome: Outcome, error: BaseException) -> Outcome:
    if interrupted(error):
        return replace(outcome, status="killed")
    foreseen = isinstance(error, ValueError | FileNotFoundError)
    return replace(outcome, status="failed", error=_reason(job, error), foreseen=foreseen)


def _skipped(outcome: Outcome, found: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a job whose cell has finished before, in a run of which the record or the store tells."""
    notes = tuple(found.get("notes", ()))
    return replace(outcome, status="skipped", run_id=found["run_id"], scores=found["scores"], notes=notes)


def _end(job: Job, outcome: Outcome, cell: Cell, store: Store | None, run: Run, scores: dict[str, float]) -> Outcome:
    """Finish the run of a training that went well, unless another launch has finished or taken its cell meanwhile."""
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    lost = None if store is None else taken(store, cell, run)
    if lost is not None:
        run.end("KILLED")
        files.discard(run.folder)
        cell.clear()
        return _skipped(outcome, lost) if lost else replace(outcome, status="elsewhere", run_id=None)
    tracking = job.config["tracking"]
    where = {"uri": tracking["uri"], "artifacts": tracking["artifacts"], "experiment": job.config["experiment"]}
    record = run.end("FINISHED") | {"scores": scores, "store": where}
    cell.publish(record)  # from here on the cell is finished, whatever happens to this process or to the store
    cell.clear()
    outcome = replace(outcome, status="finished", scores=scores, notes=tuple(record["notes"]))
    if store is None or not run.send():
        return replace(outcome, unsent=run.problem or outcome.unsent)
    record["run_id"] = run.run_id  # it may have been away when the run began
    first: dict[str, Any] = {}
    with contextlib.suppress(StoreError):
        first = settled(record, store)
    sent(cell, record | first)
    return _skipped(outcome, first) if first else replace(outcome, run_id=run.run_id)


def _begin(job: Job, outcome: Outcome, cell: Cell, store: Store | None, mine: bool) -> Run | Outcome:
    """Begin the run of a cell, or return the outcome of a cell that needs none."""
    from neuroexp.store.open_run import Run, new_record  # noqa: PLC0415 - as above

    while True:
        found = _found(job, outcome, cell, store) if mine else _occupied(outcome, cell)
        if found is not None:
            return found
        record = new_record(cell.key, job.name, job.launch, job.parameters, provenance.revision())
        record["tags"] |= {
            "neuroexp.condition": keys.condition_key(job.config),
            "neuroexp.claimant": cell.claimant(),
            "neuroexp.alive": str(time.time()),
        }
        files.discard(cell.files)  # of a process that was killed
        run = Run(store, record, cell.files)
        if store is None or run.run_id is None or stays(store, cell, run):
            return run
        time.sleep(random.uniform(0.2, 2))  # should both have withdrawn, one comes back first


def _occupied(outcome: Outcome, cell: Cell) -> Outcome:
    record = cell.record()  # another launch may hold the cell only to see that it is finished
    return replace(outcome, status="elsewhere") if record is None else _skipped(outcome, record)


def _found(job: Job, outcome: Outcome, cell: Cell, store: Store | None) -> Outcome | None:
    """Return the outcome of a cell that needs no training: finished, or running elsewhere."""
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    found: Outcome | None = None
    try:
        record = current(cell, store)
        if record is not None:
            found = _skipped(outcome, record)
            if store is not None and not record["sent"]:
                found = replace(found, run_id=deliver(cell, record, store))
        elif store is not None:
            if done := store.finished(cell.key):  # on another machine, or before there were records
                found = _skipped(outcome, done)
            elif rivals(store, cell):
                found = replace(outcome, status="elsewhere")
        if store is not None and found is not None and found.done:
            store.join(str(found.run_id), job.launch)
            store.save_view(job.launch, job.columns, job.config["report"])
    except StoreError as error:
        log.warning("%s", error)
        if found is not None:
            found = replace(found, unsent=str(error))
    return found


def _reason(job: Job, error: BaseException) -> str:
    """Return why a job failed; that a disk is full, libraries say in words in which nobody would recognise it."""
    if not isinstance(error, ValueError | FileNotFoundError):
        for place in (job.folder, Path(job.config["tracking"]["ledger"])):
            if places.no_room(place):
                return places.full(place)
    return sentence(error)
