"""A launch through submitit: its words go into the launch's log, once, and a job that is lost ends no other."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from neuroexp.machine import files

LOG, QUEUE = "launch.log", "queue.json"  # in the launch's folder
QUEUE_SHAPE: files.Shape = {"id": files.text}  # under which Slurm has the jobs of a launch: of one, or of an array
ASK_S = 60.0

# jobs of this launch that have ended without a word, by their numbers, and what is known of why
lost: dict[int, str] = {}


class Once(logging.Filter):
    """Lets each message pass a single time, whatever numbers it counts with."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a message has not been said before."""
        words = re.sub(r"\d+", "", record.getMessage())
        new = words not in self.said
        self.said.add(words)
        return new


def begin(folder: Path, slurm: bool) -> None:
    """Have the submitit of this process write into the log of a launch, and ask Slurm without words on the terminal.

    The process ends with one sentence where the jobs are for Slurm and this machine does not have it.
    """
    from submitit.core import logger  # noqa: PLC0415 - of an extra, and only for its launchers
    from submitit.core.core import Job  # noqa: PLC0415
    from submitit.slurm.slurm import SlurmExecutor, SlurmJob  # noqa: PLC0415

    if slurm and shutil.which("srun") is None:
        sys.exit("hydra/launcher=submitit_slurm needs Slurm, and there is no srun on this machine")
    log = logger.get_logger()
    handler = logging.FileHandler(folder / LOG, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Once())
    log.handlers, log.propagate = [handler], False
    SlurmJob.watcher = _watcher(log)(delay_s=SlurmJob.watcher._delay_s)
    Job.results = _results(Job.results)  # type: ignore[method-assign]
    SlurmExecutor._submit_command = _submit(SlurmExecutor._submit_command, folder)  # type: ignore[method-assign]


def _watcher(log: logging.Logger) -> Any:
    from submitit.slurm.slurm import SlurmInfoWatcher  # noqa: PLC0415

    class Watcher(SlurmInfoWatcher):
        """Asks for the states of jobs as submitit does; where Slurm keeps no accounts that is said in the log."""

        def update(self) -> None:
            """Ask for the states of the jobs that have not ended."""
            command = self._make_command()
            if command is None:
                return
            self._num_calls += 1
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            except OSError as error:
                log.warning("%s cannot be asked for the states of jobs: %s", command[0], error)
                self._ask_queue()
            except subprocess.CalledProcessError as error:
                why = error.stderr.strip() or f"exit code {error.returncode}"
                log.warning(
                    "%s does not tell the states of jobs, which are known by their results: %s", command[0], why
                )
                self._ask_queue()
            else:
                self._info_dict.update(self.read_info(done.stdout))
            self._last_status_check = time.time()
            waiting = self._registered - self._finished
            self._finished |= {job for job in waiting if self.is_done(job, mode="cache")}

        def _ask_queue(self) -> None:
            """Take note of the jobs that neither wait nor run: they will bring no result if they have not."""
            if (queued := _queue("%i")) is not None:
                gone = self._registered - self._finished - {job for (job,) in queued}
                self._info_dict |= {job: {"State": "it is no longer in the queue of Slurm"} for job in gone}

    return Watcher


def _results(wait: Any) -> Any:
    """Return submitit's way to wait for a job, with a job that ends without a result noted in place of raised."""
    from submitit.core.utils import FailedJobError, UncompletedJobError  # noqa: PLC0415

    numbers = itertools.count()  # a launcher waits for its jobs in their order

    def results(job: Any) -> list[Any]:
        number = next(numbers)
        try:
            return list(wait(job))
        except FailedJobError:
            _, trace = job._get_outcome_and_result()
            lost[number] = trace.strip().splitlines()[-1]
        except UncompletedJobError:
            lost[number] = job.state
        nothing = JobReturn(status=JobStatus.COMPLETED)
        nothing.return_value = None
        return [nothing]

    return results


def _submit(submit: Any, folder: Path) -> Any:
    """Return submitit's way to send jobs to Slurm, which leaves their number in the folder of a launch.

    Where Slurm does not take them it raises ValueError with one sentence.
    """
    from submitit.core.utils import FailedJobError  # noqa: PLC0415

    def sent(executor: Any, command: str) -> Any:
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # where submitit prints what it raises
                job = submit(executor, command)
        except FailedJobError as error:
            said = (str(error).strip().splitlines() or ["it does not say why"])[-1]
            raise ValueError(f"Slurm does not take the jobs: {said.removeprefix('sbatch: error: ')}") from error
        files.write(folder / QUEUE, {"id": job.job_id.partition("_")[0]})
        return job

    return sent


def number(folder: Path) -> str | None:
    """Return under which number Slurm has the jobs of a launch; None when it has taken nothing."""
    found = files.read(folder / QUEUE, QUEUE_SHAPE)
    return None if found is None else found["id"]


def states(folder: Path) -> dict[int, str] | None:
    """Return the states of the jobs of a launch that wait or run, such as PENDING, by the jobs' numbers.

    None where Slurm cannot be asked.
    """
    taken = number(folder)
    if taken is None:
        return {}
    queued = _queue("%F %K %T")
    if queued is None:
        return None
    return {int(index) if index.isdigit() else 0: state for job, index, state in queued if job == taken}


def _queue(form: str) -> list[list[str]] | None:
    """Return the words of each line that Slurm's queue has of this user's jobs; None where it cannot be asked."""
    command = ["squeue", "--noheader", "--me", "--array", f"--format={form}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASK_S).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.split() for line in said.splitlines()]
