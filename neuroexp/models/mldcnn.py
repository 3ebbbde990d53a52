"""ML-DCNN (Ma et al., J NeuroEng Rehabil 22:106, 2025): one convolutional network for all motor units at once."""

from torch import Tensor, nn


def pooled_length(window: int) -> int:
    """Return what is left of a window after two pairs of 3-wide convolutions, each pair followed by halving.

    Raises ValueError, with the smallest valid window, when nothing is left.
    """
    length = ((window - 4) // 2 - 4) // 2
    if length < 1:
        raise ValueError(f"window={window} is too short for this network: its smallest window is 16 samples")
    return length


class MLDCNN(nn.Module):
    """Four convolutions over time and two dense layers, from (batch, channel, time) to logits (batch, unit)."""

    def __init__(self, n_channels: int, window: int, n_outputs: int, dropout: float = 0.5):
        """`dropout` is the paper's 0.5 after both pools and the first dense layer."""
        super().__init__()
        features = 64 * pooled_length(window)
        self.layers = nn.Sequential(
            nn.Conv1d(n_channels, 128, 3),
            nn.ReLU(),
            nn.Conv1d(128, 128, 3),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Dropout(dropout),
            nn.Conv1d(128, 128, 3),
            nn.ReLU(),
            nn.Conv1d(128, 64, 3),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(features, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, n_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, W) -> (B, M)
        """Return the logits."""
        return self.layers(x)
