"""A sweep that is killed again and again, and what is left of it: `python -m benchmarks.survival [ROUNDS]`.

Every round types the same sweep and kills a part of it at a random moment; the last one is left alone. Then every cell must
have exactly one finished run, with the scores of a sweep that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroexp.tracking import Store

SMALL = ("recording.duration_s=12", "recording.units=4", "window=20", "trainer.max_epochs=6", "checkpoint_s=0")
JOBS = ("step=50,40,30", "seed=range(4)")
VICTIMS = ("worker", "launcher", "group")


def sweep(folder: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the sweep in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
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


def kill(process: subprocess.Popen[bytes], victim: str) -> None:
    """Kill a part of a sweep without a warning."""
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "launcher":
        process.kill()
    else:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)


def runs(folder: Path) -> list[Any]:
    """Return all runs in the folder's store."""
    store = Store(f"sqlite:///{folder}/outputs/mlflow.db", str(folder / "outputs" / "artifacts"), "scratch")
    return list(store.client.search_runs([store.experiment_id], max_results=10_000))


def scores(folder: Path) -> dict[str, dict[str, float]]:
    """Return the test scores of every cell; raises AssertionError when a cell has not exactly one finished run."""
    found = runs(folder)
    statuses = Counter(run.info.status for run in found)
    assert "RUNNING" not in statuses, statuses
    finished = [run for run in found if run.info.status == "FINISHED"]
    cells = Counter(run.data.tags["neuroexp.key"] for run in finished)
    assert set(cells.values()) <= {1}, cells
    return {
        run.data.tags["neuroexp.key"]: {k: v for k, v in run.data.metrics.items() if k.startswith("test/")}
        for run in finished
    }


def survive(folder: Path, rounds: int, words: Sequence[str], longest_s: float, rng: random.Random) -> Counter[str]:
    """Kill a sweep at a random moment `rounds` times, then let it end; return what was killed."""
    killed: Counter[str] = Counter()
    for _ in range(rounds):
        process = sweep(folder, words)
        victim = rng.choice(VICTIMS)
        time.sleep(rng.uniform(2, longest_s))
        if process.poll() is None:
            kill(process, victim)
            killed[victim] += 1
        if victim == "worker":  # the launch goes on without it
            process.wait()
        else:
            process.kill()
            process.wait()
    assert sweep(folder, words).wait() == 0
    return killed


def main() -> None:
    """Print what was killed and whether anything was lost."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    words = (*SMALL, *JOBS)
    rng = random.Random(0)
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
            killed += survive(folder, min(5, rounds - killed.total()), words, longest_s / 2, rng)
            assert scores(folder) == expected
            unfinished += sum(run.info.status != "FINISHED" for run in runs(folder))
            sweeps += 1
    print(
        f"{killed.total()} kills ({', '.join(f'{n} {victim}' for victim, n in killed.items())}) over {sweeps} sweeps of "
        f"{len(expected)} jobs: {len(expected)} finished runs in each, scores equal to the undisturbed sweep's, "
        f"{unfinished} runs marked KILLED or FAILED, none RUNNING"
    )


if __name__ == "__main__":
    main()
