"""Which windows train, validate and test: at random, in blocks of time, by contraction, by stimulus."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.segments import Indices, Trains

N_FOLDS = 5  # the papers' five subsets or folds
CALLED = {  # what a split deals: at rest or not, single windows or groups
    (False, True): ("CAP", "CAPs"),
    (False, False): ("stimulus", "stimuli"),
    (True, True): ("window at rest", "windows at rest"),
    (True, False): ("stretch at rest", "stretches at rest"),
}


@dataclass(frozen=True)
class Events:
    """What a split may know of windows that follow events, such as CAPs.

    Parameters
    ----------
    label : array of int64, (window,)
        Class.
    stimulus : array of int64, (window,), optional
        The stimulus that the event belongs to; None where it is not known.
    classes : tuple of str
        Names of the classes.
    test_share : float
        Held out once for testing, the same for all folds.
    given : array of bool, (window,), optional
        What the source itself has set aside for testing.
    at_rest : bool
        Windows from between the stimuli, each in one stretch of them, instead.
    """

    label: Indices
    stimulus: Indices | None
    classes: tuple[str, ...]
    test_share: float
    given: NDArray[np.bool_] | None = None
    at_rest: bool = False


@dataclass(frozen=True)
class Timeline:
    """What a split may know of the time axis.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    rate_hz : float
        Sampling rate in hertz.
    spike_trains : sequence of arrays of int64
        Samples at which each motor unit discharges.
    force : array of float32, (time,), optional
        In any unit.
    events : Events, optional
        Where windows follow events instead of filling the time axis.
    """

    n_samples: int
    rate_hz: float
    spike_trains: Trains = ()
    force: NDArray[np.float32] | None = None
    events: Events | None = None


@dataclass(frozen=True)
class Split:
    """Indices of the windows that train, validate and test; windows that straddle two parts are in none.

    Parameters
    ----------
    train, validation, test : array of int64
        Each index in at most one of them.
    """

    train: Indices
    validation: Indices
    test: Indices


Splitter = Callable[[Indices, int, Timeline, int], Split]


def random(starts: Indices, window: int, timeline: Timeline, fold: int, seed: int) -> Split:
    """Split the windows at random, a reading of the papers, which do not say: overlapping windows end on both sides.

    Windows that fill the time axis are dealt to five subsets, each tested once. Of windows that follow events a share is
    held out for testing, and of five folds over the rest one validates.

    Parameters
    ----------
    starts : array of int64, (window,)
        The first sample of each window.
    window : int
        Samples in a window.
    timeline : Timeline
        What is known of the recording.
    fold : int
        Which fold, 0 to 4.
    seed : int
        Of the dealing.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        For another fold, or when there are too few windows or events.
    """
    _check_fold(fold, N_FOLDS, "five subsets")
    if timeline.events is not None:
        return _held_out(np.arange(len(starts)), timeline.events, fold, seed)
    if len(starts) < N_FOLDS:
        raise ValueError(f"{len(starts)} windows are too few for {N_FOLDS} folds")
    subset = np.empty(len(starts), dtype=np.int64)
    subset[np.random.default_rng(seed).permutation(len(starts))] = np.arange(len(starts)) % N_FOLDS
    return _parts(subset, fold)


def stimulus(starts: Indices, window: int, timeline: Timeline, fold: int, seed: int) -> Split:
    """Split windows that follow events so that those of one stimulus stay together, class by class.

    A share of each class's stimuli is held out for testing, and of five folds over the rest one validates. Parameters and
    result are those of `random`.

    Raises
    ------
    ValueError
        Where no stimuli are known or a class has fewer than seven.
    """
    _check_fold(fold, N_FOLDS, "five folds")
    events = timeline.events
    if events is None:
        raise ValueError(
            "split=stimulus is for windows that follow stimuli (dataset=eng); take blocked, random or contraction"
        )
    if events.stimulus is None:
        raise ValueError(
            "split=stimulus needs to know the stimulus of each CAP, and this source does not; take random or given"
        )
    return _held_out(events.stimulus, events, fold, seed)


def given(starts: Indices, window: int, timeline: Timeline, fold: int, seed: int) -> Split:
    """Test on what the source itself has set aside; of five random folds over the rest one validates.

    Parameters and result are those of `random`.

    Raises
    ------
    ValueError
        Where the source has set nothing aside.
    """
    _check_fold(fold, N_FOLDS, "five folds")
    events = timeline.events
    if events is None or events.given is None:
        raise ValueError("split=given needs a source that sets a test part aside, such as recording=signatures")
    return _held_out(np.arange(len(starts)), events, fold, seed, events.given)


def _held_out(group: Indices, events: Events, fold: int, seed: int, test: NDArray[np.bool_] | None = None) -> Split:
    """Hold out a share of each class's groups (or `test`) for testing and deal the others to five folds, whole groups."""
    rng = np.random.default_rng(seed)
    part = np.zeros(len(group), dtype=np.int64)
    for label in np.unique(events.label):
        mine = events.label == label
        if test is not None:
            part[mine & test] = 2
            mine = mine & ~test
        groups = rng.permutation(np.unique(group[mine]))
        n_test = 0 if test is not None else max(1, round(events.test_share * len(groups)))
        if len(groups) - n_test < N_FOLDS:
            of_windows = len(np.unique(group)) == len(group)
            one, more = CALLED[events.at_rest, of_windows]
            raise ValueError(
                f"{events.classes[label]} has {len(groups)} {one if len(groups) == 1 else more}, too few for a test part of "
                f"{n_test} and {N_FOLDS} folds: record {n_test + N_FOLDS} or more"
            )
        part[mine & np.isin(group, groups[:n_test])] = 2
        part[mine & np.isin(group, groups[n_test:][fold::N_FOLDS])] = 1
    return _complete(Split(*(np.flatnonzero(part == p) for p in range(3))))


def blocked(
    starts: Indices, window: int, timeline: Timeline, fold: int, seed: int, block_s: float, shortest_block_s: float
) -> Split:
    """Split time into blocks, dealt to five subsets so that each covers rest, ramps, plateau and every motor unit.

    Each phase of the contraction is cut into rounds of five blocks of about `block_s` seconds, one per subset; in a round
    the dealing is chosen that spreads the discharges of each unit most evenly. Blocks do not depend on window or step. A
    window that touches two parts is left out. Parameters and result are otherwise those of `random`.

    Parameters
    ----------
    block_s : float
        Length of a block aimed at, in seconds.
    shortest_block_s : float
        A phase that is too short for five blocks of this length joins the one before.

    Raises
    ------
    ValueError
        When a window is longer than a block.
    """
    _check_fold(fold, N_FOLDS, "five subsets")
    _check_continuous(timeline, "blocked")
    edges = _rounds(timeline, block_s, shortest_block_s)
    shortest = int(np.diff(edges).min())
    if window > shortest:
        raise ValueError(
            f"window={window} is longer than the shortest block of split=blocked ({shortest} samples); "
            "take a shorter window or longer blocks (split.shortest_block_s)"
        )
    subset_of_block = _deal(edges, timeline.spike_trains, seed)
    part_of_block = _part_of_subset(fold)[subset_of_block]
    first = np.searchsorted(edges, starts, side="right") - 1
    last = np.searchsorted(edges, starts + window - 1, side="right") - 1
    part = np.where(part_of_block[first] == part_of_block[last], part_of_block[first], -1)
    return _complete(Split(*(np.flatnonzero(part == p) for p in range(3))))


def contraction(starts: Indices, window: int, timeline: Timeline, fold: int, validation: float) -> Split:
    """Test on one contraction and train on the others.

    A contraction reaches from the middle of the rest before it to the middle of the rest after it. Parameters and result are
    otherwise those of `random`.

    Parameters
    ----------
    fold : int
        The contraction that tests, from 0.
    validation : float
        Share of each training contraction, from its middle, that validates.

    Raises
    ------
    ValueError
        When fewer than two contractions are found or `fold` names none.
    """
    _check_continuous(timeline, "contraction")
    found = contractions(timeline)
    if len(found) < 2:
        raise ValueError(f"split=contraction needs at least two contractions, this recording has {len(found)}")
    _check_fold(fold, len(found), f"{len(found)} contractions")
    edges = np.concatenate([[0], (found[:-1, 1] + found[1:, 0]) // 2, [timeline.n_samples]])
    part_edges, parts = [0], []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        margin = (1 - validation) / 2 * (high - low)
        cuts = [high] if number == fold else [low + margin, high - margin, high]
        part_edges.extend(int(cut) for cut in cuts)
        parts.extend([2] if number == fold else [0, 1, 0])
    first = np.searchsorted(part_edges, starts, side="right") - 1
    last = np.searchsorted(part_edges, starts + window - 1, side="right") - 1
    part = np.where(first == last, np.array(parts)[first], -1)
    return _complete(Split(*(np.flatnonzero(part == p) for p in range(3))))


def drive(timeline: Timeline) -> NDArray[np.float64]:
    """Return how strong the contraction is (time,), 0 to 1: the force, or without it the discharge rate of all units."""
    if timeline.force is not None:
        effort = timeline.force.astype(np.float64)
    else:
        effort = np.zeros(timeline.n_samples)
        for train in timeline.spike_trains:
            effort[train] += 1
    width = max(1, round(0.5 * timeline.rate_hz))
    total = np.concatenate([[0.0], np.cumsum(effort)])
    low = np.maximum(np.arange(timeline.n_samples) - width // 2, 0)
    high = np.minimum(low + width, timeline.n_samples)
    effort = (total[high] - total[low]) / (high - low)
    rest, peak = np.quantile(effort, [0.02, 0.98])
    if peak <= rest:
        return np.zeros(timeline.n_samples)
    return np.clip((effort - rest) / (peak - rest), 0, 1)


def phases(timeline: Timeline, shortest: int) -> Indices:
    """Return the edges of rest (below 5 %), ramps and plateaus (above 90 %), none shorter than `shortest` samples."""
    level = np.digitize(drive(timeline), [0.05, 0.9])
    edges = [0]
    for edge in np.flatnonzero(np.diff(level)) + 1:
        if edge - edges[-1] >= shortest:
            edges.append(int(edge))
    while len(edges) > 1 and timeline.n_samples - edges[-1] < shortest:
        edges.pop()
    return np.array([*edges, timeline.n_samples])


def contractions(timeline: Timeline) -> Indices:
    """Return (contraction, 2): first and last sample of every stretch above 5 % of the drive that lasts a second."""
    above = np.concatenate([[False], drive(timeline) > 0.05, [False]])
    edges = np.flatnonzero(np.diff(above.astype(np.int8))).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] >= timeline.rate_hz]


def _check_fold(fold: int, count: int, what: str) -> None:
    if not 0 <= fold < count:
        raise ValueError(f"fold={fold} names none of the {what}: it must be 0 to {count - 1}")


def _check_continuous(timeline: Timeline, name: str) -> None:
    if timeline.events is not None:
        raise ValueError(
            f"split={name} cuts one continuous recording; where windows follow CAPs take stimulus or random"
        )


def _part_of_subset(fold: int) -> Indices:
    """Return the part (0 train, 1 validation, 2 test) of each subset: subset `fold` tests, the next one validates."""
    part = np.zeros(N_FOLDS, dtype=np.int64)
    part[fold], part[(fold + 1) % N_FOLDS] = 2, 1
    return part


def _parts(subset: Indices, fold: int) -> Split:
    part = _part_of_subset(fold)[subset]
    return _complete(Split(*(np.flatnonzero(part == p) for p in range(3))))


def _complete(split: Split) -> Split:
    for name in ("train", "validation", "test"):
        if not len(getattr(split, name)):
            raise ValueError(
                f"the {name} part has no window: the recording is too short for this window, step and split"
            )
    return split


def _rounds(timeline: Timeline, block_s: float, shortest_block_s: float) -> Indices:
    """Return the block edges: every phase cut into rounds of five equal blocks of about `block_s` seconds."""
    shortest_round = max(N_FOLDS, round(N_FOLDS * shortest_block_s * timeline.rate_hz))
    edges = [0]
    for low, high in itertools.pairwise(phases(timeline, shortest_round)):
        rounds = max(1, round((high - low) / (N_FOLDS * block_s * timeline.rate_hz)))
        edges.extend(np.linspace(low, high, rounds * N_FOLDS + 1).round().astype(int)[1:])
    return np.array(edges)


def _deal(edges: Indices, trains: Trains, seed: int) -> Indices:
    """Return the subset of each block: in every round of five the order that leaves each unit's discharges most even."""
    per_block = [np.diff(np.searchsorted(train, edges)) for train in trains] or [np.diff(edges)]
    counts = np.stack(per_block, axis=1).astype(np.float64)  # (block, unit)
    counts /= np.maximum(counts.sum(axis=0), 1)
    rounds = counts.reshape(-1, N_FOLDS, counts.shape[1])
    orders = np.array(list(itertools.permutations(range(N_FOLDS))))
    orders = orders[np.random.default_rng(seed).permutation(len(orders))]  # ties fall to chance
    chosen = np.zeros((len(rounds), N_FOLDS), dtype=np.int64)
    held = np.zeros((N_FOLDS, counts.shape[1]))  # share of each unit's discharges that a subset holds
    for sweep in range(3):  # dealt once, then every round is dealt again, knowing all others
        for number, blocks in enumerate(rounds):
            if sweep:
                held[chosen[number]] -= blocks
            totals = held[orders] + blocks[None]  # (order, block, unit): what each block's subset would hold
            chosen[number] = orders[np.argmin(np.sum(totals**2, axis=(1, 2)))]
            held[chosen[number]] += blocks
    return chosen.reshape(-1)
