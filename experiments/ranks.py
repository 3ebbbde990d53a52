"""Exact null distributions of rank tests: what sums of ranks come to when labels or signs are swapped within a subject.

Tied ranks count as they are. Asymptotics would be wrong where recordings are few, which is where they are needed.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LARGEST = 400_000  # rows of a step, beyond which arrangements are drawn instead of counted
MOST_ORDERS = 720  # of one subject's ranks, likewise
DRAWN = 100_000
SEED = 0  # of what is drawn: the same scores have the same p

Numbers = NDArray[np.float64]


def doubled(values: Numbers) -> NDArray[np.int64]:
    """Return twice the ranks along the last axis, which are whole numbers also where ranks are tied."""
    return np.rint(2 * stats.rankdata(values, axis=-1)).astype(np.int64)


def sums(values: Numbers) -> tuple[NDArray[np.int64], Numbers]:
    """Return doubled rank sums of the networks (arrangement, network), each sorted, and the chance of each by chance alone.

    `values` is (subject, network). Under the null hypothesis every order of a subject's ranks is equally likely; the sums
    of all orders are counted subject by subject, or drawn where there are too many.
    """
    rows = doubled(values)
    rows.sort(axis=1)
    return _sums(tuple(map(tuple, rows.tolist())))


@cache
def _sums(rows: tuple[tuple[int, ...], ...]) -> tuple[NDArray[np.int64], Numbers]:
    k = len(rows[0])
    base = sum(map(max, rows)) + 1  # rank sums as the digits of one number: rows compare a hundred times as fast
    if math.factorial(k) > MOST_ORDERS or base**k >= 2**63:
        return _drawn(rows)
    digits = base ** np.arange(k, dtype=np.int64)
    found: NDArray[np.int64] = np.zeros((1, k), dtype=np.int64)
    chance: Numbers = np.ones(1)
    for row in rows:
        orders = np.array(sorted(set(itertools.permutations(row))), dtype=np.int64)
        if len(found) * len(orders) > LARGEST:
            return _drawn(rows)
        # the next row knows no network by name, so sums in another order are the same
        every = np.sort((found[:, None] + orders).reshape(-1, k), axis=1)
        _, first, place = np.unique(every @ digits, return_index=True, return_inverse=True)
        found = every[first]
        weights = np.repeat(chance / len(orders), len(orders))
        chance = np.asarray(np.bincount(place, weights), dtype=np.float64)
    return found, chance


def _drawn(rows: tuple[tuple[int, ...], ...]) -> tuple[NDArray[np.int64], Numbers]:
    rng = np.random.default_rng(SEED)
    total = np.zeros((DRAWN, len(rows[0])), dtype=np.int64)
    for row in rows:
        total += rng.permuted(np.broadcast_to(row, total.shape), axis=1)
    total.sort(axis=1)
    return total, np.full(DRAWN, 1 / DRAWN)


def signed_rank(difference: Numbers) -> float:
    """Return the exact p, two-sided, of Wilcoxon's signed rank test; differences of 0 are left out, 1 when all are."""
    nonzero = difference[difference != 0]
    if not len(nonzero):
        return 1.0
    ranks = doubled(np.abs(nonzero))
    chance = np.ones(1)  # of each sum of the positive ranks
    for rank in ranks:
        chance = np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))
    chance /= chance.sum()
    away = np.abs(2 * np.arange(len(chance)) - ranks.sum())
    return float(min(1.0, chance[away >= abs(2 * ranks[nonzero > 0].sum() - ranks.sum())].sum()))
