"""LSTM: three recurrent layers over time, the baseline of the ENG papers."""

from __future__ import annotations

from torch import Tensor, nn


class LSTM(nn.Module):
    """Stacked LSTM layers, the last hidden state read out linearly; three of 32 as in the ENG papers' reference code."""

    def __init__(self, n_channels: int, window: int, n_outputs: int, hidden: int = 32, layers: int = 3):
        """`window` is taken as it comes: recurrence has no smallest one."""
        super().__init__()
        self.lstm = nn.LSTM(n_channels, hidden, layers, batch_first=True)
        self.readout = nn.Linear(hidden, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x.mT)  # (B, C, W) -> (B, W, hidden)
        return self.readout(states[:, -1])
