"""From a composed configuration to a job that is done: checked, named, handed to a process, its result left for the launch."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from neuroexp.cost import budget
from neuroexp.evaluation import convergence
from neuroexp.machine import places, reach
from neuroexp.machine.sentence import sentence
from neuroexp.settings import bounds, callables, combinations, sources, trust
from neuroexp.store.job import Job
from neuroexp.sweep import cluster, launch, summary
from neuroexp.sweep.attempt import recorded, run
from neuroexp.sweep.naming import title, typed
from neuroexp.sweep.outcome import RESULT, Outcome
from neuroexp.sweep.worker import Worker
from neuroexp.terminal.quiet import quiet
from neuroexp.terminal.shown import plain

log = logging.getLogger(__name__)  # to the job's log
console = logging.getLogger("console")  # to the terminal as well

VIEW = ("recording", "model", "window", "step", "split", "fold")  # the parameters that MLflow shows as columns
OmegaConf.register_new_resolver("store", places.store, replace=True)  # ${store:FOLDER} in conf/config.yaml


def do(cfg: DictConfig) -> float | None:
    """Do the job of a configuration in Hydra's context and leave its result in its folder; return its first score.

    A failure is reported, never raised; what stops the job (Ctrl-C, a scheduler that wants the machine back) is. Where
    nothing can be reported, on a disk that is full, the launch ends with one sentence.
    """
    try:
        return _do(cfg)
    except OSError as error:
        sys.exit(places.trouble(error, cfg.output))  # not as an error, to which Hydra would add its own words


def _do(cfg: DictConfig) -> float | None:
    began = time.perf_counter()
    os.chdir(HydraConfig.get().runtime.cwd)  # with hydra.job.chdir Hydra has left it, and paths count from there
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    outcome = Outcome(
        job=HydraConfig.get().job.num if sweeping else 0,
        name=title(cfg),
        log=str(Path(cfg.output).absolute() / "job.log"),
        report=_report(cfg),
    )
    if launch.stopped():
        outcome.write(cfg.output)
        return None
    _settle_in(HydraConfig.get().launcher._target_.lower())
    facts = {"job": outcome.job, "name": outcome.name, "began": time.time(), "log": outcome.log}
    facts |= {"uri": cfg.tracking.uri, "artifacts": cfg.tracking.artifacts, "experiment": cfg.experiment}
    launch.write(cfg.output, facts, launch.RUNNING)
    (Path(cfg.output) / RESULT).unlink(missing_ok=True)  # a scheduler that cut the job off has queued it again
    stop: BaseException | None = None
    try:
        check(cfg)
        outcome, stop = _attempts(cfg, describe(cfg), sweeping, facts)
    except Exception as error:  # a mistake in the configuration: nothing has begun
        quiet()
        log.exception("the job failed before its run began")
        outcome = replace(outcome, status="failed", error=sentence(error))
    except KeyboardInterrupt as interruption:
        outcome, stop = replace(outcome, status="killed"), interruption
    if outcome.done:  # what had finished before is held to today's budget
        verdict = budget.verdict(outcome.scores, budget.read(cfg.budget))
        scores = {**outcome.scores, **convergence.known(outcome.scores, cfg.trainer)}
        outcome = replace(outcome, budget=verdict, scores=scores)
    outcome = replace(outcome, seconds=time.perf_counter() - began)
    outcome.write(cfg.output)
    if outcome.status == "failed" and cfg.on_failure == "stop":
        launch.stop()
    if sweeping:
        _tell(outcome)
    if stop is not None:
        raise stop
    return outcome.scores.get(outcome.report[0]) if outcome.report else None


def _report(cfg: DictConfig) -> tuple[str, ...]:
    """Return the names of the scores that are shown; none where a configuration names something else, see `check`."""
    names = list(cfg.report) if isinstance(cfg.report, ListConfig) else []
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def _attempts(cfg: DictConfig, job: Job, sweeping: bool, facts: dict[str, Any]) -> tuple[Outcome, BaseException | None]:
    """Do a job, in a sweep in a process of its own, again as often as `retries` says when it failed unforeseen."""
    timeout_s = None if cfg.timeout_min is None else cfg.timeout_min * 60
    job = replace(job, known_key=job.key)
    if (found := recorded(job)) is not None:
        return found, None

    def started(run_id: str) -> None:
        launch.write(cfg.output, facts | {"run_id": run_id}, launch.RUNNING)

    stop: BaseException | None = None
    for attempt in range(cfg.retries + 1):
        if sweeping or timeout_s is not None or cfg.retries:
            outcome, stop = worker().do(job, timeout_s, started)
        else:
            outcome = run(job, started)
            stop = KeyboardInterrupt() if outcome.status == "killed" else None
        if outcome.unended:
            _abandon(facts, outcome)
        if stop is not None or outcome.status != "failed" or outcome.foreseen or attempt == cfg.retries:
            break
        log.warning("failed: %s; attempt %d of %d follows", outcome.error, attempt + 2, cfg.retries + 1)
    return outcome, stop


def _abandon(facts: dict[str, Any], outcome: Outcome) -> None:
    """End the run of a process that is gone, in the job's log and in MLflow."""
    from neuroexp.store.tracking import StoreError, open_store  # noqa: PLC0415 - a second to import, after a rare event

    reason = outcome.error or "interrupted"
    with contextlib.suppress(OSError), Path(facts["log"]).open("a") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {reason}\n")
    if outcome.run_id:
        try:
            store = open_store(facts["uri"], facts["artifacts"], facts["experiment"])
            store.abandon(outcome.run_id, "FAILED" if outcome.status == "failed" else "KILLED", reason)
        except (StoreError, ValueError) as error:
            log.warning("%s", error)


def settle() -> bool:
    """Give the jobs of this launch that were cut off without a word their result: killed. A cluster's jobs go on.

    Return whether jobs that a cluster has lost have left no result.
    """
    place = places.of_launch()
    if place is None:
        return False
    unended = launch.unended(place)
    known = {row.job for row in launch.results(place)}
    if (launch.facts(place) or {"cluster": False})["cluster"]:
        begun = [job for job in unended if job[1]["job"] not in cluster.lost]
        left = cluster.states(place)
        if going := len(begun) if left is None else len(left.keys() - known - cluster.lost.keys()):
            summary.goes_on(going, cluster.number(place))
        unended = [job for job in unended if job not in begun]
    lost = {number: why for number, why in cluster.lost.items() if number not in known}
    for path, facts in unended:
        outcome = Outcome(
            job=facts["job"],
            name=facts["name"],
            log=facts["log"],
            status="killed",
            run_id=facts.get("run_id"),
            seconds=time.time() - facts["began"],
        )
        _abandon(facts, outcome)
        outcome.write(path)
    summary.lost(lost)
    return bool(lost)


@cache
def _settle_in(launcher: str) -> None:
    """Make up for what a launcher does not do for the processes that it starts."""
    if "joblib" in launcher and os.environ[launch.PID] != str(os.getpid()):
        # without their launch its workers would wait for ever, and train what they have been given
        parent = os.getppid()

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(0.5)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    if launcher.endswith(".locallauncher"):  # submitit's starts all jobs at once, each on all cores
        threads = max(1, (os.cpu_count() or 1) // (launch.jobs() or 1))
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


@cache
def worker() -> Worker:
    """Return the process that does this process's jobs."""
    return Worker()


def describe(cfg: DictConfig) -> Job:
    """Return the job of a configuration as plain values, resolved once and for all.

    Raises ValueError when it names a callable that it may not name, or trusts a module that was not typed.
    """
    hydra_config = HydraConfig.get()
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    trusted = trust.check_trust(config["trusted"])
    callables.check_names(config, trusted)
    bounds.check_places(config, hydra_config.runtime.cwd, hydra_config.runtime.output_dir)
    choices = hydra_config.runtime.choices
    shown = {
        name: choices[name] for name in ("dataset", "recording", "model", "split", "label", "trainer", "optimizer")
    }
    shown |= {name: cfg[name] for name in ("window", "step", "fold", "seed") if cfg[name] is not None}
    if "label" not in cfg.dataset:
        del shown["label"]
    epochs = cfg.trainer.get("max_epochs")
    shown = typed() | shown | ({} if epochs is None else {"trainer.max_epochs": epochs})
    sweeping = hydra_config.mode == RunMode.MULTIRUN
    return Job(
        config=config,
        number=hydra_config.job.num if sweeping else 0,
        name=title(cfg),
        launch=launch.name(),
        parameters=shown,
        columns=tuple(name for name in dict.fromkeys((*VIEW, *typed())) if name in shown),
        logging=OmegaConf.to_container(hydra_config.job_logging, resolve=True),  # type: ignore[arg-type]
        bar=not sweeping or cfg.verbose,
        parallel=hydra_config.launcher._target_.endswith((".JoblibLauncher", ".RayLauncher")),
        trusted=trusted,
        sources=sources.digests(config),
    )


def _tell(outcome: Outcome) -> None:
    if outcome.status == "failed":
        console.error("%s failed: %s", plain(outcome.name), plain(outcome.error, 2000))
    elif outcome.status in ("killed", "elsewhere"):
        console.info("%s %s", plain(outcome.name), outcome.status)
    elif not os.environ.get(launch.BAR):
        known = [(name, outcome.scores.get(name, math.nan)) for name in outcome.report]
        scores = [f"{summary.heading(name)} {value:.3f}" for name, value in known if math.isfinite(value)]
        console.info("%s %s: %s", plain(outcome.name), outcome.status, ", ".join(scores))


def check(cfg: DictConfig) -> None:
    """Raise ValueError when one of the values that are typed most, or that say how to launch, is none of the valid ones."""
    for name, least in (("window", 1), ("step", 1), ("fold", 0), ("seed", 0)):
        value = cfg[name]
        if name == "step" and value is None:  # windows follow events; a dataset that needs steps says so
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value} is no whole number of at least {least}")
    for name, least in (("timeout_min", 0), ("retries", 0), ("checkpoint_s", 0)):
        value = cfg[name]
        if name == "timeout_min" and value is None:
            continue
        whole = isinstance(value, int) or name in ("timeout_min", "checkpoint_s")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < least or not whole:
            raise ValueError(f"{name}={value} is no number of at least {least}")
    for name, one in (("devices", 1), ("num_nodes", 1)):
        value = cfg.trainer.get(name, one)
        count = len(value) if isinstance(value, list | ListConfig) else value
        if isinstance(count, int) and count > 1:
            raise ValueError(
                f"trainer.{name}={value}: a job trains on one device; -m with hydra/launcher=joblib trains several jobs at "
                "once, each on a GPU of its own"
            )
    if not _report(cfg):
        raise ValueError(f"report={cfg.report} is no list of scores, such as report=[test/f1]")
    budget.read(cfg.budget)
    reach.check(cfg.tracking.uri)
    combinations.check(cfg, {override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task})
    if cfg.on_failure not in ("continue", "stop"):
        raise ValueError(f"on_failure={cfg.on_failure} must be continue or stop")
