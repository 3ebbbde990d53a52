"""MobilESCAPE-Net: ESCAPE-Net made small with depthwise and pointwise convolutions and global average pooling."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuroexp.models._layers import DepthwiseConv2d, NormalisedPool


class MobilESCAPENet(nn.Module):
    """A convolution, then depthwise and pointwise pairs, each with ReLU, batch norm and a pool (Gökdağ et al., Table II).

    The defaults are E2, with 67,843 parameters for 56 channels, 100 samples and 3 classes. Its last depthwise convolution
    brings the channels to the last number of filters; only so does the published count come out.
    """

    def __init__(
        self,
        n_channels: int,
        window: int,
        n_outputs: int,
        kernels: Sequence[int] = (9, 5, 3, 3),
        filters: Sequence[int] = (64, 64, 64, 128),
        head: str = "gap",
        hidden: int = 256,
    ):
        """Take one kernel (odd) and one number of filters per block. `head` is gap or flatten; ValueError says what fits."""
        super().__init__()
        _check(window, n_channels, kernels, filters, head)
        blocks: list[nn.Module] = []
        n_in = 1
        for number, (kernel, n_out) in enumerate(zip(kernels, filters, strict=True), start=1):
            convolutions: list[nn.Conv2d] = [nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)]
            if number > 1:
                convolutions = [DepthwiseConv2d(n_in, n_out, kernel), nn.Conv2d(n_out, n_out, 1)]
            if number < len(kernels):
                blocks.append(NormalisedPool(*convolutions))
            else:
                blocks += [*convolutions, nn.ReLU(), nn.MaxPool2d(2)]
            n_in = n_out
        # channels last takes half the time of the other order on a processor
        self.features = nn.Sequential(*blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pixels = (n_channels >> len(kernels)) * (window >> len(kernels))
        pool = [nn.AdaptiveAvgPool2d(1)] if head == "gap" else []
        n_features = n_in if head == "gap" else n_in * pixels
        self.head = nn.Sequential(
            *pool, nn.Flatten(), nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, n_outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x.unsqueeze(1)))  # (B, C, W) -> (B, 1, C, W) -> (B, n_outputs)


def _check(window: int, n_channels: int, kernels: Sequence[int], filters: Sequence[int], head: str) -> None:
    if len(kernels) != len(filters):
        raise ValueError(
            f"model.kernels has {len(kernels)} values and model.filters {len(filters)}, one of each per block"
        )
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ValueError(f"model.kernels={list(kernels)} must be odd, so that padding is symmetric")
    for before, after in itertools.pairwise(filters):
        if after % before:
            raise ValueError(
                f"model.filters={list(filters)}: {after} is no multiple of {before}, the depthwise block before"
            )
    if head not in ("gap", "flatten"):
        raise ValueError(f"model.head={head} is neither gap nor flatten")
    smallest = 2 ** len(kernels)
    if min(window, n_channels) < smallest:
        raise ValueError(
            f"window={window} with {n_channels} channels is too short for {len(kernels)} pools, "
            f"both must be at least {smallest}"
        )
