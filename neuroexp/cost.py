"""What a network costs: parameters, multiply-accumulates, milliseconds per window."""

from __future__ import annotations

import logging
import time
import warnings

import torch
from torch import Tensor, nn


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def macs(model: nn.Module, inputs: Tensor) -> int:
    """Return the multiply-accumulates that fvcore counts for one call on `inputs`.

    Raises ValueError when the network has recurrent or attention layers, which fvcore leaves out.
    """
    skipped = [
        type(layer).__name__ for layer in model.modules() if isinstance(layer, nn.RNNBase | nn.MultiheadAttention)
    ]
    if skipped:
        raise ValueError(f"fvcore does not count {skipped[0]} layers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore's own import warns about old torch names
        from fvcore.nn import FlopCountAnalysis  # noqa: PLC0415 - two seconds, needed by few
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    training = model.training
    with torch.no_grad():
        analysis = FlopCountAnalysis(model.eval(), inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        total = int(analysis.total())
    model.train(training)
    return total


def ms_per_window(model: nn.Module, inputs: Tensor, budget_s: float = 0.2) -> float:
    """Return the median milliseconds of one prediction of `inputs` (batch 1), measured for `budget_s` after a warm-up."""
    training = model.training
    model.eval()
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(3):
            model(inputs)
        began = time.perf_counter()
        while time.perf_counter() - began < budget_s or len(times) < 5:
            _synchronise(inputs)
            start = time.perf_counter()
            model(inputs)
            _synchronise(inputs)
            times.append(time.perf_counter() - start)
    model.train(training)
    return 1000 * sorted(times)[len(times) // 2]


def _synchronise(inputs: Tensor) -> None:
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
