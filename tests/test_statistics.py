"""The statistics of the tables, against SciPy and against worked examples of textbooks and R packages."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from experiments import statistics

# Hollander and Wolfe, Nonparametric Statistical Methods, Example 7.1: seconds of 22 players rounding first base in three
# ways (round out, narrow angle, wide angle); also the example of R's friedman.test
ROUNDING = np.array(
    [
        [5.40, 5.50, 5.55], [5.85, 5.70, 5.75], [5.20, 5.60, 5.50], [5.55, 5.50, 5.40], [5.90, 5.85, 5.70],
        [5.45, 5.55, 5.60], [5.40, 5.40, 5.35], [5.45, 5.50, 5.35], [5.25, 5.15, 5.00], [5.85, 5.80, 5.70],
        [5.25, 5.20, 5.10], [5.65, 5.55, 5.45], [5.60, 5.35, 5.45], [5.05, 5.00, 4.95], [5.50, 5.50, 5.40],
        [5.45, 5.55, 5.50], [5.55, 5.55, 5.35], [5.45, 5.50, 5.55], [5.50, 5.45, 5.25], [5.65, 5.60, 5.40],
        [5.70, 5.65, 5.55], [6.30, 6.30, 6.25],
    ]
)  # fmt: skip

# Sachs (1997), p. 675: six people, six diuretics; the Friedman-Nemenyi example of R's package PMCMR
DIURETICS = np.array(
    [
        [3.88, 30.58, 25.24, 4.44, 29.41, 38.87],
        [5.64, 30.14, 33.52, 7.94, 30.72, 33.12],
        [5.76, 16.92, 25.45, 4.04, 32.92, 39.15],
        [4.25, 23.19, 18.85, 4.40, 28.23, 28.06],
        [5.91, 26.74, 20.45, 4.23, 23.35, 38.23],
        [4.33, 10.91, 26.67, 4.36, 12.00, 26.65],
    ]
)

scores = arrays(np.float64, st.tuples(st.integers(3, 12), st.integers(3, 5)), elements=st.integers(0, 20).map(float))


def table(values):
    return pd.DataFrame(values, columns=[f"network{k}" for k in range(values.shape[1])])


def test_friedman_of_the_textbook():
    statistic, p = statistics.friedman(ROUNDING)
    assert statistic == pytest.approx(11.143, abs=5e-4)
    assert p == pytest.approx(0.003805, abs=5e-7)


@given(scores)
def test_friedman_agrees_with_scipy(values):
    statistic, p = statistics.friedman(values)
    if np.all(values == values[:, :1]):  # SciPy divides by zero where nothing differs
        assert (statistic, p) == (0.0, 1.0)
    else:
        expected = stats.friedmanchisquare(*values.T)
        assert (statistic, p) == pytest.approx((expected.statistic, expected.pvalue))


def test_post_hoc_of_the_r_package():
    pairs = statistics.compare(table(DIURETICS)).pairs
    found = {(row.first[-1], row.second[-1]): row.p_post_hoc for row in pairs.itertuples()}
    published = {"01": 0.1880, "02": 0.0917, "03": 0.9996, "04": 0.0395, "05": 0.0016, "12": 0.9996, "13": 0.3388}
    published |= {"14": 0.9898, "15": 0.6363, "23": 0.1880, "24": 0.9996, "25": 0.8200, "34": 0.0917, "35": 0.0052}
    published |= {"45": 0.9400}
    assert found == pytest.approx({tuple(pair): p for pair, p in published.items()}, abs=5e-5)


def test_critical_difference_of_demsar():
    # Demsar (2006), table 5: q at 0.05 for 2 to 5 classifiers, in units of sqrt(k (k + 1) / 6 N)
    for k, q in {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728}.items():
        assert statistics.critical_difference(14, k) == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), rel=5e-4)


@given(scores)
def test_a_rank_difference_is_critical_where_the_post_hoc_rejects(values):
    n, k = values.shape
    limit = statistics.critical_difference(n, k)
    assert statistics.nemenyi(limit * 1.001, n, k) < 0.05 < statistics.nemenyi(limit * 0.999, n, k)


def test_holm_of_the_textbook():
    # Holm (1979) as R's p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm")
    assert statistics.holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_never_lowers_p_and_keeps_the_order(p):
    corrected = statistics.holm(p)
    assert np.all(corrected >= p)
    assert np.all(corrected <= 1)
    assert np.all(np.diff(corrected[np.argsort(p)]) >= 0)
    assert corrected.min() == pytest.approx(min(1, p.min() * len(p)))


@given(arrays(np.float64, st.integers(3, 12), elements=st.integers(-9, 9).map(float)))
def test_rank_biserial_turns_round_with_the_sign(difference):
    effect = statistics.rank_biserial(difference)
    assert -1 <= effect <= 1
    assert statistics.rank_biserial(-difference) == pytest.approx(-effect)
    if np.all(difference > 0):
        assert effect == 1


def test_rank_biserial_of_the_textbook():
    # Kerby (2014): favourable less unfavourable rank sum over all, here 8 against 2
    assert statistics.rank_biserial(np.array([-2.0, 1.0, 3.0, 4.0])) == pytest.approx((8 - 2) / 10)


def test_the_interval_of_the_mean_is_scipys():
    values = np.random.default_rng(1).normal(0.5, 0.1, 12)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000).confidence_interval
    assert statistics.interval(values) == pytest.approx(tuple(expected), abs=0.004)


def test_the_best_network_has_rank_one():
    found = statistics.compare(table(np.array([[0.9, 0.5, 0.1]] * 5)))
    assert list(found.ranks) == [1, 2, 3]
    assert found.kendall_w == pytest.approx(1)
    assert list(found.pairs["effect"]) == [1, 1, 1]


def test_gaps_and_too_few_recordings_are_refused():
    gap = table(ROUNDING)
    gap.iloc[3, 1] = np.nan
    with pytest.raises(ValueError, match="unpaired: network1 has no score on 3"):
        statistics.compare(gap)
    with pytest.raises(ValueError, match="2 recordings cannot show a difference"):
        statistics.compare(table(ROUNDING[:2]))
    with pytest.raises(ValueError, match="nothing to compare with network0"):
        statistics.compare(table(ROUNDING[:, :1]))
