"""Trainings that had not converged are marked wherever their scores are shown."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import pandas as pd
import pytest
import torch
from conftest import SMALL, Outcome
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from experiments import converged, pictures
from experiments.artefact import Artefact
from experiments.cells import Source
from experiments.pictures import figure
from experiments.protocol import overview, rats
from neuroexp.evaluation.convergence import CONVERGED, known
from neuroexp.evaluation.convergence import converged as has_converged
from neuroexp.sweep import outcome
from neuroexp.sweep.remarks import remarks
from neuroexp.training import train


def history(*losses: float) -> list[dict[str, float]]:
    return [{"epoch": number, "val/loss": loss} for number, loss in enumerate(losses)]


@given(st.integers(1, 200), st.data())
def test_a_lowest_loss_in_the_last_tenth_says_that_it_still_fell(epochs: int, data: st.DataObject) -> None:
    best = data.draw(st.integers(0, epochs - 1))
    losses = [1.0] * epochs
    losses[best] = 0.5
    last_tenth = range(epochs - math.ceil(epochs / 10), epochs)
    assert has_converged(history(*losses), stopped=False) == float(best not in last_tenth)
    assert has_converged(history(*losses), stopped=True) == 1
    # an earlier version recorded no more than this, and the same follows from it
    old = {"time/epochs": float(epochs), "selected/epoch": best + 1.0}
    trainer = {"max_epochs": epochs, "callbacks": {"best": {"monitor": "val/loss"}}}
    assert known(old, trainer) == {CONVERGED: float(best not in last_tenth)}


def test_what_cannot_be_known_is_not_claimed() -> None:
    assert math.isnan(has_converged([{"epoch": 0, "train/loss": 1.0}], stopped=False))
    assert has_converged([{"epoch": 0}, *history(1.0, math.nan, 0.5, 0.6)], stopped=False) == 1
    assert has_converged(history(1.0, 0.5, 0.3, math.nan), stopped=False) == 0  # it broke while it fell
    assert has_converged(history(0.3, 0.5, math.inf, math.nan), stopped=False) == 1
    assert has_converged(history(1.0), stopped=False) == 0
    rows = [{"epoch": number} for number in range(20)]  # validated every fifth epoch
    for losses, value in (((0.8, 0.5, 0.6, 0.7), 1), ((0.8, 0.7, 0.6, 0.5), 0)):
        sparse = [row | {"val/loss": losses[row["epoch"] // 5]} if row["epoch"] % 5 == 4 else row for row in rows]
        assert has_converged(sparse, stopped=False) == value
    other = {"max_epochs": 10, "callbacks": {"best": {"monitor": "val/f1"}}}
    assert known({"time/epochs": 10, "selected/epoch": 3}, other) == {}
    assert known({"time/epochs": 7, "selected/epoch": 7}, other) == {CONVERGED: 1}  # stopped early
    assert known({}, {"max_epochs": None, "callbacks": None}) == {}


def test_a_row_counts_the_runs_behind_it() -> None:
    runs = pd.DataFrame(
        {
            "model": ["mldcnn"] * 4 + ["mldrsnet"] * 2,
            "window": [20, 20, 60, 60, 20, 20],
            "recording.mvc": [10, 30, 10, 30, 10, 30],
            "recording_name": "simulated",
            "commit": "",
            "trainer.max_epochs": 8,
            CONVERGED: [0, 1, 0, 0, 1, 1],
        }
    )
    table = pd.DataFrame(
        {
            "network": ["mldcnn", "mldcnn", "mldcnn", "mldrsnet", "mldrsnet - mldcnn", "mtdcnn"],
            "window": ["20", "20", "60", "20", "20", ""],
            "condition": ["", "mvc=10", "", "", "", ""],
            "ours": [0.1, 0.2, 0.3, 0.4, 0.5, math.nan],
            "note": "",
        }
    )
    artefact = Artefact("paper/name", "Title", {"one": table}, {"one": figure("Title", 3, 3, True)}, runs=runs)
    shown = converged.mark(artefact).tables["one"]
    assert list(shown["not_converged"]) == ["1 of 2", "1 of 1", "2 of 2", "", "1 of 4", ""]
    assert list(shown)[-1] == "note"
    assert artefact.figures["one"].get_supxlabel() == "† not converged: ML-DCNN 3 of 4 runs"
    drawn = figure("Title", 3, 3, True)
    drawn.subplots().plot([1, 2], label="a line")
    pictures.legend(drawn)  # the place of the mark would be its
    converged.mark(Artefact("paper/name", "Title", {"one": table}, {"one": drawn}, runs=runs))
    assert drawn.legends[0].get_title().get_text() == "† not converged: ML-DCNN 3 of 4 runs"
    assert drawn.get_supxlabel() == ""
    settled = converged.mark(Artefact("paper/name", "Title", {"one": table}, runs=runs.assign(**{CONVERGED: 1.0})))
    assert "not_converged" not in settled.tables["one"]
    unknown = converged.mark(Artefact("paper/name", "Title", {"one": table}, runs=runs.assign(**{CONVERGED: math.nan})))
    assert unknown.tables["one"]["not_converged"][0] == "2 of 2 unknown"
    timed = Artefact("paper/name", "Title", {"one": table}, runs=runs, trained=False)
    assert converged.mark(timed).tables["one"] is table


def test_a_table_of_runs_explains_its_mark_once() -> None:
    rows = [outcome.Outcome(name=f"run {k}", scores={CONVERGED: float(k > 1)}) for k in range(4)]
    [sentence] = remarks(rows)
    assert sentence.startswith("† not converged (2 of 4 runs):")
    assert remarks(rows[2:]) == []


def test_a_launch_marks_what_had_not_converged(several: Callable[[list[tuple[str, ...]]], list[Outcome]]) -> None:
    short = (*SMALL, "window=20")
    stops = (*SMALL[:2], "window=20", "optimizer.lr=0.05", "trainer.callbacks.early_stopping.patience=1")
    first, again, stopped = several([short, short, stops])
    for done in (first, again):  # a skipped one is marked too
        assert "fold0†" in done.out
        assert "† not converged: the loss of the validation part was lowest" in done.text
    assert "†" not in stopped.out
    assert stopped.results()[0]["scores"][CONVERGED] == 1
    assert stopped.results()[0]["scores"]["time/epochs"] < 80


class Falling(LightningModule):
    """One weight, whose validation loss is what a test says."""

    def __init__(self, losses: Sequence[float]) -> None:
        super().__init__()
        self.weight, self.losses = nn.Parameter(torch.zeros(1)), losses

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.weight * batch).sum()

    def validation_step(self, batch: torch.Tensor) -> None:
        self.log("val/loss", self.losses[self.current_epoch])


@pytest.mark.parametrize(
    ("losses", "patient"),
    [
        ((1.0, 0.5, 0.6, 0.7, 0.2), True),
        ((1.0, 0.5, 0.3, math.nan, 0.2), False),  # early stopping ends this one too
        ((1.0, 0.5, 0.3, 0.2, 0.1), False),
    ],
)
def test_early_stopping_converges_where_it_ran_out_of_patience_alone(losses: tuple[float, ...], patient: bool) -> None:
    data = DataLoader(torch.ones(2, 1))
    trainer = Trainer(
        max_epochs=5, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, callbacks=[EarlyStopping("val/loss", patience=2)],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few workers and few batches
        trainer.fit(Falling(losses), data, data)
    assert train._ran_out_of_patience(trainer) == patient


def test_a_decoder_that_finds_nothing_is_told() -> None:
    [sentence] = remarks([outcome.Outcome(name="mldcnn W20", scores={"test/sensitivity": 0.0, CONVERGED: 1.0})])
    assert sentence.startswith("mldcnn W20: no discharge of the test part was found")
    assert remarks([outcome.Outcome(name="mldcnn W20", scores={"test/sensitivity": 0.1})]) == []


def finished(**columns: object) -> pd.DataFrame:
    """Finished runs as `Source.runs` gives them; a row per value of the longest column."""
    size = max(len(values) for values in columns.values() if isinstance(values, list))
    runs = pd.DataFrame({"model": ["mobilescapenet"] * size} | columns)
    common = {"seed": 0, "commit": "", "trainer.max_epochs": 8, "recording_name": "simulated"}
    return runs.assign(run_id=[f"{number}" for number in range(size)], **common)


def test_a_line_of_the_overview_is_marked_by_the_runs_of_its_own_choice() -> None:
    scores = {"test/f1": 0.5, "baseline/f1_chance": 0.1, "baseline/f1_all_positive": 0.3, "data/positive_rate": 0.1}
    hdsemg = {"model": "mldcnn", "window": 20, "step": 10, "fold": 0, **scores, "test/precision": 0.5}
    macro = {"test/macro_f1": 0.6, "test/accuracy": 0.6, "baseline/f1_chance": 0.33}
    overlaps = {"data/test_windows_overlapping_train": 0.0, "data/test_samples_seen_in_train": 0.0}
    made = {
        "protocol/split": finished(
            **hdsemg, **overlaps, recording="hdsemg_simulated", split=["random", "blocked"], **{CONVERGED: [0.0, 1.0]}
        ),
        "protocol/split_real": finished(
            **hdsemg, **overlaps, recording="otb", split=["random", "blocked"], **{CONVERGED: [1.0, 0.0]}
        ),
        "protocol/label": finished(
            **hdsemg,
            label=["step", "window", "step"],
            **{"dataset.align": [False, False, True], CONVERGED: [1.0, 0.0, 1.0]},
        ),
        "protocol/intensity": finished(
            **hdsemg, **{"recording.train_mvc": [10, 30], "recording.test_mvc": [10, 10], CONVERGED: [0.0, 1.0]}
        ),
        "mobilescapenet/control": finished(
            **macro, fold=0, split=["stimulus", "random"], **{"dataset.windows": "cap", CONVERGED: [0.0, 1.0]}
        ),
        "protocol/rats": finished(
            **macro, fold=0, recording="eng_rats",
            **{"recording.train": ["[5, 6]", "[4, 6]"], "recording.test": ["[4]", "[5]"], CONVERGED: [1.0, 1.0]},
        ),
        "mobilescapenet/model_comparison": finished(
            **macro, recording="eng_simulated", fold=[0, 1, 0], **{"recording.rat": [4, 4, 6], CONVERGED: [0.0, 1.0, 0.0]}
        ),
    }  # fmt: skip
    source = Source("sqlite:///none.db", "none")
    source._read.update(made)
    shown = converged.mark(overview.make(source)).tables["overview"]
    assert shown[["choice", "option", "not_converged"]].to_numpy().tolist() == [
        ["split, three contractions", "blocked", ""],
        ["split, three contractions", "random", "1 of 1"],
        ["split, sample recording (real)", "blocked", "1 of 1"],
        ["split, sample recording (real)", "random", ""],
        ["label", "step", ""],
        ["label", "window", "1 of 1"],
        ["alignment, label=step", "aligned", ""],
        ["alignment, label=step", "as labelled", ""],
        ["trained at", "same intensity", "1 of 1"],
        ["trained at", "another intensity", ""],
        ["split, nerve cuff", "random", ""],
        ["split, nerve cuff", "stimulus", "1 of 1"],
        ["trained on", "that rat", "1 of 2"],
        ["trained on", "other rats", ""],
    ]
    free = shown.set_index("choice")["free"]
    assert free["trained at"].tolist() == [0.3, 0.3]  # predicting every unit always, which chance is never above
    both = converged.mark(rats.make(source))
    assert dict(both.tables["rats"][["rat", "not_converged"]].to_numpy()) == {
        "4": "1 of 3",
        "5": "",
    }  # two on rat 4 itself
    assert len(both.runs) == 4
