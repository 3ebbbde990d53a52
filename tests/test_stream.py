"""A stream gives the windows and events of the whole recording, however it is cut, and survives what is wrong with it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroexp.data import segments, signals
from neuroexp.data.cuff import GRID
from neuroexp.deploy.decoder import Spec
from neuroexp.evaluation.events import Classes, Discharges, Event
from neuroexp.streams.cuts import Caps
from neuroexp.streams.stream import BLOCK, CAUSAL, Stream

RATE = 2048.0
RAW = {"band_hz": None, "order": 2, "zero_phase": True}
FILTERED = {"band_hz": [20, 400], "order": 2, "zero_phase": False}
EMG = Spec("run", "id", "recording", "hdsemg", ("unit 1", "unit 2"), 0.5, RATE, 3, 20, 10, RAW)
CUFF = {"clip_uv": 40, "band_hz": [800, 5000], "order": 6, "zero_phase": False, "per_contact": False}
CUFF |= {"exclusion_ms": 3, "cap_low_uv": 5.0, "cap_high_uv": 35.0}
ENG = Spec("run", "id", "recording", "eng", ("a", "b"), 0.5, 30_000.0, 56, 100, None, CUFF)
SIZES = st.lists(st.integers(0, 400), max_size=12)


def noise(n_samples: int, n_channels: int, scale: float = 10) -> np.ndarray:
    return np.random.default_rng(0).normal(3, scale, (n_samples, n_channels)).astype(np.float32)


def cut(signal, sizes):
    """Cut a signal into chunks of these sizes, the last one with the rest."""
    ends = np.minimum(np.cumsum([0, *sizes]), len(signal)).tolist()
    return [(signal[low:high], low) for low, high in zip(ends, [*ends[1:], len(signal)], strict=True)]


def stream(spec, chunks):
    opened = Stream(spec)
    windows = [window for chunk, first in chunks for window in opened.push(chunk, first)]
    return [*windows, *opened.flush()], opened


def same(windows, signal, starts, window):
    assert [found.start for found in windows] == list(starts)
    for found in windows:
        np.testing.assert_array_equal(found.values, signal[found.start : found.start + window].T)


@given(SIZES, st.integers(1, 60), st.integers(1, 70), st.sampled_from([RAW, FILTERED]))
def test_windows_are_those_of_the_whole_recording(sizes, window, step, preparation):
    signal = noise(1500, 3)
    spec = replace(EMG, window=window, step=step, preparation=preparation)
    whole = signal
    if preparation["band_hz"]:
        whole = signals.bandpass(signal, RATE, 20, 400, 2, zero_phase=False)
    same(stream(spec, cut(signal, sizes))[0], whole, segments.window_starts(1500, window, step), window)


@pytest.mark.parametrize("size", [1, 10, 4 * BLOCK])
def test_a_long_recording_passes_through_a_buffer_of_fixed_size(size):
    signal = noise(5 * BLOCK, 3)
    spec = replace(EMG, preparation=FILTERED | {"zero_phase": True})
    windows, opened = stream(spec, cut(signal, [size] * (len(signal) // size)))
    same(windows, signals.bandpass(signal, RATE, 20, 400, 2, False), segments.window_starts(len(signal), 20, 10), 20)
    assert len(opened.buffer.rows) < 2.1 * BLOCK
    assert opened.health.notes == [CAUSAL]  # once


def cuff_signal() -> np.ndarray:
    """Noise with CAPs in the middle ring, some of them artefacts, some too close to one another."""
    rng, signal = np.random.default_rng(1), noise(9000, 56, 3)
    for peak in np.sort(rng.integers(0, 9000, 60)):
        reach = np.arange(max(0, peak - 12), min(9000, peak + 12))
        shape = np.cos((reach - peak) * 2 * np.pi / 14) * np.exp(-(((reach - peak) / 5) ** 2))
        signal[np.ix_(reach, GRID[3])] -= (rng.uniform(10, 60) * shape)[:, None].astype(np.float32)
    return signal


CUFF_SIGNAL = cuff_signal()


@pytest.mark.parametrize("per_contact", [False, True])
@settings(max_examples=15)
@given(sizes=st.lists(st.integers(0, 2500), max_size=12))
def test_windows_around_caps_are_those_of_the_whole_recording(per_contact, sizes):
    whole = signals.clip(CUFF_SIGNAL, 40)[0]
    whole = signals.bandpass(whole, 30_000, 800, 5000, 6, zero_phase=False)
    whole = signals.tripolar(whole, GRID, per_contact)
    caps = signals.detect_caps(whole[:, GRID[3]].mean(axis=1), 30_000, 5, 35, 3)
    starts = caps - 50
    starts = starts[(starts >= 0) & (starts + 100 <= len(whole))]
    assert 15 < len(starts) < 60
    spec = replace(ENG, preparation=CUFF | {"per_contact": per_contact})
    same(stream(spec, cut(CUFF_SIGNAL, sizes))[0], whole, starts, 100)


def test_a_sample_at_a_time_is_no_other_signal():
    few = CUFF_SIGNAL[:1500]
    whole = stream(ENG, [(few, 0)])[0]
    single = stream(ENG, cut(few, [1] * 1500))[0]
    assert len(whole) > 1
    for one, other in zip(whole, single, strict=True):
        assert one.start == other.start
        np.testing.assert_array_equal(one.values, other.values)


@given(
    st.lists(st.integers(-9, 9), min_size=3, max_size=120),
    SIZES,
    st.floats(0.1, 5),
    st.floats(5, 9),
    st.integers(1, 25),
)
def test_caps_are_those_that_scipy_finds_in_the_whole_trace(heights, sizes, low, high, apart):
    trace = np.array(heights, dtype=np.float32)
    # plateaus stay, but no two peaks are equally high: SciPy does not say which of them counts
    trace += np.sign(trace) * np.cumsum(np.diff(trace, prepend=np.nan) != 0).astype(np.float32) * 1e-3
    expected = signals.detect_caps(trace, 1000, low, high, apart)
    online = Caps(1, np.array([0]), 1000, low, high, apart)
    found = [
        start for chunk, _ in cut(trace[:, None], [size // 20 for size in sizes]) for start in online.extend(chunk)
    ]
    assert found + online.flush() == expected.tolist()


def test_a_decision_waits_no_longer_than_it_must():
    signal = noise(200, 3)
    opened = Stream(EMG)
    last = [
        (window.start, number) for number in range(200) for window in opened.push(signal[number : number + 1], number)
    ]
    assert last == [(start, start + 19) for start in range(0, 190, 10) if start + 19 < 200]
    trace = np.zeros(400, dtype=np.float32)
    trace[150] = 5
    online = Caps(100, np.array([0]), 30_000, 1, 10, 3)
    came = [number for number in range(400) if online.extend(trace[number : number + 1, None])]
    assert came == [150 + 90 - 1]  # 3 ms after the peak, longer than the half window


def test_what_is_not_finite_is_replaced_before_the_filter():
    signal = noise(600, 3)
    broken, mended = signal.copy(), signal.copy()
    broken[100:130, 1], mended[100:130, 1] = np.nan, signal[99, 1]
    broken[0, 2], mended[0, 2] = np.inf, 0
    spec = replace(EMG, preparation=FILTERED)
    expected = stream(spec, [(mended, 0)])[0]
    for sizes in ([], [100, 1, 0, 28, 3], [7] * 80):
        found, opened = stream(spec, cut(broken, sizes))
        assert opened.health.replaced == {2: 30, 3: 1}
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_dead_and_saturated_channels_are_reported_once(size):
    signal = noise(8000, 3)
    signal[3000:, 0] = 0
    signal[1024:6000, 1] = 400
    signal[7000:, 2] = 0.5
    opened = stream(EMG, cut(signal, [size] * (8000 // size)))[1]
    assert sorted(opened.health.notes) == [
        "channel 1 is dead: flat at 0 µV since 1.46 s",
        "channel 2 is saturated at 400 µV since 0.50 s",
    ]
    never = noise(3000, 3)
    never[:, 1] = 7
    assert stream(EMG, cut(never, [size] * (3000 // size)))[1].health.notes == [
        "channel 2 is dead: flat at 7 µV since 0.00 s"
    ]


def test_windows_that_touch_a_gap_are_left_out_and_counted():
    signal = noise(2000, 3)
    chunks = [(signal[:500], 0), (signal[700:1200], 700), (signal[1200:], 1200)]
    windows, opened = stream(EMG, chunks)
    starts = segments.window_starts(2000, 20, 10)
    inside = (starts + 20 <= 500) | (starts >= 700)
    same(windows, signal, starts[inside], 20)
    health = opened.health
    assert (health.gaps, health.missing_samples, health.lost_windows) == (1, 200, int((~inside).sum()))
    assert health.notes == ["200 samples are missing at 0.24 s (97.7 ms)"]


def test_a_gap_in_a_cuff_recording_ends_what_is_open():
    gap = slice(4000, 4400)
    windows, opened = stream(ENG, [(CUFF_SIGNAL[: gap.start], 0), (CUFF_SIGNAL[gap.stop :], gap.stop)])
    before = stream(ENG, [(CUFF_SIGNAL[: gap.start], 0)])[0]
    assert [window.start for window in windows[: len(before)]] == [window.start for window in before]
    assert all(window.start >= gap.stop for window in windows[len(before) :])
    assert len(windows) > len(before) + 5
    assert opened.health.gaps == 1


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=4))
def test_no_order_of_chunks_brings_a_sample_twice(order, again):
    signal = noise(400, 3)
    chunks = [(signal[50 * number : 50 * number + 50], 50 * number) for number in [*order, *again]]
    windows, opened = stream(EMG, chunks)
    starts = [window.start for window in windows]
    assert starts == sorted(set(starts))
    for window in windows:
        np.testing.assert_array_equal(window.values, signal[window.start : window.start + 20].T)
    taken = sum(len(chunk) for chunk, _ in chunks) - opened.health.late_samples
    assert taken == opened.position - 50 * order[0] - opened.health.missing_samples


def test_a_count_may_begin_anywhere():
    signal = noise(300, 3)
    windows, opened = stream(EMG, [(signal, 10_000)])
    assert windows[0].start == 10_000
    assert opened.health.lost_windows == 0
    assert opened.health.notes == []


def test_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="a chunk has 4 channels; run was trained on 3 channels"):
        list(Stream(EMG).push(np.zeros((5, 4))))
    with pytest.raises(ValueError, match="a chunk has 1 axes"):
        list(Stream(EMG).push(np.zeros(5)))
    with pytest.raises(ValueError, match="was trained on signatures that were cut elsewhere"):
        Stream(replace(ENG, preparation={}))
    assert list(Stream(EMG).push(np.zeros((0, 3)))) == []


PROBABILITIES = [  # of two units, in windows that begin every 10 samples
    (0.1, 0.9), (0.6, 0.9), (0.9, 0.1), (0.7, 0.1), (0.2, 0.5), (0.8, 0.6), (0.3, 0.95),
]  # fmt: skip


def events(decoder, outputs, skipped=()):
    found = []
    for number, probabilities in enumerate(outputs):
        if number not in skipped:
            found += decoder.push(10 * number, np.array(probabilities, dtype=np.float32))
    return [(event.output, event.sample) for event in found + decoder.flush()]


def test_positives_of_consecutive_windows_are_one_discharge():
    # unit 1: windows 1 to 3 and 5; unit 2: 0 to 1 and 5 to 6; a centre lies 10 samples behind the start
    assert events(Discharges(2, 0.5, 20, 10, peak=True), PROBABILITIES) == [(1, 10), (0, 30), (0, 60), (1, 70)]
    assert events(Discharges(2, 0.5, 20, 10, peak=False), PROBABILITIES) == [(1, 15), (0, 30), (0, 60), (1, 65)]
    # a window that was not decided parts what is on either side
    assert events(Discharges(2, 0.5, 20, 10, peak=False), PROBABILITIES, skipped={2}) == [
        (0, 20), (1, 15), (0, 40), (0, 60), (1, 65),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), max_size=40), st.booleans())
def test_every_run_of_positives_is_one_event_inside_it(outputs, peak):
    found = events(Discharges(2, 0.5, 20, 10, peak), outputs)
    for unit in range(2):
        positive = [False, *(probabilities[unit] > 0.5 for probabilities in outputs), False]
        edges = np.flatnonzero(np.diff(np.array(positive).astype(int)))
        mine = sorted(sample for output, sample in found if output == unit)
        assert len(mine) == len(edges) // 2
        for sample, first, end in zip(mine, edges[::2], edges[1::2], strict=True):
            assert 10 * first + 10 <= sample <= 10 * (end - 1) + 10


def test_the_class_of_a_cap_is_the_most_probable():
    assert Classes(100).push(400, np.array([0.2, 0.5, 0.3], dtype=np.float32)) == [Event(1, 450, 0.5)]
