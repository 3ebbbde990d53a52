"""A live stream is counted at its nominal rate: bursts and drift are no gaps, lost samples and set clocks are one each."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from neuroexp.streams.clock import Clock

RATE = 2048.0
TRUE = np.arange(round(8 * RATE)) / RATE  # when each sample was measured


def placed(stamps, arrived=None, sizes=(64,), within_s=np.inf):
    """Return what a clock makes of samples, whose values are their indices: numbers (time,), indices, seams, the clock."""
    clock, arrived = Clock(RATE), stamps if arrived is None else arrived
    found, low = [], 0
    for turn in range(len(stamps)):
        if low >= len(stamps):
            break
        high = min(low + sizes[turn % len(sizes)], len(stamps))
        high = low + int(np.count_nonzero(arrived[low:high] - arrived[low] <= within_s))
        values = np.arange(low, high, dtype=np.float32)[:, None]
        found += clock.take(values, stamps[low:high], arrived[high - 1])
        found += clock.due(arrived[high - 1])
        low = high
    found += clock.finish()
    numbers = [piece.first + np.arange(len(piece.values)) for piece in found]
    indices = [piece.values[:, 0].astype(int) for piece in found]
    np.testing.assert_array_equal(np.concatenate(indices), np.arange(len(stamps)))  # every sample comes, in its order
    return np.concatenate(numbers), [piece.seam for piece in found if piece.seam], clock


def pushed(burst_s, true=TRUE, step_s=1e-5):
    """Return the stamps of samples that are sent every `burst_s`, one by one, and stamped then."""
    ready = (np.floor(true / burst_s) + 1) * burst_s
    place = np.arange(len(true)) - np.searchsorted(ready, ready)
    return ready + place * step_s


FEW = settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
SIZES = st.lists(st.integers(30, 700), min_size=1, max_size=6)


@FEW
@given(SIZES, st.floats(0.03, 0.6), st.floats(0, 2e-5), st.floats(0, 0.02))
def test_bursts_that_are_stamped_when_they_are_sent_lose_nothing(sizes, burst_s, step_s, late):
    stamps = pushed(burst_s, step_s=step_s)
    stamps += np.random.default_rng(0).uniform(0, late * burst_s, 1000)[
        np.unique(stamps // burst_s, return_inverse=True)[1]
    ]
    numbers, seams, _ = placed(stamps, sizes=sizes)
    np.testing.assert_array_equal(numbers, np.arange(len(TRUE)))
    assert seams == []


@FEW
@given(SIZES, st.integers(20, 300), st.integers(2, 5))
def test_chunks_that_are_sent_together_lose_nothing(sizes, chunk, together):
    """LSL stamps the last sample of a chunk when it is sent, those before it at the rate: stamps step back in a burst."""
    index = np.arange(len(TRUE))
    burst = chunk * together
    last = ((index // burst + 1) * burst - 1) / RATE
    stamps = last - (chunk - 1 - index % chunk) / RATE
    numbers, seams, _ = placed(stamps, arrived=last, sizes=sizes, within_s=0.01)
    np.testing.assert_array_equal(numbers, index)
    assert seams == []


@FEW
@given(SIZES, st.floats(0, 0.009), st.floats(-2e-3, 2e-3), st.sampled_from([0.0, 1.7e9]))
def test_jitter_and_drift_of_a_per_mille_are_no_gaps(sizes, jitter_s, drift, epoch):
    stamps = epoch + TRUE * (1 + drift) + np.random.default_rng(0).uniform(-jitter_s, jitter_s, len(TRUE))
    numbers, seams, clock = placed(stamps, sizes=sizes)
    np.testing.assert_array_equal(numbers, np.arange(len(TRUE)))
    assert seams == []
    assert clock.pace() == ""


@FEW
@given(SIZES, st.integers(100, 4000), st.integers(100, 4000), st.integers(45, 3000), st.floats(0, 0.004))
def test_lost_samples_are_as_many_missing_numbers(sizes, first, second, lost, jitter_s):
    index = np.arange(len(TRUE))
    kept = ((index < first) | (index >= first + lost)) & ((index < 9000 + second) | (index >= 9000 + second + lost))
    stamps = TRUE + np.random.default_rng(0).uniform(0, jitter_s, len(TRUE))
    numbers, seams, _ = placed(stamps[kept], sizes=sizes)
    assert seams == []
    assert np.abs(numbers - index[kept]).max() <= 2 * np.ceil(jitter_s * RATE) + (jitter_s > 0)
    assert np.flatnonzero(np.diff(numbers) > 1).tolist() == [first - 1, 9000 + second - lost - 1]


@FEW
@given(SIZES, st.integers(8, 14))
def test_samples_that_a_bursting_stream_loses_are_one_gap(sizes, tenths):
    stamps, index = pushed(0.2), np.arange(len(TRUE))
    since_s = TRUE - 3
    kept = (since_s < 0) | (since_s >= tenths / 10)
    numbers, _, _ = placed(stamps[kept], sizes=sizes)
    assert np.count_nonzero(np.diff(numbers) > 1) == 1
    assert abs(numbers[-1] - index[-1]) <= 0.01 * RATE


@FEW
@given(SIZES, st.floats(0.03, 4000), st.integers(200, 12_000))
def test_a_clock_that_steps_back_is_one_seam(sizes, back_s, place):
    stamps = TRUE - np.where(np.arange(len(TRUE)) >= place, back_s, 0)
    numbers, seams, _ = placed(stamps, arrived=TRUE, sizes=[min(size, 100) for size in sizes])
    np.testing.assert_array_equal(numbers, np.arange(len(TRUE)))
    [seam] = seams
    assert seam.startswith("the clock of the stream stepped back by ")
    assert f"at {place / RATE:.2f} s" in seam


@FEW
@given(SIZES, st.floats(0.03, 5), st.integers(200, 12_000))
def test_a_clock_that_steps_ahead_is_one_gap(sizes, ahead_s, place):
    stamps = TRUE + np.where(np.arange(len(TRUE)) >= place, ahead_s, 0)
    numbers, seams, _ = placed(stamps, arrived=TRUE, sizes=sizes)
    assert seams == []
    jumps = np.diff(numbers)
    assert np.flatnonzero(jumps > 1).tolist() == [place - 1]
    assert jumps.max() - 1 == pytest.approx(ahead_s * RATE, abs=1)


def test_a_clock_that_is_set_by_hours_makes_no_hours_of_missing_signal():
    stamps = TRUE + np.where(TRUE >= 3, 7200, 0) - np.where(TRUE >= 5, 9000, 0)
    numbers, seams, _ = placed(stamps, arrived=TRUE)
    np.testing.assert_array_equal(numbers, np.arange(len(TRUE)))
    assert [seam.partition(":")[0] for seam in seams] == [
        "the clock of the stream went ahead by 7.2e+03 s at 3.00 s, more than have passed",
        "the clock of the stream stepped back by 9e+03 s at 5.00 s",
    ]


def test_a_stream_that_is_slower_than_it_says_is_named():
    assert "came 1.0 % slower than its nominal rate says" in placed(TRUE * 1.01)[2].pace()
    assert "came 3.0 % faster than its nominal rate says" in placed(TRUE * 0.97)[2].pace()
    numbers = placed(TRUE * 0.97)[0]
    np.testing.assert_array_equal(numbers, np.arange(len(TRUE)))


def test_stamps_by_which_the_nominal_rate_cannot_be_are_named():
    half, twice = placed(TRUE * 2)[2].pace(), placed(TRUE / 2)[2].pace()
    assert half.startswith("by its time stamps it sends about 10")
    assert " Hz, its nominal rate is 2048 Hz, or 50% of its samples are lost, in " in half
    assert twice.startswith("by its time stamps it sends about 40")
    assert twice.endswith(" Hz, its nominal rate is 2048 Hz")
    for value in (0.0, 1.7e9):
        numbers, seams, clock = placed(np.full(len(TRUE), value), arrived=TRUE)
        np.testing.assert_array_equal(numbers, np.arange(len(TRUE)))
        assert seams == []
        assert clock.pace().startswith("its time stamps stand still")
    lossy = TRUE[(TRUE < 3) | (TRUE > 4.5)]  # one gap is no other rate
    assert placed(lossy)[2].pace() == ""


def test_samples_wait_no_longer_than_a_burst_takes_to_catch_up():
    clock, values = Clock(1000.0), np.zeros((10, 1), dtype=np.float32)
    stamps = np.arange(10) / 1000
    assert [piece.first for piece in clock.take(values, stamps, 0.01)] == [0]
    assert list(clock.take(values, stamps + 0.5, 0.51)) == []
    assert list(clock.due(0.55)) == []
    assert np.concatenate([piece.first + np.arange(len(piece.values)) for piece in clock.due(0.5601)]).tolist() == [
        *range(500, 510)
    ]
    assert [piece.first for piece in clock.take(values, stamps + 0.51, 0.56)] == [510]
