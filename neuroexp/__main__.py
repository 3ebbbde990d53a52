"""The command line: configurations in, jobs done, a table of their scores out."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from neuroexp import dispatch, display, launch, loader, mistakes, rays, trust, usage


def main() -> None:
    """Run a job or a sweep; exit with 1 when a job failed, with 130 after Ctrl-C and 143 after SIGTERM."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage.text())
        return
    if "-m" in sys.argv[2:]:  # which Hydra does not take between settings
        sys.argv.remove("-m")
        sys.argv.insert(1, "-m")
    launch.begin()
    try:
        trust.begin(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
    if get_args_parser().parse_known_args(sys.argv[1:])[0].experimental_rerun is not None:
        why = "--experimental-rerun reads a pickle, which can hold any code: type the words of that launch again"
        print(why, file=sys.stderr)
        sys.exit(1)
    loader.install()
    code = 0
    wanted = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # has Hydra raise what it would print

    def stop(number: int, _: Any) -> None:
        nonlocal code
        code = 128 + number
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        with display.bar("verbose=true" not in sys.argv):  # else each job has its own
            job()
    except KeyboardInterrupt:
        code = code or 130
    except (HydraException, OmegaConfBaseException) as error:
        if wanted:
            raise
        print(mistakes.sentence(error), file=sys.stderr)
        code = 1
    except SystemExit as end:  # Hydra's, after it has said why
        code = end.code if isinstance(end.code, int) else 1
    rays.end()
    dispatch.settle()
    rows = launch.results()
    if rows:
        display.summary(rows)
    if code:
        sys.exit(code)
    if any(row["status"] == "failed" for row in rows):
        sys.exit(1)


@hydra.main(version_base="1.3", config_path="pkg://neuroexp.conf", config_name="config")
def job(cfg: DictConfig) -> float | None:
    """Train and test once, unless the cell is finished; a failure is reported, never raised."""
    return dispatch.do(cfg)  # launchers send this function by value, and what it needs by name


if __name__ == "__main__":
    main()
