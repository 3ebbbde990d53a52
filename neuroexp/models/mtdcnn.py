"""MT-DCNN (Wen et al., 2021), as compared by Ma et al. (2025): a shared stem, then one branch per motor unit."""

import torch
from torch import Tensor, nn

from neuroexp.models.mldcnn import pooled_length


class MTDCNN(nn.Module):
    """Two shared convolutions and a branch of two convolutions and two dense layers for each of M motor units.

    All branches run at once as grouped convolutions; a dense layer is a convolution as wide as its input. From (batch,
    channel, time) to logits (batch, unit).
    """

    def __init__(self, n_channels: int, window: int, n_outputs: int, dropout: float = 0.5):
        """`dropout` follows both pools and the first dense layer, drawn apart for each branch."""
        super().__init__()
        self.n_outputs, length = n_outputs, pooled_length(window)
        self.stem = nn.Sequential(
            nn.Conv1d(n_channels, 128, 3),
            nn.ReLU(),
            nn.Conv1d(128, 128, 3),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Dropout(dropout),
        )
        # The first grouped convolution reads the same 128 maps in every branch, so it is one wide ordinary convolution.
        self.branches = nn.Sequential(
            nn.Conv1d(128, 128 * n_outputs, 3),
            nn.ReLU(),
            nn.Conv1d(128 * n_outputs, 64 * n_outputs, 3, groups=n_outputs),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Dropout(dropout),
            nn.Conv1d(64 * n_outputs, 256 * n_outputs, length, groups=n_outputs),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv1d(256 * n_outputs, n_outputs, 1, groups=n_outputs),
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, W) -> (B, M)
        """Return the logits."""
        return self.branches(self.stem(x))

    def branch(self, unit: int) -> nn.Sequential:
        """Return one motor unit's branch as a network of its own, from the stem's (batch, 128, time) to (batch, 1)."""
        separate = nn.Sequential()
        for layer in self.branches:
            if not isinstance(layer, nn.Conv1d):
                separate.append(layer)
                continue
            inputs = layer.in_channels // layer.groups
            outputs = layer.out_channels // self.n_outputs
            alone = nn.Conv1d(inputs, outputs, layer.kernel_size[0])
            with torch.no_grad():
                alone.weight.copy_(layer.weight[unit * outputs : (unit + 1) * outputs])
                assert alone.bias is not None
                assert layer.bias is not None
                alone.bias.copy_(layer.bias[unit * outputs : (unit + 1) * outputs])
            separate.append(alone)
        return separate
