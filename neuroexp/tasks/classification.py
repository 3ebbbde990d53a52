"""`Classification`: the class of the stimulus behind each signature, one class per window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim import Optimizer

from neuroexp.evaluation import scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = tuple[Tensor, Tensor]


class Classification(LightningModule):
    """Train `model` on the cross-entropy; score accuracy, F1 of each class and their mean.

    After a test `confusion` (true class, predicted class) counts the windows of the test part.

    Parameters
    ----------
    model : nn.Module
        From windows (batch, channel, time) to logits (batch, class).
    optimizer : function
        Builds the optimiser from parameters.
    """

    def __init__(self, model: nn.Module, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]):
        """Begin with empty sums."""
        super().__init__()
        self.model, self.optimizer = model, optimizer
        self.activation = nn.Softmax(dim=1)  # from logits to probabilities
        self.train_rate: Tensor | None = None  # of the classes: the chance row predicts with it
        self.confusion = torch.empty(0)
        self._reset()

    def _reset(self) -> None:
        # sums live on the device and are read once per epoch
        self._loss: Tensor | float = 0.0
        self._counts: Tensor | int = 0

    def configure_optimizers(self) -> Optimizer:
        """Return the optimiser over all parameters."""
        return self.optimizer(self.parameters())

    def _step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch; add it, and the confusion of classes, to the sums."""
        x, y = batch
        logits = self.model(x).float()
        loss = cross_entropy(logits, y)
        self._loss = self._loss + loss.detach() * len(x)
        self._counts = self._counts + confusion(logits, y)
        return loss

    def _report(self, stage: str) -> Tensor:
        """Log loss, accuracy and macro F1 of the sums, start them again, and return the confusion."""
        counts = torch.as_tensor(self._counts).cpu()
        self.log(f"{stage}/loss", float(self._loss / counts.sum()))
        self.log(f"{stage}/accuracy", float(counts.trace() / counts.sum()))
        self.log(f"{stage}/macro_f1", float(scores.f1(scores.counts_of(counts)).nanmean()))
        self._reset()
        return counts

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums."""
        self._reset()

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of one batch."""
        return self._step(batch)

    def on_validation_epoch_start(self) -> None:
        """Report what the epoch's training has summed."""
        if not self.trainer.sanity_checking and isinstance(self._counts, Tensor):
            self._report("train")

    def validation_step(self, batch: Batch) -> None:
        """Add one batch to the sums."""
        self._step(batch)

    def on_validation_epoch_end(self) -> None:
        """Report the validation part."""
        self._report("val")

    def on_test_epoch_start(self) -> None:
        """Start the sums of the test part."""
        self._reset()

    def test_step(self, batch: Batch) -> None:
        """Add one batch to the sums."""
        self._step(batch)

    def on_test_epoch_end(self) -> None:
        """Report the test part, and what a predictor without knowledge would reach."""
        self.confusion = counts = self._report("test")
        tally = scores.counts_of(counts)
        fold = self.trainer.datamodule  # type: ignore[attr-defined]
        for name, value in zip(fold.source.classes, scores.f1(tally).tolist(), strict=True):
            self.log(f"test/f1_{name}", value)
        rate = counts.sum(dim=1).double() / counts.sum()
        train_rate = rate if self.train_rate is None else self.train_rate.double()
        chance = scores.f1_chance(rate, train_rate)
        self.log("baseline/f1_chance", float(chance[rate > 0].mean()))  # over the classes that macro_f1 is the mean of
        self.log("baseline/accuracy_chance", float(rate @ train_rate))
        self.log("baseline/accuracy_majority", float(rate[train_rate.argmax()]))

    def outputs(self, fold: Any) -> list[str]:
        """Return the names of what the network puts out."""
        return list(fold.source.classes)

    def tables(self, fold: Any) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Return the tables of the test, as rows, by file name."""
        names = fold.source.classes
        tables: dict[str, Sequence[Mapping[str, Any]]] = {
            "confusion": [
                {"true": name, **dict(zip(names, row, strict=True))}
                for name, row in zip(names, self.confusion.tolist(), strict=True)
            ]
        }
        tally = scores.counts_of(self.confusion)
        columns = {"precision": scores.precision, "sensitivity": scores.sensitivity, "f1": scores.f1}
        tables["per_class"] = [
            {"class": name, "windows": int(self.confusion[number].sum())}
            | {column: float(score(tally)[number]) for column, score in columns.items()}
            for number, name in enumerate(names)
        ]
        return tables

    def figures(self, fold: Any, history: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
        """Return the pictures of the run by name: curves, confusion, mean signatures, the preparation."""
        from neuroexp.tasks import plots  # noqa: PLC0415 - matplotlib is needed once, at the end of a run

        figures = {
            "loss": plots.loss_curves(history, fold.source, "cross-entropy"),
            "confusion": plots.confusion(self.confusion.numpy(), fold.source),
            "signatures": plots.mean_signatures(fold.source),
        }
        if fold.source.traces:
            figures["preparation"] = plots.preparation(fold.source)
        return figures


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many windows (true class, predicted class) of logits and one-hot labels (window, class)."""
    predicted = one_hot(logits.argmax(dim=1), logits.shape[1]).to(labels.dtype)
    return (labels.T @ predicted).long()
