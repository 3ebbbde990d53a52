"""From recordings to signatures: every step of the ENG paper's preprocessing, the cache, and what cannot be prepared."""

import dataclasses
import functools
import multiprocessing
import re
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from test_control import scored

from neuroexp.data import caps, preparation, signals, splits
from neuroexp.data.cuff import CLASSES, GRID, Session
from neuroexp.data.prepared import prepare
from neuroexp.data.recording import Recording
from neuroexp.recordings import eng_simulated

RATE = 30_000.0
SHORT_S = 4  # the shortest that is simulated
SETTINGS = instantiate(OmegaConf.load(Path(__file__).parent.parent / "conf/dataset/eng.yaml").dataset.preprocessing)
RNG = np.random.default_rng(0)


def changed(**values):
    return dataclasses.replace(SETTINGS, **values)


@pytest.fixture(scope="module")
def prepared(shared):
    return prepare(eng_simulated.read(), SETTINGS, 100, RATE, str(shared / "cache"))


@pytest.fixture(scope="module")
def rat():
    """A rat that is simulated once, however often it is read."""
    simulated = eng_simulated.read(duration_s=SHORT_S)
    return dataclasses.replace(simulated, read=functools.cache(simulated.read))


def chosen(prepared):
    """Return the CAPs that thresholds of all stimuli choose."""
    every = np.arange(len(prepared.label))
    return caps.select(prepared, splits.Split(every, every, every), SETTINGS.low_sd, SETTINGS.high_sd, "pooled")[0]


def session(signal, rate_hz=RATE, **words):
    """Return a session in which every class has this signal."""
    signal = signal.astype(np.float32)
    return Session(
        "made", str(hash(signal.tobytes())), lambda name: Recording(f"made {name}", signal, rate_hz, "", **words)
    )


# each step on its own


def test_clip_limits_and_reports_the_share_beyond():
    signal = np.array([[50.0, 1], [-41, 2], [0, 3], [40, -40]], dtype=np.float32)
    clipped, beyond = signals.clip(signal, 40)
    assert clipped.tolist() == [[40, 1], [-40, 2], [0, 3], [40, -40]]
    assert beyond.tolist() == [0.5, 0]


@pytest.mark.parametrize("zero_phase", [True, False])
def test_bandpass_keeps_its_band(zero_phase):
    time = np.arange(30_000) / RATE
    for frequency, gain in ((300, 0), (2000, 1), (9000, 0)):
        wave = np.sin(2 * np.pi * frequency * time)[:, None].astype(np.float32)
        out = signals.bandpass(wave, RATE, 800, 5000, order=6, zero_phase=zero_phase)[5000:-5000]
        assert out.std() / wave.std() == pytest.approx(gain, abs=0.02)
        if zero_phase and gain:
            np.testing.assert_allclose(out, wave[5000:-5000], atol=0.02)


def test_a_causal_bandpass_knows_nothing_of_the_future():
    signal = RNG.standard_normal((4000, 3)).astype(np.float32)
    later = signal.copy()
    later[2000:] += 5
    one, other = (signals.bandpass(x, RATE, 800, 5000, 6, zero_phase=False) for x in (signal, later))
    assert np.array_equal(one[:2000], other[:2000])


@pytest.mark.parametrize("per_contact", [True, False])
def test_tripolar_removes_what_is_common_and_keeps_the_rest(per_contact):
    common = RNG.standard_normal((500, 1))
    own = np.zeros((500, 56))
    own[:, GRID[3]] = RNG.standard_normal((500, 8))
    out = signals.tripolar((own + common).astype(np.float32), GRID, per_contact)
    np.testing.assert_allclose(out, own, atol=1e-5)


def test_tripolar_per_contact_uses_the_two_outer_contacts_of_the_same_angle():
    signal = RNG.standard_normal((10, 56)).astype(np.float32)
    out = signals.tripolar(signal, GRID, per_contact=True)
    for ring, contact in np.ndindex(7, 8):
        expected = signal[:, 8 * ring + contact] - (signal[:, contact] + signal[:, 48 + contact]) / 2
        np.testing.assert_allclose(out[:, 8 * ring + contact], expected, atol=1e-6)


def test_activity_intervals_find_bursts_of_power():
    signal = RNG.standard_normal((round(10 * RATE), 8)).astype(np.float32)
    truth = [(1.0, 1.7), (3.0, 3.6), (5.2, 5.9), (8.0, 8.6)]
    for low, high in truth:
        signal[round(low * RATE) : round(high * RATE)] *= 1.3
    found = signals.activity_intervals(signal, RATE, 0.3, 0.8, 0.3, 0.5) / RATE
    np.testing.assert_allclose(found, truth, atol=0.05)


def test_between_is_the_rest_less_a_guard():
    on = np.array([[10, 20], [30, 40]])
    assert signals.between(on, 50, guard=2).tolist() == [[0, 8], [22, 28], [42, 50]]
    assert signals.between(on, 50, guard=6).tolist() == [[0, 4], [46, 50]]


@given(gain=st.floats(1.1, 5), seed=st.integers(0, 99))
def test_snr_is_the_mean_ratio_of_power(gain, seed):
    signal = np.random.default_rng(seed).standard_normal((4000, 3)).astype(np.float32)
    signal[1000:2000] *= gain
    on, off = np.array([[1000, 2000]]), np.array([[0, 1000], [2000, 4000]])
    ratio = np.mean(signal[1000:2000] ** 2, axis=0) / np.mean(
        np.concatenate([signal[:1000], signal[2000:]]) ** 2, axis=0
    )
    assert signals.snr_db(signal, on, off) == pytest.approx(10 * np.log10(ratio.mean()), abs=1e-4)


def test_caps_are_peaks_between_thresholds_the_highest_of_3_ms_alone():
    trace = 0.1 * RNG.standard_normal(30_000).astype(np.float32)
    for sample, height in ((1000, 3.0), (1060, -4), (5000, -3), (9000, 40), (9050, 3), (20_000, 3)):
        trace[sample] = height
    caps = signals.detect_caps(trace, RATE, *signals.cap_thresholds(trace, 5, 1000), exclusion_ms=3)
    assert caps.tolist() == [1060, 5000, 9000, 20_000]
    spread = trace.std()
    caps = signals.detect_caps(trace, RATE, *signals.cap_thresholds(trace, 5, 20 / spread), exclusion_ms=3)
    assert caps.tolist() == [1060, 5000, 20_000]  # the artefact takes what lies in its 3 ms with it


@given(seed=st.integers(0, 50), exclusion_ms=st.floats(0.5, 5))
def test_caps_keep_their_distance(seed, exclusion_ms):
    trace = np.random.default_rng(seed).standard_normal(3000).astype(np.float32)
    caps = signals.detect_caps(trace, RATE, *signals.cap_thresholds(trace, 0.5, 50), exclusion_ms)
    assert len(caps)
    assert np.diff(caps).min() >= np.floor(exclusion_ms * 30)


def test_thresholds_that_do_not_rise():
    with pytest.raises(ValueError, match="low_sd=5 and high_sd=2"):
        signals.cap_thresholds(np.ones(10, dtype=np.float32), 5, 2)


# what time is missing from


JOINED_AT = (41_000, 41_700, 90_000)


def joined_signal(rat):
    """Return a recording whose stretches have electrode offsets of their own, and how each is filtered alone."""
    signal = rat.read("pricking").signal.copy()
    parts = signals.stretches(len(signal), JOINED_AT)
    for number, (low, high) in enumerate(parts):
        signal[low:high] += np.float32(9 * number)
    return signal, parts


@pytest.mark.parametrize("zero_phase", [True, False])
def test_a_filter_crosses_no_seam(zero_phase, rat):
    signal, parts = joined_signal(rat)
    filtered = signals.bandpass(signal[:, :2], RATE, 800, 5000, 6, zero_phase, JOINED_AT)
    alone = [signals.bandpass(signal[low:high, :2], RATE, 800, 5000, 6, zero_phase) for low, high in parts]
    np.testing.assert_array_equal(filtered, np.concatenate(alone))
    assert not np.array_equal(filtered, signals.bandpass(signal[:, :2], RATE, 800, 5000, 6, zero_phase))


@pytest.mark.parametrize("length", [1, 2, 20, 39, 40])
def test_a_stretch_of_a_few_samples_is_filtered_too(length):
    wave = RNG.standard_normal((3000, 1)).astype(np.float32)
    filtered = signals.bandpass(wave, RATE, 800, 5000, 6, seams=[1000, 1000 + length])
    assert np.isfinite(filtered).all()
    np.testing.assert_array_equal(filtered[:1000], signals.bandpass(wave[:1000], RATE, 800, 5000, 6))


@given(st.lists(st.integers(1, 29_999), unique=True, max_size=6).map(sorted), st.integers(0, 300))
def test_activity_rest_and_caps_end_at_seams(seams, guard):
    rng = np.random.default_rng(len(seams))
    active = np.repeat(rng.random(30) < 0.3, 1000)
    signal = (rng.standard_normal((30_000, 2)) * np.where(active, 8, 1)[:, None]).astype(np.float32)
    parts = signals.stretches(len(signal), seams)
    on = signals.activity_intervals(signal, 1000, 0.2, 0.5, 0.3, 0.5, seams)
    off = signals.between(on, len(signal), guard, seams)
    for intervals in (on, off):
        assert (intervals[:, 0] < intervals[:, 1]).all()
        inside = [any(low <= start and stop <= high for low, high in parts) for start, stop in intervals]
        assert all(inside)
    covered = np.zeros(len(signal), int)
    for start, stop in (*on, *off):
        covered[start:stop] += 1
    assert covered.max() == 1
    assert guard or covered.all()
    found = signals.detect_caps(signal[:, 0], 1000, 5, 20, 40, seams)
    alone = [low + signals.detect_caps(signal[low:high, 0], 1000, 5, 20, 40) for low, high in parts]
    np.testing.assert_array_equal(found, np.concatenate(alone))


def test_activity_that_a_seam_cuts_in_its_middle_is_found_on_both_sides():
    signal = np.where((np.arange(9000) // 1000 == 3), 8, 1)[:, None] * RNG.standard_normal((9000, 4))
    on = signals.activity_intervals(signal.astype(np.float32), 1000, 0.1, 0.5, 0.3, 0.5, [3500])
    np.testing.assert_allclose(on, [[3000, 3500], [3500, 4000]], atol=80)
    assert on[0, 1] == on[1, 0] == 3500


@pytest.mark.slow
def test_windows_and_rest_of_a_recording_with_seams_lie_within_its_stretches(rat, tmp_path):
    signal, _ = joined_signal(rat)
    made = prepare(session(signal, seams=JOINED_AT), SETTINGS, 100, RATE, str(tmp_path))
    whole = prepare(session(signal), SETTINGS, 100, RATE, str(tmp_path / "whole"))
    cleaned = signals.bandpass(
        signals.clip(signal, SETTINGS.clip_uv)[0], RATE, *SETTINGS.band_hz, SETTINGS.order, seams=JOINED_AT
    )
    cleaned = signals.tripolar(cleaned, GRID)
    for part in (made, made.rest):
        first = part.first[part.label == 0]
        place = np.searchsorted(JOINED_AT, first, side="right")
        np.testing.assert_array_equal(place, np.searchsorted(JOINED_AT, first + 99, side="right"))
        groups = part.stimulus[part.label == 0]
        assert all(len(np.unique(place[groups == group])) == 1 for group in np.unique(groups))
        np.testing.assert_array_equal(part.windows[part.label == 0], cleaned[first[:, None] + np.arange(100)])
    assert len(made.label) > 60
    assert made.windows.shape != whole.windows.shape or not np.array_equal(made.windows, whole.windows)


# the whole


@pytest.mark.slow
@pytest.mark.parametrize("rat", [4, 5, 6, 7, 8, 9])
def test_estimated_snr_lands_on_table_1(rat, shared):
    facts = prepare(eng_simulated.read(rat=rat, duration_s=14), SETTINGS, 100, RATE, str(shared / "cache")).facts
    for name, published in zip(CLASSES, eng_simulated.SNR_DB[rat], strict=True):
        assert facts[f"snr_db_{name}"] == pytest.approx(published, abs=0.5)


def test_a_lower_snr_leaves_fewer_evoked_caps_among_those_found(prepared, shared):
    weak = prepare(eng_simulated.read(rat=9), SETTINGS, 100, RATE, str(shared / "cache"))

    def evoked(signatures):
        return np.mean([chosen(signatures).facts[f"cap_evoked_{name}"] for name in CLASSES])

    assert evoked(weak) < evoked(prepared) - 0.1


def test_detected_caps_are_the_simulated_ones(prepared):
    prepared = chosen(prepared)
    for name in CLASSES:
        assert prepared.facts[f"cap_precision_{name}"] > 0.8
        assert prepared.facts[f"cap_recall_{name}"] > 0.7
        assert prepared.facts[f"stimuli_{name}"] == 11
        assert prepared.facts[f"stimulus_s_{name}"] == pytest.approx(0.64, abs=0.1)


def test_agreement_matches_each_true_cap_once():
    found, truth = np.array([10, 12, 100, 205, 400]), np.array([11, 101, 200, 300])
    assert caps.agreement(found, [truth], 5) == {
        "cap_precision": 3 / 5,
        "cap_evoked": 3 / 5,
        "cap_recall": 3 / 4,
    }
    assert caps.agreement(found, [truth, np.array([398])], 5) == {
        "cap_precision": 4 / 5,
        "cap_evoked": 3 / 5,
        "cap_recall": 3 / 4,
    }


@pytest.mark.slow
def test_signatures_are_the_cleaned_signal_around_the_cap(prepared):
    recording = eng_simulated.read().read("plantarflexion")
    signal, _ = signals.clip(recording.signal, 40)
    signal = signals.tripolar(signals.bandpass(signal, RATE, 800, 5000, 6), GRID)
    mine = prepared.label == 1
    first = prepared.first[mine] - 600_000  # the classes follow one another on one time axis
    for number in (0, 7, -1):
        np.testing.assert_array_equal(prepared.windows[mine][number], signal[first[number] : first[number] + 100])
    middle = np.abs(chosen(prepared).windows[:, :, GRID[3]].mean(axis=2))
    assert np.mean(middle[:, 50] == middle.max(axis=1)) > 0.95  # but where 3 ms end within the signature


def test_windows_at_rest_touch_no_stimulus_and_not_each_other(prepared):
    rest = prepared.rest
    each = [caps_of.sum() for caps_of in np.eye(3)[chosen(prepared).label].T]
    assert np.bincount(rest.label) == pytest.approx(each, rel=0.2)  # about as many as CAPs, whatever the fold
    assert np.diff(np.sort(rest.first)).min() >= 100
    nearest = np.abs(rest.first[:, None] - prepared.first[None]).min(axis=1)
    assert nearest.min() > 0.1 * RATE - 100
    assert len(np.unique(rest.stimulus)) > 20


@pytest.mark.slow
def test_the_control_sees_a_drift_of_electrode_gains_and_nothing_without(prepared, tmp_path):
    drifted = prepare(eng_simulated.read(duration_s=14, drift=0.1), SETTINGS, 100, RATE, str(tmp_path))
    for fold in (0, 3):
        without, with_drift = scored(prepared.rest, fold=fold), scored(drifted.rest, fold=fold)
        assert without["balanced_accuracy"] < without["null_95"] < 0.45
        assert with_drift["balanced_accuracy"] > 0.95 > with_drift["null_95"] + 0.2


def test_stimuli_are_told_apart_over_all_classes(prepared):
    classes = [np.unique(prepared.label[prepared.stimulus == number]) for number in np.unique(prepared.stimulus)]
    assert all(len(found) == 1 for found in classes)
    assert len(classes) == 33


# the cache


@pytest.mark.slow
def test_the_cache_gives_back_the_same_and_reads_nothing(tmp_path, rat):
    one = prepare(rat, SETTINGS, 100, RATE, str(tmp_path))
    unreadable = Session(
        "other name", one.sha256, lambda name: pytest.fail("read again"), simulated=True, notes=("a: b",)
    )
    two = prepare(unreadable, SETTINGS, 100, RATE, str(tmp_path))
    for part in (lambda s: s, lambda s: s.rest):
        for array in ("windows", "label", "first", "stimulus"):
            np.testing.assert_array_equal(getattr(part(one), array), getattr(part(two), array))
    assert (two.facts, two.n_samples, two.classes, two.simulated) == (one.facts, one.n_samples, CLASSES, True)
    assert (one.notes, two.notes) == ((), ("a: b",))  # they are of where it lies now
    assert two.traces.keys() == one.traces.keys()
    for name in ("peak_uv", "trace", "lengths", "stimuli", "labels"):
        np.testing.assert_array_equal(getattr(one.candidates, name), getattr(two.candidates, name))
    for trains, others in zip(one.candidates.true, two.candidates.true, strict=True):
        assert [train.tolist() for train in trains] == [train.tolist() for train in others]
    assert (one.candidates.lowest_uv, one.candidates.above_uv) == (two.candidates.lowest_uv, two.candidates.above_uv)
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".lock", ".npz"]


@pytest.mark.slow
def test_other_settings_are_other_signatures(tmp_path, rat):
    prepare(rat, SETTINGS, 100, RATE, str(tmp_path))
    prepare(rat, changed(low_sd=3.0), 100, RATE, str(tmp_path))
    prepare(rat, SETTINGS, 60, RATE, str(tmp_path))
    prepare(eng_simulated.read(duration_s=SHORT_S, seed=1), SETTINGS, 100, RATE, str(tmp_path))
    assert len(list(tmp_path.glob("*.npz"))) == 4


@pytest.mark.slow
def test_a_damaged_cache_is_made_again(tmp_path, rat):
    whole = prepare(rat, SETTINGS, 100, RATE, str(tmp_path))
    [path] = tmp_path.glob("*.npz")
    for length in (0, 1000, path.stat().st_size // 2):
        path.write_bytes(path.read_bytes()[:length])
        again = prepare(rat, SETTINGS, 100, RATE, str(tmp_path))
        np.testing.assert_array_equal(again.windows, whole.windows)


def _prepare_in_process(cache, results):
    made = []
    rat = eng_simulated.read(duration_s=SHORT_S)
    counted = Session(rat.name, rat.sha256, lambda name: made.append(name) or rat.read(name), simulated=True)
    prepare(counted, SETTINGS, 100, RATE, cache)
    results.put(len(made))


@pytest.mark.process
def test_of_three_processes_one_prepares(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_prepare_in_process, args=(str(tmp_path), results)) for _ in range(3)]
    for process in processes:
        process.start()
    made = sorted(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert made == [0, 0, 3]


# what cannot be prepared


def quiet():
    return RNG.standard_normal((round(4 * RATE), 56))


def loud(channel, factor):
    return np.where(np.arange(56) == channel, factor, 1) * quiet()


def steady():
    """The same white noise all the time, in which a stimulus would have to stand out by more than there is."""
    return session(quiet()), {"prominence": 5.0}


BROKEN = {
    "made dorsiflexion: 32 channels, a cuff of 7 rings with 8 contacts has 56": lambda: (session(quiet()[:, :32]), {}),
    "sampled at 20000 Hz, but dataset.rate_hz is 30000; set dataset.rate_hz=20000": lambda: (session(quiet(), 2e4), {}),
    "set dataset.rate_hz=8000 to count the window in its samples, and dataset.preprocessing.band_hz=.800,3600.": lambda: (
        session(quiet(), 8e3),
        {},
    ),
    "no CAP lies between low_sd=20 and high_sd=25 standard dev": lambda: (session(quiet()), {"low_sd": 20.0}),
    r"channel 5 lies beyond ±40 µV in 9\d% of the samples, more than": lambda: (session(loud(4, 500)), {}),
    "channel 10 is flat; leave it out": lambda: (session(loud(9, 0)), {}),
    "no stimulus stands out": steady,
}


def drifting(offsets):
    """Return a simulated rat with an offset (channel,) per class, which grows over the recording."""
    simulated = eng_simulated.read(duration_s=SHORT_S)

    @functools.cache
    def read(name):
        made = simulated.read(name)
        drift = offsets[CLASSES.index(name)] * np.linspace(0.5, 1, len(made.signal))[:, None]
        return dataclasses.replace(made, signal=(made.signal + drift).astype(np.float32))

    return dataclasses.replace(simulated, sha256="drifting", read=read)


@pytest.mark.slow
def test_drift_names_a_limit_that_then_works_for_all_classes(tmp_path):
    every = np.ones(56)
    session = drifting([300 * every, 2500 * every, 40 * every])
    with pytest.raises(ValueError, match="56 of 56 channels lie beyond ±40 µV .* drift or an offset") as caught:
        prepare(session, SETTINGS, 100, RATE, str(tmp_path))
    assert "fill_channels" not in str(caught.value)
    limit = float(re.search(r"set dataset\.preprocessing\.clip_uv=([\d.]+),", str(caught.value))[1])
    assert 2000 < limit < 2600
    assert len(prepare(session, changed(clip_uv=limit), 100, RATE, str(tmp_path)).label) > 100


@pytest.mark.parametrize(("channels", "drifts"), [((0, 9, 18), False), (range(8, 16), True), (range(0, 56, 2), False)])
def test_a_whole_ring_cannot_be_filled_from_neighbours_but_single_contacts_can(channels, drifts):
    offset = np.where(np.isin(np.arange(56), channels), 500, 0)
    recording = Recording("made", (quiet() + offset).astype(np.float32), RATE, "")
    says = "drift or an offset" if drifts else f"channels {','.join(str(c + 1) for c in channels)} lie beyond"
    with pytest.raises(ValueError, match=says):
        preparation.prepared(recording, SETTINGS, 100, RATE, 0, np.inf)


@pytest.mark.parametrize("sentence", BROKEN)
def test_one_clear_sentence(sentence, tmp_path):
    broken, settings = BROKEN[sentence]()
    with pytest.raises(ValueError, match=sentence):
        prepare(broken, changed(**settings), 100, RATE, str(tmp_path))


def test_a_band_beyond_half_the_sampling_rate(tmp_path):
    with pytest.raises(ValueError, match=r"a band-pass of 800 to 20000 Hz .*band_hz=\[800,13500\]"):
        prepare(session(quiet()), changed(band_hz=[800, 20000]), 100, RATE, str(tmp_path))


def test_nothing_is_left_behind_by_a_failure(tmp_path):
    with pytest.raises(ValueError, match="32 channels"):
        prepare(session(quiet()[:, :32]), SETTINGS, 100, RATE, str(tmp_path))
    assert not list(tmp_path.glob("*.npz")) + list(tmp_path.glob("*.part"))
