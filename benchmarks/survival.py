"""A sweep that is killed again and again, and what is left of it: `python -m benchmarks.survival [ROUNDS]`.

Every round types the same sweep and kills or suspends a part of it at a random moment; the last one is left alone. Every
second sweep logs to an MLflow server, which is killed as well. Then every cell must have exactly one finished run, with the
scores of a sweep that nobody disturbed, and nothing that a killed process leaves behind may lie about.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroexp.store.tracking import Store

SMALL = ("recording.duration_s=12", "recording.units=4", "window=20", "trainer.max_epochs=6", "checkpoint_s=0")
JOBS = ("step=50,40,30", "seed=range(4)")
KILLS = {  # what is sent to whom; a terminal that is closed or that sends SIGQUIT reaches all processes
    "SIGKILL of the worker": (signal.SIGKILL, "worker"),
    "SIGKILL of the launch": (signal.SIGKILL, "launch"),
    "SIGKILL of all": (signal.SIGKILL, "all"),
    "SIGTERM of the worker": (signal.SIGTERM, "worker"),
    "SIGTERM of the launch": (signal.SIGTERM, "launch"),
    "SIGHUP of all": (signal.SIGHUP, "all"),
    "SIGQUIT of all": (signal.SIGQUIT, "all"),
    "SIGSTOP and SIGCONT of all": (signal.SIGSTOP, "all"),
}
SERVER = "SIGKILL of the server"
LEFT = ("*.part", "*.ckpt*", "files")  # that must not be there in the end


class Server:
    """An MLflow server that can be killed and started again."""

    def __init__(self, folder: Path):
        """Start it; its runs are in `folder`/server.db."""
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)]
        words += [
            "--backend-store-uri",
            "sqlite:///server.db",
            "--serve-artifacts",
            "--artifacts-destination",
            "stored",
        ]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it without a warning."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def sweep(folder: Path, words: Sequence[str], server: Server | None = None) -> subprocess.Popen[bytes]:
    """Start the sweep in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    if server is not None:
        environment["MLFLOW_TRACKING_URI"] = server.uri
    return subprocess.Popen(
        [sys.executable, "-m", "neuroexp", "-m", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []


def strike(process: subprocess.Popen[bytes], kind: str, rng: random.Random) -> None:
    """Send the signal of a kind of kill, and wait until the launch has ended."""
    number, whom = KILLS[kind]
    if whom == "all":
        os.killpg(process.pid, number)
    elif whom == "launch":
        process.send_signal(number)
    else:
        for child in children(process.pid):
            os.kill(child, number)
    if number == signal.SIGSTOP:
        time.sleep(rng.uniform(1, 5))
        os.killpg(process.pid, signal.SIGCONT)
    process.wait()


def runs(folder: Path) -> list[Any]:
    """Return all runs in the folder's store."""
    place = folder / "server.db" if (folder / "server.db").exists() else folder / "outputs" / "mlflow.db"
    store = Store(f"sqlite:///{place}", str(folder / "outputs" / "artifacts"), "scratch")
    return list(store.client.search_runs([store.experiment_id], max_results=10_000))


def scores(folder: Path) -> dict[str, dict[str, float]]:
    """Return the test scores of every cell.

    Raises AssertionError when a cell has not exactly one finished run with its files, or when something was left behind.
    """
    found = runs(folder)
    statuses = Counter(run.info.status for run in found)
    assert "RUNNING" not in statuses, statuses
    finished = [run for run in found if run.info.status == "FINISHED"]
    cells = Counter(run.data.tags["neuroexp.key"] for run in finished)
    assert set(cells.values()) <= {1}, cells
    assert not [run for run in finished if "neuroexp.files" in run.data.tags]
    left = [path for pattern in LEFT for path in (folder / "outputs").rglob(pattern)]
    assert not left, left
    return {
        run.data.tags["neuroexp.key"]: {k: v for k, v in run.data.metrics.items() if k.startswith("test/")}
        for run in finished
    }


def survive(
    folder: Path, rounds: int, words: Sequence[str], longest_s: float, rng: random.Random, server: Server | None = None
) -> Counter[str]:
    """Strike a sweep at a random moment `rounds` times, then let it end; return how it was struck."""
    killed: Counter[str] = Counter()
    for _ in range(rounds):
        process = sweep(folder, words, server)
        kind = SERVER if server is not None and rng.random() < 0.5 else rng.choice(sorted(KILLS))
        time.sleep(rng.uniform(2, longest_s))
        if process.poll() is None:
            killed[kind] += 1
            if kind != SERVER:
                strike(process, kind, rng)
            elif server is not None:
                server.kill()
        process.wait()
        if server is not None and server.process.poll() is not None:
            server.start()
    assert sweep(folder, words, server).wait() == 0
    return killed


def main() -> None:
    """Print what was killed and whether anything was lost."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    words = (*SMALL, *JOBS)
    rng = random.Random(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # SIGQUIT leaves no dumps
    with tempfile.TemporaryDirectory() as name:
        undisturbed = Path(name, "undisturbed")
        undisturbed.mkdir()
        began = time.perf_counter()
        assert sweep(undisturbed, words).wait() == 0
        longest_s = time.perf_counter() - began
        expected = scores(undisturbed)
        killed: Counter[str] = Counter()
        sweeps = unfinished = 0
        while killed.total() < rounds:  # a sweep is over after some rounds, then a new one begins
            folder = Path(name, str(sweeps))
            folder.mkdir()
            server = Server(folder) if sweeps % 2 else None
            try:
                killed += survive(folder, min(5, rounds - killed.total()), words, longest_s / 2, rng, server)
            finally:
                if server is not None:
                    server.kill()
            assert scores(folder) == expected
            unfinished += sum(run.info.status != "FINISHED" for run in runs(folder))
            sweeps += 1
    print(
        f"{killed.total()} kills ({', '.join(f'{n} {kind}' for kind, n in killed.items())}) over {sweeps} sweeps of "
        f"{len(expected)} jobs: {len(expected)} finished runs in each, scores equal to the undisturbed sweep's, "
        f"{unfinished} runs marked KILLED or FAILED, none RUNNING, nothing left behind"
    )


if __name__ == "__main__":
    main()
