"""A training step of MobilESCAPE-Net: ordinary modules in either memory order against the normalised pools, and bf16."""

import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from neuroexp.machine import memory
from neuroexp.models._layers import DepthwiseConv2d, NormalisedPool
from neuroexp.models.mobilescapenet import MobilESCAPENet

BATCH, ROUNDS = 64, 7


def plain(layer: nn.Module) -> nn.Module:
    """Return the layer with PyTorch's own modules alone."""
    if isinstance(layer, DepthwiseConv2d):
        own = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding="same", groups=layer.groups)  # type: ignore[arg-type]
        own.load_state_dict(layer.state_dict())
        return own
    return nn.Sequential(*map(plain, layer)) if isinstance(layer, NormalisedPool) else layer


def network(ours: bool, order: torch.memory_format) -> nn.Module:
    """Return E2, always with the same weights."""
    torch.manual_seed(0)
    model = MobilESCAPENet(56, 100, 3)
    if not ours:
        model.features = nn.Sequential(*map(plain, model.features))
    return model.to(memory_format=order)  # type: ignore[call-overload]


def stepper(model: nn.Module, half: bool) -> Callable[[], float]:
    """Return a training step on one batch of signatures, as gathered from time-major memory; it returns the loss."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(BATCH, 100, 56, generator=generator).mT, torch.arange(BATCH) % 3
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    """Print milliseconds per step and the ratios to ordinary modules."""
    threads = torch.get_num_threads()
    print(f"MobilESCAPE-Net: a training step on {BATCH} signatures of 56 x 100, {threads} threads (medians)")
    first, last = torch.contiguous_format, torch.channels_last
    steps = {
        "modules": stepper(network(False, first), False),
        "modules, channels last": stepper(network(False, last), False),
        "ours": stepper(network(True, last), False),
        "modules, bf16": stepper(network(False, last), True),
        "ours, bf16": stepper(network(True, last), True),
    }
    losses = {name: [step(), step()] for name, step in steps.items()}
    reference = 0.0
    for title, context in (("malloc as it is", contextlib.nullcontext), ("freed memory kept", memory.kept)):
        times: dict[str, list[float]] = {name: [] for name in steps}
        with context():
            for step in steps.values():
                step()
            for _ in range(ROUNDS):
                for name, step in steps.items():
                    began = time.perf_counter()
                    step()
                    times[name].append(1000 * (time.perf_counter() - began))
        reference = reference or float(np.median(times["modules"]))
        print(f"  {title}")
        for name, values in times.items():
            median = float(np.median(values))
            difference = max(abs(a - b) for a, b in zip(losses[name], losses["modules"], strict=True))
            ratio = reference / median
            print(f"    {name:24} {median:6.0f} ms   {ratio:4.1f}x   loss of two steps differs by {difference:.0e}")


if __name__ == "__main__":
    main()
