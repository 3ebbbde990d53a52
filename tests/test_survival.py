"""What a sweep lives through: killed processes, failing jobs, a store that is away, two launches at once."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import runs, store

from benchmarks import survival
from neuroexp.evaluation.convergence import CONVERGED
from neuroexp.store import finished_run
from neuroexp.sweep.worker import STOP_S

TINY = ("recording.duration_s=12", "recording.units=4", "window=20", "step=50")
pytestmark = pytest.mark.process

FAULTY = """
import os, signal, sys, time
from pathlib import Path
from neuroexp.models.mldcnn import MLDCNN

class Exit(MLDCNN):
    def forward(self, x): sys.exit(3)

class Die(MLDCNN):
    def forward(self, x): os.kill(os.getpid(), signal.SIGKILL)

class Hang(MLDCNN):
    def forward(self, x): time.sleep(3600)

class Flaky(MLDCNN):
    def __init__(self, *words, **named):
        super().__init__(*words, **named)
        if not Path('tried').exists():
            Path('tried').touch()
            raise RuntimeError('the cluster hiccups')

class Stubborn(MLDCNN):
    def forward(self, x):
        Path('stubborn').touch()
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass

class Swallow(MLDCNN):
    def forward(self, x):  # as an import does that catches everything and then misses what it did not bring
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except BaseException:
            pass
        raise AttributeError('half imported')
"""

HELD = """
import os, time
from pathlib import Path
from neuroexp.models.mldcnn import MLDCNN

class Held(MLDCNN):
    steps = 0

    def forward(self, x):  # waits in the middle of its training where it is told to
        self.steps += self.training
        if self.steps == 12 and 'HELD' in os.environ:
            Path(os.environ['HELD'], 'reached').touch()
            while not Path(os.environ['HELD'], 'go').exists():
                time.sleep(0.05)
        return super().forward(x)
"""


@pytest.fixture
def held(tmp_path):
    """Words of a training that waits before its 12th step, and what has it wait, until there is a file `go` in a folder."""
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "held.py").write_text(HELD)
    epochs = ("trainer.max_epochs=6", "~trainer.callbacks.early_stopping")
    words = (*TINY, "model._target_=held.Held", "trusted=[held]", *epochs)
    return words, {"PYTHONPATH": str(tmp_path / "held")}, {"HELD": str(tmp_path / "held")}


@pytest.fixture
def faulty(tmp_path):
    """Networks that misbehave, and the words that let them run."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    return {"PYTHONPATH": str(tmp_path)}


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "neuroexp", *words],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(found, seconds=120):
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def scores_of(result: dict) -> dict:
    named = ("test/", "control/", CONVERGED)
    return {name: value for name, value in result["scores"].items() if name.startswith(named)}


def test_a_killed_training_goes_on_where_it_was_to_the_same_scores(neuroexp, begin, tmp_path, held):
    words, found, wait = held
    words = (*words, "checkpoint_s=0")
    process = begin(tmp_path, *words, **found, **wait)
    wait_for((tmp_path / "held" / "reached").exists)
    process.kill()
    process.communicate()
    [killed] = runs(tmp_path)
    assert killed.info.status == "RUNNING"  # it had no time to say more
    with pytest.raises(ValueError, match=f"run {killed.info.run_id} is running: it has no tested network"):
        finished_run.read(store(tmp_path).uri, killed.info.run_id)
    again = neuroexp(*words, **found)
    assert again.code == 0, again.out
    first, second = runs(tmp_path)
    assert (first.info.status, second.info.status) == ("KILLED", "FINISHED")
    log = next((tmp_path / "outputs" / "artifacts" / second.info.run_id).rglob("job.log")).read_text()
    assert "continues from" in log
    assert "epoch 0:" not in log
    assert "epoch 5:" in log
    history = store(tmp_path).client.get_metric_history(second.info.run_id, "val/loss")
    assert [point.step for point in history] == list(range(6))
    for left in ("*.ckpt*", "*.part", "files"):
        assert not list((tmp_path / "outputs").rglob(left))
    (tmp_path / "undisturbed").mkdir()
    undisturbed = neuroexp(*words, folder=tmp_path / "undisturbed", **found)
    [expected], [resumed] = undisturbed.results(), again.results()
    assert scores_of(resumed) == scores_of(expected)
    assert CONVERGED in scores_of(resumed)


def test_no_job_takes_the_others_with_it(neuroexp, faulty):
    kinds = "faulty.Exit,faulty.Die,faulty.Hang,neuroexp.models.mldcnn.MLDCNN"
    done = neuroexp(
        "-m", *TINY, "trainer=smoke", f"model._target_={kinds}", "trusted=[faulty]", "timeout_min=0.5", **faulty
    )
    assert done.code == 1
    results = done.results()
    assert [result["status"] for result in results] == ["failed", "failed", "failed", "finished"]
    errors = [result["error"] for result in results[:3]]
    assert errors[0] == "SystemExit: 3"
    assert errors[1] == "its process was ended by SIGKILL, as the system does when memory runs out"
    assert errors[2] == "not done within timeout_min=0.5"
    assert [run.info.status for run in runs(done.folder)] == ["FAILED", "FAILED", "FAILED", "FINISHED"]
    logs = [Path(result["log"]).read_text() for result in results]
    assert "in forward" in logs[0]
    assert errors[1] in logs[1]
    assert errors[2] in logs[2]
    assert "Traceback" not in done.out


def test_a_fault_that_passes_is_tried_again_and_a_mistake_is_not(neuroexp, faulty):
    done = neuroexp(
        "-m", *TINY, "trainer=smoke", "model._target_=faulty.Flaky", "trusted=[faulty]", "retries=2", **faulty
    )
    assert [result["status"] for result in done.results()] == ["finished"]
    assert [run.info.status for run in runs(done.folder)] == ["FAILED", "FINISHED"]
    mistaken = neuroexp("-m", *TINY, "trainer=smoke", "fold=9", "retries=2")
    assert [result["status"] for result in mistaken.results()] == ["failed"]
    assert len(runs(done.folder)) == 3


def test_a_job_that_was_told_to_stop_has_not_failed_whatever_became_of_the_signal(neuroexp, faulty):
    words = ("-m", *TINY, "trainer=smoke", "model._target_=faulty.Swallow", "trusted=[faulty]")
    done = neuroexp(*words, **faulty)
    assert [result["status"] for result in done.results()] == ["killed"], done.out
    assert [run.info.status for run in runs(done.folder)] == ["KILLED"]
    assert "half imported" not in done.out


def test_on_failure_stop_starts_nothing_more(neuroexp):
    done = neuroexp("-m", *TINY, "trainer=smoke", "window=15,20,30", "on_failure=stop")
    assert done.code == 1
    assert [result["status"] for result in done.results()] == ["failed", "left", "left"]
    assert "what is 'left' did not start" in done.text
    assert len(runs(done.folder)) == 1


@pytest.mark.parametrize("sweeping", [True, False])
def test_sigterm_ends_a_launch_as_ctrl_c_does(begin, tmp_path, sweeping):
    words = ("-m", "seed=0,1") if sweeping else ()
    process = begin(tmp_path, *words, *TINY, "trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    wait_for(lambda: list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt")))
    os.kill(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "killed" in out
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
def test_a_worker_that_is_stopped_while_it_imports_does_not_take_the_next_job_with_it(tmp_path, neuroexp):
    words = ("-m", *TINY, "trainer=smoke", "seed=range(3)")
    process = start(tmp_path, *words)
    for number, delay_s in ((0, 0.2), (1, 1.5)):  # before it has begun to do the job, and in the middle of its imports
        wait_for(lambda number=number: list((tmp_path / "outputs").glob(f"*/{number}/running.json")))
        [worker] = wait_for(lambda: [child for child in survival.children(process.pid) if is_worker(child)])
        time.sleep(delay_s)
        os.kill(worker, signal.SIGTERM)
        wait_for(lambda number=number: list((tmp_path / "outputs").glob(f"*/{number}/result.json")))
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1, out  # a job is missing
    found = [json.loads(path.read_text()) for path in sorted((tmp_path / "outputs").glob("2*/*/result.json"))]
    assert [result["status"] for result in found] == ["killed", "killed", "finished"], found
    assert "Traceback" not in out
    again = neuroexp(*words)
    assert again.code == 0
    assert [result["status"] for result in again.results()] == ["finished", "finished", "skipped"]


def is_worker(pid: int) -> bool:
    path = Path(f"/proc/{pid}/cmdline")
    return path.exists() and b"spawn_main" in path.read_bytes()


ELSEWHERE = """
import socket
from neuroexp.commands.run import main
socket.gethostname = lambda: "elsewhere"
"""


def test_of_a_launch_that_was_suspended_and_its_rival_one_counts(begin, forks, tmp_path, held):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    uri = f"tracking.uri=sqlite:///{tmp_path}/outputs/mlflow.db"
    words, found, wait = held
    words, stale = (*words, uri), found | {"NEUROEXP_STALE_S": "3"}
    (tmp_path / "held" / "elsewhere.py").write_text(ELSEWHERE)
    suspended = forks.start(folders[0], "elsewhere", words, stale | wait)
    try:
        wait_for((tmp_path / "held" / "reached").exists)
        os.kill(suspended.pid, signal.SIGSTOP)
        (tmp_path / "held" / "go").touch()
        time.sleep(4)
        rival = begin(folders[1], *words, **stale)
        out, _ = rival.communicate(timeout=300)
        assert rival.returncode == 0, out
    finally:
        os.kill(suspended.pid, signal.SIGCONT)
    out, _ = suspended.communicate(timeout=300)
    assert suspended.returncode == 0, out
    [result] = [json.loads(path.read_text()) for path in (folders[0] / "outputs").glob("2*/result.json")]
    found = {run.info.status: run for run in runs(tmp_path)}
    assert set(found) == {"FINISHED", "KILLED"}
    assert (result["status"], result["run_id"]) == ("skipped", found["FINISHED"].info.run_id)
    assert len(runs(tmp_path)) == 2
    assert found["KILLED"].data.tags["error"] == "another launch has this cell"
    assert not list((tmp_path / "a" / "outputs" / "cells").rglob("record.json"))


def test_a_second_ctrl_c_does_not_wait(begin, tmp_path, faulty):
    words = ("-m", "seed=0,1", *TINY, "model._target_=faulty.Stubborn", "trusted=[faulty]")
    process = begin(tmp_path, *words, **faulty)
    wait_for((tmp_path / "stubborn").exists)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=STOP_S / 2)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in out


def server(folder: Path, port: int) -> subprocess.Popen:
    words = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", "sqlite:///server.db"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--serve-artifacts", "--artifacts-destination", "files"],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers)
    return process


def test_what_ends_while_the_store_is_away_is_delivered_once(neuroexp, begin, typed, tmp_path, held):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, found, wait = held
    where = found | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    serving = server(tmp_path, port)
    try:
        process = begin(tmp_path, *words, **where, **wait)
        wait_for((tmp_path / "held" / "reached").exists)
        os.killpg(serving.pid, signal.SIGKILL)  # in the middle
        serving.wait()
        (tmp_path / "held" / "go").touch()
        out, _ = process.communicate(timeout=180)
        assert process.returncode == 0, out
        assert out.count("does not answer") == 1
        assert "neuroexp sync" in out
        offline = neuroexp(*words, **where)
        assert [result["status"] for result in offline.results()] == ["skipped"]

        def sync() -> subprocess.CompletedProcess:
            return typed(tmp_path, "sync")

        away = sync()
        assert away.returncode == 1
        assert "does not answer" in away.stderr
        assert "Traceback" not in away.stderr
        serving = server(tmp_path, port)
        delivered = sync()
        assert delivered.returncode == 0, delivered.stderr
        assert "1 finished runs wait" in delivered.stdout
        assert "is in MLflow" in sync().stdout
        import mlflow

        client = mlflow.MlflowClient(where["MLFLOW_TRACKING_URI"])
        [run] = client.search_runs([client.get_experiment_by_name("scratch").experiment_id])
        assert run.info.status == "FINISHED"
        assert run.data.metrics["test/f1"] == json.loads(json.dumps(offline.results()[0]["scores"]["test/f1"]))
        assert len(client.get_metric_history(run.info.run_id, "val/loss")) == 6
        assert {"plots", "model.pt"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    finally:
        if serving.poll() is None:
            os.killpg(serving.pid, signal.SIGKILL)
        serving.wait()


def test_launches_at_once_do_each_cell_once(begin, tmp_path):
    words = ("-m", "seed=range(3)", *TINY, "trainer.max_epochs=3")
    folders = [tmp_path, tmp_path, tmp_path / "somebody else's"]  # with records of its own
    folders[2].mkdir()
    uri = f"tracking.uri=sqlite:///{tmp_path}/outputs/mlflow.db"
    launches = [begin(folder, *words, uri) for folder in folders]
    outs = [launch.communicate()[0] for launch in launches]
    assert [launch.returncode for launch in launches] == [0] * 3, outs
    found = runs(tmp_path)
    assert sorted((run.data.params["seed"], run.info.status) for run in found) == [(s, "FINISHED") for s in "012"]


def test_a_run_deleted_in_mlflow_is_trained_again_and_a_lost_store_is_filled_again(neuroexp):
    words = (*TINY, "trainer=smoke")
    [first] = neuroexp(*words).results()
    folder = (done := neuroexp(*words)).folder
    assert done.results()[0]["status"] == "skipped"
    store(folder).client.delete_run(first["run_id"])
    [again] = neuroexp(*words).results()
    assert again["status"] == "finished"
    for file in (folder / "outputs").glob("mlflow.db*"):
        file.unlink()
    shutil.rmtree(folder / "outputs" / "artifacts")
    [filled] = neuroexp(*words).results()
    assert filled["status"] == "skipped"
    [run] = runs(folder)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/f1"] == first["scores"]["test/f1"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
def test_rounds_of_sigkill(tmp_path):
    words = (*survival.SMALL, "seed=range(3)")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    began = time.perf_counter()
    assert survival.sweep(tmp_path / "a", words).wait() == 0
    took_s = time.perf_counter() - began
    killed = survival.survive(tmp_path / "b", 2, words, took_s * 0.7, random.Random(1))
    assert killed.total() > 0
    assert survival.scores(tmp_path / "b") == survival.scores(tmp_path / "a")


def test_status_from_another_terminal(begin, typed, tmp_path):
    def status() -> str:
        done = typed(tmp_path, "status")
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    assert "./outputs holds no launch" in status()
    words = ("-m", "seed=0,1", *TINY, "trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = begin(tmp_path, *words)
    wait_for(lambda: list((tmp_path / "outputs").glob("*/0/progress.json")))
    seen = status()
    assert ": running" in seen
    assert (
        "seed=0 mldcnn W20 S50 fold0 duration_s=12 units=4 max_epochs=100000 early_stopping=null: running for" in seen
    )
    assert "of 100000" in seen
    assert "0 of 2 jobs" in seen
    process.kill()
    process.communicate()
    seen = status()
    assert ": ended" in seen
    assert "cut off" in seen
    assert "type the same command again" in seen
