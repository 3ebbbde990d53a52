"""Stands in for the commands of Slurm when it is copied to their names: a cluster of one machine, its jobs kept in files."""

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent  # of each job its state and the process of its task
SLOTS = 2  # jobs of an array at a time


def jobs(name: str) -> list[str]:
    return sorted(path.stem for path in (*HERE.glob(f"{name}.state"), *HERE.glob(f"{name}_*.state")))


def state(job: str) -> str:
    return (HERE / f"{job}.state").read_text()


def note(job: str, new: str) -> None:
    (HERE / f"{job}.part").write_text(new)
    (HERE / f"{job}.part").replace(HERE / f"{job}.state")


def send(job: str, number: int) -> None:
    """Signal a task, as Slurm does where it knows processes by cgroup: only SIGKILL reaches those that the task has started."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        (os.killpg if number == signal.SIGKILL else os.kill)(int((HERE / f"{job}.pid").read_text()), number)


def sbatch(path: str) -> None:
    script = Path(path).read_text()
    number = len(list(HERE.glob("*.sh"))) + 1
    (HERE / f"{number}.sh").write_text(script)  # a copy, because the user's may be gone before the job begins
    array = re.search(r"--array=0-(\d+)", script)
    for job in [f"{number}_{task}" for task in range(int(array[1]) + 1)] if array else [str(number)]:
        note(job, "PENDING")
    none = subprocess.DEVNULL
    subprocess.Popen([HERE / "slurmctld", str(number)], stdin=none, stdout=none, stderr=none, start_new_session=True)
    print(f"Submitted batch job {number}")


def slurmctld(number: str) -> None:
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(run, jobs(number)))


def run(job: str) -> None:
    number, _, task = job.partition("_")
    facts = {"JOB_ID": number, "JOB_NAME": "neuroexp", "JOB_NUM_NODES": "1", "JOB_NODELIST": socket.gethostname()}
    facts |= {"NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    if task:
        facts |= {"JOB_ID": f"{number}00{task}", "ARRAY_JOB_ID": number, "ARRAY_TASK_ID": task}
    environment = os.environ | {f"SLURM_{name}": value for name, value in facts.items()}
    while state(job) == "PENDING":  # again after it was requeued
        (HERE / f"{job}.pid").unlink(missing_ok=True)
        note(job, "RUNNING")
        code = subprocess.run(["bash", HERE / f"{number}.sh"], env=environment, check=False).returncode
        if state(job) == "RUNNING":
            note(job, "FAILED" if code else "COMPLETED")


def srun(*words: str) -> None:
    """Become the task; submitit's --output and --error are `%A_%a` or `%j` of the job, `%t` of the task."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--unbuffered", action="store_true")
    parser.add_argument("--output")
    parser.add_argument("--error")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    for descriptor, pattern in ((1, asked.output), (2, asked.error)):
        path = re.sub("%A_%a|%j", job, pattern).replace("%t", "0")
        while (
            not Path(path).parent.is_dir() and state(job) == "RUNNING"
        ):  # submitit makes it once the job is submitted,
            time.sleep(0.02)  # and a real cluster takes longer than that before a job begins
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), descriptor)
    os.setsid()
    (HERE / f"{job}.pid").write_text(str(os.getpid()))
    if state(job) == "RUNNING":  # it was not cancelled in the meantime
        os.execvp(asked.command[0], asked.command)


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")
    for number in [word for option, word in pairwise(words) if option == "-j"]:
        for job in jobs(number):
            print(f"{job}|{state(job)}|{socket.gethostname()}")


def scontrol(_requeue: str, job: str) -> None:
    note(job, "PENDING")
    send(job, signal.SIGTERM)  # what runs of it ends before it begins again


def scancel(name: str, _signal: str = "--signal", number: str = "") -> None:
    for job in jobs(name):
        before = state(job)
        if not number and before in ("PENDING", "RUNNING"):
            note(job, "CANCELLED")
        if before == "RUNNING":
            send(job, signal.Signals[f"SIG{number}"] if number else signal.SIGKILL)


if __name__ == "__main__":
    globals()[Path(sys.argv[0]).name](*sys.argv[1:])
