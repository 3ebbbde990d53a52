"""What a thousand jobs cost a sweep: `python -m benchmarks.many_jobs [JOBS] [RUNS]`.

Memory, threads and open files of the process that trains, over the first and the last tenth of the jobs; the time of a job
outside its training; and what it takes to ask a store of RUNS runs whether a cell is finished.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.survival import children, sweep
from neuroexp.store.open_run import new_record
from neuroexp.store.tracking import Store
from neuroexp.sweep.launch import results

TINY = ("recording.duration_s=12", "recording.units=4", "window=20", "step=50", "trainer=smoke")


def use(pid: int) -> tuple[float, int, int] | None:
    """Return memory in MB, threads and open files of a process; None when it is gone."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return int(lines["VmRSS"].split()[0]) * 1024 / 1e6, int(lines["Threads"]), files
    except (OSError, KeyError):
        return None


def watched(folder: Path, jobs: int) -> tuple[list[tuple[float, int, int]], list[float]]:
    """Run a sweep of tiny jobs; return what its worker used after each of them, and each one's seconds outside training."""
    process = sweep(folder, (*TINY, f"seed=range({jobs})"))
    used: list[tuple[float, int, int]] = []
    while process.poll() is None:
        time.sleep(0.2)
        done = len(list(folder.glob("outputs/*/*/result.json")))
        workers = [found for child in children(process.pid) if (found := use(child)) is not None]
        if done > len(used) and workers:
            used += [max(workers)] * (done - len(used))  # the other child keeps track of semaphores
    [launched] = [path.parent for path in folder.glob("outputs/*/launch.json")]
    rows = results(launched)
    assert [row.status for row in rows] == ["finished"] * jobs
    return used, [row.seconds - row.scores["time/fit_s"] - row.scores["time/test_s"] for row in rows]


def asked(folder: Path, runs: int) -> tuple[float, float]:
    """Return the median milliseconds of a resume query for a finished cell and for a new one, in a store of so many runs."""
    store = Store(f"sqlite:///{folder}/many.db", str(folder / "artifacts"), "scratch")
    for number in range(runs):
        record = new_record(f"key{number}", "name", "sweep", {"window": 20}, {})
        record |= {"status": "FINISHED", "ended_ms": record["began_ms"], "metrics": [["test/f1", 0.5, 0, 0]]}
        store.fill(record, None)

    def median_ms(keys: list[str]) -> float:
        times = []
        for key in keys:
            began = time.perf_counter()
            store.finished(key)
            times.append(1000 * (time.perf_counter() - began))
        return statistics.median(times)

    return median_ms([f"key{number * runs // 50}" for number in range(50)]), median_ms([f"new{n}" for n in range(50)])


def main() -> None:
    """Print the figures."""
    jobs, runs = (int(word) for word in (*sys.argv[1:], *("100", "1000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        used, outside_s = watched(Path(name), jobs)
        tenth = max(1, jobs // 10)
        for place, label in ((slice(tenth, 2 * tenth), "second"), (slice(-tenth, None), "last")):
            memory, threads, files = (statistics.median(values) for values in zip(*used[place], strict=True))
            print(f"{label} tenth of {jobs} jobs: {memory:.0f} MB, {threads:.0f} threads, {files:.0f} open files")
        print(f"a job outside training and testing: {statistics.median(outside_s[1:]):.2f} s (median)")
        found_ms, new_ms = asked(Path(name), runs)
        print(f"is a cell finished, among {runs} runs: {found_ms:.1f} ms when it is, {new_ms:.1f} ms when it is new")


if __name__ == "__main__":
    main()
