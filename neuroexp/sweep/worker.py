"""A process that does the jobs of a launch one after another, so that none of them can take the launch with it."""

from __future__ import annotations

import atexit
import contextlib
import logging.config
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from neuroexp.machine import garbage
from neuroexp.machine.sentence import sentence, told
from neuroexp.store.job import Job
from neuroexp.sweep.attempt import run
from neuroexp.sweep.outcome import Outcome

STOP_S = 30.0  # what a job has to end by itself after it was told to stop
STOPPED = 128 + signal.SIGTERM  # how the process ends by itself when it is told to stop
TOLD = (STOPPED, -signal.SIGTERM, -signal.SIGINT)  # who sends these signals wants it to stop; others are accidents
SCHEDULERS = [
    getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]  # say that time runs out
HANGUP = getattr(signal, "SIGHUP", None)  # of the terminal, on systems that have it


class Worker:
    """A child process; it is started when the first job comes, and started again after it was lost."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.process: Any = None
        self.connection: Connection | None = None
        self.begun = Outcome()  # of its job so far
        self.sources: dict[str, str] = {}  # digests of what it has been given to import
        self.started: Callable[[str], None] = lambda run_id: None

    def do(
        self, job: Job, timeout_s: float | None, started: Callable[[str], None]
    ) -> tuple[Outcome, BaseException | None]:
        """Do a job and return its outcome: a failure with the reason when the process is lost or the time is over.

        Ctrl-C, or a scheduler that ends this process, has the job stop at its next step; it is returned with the outcome, to
        be raised again. A second one does not wait. An error that a launcher raises in the meantime stops and fails the job.
        `started` is told the id of the run.
        """
        self.begun, self.started = Outcome.of(job), started
        if any(self.sources.get(name, now) != now for name, now in job.sources.items()):
            self.close()  # it has imported a network that has been edited since
            self.sources = {}
        self.sources |= job.sources
        stop: BaseException | None = None
        try:
            connection = self._ready()
            connection.send(job)
            outcome = self._outcome(None if timeout_s is None else time.monotonic() + timeout_s)
            if outcome is None:
                outcome = self._stop()
                if outcome.status != "finished":  # it may have been in the meantime
                    over = f"not done within timeout_min={(timeout_s or 0) / 60:g}"
                    outcome = replace(outcome, status="failed", error=over, foreseen=False, unended=True)
        except (KeyboardInterrupt, SystemExit) as interruption:
            stop, outcome = interruption, self._halt()
        except Exception as error:  # a launcher's, out of its signal handler: submitit's after too many timeouts
            outcome = self._halt()
            if outcome.status != "finished":
                outcome = replace(outcome, status="failed", error=sentence(error), foreseen=True, unended=True)
        if outcome.status == "killed" or (outcome.status == "failed" and not outcome.foreseen):
            self.close()  # what it left behind, on a GPU or half imported, must not meet the next job
        return outcome, stop

    def _ready(self) -> Connection:
        if self.process is None or not self.process.is_alive():
            if multiprocessing.get_start_method(allow_none=True) == "loky":  # joblib's, unknown to the child
                multiprocessing.set_start_method("spawn", force=True)
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs, os.getpid()), name="neuroexp", daemon=True)
            # Ctrl-C reaches every process of a terminal, and a scheduler's signals may reach every one of a job: the child is
            # told by its parent what to do about it, from its first moment on
            blocked, ours = hasattr(signal, "pthread_sigmask"), {signal.SIGINT, *SCHEDULERS}
            if blocked:
                before = signal.pthread_sigmask(signal.SIG_BLOCK, ours)
            try:
                self.process.start()
            finally:
                if blocked:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            atexit.register(self.close)
        assert self.connection is not None
        return self.connection

    def _outcome(self, deadline: float | None) -> Outcome | None:
        """Wait for the outcome; None when the time is over."""
        assert self.connection is not None
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            if not wait([self.connection, self.process.sentinel], left):
                return None
            try:
                while self.connection.poll():
                    said: Outcome | str = self.connection.recv()
                    if isinstance(said, Outcome):
                        return said
                    self.begun = replace(self.begun, run_id=said)
                    self.started(said)
            except (EOFError, ConnectionResetError):
                pass
            if not self.process.is_alive():
                return self._lost()

    def _lost(self) -> Outcome:
        self.process.join()
        code = self.process.exitcode
        told = code in TOLD
        reason = "its process was told to stop" if told else f"its process ended with exit code {code}"
        if code is not None and code < 0 and not told:
            name = signal.Signals(-code).name
            reason = f"its process was ended by {name}"
            reason += ", as the system does when memory runs out" if name == "SIGKILL" else ""
        self.process = None
        return replace(self.begun, status="killed" if told else "failed", error=reason, unended=True)

    def _stop(self) -> Outcome:
        """Have the job end at its next step, and the process when it does not."""
        if self.process is None or not self.process.is_alive():
            return self._killed()
        self.process.terminate()
        outcome = self._outcome(time.monotonic() + STOP_S)
        return self._kill() if outcome is None else outcome

    def _halt(self) -> Outcome:
        """Stop the job; a second Ctrl-C does not wait."""
        try:
            outcome = self._stop()
        except KeyboardInterrupt:
            outcome = self._kill()
        return replace(outcome, status="killed") if outcome.unended else outcome

    def _killed(self) -> Outcome:
        return replace(self.begun, status="killed", unended=True)

    def _kill(self) -> Outcome:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None
        return self._killed()

    def close(self) -> None:
        """End the process; it has no job."""
        if self.process is not None and self.process.is_alive():
            if self.connection is not None:
                self.connection.close()  # it reads the end of its orders
            with contextlib.suppress(KeyboardInterrupt):  # which does not wait
                self.process.join(5)
            if self.process.is_alive():
                self._kill()
        self.process = None


def _serve(connection: Connection, parent: int) -> None:
    """Do jobs until there are no more; leave at once when the parent is gone."""
    garbage.seldom()
    signal.signal(signal.SIGTERM, _interrupt)
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)  # the launch is told as well, and tells this process
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    try:
        while True:
            job = connection.recv()
            told.clear()
            logging.config.dictConfig(job.logging)
            connection.send(
                run(job, connection.send)
            )  # the id of the run, as soon as it has one, and then what became of it
    except BaseException as error:
        if told or isinstance(error, KeyboardInterrupt):  # between two jobs, or in the first or last moment of one
            sys.exit(STOPPED)
        if not isinstance(error, EOFError | OSError):  # these say that there are no more jobs
            raise


def _interrupt(number: int, frame: Any) -> None:
    told.append(number)
    raise KeyboardInterrupt


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
