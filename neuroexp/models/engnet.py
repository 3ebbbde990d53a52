"""ENGNet: EEGNet adapted to nerve-cuff recordings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear


class ENGNet(nn.Module):
    """EEGNet (Lawhern et al., 2018) on a signature; which sizes its adaptation to ENG has is not stated.

    A temporal convolution, a depthwise one over all channels whose filters have a norm of at most 1, a separable one, and a
    readout whose rows have a norm of at most 0.25.
    """

    def __init__(
        self,
        n_channels: int,
        window: int,
        n_outputs: int,
        filters: int = 8,
        depth: int = 2,
        kernel: int = 25,
        dropout: float = 0.25,
    ):
        """`kernel` of the temporal convolution in samples. Raises ValueError when `window` is too short to be pooled twice."""
        super().__init__()
        if window < 32:
            raise ValueError(f"window={window} is too short for ENGNet, its smallest window is 32 samples")
        wide = filters * depth
        self.temporal = nn.Sequential(
            nn.ZeroPad2d(((kernel - 1) // 2, kernel // 2, 0, 0)),
            nn.Conv2d(1, filters, (1, kernel), bias=False),
            nn.BatchNorm2d(filters),
        )
        self.spatial = nn.Conv2d(filters, wide, (n_channels, 1), groups=filters, bias=False)
        self.first = nn.Sequential(nn.BatchNorm2d(wide), nn.ELU(), nn.AvgPool2d((1, 4)), nn.Dropout(dropout))
        self.separable = nn.Sequential(
            nn.ZeroPad2d((7, 8, 0, 0)),
            nn.Conv2d(wide, wide, (1, 16), groups=wide, bias=False),
            nn.Conv2d(wide, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ELU(),
            nn.AvgPool2d((1, 8)),
            nn.Dropout(dropout),
            nn.Flatten(),
        )
        self.readout = nn.Linear(wide * (window // 4 // 8), n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.temporal(x.unsqueeze(1))  # (B, C, W) -> (B, filters, C, W)
        filters = torch.renorm(self.spatial.weight, 2, 0, 1.0)
        x = self.first(conv2d(x, filters, groups=self.spatial.groups))  # -> (B, wide, 1, W / 4)
        return linear(self.separable(x), torch.renorm(self.readout.weight, 2, 0, 0.25), self.readout.bias)
