"""`Decoder`: a trained network as it is used, microvolts in and probabilities out, and what a stream must know to feed it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# what is said of a file that should hold an exported decoder
READS = "neuroexp export RUN_ID writes decoders"
GONE = f"{{}} is not there: {READS}"
FOREIGN = "{} is not a decoder that neuroexp has exported: it says nothing of channels and sampling rate"
CHANGED = "{} was changed or damaged after it was exported: its checksum does not fit"


@dataclass(frozen=True)
class Spec:
    """Everything beside the weights that it takes to decode a stream of samples with a trained network.

    Parameters
    ----------
    name, run_id : str
        Of the run.
    recording : str
        On which it was trained.
    dataset : str
        "hdsemg": a discharge of each unit, per step; "eng": one class, per CAP.
    outputs : tuple of str
        Names of the motor units or classes.
    threshold : float
        Probability above which a unit discharges.
    rate_hz : float
        Sampling rate in hertz.
    n_channels : int
        Of the recording, in its order.
    window : int
        Samples.
    step : int or None
        Samples between windows; None where they follow CAPs.
    preparation : dict
        Of the signal: the settings of the dataset that a stream repeats.
    label : str
        Which discharges make a window positive: those in the "step", in the "window", near its "centre".
    digest : str
        Of the recording, by which it is known again.
    """

    name: str
    run_id: str
    recording: str
    dataset: str
    outputs: tuple[str, ...]
    threshold: float
    rate_hz: float
    n_channels: int
    window: int
    step: int | None
    preparation: dict[str, Any]
    label: str = "step"
    digest: str = ""

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(dataclasses.asdict(self), default=list)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Return what `to_json` wrote.

        Raises
        ------
        ValueError
            When it is something else.
        """
        try:
            words = json.loads(text)
            return cls(**words | {"outputs": tuple(words["outputs"])})
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise ValueError(f"this does not describe a decoder of neuroexp: {error}") from None

    @property
    def decisions_hz(self) -> float | None:
        """Windows per second, where a step says so."""
        return self.rate_hz / self.step if self.step else None

    @property
    def period_ms(self) -> float:
        """Time until the next window is due, or the shortest one until the next CAP; NaN where nobody says."""
        return 1000 * self.step / self.rate_hz if self.step else float(self.preparation.get("exclusion_ms", np.nan))


class Decoder(nn.Module):
    """A trained network with its normalisation: windows in microvolts in, probabilities out.

    Parameters
    ----------
    network : nn.Module
        From standardised windows (batch, channel, time) to logits (batch, output).
    activation : nn.Module
        From logits to probabilities.
    mean, std : array of float32, (channel,)
        Of the training windows, microvolts.
    window : int
        Samples.
    order : array of int64, (channel,), optional
        The recording's channel of each of the network's rows; None: the same.
    """

    mean: Tensor
    scale: Tensor
    order: Tensor

    def __init__(
        self,
        network: nn.Module,
        activation: nn.Module,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        window: int,
        order: NDArray[np.int64] | None = None,
    ):
        """Put the network into evaluation."""
        super().__init__()
        self.network, self.activation, self.window = network.eval(), activation, window
        self.register_buffer("mean", torch.from_numpy(mean)[:, None])
        self.register_buffer("scale", torch.from_numpy(std)[:, None])
        order = np.arange(len(mean)) if order is None else order
        self.reorders = not np.array_equal(order, np.arange(len(order)))
        self.register_buffer("order", torch.from_numpy(np.ascontiguousarray(order)))

    def forward(self, windows: Tensor) -> Tensor:
        """Return the probabilities of each window.

        Parameters
        ----------
        windows : Tensor of float32, (batch, channel, time)
            Microvolts, in the recording's channel order.

        Returns
        -------
        Tensor, (batch, output)
            Between 0 and 1, for each motor unit or class.
        """
        if self.reorders:
            # with a dimension more, because OpenVINO 2026.4 mixes up channels that are chosen right before a 1-D convolution
            windows = windows.unsqueeze(1).index_select(2, self.order).squeeze(1)
        return self.activation(self.network((windows - self.mean) / self.scale))
