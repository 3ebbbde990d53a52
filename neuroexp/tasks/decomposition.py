"""`Decomposition`: motor-unit discharges as a multi-label classification of windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer
from torchmetrics.functional.classification import binary_average_precision

from neuroexp.evaluation import agreement, scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_UNIT: Mapping[str, Callable[[Tensor], Tensor]] = {
    "precision": scores.precision,
    "sensitivity": scores.sensitivity,
    "f1": scores.f1,
    "miss_rate": scores.miss_rate,
}


class Decomposition(LightningModule):
    """Train `model` on the binary cross-entropy averaged over motor units; score each unit, then average the scores.

    After a test `per_unit` holds one row per motor unit, and `probabilities` and `labels` (window, unit) the test part in
    the order of its windows.

    Parameters
    ----------
    model : nn.Module
        From windows (batch, channel, time) to logits (batch, unit).
    optimizer : function
        Builds the optimiser from parameters.
    threshold : float
        Probability above which a unit discharges, between 0 and 1.

    Raises
    ------
    ValueError
        For a threshold that is no probability.
    """

    def __init__(self, model: nn.Module, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer], threshold: float):
        """Begin with empty sums."""
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"task.threshold={threshold} is no probability between 0 and 1")
        self.model, self.optimizer, self.threshold = model, optimizer, threshold
        self.logit_threshold = float(torch.logit(torch.tensor(threshold)))
        self.activation = nn.Sigmoid()  # from logits to probabilities
        self.train_rate: Tensor | None = None  # of positives, per unit: the chance row predicts with it
        self.per_unit: list[dict[str, float]] = []
        self.probabilities = self.labels = torch.empty(0)
        self._reset()

    def _reset(self) -> None:
        # Sums live on the device and are read once per epoch: logging every step costs more than a small network's step.
        self._loss: Tensor | float = 0.0
        self._tally: Tensor | int = 0
        self._windows = 0
        self._outputs: list[tuple[Tensor, Tensor]] = []

    def configure_optimizers(self) -> Optimizer:
        """Return the optimiser over all parameters."""
        return self.optimizer(self.parameters())

    def _step(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, y = batch
        logits = self.model(x).float()
        loss = binary_cross_entropy_with_logits(logits, y)
        self._loss = self._loss + loss.detach() * len(x)
        self._windows += len(x)
        return loss, logits

    def _mean_loss(self) -> float:
        return float(self._loss / self._windows)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums."""
        self._reset()

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of one batch."""
        return self._step(batch)[0]

    def on_validation_epoch_start(self) -> None:
        """Report the training loss of the epoch, then start the sums of the validation part."""
        if not self.trainer.sanity_checking and self._windows:
            self.log("train/loss", self._mean_loss())
        self._reset()

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Add one batch to the sums."""
        _, logits = self._step(batch)
        self._tally = self._tally + scores.counts(logits > self.logit_threshold, batch[1] > 0)

    def on_validation_epoch_end(self) -> None:
        """Report loss and F1 of the validation part."""
        self.log("val/loss", self._mean_loss())
        self.log("val/f1", scores.mean_and_spread(scores.f1(torch.as_tensor(self._tally)))[0])
        self._reset()

    def on_test_epoch_start(self) -> None:
        """Start the sums of the test part."""
        self._reset()

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Keep the predictions of one batch."""
        _, logits = self._step(batch)
        self._outputs.append((logits, batch[1]))

    def on_test_epoch_end(self) -> None:
        """Report every score of the test part and what a predictor without knowledge would reach."""
        logits, labels = (torch.cat(tensors).cpu() for tensors in zip(*self._outputs, strict=True))
        self.probabilities, self.labels = logits.sigmoid(), labels
        truth = labels > 0
        tally = scores.counts(logits > self.logit_threshold, truth)
        columns = {name: score(tally) for name, score in PER_UNIT.items()}
        columns["auprc"] = _average_precision(self.probabilities, truth)
        rate = labels.double().mean(dim=0)
        trains = self._spike_trains()
        self.per_unit = [
            {"unit": unit + 1, "discharges": int(truth[:, unit].sum())}
            | {name: float(values[unit]) for name, values in (columns | trains).items()}
            for unit in range(truth.shape[1])
        ]
        scorable = truth.any(dim=0)
        for name, values in columns.items():
            mean, spread = scores.mean_and_spread(values)
            self.log(f"test/{name}", mean)
            self.log(f"spread/{name}", spread)
        if trains:
            self._report_trains(trains)
        self.log("test/loss", self._mean_loss())
        self.log("test/identified_units", scores.count(scores.identified(tally), scorable))
        self.log("test/identified_share", scores.share(scores.identified(tally), scorable))
        self.log("test/scored_units", float(scorable.sum()))
        always = scores.identified(scores.counts(torch.ones_like(truth), truth))
        self.log("baseline/identified_all_positive", scores.share(always, scorable))
        self.log("baseline/f1_all_positive", float(scores.f1_all_positive(rate)[scorable].mean()))
        train_rate = rate if self.train_rate is None else self.train_rate.double()
        self.log("baseline/f1_chance", float(scores.f1_chance(rate, train_rate)[scorable].mean()))
        self.log("baseline/auprc_chance", float(rate[scorable].mean()))
        self._reset()

    def _spike_trains(self) -> dict[str, Tensor]:
        """Return per unit how far its spike train of the test part agrees with the true one, and how far it could at most.

        No lag is removed: it could only be searched for in the truth that is tested on. Empty where the windows of a fold
        do not follow one another in steps.
        """
        fold = self.trainer.datamodule  # type: ignore[attr-defined]
        if fold.steps is None:
            return {}
        starts = fold.starts[fold.split.test].cpu().numpy()[: len(self.labels)]
        order = np.argsort(starts)
        starts, part = starts[order], fold.steps.decided(starts, len(fold.signal))
        said = {
            "rate_of_agreement": fold.steps.trains(starts, self.probabilities[order], self.threshold),
            "ceiling": fold.steps.trains(starts, self.labels[order]),  # through the same events and matching
        }
        true, within = fold.source.spike_trains, fold.steps.within
        return {
            name: torch.from_numpy(agreement.rates(agreement.compare(true, found, within, part)))
            for name, found in said.items()
        }

    def _report_trains(self, trains: Mapping[str, Tensor]) -> None:
        """Report the rates of agreement of spike trains, and beside each what perfect labels reach."""
        self.log("spread/rate_of_agreement", scores.mean_and_spread(trains["rate_of_agreement"])[1])
        for stage, values in (("test", trains["rate_of_agreement"]), ("ceiling", trains["ceiling"])):
            known = ~values.isnan()
            self.log(f"{stage}/rate_of_agreement", scores.mean_and_spread(values)[0])
            for name, least in (("roa_90", agreement.GOOD), ("roa_50", agreement.FAIR)):
                self.log(f"{stage}/{name}_units", scores.count(values >= least, known))
                self.log(f"{stage}/{name}_share", scores.share(values >= least, known))

    def outputs(self, fold: Any) -> list[str]:
        """Return the names of what the network puts out."""
        return [f"unit {number + 1}" for number in range(fold.labels.shape[1])]

    def tables(self, fold: Any) -> dict[str, Sequence[Mapping[str, float]]]:
        """Return the tables of the test, as rows, by file name."""
        return {"per_unit": self.per_unit}

    def figures(self, fold: Any, history: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
        """Return the pictures of the run by name: curves, discharges over force, F1 per unit, action potentials."""
        from neuroexp.tasks import plots  # noqa: PLC0415 - matplotlib is needed once, at the end of a run

        recording = fold.source
        centres = fold.starts[fold.split.test].cpu().numpy() + fold.window // 2
        return {
            "loss": plots.loss_curves(history, recording),
            "raster": plots.raster(
                recording, centres, self.labels.numpy() > 0, self.probabilities.numpy() > self.threshold
            ),
            "f1_per_unit": plots.f1_per_unit(self.per_unit, recording),
            "action_potentials": plots.action_potentials(recording),
        }


def _average_precision(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the area under the precision-recall curve (unit,); NaN for a unit without a discharge."""
    area = torch.full((truth.shape[1],), torch.nan, dtype=torch.float64)
    for unit in truth.any(dim=0).nonzero().ravel().tolist():
        area[unit] = binary_average_precision(probabilities[:, unit], truth[:, unit].long())
    return area
