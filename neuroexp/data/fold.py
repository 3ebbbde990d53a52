"""`Fold`: one signal in memory, and whole batches of windows gathered from it on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from neuroexp.data.segments import coverage
from neuroexp.data.splits import Split
from neuroexp.evaluation.agreement import Steps

# windows; without gradients a larger batch is faster and changes no score, until maps leave the cache
EVALUATION_BATCH = 256


class Batches:
    """The windows of one part of a fold, a whole batch at a time: (batch, channel, time) with labels (batch, output)."""

    def __init__(
        self, fold: Fold, indices: NDArray[np.int64], batch_size: int, generator: torch.Generator | None = None
    ):
        """Cut batches of `batch_size`; with a `generator` in a new random order each time, without in the given one."""
        self.fold, self.batch_size, self.generator = fold, batch_size, generator
        self.indices = torch.from_numpy(indices).to(fold.signal.device)

    def __len__(self) -> int:
        full, rest = divmod(len(self.indices), self.batch_size)
        return max(full + (rest > 1), 1)  # a lone last window joins the batch before it: batch normalisation needs two

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        fold, indices = self.fold, self.indices
        if self.generator is not None:
            indices = indices[torch.randperm(len(indices), generator=self.generator).to(indices.device)]
        sizes = [self.batch_size] * (len(self) - 1)
        sizes.append(len(indices) - sum(sizes))
        # permuted once per epoch, a batch is then a slice of each
        parts = zip(fold.starts[indices].split(sizes), fold.labels[indices].split(sizes), strict=True)  # type: ignore[no-untyped-call]
        windows = fold.windows()
        for starts, labels in parts:
            yield windows.index_select(0, starts).mT, labels


@dataclass(frozen=True)
class Metadata:
    """What is known of a fold besides its windows and labels; all of it may be left out.

    Parameters
    ----------
    facts : mapping of float, optional
        Numbers about the data to report beside the scores.
    source : optional
        The recording behind it all.
    control : mapping of float, optional
        Scores of what can be told apart without what the labels mean, to report beside the scores.
    order : array of int64, (channel,), optional
        Which of the recording's channels each one here is; None: the same.
    preparation : mapping, optional
        What was done to the signal.
    decisions_hz : float, optional
        How many windows a second of recording brings, where that is known.
    steps : Steps, optional
        How windows follow one another, where they do.
    """

    facts: Mapping[str, float] = field(default_factory=dict)
    source: Any = None
    control: Mapping[str, float] = field(default_factory=dict)
    order: NDArray[np.int64] | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)
    decisions_hz: float | None = None
    steps: Steps | None = None


class Fold(LightningDataModule):
    """One fold of one recording: the z-scored signal once, the windows as starts into it, their labels and their parts.

    Mean and standard deviation per channel come from the samples that training windows cover, each weighted by how many cover
    it, which is what pre-cut training windows would give. The signal moves to the training device once.

    Parameters
    ----------
    signal : array of float32, (time, channel)
        Microvolts; it is copied.
    starts : array of int64, (window,)
        The first sample of each window.
    window : int
        Length of a window in samples.
    labels : array of float32, (window, output)
        0 or 1 for each motor unit or class.
    split : Split
        Which windows train, validate and test.
    batch_size : int
        Windows in a training batch.
    seed : int
        Of the order of the batches.
    metadata : Metadata, optional
        What else is known of the data; its fields are attributes of the fold.

    Raises
    ------
    ValueError
        When a channel does not vary in the training windows.
    """

    def __init__(
        self,
        signal: NDArray[np.float32],
        starts: NDArray[np.int64],
        window: int,
        labels: NDArray[np.float32],
        split: Split,
        batch_size: int,
        seed: int,
        metadata: Metadata | None = None,
    ):
        """Standardise a copy of the signal."""
        super().__init__()
        self.window, self.split, self.batch_size = window, split, batch_size
        known = metadata or Metadata()
        self.facts, self.source, self.control = known.facts, known.source, known.control
        self.order, self.preparation = known.order, known.preparation
        self.decisions_hz, self.steps = known.decisions_hz, known.steps
        self.mean, self.std = training_statistics(signal, starts[split.train], window)
        # `windows` needs time-major memory, and filters return their result in another order
        standardised = np.subtract(signal, self.mean, order="C")
        standardised /= self.std
        self.signal = torch.from_numpy(standardised)
        self.starts = torch.from_numpy(starts)
        self.labels = torch.from_numpy(labels)
        self.generator = torch.Generator().manual_seed(seed)  # of the batch order alone

    @property
    def shape(self) -> dict[str, int]:
        """What a network must know of the data."""
        return {"n_channels": self.signal.shape[1], "window": self.window, "n_outputs": self.labels.shape[1]}

    def windows(self) -> Tensor:
        """Return every window of the signal, without a copy.

        Returns
        -------
        Tensor, (start, time, channel)
            A view: in time-major memory each window is one stretch.
        """
        n_samples, n_channels = self.signal.shape
        size = (n_samples - self.window + 1, self.window, n_channels)
        return self.signal.as_strided(size, (n_channels, n_channels, 1))

    def gather(self, starts: Tensor) -> Tensor:
        """Return the windows that begin at some samples.

        Parameters
        ----------
        starts : Tensor of int64, (batch,)
            Their first samples.

        Returns
        -------
        Tensor, (batch, channel, time)
            Standardised.
        """
        return self.windows().index_select(0, starts).mT

    def setup(self, stage: str) -> None:
        """Move the signal, starts and labels to the training device."""
        if self.trainer is not None:
            device = self.trainer.strategy.root_device
            self.signal, self.starts, self.labels = (t.to(device) for t in (self.signal, self.starts, self.labels))

    def state_dict(self) -> dict[str, Tensor]:
        """Return where the order of the batches stands, for a checkpoint."""
        return {"order": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Go on with the order of the batches where a checkpoint left it."""
        self.generator.set_state(state_dict["order"])

    def train_dataloader(self) -> Batches:
        """Return the training batches, in a new order each epoch."""
        return Batches(self, self.split.train, self.batch_size, self.generator)

    def val_dataloader(self) -> Batches:
        """Return the validation batches, in time order."""
        return Batches(self, self.split.validation, EVALUATION_BATCH)

    def test_dataloader(self) -> Batches:
        """Return the test batches, in the order of `split.test`."""
        return Batches(self, self.split.test, EVALUATION_BATCH)


def training_statistics(
    signal: NDArray[np.float32], starts: NDArray[np.int64], window: int, chunk: int = 1 << 12
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation (channel,) over all samples of the windows at `starts`, without cutting them.

    Works through `chunk` samples at a time, in double precision. Raises ValueError when a channel does not vary there.
    """
    weights = coverage(len(signal), starts, window).astype(np.float64)
    pieces = [slice(low, low + chunk) for low in range(0, len(signal), chunk)]
    mean = sum(weights[piece] @ signal[piece] for piece in pieces) / weights.sum()
    variance = sum(weights[piece] @ (signal[piece] - mean) ** 2 for piece in pieces) / weights.sum()
    flat = np.flatnonzero(variance == 0)
    if len(flat):
        raise ValueError(
            f"channel {flat[0] + 1} does not vary in the training windows; leave it out or replace it when reading"
        )
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)
