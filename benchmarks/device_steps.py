"""Training steps on a card or a processor: eager, compiled, or recorded once as a CUDA graph, in a chosen precision."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from neuroexp.data.fold import Fold

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic algorithms want it before CUDA starts

# precision -> may matrix products, may convolutions of fp32 numbers be computed in tf32 (10 bits of a mantissa)
TF32 = {
    "fp32": (False, False),
    "tf32": (True, True),
    "bf16": (False, False),  # autocast: products and convolutions in bf16, sums and weights in fp32
    "default": (False, True),  # as PyTorch comes, and so what a run of neuroexp computes in
}
EAGER, COMPILED, GRAPH, BOTH = "eager", "compiled", "CUDA graph", "compiled, CUDA graph"
WARM_UP = 3  # steps before a graph is recorded, so that libraries have chosen their kernels
LR, DECAY = 1e-4, 1e-6  # of conf/optimizer/adam.yaml

# starts of windows in the signal (..., batch), their labels (..., batch, unit)
Batches = Iterator[tuple[Tensor, Tensor]]


@contextmanager
def settings(precision: str, device: torch.device, deterministic: bool = False) -> Iterator[None]:
    """Compute in a precision, and by deterministic algorithms or by those that cuDNN finds fastest.

    Raises ValueError for a precision that the device does not have.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ValueError("tf32 is a precision of NVIDIA's cards, and there is no GPU")

    def put(precision: str, trial: bool, strict: bool) -> None:
        # where the newer names of these switches were used, PyTorch 2.9 and some after it refuse to compile
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = TF32[precision]
        torch.backends.cudnn.benchmark = trial
        torch.use_deterministic_algorithms(strict)

    try:
        put(precision, not deterministic, deterministic)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            yield
    finally:
        put("default", trial=False, strict=False)


def check(how: str, device: torch.device) -> None:
    """Raise ValueError when the device has no CUDA graphs and a step should be recorded as one."""
    if how in (GRAPH, BOTH) and device.type != "cuda":
        raise ValueError("CUDA graphs are recorded on NVIDIA's cards, and there is no GPU")


class Training:
    """The training of a network by Adam, or of several side by side, one step at a time.

    `gather` turns starts (..., batch) into windows (..., batch, channel, time) and `network` those into logits (..., batch,
    unit); in front may stand a dimension of networks, whose losses do not mix.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        tensors: Sequence[Tensor],
        gather: Callable[[Tensor], Tensor],
        batch: tuple[Tensor, Tensor],
        how: str,
    ):
        """Warm up on `batch`, record if `how` says so, and go back to the start; `tensors` are parameters and buffers."""
        self.gather, self.device = gather, tensors[0].device
        check(how, self.device)
        graph = how in (GRAPH, BOTH)
        self.network = network
        if how in (COMPILED, BOTH):
            torch.compiler.reset()  # after eight networks of one class it would run the next ones uncompiled
            self.network = torch.compile(network, dynamic=False, fullgraph=True)
        self.tensors = list(tensors)
        self.initial = [tensor.detach().clone() for tensor in tensors]
        trained = [tensor for tensor in tensors if tensor.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=LR, weight_decay=DECAY, capturable=graph)
        self.batch = tuple(part.clone() for part in batch)  # where a graph reads its input
        self.graph: torch.cuda.CUDAGraph | None = None
        if graph:
            self._record()
        else:
            self._eager(*self.batch)
        self.reset()

    def step(self, starts: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, of each network, before the step; a recorded step overwrites it in the next one."""
        if self.graph is None:
            return self._eager(starts, labels)
        for fixed, part in zip(self.batch, (starts, labels), strict=True):
            fixed.copy_(part)
        self.graph.replay()
        return self.result

    def reset(self) -> None:
        """Go back to the weights of the start, in place: a graph knows only these places."""
        with torch.no_grad():
            for tensor, initial in zip(self.tensors, self.initial, strict=True):
                tensor.copy_(initial)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def losses(self, batches: Batches, steps: int) -> Tensor:
        """Return the losses (step, ...) of so many steps."""
        found = [self.step(*batch).clone() for batch in itertools.islice(batches, steps)]
        return torch.stack(found).cpu()

    def _eager(self, starts: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.network(self.gather(starts)).float()
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=(-2, -1))
        # a backward pass repeats the precision of the forward one
        with torch.autocast(self.device.type, enabled=False):
            losses.sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return losses.detach()

    def _record(self) -> None:
        """Record a whole step, gathering, forward and backward pass and Adam, as PyTorch's notes on CUDA graphs say."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._eager(*self.batch)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)  # so that gradients lie in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.result = self._eager(*self.batch)
        self.graph = graph


def tensors(network: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers of a network."""
    return [*network.parameters(), *network.buffers()]


def batches(fold: Fold, size: int, seed: int = 0) -> Batches:
    """Return full batches of training windows without end, in a new order each epoch, the same for equal seeds."""
    generator = torch.Generator().manual_seed(seed)
    train = torch.from_numpy(fold.split.train)
    while True:
        order = train[torch.randperm(len(train), generator=generator)].to(fold.starts.device)
        parts = zip(fold.starts[order].split(size), fold.labels[order].split(size), strict=True)  # type: ignore[no-untyped-call]
        yield from (part for part in parts if len(part[0]) == size)


def seconds_of(run: Callable[[], Any], device: torch.device, about_s: float, least: int = 3) -> float:
    """Return the mean seconds of one of many calls that take about so long together, the device's work included."""

    def taken(calls: int) -> float:
        synchronise(device)
        began = time.perf_counter()
        for _ in range(calls):
            run()
        synchronise(device)
        return (time.perf_counter() - began) / calls

    return taken(max(least, int(about_s / taken(least))))


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
