"""Training the small networks: alone, as a CUDA graph, folds and seeds side by side, several processes on one device."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.device_alone import NETWORKS, fit
from benchmarks.device_here import Here, Variant
from benchmarks.device_steps import (
    EAGER,
    GRAPH,
    Batches,
    Training,
    batches,
    check,
    seconds_of,
    settings,
    synchronise,
    tensors,
)
from benchmarks.device_together import Processes, Side, Stacked
from neuroexp.data.fold import EVALUATION_BATCH, Fold
from neuroexp.data.fold import Batches as Part
from neuroexp.deploy.engines import cores

NAME = "trainings"
TITLE = (
    "Training ML-DCNN and MT-DCNN, batch 64; an epoch is training and validation, and trainings of 100 epochs a minute "
    "are reckoned from the few epochs or steps that were measured"
)
COLUMNS = {
    "network": "network",
    "window": "window",
    "how": "how",
    "together": "together",
    "ms_per_step": "ms/step",
    "s_per_epoch": "s/epoch",
    "trainings_per_min": "trainings/min",
    "loss": "loss after",
    "steps": "steps",
    "against_alone": "minus one alone's",
    "around_s": "s around epochs",
    "ready_s": "s until ready",
    "peak_mb": "peak MB",
}
LOOP, PROCESSES = "the loop of a run", "loops of a run, processes"
BATCH, FOLDS, EPOCHS = 64, 5, 100
_started: list[Processes] = []  # they serve every variant: each takes seconds to start


def variants(here: Here) -> Iterator[Variant]:
    """Yield the variants in order of worth."""
    cases = list(itertools.product(NETWORKS, here.windows))
    for network, window in cases:
        yield _variant(here, network, window, LOOP, 1, _loop)
    for network, window in cases:
        for how in (EAGER, GRAPH):
            yield _variant(here, network, window, how, 1, partial(_steps, how=how))
    yield from _stacked(here, cases, GRAPH)
    counts = (2,) if here.small else (4, 8)
    try:
        for (network, window), count in itertools.product(cases[:1] if here.small else cases, counts):
            yield _variant(here, network, window, PROCESSES, count, partial(_side_by_side, most=max(counts)))
    finally:
        while _started:
            _started.pop().close()
    yield from _stacked(here, cases, EAGER)


def _stacked(here: Here, cases: Iterable[tuple[str, int]], how: str) -> Iterator[Variant]:
    for count, (network, window) in itertools.product((2,) if here.small else (5, 25), cases):
        yield _variant(here, network, window, how, count, partial(_steps, how=how))


def _variant(
    here: Here, network: str, window: int, how: str, together: int, measure: Callable[..., dict[str, Any]]
) -> Variant:
    names = {"network": network, "window": window, "how": how, "together": together}
    needs_s, most_s = (25.0 if not _started else 8.0, 100.0) if how == PROCESSES else (4.0, 60.0)
    return Variant(names, partial(measure, here, network, window, together), needs_s, most_s)


def _per_minute(together: int, epoch_s: float) -> float:
    return together * 60 / (EPOCHS * epoch_s)


def _loop(here: Here, network: str, window: int, together: int) -> dict[str, Any]:
    here.peak_mb()
    found = fit(network, window, here.about_s, here.small)
    epoch_s, around_s = found["s_per_epoch"], found["around_s"]
    rate = _per_minute(together, epoch_s)
    return {"s_per_epoch": epoch_s, "trainings_per_min": rate, "around_s": around_s, "peak_mb": here.peak_mb()}


def _side_by_side(here: Here, network: str, window: int, together: int, most: int) -> dict[str, Any]:
    if not _started:
        _started.append(Processes(most, max(1, cores() // most)))
    try:
        found = _started[0].train(together, network=network, window=window, seconds=here.about_s, small=here.small)
    except ValueError:
        _started.pop().close()  # what is left of them may be out of step
        raise
    rates = [_per_minute(1, measured["s_per_epoch"]) for measured in found]
    epoch_s = sum(measured["s_per_epoch"] for measured in found) / together
    return {"s_per_epoch": epoch_s, "trainings_per_min": sum(rates)}


def _steps(here: Here, network: str, window: int, together: int, how: str) -> dict[str, Any]:
    """Measure steps of one network, or of several stacked ones that are folds and seeds of the same."""
    check(how, here.device)
    folds = [here.fold(window, number) for number in range(min(together, FOLDS))]
    steps = 2 if here.small else 100
    here.peak_mb()
    one, parameters, gather, order, mode = _networks(network, folds, together)
    began = time.perf_counter()
    with settings("default", here.device):
        training = Training(one, parameters, gather, next(order), how)
        synchronise(here.device)
        ready_s = time.perf_counter() - began
        loss = float(training.losses(order, steps)[-10:].mean())
        step_s = seconds_of(lambda: training.step(*next(order)), here.device, here.about_s / 2, 1 if here.small else 10)
        mode(False)
        windows = _validation(folds, together)
        with torch.no_grad():
            call_s = seconds_of(lambda: one(windows), here.device, here.about_s / 4, 1 if here.small else 3)
    fold = folds[0]
    calls = len(Part(fold, fold.split.validation, EVALUATION_BATCH))
    epoch_s = step_s * len(Part(fold, fold.split.train, BATCH)) + call_s * calls
    alone = {"network": network, "window": window, "how": EAGER, "together": 1}
    plain = {"loss": loss} if (how, together) == (EAGER, 1) else here.record.figures(NAME, alone)
    return {
        "ms_per_step": 1000 * step_s,
        "s_per_epoch": epoch_s,
        "trainings_per_min": _per_minute(together, epoch_s),
        "loss": loss,
        "steps": steps,
        "against_alone": loss - float(plain["loss"]) if plain else None,
        "ready_s": ready_s,
        "peak_mb": here.peak_mb(),
    }


def _networks(
    name: str, folds: list[Fold], together: int
) -> tuple[Callable[[Tensor], Tensor], list[Tensor], Callable[[Tensor], Tensor], Batches, Callable[[bool], Any]]:
    """Return what computes logits, its tensors, what gathers windows, batches, and what switches dropout on and off."""
    device, shape = folds[0].signal.device, folds[0].shape
    networks = []
    for seed in range(together):
        torch.manual_seed(seed)
        networks.append(NETWORKS[name](**shape).to(device))
    if together == 1:
        [network] = networks
        return network, tensors(network), folds[0].gather, batches(folds[0], BATCH), network.train
    stacked, side = Stacked(networks), Side(folds, together, BATCH)
    return stacked, stacked.tensors(), side.gather, side.batches(), stacked.one.train


def _validation(folds: list[Fold], together: int) -> Tensor:
    """Return validation windows, one batch of each network's fold."""
    size = min(EVALUATION_BATCH, *(len(fold.split.validation) for fold in folds))
    parts = [fold.gather(fold.starts[fold.split.validation[:size]]) for fold in folds]
    return parts[0] if together == 1 else torch.stack([parts[number % len(folds)] for number in range(together)])
