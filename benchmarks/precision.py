"""What bf16 autocast gains over fp32 in a training step on this processor."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from neuroexp.models.mldcnn import MLDCNN
from neuroexp.models.mldrsnet import MLDRSNet


def step_s(model: nn.Module, window: int, half: bool, steps: int) -> float:
    """Return the median seconds of a training step of 64 windows."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    x, y = torch.randn(64, 64, window), (torch.rand(64, 5) < 0.05).float()
    times = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = binary_cross_entropy_with_logits(model(x).float(), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        times.append(time.perf_counter() - began)
    return median(times[1:])


def main() -> None:
    """Print the ratios."""
    print("Precision: training step of 64 windows, W=20, fp32 against bf16 autocast, in turn")
    for name, network, steps in (("mldrsnet", MLDRSNet, 4), ("mldcnn", MLDCNN, 40)):
        model = network(64, 20, 5)
        pairs = [[step_s(model, 20, half, steps) for half in (False, True)] for _ in range(3)]
        single, half = (median(pair[i] for pair in pairs) * 1000 for i in (0, 1))
        print(f"    {name:8} fp32 {single:6.0f} ms, bf16 {half:6.0f} ms, bf16 is {single / half:.1f}x")


if __name__ == "__main__":
    main()
