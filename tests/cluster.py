"""A Slurm of this machine alone: its real daemons, in a folder and on ports of their own, for as long as a test session."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sacct")
ACCOUNTING = ("slurmdbd", "mariadbd")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where Debian has daemons, and users often do not look
USER = pwd.getpwuid(os.getuid()).pw_name
TRIES = 3  # another program may take a port between its choice and its use
START_S, STOP_S = 60.0, 60.0  # on a machine that has much else to do; an idle one takes two to five seconds

# Munge's credentials live five seconds, the least there is: a job that is queued again waits as long (120 s by default).
CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
MessageTimeout=60
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""
ACCOUNTING_CONF = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.socket
"""
SLURMDBD_CONF = """
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadbd}
StorageUser={user}
StorageLoc=slurm
"""


def missing(accounting: bool) -> list[str]:
    """Return the programs that a cluster needs and this machine does not have."""
    wanted = PROGRAMS + (ACCOUNTING if accounting else ())
    return [name for name in wanted if shutil.which(name, path=PATH) is None]


class Cluster:
    """A running cluster of two processors. It ends with the process that has started it, however that ends."""

    def __init__(self, accounting: bool):
        """Start it, with or without accounts of its jobs; raise RuntimeError with what its daemons say if it does not."""
        self.accounting = accounting
        self.folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # the path of a socket must be short
        self.environment = environment(self.folder)
        words = [sys.executable, __file__, str(self.folder), *(["accounting"] if accounting else [])]
        self.keeper = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", start_new_session=True
        )
        assert self.keeper.stdout is not None
        if self.keeper.stdout.readline() != "ready\n":
            raise RuntimeError(f"Slurm does not start here: {self.keeper.communicate()[0]}")

    def ask(self, *words: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        done = subprocess.run(words, env=os.environ | self.environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--array", "--format=%i").split()

    def minutes(self, job: str) -> int:
        """Return for how many whole minutes a job has run."""
        *hours, minutes, _ = self.ask("squeue", "--noheader", f"--jobs={job}", "--format=%M").strip().split(":")
        assert not hours
        return int(minutes)

    def clear(self) -> None:
        """Cancel every job, and wait until they have ended."""
        self.ask("scancel", f"--user={USER}")
        deadline = time.monotonic() + STOP_S
        while left := self.jobs():
            assert time.monotonic() < deadline, f"jobs {left} of Slurm do not end"
            time.sleep(0.1)

    def close(self) -> None:
        """End the cluster and what it runs, and remove its folder."""
        self.keeper.communicate()  # closes what the keeper reads


def environment(folder: Path) -> dict[str, str]:
    """Return what has Slurm's commands find a cluster."""
    return {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}


def keep(folder: Path, accounting: bool) -> None:
    """Be the process that keeps a cluster: it runs until nobody holds the other end of stdin."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what ends the daemons
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for attempt in range(TRIES):
            try:
                start(folder, accounting, daemons)
                break
            except RuntimeError as error:
                stop(folder, daemons)
                if attempt == TRIES - 1:
                    print(error, flush=True)
                    return
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        stop(folder, daemons)
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, accounting: bool, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Start the daemons of a cluster one by one, and wait until it takes jobs."""
    ports = free_ports("slurmctld", "slurmd", "slurmdbd", "mariadbd")
    facts = {"folder": folder, "host": socket.gethostname().partition(".")[0], "user": USER, **ports}
    write(folder / "munge.key", secrets.token_hex(64))
    write(folder / "slurm.conf", (CONF + (ACCOUNTING_CONF if accounting else "")).format_map(facts))
    write(folder / "slurmdbd.conf", SLURMDBD_CONF.format_map(facts))
    for name in ("state", "spool", "mariadb"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()

    def begin(*words: str) -> None:
        with (folder / f"{words[0]}.log").open("wb") as log:
            daemons.append(
                subprocess.Popen(
                    words, cwd=folder, env=os.environ | environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )  # fmt: skip

    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    begin("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
    if accounting:
        begin("mariadbd", *mariadb(facts))
        wait(folder, daemons, lambda: listens(ports["mariadbd"]))
    wait(folder, daemons, (folder / "munge.socket").exists)
    if accounting:
        begin("slurmdbd", "-D")
        wait(folder, daemons, lambda: listens(ports["slurmdbd"]))
    begin("slurmctld", "-D")
    wait(folder, daemons, lambda: listens(ports["slurmctld"]))
    begin("slurmd", "-D")
    wait(folder, daemons, lambda: idle(folder))


def mariadb(facts: Mapping[str, object]) -> list[str]:
    """Return the words for a small MariaDB that lets everybody in, and so needs no tables of its own."""
    return [
        "--no-defaults", "--skip-grant-tables", "--bind-address=127.0.0.1", f"--port={facts['mariadbd']}",
        f"--user={facts['user']}", f"--datadir={facts['folder']}/mariadb", f"--socket={facts['folder']}/mariadb.socket",
        f"--pid-file={facts['folder']}/mariadb.pid", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M",
        "--innodb-flush-log-at-trx-commit=0",
    ]  # fmt: skip


def free_ports(*names: str) -> dict[str, int]:
    """Choose a port for each name."""
    with contextlib.ExitStack() as held:
        found = {}
        for name in names:
            port = held.enter_context(socket.socket())
            port.bind(("127.0.0.1", 0))
            found[name] = port.getsockname()[1]
    return found


def write(path: Path, text: str) -> None:
    """Write a file that only its owner may read, as Slurm and Munge demand of some."""
    path.touch(mode=0o600)
    path.write_text(text)


def listens(port: int) -> bool:
    """Return whether something answers on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def idle(folder: Path) -> bool:
    """Return whether the machine of a cluster waits for jobs."""
    words = ["sinfo", "--noheader", "--format=%T"]
    told = subprocess.run(words, env=os.environ | environment(folder), capture_output=True, text=True, check=False)
    return told.stdout.strip() == "idle"


def wait(folder: Path, daemons: Sequence[subprocess.Popen[bytes]], found: Callable[[], object]) -> None:
    """Wait until something is so; raise RuntimeError when a daemon ends, or none of it comes."""
    deadline = time.monotonic() + START_S
    while not found():
        ended = [daemon.args[0] for daemon in daemons if daemon.poll() is not None]  # type: ignore[index]
        if ended or time.monotonic() > deadline:
            logs = [f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in folder.glob("*.log")]
            raise RuntimeError("\n".join([f"{', '.join(ended) or 'nothing'} has ended", *logs]))
        time.sleep(0.05)


def stop(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    """End what runs in a cluster, then its daemons, the last one first."""
    if len(daemons) > 1:
        for words in ([], ["--full", "--signal=KILL"]):  # what waits, and what runs
            with contextlib.suppress(subprocess.TimeoutExpired):
                line = ["scancel", f"--user={USER}", *words]
                subprocess.run(
                    line, env=os.environ | environment(folder), stderr=subprocess.DEVNULL, timeout=10, check=False
                )
    while daemons:
        daemon = daemons.pop()
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    ours = f"SLURM_CONF={folder}/slurm.conf".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if ours in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), "accounting" in sys.argv[2:])
