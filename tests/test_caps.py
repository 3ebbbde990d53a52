"""Which peaks are CAPs: training stimuli alone set the thresholds, over all classes, and no fold prepares anything anew."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_preparation import RATE, SETTINGS

from neuroexp.data import caps, preparation, signals, splits
from neuroexp.data.cuff import CLASSES, GRID, Animals, Candidates, Session, Signatures
from neuroexp.data.prepared import prepare_all
from neuroexp.data.recording import Recording
from neuroexp.datasets.eng import eng

QUICK = dataclasses.replace(SETTINGS, smooth_s=0.1, apart_s=0.3, guard_s=0.02)


def made(scale=(1.0, 1.2, 1.5), n_stimuli=8, per_stimulus=12, seed=0):
    """Return candidates in stimuli of several strengths, by class, as `prepare` leaves them."""
    rng = np.random.default_rng(seed)
    count = 3 * n_stimuli
    labels = np.repeat(np.arange(3), n_stimuli)
    lengths = rng.integers(300, 500, count)
    strength = np.array(scale)[labels] * rng.uniform(0.8, 1.25, count)
    trace = (rng.standard_normal(lengths.sum()) * np.repeat(strength, lengths)).astype(np.float32)
    stimulus = np.repeat(np.arange(count), per_stimulus)
    peak = np.abs(rng.standard_normal(len(stimulus)) * 3 * strength[stimulus]).astype(np.float32)
    return Signatures(
        name="made",
        sha256="",
        rate_hz=RATE,
        windows=rng.standard_normal((len(stimulus), 100, 1)).astype(np.float32),
        label=labels[stimulus],
        first=np.arange(len(stimulus)) * 200,
        n_samples=len(stimulus) * 200,
        stimulus=stimulus,
        candidates=Candidates(peak, trace, lengths, np.arange(count), labels, 0.0, 0.0, np.empty((0, 2))),
    )


def fold_of(recording, fold=0, split="stimulus", **words):
    settings = {
        "window": 100, "step": None, "fold": fold, "seed": 0, "split": functools.partial(getattr(splits, split), seed=0),
        "rate_hz": RATE, "preprocessing": QUICK, "cache": "", "order": "spatial", "windows": "cap", "test_share": 0.15,
        "batch_size": 64, "thresholds": "pooled",
    } | words  # fmt: skip
    return eng(recording, **settings)


def divided(recording, fold=0):
    events = splits.Events(recording.label, recording.stimulus, CLASSES, 0.15)
    timeline = splits.Timeline(recording.n_samples, RATE, events=events)
    return splits.stimulus(recording.first, 100, timeline, fold, seed=0)


@given(
    seed=st.integers(0, 50),
    factor=st.floats(0.1, 10),
    fold=st.integers(0, 4),
    mode=st.sampled_from(["pooled", "class"]),
)
def test_nothing_outside_the_training_stimuli_moves_a_threshold_or_a_training_window(seed, factor, fold, mode):
    recording = made(seed=seed)
    parts = divided(recording, fold)
    other = ~np.isin(np.arange(24), recording.stimulus[parts.train])
    known = recording.candidates
    louder = dataclasses.replace(
        known,
        trace=known.trace * np.repeat(np.where(other, factor, 1), known.lengths).astype(np.float32),
        peak_uv=np.where(other[recording.stimulus], known.peak_uv.reshape(24, -1)[:, ::-1].ravel(), known.peak_uv),
    )
    one, first = caps.select(recording, parts, 0.5, 25, mode)
    two, second = caps.select(dataclasses.replace(recording, candidates=louder), parts, 0.5, 25, mode)
    names = [name for name in one.facts if name.startswith(("cap_low_uv", "cap_high_uv"))]
    assert len(names) == (2 if mode == "pooled" else 6)
    assert [one.facts[name] for name in names] == [two.facts[name] for name in names]
    np.testing.assert_array_equal(one.windows[first.train], two.windows[second.train])


@given(seed=st.integers(0, 50))
def test_thresholds_are_of_the_stimuli_that_train_pooled_or_of_each_class(seed):
    recording = made(seed=seed)
    parts = divided(recording)
    known = recording.candidates
    pieces = np.split(known.trace, np.cumsum(known.lengths)[:-1])
    train = np.unique(recording.stimulus[parts.train])
    low, high = signals.cap_thresholds(np.concatenate([pieces[number] for number in train]), 0.5, 25)
    pooled, left = caps.select(recording, parts, 0.5, 25, "pooled")
    assert (pooled.facts["cap_low_uv"], pooled.facts["cap_high_uv"]) == (low, high)
    kept = (known.peak_uv >= low) & (known.peak_uv <= high)
    np.testing.assert_array_equal(pooled.windows, recording.windows[kept])
    assert [pooled.facts[f"caps_{name}"] for name in CLASSES] == np.bincount(recording.label[kept]).tolist()
    for part in ("train", "validation", "test"):
        before = [index for index in getattr(parts, part) if kept[index]]
        np.testing.assert_array_equal(pooled.first[getattr(left, part)], recording.first[before])
    own, _ = caps.select(recording, parts, 0.5, 25, "class")
    for number, name in enumerate(CLASSES):
        mine = np.concatenate([pieces[stimulus] for stimulus in train if known.labels[stimulus] == number])
        assert own.facts[f"cap_low_uv_{name}"] == signals.cap_thresholds(mine, 0.5, 25)[0]


@given(seed=st.integers(0, 100), sizes=st.lists(st.integers(2, 60), min_size=1, max_size=8), low_sd=st.floats(0, 5))
def test_no_choice_of_stimuli_has_a_threshold_below_the_lowest(seed, sizes, low_sd):
    rng = np.random.default_rng(seed)
    trace = np.concatenate([rng.standard_normal(size) * rng.uniform(0.1, 3) for size in sizes]).astype(np.float32)
    stops = np.cumsum(sizes)
    on = np.stack([stops - sizes, stops], axis=1)
    lowest = preparation._lowest_threshold(trace, on, low_sd)
    for _ in range(10):
        some = on[rng.random(len(on)) < 0.5] if len(on) > 1 else on
        if len(some):
            pooled = np.concatenate([trace[low:high] for low, high in some])
            assert signals.cap_thresholds(pooled, low_sd, low_sd + 1)[0] >= lowest - 1e-5


def test_a_class_without_caps_and_other_thresholds_get_one_sentence():
    with pytest.raises(
        ValueError, match="made dorsiflexion: no CAP lies between low_sd=20 and high_sd=25 standard dev"
    ):
        caps.select(made((0.1, 2, 2)), divided(made()), 20, 25, "pooled")
    with pytest.raises(ValueError, match="dataset.thresholds=median is neither pooled nor class nor all"):
        fold_of(made(), thresholds="median")


# from recordings


@functools.cache
def signal_of(number, seed, weak):
    """Return noise (time, channel) with eight bursts, of another strength for each class."""
    rng = np.random.default_rng([seed, number])
    signal = rng.standard_normal((round(4.4 * RATE), 56)).astype(np.float32)
    size = np.ones(len(signal), np.float32)
    for burst in range(8):
        size[round((0.3 + 0.5 * burst) * RATE) : round((0.5 + 0.5 * burst) * RATE)] = 2 + 0.3 * number
    signal *= size[:, None] * np.float32(weak)
    return signal


def session(seed=0, weak=1.0, read=None):
    def recording(name):
        if read is not None:
            read.append(name)
        return Recording(f"rat {name}", signal_of(CLASSES.index(name), seed, weak), RATE, "")

    return Session("rat", f"{seed} {weak}", recording)


def direct(name, seed, weak, low_uv, high_uv):
    """Return the samples of the CAPs of a class between thresholds that are known beforehand."""
    signal = signal_of(CLASSES.index(name), seed, weak)
    signal = signals.tripolar(signals.bandpass(signals.clip(signal, 40)[0], RATE, 800, 5000, 6), GRID)
    trace = signals.channel_mean(signal, GRID[3])
    on = signals.activity_intervals(signal[:, GRID[3]], RATE, 0.1, 0.3, 0.3, 0.4)
    found = signals.detect_caps(trace, RATE, low_uv, high_uv, 3)
    return found[np.any((found[:, None] >= on[:, 0]) & (found[:, None] < on[:, 1]), axis=1)]


@pytest.mark.slow
def test_folds_and_thresholds_share_what_is_prepared_and_find_what_detection_finds(tmp_path):
    read = []
    rat = session(read=read)
    low = set()
    for fold, mode in ((0, "pooled"), (1, "pooled"), (2, "class")):
        made_of = fold_of(rat, fold, thresholds=mode, cache=str(tmp_path))
        source = made_of.source
        for number, name in enumerate(CLASSES):
            ending = "" if mode == "pooled" else f"_{name}"
            limits = (source.facts[f"cap_low_uv{ending}"], source.facts[f"cap_high_uv{ending}"])
            low.add(limits[0])
            peaks = source.first[source.label == number] + 50 - number * round(4.4 * RATE)
            np.testing.assert_array_equal(peaks, direct(name, 0, 1.0, *limits))
        mean = np.mean([value for fact, value in source.facts.items() if fact.startswith("cap_low_uv")])
        assert made_of.preparation["cap_low_uv"] == pytest.approx(mean)
        assert made_of.decisions_hz == pytest.approx(len(source.label) / 4.8, rel=0.2)
    assert len(low) == 5
    assert len(list(tmp_path.glob("*.npz"))) == 1
    fold_of(rat, 3, "random", thresholds="class", cache=str(tmp_path))
    assert read == list(CLASSES)


@pytest.mark.slow
def test_rats_of_other_strengths_share_the_thresholds_of_those_that_train(tmp_path):
    weak, strong = session(1, 0.3), session(2, 1.0)
    made_of = fold_of(Animals("both", (weak,), (strong,)), split="given", cache=str(tmp_path))
    source = made_of.source
    limits = source.facts["cap_low_uv"], source.facts["cap_high_uv"]
    alone = fold_of(Animals("both", (weak,), (session(2, 2.0),)), split="given", cache=str(tmp_path))
    assert (alone.source.facts["cap_low_uv"], alone.source.facts["cap_high_uv"]) == limits  # another one tests
    samples = round(4.4 * RATE)
    for number, name in enumerate(CLASSES):
        tested = source.first[source.test & (source.label == number)] + 50 - (3 + number) * samples
        np.testing.assert_array_equal(tested, direct(name, 2, 1.0, *limits))


@pytest.mark.slow
def test_animals_are_prepared_once_more_only_where_their_peaks_do_not_reach(tmp_path):
    one, two = prepare_all([session(1), session(2)], QUICK, 100, RATE, str(tmp_path))
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert max(part.candidates.above_uv for part in (one, two)) <= min(p.candidates.lowest_uv for p in (one, two))
