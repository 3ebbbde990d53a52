"""Training ML-DRSNet, the largest network of the papers: precisions, ways to run a step, two sizes of batch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import device_card, device_machine
from benchmarks.device_here import Here, Variant
from benchmarks.device_steps import (
    BOTH,
    COMPILED,
    EAGER,
    GRAPH,
    Training,
    batches,
    check,
    seconds_of,
    settings,
    synchronise,
    tensors,
)
from neuroexp.data.fold import EVALUATION_BATCH, Batches
from neuroexp.models.mldrsnet import MLDRSNet

NAME = "mldrsnet"
TITLE = "Training ML-DRSNet, W=20; an epoch is its training alone, what validation and test add has rows of its own"
COLUMNS = {
    "batch": "batch",
    "precision": "precision",
    "how": "how",
    "ms_per_step": "ms/step",
    "s_per_epoch": "s/epoch",
    "windows_per_s": "windows/s",
    "tflops": "TFLOP/s",
    "percent_of_bf16_here": "% of bf16 here",
    "percent_of_bf16_sheet": "% of sheet",
    "loss": "loss after",
    "steps": "steps",
    "against_eager_fp32": "minus eager fp32's",
    "peak_mb": "peak MB",
    "ready_s": "s until ready",
}
WINDOW = 20
PRODUCT = "eager, deterministic"  # as a run of neuroexp trains
VALIDATION = "validation and test"  # of an epoch: the paper counts them into it


def variants(here: Here) -> Iterator[Variant]:
    """Yield the variants in order of worth: plain ones of both batches first, then those that take a minute to compile."""
    small, large = (4, 8) if here.small else (64, 512)
    every, turned = ("fp32", "tf32", "bf16"), ("bf16", "tf32", "fp32")
    yield from _of(here, small, itertools.product(every, (EAGER, GRAPH)))
    yield from _of(here, small, [("default", PRODUCT)])
    yield from _of(here, large, itertools.product(every, (EAGER, GRAPH)))
    yield from _of(here, EVALUATION_BATCH if not here.small else 16, [(name, VALIDATION) for name in turned])
    yield from _of(here, small, [("bf16", COMPILED), ("bf16", BOTH)])
    yield from _of(here, small, itertools.product(("tf32", "fp32"), (COMPILED, BOTH)))
    yield from _of(here, large, itertools.product(turned, (COMPILED, BOTH)))


def names(batch: int, precision: str, how: str) -> dict[str, Any]:
    """Return what tells a variant apart."""
    return {"batch": batch, "precision": precision, "how": how}


def _of(here: Here, batch: int, ways: Any) -> Iterator[Variant]:
    for precision, how in ways:
        run = _evaluate if how == VALIDATION else _train
        needs_s, most_s = (45, 30 if here.small else 90) if how in (COMPILED, BOTH) else (4, 60)
        yield Variant(names(batch, precision, how), partial(run, here, batch, precision, how), needs_s, most_s)


def _train(here: Here, batch: int, precision: str, how: str) -> dict[str, Any]:
    """Train from the same weights over the same batches, compare the loss, then measure the steps."""
    fold, steps = here.fold(WINDOW), 2 if here.small else 60
    check(how, here.device)
    here.peak_mb()
    order = batches(fold, batch)
    with settings(precision, here.device, deterministic=how == PRODUCT):
        torch.manual_seed(0)
        network = MLDRSNet(**fold.shape).to(here.device)
        way = EAGER if how == PRODUCT else how
        began = time.perf_counter()
        training = Training(network, tensors(network), fold.gather, next(order), way)
        synchronise(here.device)
        ready_s = time.perf_counter() - began
        loss = float(training.losses(order, steps)[-10:].mean())
        step_s = seconds_of(lambda: training.step(*next(order)), here.device, here.about_s, 1 if here.small else 5)
    tflops = 3 * 2 * macs(network, fold.gather(fold.starts[:1])) * batch / step_s / 1e12
    return {
        "ms_per_step": 1000 * step_s,
        "s_per_epoch": step_s * len(Batches(fold, fold.split.train, batch)),
        "windows_per_s": batch / step_s,
        "tflops": tflops,
        **_shares(here, tflops),
        "loss": loss,
        "steps": steps,
        "against_eager_fp32": _against(here, batch, precision, how, loss),
        "peak_mb": here.peak_mb(),
        "ready_s": ready_s,
    }


def _shares(here: Here, tflops: float) -> dict[str, float | None]:
    reached, sheet = device_card.bf16_tflops(here), None
    if not here.small:
        sheet = device_machine.sheet_tflops(torch.cuda.get_device_name())
    return {
        "percent_of_bf16_here": 100 * tflops / reached if reached else None,
        "percent_of_bf16_sheet": 100 * tflops / sheet if sheet else None,
    }


def _against(here: Here, batch: int, precision: str, how: str, loss: float) -> float | None:
    """Return the loss less that of eager fp32; None where that has none."""
    if (precision, how) == ("fp32", EAGER):
        return 0.0
    plain = here.record.figures(NAME, names(batch, "fp32", EAGER))
    return loss - float(plain["loss"]) if plain else None


def macs(network: MLDRSNet, window: torch.Tensor) -> int:
    """Return the multiply-accumulates of one window through the network, whose mode stays as it is."""
    training = network.training
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(window)
    network.train(training)
    return int(counter.get_total_flops()) // 2


def _evaluate(here: Here, batch: int, precision: str, how: str) -> dict[str, Any]:
    fold = here.fold(WINDOW)
    windows = fold.gather(fold.starts[fold.split.test[:batch]])
    with settings(precision, here.device), torch.no_grad():
        network = MLDRSNet(**fold.shape).to(here.device).eval()
        seconds = seconds_of(lambda: network(windows), here.device, here.about_s / 2, 1 if here.small else 5)
    parts = fold.split.validation, fold.split.test
    calls = sum(len(Batches(fold, part, batch)) for part in parts)
    return {"s_per_epoch": seconds * calls, "windows_per_s": batch / seconds}
