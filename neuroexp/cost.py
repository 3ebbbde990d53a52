"""What a network costs: parameters, multiply-accumulates, floating-point operations, milliseconds per window."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def macs(model: nn.Module, inputs: Tensor) -> int:
    """Return the multiply-accumulates of one call on `inputs`, as fvcore counts them.

    fvcore knows no recurrent layers: a network that has some is counted by torch's own counter, half of whose operations
    are multiply-accumulates.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            if any(isinstance(layer, nn.RNNBase) for layer in model.modules()):
                # the counter looks inside a recurrent layer only where oneDNN does not run it as one operation
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about Intel GPUs, of the switch
                    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
                        model(inputs)
                return int(counter.get_total_flops()) // 2
            return _fvcore(model, inputs)
    finally:
        model.train(training)


def _fvcore(model: nn.Module, inputs: Tensor) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore's own import warns about old torch names
        from fvcore.nn import FlopCountAnalysis  # noqa: PLC0415 - two seconds, needed by few
        from fvcore.nn.jit_handles import conv_flop_count, get_shape  # noqa: PLC0415

    def same(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        count = conv_flop_count(get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0]))
        return Counter({"conv": count})

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model, inputs)
    analysis.set_op_handle("aten::_convolution_mode", same)  # padding="same", which fvcore leaves out
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(analysis.total())


# operations per value that a layer puts out, beyond its products; layers that only move values have none
PER_VALUE: dict[type[nn.Module], int] = {
    nn.ReLU: 1,
    nn.Flatten: 0,
    nn.Identity: 0,
    nn.Dropout: 0,
    nn.ZeroPad2d: 0,
    nn.AdaptiveAvgPool2d: 0,
}


def flops(model: nn.Module, inputs: Tensor, normalisation: bool = True) -> int:
    """Return the floating-point operations of one call in the convention of the ENG paper.

    Two per multiply-accumulate, one per bias and per ReLU, the kernel's area per max-pooled value, two per batch-normalised
    value unless `normalisation` is false. The convention was found by fitting: with it MobilESCAPE-Net has the 82,798,211
    of its Table V, without normalisation the 81,857,411 of its introduction. Raises ValueError for a network with a layer
    that the convention has no count for.
    """
    total = 0

    def add(layer: nn.Module, _: Any, output: Any) -> None:
        nonlocal total
        values = output.numel() if isinstance(output, Tensor) else 0
        if isinstance(layer, nn.Conv2d | nn.Linear):
            total += 2 * values * layer.weight[0].numel() + (values if layer.bias is not None else 0)
        elif isinstance(layer, nn.MaxPool2d):
            total += values * int(layer.kernel_size) ** 2  # type: ignore[arg-type]
        elif isinstance(layer, nn.BatchNorm2d):
            total += 2 * values * normalisation
        elif type(layer) in PER_VALUE:
            total += values * PER_VALUE[type(layer)]
        else:
            raise ValueError(f"the ENG paper's convention has no count for {type(layer).__name__} layers")

    leaves = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(add) for layer in leaves]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return total


def ms_per_window(model: nn.Module, inputs: Tensor, budget_s: float = 0.05) -> float:
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
