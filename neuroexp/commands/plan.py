"""What a sweep will take, before it starts: `neuroexp plan -m` and the words that would start it."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from neuroexp.machine import places
from neuroexp.machine.command import command
from neuroexp.machine.sentence import sentence
from neuroexp.settings import callables, flags, keys, loader, mistakes, sources, trust
from neuroexp.store.job import Job
from neuroexp.store.ledger import Cell
from neuroexp.sweep import dispatch, launch
from neuroexp.terminal import screen
from neuroexp.terminal.quiet import quiet

WORKERS = (1, 2, 4, 8, 16, 32)
KIND = ("recording", "model", "window", "step", "trainer", "settings")  # jobs that agree in these take the same time
COUNTED = (
    "trainer.",
    "dataset.",
    "model.",
    "label.",
    "recording.duration_s",
)  # what is typed of these makes it another
FILES_MB = 0.5  # pictures, tables and log of a run; its weights come on top


@dataclass
class Estimate:
    """What one job of a kind takes."""

    seconds: float
    memory_mb: float
    weights_mb: float
    source: str


@command
def main() -> None:
    """Print how many jobs a sweep has, how many are finished, and what the rest will take in time, memory and disk."""
    words, origin = typed(sys.argv[1:])
    launch.begin()
    quiet()
    try:
        trust.begin(sys.argv[1:])
        loader.install()
        jobs = [(job, keys.configuration_key(job.config)) for job in composed(words, origin)]
        done = finished(jobs)
        report(jobs, done)
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(mistakes.sentence(error))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(sentence(error))


@dataclass(frozen=True)
class Origin:
    """Where a configuration begins: its name, and a folder of one's own that is looked into first."""

    name: str = "config"
    folder: Path | None = None


PACKAGE = Origin()


def typed(words: Sequence[str]) -> tuple[list[str], Origin]:
    """Return a launch's settings, and the configuration that it begins with (`--config-name`, `--config-dir`).

    Raises ValueError for an option that makes no sense, or that only a launch can heed.
    """
    given = flags.composing(words)
    folder = None if given.config_dir is None else Path(given.config_dir).absolute()
    if folder is not None and not folder.is_dir():
        raise ValueError(f"--config-dir={given.config_dir} is no folder")
    return list(given.overrides), Origin(given.config_name or "config", folder)


@contextlib.contextmanager
def _hydra(folder: Path | None) -> Iterator[None]:
    """Begin Hydra as a launch does."""
    version.setbase("1.3")
    Hydra.create_main_hydra2("neuroexp", loader.search(folder))
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def composed(words: Sequence[str], origin: Origin = PACKAGE) -> Iterator[Job]:
    """Yield the jobs of a sweep as its launch would compose them.

    Hydra takes 50 ms for a configuration. Values that are swept change nothing in how a configuration is put together, so
    it is put together once for every choice of groups, and the values are set in a copy.
    """
    parser = OverridesParser.create()
    with _hydra(origin.folder):
        fixed = [str(o.input_line) for o in parser.parse_overrides(list(words)) if not o.is_sweep_override()]
        first = compose(origin.name, fixed, return_hydra_config=True)
        swept = [f"{name}={value}" for name, value in (first.hydra.sweeper.params or {}).items()]
        [lines] = BasicSweeper.split_arguments(parser.parse_overrides([*swept, *words]), None)
        groups = set(first.hydra.runtime.choices)
        bases: dict[tuple[str, ...], DictConfig] = {}
        for number, line in enumerate(tqdm(lines, "composing", leave=False, disable=not sys.stderr.isatty())):
            plain = [o for o in parser.parse_overrides(line) if _is_value(o, groups)]
            others = tuple(word for word in line if word not in {o.input_line for o in plain})
            if others not in bases:
                bases[others] = compose(origin.name, list(others), return_hydra_config=True)
            yield _job(bases[others], line, plain, number)


def _is_value(override: Any, groups: set[str]) -> bool:
    """Return whether an override sets a plain value, and neither chooses from a group nor adds or removes a key."""
    key = override.key_or_group
    added = override.is_add() or override.is_force_add() or override.is_delete()
    return not added and override.package is None and key not in groups and not key.startswith("hydra.")


def _job(base: DictConfig, line: Sequence[str], values: Sequence[Any], number: int) -> Job:
    cfg = base.copy()
    with open_dict(cfg):
        cfg.hydra.runtime.cwd = str(Path.cwd())
        cfg.hydra.runtime.output_dir = str(Path.cwd() / "outputs")
        cfg.hydra.job.num = number
        cfg.hydra.overrides.task = [word for word in line if not word.lstrip("+~").startswith("hydra")]
        cfg.hydra.mode = "MULTIRUN"
    for override in values:
        if OmegaConf.select(cfg, override.key_or_group, throw_on_missing=False) is None:
            parent, _, leaf = override.key_or_group.rpartition(".")
            node = OmegaConf.select(cfg, parent) if parent else cfg
            if node is None or leaf not in node:
                raise ValueError(f"{override.input_line}: there is no {override.key_or_group} in the configuration")
        OmegaConf.update(cfg, override.key_or_group, override.value())
    HydraConfig.instance().set_config(cfg)
    plain = cfg.copy()
    with open_dict(plain):
        del plain["hydra"]
    dispatch.check(plain)
    return dispatch.describe(plain)


def finished(jobs: Sequence[tuple[Job, str]]) -> set[str]:
    """Return the keys that have a record here or a finished run in MLflow."""
    keys = {key for job, key in jobs if _cell(job, key).record() is not None}
    return keys | {row.get("tag.neuroexp.key", "") for row in _rows(jobs)}


def _cell(job: Job, key: str) -> Cell:
    tracking = job.config["tracking"]
    return Cell(tracking["ledger"], tracking["uri"], job.config["experiment"], key)


def _rows(jobs: Sequence[tuple[Job, str]]) -> list[dict[str, Any]]:
    """Return the finished runs of the sweep's experiment; none when there is no store yet, or it is away."""
    from neuroexp.store.tracking import StoreError, open_store  # noqa: PLC0415 - a second to import

    config = jobs[0][0].config
    uri = config["tracking"]["uri"]
    if places.absent(uri):
        return []
    try:
        return open_store(uri, config["tracking"]["artifacts"], config["experiment"]).runs()
    except StoreError as error:
        print(error, file=sys.stderr)
        return []


def report(jobs: Sequence[tuple[Job, str]], done: set[str]) -> None:
    """Print the plan."""
    out = screen.console()
    rest = [job for job, key in jobs if key not in done]
    out.print(f"{len(jobs)} job{'s' if len(jobs) > 1 else ''}: {len(jobs) - len(rest)} finished, {len(rest)} to do")
    if not rest:
        return
    kinds: dict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in rest:
        kinds[_kind(job)].append(job)
    rows = _rows(jobs)
    estimates: dict[tuple[str, ...], Estimate] = {}
    measured: dict[tuple[str, ...], tuple[int, dict[str, float]]] = {}
    for kind, members in tqdm(kinds.items(), "estimating", leave=False, disable=not sys.stderr.isatty()):
        estimates[kind] = known(kind, rows) or calibrated(members[0], measured)
    _table(out, kinds, estimates)


def _kind(job: Job) -> tuple[str, ...]:
    return _kind_of(job.parameters)


def _kind_of(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    settings = sorted(f"{name.split('.')[-1]}={parameters[name]}" for name in parameters if name.startswith(COUNTED))
    return (*(str(parameters.get(name, "")) for name in KIND[:-1]), " ".join(settings))


def known(kind: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> Estimate | None:
    """Return what finished runs of this kind took, by their median; None when there are none."""
    needed = {"time/fit_s", "time/test_s", "cost/parameters"}
    same = [row for row in rows if _kind_of(row) == kind and needed <= row.keys()]
    if not same:
        return None
    seconds = [row["time/fit_s"] + row["time/test_s"] + row.get("time/outside_s", 0) for row in same]
    memory = max(row.get("cost/peak_memory_mb", float("nan")) for row in same)
    return Estimate(
        statistics.median(seconds),
        memory,
        same[0]["cost/parameters"] * 4e-6,
        f"{len(same)} finished run{'s' * (len(same) > 1)}",
    )


def calibrated(job: Job, measured: dict[tuple[str, ...], tuple[int, dict[str, float]]]) -> Estimate:
    """Return what a job takes at most, from a few seconds of its training or of one with another step in `measured`.

    The number of windows, and with it the time of an epoch, falls as the step grows.
    """
    from neuroexp.training.calibrate import calibrate  # noqa: PLC0415 - seconds to import

    config = job.config
    alike = (*(value for name, value in zip(KIND, _kind(job), strict=True) if name != "step"),)
    step = config["step"] or 1
    if alike not in measured:
        sources.fresh(job.sources)
        callables.check(config, job.trusted)
        measured[alike] = step, calibrate(job)
    reference, took = measured[alike]
    seconds = took["setup_s"] + took["training_s"] * reference / step
    return Estimate(seconds, took["memory_mb"], took["weights_mb"], "a few steps, all epochs")


def _table(out: Any, kinds: dict[tuple[str, ...], list[Job]], estimates: dict[tuple[str, ...], Estimate]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - only when there is something to print
    from rich.table import Table  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False, header_style="bold")
    names = [name for place, name in enumerate(KIND) if any(kind[place] for kind in kinds)]
    for name in names:
        grid.add_column(name)
    for title in ("jobs", "each", "together", "memory"):
        grid.add_column(title, justify="right")
    grid.add_column("from")
    for kind, members in kinds.items():
        estimate = estimates[kind]
        each, together = screen.duration(estimate.seconds), screen.duration(estimate.seconds * len(members))
        memory = f"{estimate.memory_mb / 1000:.1f} GB"
        shown = [word for word, name in zip(kind, KIND, strict=True) if name in names]
        grid.add_row(*map(escape, shown), str(len(members)), each, together, memory, estimate.source)
    screen.whole(out, grid)
    total_s = sum(estimates[kind].seconds * len(members) for kind, members in kinds.items())
    disk_mb = sum((estimates[kind].weights_mb + FILES_MB) * len(members) for kind, members in kinds.items())
    memory_mb = max(estimate.memory_mb for estimate in estimates.values())
    count = sum(map(len, kinds.values()))
    out.print()
    out.print(f"disk: {disk_mb / 1000:.2f} GB")
    for workers in WORKERS:
        if workers <= count:
            # the longest job bounds what more workers can do
            span = max(total_s / workers, *(estimate.seconds for estimate in estimates.values()))
            out.print(f"{workers:3d} at a time: {screen.duration(span)}, {workers * memory_mb / 1000:.1f} GB of memory")
    out.print(
        "Times hold for a job that has a machine like this one to itself, as it is loaded now: jobs that share its cores"
    )
    out.print(
        "(hydra/launcher=joblib) take longer each. From a few steps they are upper bounds: early stopping ends sooner."
    )
