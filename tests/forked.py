"""Commands in processes forked from one that has imported, once for all, what takes seconds to import."""

from __future__ import annotations

import builtins
import importlib
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ready_store

LONGEST_S = 900.0
READY = "mlflow.db"
WARNINGS = {"PYTHONWARNINGS": "default"}
BUILTIN = len(warnings.filters)  # filters that Python itself puts last
IMPORTED = (  # what a job imports sooner or later, and the commands
    "neuroexp.__main__", "neuroexp.training", "neuroexp.tracking", "neuroexp.trained", "neuroexp.replay.__main__",
    "neuroexp.repeat", "neuroexp.status", "neuroexp.sync", "neuroexp.plan", "neuroexp.cost", "neuroexp.plots",
    "neuroexp.record", "neuroexp.datasets.hdsemg", "neuroexp.datasets.eng", "neuroexp.tasks.decomposition",
    "neuroexp.tasks.classification", "neuroexp.recordings.hdsemg_simulated", "neuroexp.recordings.eng_simulated",
    "experiments.__main__", "mlflow.store.tracking.sqlalchemy_store", "rich.progress", "torchmetrics",
)  # fmt: skip


class Forks:
    """Runs commands one after another, each in a process forked from a server that has imported everything."""

    def __init__(self, folder: Path, shared: Path):
        """Start no server yet.

        `folder` takes what the commands say, `shared` what they need not make twice: MLflow's tables, and what is prepared
        of a nerve's recordings.
        """
        self.folder, self.shared = folder, shared
        self.server: subprocess.Popen[str] | None = None

    def run(
        self, folder: Path, module: str, words: Sequence[str], environment: Mapping[str, str], apart: bool = False
    ) -> tuple[subprocess.CompletedProcess[str], float]:
        """Run `python -m MODULE WORDS` in a folder and return how it ended, and its seconds.

        What it writes to stderr is in its stdout, or `apart`.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            out, err = Path(place, "out"), Path(place, "err" if apart else "out")
            full = os.environ | {"NEUROEXP_CACHE": str(self.shared / "cache")} | environment
            order = {"folder": str(folder), "module": module, "words": list(words), "environment": dict(full)}
            code, seconds = self._answer(order | {"out": str(out), "err": str(err)})
            said = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8") if apart else ""
        return subprocess.CompletedProcess([module, *words], code, *said), seconds

    def _answer(self, order: dict[str, Any]) -> tuple[int, float]:
        if self.server is None or self.server.poll() is not None:
            line = [sys.executable, str(Path(__file__)), str(Path(__file__).parent.parent), str(self.shared / READY)]
            self.server = subprocess.Popen(
                line, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                bufsize=1, start_new_session=True,
            )  # fmt: skip
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        if not select.select([self.server.stdout], [], [], LONGEST_S)[0]:
            self.close()
            raise TimeoutError(f"{order['module']} {order['words']} has not ended within {LONGEST_S:g} s")
        code, seconds = json.loads(self.server.stdout.readline())
        return code, seconds

    def close(self) -> None:
        """End the server, and what it may still run."""
        if self.server is not None and self.server.poll() is None:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.communicate()
        self.server = None


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

            from neuroexp import tracking

            self.launch.close()
            for engine in SqlAlchemyStore._engine_map.values():
                engine.dispose(close=False)
            tracking.open_store.cache_clear()
            target(*words)

        return self.fork.Process(target=serve, **how)


def serve(store: Path) -> None:
    """Fork a process for every order on stdin, and answer with its exit code and seconds when it has ended."""
    for module in IMPORTED:
        importlib.import_module(module)
    ready_store.install(store)
    for line in sys.stdin:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _do(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps([code, time.monotonic() - began]), flush=True)


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
    sys.stdout.flush()
    sys.stderr.flush()
    for worker in multiprocessing.active_children():  # as Python does at its end
        worker.terminate()
    os._exit(code or 0)


def _settle(order: Mapping[str, Any]) -> None:
    from neuroexp import worker

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


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]  # as if it were started there
    serve(Path(sys.argv[2]))
