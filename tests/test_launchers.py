"""The same sweep on all cores of a machine, through a scheduler, and with several machines on one server."""

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cluster import Cluster, missing
from test_cli import runs, store
from test_survival import FAULTY, TINY, start, wait_for

pytestmark = pytest.mark.process


@pytest.fixture
def joblib():
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    return ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture
def submitit():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    return ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=600")


@pytest.fixture(scope="session")
def clusters():
    """Start a Slurm of this machine with or without accounts, once each; skip where it is not installed."""
    started: dict[bool, Cluster] = {}

    def cluster(accounting: bool) -> Cluster:
        if names := missing(accounting):
            pytest.skip(f"Slurm is not installed: there is no {', '.join(names)}")
        if accounting not in started:
            started[accounting] = Cluster(accounting)
        return started[accounting]

    yield cluster
    for each in started.values():
        each.close()


@pytest.fixture
def cluster(request, clusters, monkeypatch):
    """An empty Slurm, with accounts of its jobs unless the test is parametrized to have none."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    cluster = clusters(getattr(request, "param", True))
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.clear()


@pytest.fixture
def slurm(cluster):
    return ("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=10")  # of which submitit keeps ten for itself


without_accounts = pytest.mark.parametrize("cluster", [False], indirect=True, ids=["no accounts"])


def calls_of(name: str, folder: Path, monkeypatch) -> Path:
    """Return the file that gets a line for each time that a program is run."""
    folder.mkdir()
    program, calls = shutil.which(name), folder / "calls"
    (folder / name).write_text(f'#!/bin/sh\necho x >> {calls}\nexec {program} "$@"\n')
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return calls


@pytest.fixture
def ray():
    reason = "hydra-ray-launcher does not go with the tested versions: make test-ray has an environment for it"
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason=reason)
    return ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2")


SLURM, RAY = pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("ray", marks=pytest.mark.ray)


@pytest.mark.parametrize("engine", ["joblib", "submitit", SLURM, RAY])
def test_a_failing_job_takes_no_other_with_it(afresh, tmp_path, engine, request):
    (tmp_path / "faulty.py").write_text(FAULTY)
    kinds = "faulty.Exit,faulty.Die,neuroexp.models.mldcnn.MLDCNN"
    words = ("-m", *request.getfixturevalue(engine), *TINY, "trainer=smoke", "trusted=[faulty]")
    done = afresh(*words, f"model._target_={kinds}", PYTHONPATH=str(tmp_path))
    assert done.code == 1
    assert [result["status"] for result in done.results()] == ["failed", "failed", "finished"]
    assert "Traceback" not in done.out
    assert sorted(run.info.status for run in runs(tmp_path)) == ["FAILED", "FAILED", "FINISHED"]
    again = afresh(*words, "model._target_=neuroexp.models.mldcnn.MLDCNN", PYTHONPATH=str(tmp_path))
    assert [result["status"] for result in again.results()] == ["skipped"]


@without_accounts
def test_a_sweep_on_slurm_that_keeps_no_accounts(afresh, slurm, tmp_path, monkeypatch):
    calls = calls_of("sacct", tmp_path / "calls", monkeypatch)
    words = ("-m", *slurm, *TINY, "trainer=smoke", "seed=0,1")
    done = afresh(*words)
    assert done.code == 0, done.out
    assert len(calls.read_text().split()) > 2
    assert "sacct" not in done.out
    assert "submitit" not in done.out
    assert "ccounting" not in done.out
    [log] = (done.folder / "outputs").glob("20*/launch.log")
    [line] = log.read_text().splitlines()
    assert "WARNING submitit: sacct does not tell the states of jobs" in line
    assert line.endswith("known by their results: Slurm accounting storage is disabled")
    assert [result["status"] for result in done.results()] == ["finished", "finished"]
    assert [line.split()[-1] for line in done.out.splitlines() if line.startswith("seed=") and ": " not in line] == [
        "finished",
        "finished",
    ]
    again = afresh(*words)
    assert [result["status"] for result in again.results()] == ["skipped", "skipped"]


def test_the_signals_of_this_slurm_reach_every_process_of_a_step(cluster, tmp_path):
    """Which the tests below count on; where a Slurm knows processes by cgroup, only the first one is told."""
    waits = "trap 'touch $0.told; exit' USR2; touch $0.waits; while :; do sleep 0.1; done"
    step = f"bash -c {shlex.quote(waits)} child & exec bash -c {shlex.quote(waits)} parent"
    wrapped = f"--wrap=srun bash -c {shlex.quote(step)}"
    job = cluster.ask("sbatch", "--parsable", f"--chdir={tmp_path}", "--output=said", wrapped).strip()
    wait_for(lambda: len(list(tmp_path.glob("*.waits"))) == 2)
    cluster.ask("scancel", "--signal=USR2", job)
    wait_for(lambda: {path.name for path in tmp_path.glob("*.told")} == {"child.told", "parent.told"})


def test_what_runs_out_of_time_on_slurm_is_queued_again_and_continues(cluster, slurm, tmp_path):
    words = ("trainer.max_epochs=200", "~trainer.callbacks.early_stopping", "checkpoint_s=0")
    process = start(tmp_path, "-m", *slurm, "hydra.launcher.max_num_timeout=1", *TINY, *words)
    wait_for(lambda: list((tmp_path / "outputs" / "cells").glob("*/*/last.ckpt")))
    [job] = cluster.jobs()
    cluster.ask("scancel", job, "--signal", "USR2")
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    first, second = runs(tmp_path)
    assert (first.info.status, second.info.status) == ("KILLED", "FINISHED")
    log = next((tmp_path / "outputs").glob("20*/0/job.log")).read_text()
    assert log.index("SIGUSR2") < log.index("continues from")
    assert log.count(" epoch 0:") == log.count(" epoch 199:") == 1
    history = store(tmp_path).client.get_metric_history(second.info.run_id, "val/loss")
    assert [point.step for point in history] == list(range(200))


def test_what_runs_out_of_time_too_often_on_slurm_has_failed(cluster, slurm, tmp_path):
    words = ("trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, "-m", *slurm, "hydra.launcher.max_num_timeout=0", *TINY, *words)
    wait_for(lambda: list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt")))
    [job] = cluster.jobs()
    cluster.ask(
        "scontrol", "update", f"JobId={job}", f"TimeLimit={cluster.minutes(job) + 1}"
    )  # so Slurm itself warns it
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 1, out
    assert "timed-out too many times" in out
    assert "Traceback" not in out
    [run] = runs(tmp_path)
    assert run.info.status == "FAILED"
    assert "timed-out too many times" in run.data.tags["error"]


@pytest.mark.parametrize("cluster", [True, False], indirect=True, ids=["accounts", "no accounts"])
def test_a_sweep_that_is_cancelled_on_slurm(cluster, slurm, tmp_path):
    words = ("seed=range(3)", "trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, "-m", *slurm, *TINY, *words)
    wait_for(lambda: len(list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt"))) == 2)  # there are two processors
    [array] = {job.partition("_")[0] for job in cluster.jobs()}
    cluster.ask("scancel", array)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 1, out
    assert "Traceback" not in out
    why = "CANCELLED by" if cluster.accounting else "it is no longer in the queue of Slurm"
    assert f"job 2 has left no result: {why}" in out
    assert out.count("killed") == 2
    assert "goes on" not in out
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"] * 2


def test_a_job_that_is_lost_on_slurm_takes_no_other_with_it(cluster, slurm, tmp_path):
    words = ("seed=0,1", "trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, "-m", *slurm, *TINY, *words)
    wait_for(lambda: len(list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt"))) == 2)
    _, second = sorted(cluster.jobs())
    for process_id in processes(cluster.folder, "SLURM_ARRAY_TASK_ID=0"):
        os.kill(process_id, signal.SIGKILL)
    wait_for(lambda: cluster.jobs() == [second])
    time.sleep(3)  # in which the launch could have ended
    assert process.poll() is None
    cluster.ask("scancel", second)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 1, out
    assert "Traceback" not in out
    assert "job 0 has left no result: FAILED" in out
    assert out.count("killed") == 2
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"] * 2


def test_what_slurm_does_not_take_ends_in_a_sentence(neuroexp, slurm, monkeypatch, tmp_path):
    words = ("-m", *slurm, *TINY, "trainer=smoke", "seed=0,1")
    refused = neuroexp(*words, "hydra.launcher.partition=nowhere")
    assert refused.code == 1
    assert refused.out.splitlines() == [
        "Slurm does not take the jobs: Batch job submission failed: Invalid partition name specified"
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = neuroexp(*words)
    assert missing.code == 1
    assert missing.out.splitlines() == [
        "hydra/launcher=submitit_slurm needs Slurm, and there is no srun on this machine"
    ]


def test_a_slurm_ends_with_the_process_that_started_it(clusters, tmp_path):
    clusters(False)  # skips where there is none
    code = "import cluster, os; print(cluster.Cluster(False).folder, flush=True); os.kill(os.getpid(), 9)"
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    folder = Path(done.stdout.strip())
    wait_for(lambda: not folder.exists())
    assert not processes(folder)


def processes(folder: Path, *words: str) -> list[int]:
    """Return the processes of the Slurm in a folder that have these words in their environment."""
    wanted = {word.encode() for word in (f"SLURM_CONF={folder}/slurm.conf", *words)}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted <= set((path / "environ").read_bytes().split(b"\0")):
                found.append(int(path.name))
    return found


def test_jobs_on_slurm_go_on_without_their_launch(slurm, tmp_path):
    words = ("-m", *slurm, *TINY, "trainer.max_epochs=200", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, *words)
    wait_for(lambda: list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt")))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "1 job goes on in the cluster" in out
    assert "killed" not in out
    wait_for(lambda: runs(tmp_path)[0].info.status == "FINISHED")
    [run] = runs(tmp_path)
    assert "error" not in run.data.tags
    again = start(tmp_path, *words)
    out, _ = again.communicate(timeout=120)
    assert (again.returncode, "skipped" in out) == (0, True), out


def test_after_ctrl_c_it_is_told_what_goes_on_or_waits_on_slurm(cluster, slurm, typed, tmp_path):
    words = ("seed=range(3)", "trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, "-m", *slurm, *TINY, *words)
    wait_for(lambda: len(list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt"))) == 2)  # there are two processors
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    [array] = {job.partition("_")[0] for job in cluster.jobs()}
    assert f"3 jobs go on in the cluster: neuroexp status shows them, scancel {array} ends them." in out
    status = typed(tmp_path, "status").stdout
    assert "0 of 3 jobs: 2 running, 1 waiting in the cluster" in status
    assert status.endswith(f"The launch has ended without them: scancel {array} ends them too.\n")
    assert "cut off" not in status
    cluster.clear()
    status = typed(tmp_path, "status").stdout
    assert "type the same command again to do the rest" in status
    assert "in the cluster" not in status


@pytest.mark.parametrize("engine", ["joblib", RAY])
def test_ctrl_c_under_joblib_and_ray(tmp_path, engine, request):
    endless = ("trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, "-m", *request.getfixturevalue(engine), "seed=range(3)", *TINY, *endless)
    wait_for(lambda: len(list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt"))) == 2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert out.count("killed") == 2
    assert "Traceback" not in out
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"] * 2


@pytest.mark.parametrize("engine", ["joblib", RAY])
def test_workers_of_a_killed_launcher_end(tmp_path, engine, request):
    endless = ("trainer.max_epochs=100000", "~trainer.callbacks.early_stopping")
    process = start(tmp_path, "-m", *request.getfixturevalue(engine), "seed=range(3)", *TINY, *endless)
    wait_for(lambda: len(list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt"))) == 2)
    process.kill()
    process.communicate(timeout=60)  # not before the last holder of its output has ended
    again = start(tmp_path, "-m", "seed=range(3)", *TINY, "trainer=smoke")
    out, _ = again.communicate(timeout=120)
    assert again.returncode == 0, out
    wait_for(lambda: not _alive(tmp_path), 10)


def _alive(folder: Path) -> list[str]:
    return [
        pid.name
        for pid in Path("/proc").glob("[0-9]*")
        if pid.name != str(os.getpid()) and _folder_of(pid) == str(folder) and not _helps_ray(pid)
    ]


def _helps_ray(pid: Path) -> bool:
    """Ray's agents, which train nothing, notice a minute or two later that they are alone."""
    with contextlib.suppress(OSError):
        return (pid / "cmdline").read_bytes().startswith((b"ray::DashboardAgent", b"ray::RuntimeEnvAgent"))
    return False


def _folder_of(pid: Path) -> str:
    with contextlib.suppress(OSError):
        return str((pid / "cwd").readlink())
    return ""


def program(name: str) -> str | None:
    """Find a program of PostgreSQL: Debian keeps initdb out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture
def postgres():
    """Start a PostgreSQL of our own on a socket; yield the URI of its empty data base."""
    initdb, postgres, ready = program("initdb"), program("postgres"), program("pg_isready")
    pytest.importorskip("psycopg2")
    if not (initdb and postgres and ready):
        pytest.skip("PostgreSQL is not installed")
    demoted = {}
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")  # the path of a socket must be short
    if os.geteuid() == 0:  # whom initdb refuses
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root may not run PostgreSQL, and there is no user postgres")
        demoted = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    words = ["-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C"]
    subprocess.run([initdb, *words], check=True, capture_output=True, cwd=folder, **demoted)
    words = ["-D", f"{folder}/data", "-k", folder, "-h", "", "-c", "fsync=off"]
    process = subprocess.Popen(
        [postgres, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        **demoted,
    )  # fmt: skip
    wait_for(lambda: subprocess.run([ready, "-q", "-h", folder], check=False, cwd=folder).returncode == 0, 30)
    yield f"postgresql+psycopg2://postgres@/postgres?host={folder}"
    process.send_signal(signal.SIGINT)
    process.wait(20)
    shutil.rmtree(folder, ignore_errors=True)


def test_four_machines_write_to_one_server_on_postgresql(postgres, begin, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = ["--workers", "1", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    serving = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--backend-store-uri", postgres,
         "--artifacts-destination", str(tmp_path / "files")],
        cwd=tmp_path, env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        import mlflow

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0

        wait_for(answers)
        machines = []
        for number in range(4):  # each with its own folder, all with the same three cells
            folder = tmp_path / str(number)
            folder.mkdir()
            where = {"MLFLOW_TRACKING_URI": address, "OMP_NUM_THREADS": "1"}
            machines.append(begin(folder, "-m", "seed=range(3)", *TINY, "trainer.max_epochs=2", **where))
        outs = [machine.communicate(timeout=400)[0] for machine in machines]
        assert [machine.returncode for machine in machines] == [0] * 4, outs
        client = mlflow.MlflowClient(address)
        found = client.search_runs([client.get_experiment_by_name("scratch").experiment_id])
        assert sorted((run.data.params["seed"], run.info.status) for run in found) == [(s, "FINISHED") for s in "012"]
        assert all({"plots", "model.pt"} <= {f.path for f in client.list_artifacts(run.info.run_id)} for run in found)
    finally:
        os.killpg(serving.pid, signal.SIGKILL)
        serving.wait()
        time.sleep(0.1)
