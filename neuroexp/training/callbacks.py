"""Lightning callbacks of a run: the curve of every epoch, how far it is, and the checkpoint that it can continue from."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from tqdm import tqdm

from neuroexp.machine import files
from neuroexp.training import checkpoints

log = logging.getLogger(__name__)


class Epochs(Callback):
    """Hand the scores of every epoch to `sink(values, epoch)` and keep them in `history`."""

    def __init__(self, sink: Callable[[Mapping[str, float], int], None]):
        """`sink` is called once per epoch."""
        self.sink = sink
        self.history: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the curve, for a checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the curve so far from a checkpoint, and hand it on."""
        self.history = list(state_dict["history"])
        for values in self.history:
            self.sink({name: value for name, value in values.items() if name != "epoch"}, int(values["epoch"]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect what validation has just reported; Lightning validates inside the training epoch."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append({"epoch": trainer.current_epoch, **values})
        self.sink(values, trainer.current_epoch)
        log.info(
            "epoch %d: %s", trainer.current_epoch, ", ".join(f"{name} {value:.5f}" for name, value in values.items())
        )


class Progress(Callback):
    """Leave in a file how far a training is, for whoever watches its launch."""

    FILE = "progress.json"

    def __init__(self, folder: Path):
        """Write into `folder`."""
        self.path = folder / self.FILE
        self.written = 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write at most once a second."""
        if time.monotonic() - self.written > 1:
            self.written = time.monotonic()
            files.write(self.path, {"epoch": trainer.current_epoch + 1, "epochs": trainer.max_epochs})


class Resume(Checkpoint):
    """Keep a checkpoint from which a killed training continues as if nothing had happened.

    Lightning's holds weights, optimizer, loops and callbacks; the state of the random numbers comes from here.
    """

    def __init__(self, path: Path, every_s: float):
        """Write to `path` at the end of an epoch, when the last time is `every_s` seconds ago."""
        self.path, self.every_s = path, every_s
        self.earlier_s = 0.0  # trained before this process began
        self.began = self.written = time.perf_counter()
        self.random: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Time spent in training, in all processes that had a part in it."""
        return self.earlier_s + self.ended - self.began

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.began = self.written = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.ended = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random numbers, and the time spent."""
        state = {"cpu": torch.get_rng_state(), "seconds": self.earlier_s + time.perf_counter() - self.began}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state when the first epoch begins: building the trainer has drawn random numbers since."""
        self.random, self.earlier_s = state_dict, state_dict["seconds"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have the best weights looked for where this training keeps them, wherever the checkpoint says that they are."""
        checkpoints.rehome(checkpoint, trainer.checkpoint_callbacks)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of the random numbers."""
        if self.random is not None:
            torch.set_rng_state(self.random["cpu"])
            if "cuda" in self.random and len(self.random["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self.random["cuda"])
            self.random = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint."""
        if time.perf_counter() - self.written >= self.every_s:
            trainer.save_checkpoint(self.path)
            self.written = time.perf_counter()


class EpochBar(Callback):
    """One line that counts epochs and shows the validation scores, on a terminal only."""

    def __init__(self, description: str, shown: bool = True):
        """`description` stands before the bar."""
        self.description, self.shown = description, shown and sys.stderr.isatty()
        self.bar: tqdm | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        room = shutil.get_terminal_size().columns // 3  # the rest is for what changes
        cut = f"{self.description[: room - 1]}…" if len(self.description) > room else self.description
        self.bar = tqdm(
            total=trainer.max_epochs,
            desc=cut,
            bar_format="{desc} {n_fmt}/{total_fmt} |{bar:10}| {remaining} left{postfix}",
            leave=False,
            disable=not self.shown,
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advance by one epoch."""
        if self.bar is not None:
            scores = {
                name.removeprefix("val/"): f"{float(value):.3f}"
                for name, value in trainer.callback_metrics.items()
                if name.startswith("val/")
            }
            self.bar.set_postfix(scores, refresh=False)
            self.bar.update()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
