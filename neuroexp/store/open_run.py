"""One run that is being written: into its record and its folder first, and to the store as long as that answers."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from neuroexp.store.tracking import ALIVE, NOTED, Store, StoreError, stale_s

log = logging.getLogger(__name__)

FLUSH_S = 1.0
NOTES = "notes.txt"
BEATS = 10  # signs of life for other machines, in the time after which they take a run for dead


class Run:
    """One run that is being written: into its record and folder first, and to the store as long as that answers."""

    def __init__(self, store: Store | None, record: dict[str, Any], folder: Path):
        """Start the run in the store; `folder` takes its files. Without a store everything waits in the record."""
        self.store, self.record, self.folder = store, record, folder
        self.problem: str | None = None
        self._sent, self._flushed = 0, time.monotonic()
        self._ended = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        self._try(lambda reached: record.update(run_id=reached.start(record)))
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def run_id(self) -> str | None:
        """The run's id in MLflow, once it has one."""
        return self.record["run_id"]

    def _try(self, act: Callable[[Store], None]) -> None:
        """Do something with the store; when it does not answer, leave it alone until the end and say so once."""
        if self.store is None or self.problem:
            return
        try:
            act(self.store)
        except StoreError as error:
            self.problem = str(error)
            log.warning("%s; results are kept in %s", error, self.folder)

    def _beat(self) -> None:
        """Give signs of life as long as the run lasts, whatever became of the one before."""
        while not self._ended.wait(stale_s() / BEATS):
            if self.store is not None and self.run_id is not None:
                with contextlib.suppress(StoreError):
                    self.store.tag(self.run_id, ALIVE, str(time.time()))
                    self.problem = None  # it is back

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log finite values; MLflow would store an infinity as a very large number."""
        now = int(time.time() * 1000)
        self.record["metrics"] += [[k, float(v), now, step] for k, v in values.items() if math.isfinite(v)]
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait."""

        def send(store: Store) -> None:
            waiting = self.record["metrics"][self._sent :]
            store.send(str(self.run_id), waiting)
            self._sent += len(waiting)

        self._try(send)
        self._flushed = time.monotonic()

    def dataset(self, name: str, digest: str, facts: Mapping[str, Any]) -> None:
        """Record which recording the run has seen; `digest` depends on the data alone."""
        source = json.dumps({"sha256": digest})
        self.record["dataset"] = {
            "name": name, "digest": digest[:16], "source": source, "profile": json.dumps(facts),
        }  # fmt: skip

    def text(self, text: str, path: str) -> None:
        """Keep a text as a file of the run."""
        (self.folder / path).write_text(text)

    def notes(self, sentences: Sequence[str]) -> None:
        """Keep what a user must know of the recording, a sentence each: in the log, as a file and as a tag."""
        self.record["notes"] = list(sentences)
        for sentence in sentences:
            log.warning("%s", sentence)
        if sentences:
            self.text("".join(f"{sentence}\n" for sentence in sentences), NOTES)
            self.tags({NOTED: "\n".join(sentences)})

    def file(self, path: str | Path) -> None:
        """Keep a copy of a file."""
        copyfile(path, self.folder / Path(path).name)

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, at the run's end."""
        self.record["tags"] |= tags

    def end(self, status: str) -> dict[str, Any]:
        """Close the run: FINISHED (and tested), FAILED or KILLED; return the record, to be published and then sent."""
        self._ended.set()
        self.record |= {"status": status, "ended_ms": int(time.time() * 1000)}
        return self.record

    def send(self) -> bool:
        """Complete the run in the store; return whether it took everything."""
        self.problem = None  # it may have come back

        def fill(store: Store) -> None:
            if self.run_id is not None and store.status(self.run_id) in ("deleted", "unknown"):
                self.record["run_id"], self._sent = None, 0
            self.record.update(run_id=store.fill(self.record, self.folder, self._sent))

        self._try(fill)
        return self.store is not None and self.problem is None


def new_record(
    key: str, name: str, sweep: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return the record of a run that begins now; parameters are bare numbers and short words."""
    return {
        "uid": uuid.uuid4().hex,
        "key": key,
        "name": name,
        "sweep": sweep,
        "began_ms": int(time.time() * 1000),
        "parameters": {name: str(value) for name, value in parameters.items()},
        "tags": dict(tags),
        "dataset": {},
        "metrics": [],
        "notes": [],
        "run_id": None,
        "sent": False,
    }
