"""What a training would take, measured over a few seconds of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, Trainer, seed_everything

from neuroexp.cost import counting
from neuroexp.machine import memory
from neuroexp.settings import callables

if TYPE_CHECKING:
    from neuroexp.store.job import Job
from neuroexp.training import assemble


class _Clock(Callback):
    """Ends a training after a few seconds, and says what a step took."""

    def __init__(self, seconds: float):
        self.seconds, self.steps = seconds, 0
        self.began = self.ended = 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.ended = time.perf_counter()
        if self.steps == 0:
            self.began = self.ended  # the first step is no measure of the others
        self.steps += 1
        trainer.should_stop = self.ended - self.began > self.seconds

    @property
    def step_s(self) -> float:
        return (self.ended - self.began) / max(1, self.steps - 1)


def calibrate(job: Job, seconds: float = 3.0) -> dict[str, float]:
    """Return what a job would take if it trained all its epochs: setup_s, training_s, memory_mb, weights_mb.

    Measured over a few `seconds` of training steps and one validation; nothing is kept.
    """
    cfg = job.config
    memory.reset_peak()
    began = time.perf_counter()
    seed_everything(cfg["seed"], verbose=False)
    fold = assemble.data(cfg, job.trusted)
    model, task = assemble.network(cfg, job.trusted, fold)
    setup_s = time.perf_counter() - began
    clock = _Clock(seconds)
    words: dict[str, Any] = {"max_epochs": 1, "callbacks": [clock], "limit_val_batches": 0}
    words |= {"enable_checkpointing": False, "plugins": [LightningEnvironment()]}
    trainer: Trainer = callables.build(cfg["trainer"] | {"_partial_": True}, job.trusted)(**words)
    with memory.kept():
        trainer.fit(task, datamodule=fold)
        began = time.perf_counter()
        trainer.validate(task, datamodule=fold, verbose=False)
        validation_s = time.perf_counter() - began
    epoch_s = clock.step_s * len(fold.train_dataloader()) + validation_s
    return {
        "setup_s": setup_s,
        "training_s": epoch_s * cfg["trainer"]["max_epochs"] + validation_s,
        "memory_mb": memory.peak_mb(),
        "weights_mb": counting.parameters(model) * 4e-6,
    }
