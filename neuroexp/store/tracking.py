"""The store of all runs: MLflow, opened safely, asked which cells are finished, filled from records, read back as tables."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seven take minutes, and records wait at no cost
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException, RestException
from requests import RequestException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from neuroexp.machine import files, places, reach
from neuroexp.store import moved, runfiles
from neuroexp.store.views import DESCRIPTION, NOTE, member, saved_view
from neuroexp.terminal.shown import plain

log = logging.getLogger(__name__)

KEY, SWEEP, DONE = "neuroexp.key", "sweep", "neuroexp.tested"
UID, CLAIMANT, ALIVE = "neuroexp.record", "neuroexp.claimant", "neuroexp.alive"
NOTED = "neuroexp.notes"  # what was said of the recording, a line each
LOST = "neuroexp.files"  # `lost`: the run is there without its files
VIEW = "neuroexp-"  # and the sweep's name: the key of its saved view
VIEWS_KEPT = 30  # MLflow takes no more than forty, and people save their own
STALE_S = (
    600.0  # a run on another machine that says nothing for so long is dead, unless NEUROEXP_STALE_S says otherwise
)


class StoreError(Exception):
    """The store cannot be reached, or does not take what it is given."""


def stale_s() -> float:
    """Return after how many seconds without a sign of life a run on another machine is dead."""
    said = os.environ.get("NEUROEXP_STALE_S", str(STALE_S))
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"NEUROEXP_STALE_S={said} is no number of seconds above 0")
    return seconds


@contextlib.contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Raise StoreError in place of every way in which MLflow says that its store did not answer."""
    try:
        reach.ready(uri)
        yield
    except ModuleNotFoundError as error:
        raise StoreError(f"the MLflow store {reach.shown(uri)} cannot be used: {reach.driver(error)}") from error
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        if _outage(error):
            reach.note(uri, (str(error).strip().splitlines() or [type(error).__name__])[0][:200])
        raise StoreError(_reason(uri, error)) from error


def _outage(error: Exception) -> bool:
    """Return whether a store is away, other than one that answers and refuses."""
    if isinstance(error, MlflowException) and not isinstance(error, RestException):
        return error.error_code == "TEMPORARILY_UNAVAILABLE" or "failed with exception" in str(error)
    return isinstance(error, RequestException | OperationalError)


def _reason(uri: str, error: Exception) -> str:
    """Return why a store did not answer, in one sentence."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    path = places.database(uri)
    name = plain(reach.shown(uri))
    if path is not None and isinstance(error, OSError):
        return f"the MLflow store {name} cannot be used: {places.trouble(error, path)}"
    if path is not None and (sqlite := re.search(r"\(sqlite3\.\w+\) (.*)", said)):
        return f"the MLflow store {places.unusable(sqlite[1], path)}"
    if "database schema" in said or "locate revision" in said:  # alembic's, of a store of a newer MLflow
        return (
            f"the MLflow store {name} is of another version than MLflow {mlflow.__version__} here: if it is older, "
            f"`mlflow db upgrade {shlex.quote(uri)}` brings it up to date, else install the MLflow that made it"
        )
    return f"the MLflow store {name} does not answer: {plain(said)}"


@cache
def open_store(uri: str, artifacts: str, experiment: str) -> Store:
    """Return the store, opened once in a process. Raises StoreError when it cannot be reached."""
    return Store(uri, artifacts, experiment)


class Store:
    """One MLflow experiment of one tracking store; jobs in several processes may open the same one at once."""

    def __init__(self, uri: str, artifacts: str, experiment: str):
        """Open or create store and experiment; `artifacts` is the folder for files of an SQLite store.

        Who only reads asks `experiments` first whether there is one.
        """
        self.uri, self.artifacts, self.experiment = uri, artifacts, experiment
        self._views: set[str] = set()
        with opening(uri) as self.client:
            self.experiment_id = self._experiment(artifacts)

    def _experiment(self, artifacts: str) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            location = Path(artifacts).absolute().as_uri() if places.database(self.uri) else None
            with contextlib.suppress(MlflowException):  # another process may have created it meanwhile
                return self.client.create_experiment(self.experiment, artifact_location=location)
            found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            raise MlflowException(f"the experiment '{self.experiment}' cannot be created")
        if found.lifecycle_stage != "active":
            raise ValueError(
                f"the MLflow experiment '{self.experiment}' is deleted in {self.uri}: restore it or name another"
            )
        return str(found.experiment_id)

    def finished(self, key: str, besides: str | None = None) -> dict[str, Any] | None:
        """Return id, scores and notes of the first finished and tested run with this configuration key, if there is one.

        The run of the record whose uid is `besides` does not count.
        """
        for run in self._finished(key):
            if besides is None or run.data.tags.get(UID) != besides:
                notes = run.data.tags.get(NOTED, "").splitlines()
                return {"run_id": run.info.run_id, "scores": dict(run.data.metrics), "notes": notes}
        return None

    def _finished(self, key: str) -> list[Any]:
        done = f"tags.`{KEY}` = '{key}' and tags.`{DONE}` = 'true' and attributes.status = 'FINISHED'"
        with reaching(self.uri):
            found = list(self.client.search_runs([self.experiment_id], done, max_results=100))
        return sorted(found, key=lambda run: (run.info.end_time or 0, run.info.run_id))

    def settle(self, key: str) -> dict[str, Any] | None:
        """Leave one finished run of those with this key, the one that ended first; return its id and scores.

        Everybody who finishes one asks for this afterwards, so that of two who finish at once the last to ask sees both.
        """
        for run in self._finished(key)[1:]:
            self.withdraw(run.info.run_id, "another launch has finished this cell before")
        return self.finished(key)

    def withdraw(self, run_id: str, reason: str) -> None:
        """Mark a run KILLED whose cell another launch has."""
        with reaching(self.uri):
            self.client.set_tag(run_id, "error", reason)
            self.client.set_terminated(run_id, "KILLED")

    def running(self, key: str) -> dict[str, dict[str, str]]:
        """Return the tags of the runs with this key that nobody has ended, by their ids."""
        with reaching(self.uri):
            found = self.client.search_runs(
                [self.experiment_id], f"tags.`{KEY}` = '{key}' and attributes.status = 'RUNNING'"
            )
        return {run.info.run_id: dict(run.data.tags) for run in found}

    def status(self, run_id: str) -> str:
        """Return a run's status: RUNNING, FINISHED, FAILED or KILLED; or `deleted`, or `unknown` to this store."""
        with reaching(self.uri):
            try:
                run = self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return "unknown"
        return str(run.info.status) if run.info.lifecycle_stage == "active" else "deleted"

    def tag(self, run_id: str, name: str, value: str) -> None:
        """Set a tag of a run."""
        with reaching(self.uri):
            self.client.set_tag(run_id, name, value)

    def join(self, run_id: str, sweep: str) -> None:
        """Have a finished run belong to `sweep` as well as a new one would, so that the sweep shows all its cells."""
        with reaching(self.uri):
            self.client.log_batch(run_id, tags=[RunTag(SWEEP, sweep), RunTag(member(sweep), "true")])

    def abandon(self, run_id: str, status: str, reason: str) -> None:
        """End a run whose process is gone: FAILED or KILLED, unless it had finished in its last moment."""
        if self.status(run_id) == "FINISHED":
            return
        with reaching(self.uri):
            self.client.set_tag(run_id, "error", reason[:5000])
            self.client.set_terminated(run_id, status)

    def delete(self, run_id: str) -> None:
        """Delete a run that has lost its cell to another one."""
        with reaching(self.uri):
            self.client.delete_run(run_id)

    def start(self, record: Mapping[str, Any]) -> str:
        """Create the run of a record, or find it where it was created before; return its id."""
        with reaching(self.uri):
            known = self.client.search_runs([self.experiment_id], f"tags.`{UID}` = '{record['uid']}'", max_results=1)
            if known:
                return str(known[0].info.run_id)
            run = self.client.create_run(
                self.experiment_id,
                start_time=record["began_ms"],
                run_name=record["name"],
                tags={
                    **record["tags"],  # at once: a rival who saw the run without its claimant would take it for dead
                    KEY: record["key"],
                    SWEEP: record["sweep"],
                    member(record["sweep"]): "true",
                    UID: record["uid"],
                    "mlflow.source.name": "neuroexp",
                },
            )
            parameters = [Param(name, value) for name, value in record["parameters"].items()]
            self.client.log_batch(run.info.run_id, params=parameters)
        return str(run.info.run_id)

    def send(self, run_id: str, metrics: Sequence[Sequence[Any]]) -> None:
        """Send values (name, value, time in ms, epoch); what the store has already changes nothing."""
        with reaching(self.uri):
            for low in range(0, len(metrics), 1000):
                self.client.log_batch(run_id, metrics=[Metric(*values) for values in metrics[low : low + 1000]])

    def fill(self, record: Mapping[str, Any], folder: Path | None, sent: int = 0) -> str:
        """Complete the run of a record that has ended, with the files of `folder`; return its id.

        Filling twice changes nothing. The first `sent` metrics are known to be there.
        """
        run_id = record["run_id"] or self.start(record)
        self.send(run_id, record["metrics"][sent:])
        tags = dict(record["tags"]) | ({DONE: "true"} if record["status"] == "FINISHED" else {})
        if record["dataset"]:
            self._dataset(run_id, record["dataset"])
        with reaching(self.uri):
            if folder is not None and folder.is_dir():
                self.client.log_artifacts(run_id, str(folder))
            elif not self.client.list_artifacts(run_id):
                tags[LOST] = "lost"
            self.client.log_batch(run_id, tags=[RunTag(name, value[:5000]) for name, value in tags.items()])
            self.client.set_terminated(run_id, record["status"], record["ended_ms"])
        return str(run_id)

    def _dataset(self, run_id: str, dataset: Mapping[str, str]) -> None:
        entry = DatasetInput(Dataset(source_type="local", **dataset), [InputTag("mlflow.data.context", "training")])
        # MLflow fails when two runs bring the same new dataset at once; a moment later it is there
        for last in (False, False, True):
            try:
                with reaching(self.uri):
                    self.client.log_inputs(run_id, [entry])
                break
            except StoreError:
                if last:
                    raise
                time.sleep(random.uniform(0.1, 0.5))

    def runs(self, filter_string: str = "") -> list[dict[str, Any]]:
        """Return all finished and tested runs, newest first, as flat rows.

        run_id, name, the name of the recording, parameters, scores, and tags as `tag.NAME`.
        """
        rows: list[dict[str, Any]] = []
        query = f"tags.`{DONE}` = 'true' and attributes.status = 'FINISHED'" + (
            f" and {filter_string}" if filter_string else ""
        )
        token = None
        while True:
            with reaching(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id], query, max_results=1000, page_token=token, order_by=["start_time DESC"]
                )
            for run in page:
                inputs = run.inputs.dataset_inputs if run.inputs else []
                tags = {f"tag.{k}": v for k, v in run.data.tags.items()}
                rows.append(
                    {
                        "run_id": run.info.run_id,
                        "name": run.info.run_name,
                        "recording_name": inputs[0].dataset.name if inputs else "",
                        **run.data.params,
                        **run.data.metrics,
                        **tags,
                    }
                )
            token = page.token
            if not token:
                return rows

    def keep(self, name: str, path: Path) -> str:
        """Keep a file as a run of its own; return the run's id."""
        with reaching(self.uri):
            run_id = str(self.client.create_run(self.experiment_id, run_name=name).info.run_id)
            self.client.log_artifact(run_id, str(path))
            self.client.set_terminated(run_id)
        return run_id

    def kept(self, run_id: str) -> Path | None:
        """Return the folder with the files of a run that an SQLite store has lost; None when they are lost as well."""
        if places.database(self.uri) is None or not re.fullmatch("[0-9a-f]+", run_id):
            return None
        folder = Path(self.artifacts).absolute() / run_id / "artifacts"
        return folder if folder.is_dir() else None

    def text(self, run_id: str, name: str, path: str) -> str:
        """Return the text of a file of a run, see `runfiles.text`."""
        with reaching(self.uri):
            return runfiles.text(self.client, run_id, name, path)

    def link(self, sweep: str, host: str = "http://127.0.0.1:5000") -> str:
        """Return the address of the MLflow page that shows this sweep in its saved view."""
        address = self.uri if self.uri.startswith("http") else host
        # MLflow ignores a saved view when the address itself carries a filter, so the filter is in the view.
        page = f"{address}/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"
        return f"{page}&viewStateShareKey={VIEW}{sweep}"

    def save_view(self, sweep: str, parameters: Sequence[str], scores: Sequence[str]) -> None:
        """Save how MLflow shows a sweep, once per process; a refusal costs the view and nothing else."""
        if sweep in self._views:
            return
        prefix = f"mlflow.sharedViewState.{VIEW}"
        with contextlib.suppress(StoreError), reaching(self.uri):
            view = saved_view(sweep, parameters, scores)
            self.client.set_experiment_tag(self.experiment_id, prefix + sweep, view)
            known = self.client.get_experiment(self.experiment_id).tags
            if NOTE not in known:  # else somebody may have written it
                self.client.set_experiment_tag(self.experiment_id, NOTE, DESCRIPTION)
            ours = sorted(key for key in known if key.startswith(prefix))
            for old in ours[:-VIEWS_KEPT]:  # a sweep's name starts with its time
                self.client.delete_experiment_tag(self.experiment_id, old)
            self._views.add(sweep)


def experiments(uri: str) -> set[str]:
    """Return the names of a store's experiments; raises StoreError when it cannot be reached."""
    with opening(uri) as client:
        return {experiment.name for experiment in client.search_experiments()}


@contextlib.contextmanager
def opening(uri: str) -> Iterator[mlflow.MlflowClient]:
    """Yield a client of a store; raises StoreError when it cannot be reached."""
    reach.check(uri)
    with warnings.catch_warnings(), reaching(uri), _lock(uri):
        warnings.simplefilter("ignore")  # of the libraries below MLflow, about each other
        _create(uri)
        if (path := places.database(uri)) is not None:
            moved.settle(path)
        yield mlflow.MlflowClient(uri)


def _create(uri: str) -> None:
    """Make the file of a new SQLite store at once: a process killed among its hundred tables would ruin it for good."""
    path = places.database(uri)
    if path is None:
        return
    for left in path.parent.iterdir():  # of a process that was killed while it made one: only the lock's owner does
        if left.name.startswith(f"{path.name}.") and ".part" in left.suffix:
            files.discard(left)
    if path.exists() and path.stat().st_size:
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 - warns where it is imported

    with files.replacing(path) as partial:
        # its own experiment lies here too: MLflow would put the name of the working folder into SQL as it is
        SqlAlchemyStore(  # type: ignore[no-untyped-call]
            places.address(partial), (path.parent / "artifacts").absolute().as_uri()
        )


def _lock(uri: str) -> contextlib.AbstractContextManager[Any]:
    """Return a lock around the opening of an SQLite file: several processes creating it at once can ruin it for good."""
    path = places.database(uri)
    if path is None:
        return contextlib.nullcontext()
    try:
        places.check_store(uri)
    except ValueError as error:
        raise StoreError(str(error)) from error
    return files.lock(path.with_name(f"{path.name}.lock"))
