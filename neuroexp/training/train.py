"""One training: data, network and task from a configuration; the epoch with the lowest validation loss is tested and kept."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from neuroexp.cost import budget, counting
from neuroexp.evaluation import convergence
from neuroexp.machine import memory
from neuroexp.settings import callables, keys
from neuroexp.store import provenance, runfiles
from neuroexp.training import assemble, checkpoints
from neuroexp.training.callbacks import EpochBar, Epochs, Progress, Resume

if TYPE_CHECKING:
    from neuroexp.data.fold import Fold
    from neuroexp.store.job import Job
    from neuroexp.store.ledger import Cell
    from neuroexp.store.open_run import Run

log = logging.getLogger(__name__)


def train(job: Job, run: Run, cell: Cell) -> dict[str, float]:
    """Train or continue from the cell's last checkpoint, test, log everything to `run`, return the scores.

    The checkpoints stay in the cell's folder. Raises ValueError for what its configuration or data make impossible.
    """
    cfg = job.config
    began = time.perf_counter()
    memory.reset_peak()
    seed_everything(cfg["seed"], verbose=False)
    fold = assemble.data(cfg, job.trusted)
    run.dataset(fold.source.name, fold.source.sha256, fold.facts)
    run.notes(getattr(fold.source, "notes", ()))  # which a recording of one's own need not have
    run.tags({"neuroexp.split": keys.digest_of(fold.split.train, fold.split.validation, fold.split.test)})
    model, task = assemble.network(cfg, job.trusted, fold)
    log.info("%s: %s, %s", fold.source.name, fold.shape, fold.facts)
    log.info("%s", model)

    epochs, resume = Epochs(run.metrics), Resume(cell.last, cfg["checkpoint_s"])
    ready = time.perf_counter()
    trainer = _trainer(job, cell, [epochs, Progress(job.folder), EpochBar(job.name, job.bar), resume])
    last = _checkpoint(cell, task, trainer)
    with memory.kept():
        trainer.fit(task, datamodule=fold, ckpt_path=last, weights_only=True if last else None)
    if not epochs.history:
        raise ValueError(f"trainer.max_epochs={cfg['trainer']['max_epochs']} trains nothing")
    best = _best(trainer, epochs.history)
    fitted = time.perf_counter()
    [tested] = trainer.test(task, datamodule=fold, ckpt_path=str(best), verbose=False, weights_only=True)
    done = time.perf_counter()

    window = fold.gather(fold.starts[fold.split.test[:1]])
    scores = dict(tested) | _selected(trainer, epochs.history)
    scores[convergence.CONVERGED] = convergence.converged(epochs.history, _ran_out_of_patience(trainer))
    for stage, known in (("data", fold.facts), ("control", fold.control)):
        scores |= {f"{stage}/{name}": float(value) for name, value in known.items()}
    scores |= {
        "time/fit_s": resume.seconds,
        "time/test_s": done - fitted,
        "time/s_per_epoch": resume.seconds / len(epochs.history),
        "time/epochs": len(epochs.history),
        "cost/peak_memory_mb": memory.peak_mb(),
    }
    scores |= counting.costs(model.to(window.device), window)
    allowed = budget.read(job.config.get("budget"))
    scores |= budget.estimates(scores, fold.decisions_hz, allowed.device)
    scores |= budget.metrics(scores, allowed)
    _keep(run, task, fold, epochs.history)
    log.info("%s", scores)
    run.metrics(scores | {"time/outside_s": ready - began + time.perf_counter() - done})
    return scores


def _keep(run: Run, task: Any, fold: Fold, history: list[dict[str, float]]) -> None:
    """Put into the run what is looked at, or loaded, later: weights, machine, tables, pictures."""
    torch.save(task.model.state_dict(), run.folder / runfiles.WEIGHTS)
    run.tags({runfiles.CHECKSUM: runfiles.sha256(run.folder / runfiles.WEIGHTS)})
    run.text(json.dumps(provenance.environment(), indent=1), "environment.json")
    if (changes := provenance.changes()) and provenance.revision():
        run.text(changes, "changes.patch")
    for name, rows in task.tables(fold).items():
        with (run.folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    from neuroexp.tasks import plots  # noqa: PLC0415 - matplotlib is needed once, at the end of a run

    (run.folder / "plots").mkdir(exist_ok=True)
    for name, figure in task.figures(fold, history).items():
        plots.write(figure, run.folder / "plots" / f"{name}.png")


def _ran_out_of_patience(trainer: Trainer) -> bool:
    """Return whether early stopping ended the training for want of progress; it also ends one whose loss is no number."""
    return any(stop.stopped_epoch > 0 and stop.wait_count >= stop.patience for stop in trainer.early_stopping_callbacks)


def _selected(trainer: Trainer, history: list[dict[str, float]]) -> dict[str, float]:
    """Return the validation scores of the epoch that was tested."""
    best: Any = trainer.checkpoint_callback
    values = [row.get(best.monitor, math.nan) for row in history]
    chosen = history[int((np.nanargmin if best.mode == "min" else np.nanargmax)(values))]
    scores = {name.removeprefix("val/"): value for name, value in chosen.items() if name.startswith("val/")}
    return {f"selected/{name}": value for name, value in (scores | {"epoch": chosen["epoch"] + 1}).items()}


def _trainer(job: Job, cell: Cell, ours: list[Any]) -> Trainer:
    settings = job.config["trainer"]
    if settings.get("fast_dev_run"):
        raise ValueError("trainer.fast_dev_run keeps no epoch that could be tested: trainer=smoke is the quick try")
    build = callables.build(settings | {"_partial_": True}, job.trusted)
    callbacks = [callback for callback in build.keywords["callbacks"].values() if callback is not None]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str(cell.folder)
    # under Slurm Lightning would take the scheduler's signals, which are the launcher's
    words: dict[str, Any] = {
        "callbacks": [*callbacks, *ours],
        "plugins": [LightningEnvironment(), checkpoints.Checked()],
    }
    devices = torch.cuda.device_count()
    if job.parallel and devices > 1 and settings["accelerator"] in assemble.GPUS:
        words["devices"] = [job.number % devices]  # one each, in turn
    trainer: Trainer = build(**words)
    return trainer


def _checkpoint(cell: Cell, task: LightningModule, trainer: Trainer) -> str | None:
    """Return the checkpoint to continue from; on any doubt about one there is none, and training begins anew."""
    if cell.last.exists() or cell.last.is_symlink():
        why = checkpoints.doubt(cell.last, task, trainer.checkpoint_callback)
        if why is None:
            log.info("continues from %s", cell.last)
            return str(cell.last)
        log.warning("%s, training begins anew", why)
    cell.clear()
    return None


def _best(trainer: Trainer, history: list[dict[str, float]]) -> Path:
    """Return the weights of the best epoch.

    Raises ValueError when there is no best one, RuntimeError when its weights are not what was written.
    """
    callback = trainer.checkpoint_callback
    if not isinstance(callback, ModelCheckpoint) or callback.monitor is None:
        raise ValueError("trainer.callbacks.best is needed: the epoch that it chooses is tested")
    if not any(callback.monitor in row for row in history):
        raise ValueError(
            f"{callback.monitor} was never measured: no epoch was validated with these settings of trainer"
        )
    if not any(math.isfinite(row.get(callback.monitor, math.nan)) for row in history):
        raise ValueError(f"{callback.monitor} was never a number: lower optimizer.lr")
    best = Path(callback.best_model_path)
    if not checkpoints.whole(best):
        raise RuntimeError(f"{best} was changed or removed before it could be tested: type the same command again")
    return best
