"""A launch through submitit: what submitit says of itself goes into the launch's log, once, and never to the terminal."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from pathlib import Path

LOG = "launch.log"  # in the launch's folder


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


def begin(folder: Path) -> None:
    """Have the submitit of this process write into the log of a launch, and ask Slurm without words on the terminal."""
    from submitit.core import logger  # noqa: PLC0415 - of an extra, and only for its launchers
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob  # noqa: PLC0415

    log = logger.get_logger()
    handler = logging.FileHandler(folder / LOG, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Once())
    log.handlers, log.propagate = [handler], False

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
            except subprocess.CalledProcessError as error:
                why = error.stderr.strip() or f"exit code {error.returncode}"
                log.warning(
                    "%s does not tell the states of jobs, which are known by their results: %s", command[0], why
                )
            else:
                self._info_dict.update(self.read_info(done.stdout))
            self._last_status_check = time.time()
            waiting = self._registered - self._finished
            self._finished |= {job for job in waiting if self.is_done(job, mode="cache")}

    SlurmJob.watcher = Watcher(delay_s=SlurmJob.watcher._delay_s)
