"""Windows, labels, splits and the overlap audit: properties for any recording, known answers from the paper."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neuroexp.data import segments, splits
from neuroexp.data.splits import Timeline

windows = st.integers(1, 160)
steps = st.integers(1, 60)


def poisson_trains(n_samples: int, units: int = 4, rate: float = 12 / 2048, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.flatnonzero(rng.random(n_samples) < rate) for _ in range(units)]


def blocked(starts, window, timeline, fold, seed=0):
    return splits.blocked(starts, window, timeline, fold, seed, block_s=1.0, shortest_block_s=0.4)


@given(st.integers(200, 5000), windows, steps)
def test_windows_are_centred_on_multiples_of_the_step_and_none_is_left_out(n_samples, window, step):
    starts = segments.window_starts(n_samples, window, step)
    centres = starts + window // 2
    expected = [
        c for c in range(0, n_samples + 1, step) if c - window // 2 >= 0 and c - window // 2 + window <= n_samples
    ]
    assert centres.tolist() == expected


def test_a_window_longer_than_the_recording_is_refused():
    with pytest.raises(ValueError, match="window=300 is longer than the recording"):
        segments.window_starts(200, 300, 10)


@settings(max_examples=40)
@given(windows, steps, st.integers(0, 1000))
def test_step_labels_count_every_discharge_once(window, step, seed):
    trains = poisson_trains(4000, rate=3 / 2048, seed=seed)
    starts = segments.window_starts(4000, window, step)
    labels = segments.label_step(trains, starts, window, step)
    low = starts[0] + window // 2 - step // 2
    for unit, train in enumerate(trains):
        steps_hit = {(sample - low) // step for sample in train if low <= sample < low + step * len(starts)}
        assert set(np.flatnonzero(labels[:, unit])) == steps_hit


@settings(max_examples=40)
@given(windows, steps, st.integers(0, 20))
def test_window_and_centre_labels_equal_their_definition(window, step, tolerance):
    trains = poisson_trains(3000)
    starts = segments.window_starts(3000, window, step)
    whole = segments.label_window(trains, starts, window, step)
    centre = segments.label_centre(trains, starts, window, step, tolerance)
    for row in range(0, len(starts), 7):
        for unit, train in enumerate(trains):
            inside = np.any((train >= starts[row]) & (train < starts[row] + window))
            near = np.any(np.abs(train - starts[row] - window // 2) <= tolerance)
            assert (whole[row, unit], centre[row, unit]) == (inside, near)


def test_positive_rates_of_whole_window_labels_are_the_published_ones():
    # a regular 10 Hz train: W/2048*10 of the windows hold a discharge (facts: 10/29/49/68 %)
    train = [np.arange(0, 2048 * 60, 205)]
    for window, percent in ((20, 10), (60, 29), (100, 49), (140, 68)):
        starts = segments.window_starts(2048 * 60, window, 10)
        rate = segments.label_window(train, starts, window, 10).mean()
        assert 100 * rate == pytest.approx(percent, abs=0.7)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([20, 60, 140]), st.sampled_from([10, 30, 50]), st.integers(0, 4), st.integers(0, 3))
def test_parts_are_disjoint_and_every_window_is_tested_once(window, step, fold, seed):
    n_samples = 2048 * 20
    timeline = Timeline(n_samples, 2048, poisson_trains(n_samples))
    starts = segments.window_starts(n_samples, window, step)
    tested = []
    for number in range(5):
        split = splits.random(starts, window, timeline, number, seed)
        tested.extend(split.test)
        both = np.concatenate([split.train, split.validation, split.test])
        assert sorted(both) == list(range(len(starts)))
    assert sorted(tested) == list(range(len(starts)))
    split = blocked(starts, window, timeline, fold, seed)
    parts = [set(split.train), set(split.validation), set(split.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert segments.overlap_audit(n_samples, starts, window, split.train, split.test) == (0, 0)
    assert segments.overlap_audit(n_samples, starts, window, split.train, split.validation) == (0, 0)
    assert segments.overlap_audit(n_samples, starts, window, split.validation, split.test) == (0, 0)


def test_blocked_covers_every_phase_and_every_unit_in_every_part(simulated):
    n_samples = len(simulated.signal)
    timeline = Timeline(n_samples, 2048, simulated.spike_trains, simulated.force)
    starts = segments.window_starts(n_samples, 60, 10)
    labels = segments.label_step(simulated.spike_trains, starts, 60, 10)
    strength = splits.drive(timeline)[starts + 30]
    centres = (starts + 30) / 2048  # the force rises at 3 s and is back at 27 s, plus the length of a twitch
    phases = {
        "rest before": centres < 3.4,
        "ramp up": (centres > 3.6) & (centres < 8.5),
        "plateau": (centres > 8.7) & (centres < 21.5),
        "ramp down": (centres > 21.7) & (centres < 26.8),
        "rest after": centres > 27,
    }
    for fold in range(5):
        split = blocked(starts, 60, timeline, fold)
        assert len(split.train) + len(split.validation) + len(split.test) > 0.95 * len(starts)
        for part, share in ((split.train, 0.6), (split.validation, 0.2), (split.test, 0.2)):
            for inside in phases.values():
                assert np.mean(inside[part]) == pytest.approx(np.mean(inside), rel=0.35)
            assert np.all(labels[part].sum(axis=0) > 0)
            assert labels[part].sum(axis=0) / labels.sum(axis=0) == pytest.approx(np.full(6, share), abs=0.08)
            assert strength[part].mean() == pytest.approx(strength.mean(), rel=0.1)


def test_blocks_do_not_depend_on_window_or_step(simulated):
    n_samples = len(simulated.signal)
    timeline = Timeline(n_samples, 2048, simulated.spike_trains, simulated.force)
    covered = []
    for window, step in ((20, 10), (140, 10)):
        starts = segments.window_starts(n_samples, window, step)
        split = blocked(starts, window, timeline, 0)
        covered.append(segments.coverage(n_samples, starts[split.test], window) > 0)
    assert np.mean(covered[0] == covered[1]) > 0.999


def test_a_window_longer_than_a_block_is_refused(simulated):
    timeline = Timeline(61440, 2048, simulated.spike_trains, simulated.force)
    starts = segments.window_starts(61440, 2500, 10)
    with pytest.raises(ValueError, match="window=2500 is longer than the shortest block"):
        blocked(starts, 2500, timeline, 0)


@pytest.mark.parametrize("fold", [-1, 5, 7])
def test_a_fold_that_does_not_exist_is_refused(fold):
    timeline = Timeline(4096, 2048, poisson_trains(4096))
    starts = segments.window_starts(4096, 20, 10)
    for split in (lambda: splits.random(starts, 20, timeline, fold, 0), lambda: blocked(starts, 20, timeline, fold)):
        with pytest.raises(ValueError, match=f"fold={fold} names none of the five subsets: it must be 0 to 4"):
            split()


def test_too_few_windows_for_the_folds():
    starts = segments.window_starts(100, 60, 10)[:4]
    with pytest.raises(ValueError, match="4 windows are too few for 5 folds"):
        splits.random(starts, 60, Timeline(100, 2048), 0, 0)


def three_contractions() -> Timeline:
    force = np.concatenate([np.zeros(4096), np.hanning(16384), np.zeros(4096)] * 3).astype(np.float32)
    return Timeline(len(force), 2048, poisson_trains(len(force)), force)


def test_contraction_tests_on_one_whole_contraction():
    timeline = three_contractions()
    found = splits.contractions(timeline)
    assert len(found) == 3
    starts = segments.window_starts(timeline.n_samples, 60, 10)
    for fold in range(3):
        split = splits.contraction(starts, 60, timeline, fold, 0.2)
        low, high = found[fold]
        inside = (starts >= low) & (starts + 60 <= high)
        assert set(np.flatnonzero(inside)) <= set(split.test)
        assert segments.overlap_audit(timeline.n_samples, starts, 60, split.train, split.test) == (0, 0)
        assert len(split.validation) == pytest.approx(0.2 * (len(split.validation) + len(split.train)), rel=0.05)


def test_contraction_needs_two_and_a_fold_that_exists():
    timeline = three_contractions()
    starts = segments.window_starts(timeline.n_samples, 60, 10)
    with pytest.raises(ValueError, match="fold=3 names none of the 3 contractions"):
        splits.contraction(starts, 60, timeline, 3, 0.2)
    one = Timeline(24576, 2048, poisson_trains(24576), timeline.force[:24576])
    with pytest.raises(ValueError, match="at least two contractions, this recording has 1"):
        splits.contraction(starts, 60, one, 0, 0.2)


def test_drive_without_force_follows_the_discharges(simulated):
    with_force = splits.drive(Timeline(61440, 2048, simulated.spike_trains, simulated.force))
    without = splits.drive(Timeline(61440, 2048, simulated.spike_trains))
    assert np.corrcoef(with_force, without)[0, 1] > 0.8


@given(st.integers(1, 60), st.integers(0, 1000))
def test_coverage_equals_a_loop(window, seed):
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.integers(0, 300 - window, 20))
    expected = np.zeros(300, dtype=int)
    for start in starts:
        expected[start : start + window] += 1
    assert np.array_equal(segments.coverage(300, starts, window), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_overlap_audit_equals_a_loop(window, seed):
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.integers(0, 400 - window, 30))
    order = rng.permutation(30)
    train, test = order[:20], order[20:]
    seen = set().union(*(range(starts[i], starts[i] + window) for i in train))
    shares = [len(seen & set(range(starts[i], starts[i] + window))) / window for i in test]
    assume(shares)
    overlap, mean = segments.overlap_audit(400, starts, window, train, test)
    assert overlap == pytest.approx(np.mean([share > 0 for share in shares]))
    assert mean == pytest.approx(np.mean(shares))


@pytest.mark.parametrize(
    ("window", "step", "overlapping", "seen"),
    [(20, 50, 0, 0), (20, 10, 83, 60), (60, 10, 100, 99), (100, 50, 86, 62), (140, 50, 97, 80), (140, 10, 100, 100)],
)
def test_random_folds_leak_as_computed_for_a_minute_of_signal(window, step, overlapping, seen):
    starts = segments.window_starts(60 * 2048, window, step)
    split = splits.random(starts, window, Timeline(60 * 2048, 2048), 0, 0)
    audit = segments.overlap_audit(60 * 2048, starts, window, split.train, split.test)
    assert 100 * np.array(audit) == pytest.approx([overlapping, seen], abs=3)
