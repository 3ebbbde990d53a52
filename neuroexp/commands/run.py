"""`neuroexp` without a command: configurations in, jobs done, a table of their scores out."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from neuroexp.machine import places
from neuroexp.machine.command import command
from neuroexp.settings import flags, loader, mistakes, trust
from neuroexp.sweep import dispatch, launch, progress, rays, summary
from neuroexp.terminal.shown import lines


@command
def main() -> None:
    """Run a job or a sweep; exit with 1 when a job failed or was killed, with 130 after Ctrl-C and 143 after SIGTERM."""
    sys.argv[1:] = flags.ordered(sys.argv[1:])
    launch.begin()
    trust.begin(sys.argv[1:])
    loader.install()
    code = _launched()
    rays.end()
    missing = False
    try:
        missing = dispatch.settle()
    except OSError:
        if not code:  # else what the system refuses has been said
            raise
    rows = launch.results()
    if rows:
        summary.summary(rows)
    if code:
        sys.exit(code)
    if missing or any(row.status in ("failed", "killed") for row in rows):
        sys.exit(1)


def _launched() -> int:
    """Have Hydra launch the jobs, say in one sentence what keeps it from that, and return the exit code."""
    code = 0
    wanted = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # has Hydra raise what it would print

    def stop(number: int, _: Any) -> None:
        nonlocal code
        code = 128 + number
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):  # the second when its terminal is closed, unless nohup has it ignored
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    said = None
    try:
        with progress.bar("verbose=true" not in sys.argv):  # else each job has its own
            job()
    except KeyboardInterrupt:
        return code or 130
    except SystemExit as end:  # Hydra's, after it has said why, or ours with a sentence
        if not isinstance(end.code, str):
            return end.code if isinstance(end.code, int) else 1
        said = end.code
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        if wanted:
            raise
        said = places.told(error)
        if said is None:
            composed = isinstance(error, HydraException | OmegaConfBaseException)
            said = mistakes.sentence(error) if composed else str(error)  # type: ignore[arg-type]
    if said is not None:
        print(lines(said), file=sys.stderr)
        return 1
    return code


@hydra.main(version_base="1.3", config_path="pkg://neuroexp.conf", config_name="config")
def job(cfg: DictConfig) -> float | None:
    """Train and test once, unless the cell is finished; a failure is reported, never raised."""
    return dispatch.do(cfg)  # launchers send this function by name
