"""What Lightning and tracking add to a bare PyTorch loop, and what a job costs outside training and testing."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import median

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.nn.functional import binary_cross_entropy_with_logits

from neuroexp.data import segments, splits
from neuroexp.data.fold import Fold
from neuroexp.datasets.hdsemg import hdsemg
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.recordings import hdsemg_simulated
from neuroexp.store.open_run import Run, new_record
from neuroexp.store.tracking import Store
from neuroexp.tasks.decomposition import Decomposition
from neuroexp.training.callbacks import Epochs

EPOCHS, WINDOW = 10, 60


def fresh() -> tuple[Fold, MLDCNN]:
    """Return the default fold and an untrained network, the same every time."""
    torch.manual_seed(0)
    blocked = partial(splits.blocked, seed=0, block_s=1.0, shortest_block_s=0.4)
    recording = hdsemg_simulated.read()
    fold = hdsemg(recording, WINDOW, 10, 0, 0, segments.label_step, blocked, 2048, None, True, False, 20, 64)
    return fold, MLDCNN(**fold.shape)


def bare() -> float:
    """Return the seconds of a plain loop: train, validate, keep the best weights."""
    fold, model = fresh()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-6)
    best = float("inf")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(EPOCHS):
            model.train()
            for x, y in fold.train_dataloader():
                loss = binary_cross_entropy_with_logits(model(x), y)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            model.eval()
            with torch.no_grad():
                losses = [
                    float(binary_cross_entropy_with_logits(model(x), y, reduction="sum"))
                    for x, y in fold.val_dataloader()
                ]
            if sum(losses) < best:
                best = sum(losses)
                torch.save(model.state_dict(), Path(folder) / "best.pt")
        return time.perf_counter() - began


def tracked(store: Store) -> float:
    """Return the seconds of the same training under Lightning, every epoch logged to MLflow."""
    fold, model = fresh()
    task = Decomposition(model, partial(torch.optim.Adam, lr=1e-4, weight_decay=1e-6), 0.5)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(store, new_record("key", "benchmark", "benchmark", {}, {}), Path(folder))
        trainer = Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            deterministic=True,
            default_root_dir=folder,
            callbacks=[
                ModelCheckpoint(folder, "best", monitor="val/loss", save_weights_only=True),
                Epochs(run.metrics),
            ],
        )
        began = time.perf_counter()
        trainer.fit(task, datamodule=fold)
        run.flush()
        seconds = time.perf_counter() - began
        run.end("FINISHED")  # else it would go on to show the store that it is alive
        return seconds


def outside_s() -> list[float]:
    """Return the seconds outside `fit` and `test` of each job but the first of a sweep in one process."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "neuroexp", "-m", "seed=range(6)", "trainer=smoke"]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, capture_output=True)
        results = [json.loads(path.read_text()) for path in Path(folder).glob("outputs/*/*/result.json")]
    results.sort(key=lambda result: result["job"])
    return [
        result["seconds"] - result["scores"]["time/fit_s"] - result["scores"]["time/test_s"] for result in results[1:]
    ]


def main() -> None:
    """Print the ratios."""
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.ERROR)
    pairs = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        store = Store(f"sqlite:///{folder}/mlflow.db", folder, "benchmark")
        bare(), tracked(store)
        for turn in range(5):
            order = (bare, lambda: tracked(store))
            times = [part() for part in (order if turn % 2 == 0 else order[::-1])]
            pairs.append(times if turn % 2 == 0 else times[::-1])
    ratios = [with_all / alone for alone, with_all in pairs]
    print(f"Overhead: ML-DCNN W=60, {EPOCHS} epochs, 5 pairs in alternating order")
    print(
        f"    bare loop {median(p[0] for p in pairs):.2f} s, Lightning and MLflow {median(p[1] for p in pairs):.2f} s"
    )
    print(f"    ratio {median(ratios):.3f} (median), {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"    a job outside fit and test: {median(outside_s()):.2f} s (median of 5 jobs of a sweep)")


if __name__ == "__main__":
    main()
