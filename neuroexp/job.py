"""One job: its cell is found finished, or trained, tested, recorded, and then sent to MLflow."""

from __future__ import annotations

import contextlib
import logging
import random
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from neuroexp import places, provenance, targets
from neuroexp.ledger import Cell, Record, claimed, discard
from neuroexp.shown import plain

if TYPE_CHECKING:
    from neuroexp.record import Run
    from neuroexp.tracking import Store

log = logging.getLogger(__name__)  # to the job's log
LONGEST = 2000  # characters of a reason
FILES = "files"  # of a run, in the job's folder until the store has taken them

Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Everything that one training needs to know, as plain values that travel between processes."""

    config: dict[str, Any]  # resolved
    number: int  # in its launch
    name: str
    launch: str
    parameters: dict[str, str]  # what MLflow shows of it
    columns: tuple[str, ...]  # those that are columns of the sweep
    logging: dict[str, Any]  # Hydra's, of this job
    bar: bool  # one over the epochs
    parallel: bool  # other jobs run on this machine at the same time, and share its GPUs

    @property
    def folder(self) -> Path:
        """Where the job writes."""
        return Path(self.config["output"]).absolute()

    @property
    def log(self) -> Path:
        """Where everything is written that it says."""
        return self.folder / "job.log"


def run(job: Job, started: Callable[[str], None] = lambda run_id: None) -> Result:
    """Do a job and return its status and scores; failures and interruptions are statuses, nothing is raised.

    Status: finished, skipped (finished before), elsewhere (running in another launch), failed, killed. `started` is told the
    id of the run.
    """
    quiet()
    result: Result = {"status": "failed", "scores": {}}
    try:
        targets.check(job.config, "", job.config["trusted"])
        _run(job, result, started)
    except BaseException as error:
        if "run_id" not in result:  # else it is in the log already, and with it in the run
            log.exception("the job ended before its run began")
        if interrupted(error):
            result["status"] = "killed"
        else:
            foreseen = isinstance(_cause(error), ValueError | FileNotFoundError)
            result |= {"status": "failed", "error": _reason(job, error), "foreseen": foreseen}
    return result


def _run(job: Job, result: Result, started: Callable[[str], None]) -> None:
    from neuroexp.tracking import StoreError, open_store  # noqa: PLC0415 - --help must not wait for it
    from neuroexp.training import train  # noqa: PLC0415

    tracking, experiment = job.config["tracking"], job.config["experiment"]
    key = provenance.configuration_key(job.config)
    cell = Cell(tracking["ledger"], tracking["uri"], experiment, key)
    result["uri"] = tracking["uri"]
    try:
        store = open_store(tracking["uri"], tracking["artifacts"], experiment)
        result["link"] = store.link(job.launch)
    except StoreError as error:
        store, result["unsent"] = None, str(error)
        log.warning("%s", error)
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
            run.text(OmegaConf.to_yaml(job.config), "config.yaml")
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
                discard(run.folder)
            raise
        run.file(job.log)
        record = run.end("FINISHED") | {
            "scores": scores,
            "files": str(run.folder),
            "store": {"uri": tracking["uri"], "artifacts": tracking["artifacts"], "experiment": experiment},
        }
        cell.publish(record)  # from here on the cell is finished, whatever happens to this process or to the store
        cell.clear()
        result |= {"status": "finished", "scores": scores}
        if run.send():
            _sent(cell, record | {"run_id": run.run_id})  # it may have been away when the run began
        else:
            result["unsent"] = run.problem or result.get("unsent")
    if store is not None:
        store.save_view(job.launch, job.columns, job.config["report"])


def _begin(job: Job, cell: Cell, store: Store | None, key: str, mine: bool) -> Run | Result:
    """Begin the run of a cell, or return the result of a cell that needs none."""
    from neuroexp.record import Run, new_record  # noqa: PLC0415 - as above

    while True:
        found = _found(job, cell, store, key) if mine else _occupied(cell)
        if found is not None:
            return found
        record = new_record(key, job.name, job.launch, job.parameters, provenance.revision())
        record["tags"] |= {
            "neuroexp.condition": provenance.condition_key(job.config),
            "neuroexp.claimant": cell.claimant(),
            "neuroexp.alive": str(time.time()),
        }
        run = Run(store, record, job.folder / FILES)
        if store is None or run.run_id is None or _stays(store, key, cell, run):
            return run
        time.sleep(random.uniform(0.2, 2))  # should both have withdrawn, one comes back first


def _occupied(cell: Cell) -> Result:
    record = cell.record()  # another launch may hold the cell only to see that it is finished
    if record is None:
        return {"status": "elsewhere"}
    return {"status": "skipped", "scores": record["scores"], "run_id": record["run_id"]}


def _found(job: Job, cell: Cell, store: Store | None, key: str) -> Result | None:
    """Return the result of a cell that needs no training: finished, or running elsewhere."""
    from neuroexp.tracking import StoreError  # noqa: PLC0415 - as above

    found: Result | None = None
    try:
        record = _current(cell, store)
        if record is not None:
            found = {"status": "skipped", "scores": record["scores"]}
            if store is not None and not record["sent"]:
                record["run_id"] = deliver(cell, record, store)
            found["run_id"] = record["run_id"]
        elif store is not None:
            if done := store.finished(key):  # on another machine, or before there were records
                found = {"status": "skipped", **done}
            elif _rivals(store, key, cell):
                found = {"status": "elsewhere"}
        if store is not None and found is not None and found["status"] == "skipped":
            store.join(found["run_id"], job.launch)
            store.save_view(job.launch, job.columns, job.config["report"])
    except StoreError as error:
        log.warning("%s", error)
        if found is not None:
            found["unsent"] = str(error)
    return found


def _current(cell: Cell, store: Store | None) -> Record | None:
    """Return the cell's record, unless somebody has deleted its run in MLflow to have it again."""
    record = cell.record()
    if record is None or store is None or not record["sent"]:
        return record
    status = store.status(record["run_id"])
    if status == "deleted":
        cell.retire()
        return None
    if status == "unknown":  # a new store in the place of a lost one
        record |= {"run_id": None, "sent": False}
    return record


def deliver(cell: Cell, record: Record, store: Store) -> str:
    """Send a finished record to the store, exactly once however often it is tried; return the run's id."""
    record |= {"run_id": record["run_id"] or store.start(record)}
    cell.publish(record)
    record["run_id"] = store.fill(record, Path(record["files"]) if record["files"] else None)
    _sent(cell, record)
    return str(record["run_id"])


def _sent(cell: Cell, record: Record) -> None:
    files = record["files"]
    cell.publish(record | {"sent": True, "files": None})
    if files:
        discard(files)


def _stays(store: Store, key: str, cell: Cell, run: Run) -> bool:
    """Return whether a run that has just begun keeps its cell; else it is gone.

    Every claimant begins its run before it looks for others, so of two at once at least one sees the other and withdraws.
    Who is not running any more by then may have finished since this one looked before: that question comes last.
    """
    from neuroexp.tracking import StoreError  # noqa: PLC0415 - as above

    try:
        if not _rivals(store, key, cell, run.run_id) and store.finished(key) is None:
            return True
        run.end("KILLED")
        store.delete(str(run.run_id))
    except StoreError as error:  # it went away: then this training is not lost on it
        log.warning("%s", error)
        return True
    return False


def _rivals(store: Store, key: str, cell: Cell, mine: str | None = None) -> bool:
    """Return whether another run has this cell, live or just finished; one whose process is gone is marked KILLED."""
    from neuroexp.tracking import ALIVE, CLAIMANT, STALE_S  # noqa: PLC0415 - as above

    alive = False
    for run_id, tags in store.running(key).items():
        if run_id == mine:
            continue
        claimant = tags.get(CLAIMANT, "")
        held = False if cell.covers(claimant) else claimed(claimant)  # we hold the lock, so the other does not
        if held is None:  # out of sight: does it still say that it lives?
            held = time.time() - float(tags.get(ALIVE, 0)) < STALE_S
        # one that has let go since it was listed has ended by itself, or has withdrawn
        status = "RUNNING" if held else store.status(run_id)
        alive = alive or held or status == "FINISHED"
        if not held and status == "RUNNING":
            store.abandon(run_id, "KILLED", "its process ended without a word")
    return alive


def interrupted(error: BaseException) -> bool:
    """Return whether somebody stopped the job; Lightning turns Ctrl-C into an exit."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
    )


def _reason(job: Job, error: BaseException) -> str:
    """Return why a job failed; that a disk is full, libraries say in words in which nobody would recognise it."""
    if not isinstance(_cause(error), ValueError | FileNotFoundError):
        for place in (job.folder, Path(job.config["tracking"]["ledger"])):
            if places.no_room(place):
                return places.full(place)
    return sentence(error)


def sentence(error: BaseException) -> str:
    """Return what went wrong in one line: the message of an error that was foreseen, else with the error's type."""
    error = _cause(error)
    if refused := places.told(error):
        return refused
    message = plain(" ".join(str(error).split()), LONGEST) or type(error).__name__
    foreseen = isinstance(error, ValueError | FileNotFoundError)
    return message if foreseen else f"{type(error).__name__}: {message}"


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def quiet() -> None:
    """Silence what Lightning and MLflow say about every job; the job's log keeps their warnings."""
    logging.raiseExceptions = False  # a log on a disk that is full must not fill the terminal
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # which logs what it raises
    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "pytorch_lightning.trainer.connectors.checkpoint_connector",
        "lightning_fabric.utilities.seed",
        "pytorch_lightning.accelerators.cuda",
        "mlflow",
        "alembic",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*logging interval.*",
        ".*GPU available but not used.*",
        ".*Checkpoint directory.*exists and is not empty.*",  # a cell's folder
        ".*weights_only.*was not set.*",
    ):
        warnings.filterwarnings("ignore", message)
