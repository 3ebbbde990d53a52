"""Ray, for hydra/launcher=ray: started before its launcher would start it, which leaves a Ray that runs as it is."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

SETTINGS = {
    "RAY_worker_niceness": "0",  # with Ray's 15 its jobs stand still as soon as anything else computes on the machine
    "RAY_DEDUP_LOGS": "0",  # lines that differ in their numbers only are the scores of different jobs
    "RAY_COLOR_PREFIX": "0",
}
OPTIONS: dict[str, Any] = {
    "address": "local",  # the jobs of a cluster that runs already would inherit neither our environment nor our folder
    "include_dashboard": False,  # ten processes that nobody looks at
    "logging_level": "error",
    "object_store_memory": 75 * 2**20,  # the least; nothing large goes through it, and /dev/shm may be small
}


def begin(options: dict[str, Any]) -> None:
    """Start Ray on this machine with what was typed as hydra.launcher.ray.init."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415 - an extra, and it reads the settings now

    handler = signal.getsignal(signal.SIGTERM)
    ray.init(**OPTIONS | {name: value for name, value in options.items() if value is not None})
    signal.signal(signal.SIGTERM, handler)  # Ray has put its own there, which exits with 1


def end() -> None:
    """End Ray with its jobs, if it was started; else they would go on while their ends are written down."""
    if (ray := sys.modules.get("ray")) and ray.is_initialized():
        time.sleep(0.5)  # the last lines of its jobs are on their way
        ray.shutdown()
