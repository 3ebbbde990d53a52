"""What a network costs: parameters, bytes, multiply-accumulates, floating-point operations, milliseconds per window."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

KB = 1000  # bytes
PRODUCTS = {
    "conv",
    "linear",
    "addmm",
    "mm",
    "bmm",
    "matmul",
    "einsum",
}  # as fvcore names what multiplies and accumulates


@dataclass(frozen=True)
class Count:
    """Multiply-accumulates and operations of one call, who counted them, and what this counter left out, with how often.

    Operations are the multiply-accumulates and what the counter has beside them: two per normalised value, one per value
    that an adaptive pool averages.
    """

    macs: int
    operations: int
    counter: str
    skipped: dict[str, int]


def costs(model: nn.Module, window: Tensor) -> dict[str, float]:
    """Return what a run records of its network on one window (1, channel, time): all that this module counts."""
    counted = count(model, window)
    found: dict[str, float] = {
        "cost/parameters": parameters(model),
        "cost/mac": counted.macs,
        "cost/operations": counted.operations,
        "cost/size_kb": size_kb(model),
        "cost/size_int8_kb": size_int8_kb(model),
        "cost/activation_kb": activation_kb(model, window),
        "cost/ms_per_window": ms_per_window(model, window),
    }
    with contextlib.suppress(ValueError):  # a convention for some networks
        found["cost/flops"] = flops(model, window)
    return found


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def size_kb(model: nn.Module) -> float:
    """Return the KB (1000 bytes) of the parameters in fp32; what a batch norm has measured folds into the layer before."""
    return 4 * parameters(model) / KB


def size_int8_kb(model: nn.Module) -> float:
    """Return the KB (1000 bytes) of the parameters quantised to int8 per output channel.

    One byte per value of a matrix or kernel and an fp32 scale per output channel (its first dimension); biases and other
    vectors keep four bytes per value.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return sum(4 * w.numel() if w.dim() < 2 else w.numel() + 4 * len(w) for w in weights) / KB


def activation_kb(model: nn.Module, inputs: Tensor, value_bytes: int = 4) -> float:
    """Return the most KB (1000 bytes) that tensors take at once in one call: 4 bytes per value in fp32, 1 in int8.

    Operations run one after another as the network states them, none fused. The inputs and outputs of an operation are
    there together, and a tensor goes after the last operation that reads it; the call's own inputs and outputs count.
    Views share memory and weights do not count, nor does what an operation needs inside.
    """
    tape = _Tape(model)
    with _evaluating(model):
        inputs = inputs.clone()
        tape.note(inputs)
        with tape:
            outputs = model(inputs)
        tape.note(outputs)
    change = [0] * (tape.step + 2)
    for place, born in tape.born.items():
        change[born] += tape.values[place]
        change[tape.last[place] + 1] -= tape.values[place]
    return max(accumulate(change)) * value_bytes / KB


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks on while operations run; nothing is compiled then, and importing torch's compiler takes a second."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Tape(_Mode):  # type: ignore[no-untyped-call]
    """Notes at which operation each piece of memory is first and last used."""

    def __init__(self, model: nn.Module):
        super().__init__()  # type: ignore[no-untyped-call]
        weights = [*model.parameters(), *model.buffers()]
        self.weights = {weight.untyped_storage().data_ptr() for weight in weights}
        self.step = 0
        self.born: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.values: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no address is used twice

    def note(self, tensors: Any) -> None:
        """Note that these tensors are there at this step; whole numbers (the places of a pool's maxima) are not values."""
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
                storage = tensor.untyped_storage()
                place = storage.data_ptr()
                if place not in self.weights:
                    self.kept.append(storage)
                    self.values[place] = storage.nbytes() // tensor.itemsize
                    self.born.setdefault(place, self.step)
                    self.last[place] = self.step

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self.note((args, kwargs, outputs))
        self.step += 1
        return outputs


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Have the network predict, without gradients, and leave it in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def macs(model: nn.Module, inputs: Tensor) -> int:
    """Return the multiply-accumulates of one call on `inputs`, see `count`."""
    return count(model, inputs).macs


def count(model: nn.Module, inputs: Tensor) -> Count:
    """Return the multiply-accumulates of one call on `inputs`, as fvcore counts them, and what it has no count for.

    Multiply-accumulates are those of convolutions and products of matrices. fvcore knows no recurrent layers: a network that
    has some is counted by torch's own counter, half of whose operations are multiply-accumulates.
    """
    with _evaluating(model):
        if not any(isinstance(layer, nn.RNNBase) for layer in model.modules()):
            return _fvcore(model, inputs)
        # the counter looks inside a recurrent layer only where oneDNN does not run it as one operation
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about Intel GPUs, of the switch
            counter, others = FlopCounterMode(display=False), _Uncounted()
            with torch.backends.mkldnn.flags(enabled=False), counter, others:
                model(inputs)
        products = int(counter.get_total_flops()) // 2  # it counts nothing else
        return Count(products, products, "torch", dict(others.found))


class _Uncounted(_Mode):  # type: ignore[no-untyped-call]
    """Counts the operations that torch's counter has no count for, but for those that only look at values another way."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket not in flop_registry and not func.is_view:
            self.found[func._overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def _fvcore(model: nn.Module, inputs: Tensor) -> Count:
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
    by_operator = analysis.by_operator()
    macs = int(sum(number for name, number in by_operator.items() if name in PRODUCTS))
    skipped = {name.removeprefix("aten::"): number for name, number in analysis.unsupported_ops().items()}
    return Count(macs, int(sum(by_operator.values())), "fvcore", skipped)


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Linear)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
ACTIVATIONS = (nn.ReLU, nn.ELU, nn.GELU, nn.LeakyReLU, nn.SiLU, nn.Sigmoid, nn.Tanh)
MOVED = (nn.Flatten, nn.Identity, nn.Dropout, nn.ZeroPad2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)  # count nothing


def flops(model: nn.Module, inputs: Tensor, normalisation: bool = True) -> int:
    """Return the floating-point operations of one call in the convention of the ENG paper.

    Two per multiply-accumulate, one per bias and per ReLU, the kernel's area per max-pooled value, two per batch-normalised
    value unless `normalisation` is false. The convention was found by fitting: with it MobilESCAPE-Net has the 82,798,211
    of its Table V, without normalisation the 81,857,411 of its introduction. Other activations count as a ReLU, average
    pools as max-pools, and one dimension as two; what a network computes between its layers is not counted. Raises
    ValueError for a layer of another kind, and for weights that are used without calling their layer.
    """
    total = 0
    called = set()

    def add(layer: nn.Module, _: Any, output: Any) -> None:
        nonlocal total
        called.add(layer)
        values = output.numel() if isinstance(output, Tensor) else 0
        if isinstance(layer, CONVOLUTIONS):
            total += 2 * values * layer.weight[0].numel() + (values if layer.bias is not None else 0)
        elif isinstance(layer, POOLS):
            size: Any = layer.kernel_size
            flat = isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) and not isinstance(size, tuple)
            total += values * (size**2 if flat else math.prod(size) if isinstance(size, tuple) else size)
        elif isinstance(layer, NORMS):
            total += 2 * values * normalisation
        elif isinstance(layer, ACTIVATIONS):
            total += values
        elif not isinstance(layer, MOVED):
            raise ValueError(f"the ENG paper's convention has no count for {type(layer).__name__} layers")

    leaves = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(add) for layer in leaves]
    try:
        with _evaluating(model):
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in leaves:
        if layer not in called and list(layer.parameters()):
            raise ValueError(f"the weights of a {type(layer).__name__} layer are used without calling it")
    return total


def ms_per_window(model: nn.Module, inputs: Tensor, budget_s: float = 0.05) -> float:
    """Return the median milliseconds of one prediction of `inputs` (batch 1), measured for `budget_s` after a warm-up.

    On a processor it is that of one thread: several wait for each other, a hundred times as long where another process
    takes one of their cores.
    """
    training = model.training
    model.eval()
    times: list[float] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(3):
            model(inputs)
        began = time.perf_counter()
        while time.perf_counter() - began < budget_s or len(times) < 9:
            _synchronise(inputs)
            start = time.perf_counter()
            model(inputs)
            _synchronise(inputs)
            times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    model.train(training)
    return 1000 * sorted(times)[len(times) // 2]


def _synchronise(inputs: Tensor) -> None:
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
