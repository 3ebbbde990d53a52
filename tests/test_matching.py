"""Spike trains against an independent matching, and what a score must be whatever the trains are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from neuroexp.evaluation import matching

TRAINS = st.lists(st.integers(0, 300), max_size=12, unique=True).map(lambda train: np.array(sorted(train), dtype=int))
WITHIN = st.sampled_from([0, 0.5, 1.024, 3, 5])


def reference(true, found, within):
    """The most pairs within reach, by SciPy's maximum matching."""
    if not len(true) or not len(found):
        return 0
    near = csr_array(np.abs(true[:, None] - found) <= within)
    return int(np.sum(maximum_bipartite_matching(near) >= 0))


@given(TRAINS, TRAINS, WITHIN)
def test_as_many_pairs_as_can_be_and_each_discharge_once(true, found, within):
    chosen = matching.pairs(true, found, within)
    assert len(chosen) == reference(true, found, within)
    for side in zip(*chosen, strict=True):
        assert len(set(side)) == len(chosen)
    assert all(abs(true[first] - found[second]) <= within for first, second in chosen)


@given(TRAINS, TRAINS, WITHIN, st.integers(0, 30))
def test_the_best_lag_matches_most_and_is_the_smallest_that_does(true, found, within, max_lag):
    best = matching.agreement(true, found, within, max_lag)
    counts = {lag: reference(true, found - lag, within) for lag in range(-max_lag, max_lag + 1)}
    assert best.matched == max(counts.values())
    assert abs(best.lag) == min(abs(lag) for lag, count in counts.items() if count == best.matched)
    assert counts[best.lag] == best.matched
    assert (best.matched + best.only_true, best.matched + best.only_found) == (len(true), len(found))


@given(TRAINS, TRAINS, WITHIN, st.integers(-500, 500))
def test_symmetric_and_blind_to_a_common_shift(true, found, within, shift):
    one = matching.agreement(true, found, within, 20)
    other = matching.agreement(found, true, within, 20)
    assert (one.matched, one.only_true, one.only_found) == (other.matched, other.only_found, other.only_true)
    np.testing.assert_equal(
        [one.rate, one.sensitivity, one.precision], [other.rate, other.precision, other.sensitivity]
    )
    assert matching.agreement(true + shift, found + shift, within, 20) == one


@given(TRAINS, WITHIN, st.integers(-20, 20))
def test_a_train_agrees_with_itself_at_any_delay(train, within, delay):
    found = matching.agreement(train, train + delay, within, 20)
    if len(train):
        assert (found.rate, found.sensitivity, found.precision) == (1, 1, 1)
        assert abs(found.lag - delay) <= within
        assert matching.agreement(train, train, within, 20).lag == 0
    else:
        assert np.isnan([found.rate, found.sensitivity, found.precision]).all()


def test_the_scores_of_a_case_counted_by_hand():
    true, found = np.array([100, 200, 300, 400]), np.array([107, 207, 260, 408, 600])
    best = matching.agreement(true, found, 1, 40)  # 7 or 8 samples late, give or take one
    assert (best.matched, best.only_true, best.only_found, best.lag) == (3, 1, 2, 7)
    assert (best.rate, best.sensitivity, best.precision) == (3 / 6, 3 / 4, 3 / 5)


def test_the_tolerance_is_half_a_millisecond_where_the_step_allows_it():
    assert matching.tolerance(2048, 2) == (pytest.approx(1.024), "±0.5 ms")
    assert matching.tolerance(2048, 10) == (5, "±2.44 ms, half a step of 10 samples")
