"""How much memory a network will take, told from its shapes before any of it is taken."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neuroexp.data.fold import EVALUATION_BATCH, Fold
from neuroexp.machine import memory

MAPS = 2000  # of the size of a batch of windows: what a network keeps of it is seldom as much
STATES = 4  # of every weight in training: itself, its gradient, and Adam's two moments

Build = Callable[..., nn.Module]  # from `n_channels`, `window` and `n_outputs`


@dataclass(frozen=True)
class Sizes:
    """Bytes of a network."""

    weights: int
    kept: float  # of one window, until its gradients are known
    largest: float  # map of one window


def check(fold: Fold, build: Build, on_gpu: bool) -> None:
    """Raise ValueError when a step of training, or of evaluation, needs more memory than there is, with what would fit.

    `build` makes the network from the fold's shape; it is followed without values. A network that looks at values, or that
    cannot be built, is not judged here.
    """
    have = torch.cuda.mem_get_info()[1] if on_gpu else memory.spare()
    data = fold.signal.numel() * 4
    batch = min(fold.batch_size, len(fold.split.train))
    if MAPS * batch * fold.window * fold.signal.shape[1] * 4 < have:  # nothing to fear: it is built once
        return
    found = sizes(build, fold.shape)
    if found is None:
        return
    if (needed := _needed(found, data, batch, fold)) <= have:
        return
    smaller = int((have - data - STATES * found.weights) // (found.kept + found.largest))
    fit = _widest(lambda wide: _fits(sizes(build, fold.shape | {"window": wide}), data, batch, fold, have), fold.window)
    ways = [f"window={fit}"] * bool(fit)
    if smaller >= 2 and _needed(found, data, smaller, fold) <= have:
        ways.insert(0, f"dataset.batch_size={smaller}")
    advice = f"{' or '.join(ways)} would fit" if ways else "take a smaller network"
    memory.check(needed, f"training with window={fold.window} and dataset.batch_size={fold.batch_size}", advice, have)


def check_prediction(build: Build, shape: Mapping[str, int]) -> None:
    """Raise ValueError when a network and its prediction of one window need more memory than there is."""

    def needed(found: Sizes) -> float:
        return found.weights + 2 * found.largest

    found = sizes(build, shape)
    if found is None or needed(found) <= memory.spare():
        return

    def fits(window: int) -> bool:
        narrower = sizes(build, dict(shape) | {"window": window})
        return narrower is not None and needed(narrower) <= memory.spare()

    fit = _widest(fits, shape["window"])
    what = f"a network for {shape['n_channels']} channels and window={shape['window']}"
    memory.check(needed(found), what, f"window={fit} would fit" if fit else "take a smaller network")


def sizes(build: Build, shape: Mapping[str, int]) -> Sizes | None:
    """Return the bytes of a network of this shape; None when it cannot be followed without values."""
    kept: dict[int, int] = {}
    tensors = []  # they stay, so that no two have one address
    try:
        with _nothing_drawn(), torch.device("meta"):
            model = build(**shape)
            weights = {weight.untyped_storage()._cdata: weight.nbytes for weight in model.parameters()}

            def note(tensor: Tensor) -> Tensor:
                tensors.append(tensor)
                kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                model.train()(torch.empty(2, shape["n_channels"], shape["window"]))
    except Exception:  # of whatever kind: a network of one's own may look at values
        return None
    maps = [size for place, size in kept.items() if place not in weights]
    return Sizes(sum(weights.values()), sum(maps) / 2, max(maps, default=0) / 2)


@contextlib.contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Leave every generator of random numbers as it was, so that the training that follows is the same."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - which a network of one's own may use
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _needed(found: Sizes, data: int, batch: int, fold: Fold) -> float:
    """Return the bytes that training with such batches, or evaluation, takes at most."""
    training = STATES * found.weights + batch * (found.kept + found.largest)
    most = max(len(fold.split.validation), len(fold.split.test))
    evaluating = found.weights + min(EVALUATION_BATCH, most) * 2 * found.largest
    return data + max(training, evaluating)


def _fits(found: Sizes | None, data: int, batch: int, fold: Fold, have: int) -> bool:
    return found is not None and _needed(found, data, batch, fold) <= have


def _widest(fits: Callable[[int], bool], window: int) -> int:
    """Return about the widest window below `window` that fits, in two digits; 0 where none does."""
    low, high = 0, window
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return memory.round_down(low)
