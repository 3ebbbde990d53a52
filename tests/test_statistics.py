"""The statistics of the tables, against SciPy and against worked examples of textbooks and R packages."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from experiments import pictures, ranks, statistics

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


# exact tails as tabled, Siegel (1956), table N: subjects, networks, chi-squared, p
FRIEDMAN = [
    (3, 3, 6.0, 0.028), (3, 3, 4.667, 0.194), (3, 3, 2.667, 0.361), (4, 3, 8.0, 0.0046), (4, 3, 6.5, 0.042),
    (4, 3, 6.0, 0.069), (2, 4, 6.0, 0.042), (3, 4, 9.0, 0.0017), (3, 4, 7.4, 0.033),
]  # fmt: skip


def chi_squared(sums, n):
    """Friedman's statistic of doubled rank sums without ties."""
    k = sums.shape[1]
    return 12 / (n * k * (k + 1)) * ((sums / 2 - n * (k + 1) / 2) ** 2).sum(axis=1)


@pytest.mark.parametrize(("n", "k", "statistic", "p"), FRIEDMAN)
def test_friedman_of_the_tables(n, k, statistic, p):
    sums, chance = ranks.sums(np.tile(np.arange(k, dtype=float), (n, 1)))
    assert chance[chi_squared(sums, n) >= statistic - 5e-4].sum() == pytest.approx(p, abs=6e-4)


def test_friedman_of_the_textbook():
    statistic, p = statistics.friedman(ROUNDING)
    assert statistic == pytest.approx(11.143, abs=5e-4)
    assert p == pytest.approx(0.003805, rel=0.35)  # which is the asymptotic one; 22 players are many


def test_four_subjects_and_two_networks_can_say_no_more_than_an_eighth():
    values = np.array([[0.9, 0.5], [0.8, 0.6], [0.7, 0.1], [0.9, 0.2]])
    assert statistics.friedman(values) == (4.0, 0.125)
    assert stats.chi2.sf(4.0, 1) == pytest.approx(0.0455, abs=5e-5)  # the asymptotic p, which is none at this size
    found = statistics.compare(table(values))
    assert found.p == 0.125
    assert found.pairs["p_holm"].isna().all()
    assert found.critical_difference == np.inf
    assert (
        "4 subjects cannot show a difference at 0.05 in the post hoc test (smallest possible p 0.12)" in found.untested
    )


@given(arrays(np.float64, st.tuples(st.integers(3, 20), st.just(2)), elements=st.integers(0, 5).map(float)))
def test_friedman_of_two_networks_is_the_sign_test(values):
    wins, losses = (np.sum(values[:, 0] > values[:, 1]), np.sum(values[:, 0] < values[:, 1]))
    expected = stats.binomtest(int(wins), int(wins + losses)).pvalue if wins + losses else 1.0
    assert statistics.friedman(values)[1] == pytest.approx(expected)


small = arrays(
    np.float64, st.one_of(st.just((3, 3)), st.just((4, 3)), st.just((2, 4))), elements=st.integers(0, 4).map(float)
)


@settings(max_examples=15, deadline=None)
@given(small)
def test_p_values_are_those_of_every_permutation_ties_included(values):
    columns = tuple(stats.rankdata(-values, axis=1).T)

    def exact(statistic, least):
        found = stats.permutation_test(
            columns, statistic, permutation_type="samples", n_resamples=np.inf, alternative="greater", vectorized=True
        )
        return found.pvalue if found.statistic > least else 1.0

    def squares(*columns, axis):
        means = np.stack([column.mean(axis=axis) for column in columns])
        return ((means - means.mean(axis=0)) ** 2).sum(axis=0)

    def span(*columns, axis):
        return np.ptp(np.stack([column.mean(axis=axis) for column in columns]), axis=0)

    assert statistics.friedman(values)[1] == pytest.approx(exact(squares, 1e-12))
    widest = span(*columns, axis=0)
    spans, chance = statistics._spans(values)
    assert statistics._beyond(spans, chance, widest) == pytest.approx(exact(span, 1e-12))


@pytest.mark.slow
@given(scores)
def test_friedmans_statistic_agrees_with_scipy(values):
    statistic, p = statistics.friedman(values)
    if np.all(values == values[:, :1]):  # SciPy divides by zero where nothing differs
        assert (statistic, p) == (0.0, 1.0)
    else:
        assert statistic == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


@pytest.mark.parametrize("shape", [(60, 3), (40, 5)])  # counted, drawn
def test_with_many_subjects_the_exact_p_is_the_asymptotic_one(shape):
    values = np.random.default_rng(5).normal(size=shape) + np.linspace(0, 0.45, shape[1])
    expected = stats.friedmanchisquare(*values.T).pvalue
    assert 0.001 < expected < 0.3
    assert statistics.friedman(values)[1] == pytest.approx(expected, rel=0.1)
    n, k = shape
    pairs = statistics.compare(table(values)).pairs
    q = np.ptp(stats.rankdata(values, axis=1).mean(axis=0)) / np.sqrt(k * (k + 1) / (12 * n))
    assert pairs["p_post_hoc"].min() == pytest.approx(stats.studentized_range.sf(q, k, np.inf), rel=0.25)


def test_what_is_drawn_is_near_what_is_counted(monkeypatch):
    values = np.random.default_rng(2).normal(size=(7, 4))
    counted = statistics.friedman(values)[1]
    monkeypatch.setattr(ranks, "LARGEST", 10)
    ranks._sums.cache_clear()
    drawn = statistics.friedman(values)[1]
    ranks._sums.cache_clear()
    assert drawn != counted
    assert drawn == pytest.approx(counted, abs=5 * np.sqrt(counted * (1 - counted) / ranks.DRAWN))


def test_the_post_hoc_of_six_people_is_exact_where_the_r_packages_is_asymptotic():
    pairs = statistics.compare(table(DIURETICS)).pairs
    found = {row.first[-1] + row.second[-1]: row.p_post_hoc for row in pairs.itertuples()}
    asymptotic = {"01": 0.1880, "02": 0.0917, "03": 0.9996, "04": 0.0395, "05": 0.0016, "12": 0.9996, "13": 0.3388}
    asymptotic |= {"14": 0.9898, "15": 0.6363, "23": 0.1880, "24": 0.9996, "25": 0.8200, "34": 0.0917, "35": 0.0052}
    asymptotic |= {"45": 0.9400}
    for one, other in itertools.combinations(found, 2):  # the same order
        assert (found[one] < found[other]) == (asymptotic[one] < asymptotic[other])
    draws = np.random.default_rng(9).random((40_000, *DIURETICS.shape)).argsort(axis=2).mean(axis=1)
    spans = np.ptp(draws, axis=1)
    means = stats.rankdata(DIURETICS, axis=1).mean(axis=0)
    for pair, p in found.items():
        expected = np.mean(spans >= abs(means[int(pair[0])] - means[int(pair[1])]) - 1e-9)
        assert p == pytest.approx(expected, abs=5 * np.sqrt(max(p, 1e-4) * (1 - p + 1e-4) / 28_000))
    assert found["05"] < 0.001 < asymptotic["05"]  # whose tail is too heavy for so few


@pytest.mark.parametrize(("n", "k"), [(6, 5), (5, 3), (16, 3), (3, 3)])
def test_a_rank_difference_is_critical_where_the_post_hoc_rejects(n, k):
    values = np.random.default_rng(1).normal(size=(n, k))
    found = statistics.compare(table(values))
    rows = found.pairs.assign(
        apart=[abs(found.ranks[a] - found.ranks[b]) for a, b in found.pairs[["first", "second"]].values]
    )
    rejected = rows["apart"] >= found.critical_difference - 1e-9
    assert list(rejected) == list(rows["p_post_hoc"] <= 0.05)
    asymptotic = stats.studentized_range.isf(0.05, k, np.inf) * np.sqrt(k * (k + 1) / (12 * n))  # Demsar (2006)
    assert found.critical_difference == pytest.approx(asymptotic, abs=1 / n + 0.05 * asymptotic)


def test_the_tests_hold_their_level_where_intensities_of_a_subject_go_together():
    """Sixteen subjects at three intensities, no network better than another, an intra-class correlation of 0.6."""
    rng = np.random.default_rng(0)
    repeats = 1500
    by_subject = by_recording = 0
    for _ in range(repeats):
        subjects = rng.normal(0, np.sqrt(0.6), (16, 1, 3)) + rng.normal(0, np.sqrt(0.4), (16, 3, 3))
        by_subject += statistics.friedman(subjects.mean(axis=1))[1] <= 0.05
        by_recording += statistics.friedman(subjects.reshape(48, 3))[1] <= 0.05
    sums, chance = ranks.sums(np.tile([0.0, 1.0, 2.0], (16, 1)))
    tails = {value: chance[chi_squared(sums, 16) >= value - 1e-9].sum() for value in np.unique(chi_squared(sums, 16))}
    size = max(p for p in tails.values() if p <= 0.05)  # the level that whole ranks can reach
    assert 0.03 < size <= 0.05
    low, high = stats.binom.interval(0.999, repeats, size)
    assert low <= by_subject <= high
    assert by_recording / repeats > 0.15  # what counting every recording as independent does


def test_six_rats_cannot_tell_five_networks_apart_pair_by_pair():
    values = np.linspace(0, 1, 5) + np.linspace(0, 1, 6)[:, None] * np.linspace(1, 1.3, 5)  # all rats agree
    found = statistics.compare(table(values))
    assert "the signed rank test after Holm (10 pairs) (smallest possible p 0.31)" in found.untested
    assert found.pairs["p_holm"].isna().all()
    assert found.pairs["p_post_hoc"].min() < 0.001  # which they can
    assert found.p < 1e-6
    assert statistics.compare(table(values[:, :3])).untested.count("smallest") == 1
    assert statistics.compare(table(values[:, :2])).untested == ""
    assert statistics.compare(table(values[:, :2])).pairs["p_holm"].tolist() == pytest.approx([2 / 2**6])


@pytest.mark.slow
@given(arrays(np.float64, st.integers(1, 11), elements=st.integers(-6, 6).map(float)))
def test_the_signed_rank_test_is_scipys_exact_one_ties_included(difference):
    nonzero = difference[difference != 0]
    expected = 1.0
    if len(nonzero) > 1:
        expected = stats.wilcoxon(nonzero, method=stats.PermutationMethod(n_resamples=np.inf)).pvalue
    assert ranks.signed_rank(difference) == pytest.approx(expected)


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


SKEWED = {
    "normal": lambda rng, n: rng.normal(size=n),
    "near 1": lambda rng, n: rng.beta(8, 1, n) - 8 / 9,
    "counts": lambda rng, n: np.round(rng.normal(size=n)),  # many of them tied
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 6, 16])
@pytest.mark.parametrize("kind", SKEWED)
def test_an_interval_covers_what_it_says(kind, n, monkeypatch):
    rng = np.random.default_rng(n)
    repeats = 400
    inside = 0
    for _ in range(repeats):
        low, high = statistics.interval(SKEWED[kind](rng, n))
        inside += low <= 0 <= high
    assert inside >= stats.binom.ppf(0.001, repeats, 0.94)  # 0.90 here; percentiles cover 0.81 to 0.84 at n=5


def test_an_interval_of_scores_that_are_mostly_equal_is_students():
    values = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.6])  # of whose resamples a third has no spread
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert statistics.interval(values) == pytest.approx((found.low, found.high))


def test_means_of_the_same_folds_in_another_order_are_tied():
    """0.1 + 0.2 is not 0.3 to a computer, which is no difference between networks."""
    folds = np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [0.7, 0.2, 0.1], [0.6, 0.1, 0.4], [0.2, 0.9, 0.3]])
    first, second = folds.sum(axis=1), folds[:, ::-1].sum(axis=1)
    assert (first != second).any()
    found = statistics.compare(table(np.column_stack([first, second])))
    assert (found.friedman, found.p) == (0, 1)
    assert found.pairs["effect"].tolist() == [0]
    # of which the sizes are tied: 0.9 - 0.7, 0.3 - 0.1 and so on
    tied = np.array([[0.9, 0.7], [0.3, 0.1], [0.6, 0.4], [0.2, 0.4], [0.5, 0.3], [0.8, 0.6], [0.7, 0.2]])
    [row] = statistics.compare(table(tied)).pairs.to_dict("records")
    exact = stats.wilcoxon([2, 2, 2, -2, 2, 2, 5], method=stats.PermutationMethod(n_resamples=np.inf)).pvalue
    assert row["p_signed_rank"] == pytest.approx(exact)


@settings(max_examples=30, deadline=None)
@given(scores)
def test_networks_are_joined_where_the_post_hoc_does_not_reject(values):
    found = statistics.compare(table(values))
    groups = pictures.joined(found)
    for row in found.pairs[found.pairs["p_post_hoc"].notna()].to_dict("records"):
        one, other = found.ranks[row["first"]], found.ranks[row["second"]]
        together = any(low <= min(one, other) and max(one, other) <= high for low, high in groups)
        assert one == other or together == (row["p_post_hoc"] > statistics.ALPHA)


def test_no_interval_of_fewer_than_five():
    values = np.array([0.1, 0.5, 0.2, 0.4, 0.35])
    assert np.isnan(statistics.interval(values[:4])).all()
    low, high = statistics.interval(values)
    assert low < values.mean() < high
    assert statistics.interval(np.full(6, 0.3)) == pytest.approx((0.3, 0.3))
    shifted = np.array(statistics.interval(values + 5))
    assert shifted == pytest.approx(np.array([low, high]) + 5)


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
    with pytest.raises(ValueError, match="2 subjects cannot show a difference"):
        statistics.compare(table(ROUNDING[:2]))
    with pytest.raises(ValueError, match="nothing to compare with network0"):
        statistics.compare(table(ROUNDING[:, :1]))
