"""Fold: gathered windows equal cut windows, statistics come from training windows, nothing is stored twice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroexp.data import segments, splits
from neuroexp.data.fold import Batches, Fold, training_statistics
from neuroexp.data.signals import bandpass
from neuroexp.data.splits import Split
from neuroexp.datasets.hdsemg import hdsemg


def make(n_samples=4000, window=20, step=10, channels=3, batch_size=64, seed=0, order="C") -> tuple[np.ndarray, Fold]:
    rng = np.random.default_rng(seed)
    signal = (rng.standard_normal((n_samples, channels)) * [1, 50, 0.1] + [0, 1000, -3]).astype(np.float32)
    starts = segments.window_starts(n_samples, window, step)
    labels = (rng.random((len(starts), 2)) < 0.3).astype(np.float32)
    split = splits.random(starts, window, splits.Timeline(n_samples, 2048), 0, seed)
    return signal, Fold(np.asarray(signal, order=order), starts, window, labels, split, batch_size, seed)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 80), st.integers(5, 40))
def test_statistics_equal_those_of_cut_training_windows(window, step):
    signal, fold = make(window=window, step=step)
    starts = segments.window_starts(4000, window, step)[fold.split.train]
    cut = np.stack([signal[start : start + window] for start in starts]).astype(float).reshape(-1, 3)
    mean, std = training_statistics(signal, starts, window, chunk=700)
    np.testing.assert_allclose(mean, cut.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, cut.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("order", ["C", "F"])  # filters return their result in the other order of memory
def test_batches_hold_the_right_windows_and_labels(order):
    signal, fold = make(order=order)
    standardised = (signal - fold.mean) / fold.std
    seen = []
    for x, y in fold.test_dataloader():
        assert x.shape[1:] == (3, 20)
        for row in range(len(x)):
            index = fold.split.test[len(seen)]
            start = fold.starts[index]
            np.testing.assert_allclose(x[row].numpy(), standardised[start : start + 20].T, rtol=1e-5)
            assert torch.equal(y[row], fold.labels[index])
            seen.append(index)
    assert seen == list(fold.split.test)


def test_training_order_changes_every_epoch_and_repeats_with_the_seed():
    def epochs(seed):
        _, fold = make(seed=seed)
        return [torch.cat([x[:, 0, 0] for x, _ in fold.train_dataloader()]) for _ in range(2)]

    first, second = epochs(0)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)
    again = epochs(0)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])


@given(st.integers(1, 300), st.integers(1, 70))
def test_no_batch_of_one_window_and_none_lost(n_windows, batch_size):
    fold = make()[1]
    batches = Batches(fold, np.arange(n_windows), batch_size)
    sizes = [len(x) for x, _ in batches]
    assert len(sizes) == len(batches)
    assert sum(sizes) == n_windows
    assert min(sizes) > 1 or batch_size == 1 or n_windows == 1
    assert max(sizes) <= batch_size + 1


def test_the_recording_is_left_as_it_was():
    signal, fold = make()
    before = signal.copy()
    list(fold.train_dataloader())
    assert np.array_equal(signal, before)


def test_a_channel_that_is_flat_in_training_is_named():
    signal = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    signal[:500, 1] = 7
    starts = segments.window_starts(1000, 20, 10)
    early = np.flatnonzero(starts < 480)
    late = np.flatnonzero(starts >= 500)
    with pytest.raises(ValueError, match="channel 2 does not vary in the training windows"):
        Fold(signal, starts, 20, np.zeros((len(starts), 1), np.float32), Split(early, late, late), 64, 0)


def dataset(recording, **changes):
    settings = {
        "window": 20,
        "step": 10,
        "fold": 0,
        "seed": 0,
        "label": segments.label_step,
        "split": lambda *words: splits.random(*words, seed=0),
        "rate_hz": 2048,
        "band_hz": None,
        "zero_phase": True,
        "align": False,
        "max_lag_ms": 20,
        "batch_size": 64,
    }
    return hdsemg(recording, **(settings | changes))


def test_dataset_shape_and_facts(simulated):
    fold = dataset(simulated)
    assert fold.shape == {"n_channels": 64, "window": 20, "n_outputs": 6}
    assert fold.facts["positive_rate"] == pytest.approx(float(fold.labels.mean()))
    assert 0.75 < fold.facts["test_windows_overlapping_train"] < 0.9


def test_the_order_of_the_filter_is_a_setting_whose_default_stays(simulated):
    second, first = (dataset(simulated, band_hz=(20, 750), **words) for words in ({}, {"order": 1}))
    assert (second.preparation["order"], first.preparation["order"]) == (2, 1)
    expected = bandpass(simulated.signal, 2048, 20, 750, order=1)
    standardised = (expected - first.mean) / first.std
    np.testing.assert_allclose(first.signal.numpy(), standardised, atol=1e-4)
    assert np.abs(first.signal.numpy() - second.signal.numpy()).max() > 0.1
    with pytest.raises(ValueError, match="dataset.order=1 says nothing without a filter: set dataset.band_hz"):
        dataset(simulated, order=1)


def test_alignment_moves_labels_by_lags_from_training_alone(simulated):
    plain, aligned = dataset(simulated), dataset(simulated, align=True)
    assert not torch.equal(plain.labels, aligned.labels)
    assert aligned.facts["mean_absolute_lag_ms"] > 0.5
    # the same training part with another test part must give the same lags
    changed = simulated.signal.copy()
    starts = segments.window_starts(len(changed), 20, 10)
    blocks = lambda *words: splits.blocked(*words, seed=0, block_s=1.0, shortest_block_s=0.4)  # noqa: E731
    split = dataset(simulated, split=blocks).split
    test = segments.coverage(len(changed), starts[split.test], 20) > 0
    changed[test] += 1000 * np.random.default_rng(0).standard_normal(changed[test].shape).astype(np.float32)
    from dataclasses import replace

    noisy = dataset(replace(simulated, signal=changed), split=blocks, align=True)
    quiet = dataset(simulated, split=blocks, align=True)
    assert torch.equal(noisy.labels, quiet.labels)
    assert np.array_equal(noisy.mean, quiet.mean)


def test_band_filters_the_signal(simulated):
    raw, filtered = dataset(simulated), dataset(simulated, band_hz=[20, 400])
    spectrum = [np.abs(np.fft.rfft(fold.signal[:, 5].numpy())) for fold in (raw, filtered)]
    assert spectrum[1][-5000:].sum() < 0.2 * spectrum[0][-5000:].sum()


def test_another_rate_and_a_band_that_does_not_fit_it_are_named_at_once(simulated):
    from dataclasses import replace

    slow = replace(simulated, rate_hz=1000.0)
    with pytest.raises(ValueError, match=r"set dataset\.rate_hz=1000 .*and dataset\.band_hz=\[20,450\] to filter it"):
        dataset(slow, band_hz=(20, 750))
    dataset(slow, rate_hz=1000, band_hz=(20, 450))
    with pytest.raises(
        ValueError, match=r"750 Hz does not fit a sampling rate of 1000 Hz; set dataset\.band_hz=\[20,450\]"
    ):
        dataset(slow, rate_hz=1000, band_hz=(20, 750))
    with pytest.raises(
        ValueError, match=r"is 2048; set dataset\.rate_hz=1000 to count window and step in its samples$"
    ):
        dataset(slow)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"spike_trains": ()}, "there are no spike trains"),
        (
            {"spike_trains": (np.array([5, 900]), np.array([], dtype=int))},
            r"motor unit 2 has no discharge.*discard_units=\[2\]",
        ),
        ({"rate_hz": 2000.0}, "sampled at 2000 Hz, but dataset.rate_hz is 2048"),
    ],
)
def test_unusable_recordings_are_refused_with_the_way_out(changes, says, simulated):
    from dataclasses import replace

    with pytest.raises(ValueError, match=says):
        dataset(replace(simulated, **changes))
