"""Commands in processes forked from one that has imported, once for all, what takes seconds to import."""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import IO, Any

import ready_store

from neuroexp.machine import garbage

LONGEST_S = 900.0
READY = "mlflow.db"
WARNINGS = {"PYTHONWARNINGS": "default"}
BUILTIN = len(warnings.filters)  # filters that Python itself puts last
IMPORTED = (  # what a job imports sooner or later, and the commands
    "neuroexp.commands.run", "neuroexp.training.train", "neuroexp.store.tracking", "neuroexp.deploy.restore",
    "neuroexp.commands.replay", "neuroexp.commands.repeat", "neuroexp.commands.status", "neuroexp.commands.sync",
    "neuroexp.commands.plan", "neuroexp.commands.cost", "neuroexp.tasks.plots", "neuroexp.store.open_run",
    "neuroexp.datasets.hdsemg", "neuroexp.datasets.eng", "neuroexp.tasks.decomposition",
    "neuroexp.tasks.classification", "neuroexp.recordings.hdsemg_simulated", "neuroexp.recordings.eng_simulated",
    "neuroexp.commands.export", "neuroexp.commands.latency", "neuroexp.experiments.page",
    "mlflow.store.tracking.sqlalchemy_store", "rich.progress", "torchmetrics",
)  # fmt: skip


class Running:
    """A command that was started: a process with a number, to which signals can be sent."""

    def __init__(self, place: Path, apart: bool, answers: SimpleQueue[dict[str, Any]]):
        """`answers` brings the number of the process, then its end; `place` is where it writes."""
        self.out, self.err = place / "out", place / "err" if apart else None
        self.answers = answers
        self.pid: int = self._next(LONGEST_S)["pid"]
        self.returncode: int | None = None
        self.seconds = 0.0

    def communicate(self, timeout: float = LONGEST_S) -> tuple[str, str]:
        """Wait for its end, and return what it wrote to stdout, and to stderr if that is apart."""
        if self.returncode is None:
            ended = self._next(timeout)
            self.returncode, self.seconds = ended["code"], ended["seconds"]
        return tuple(path.read_text(encoding="utf-8") if path else "" for path in (self.out, self.err))  # type: ignore[return-value]

    def _next(self, timeout: float) -> dict[str, Any]:
        answer = self.answers.get(timeout=timeout)
        assert answer, "the server of forked processes has ended: what it said is in the output of pytest -s"
        return answer

    def kill(self) -> None:
        """End it without a warning."""
        os.kill(self.pid, signal.SIGKILL)


class Forks:
    """Runs commands, each in a process forked from a server that has imported everything."""

    def __init__(self, folder: Path, shared: Path):
        """Start no server yet.

        `folder` takes what the commands say, `shared` what they need not make twice: MLflow's tables, and what is prepared
        of a nerve's recordings.
        """
        self.folder, self.shared = folder, shared
        self.server: subprocess.Popen[str] | None = None
        self.answers: dict[int, SimpleQueue[dict[str, Any]]] = {}

    def run(
        self, folder: Path, module: str, words: Sequence[str], environment: Mapping[str, str], apart: bool = False
    ) -> tuple[subprocess.CompletedProcess[str], float]:
        """Run `python -m MODULE WORDS` in a folder and return how it ended, and its seconds.

        What it writes to stderr is in its stdout, or `apart`.
        """
        running = self.start(folder, module, words, environment, apart)
        said = running.communicate()
        assert running.returncode is not None
        return subprocess.CompletedProcess([module, *words], running.returncode, *said), running.seconds

    def start(
        self, folder: Path, module: str, words: Sequence[str], environment: Mapping[str, str], apart: bool = False
    ) -> Running:
        """Start `python -m MODULE WORDS` in a folder, with this environment beside that of the tests."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        full = os.environ | {"NEUROEXP_CACHE": str(self.shared / "cache")} | environment
        number = len(self.answers)
        self.answers[number] = SimpleQueue()
        order = {"number": number, "folder": str(folder), "module": module, "words": list(words), "environment": full}
        order |= {"out": str(place / "out"), "err": str(place / ("err" if apart else "out"))}
        server = self._served()
        assert server.stdin is not None
        server.stdin.write(json.dumps(order) + "\n")
        return Running(place, apart, self.answers[number])

    def _served(self) -> subprocess.Popen[str]:
        if self.server is None:
            here = Path(__file__).parent
            code = "import sys; sys.path[:0] = sys.argv[1:3]; import forked; forked.serve(sys.argv[3])"
            line = [sys.executable, "-c", code, str(here), str(here.parent), str(self.shared / READY)]
            self.server = subprocess.Popen(
                line,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
            threading.Thread(target=self._listen, args=(self.server.stdout,), daemon=True).start()
        return self.server

    def _listen(self, said: IO[str]) -> None:
        for line in said:
            answer = json.loads(line)
            self.answers[answer["number"]].put(answer)
        for waiting in self.answers.values():
            waiting.put({})

    def close(self) -> None:
        """End the server, and what it may still run."""
        if self.server is not None:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            for stream in (self.server.stdin, self.server.stdout):
                assert stream is not None
                stream.close()


class Forking:
    """In place of multiprocessing's way to start a process anew: the worker of a sweep is forked from its launch."""

    def __init__(self) -> None:
        self.fork = multiprocessing.get_context("fork")

    def Pipe(self) -> tuple[Connection, Connection]:  # noqa: N802 - multiprocessing's name
        """Return a pipe whose first end a process of this context closes."""
        self.launch, theirs = self.fork.Pipe()
        return self.launch, theirs

    def Process(self, target: Callable[..., None], **how: Any) -> Any:  # noqa: N802
        """Return a process that knows of no store that its launch has open."""

        def serve(*words: Any) -> None:
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            from neuroexp.store import tracking

            self.launch.close()
            for engine in SqlAlchemyStore._engine_map.values():
                engine.dispose(close=False)
            tracking.open_store.cache_clear()
            target(*words)

        return self.fork.Process(target=serve, **how)


def serve(store: str) -> None:
    """Fork a process for every order on stdin, and answer with its number, and with its exit code when it has ended."""
    garbage.seldom()
    for module in IMPORTED:
        importlib.import_module(module)
    ready_store.install(Path(store))
    gc.freeze()  # what a collection touches would be copied
    garbage.usual()
    keepers: set[int] = set()
    for line in sys.stdin:
        keepers = {keeper for keeper in keepers if os.waitpid(keeper, os.WNOHANG)[0] == 0}
        keeper = os.fork()
        if keeper == 0:
            _keep(json.loads(line))
        keepers.add(keeper)


def _keep(order: Mapping[str, Any]) -> None:
    """Be the parent of an order's process: it ends here."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _do(order)
    _answer(number=order["number"], pid=pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _answer(number=order["number"], code=code, seconds=time.monotonic() - began)
    os._exit(0)


def _answer(**answer: Any) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")  # whole lines, whoever else writes


def _do(order: Mapping[str, Any]) -> None:
    """Be the process of one order: it ends here."""
    out = os.open(order["out"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    err = os.open(order["err"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for theirs, ours in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(theirs, ours)
        os.close(theirs)
    code: Any = 0
    try:
        _settle(order)
        module = importlib.import_module(order["module"])
        module.main(
            *([module.make] if hasattr(module, "make") else [])
        )  # the makers of a paper's tables share one main
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 70
    atexit._run_exitfuncs()  # as Python does at its end; a worker is waited for
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _settle(order: Mapping[str, Any]) -> None:
    from neuroexp.sweep import worker

    os.environ.clear()
    os.environ.update(order["environment"], PYTHONSAFEPATH="1")  # which `python -m neuroexp` sets as well
    os.chdir(order["folder"])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = paths
    sys.argv = [order["module"], *order["words"]]
    action, _, category = os.environ.get("PYTHONWARNINGS", "").partition("::")
    if action and not category:
        del warnings.filters[-BUILTIN:]  # which would come behind it
    if action:
        warnings.simplefilter(action, getattr(builtins, category or "Warning"), append=True)  # type: ignore[arg-type]
    worker.multiprocessing = SimpleNamespace(  # type: ignore[assignment]
        get_start_method=multiprocessing.get_start_method, get_context=lambda _: Forking()
    )
