"""One training through the loop of a run of neuroexp; as a process, one of several on the same device.

As a process it reads what to train from its input, a line of JSON each, says `ready` after the first epoch, waits for a
line, and prints what it measured.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from benchmarks.device_here import simulated
from neuroexp.machine import memory
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.models.mtdcnn import MTDCNN
from neuroexp.tasks.decomposition import Decomposition
from neuroexp.training.callbacks import EpochBar, Epochs, Progress, Resume

CONF = Path(__file__).parent.parent / "conf"
NETWORKS: dict[str, type[nn.Module]] = {"ML-DCNN": MLDCNN, "MT-DCNN": MTDCNN}


class Pace(Callback):
    """Notes when epochs end, after the first one and a wait, and ends the training after some seconds of them."""

    def __init__(self, seconds: float, wait: Callable[[], None]):
        """`wait` returns when the clock may begin."""
        self.seconds, self.wait = seconds, wait
        self.first_s = self.began = self.ended = 0.0
        self.epochs = -1

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note when the first epoch begins."""
        if self.epochs < 0:
            self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Count an epoch, its validation included."""
        self.epochs += 1
        if self.epochs == 0:
            self.first_s = time.perf_counter() - self.began
            self.wait()
            self.began = time.perf_counter()
        self.ended = time.perf_counter()
        trainer.should_stop = self.epochs > 0 and self.ended - self.began >= self.seconds


def configured(name: str) -> dict[str, Any]:
    """Return a file of the configuration, as it lies there: nothing in it is resolved."""
    words: dict[str, Any] = yaml.safe_load((CONF / name).read_text())
    return words


def fit(network: str, window: int, seconds: float, small: bool, wait: Callable[[], None] = lambda: None) -> Any:
    """Train as a run does, for some seconds of epochs; return epochs, seconds of an epoch, and the seconds around them."""
    words = configured("config.yaml")["trainer"] | configured("trainer/paper.yaml")
    best = words.pop("callbacks")["best"]
    lr = {name: value for name, value in configured("optimizer/adam.yaml").items() if not name.startswith("_")}
    seed_everything(0, verbose=False)
    fold = simulated(small, window)
    task = Decomposition(NETWORKS[network](**fold.shape), partial(torch.optim.Adam, **lr), 0.5)
    task.train_rate = fold.labels[fold.split.train].mean(dim=0)
    pace = Pace(seconds, wait)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words["default_root_dir"] = name
        keep = ModelCheckpoint(name, **{key: value for key, value in best.items() if key != "_target_"})
        ours = [Epochs(lambda *_: None), Progress(folder), EpochBar(network, shown=False), Resume(folder / "last", 30)]
        began = time.perf_counter()
        plain = {key: value for key, value in words.items() if not key.startswith("_")}
        trainer = Trainer(**plain, callbacks=[keep, *ours, pace], plugins=[LightningEnvironment()])
        with memory.kept():
            trainer.fit(task, datamodule=fold)
        total_s = time.perf_counter() - began
    counted_s = pace.ended - pace.began
    epoch_s = counted_s / pace.epochs
    around_s = total_s - counted_s - min(pace.first_s, epoch_s)  # what the first epoch took longer counts here
    return {"epochs": pace.epochs, "s_per_epoch": epoch_s, "around_s": around_s}


def quiet() -> None:
    """Silence what PyTorch and Lightning say about each other and about every training."""
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _wait() -> None:
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody listens any more")


def main() -> None:
    """Train what each line of the input asks for, until it ends."""
    quiet()
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked.pop("threads"))
        try:
            print(json.dumps(fit(**asked, wait=_wait)), flush=True)
        except Exception as error:  # of a full card, say: whoever asked is told
            print(json.dumps({"failed": f"{type(error).__name__}: {error}".partition("\n")[0]}), flush=True)


if __name__ == "__main__":
    main()
