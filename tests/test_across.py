"""Training on one condition and testing on another: across contraction intensities, across rats."""

import functools

import numpy as np
import pytest
from test_eng import fold_of, signatures

from neuroexp.data import segments, splits
from neuroexp.data.cuff import joined
from neuroexp.data.preparation import Preprocessing
from neuroexp.datasets.eng import eng
from neuroexp.datasets.hdsemg import hdsemg
from neuroexp.recordings import eng_rats, hdsemg_crossed
from neuroexp.recordings.hdsemg_simulated import simulate


def test_both_contractions_label_the_same_motor_units():
    recording = hdsemg_crossed.read(train_mvc=10, test_mvc=50, duration_s=12, units=4)
    half = round(12 * recording.rate_hz)
    assert len(recording.signal) == 2 * half
    weak, strong = (simulate(1, mvc, 12, 1, 60, 4, 20, 0.15, seed) for seed, mvc in enumerate((10, 50)))
    assert np.array_equal(recording.signal[:half], weak.signal)
    assert np.array_equal(recording.signal[half:], strong.signal)
    for train in recording.spike_trains:  # one unit of the pool, known by its number, caused both parts
        first, second = train[train < half], train[train >= half] - half
        [unit] = [number for number, known in enumerate(weak.trains) if np.array_equal(known, first)]
        assert np.array_equal(strong.trains[unit], second)
        assert min(len(first), len(second)) >= 20


def test_the_second_contraction_tests_and_only_it():
    recording = hdsemg_crossed.read(train_mvc=30, test_mvc=10, duration_s=12, units=3)
    fold = hdsemg(
        recording,
        window=20,
        step=10,
        fold=1,
        seed=0,
        label=segments.label_step,
        split=functools.partial(splits.contraction, validation=0.2),
        rate_hz=2048,
        band_hz=None,
        zero_phase=True,
        align=False,
        max_lag_ms=20,
        batch_size=64,
    )
    half = len(recording.signal) // 2
    starts = fold.starts.numpy()
    assert starts[fold.split.test].min() > half - 2048  # the border is in the rest between the two
    assert max(starts[fold.split.train].max(), starts[fold.split.validation].max()) < half + 2048
    assert fold.facts["test_samples_seen_in_train"] == 0


def test_no_common_unit_is_said():
    with pytest.raises(ValueError, match="simulated S1 1% to 1% MVC: no motor unit is active often enough in both"):
        hdsemg_crossed.read(train_mvc=1, test_mvc=1, duration_s=1.5)


@pytest.mark.slow
def test_a_rat_that_tests_is_not_in_training(tmp_path):
    recording = eng_rats.read(test=[9], train=[6], duration_s=14)
    fold = eng(
        recording,
        window=100,
        step=None,
        fold=0,
        seed=0,
        split=functools.partial(splits.given, seed=0),
        rate_hz=30_000,
        preprocessing=Preprocessing(
            clip_uv=40, most_clipped=0.2, band_hz=(800, 5000), order=6, zero_phase=True, per_contact=False, smooth_s=0.4,
            apart_s=0.8, prominence=0.3, level=0.4, guard_s=0.1, low_sd=2.5, high_sd=25, exclusion_ms=3,
        ),
        cache=str(tmp_path),
        order="spatial",
        windows="cap",
        test_share=0.15,
        batch_size=64,
    )  # fmt: skip
    assert fold.source.name == "simulated rats 6, tested on 9"
    tests = np.flatnonzero(fold.source.test)
    assert np.array_equal(np.sort(fold.split.test), tests)
    assert fold.facts["test_stimuli_seen_in_train"] == fold.facts["test_samples_seen_in_train"] == 0
    assert fold.control["balanced_accuracy"] < 0.45  # that rat's windows at rest, by a probe of the other's
    assert len(list(tmp_path.glob("*.npz"))) == 2  # each rat prepared by itself, for all who want it


def test_joined_animals_keep_their_windows_and_stimuli_apart():
    first, second = signatures(seed=1), signatures(seed=2, n_stimuli=9)
    both = joined("both", [first], [second])
    assert np.array_equal(both.windows, np.concatenate([first.windows, second.windows]))
    assert both.first[len(first.first)] >= first.n_samples
    assert len(np.unique(both.stimulus)) == len(np.unique(first.stimulus)) + len(np.unique(second.stimulus))
    assert both.test.sum() == len(second.label)
    fold = fold_of(both, split=lambda *words: splits.given(*words, seed=0))
    assert set(fold.split.test) == set(range(len(first.label), len(both.label)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"test": [6], "train": [5, 6]}, "rat 6 is in recording.train and in recording.test"),
        ({"test": []}, "recording.test names no rat, there are 4, 5, 6, 7, 8, 9"),
        ({"test": [3]}, "recording.rat=3 has no signal-to-noise ratio in Table I"),
    ],
)
def test_rats_that_make_no_comparison_are_refused(words, sentence):
    with pytest.raises(ValueError, match=sentence):
        eng_rats.read(**words)
