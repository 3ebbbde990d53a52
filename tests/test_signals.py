"""Filters and spike-triggered averages, against SciPy and against signals whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, filtfilt, freqz_sos

from neuroexp.data import signals


def test_bandpass_equals_scipy_and_keeps_the_middle_of_the_band():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4096, 3)).astype(np.float32)
    b, a = butter(2, [20, 750], btype="bandpass", fs=2048)
    np.testing.assert_allclose(signals.bandpass(noise, 2048, 20, 750), filtfilt(b, a, noise, axis=0), atol=2e-3)
    time_s = np.arange(8192)[:, None] / 2048
    for hz, gain in ((2, 0), (200, 1), (1000, 0)):
        tone = np.sin(2 * np.pi * hz * time_s).astype(np.float32)
        middle = signals.bandpass(tone, 2048, 20, 750)[2048:-2048]
        assert middle.std() / tone.std() == pytest.approx(gain, abs=0.03)


@pytest.mark.parametrize("band", [(0, 750), (20, 1024), (750, 20)])
def test_bandpass_refuses_an_impossible_band(band):
    with pytest.raises(ValueError, match="does not fit a sampling rate of 2048 Hz"):
        signals.bandpass(np.zeros((100, 2), dtype=np.float32), 2048, *band)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_a_band_pass_has_twice_as_many_poles_as_its_order_and_acts_twice_run_both_ways(order):
    sections = signals.butterworth(30_000, 800, 5000, order)
    assert sum(np.sum(np.abs(np.roots(section[3:])) > 1e-9) for section in sections) == 2 * order
    once = np.abs(freqz_sos(sections, [10_000], fs=30_000)[1][0])
    tone = np.sin(2 * np.pi * 10_000 / 30_000 * np.arange(30_000))[:, None].astype(np.float32)
    both = signals.bandpass(tone, 30_000, 800, 5000, order)[10_000:20_000].std() / tone.std()
    assert both == pytest.approx(once**2, rel=0.01)


def test_a_band_pass_of_order_0_is_refused():
    with pytest.raises(ValueError, match="order=0 of a band-pass must be at least 1"):
        signals.butterworth(30_000, 800, 5000, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 499), unique=True, min_size=1, max_size=20), st.integers(0, 40))
def test_spike_triggered_average_equals_a_loop(samples, reach):
    rng = np.random.default_rng(len(samples))
    signal = rng.standard_normal((500, 3)).astype(np.float32)
    seen = rng.random(500) < 0.8
    lags = np.arange(-reach, reach + 1)
    average = signals.spike_triggered_average(signal, np.array(sorted(samples)), lags, seen)
    for row, lag in enumerate(lags):
        used = [signal[s + lag] for s in samples if 0 <= s + lag < 500 and seen[s + lag]]
        expected = np.mean(used, axis=0) if used else np.zeros(3)
        np.testing.assert_allclose(average[row], expected, atol=1e-6)


def planted(lags: list[int], n_samples: int = 20000) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return noise with a bump at a known lag behind each train's discharges, and the trains."""
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((n_samples, 4)).astype(np.float32)
    trains = []
    for unit, lag in enumerate(lags):
        train = np.arange(200 + 37 * unit, n_samples - 200, 211 + 10 * unit)
        signal[train + lag, unit % 4] += 8
        trains.append(train)
    return signal, trains


def test_planted_lags_are_found_and_trains_move_onto_them():
    signal, trains = planted([-7, 0, 24])
    found = signals.muap_lags(signal, trains, max_lag=30)
    assert found.tolist() == [-7, 0, 24]
    moved = signals.shift(trains, found, len(signal))
    assert signals.muap_lags(signal, moved, max_lag=30).tolist() == [0, 0, 0]


def test_lags_use_only_what_was_seen():
    signal, trains = planted([5])
    unseen = signal.copy()
    seen = np.zeros(len(signal), dtype=bool)
    seen[:12000] = True
    unseen[12000:] = 1000 * np.random.default_rng(2).standard_normal(unseen[12000:].shape)
    # The mean must come from what was seen as well: nothing in the rest may change the answer.
    assert (
        signals.muap_lags(unseen, trains, 30, seen).tolist()
        == signals.muap_lags(signal, trains, 30, seen).tolist()
        == [5]
    )


def test_too_few_discharges_stay_where_they_are():
    signal, trains = planted([9])
    assert signals.muap_lags(signal, [trains[0][:9]], 30).tolist() == [0]


def test_shift_drops_what_leaves_the_signal():
    [moved] = signals.shift([np.array([0, 5, 98])], np.array([3]), 100)
    assert moved.tolist() == [3, 8]
    [moved] = signals.shift([np.array([0, 5, 98])], np.array([-1]), 100)
    assert moved.tolist() == [4, 97]


@pytest.mark.parametrize("lag", [0, 8])
def test_pulse_to_noise_ratio_of_known_powers(lag):
    source = np.full(10_000, 0.1)
    discharges = np.arange(50, 9_900, 100)
    source[discharges - lag] = 10.0
    assert signals.pulse_to_noise_db(source, discharges, max_lag=20) == pytest.approx(40)  # 10 log10(10^2 / 0.1^2)
