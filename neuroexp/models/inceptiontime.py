"""InceptionTime: parallel convolutions of several lengths over time, with residual connections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Inception(nn.Module):
    """A bottleneck, convolutions of several lengths beside a max-pool branch, batch norm, ReLU (Ismail Fawaz et al., 2020)."""

    def __init__(self, n_in: int, filters: int, kernels: Sequence[int], bottleneck: int):
        """`filters` per branch: the output has `filters` x (len(kernels) + 1) channels."""
        super().__init__()
        self.bottleneck = nn.Conv1d(n_in, bottleneck, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv1d(bottleneck, filters, kernel, padding="same", bias=False) for kernel in kernels
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(n_in, filters, 1, bias=False))
        self.norm = nn.Sequential(nn.BatchNorm1d(filters * (len(kernels) + 1)), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.bottleneck(x)
        return self.norm(torch.cat([*(branch(narrow) for branch in self.branches), self.pooled(x)], dim=1))


class InceptionTime(nn.Module):
    """Two residual blocks of three inception modules, global average pooling; sizes as the ENG papers' reference code."""

    def __init__(
        self,
        n_channels: int,
        window: int,
        n_outputs: int,
        filters: int = 32,
        kernels: Sequence[int] = (5, 11, 23),
        bottleneck: int = 32,
    ):
        """`window` is taken as it comes: every convolution keeps its length."""
        super().__init__()
        width = filters * (len(kernels) + 1)
        self.blocks, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        for n_in in (n_channels, width):
            modules = [Inception(n, filters, kernels, bottleneck) for n in (n_in, width, width)]
            self.blocks.append(nn.Sequential(*modules))
            self.shortcuts.append(nn.Sequential(nn.Conv1d(n_in, width, 1, bias=False), nn.BatchNorm1d(width)))
        self.readout = nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = torch.relu(block(x) + shortcut(x))  # (B, C, W) -> (B, width, W)
        return self.readout(x.mean(dim=2))
