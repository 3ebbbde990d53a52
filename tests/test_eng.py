"""ENG folds and classification: splits over CAPs and stimuli, the control at rest, scores against independent ones."""

import copy
import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Trainer
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torch import nn
from torchmetrics.functional.classification import multiclass_f1_score

from neuroexp.data import control, segments, splits
from neuroexp.data.cuff import CLASSES, GRID, Signatures
from neuroexp.datasets.eng import eng
from neuroexp.evaluation import scores
from neuroexp.recordings import hdsemg_simulated
from neuroexp.tasks.classification import Classification, confusion

STIMULUS = lambda *words: splits.stimulus(*words, seed=0)  # noqa: E731
RANDOM = lambda *words: splits.random(*words, seed=0)  # noqa: E731


def signatures(n_stimuli=12, per_stimulus=5, seed=0, rest=True, **changes):
    """Return signatures whose mean tells the class, as many in every stimulus; at rest nothing does."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(3), n_stimuli * per_stimulus)
    stimulus = np.repeat(np.arange(3 * n_stimuli), per_stimulus)
    first = (
        stimulus * 30_000 + np.tile(np.arange(per_stimulus), 3 * n_stimuli) * 95
    )  # the next one begins 5 samples early
    windows = rng.standard_normal((len(label), 100, 56)).astype(np.float32)
    words = {
        "name": "made",
        "sha256": "0" * 64,
        "rate_hz": 30_000.0,
        "windows": windows + (2 * np.eye(3)[label] @ np.eye(3, 56))[:, None].astype(np.float32) * 2,
        "label": label,
        "first": first,
        "n_samples": 30_000 * 3 * n_stimuli + 1000,
        "stimulus": stimulus,
    }
    quiet = Signatures(**words | {"windows": windows}) if rest else None
    return Signatures(**words | {"rest": quiet} | changes)


def fold_of(recording, split=STIMULUS, fold=0, **changes):
    settings = {
        "window": 100, "step": None, "fold": fold, "seed": 0, "split": split, "rate_hz": 30_000.0, "preprocessing": None,
        "cache": "", "order": "spatial", "windows": "cap", "test_share": 0.15, "batch_size": 64,
    } | changes  # fmt: skip
    return eng(recording, **settings)


# splits


@pytest.mark.slow
@given(n_stimuli=st.integers(7, 30), per_stimulus=st.integers(1, 6), seed=st.integers(0, 20))
def test_stimuli_stay_together_and_every_one_validates_once(n_stimuli, per_stimulus, seed):
    made = signatures(n_stimuli, per_stimulus, rest=False)
    events = splits.Events(made.label, made.stimulus, CLASSES, 0.15)
    timeline = splits.Timeline(made.n_samples, 30_000, events=events)
    found = [splits.stimulus(made.first, 100, timeline, fold, seed) for fold in range(5)]
    tests = {tuple(split.test) for split in found}
    assert len(tests) == 1  # held out once
    for split in found:
        parts = (split.train, split.validation, split.test)
        assert sorted(np.concatenate(parts)) == list(range(len(made.label)))
        groups = [set(made.stimulus[part]) for part in parts]
        assert sum(map(len, groups)) == len(set.union(*groups))
        assert all(set(made.label[part]) == {0, 1, 2} for part in parts)
        assert segments.overlap_audit(made.n_samples, made.first, 100, split.train, split.test) == (0, 0)
    validated = np.concatenate([split.validation for split in found])
    assert sorted(validated) == sorted(set(range(len(made.label))) - set(found[0].test))
    assert len(found[0].test) == pytest.approx(0.15 * len(made.label), abs=1.5 * per_stimulus * 3)


def test_random_caps_share_stimuli_and_samples_and_the_audit_says_so():
    made = signatures()
    facts = fold_of(made, RANDOM).facts
    assert facts["test_stimuli_seen_in_train"] > 0.9
    assert facts["test_windows_overlapping_train"] > 0.5
    assert 0 < facts["test_samples_seen_in_train"] < 0.1
    facts = fold_of(made, STIMULUS).facts
    assert [facts[f"test_{name}"] for name in ("stimuli_seen_in_train", "windows_overlapping_train")] == [0, 0]


def test_random_holds_out_15_percent_and_validates_a_fifth_of_the_rest():
    split = fold_of(signatures(20, 5), RANDOM).split
    assert len(split.test) == 45
    assert len(split.validation) == pytest.approx(255 / 5, abs=3)


def test_the_test_part_that_a_source_brings():
    test = np.arange(180) % 4 == 0
    made = signatures(test=test, stimulus=None, rest=False)
    fold = fold_of(made, lambda *words: splits.given(*words, seed=0))
    assert np.array_equal(fold.split.test, np.flatnonzero(test))
    assert "test_windows_overlapping_train" not in fold.facts  # nobody knows when the CAPs were


# the fold


@pytest.mark.parametrize("order", ["spatial", "temporal"])
def test_batches_hold_the_standardised_signatures(order):
    made = signatures()
    fold = fold_of(made, order=order)
    channels = GRID.ravel() if order == "spatial" else GRID.T.ravel()
    train = made.windows[fold.split.train][:, :, channels]
    mean, std = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
    [(x, y)] = fold.test_dataloader()
    expected = (made.windows[fold.split.test][:, :, channels] - mean) / std
    np.testing.assert_allclose(x.numpy(), expected.transpose(0, 2, 1), atol=1e-4)
    assert y.argmax(dim=1).tolist() == made.label[fold.split.test].tolist()
    assert fold.shape == {"n_channels": 56, "window": 100, "n_outputs": 3}


def test_temporal_order_puts_the_rings_of_a_contact_side_by_side():
    made = signatures()
    marked = np.broadcast_to(np.arange(56, dtype=np.float32), made.windows.shape) + 0.01 * made.windows
    fold = fold_of(signatures(windows=marked.astype(np.float32)), order="temporal")
    assert np.rint(fold.mean[:8]).tolist() == [0, 8, 16, 24, 32, 40, 48, 1]


def test_the_control_is_of_the_windows_at_rest_split_as_the_caps_are():
    made = signatures()
    fold = fold_of(made)
    assert fold.control == control.scores(made.rest, fold.split)
    assert len(fold.starts) == len(made.label)  # the windows at rest take no memory of the fold
    assert fold_of(made, windows="rest").control == fold_of(signatures(rest=False)).control == {}


def test_too_little_rest_for_the_split_leaves_no_control_and_says_so():
    made = signatures(10)
    some = made.rest.stimulus % 10 < 5  # of each class five gaps of ten
    words = {name: getattr(made.rest, name)[some] for name in ("windows", "label", "first", "stimulus")}
    fold = fold_of(dataclasses.replace(made, rest=dataclasses.replace(made.rest, **words)))
    assert fold.control == {}
    [note] = fold.source.notes
    assert note.startswith("made: there is no control: dorsiflexion has 5 stretches at rest, too few")


BROKEN = {
    "simulated S1 30% MVC is no recording of a nerve cuff": lambda: fold_of(hdsemg_simulated.read(duration_s=2)),
    "step=10: with dataset=eng windows follow the CAPs": lambda: fold_of(signatures(), step=10),
    "dataset.order=sideways is neither spatial nor temporal": lambda: fold_of(signatures(), order="sideways"),
    "dataset.windows=all is neither cap nor rest": lambda: fold_of(signatures(), windows="all"),
    "dataset.test_share=1.5 must lie between": lambda: fold_of(signatures(), test_share=1.5),
    "its signatures are 100 samples at 30000 Hz, not window=60": lambda: fold_of(signatures(), window=60),
    "come without windows at rest": lambda: fold_of(signatures(rest=False), windows="rest"),
    "dorsiflexion has 5 stimuli, too few for a test part of 1 and 5 folds": lambda: fold_of(signatures(5)),
    "dorsiflexion has 4 CAPs, too few for a test part of 1 and 5 folds": lambda: fold_of(signatures(2, 2), RANDOM),
    "fold=5 names none of the five folds: it must be 0 to 4": lambda: fold_of(signatures(), fold=5),
    "this source does not; take random or given": lambda: fold_of(signatures(stimulus=None)),
    "split=given needs a source that sets a test part aside": lambda: fold_of(
        signatures(), lambda *words: splits.given(*words, seed=0)
    ),
    "split=blocked cuts one continuous recording": lambda: fold_of(
        signatures(), lambda *words: splits.blocked(*words, seed=0, block_s=1, shortest_block_s=0.4)
    ),
    "split=contraction cuts one continuous recording": lambda: fold_of(
        signatures(), lambda *words: splits.contraction(*words, validation=0.2)
    ),
    "signature 8 holds a value that is not finite": lambda: signatures(
        windows=np.where(np.arange(180)[:, None, None] == 7, np.nan, signatures().windows).astype(np.float32)
    ),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_one_clear_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        BROKEN[sentence]()


def test_hdsemg_takes_no_cuff_and_no_stimuli():
    with pytest.raises(ValueError, match="split=stimulus is for windows that follow stimuli"):
        splits.stimulus(np.arange(9), 5, splits.Timeline(100, 2048), 0, 0)


# scores


@given(seed=st.integers(0, 1000), size=st.integers(1, 60))
def test_confusion_and_f1_equal_scikit_learn_and_torchmetrics(seed, size):
    rng = np.random.default_rng(seed)
    truth, logits = rng.integers(0, 3, size), torch.from_numpy(rng.standard_normal((size, 3)))
    predicted = logits.argmax(dim=1)
    counts = confusion(logits, torch.eye(3)[truth])
    assert counts.tolist() == confusion_matrix(truth, predicted, labels=range(3)).tolist()
    f1 = scores.f1(scores.counts_of(counts))
    present = np.unique(truth)
    expected = f1_score(truth, predicted, labels=range(3), average=None, zero_division=0)
    np.testing.assert_allclose(f1[present], expected[present], atol=1e-12)
    other = multiclass_f1_score(predicted, torch.from_numpy(truth), num_classes=3, average=None)
    np.testing.assert_allclose(f1[present], other[present], atol=1e-6)


class Mean(nn.Module):
    """A linear readout of the mean over time."""

    def __init__(self):
        super().__init__()
        self.readout = nn.Linear(56, 3)

    def forward(self, x):
        return self.readout(x.mean(dim=2))


@pytest.fixture(scope="module")
def tested():
    """A task after training and test on signatures that tell the class, with what its trainer has logged."""
    torch.manual_seed(0)
    fold = fold_of(signatures(20, 6))
    task = Classification(Mean(), lambda parameters: torch.optim.Adam(parameters, lr=0.05))
    task.train_rate = fold.labels[fold.split.train].mean(dim=0)
    trainer = Trainer(
        max_epochs=20, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(task, datamodule=fold)
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    [logged] = trainer.test(task, datamodule=fold, verbose=False)
    return SimpleNamespace(task=task, fold=fold, logged=logged, seen=seen)


def test_scores_of_a_test_equal_those_of_its_predictions(tested):
    [(x, y)] = tested.fold.test_dataloader()
    truth, predicted = y.argmax(dim=1), tested.task.model(x).argmax(dim=1)
    assert tested.logged["test/accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert tested.logged["test/macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    for number, name in enumerate(CLASSES):
        expected = f1_score(truth, predicted, labels=[number], average=None)[0]
        assert tested.logged[f"test/f1_{name}"] == pytest.approx(expected)
    assert tested.logged["test/macro_f1"] > 0.95
    assert {"train/loss", "train/macro_f1", "val/loss", "val/accuracy", "val/macro_f1"} <= tested.seen.keys()


def test_what_chance_scores(tested):
    assert tested.logged["baseline/f1_chance"] == pytest.approx(1 / 3, abs=0.01)
    assert tested.logged["baseline/accuracy_majority"] == pytest.approx(1 / 3, abs=0.01)


def test_a_class_that_the_test_part_lacks_takes_no_part_in_a_mean(tested):
    """Neither of the score nor of what chance reaches, which would stand there as a third too low."""
    task = Classification(tested.task.model, torch.optim.Adam)
    task.train_rate = torch.full((3,), 1 / 3)
    fold = copy.copy(tested.fold)
    kept = fold.labels[fold.split.test].argmax(dim=1) > 0
    fold.split = dataclasses.replace(fold.split, test=fold.split.test[kept])
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    [logged] = trainer.test(task, datamodule=fold, verbose=False)
    assert math.isnan(logged[f"test/f1_{CLASSES[0]}"])
    assert logged["test/macro_f1"] > 0.9
    assert logged["baseline/f1_chance"] == pytest.approx(2 * 0.5 / 3 / (0.5 + 1 / 3), abs=0.01)


def test_tables_and_pictures(tested):
    tables = tested.task.tables(tested.fold)
    assert [row["class"] for row in tables["per_class"]] == list(CLASSES)
    assert sum(row["windows"] for row in tables["per_class"]) == len(tested.fold.split.test)
    assert tables["confusion"][0].keys() == {"true", *CLASSES}
    figures = tested.task.figures(tested.fold, [{"epoch": 0, "train/loss": 1.0, "val/loss": 1.0}])
    assert set(figures) == {"loss", "confusion", "signatures"}  # no recording, no picture of its preparation
