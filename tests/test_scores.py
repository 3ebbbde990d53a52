"""Scores against scikit-learn, and their conventions where a ratio has no denominator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from neuroexp.evaluation import scores
from neuroexp.tasks.decomposition import _average_precision


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 10000))
def test_scores_equal_scikit_learn(n_windows, units, seed):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(n_windows, units, generator=generator) < 0.4
    predicted = torch.rand(n_windows, units, generator=generator) < 0.5
    tally = scores.counts(predicted, truth)
    p, r, f, _ = metrics.precision_recall_fscore_support(truth.int(), predicted.int(), average=None, zero_division=0)
    if units == 1:
        p, r, f, _ = metrics.precision_recall_fscore_support(
            truth[:, 0], predicted[:, 0], average=None, zero_division=0, labels=[1]
        )
    has = truth.any(dim=0).numpy()
    for ours, theirs in ((scores.precision, p), (scores.sensitivity, r), (scores.f1, f), (scores.miss_rate, 1 - r)):
        values = ours(tally).numpy()
        np.testing.assert_allclose(values[has], theirs[has])
        assert np.all(np.isnan(values[~has]))


def test_counts_of_an_epoch_are_not_means_of_batches():
    truth = torch.tensor([[1], [0], [0], [1]]).bool()
    predicted = torch.tensor([[1], [0], [1], [0]]).bool()
    whole = scores.counts(predicted, truth)
    halves = scores.counts(predicted[:2], truth[:2]) + scores.counts(predicted[2:], truth[2:])
    assert torch.equal(whole, halves)
    assert float(scores.f1(whole)) == 0.5


def test_a_unit_counts_as_identified_below_a_tenth_missed():
    tally = torch.tensor([[90, 91, 10, 0], [0, 0, 99, 5], [10, 9, 0, 0]])
    assert scores.identified(tally).tolist() == [False, True, True, False]


def test_all_positive_scores_are_the_known_ones():
    # 10 Hz, whole-window labels: F1 0.18/0.45/0.66/0.81 for an all-positive predictor
    rates = torch.tensor([20, 60, 100, 140]) / 204.8
    assert scores.f1_all_positive(rates).numpy() == pytest.approx([0.18, 0.45, 0.66, 0.81], abs=0.01)


def test_chance_is_what_a_random_predictor_reaches():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(200_000, 1, generator=generator) < 0.2
    predicted = torch.rand(200_000, 1, generator=generator) < 0.3
    expected = scores.f1_chance(torch.tensor([0.2]), torch.tensor([0.3]))
    assert float(scores.f1(scores.counts(predicted, truth))) == pytest.approx(float(expected), abs=0.005)


def test_mean_and_spread_leave_out_units_without_a_score():
    assert scores.mean_and_spread(torch.tensor([1.0, torch.nan, 3.0])) == (2.0, pytest.approx(2**0.5))
    mean, spread = scores.mean_and_spread(torch.tensor([1.0, torch.nan]))
    assert mean == 1
    assert np.isnan(spread)  # one unit has none, which is not 0.000
    assert np.isnan(scores.mean_and_spread(torch.tensor([torch.nan]))).all()


@pytest.mark.parametrize("units", [1, 3])
def test_average_precision_equals_scikit_learn(units):
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(80, units, generator=generator) < 0.3
    probabilities = torch.rand(80, units, generator=generator)
    truth[:, -1] &= units == 1
    ours = _average_precision(probabilities, truth)
    for unit in range(units):
        if truth[:, unit].any():
            assert float(ours[unit]) == pytest.approx(
                metrics.average_precision_score(truth[:, unit], probabilities[:, unit])
            )
        else:
            assert torch.isnan(ours[unit])
