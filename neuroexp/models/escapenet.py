"""ESCAPE-Net: the convolutional network on spatiotemporal signatures that MobilESCAPE-Net is measured against."""

from __future__ import annotations

from torch import Tensor, nn


class ESCAPENet(nn.Module):
    """Three convolutions of 64 filters and two pools on the channel x time image, two dense layers (Koh et al., 2020).

    Everything is padded to keep its size. With pools of stride 1 it has the 91,837,635 parameters of Table V of Gökdağ et
    al. (56 channels, 100 samples, 3 classes); its authors' own code pools with stride 2.
    """

    def __init__(self, n_channels: int, window: int, n_outputs: int, pool_stride: int = 1):
        """Raise ValueError when `pool_stride` is neither 1 nor 2."""
        super().__init__()
        if pool_stride not in (1, 2):
            raise ValueError(f"model.pool_stride={pool_stride} must be 1 (as published) or 2 (its authors' code)")
        height, width = n_channels, window
        layers: list[nn.Module] = []
        for n_in, kernel in ((1, 8), (64, 4), (64, 2)):
            before, after = (kernel - 1) // 2, kernel // 2
            layers += [nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(n_in, 64, kernel), nn.ReLU()]
            if kernel > 2:
                # what sticks out to the right and below is padded; after a ReLU nothing is below the zeros of the padding
                pads = [(size - 1) // pool_stride * pool_stride + 2 - size for size in (width, height)]
                layers += [nn.ZeroPad2d((0, pads[0], 0, pads[1])), nn.MaxPool2d(2, pool_stride)]
                height, width = -(-height // pool_stride), -(-width // pool_stride)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * height * width, 256), nn.ReLU(), nn.Linear(256, n_outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)  # (B, C, W) -> (B, 1, C, W)
        return self.head(self.features(x))  # (B, 64, C', W') -> (B, n_outputs)
