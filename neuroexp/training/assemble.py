"""What a training is made of, from its configuration: data, and a network with the task that teaches it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from neuroexp.data.fold import Fold
from neuroexp.settings import callables
from neuroexp.training import foresight

GPUS = ("auto", "gpu", "cuda")  # accelerators that take one where there is one


def data(config: Mapping[str, Any], trusted: Sequence[str]) -> Fold:
    """Return the data; raises ValueError where the network would need more memory than there is to train on them."""
    fold: Fold = callables.build(config["dataset"], trusted)
    on_gpu = config["trainer"]["accelerator"] in GPUS and torch.cuda.is_available()
    foresight.check(fold, functools.partial(callables.build, config["model"], trusted), on_gpu)
    return fold


def network(config: Mapping[str, Any], trusted: Sequence[str], fold: Fold) -> tuple[nn.Module, Any]:
    """Return an untrained network that fits the data, and the task that trains and scores it."""
    model = callables.build(config["model"], trusted, **fold.shape)
    task = callables.build(config["task"], trusted, model=model)
    task.train_rate = fold.labels[fold.split.train].mean(dim=0)
    return model, task
