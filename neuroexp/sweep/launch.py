"""One launch, a single run or a sweep: its name, its folder, and what its jobs leave there, whichever process they are in."""

from __future__ import annotations

import math
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from neuroexp.machine import files, places
from neuroexp.store import movedcells
from neuroexp.sweep import cluster, outcome, rays
from neuroexp.sweep.outcome import RESULT, Outcome

LAUNCH, RUNNING, PROGRESS, STOP, ALIVE = "launch.json", "running.json", "progress.json", "stop", "alive"
# in the environment, so that the jobs of every launcher inherit them
NAME, BAR, PID = "NEUROEXP_LAUNCH", "NEUROEXP_BAR", "NEUROEXP_PID"

LAUNCH_SHAPE: files.Shape = {
    "name": files.text,
    "jobs": files.maybe(files.whole),
    "cluster": files.flag,
    "began": files.number,
    "host": files.text,
    "command": files.list_of(files.text),
}
RUNNING_SHAPE: files.Shape = {
    "job": files.whole,
    "began": files.number,
    **dict.fromkeys(("name", "log", "uri", "artifacts", "experiment"), files.text),
}
BEGUN: files.Shape = {"run_id": files.maybe(files.text)}  # once the run of a job has one
SWEPT: files.Shape = {"swept": files.list_of(files.text)}  # earlier versions say nothing of it
PROGRESS_SHAPE: files.Shape = {"epoch": files.whole, "epochs": files.whole}

_held: list[FileLock] = []


class Launch(Callback):
    """Has Hydra say where the launch writes and how many jobs it has."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Describe a sweep before its first job."""
        launcher = config.hydra.launcher._target_
        check(config)
        values = _values(config)
        jobs = None if values is None else math.prod(values.values())
        swept = [key for key, count in (values or {}).items() if count > 1]
        folder = Path(config.hydra.sweep.dir).absolute()
        slurm = launcher.endswith(".SlurmLauncher")
        _describe(folder, jobs, slurm, swept)
        if "submitit" in launcher:
            cluster.begin(folder, slurm)
        if launcher.endswith(".RayLauncher"):
            rays.begin(OmegaConf.to_container(config.hydra.launcher.ray.init, resolve=True))  # type: ignore[arg-type]

    def on_run_start(self, config: Any, **_: Any) -> None:
        """Describe a single run."""
        if places.LAUNCH not in os.environ:  # launchers run their jobs one by one
            check(config)
            _describe(Path(config.hydra.run.dir).absolute(), None)


def check(config: Any) -> None:
    """End the launch with one sentence when its store or a folder cannot be written, before anything has begun.

    Hydra makes a warning of every other error that a callback raises.
    """
    folder = config.hydra.sweep.dir if "MULTIRUN" in str(config.hydra.mode) else config.hydra.run.dir
    try:
        HydraConfig.instance().set_config(config)  # to which ${hydra:...} refers
        for what, place in (("the launch", folder), ("tracking.ledger", config.tracking.ledger)):
            if not isinstance(place, str):
                raise ValueError(f"the folder of {what} is {place}, it must be a path")
            places.check_name(place, what)
            places.check_folder(Path(place).absolute())
        places.check_store(str(config.tracking.uri))
        movedcells.settle(Path(config.tracking.ledger), str(config.tracking.uri))
    except OSError as error:
        sys.exit(places.trouble(error))
    except (ValueError, OmegaConfBaseException) as error:
        sys.exit(str(error))


def _describe(folder: Path, jobs: int | None, goes_on: bool = False, swept: Sequence[str] = ()) -> None:
    os.environ[places.LAUNCH] = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    claim = files.lock(folder / ALIVE)  # held until this process ends, however it does
    claim.acquire()
    _held.append(claim)
    described = {
        "name": name(),
        "jobs": jobs,
        "swept": list(swept),
        "cluster": goes_on,  # whose jobs go on when the launch ends
        "began": time.time(),
        "host": socket.gethostname(),
        "command": sys.argv[1:],
    }
    write(folder, described, LAUNCH)


def _values(config: Any) -> dict[str, int] | None:
    """Return how many values Hydra's own sweeper takes of each key that was typed; None for other sweepers."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: PLC0415

    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        return None
    words = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*words, *config.hydra.overrides.task])
    return {
        key.lstrip("+"): sum(1 for _ in values.sweep_string_iterator())
        for key, values in {o.get_key_element(): o for o in overrides}.items()
        if values.is_sweep_override() and values.is_discrete_sweep()
    }


def begin() -> None:
    """Name this launch after the clock, with a few random digits: two launches in one second stay apart."""
    os.environ[NAME] = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(2)}"
    os.environ.pop(places.LAUNCH, None)
    os.environ |= {BAR: "", PID: str(os.getpid())}


def name() -> str:
    """Return the launch's name, which is its folder's and its tag's."""
    return os.environ[NAME]


def facts(place: Path) -> dict[str, Any] | None:
    """Return what a launch has said of itself in its folder; None when it has not, or when its file is damaged."""
    return files.read(place / LAUNCH, LAUNCH_SHAPE, SWEPT)


def jobs() -> int | None:
    """Return how many jobs this launch has, where that is known."""
    place = places.of_launch()
    return None if place is None else (facts(place) or {"jobs": None})["jobs"]


def swept() -> frozenset[str]:
    """Return the keys that tell the jobs of this launch apart; none where it has one job, or has not said."""
    place = places.of_launch()
    return frozenset() if place is None else frozenset((facts(place) or {}).get("swept", ()))


def alive(place: Path, host: str) -> bool | None:
    """Return whether a launch of a machine goes on; None when that machine is another one."""
    return bool(files.held(place / ALIVE)) if host == socket.gethostname() else None


def stop() -> None:
    """Have no further job of this launch start, in whichever process."""
    if (place := places.of_launch()) is not None:
        (place / STOP).touch()


def stopped() -> bool:
    """Return whether a job has stopped this launch."""
    place = places.of_launch()
    return place is not None and (place / STOP).exists()


def write(place: str | Path, facts: Mapping[str, Any], file: str) -> None:
    """Leave facts in a folder; a reader never sees half of them."""
    files.write(Path(place) / file, facts)


def results(place: Path | None = None) -> list[Outcome]:
    """Return what the jobs of a launch left, by default of this one, in the order of their numbers."""
    place = place or places.of_launch()
    if place is None:
        return []
    found = [outcome.read(path) for path in (*place.glob(RESULT), *place.glob(f"*/{RESULT}"))]
    return sorted((result for result in found if result is not None), key=lambda result: result.job)


def unended(place: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the jobs of a launch that have begun and not ended, by their folders, with how far they are."""
    found = []
    for path in (*place.glob(RUNNING), *place.glob(f"*/{RUNNING}")):
        facts = files.read(path, RUNNING_SHAPE, BEGUN)
        if facts is not None and outcome.read(path.parent / RESULT) is None:
            progress = files.read(path.parent / PROGRESS, PROGRESS_SHAPE) or {}
            found.append((path.parent, facts | progress))
    return sorted(found, key=lambda job: int(job[1]["job"]))


def damaged(place: Path) -> list[Path]:
    """Return the files of a launch that are not what its jobs have written."""
    results = [path for path in (*place.glob(RESULT), *place.glob(f"*/{RESULT}")) if outcome.read(path) is None]
    running = (*place.glob(RUNNING), *place.glob(f"*/{RUNNING}"))
    return sorted([*results, *(path for path in running if files.read(path, RUNNING_SHAPE, BEGUN) is None)])


def latest(outputs: Path) -> Path | None:
    """Return the folder of the newest launch."""
    found = [path.parent for path in outputs.glob(f"*/{LAUNCH}")]
    return max(found, key=lambda path: path.name, default=None)
