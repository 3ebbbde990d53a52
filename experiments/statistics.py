"""Which differences between networks are more than chance, over recordings: the tests of the papers and their effect sizes.

Scores come as a table (recording, network) without gaps: a recording that one network lacks cannot be paired, and is
refused. The unit is the recording (a subject at an intensity, a rat), never the motor unit or the fold.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """Several networks on the same recordings."""

    friedman: float  # chi-squared
    p: float  # of Friedman's test
    kendall_w: float  # agreement of the recordings about the order, 0 to 1
    ranks: pd.Series  # mean rank of each network, 1 is the best
    critical_difference: float  # of two mean ranks, at ALPHA
    pairs: pd.DataFrame  # a row per pair of networks


def paired(scores: pd.DataFrame) -> NDArray[np.float64]:
    """Return the scores (recording, network) as numbers; raises ValueError, naming the first gap, when one is missing."""
    gaps = scores.isna()
    if gaps.to_numpy().any():
        recording, network = next(place for place, gap in gaps.stack().items() if gap)
        raise ValueError(f"unpaired: {network} has no score on {recording}, which others have")
    if scores.shape[1] < 2:
        raise ValueError(f"there is nothing to compare with {', '.join(map(str, scores.columns)) or 'nothing'}")
    return scores.to_numpy(dtype=np.float64)


def compare(scores: pd.DataFrame, seed: int = 0) -> Comparison:
    """Compare networks (columns) on recordings (rows); higher is better.

    Friedman's test with the Wilcoxon-Nemenyi-McDonald-Thompson post hoc, as Ma et al. use it, and for each pair the signed
    rank test corrected after Holm, the matched-pairs rank-biserial correlation and the mean difference with the 95 %
    interval of a bootstrap over recordings. Raises ValueError for gaps, and for fewer than three recordings.
    """
    values = paired(scores)
    n, k = values.shape
    if n < 3:
        raise ValueError(
            f"{n} recording{'s' * (n != 1)} cannot show a difference between networks: at least 3 are needed"
        )
    ranks = stats.rankdata(-values, axis=1).mean(axis=0)
    statistic, p = friedman(values)
    pairs = []
    for first, second in itertools.combinations(range(k), 2):
        difference = values[:, first] - values[:, second]
        low, high = interval(difference, seed)
        pairs.append(
            {
                "first": scores.columns[first],
                "second": scores.columns[second],
                "difference": difference.mean(),
                "low": low,
                "high": high,
                "effect": rank_biserial(difference),
                "p_post_hoc": nemenyi(ranks[first] - ranks[second], n, k),
                "p_signed_rank": signed_rank(difference),
            }
        )
    table = pd.DataFrame(pairs)
    table["p_holm"] = holm(table["p_signed_rank"].to_numpy())
    return Comparison(
        friedman=statistic,
        p=p,
        kendall_w=statistic / (n * (k - 1)),
        ranks=pd.Series(ranks, scores.columns),
        critical_difference=critical_difference(n, k),
        pairs=table,
    )


def friedman(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return chi-squared and p of Friedman's test over networks (columns) on recordings; with two, their sign test's.

    SciPy's asks for three columns, the statistic does not. Where no recording tells any networks apart, p is 1.
    """
    n, k = values.shape
    ranks = stats.rankdata(values, axis=1)
    expected = (k + 1) / 2
    spread = ((ranks - expected) ** 2).sum()  # less with ties
    if spread == 0:
        return 0.0, 1.0
    statistic = n * (k - 1) * n * ((ranks.mean(axis=0) - expected) ** 2).sum() / spread
    return float(statistic), float(stats.chi2.sf(statistic, k - 1))


def nemenyi(difference: float, n: int, k: int) -> float:
    """Return p of a difference between two mean ranks among k networks on n recordings (Hollander and Wolfe, 7.3)."""
    q = abs(difference) / np.sqrt(k * (k + 1) / (12 * n))
    return float(stats.studentized_range.sf(q, k, np.inf))


def critical_difference(n: int, k: int, alpha: float = ALPHA) -> float:
    """Return the difference of two mean ranks from which on the post hoc test rejects (Demsar 2006)."""
    return float(stats.studentized_range.isf(alpha, k, np.inf) * np.sqrt(k * (k + 1) / (12 * n)))


def signed_rank(difference: NDArray[np.float64]) -> float:
    """Return p of Wilcoxon's signed rank test; 1 when no recording differs."""
    return float(stats.wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p values corrected after Holm (1979), step by step down from the smallest."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(stepped)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def rank_biserial(difference: NDArray[np.float64]) -> float:
    """Return the matched-pairs rank-biserial correlation (Kerby 2014): 1 when the first wins everywhere, -1 nowhere."""
    nonzero = difference[difference != 0]
    if not len(nonzero):
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def interval(values: NDArray[np.float64], seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over recordings: percentiles of 10,000 resamples.

    Of few recordings no interval is honest about the tails; BCa would need a jackknife that equal values break.
    """
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
