"""Config in, test scores out: one job is one training is one MLflow run."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from neuroexp import launch, provenance, typecheck

if TYPE_CHECKING:
    from neuroexp.tracking import Run

log = logging.getLogger(__name__)  # to the job's log
console = logging.getLogger("console")  # to the terminal as well

VIEW = ("recording", "model", "window", "step", "split", "fold")  # the parameters that MLflow shows as columns
# What a run's name leaves out of what was typed, because the name says it already or it changes no score.
UNNAMED = {
    "dataset",
    "recording",
    "model",
    "window",
    "step",
    "fold",
    "experiment",
    "trainer",
    "tracking",
    "output",
    "data",
    "cache",
}


def main() -> None:
    """Run a job or a sweep; exit with 1 when a job failed, with 130 when it was interrupted."""
    launch.begin()
    interrupted = False
    try:
        job()
    except KeyboardInterrupt:
        interrupted = True
    rows = launch.results()
    if rows:
        launch.summary(rows)
    if interrupted:
        sys.exit(130)
    if any(row["status"] == "failed" for row in rows):
        sys.exit(1)


@hydra.main(version_base="1.3", config_path="pkg://neuroexp.conf", config_name="config")
def job(cfg: DictConfig) -> float | None:
    """Train and test once, unless a finished run with the same key exists; a failure is reported, never raised."""
    began = time.perf_counter()
    hydra_config = HydraConfig.get()
    sweeping = hydra_config.mode == RunMode.MULTIRUN
    result: dict[str, Any] = {
        "job": hydra_config.job.num if sweeping else 0,
        "name": title(cfg),
        "status": "failed",
        "scores": {},
        "report": list(cfg.report),
        "log": str(Path(cfg.output) / "job.log"),
    }
    try:
        _quiet()
        check(cfg)
        _track(cfg, result)
    except (KeyboardInterrupt, SystemExit) as stop:  # Lightning turns Ctrl-C into SystemExit
        result["status"] = "killed"
        raise KeyboardInterrupt from stop
    except Exception as error:
        result["error"] = sentence(error)
        if "run_id" not in result:  # else it is in the log already, and with it in the run
            log.exception("the job failed before its run began")
        if sweeping:
            console.error("%s failed: %s", result["name"], result["error"])
    finally:
        result["seconds"] = time.perf_counter() - began
        launch.write(cfg.output, result)
    if result["status"] != "failed" and sweeping:
        scores = [f"{launch.heading(name)} {result['scores'].get(name, float('nan')):.3f}" for name in cfg.report]
        console.info("%s %s: %s", result["name"], result["status"], ", ".join(scores))
    return result["scores"].get(cfg.report[0])


def _track(cfg: DictConfig, result: dict[str, Any]) -> None:
    """Skip what is finished, else train inside an MLflow run; fill `result` on the way."""
    from neuroexp.tracking import Store  # noqa: PLC0415 - a second to import, and --help must not wait for it

    choices = HydraConfig.get().runtime.choices
    shown = {
        name: choices[name] for name in ("dataset", "recording", "model", "split", "label", "trainer", "optimizer")
    }
    shown |= {name: cfg[name] for name in ("window", "step", "fold", "seed") if cfg[name] is not None}
    if "label" not in cfg.dataset:
        del shown["label"]
    shown = typed() | shown
    columns = [name for name in dict.fromkeys((*VIEW, *typed())) if name in shown]
    store = Store(cfg.tracking.uri, cfg.tracking.artifacts, cfg.experiment)
    result |= {"uri": cfg.tracking.uri, "link": store.link(launch.name())}
    key = provenance.configuration_key(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
    if done := store.finished(key, launch.name()):
        result |= {"status": "skipped", **done}
        store.save_view(launch.name(), columns, cfg.report)
        return
    run = store.start(result["name"], key, launch.name(), shown, provenance.revision())
    result["run_id"] = run.run_id
    try:
        run.text(OmegaConf.to_yaml(cfg, resolve=True), "config.yaml")
        result["scores"] = train(cfg, run)
        run.file(result["log"])
        run.end("FINISHED")
        result["status"] = "finished"
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        log.exception("interrupted" if killed else "the job failed")
        run.file(result["log"])
        run.tags({"error": "interrupted" if killed else sentence(error)})
        run.text("".join(traceback.format_exception(error)), "traceback.txt")
        run.end("KILLED" if killed else "FAILED")
        raise
    store.save_view(launch.name(), columns, cfg.report)  # MLflow keeps few: none for a launch without scores


def train(cfg: DictConfig, run: Run) -> dict[str, float]:
    """Train, test the epoch with the lowest validation loss, log everything to `run`, return the scores."""
    import torch  # noqa: PLC0415 - as above
    from pytorch_lightning import seed_everything  # noqa: PLC0415

    from neuroexp import cost, memory  # noqa: PLC0415
    from neuroexp.callbacks import EpochBar, Epochs  # noqa: PLC0415

    began = time.perf_counter()
    seed_everything(cfg.seed, verbose=False)
    fold = instantiate(cfg.dataset)
    run.dataset(fold.source.name, fold.source.sha256, fold.facts)
    model = instantiate(cfg.model, **fold.shape)
    task = instantiate(cfg.task, _partial_=True)(model=model)
    task.train_rate = fold.labels[fold.split.train].mean(dim=0)

    log.info("%s: %s, %s", fold.source.name, fold.shape, fold.facts)
    log.info("%s", model)

    epochs = Epochs(run.metrics)
    build = instantiate(cfg.trainer, _partial_=True)
    callbacks = [callback for callback in build.keywords["callbacks"].values() if callback is not None]
    trainer = build(callbacks=[*callbacks, epochs, EpochBar(title(cfg))])
    ready = time.perf_counter()
    with memory.kept():
        trainer.fit(task, datamodule=fold)
    fitted = time.perf_counter()
    if not epochs.history:
        raise ValueError(f"trainer.max_epochs={cfg.trainer.max_epochs} trains nothing")
    best = Path(trainer.checkpoint_callback.best_model_path)
    if not best.is_file():
        raise ValueError("the validation loss was never a number: lower optimizer.lr")
    [tested] = trainer.test(task, datamodule=fold, ckpt_path=str(best), verbose=False)
    best.unlink()  # its weights go to the run as a plain state_dict
    done = time.perf_counter()

    window = fold.gather(fold.starts[fold.split.test[:1]])
    scores = tested | {f"data/{name}": float(value) for name, value in fold.facts.items()}
    scores |= {
        "time/fit_s": fitted - ready,
        "time/test_s": done - fitted,
        "time/s_per_epoch": (fitted - ready) / len(epochs.history),
        "time/epochs": len(epochs.history),
        "cost/parameters": cost.parameters(model),
        "cost/macs": cost.macs(model.to(window.device), window),
        "cost/ms_per_window": cost.ms_per_window(model, window),
    }
    with contextlib.suppress(ValueError):  # a convention for some networks
        scores["cost/flops"] = cost.flops(model, window)
    with run.folder() as folder:
        torch.save(model.state_dict(), folder / "model.pt")
        (folder / "environment.json").write_text(json.dumps(provenance.environment(), indent=1))
        for name, rows in task.tables(fold).items():
            with (folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)
        (folder / "plots").mkdir()
        for name, figure in task.figures(fold, epochs.history).items():
            figure.savefig(folder / "plots" / f"{name}.png")
    log.info("%s", scores)
    run.metrics(scores | {"time/outside_s": ready - began + time.perf_counter() - done})
    return scores


def title(cfg: DictConfig) -> str:
    """Return the run's name: recording unless it is the dataset's own, network, window, step, fold, and what else was typed."""
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    words = [choices["model"], f"W{cfg.window}", f"S{cfg.step}", f"fold{cfg.fold}"]
    if cfg.step is None:
        words.remove("SNone")
    if choices["recording"] != f"{choices['dataset']}_simulated":
        words.insert(0, choices["recording"])
    for key, value in typed().items():
        words.append(f"{key.split('.')[-1]}={Path(value).stem if key.endswith('.path') else value}")
    return " ".join(words)


def typed() -> dict[str, str]:
    """Return what was typed for this job, or is swept by its experiment, beyond the choices that every run names."""
    overrides = (override.lstrip("+~").partition("=") for override in HydraConfig.get().overrides.task)
    return {
        key: value
        for key, _, value in overrides
        if key not in UNNAMED and key.split(".")[0] not in {"trainer", "tracking"}
    }


def check(cfg: DictConfig) -> None:
    """Raise ValueError when one of the numbers that are typed most is no whole number."""
    for name, least in (("window", 1), ("step", 1), ("fold", 0), ("seed", 0)):
        value = cfg[name]
        if name == "step" and value is None:  # windows follow events; a dataset that needs steps says so
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value} is no whole number of at least {least}")
    _check_types(OmegaConf.to_container(cfg, resolve=True), "")


def _check_types(node: Any, where: str) -> None:
    """Check every value that is passed to a `_target_`, wherever it stands."""
    if isinstance(node, dict):
        if "_target_" in node:
            typecheck.check(get_object(node["_target_"]), node, where)
        for name, value in node.items():
            _check_types(value, f"{where}.{name}" if where else name)


def sentence(error: BaseException) -> str:
    """Return what went wrong in one line: the message of an error that was foreseen, else with the error's type."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    message = " ".join(str(error).split()) or type(error).__name__
    foreseen = isinstance(error, ValueError | FileNotFoundError)
    return message if foreseen else f"{type(error).__name__}: {message}"


def _quiet() -> None:
    """Silence what Lightning and MLflow say about every job; the job's log keeps their warnings."""
    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "lightning_fabric.utilities.seed",
        "pytorch_lightning.accelerators.cuda",
        "mlflow",
        "alembic",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*logging interval.*",
        ".*GPU available but not used.*",
    ):
        warnings.filterwarnings("ignore", message)


if __name__ == "__main__":
    main()
