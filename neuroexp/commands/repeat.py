"""Does a run of MLflow give the same scores again? `neuroexp repeat RUN_ID [recording.path=FILE ...]`."""

from __future__ import annotations

import logging.config
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuroexp.commands import COMMANDS
from neuroexp.deploy import restore
from neuroexp.machine import places
from neuroexp.machine.command import command
from neuroexp.settings import sources
from neuroexp.store import provenance, runfiles
from neuroexp.store.job import Job
from neuroexp.sweep.attempt import run
from neuroexp.sweep.outcome import Outcome
from neuroexp.terminal import screen

COMPARED = ("test/", "spread/", "control/")
TOLERANCE = 0.02  # between machines, where sums are taken in another order and a training drifts apart

COMMAND = COMMANDS["repeat"]


@command
def main() -> None:
    """Train a recorded run again from its configuration, compare the scores; exit with 1 when they differ."""
    asked = restore.asked(sys.argv[1:], COMMAND.usage, free=True)
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - a second to import

    recorded = asked.found
    try:
        environment = runfiles.environment(recorded["environment.json"], recorded["name"])
        with tempfile.TemporaryDirectory() as folder, restore.own_source(asked) as changed:
            outcome = again(dict(asked.config), recorded["name"], Path(folder), asked.trusted)
    except (ValueError, StoreError) as error:
        sys.exit(str(error))
    if outcome.status == "killed":
        raise KeyboardInterrupt
    if outcome.status != "finished":
        sys.exit(f"{recorded['name']} {outcome.status}: {outcome.error}")
    others = differences(environment, recorded["tags"]) + [f"{name} has changed since" for name in changed]
    sys.exit(report(recorded["name"], recorded["metrics"], outcome.scores, others))


def again(config: dict[str, Any], name: str, folder: Path, trusted: tuple[str, ...] = ()) -> Outcome:
    """Do the job of a recorded configuration in a store of its own, so that it is neither found finished nor recorded."""
    config["output"] = str(folder)
    config["trainer"] = config["trainer"] | {"default_root_dir": str(folder)}
    config["tracking"] = {
        "uri": places.address(folder / "mlflow.db"), "artifacts": str(folder / "artifacts"), "ledger": str(folder / "cells"),
    }  # fmt: skip
    handlers = {"file": {"class": "logging.FileHandler", "filename": str(folder / "job.log")}}
    settings = {"version": 1, "disable_existing_loggers": False, "handlers": handlers}
    settings["root"] = {"level": "INFO", "handlers": ["file"]}
    logging.config.dictConfig(settings)
    behind = sources.digests(config)
    return run(Job(config, 0, name, "repeat", {}, (), settings, True, False, trusted, behind))


def differences(environment: Mapping[str, Any], tags: Mapping[str, str]) -> list[str]:
    """Return in what this machine and code differ from those of a run."""
    now = provenance.environment()
    found = [
        f"{name} {environment.get(name)} then, {now[name]} now"
        for name in ("neuroexp", "python", "platform", "processor", "cores", "threads", "gpus")
        if environment.get(name) != now[name]
    ]
    then = environment["packages"]
    for package in ("torch", "numpy", "scipy", "pytorch-lightning"):
        if then.get(package) != now["packages"].get(package):
            found.append(f"{package} {then.get(package)} then, {now['packages'].get(package)} now")
    revision = provenance.revision().get("mlflow.source.git.commit")
    if tags.get("mlflow.source.git.commit") != revision:
        found.append(f"revision {tags.get('mlflow.source.git.commit')} then, {revision} now")
    return found


def report(name: str, recorded: Mapping[str, float], scores: Mapping[str, float], others: Sequence[str]) -> int:
    """Print both sets of scores and whether they agree; return 0 when they do, bit for bit or within the tolerance."""
    from rich.table import Table  # noqa: PLC0415 - only when there is something to print

    out = screen.console()
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in (name, "recorded", "repeated", "difference"):
        grid.add_column(column, justify="left" if column == name else "right")
    keys = [key for key in recorded if key.startswith(COMPARED) and not _of_one(key, recorded, scores)]
    # the control is measured in another way now, and says other things
    gone = sorted(key for key in keys if key.startswith("control/") and key not in scores)
    keys = [key for key in keys if key not in gone]
    largest = 0.0
    for key in sorted(keys):
        now = scores.get(key, math.nan)
        difference = now - recorded[key]
        largest = max(largest, abs(difference)) if math.isfinite(difference) else math.inf
        grid.add_row(key, f"{recorded[key]:.6f}", f"{now:.6f}", f"{difference:+.2g}" if difference else "0")
    screen.whole(out, grid)
    out.print()
    for other in [*others, *(f"{key} was recorded and is not measured any more" for key in gone)]:
        out.print(other, markup=False, soft_wrap=True)
    if largest == 0:
        out.print("The scores agree bit for bit.")
        return 0
    if others and largest <= TOLERANCE:
        out.print(f"The scores agree within {largest:.2g}; another machine or version sums in another order.")
        return 0
    out.print(f"The scores differ by up to {largest:.2g}.")
    return 1


def _of_one(key: str, recorded: Mapping[str, float], scores: Mapping[str, float]) -> bool:
    """Return whether this is the standard deviation over a single unit: none now, 0 in earlier versions."""
    return key.startswith("spread/") and recorded[key] == 0 and math.isnan(scores.get(key, math.nan))
