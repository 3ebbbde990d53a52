"""ML-DRSNet (Ma et al., J NeuroEng Rehabil 22:106, 2025): a deep residual shrinkage network on the channel x time image."""

from itertools import pairwise

from torch import Tensor, nn


class RSBUCW(nn.Module):
    """Residual shrinkage building unit with channel-wise thresholds (Zhao et al., 2020): (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        """`stride` acts in the first convolution and in the shortcut."""
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.attention = nn.Sequential(
            nn.Linear(n_out, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), nn.Linear(n_out, n_out), nn.Sigmoid()
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(soft-threshold(residual) + shortcut)."""
        residual = self.residual(x)
        size = residual.abs().mean(dim=(2, 3))  # (B, C)
        threshold = (self.attention(size) * size)[:, :, None, None]
        shrunk = residual - residual.clamp(min=-threshold, max=threshold)  # sign(r) max(|r| - threshold, 0)
        return (shrunk + self.shortcut(x)).relu()


class MLDRSNet(nn.Module):
    """A convolution, eight RSBU-CW, global average pooling and a dense layer: (batch, channel, time) to logits (batch, unit).

    The paper does not state the strides; stride 2 where the width doubles is ours.
    """

    def __init__(self, n_channels: int, window: int, n_outputs: int):
        """The network takes any number of channels and any window from 1 sample on."""
        super().__init__()
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        self.stem = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.blocks = nn.Sequential(
            *(RSBUCW(n_in, n_out, 1 if n_in == n_out else 2) for n_in, n_out in pairwise(widths))
        )
        self.head = nn.Linear(512, n_outputs)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, W) -> (B, 1, C, W) -> (B, M)
        """Return the logits."""
        return self.head(self.blocks(self.stem(x[:, None])).mean(dim=(2, 3)))
