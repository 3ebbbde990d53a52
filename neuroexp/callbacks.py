"""Lightning callbacks of a run: the curve of every epoch, and one progress bar over the epochs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping

from pytorch_lightning import Callback, LightningModule, Trainer
from tqdm import tqdm

log = logging.getLogger(__name__)


class Epochs(Callback):
    """Hand the scores of every epoch to `sink(values, epoch)` and keep them in `history`."""

    def __init__(self, sink: Callable[[Mapping[str, float], int], None]):
        """`sink` is called once per epoch."""
        self.sink = sink
        self.history: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect what validation has just reported; Lightning validates inside the training epoch."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append({"epoch": trainer.current_epoch, **values})
        self.sink(values, trainer.current_epoch)
        log.info(
            "epoch %d: %s", trainer.current_epoch, ", ".join(f"{name} {value:.5f}" for name, value in values.items())
        )


class EpochBar(Callback):
    """One line that counts epochs and shows the validation scores, on a terminal only."""

    def __init__(self, description: str):
        """`description` stands before the bar."""
        self.description = description
        self.bar: tqdm | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self.bar = tqdm(
            total=trainer.max_epochs, desc=self.description, unit="epoch", leave=False, disable=not sys.stderr.isatty()
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
