"""A replay decides what the network decides offline, keeps count of its deadlines, and comes and goes over LSL."""

import csv
import io
import itertools
import json
import re
import threading
import time
import uuid
from dataclasses import replace
from signal import SIGINT, raise_signal

import numpy as np
import pytest
import torch
from conftest import SMALL, write_demuse
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stream import CUFF, EMG, ENG, FILTERED, cut, noise

from neuroexp.data import segments, signals
from neuroexp.data.cuff import GRID, Session
from neuroexp.data.recording import Recording, broken_allowed
from neuroexp.deploy import engines, restore
from neuroexp.deploy.decoder import Decoder
from neuroexp.evaluation import matching
from neuroexp.evaluation.events import Event
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.recordings import eng_simulated, hdsemg_simulated
from neuroexp.replay import pace, report, scoring, source, view
from neuroexp.replay.pace import Decoding, Latencies, Tally
from neuroexp.replay.play import options, replay
from neuroexp.replay.scoring import Truth
from neuroexp.replay.table import trains, write_units
from neuroexp.streams import lsl, montage

SPEC = replace(EMG, preparation=FILTERED, window=20, step=10)


def decoder(channels: int = 3, window: int = 20, outputs: int = 2) -> Decoder:
    torch.manual_seed(0)
    network = MLDCNN(channels, window, outputs)
    return Decoder(
        network, torch.nn.Sigmoid(), np.full(channels, 3, np.float32), np.full(channels, 9, np.float32), window
    ).eval()


DECODER = decoder()


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(0, 200), max_size=12))
def test_probabilities_and_discharges_are_the_offline_ones_whatever_the_chunks(sizes):
    signal = noise(700, 3)
    whole = signals.bandpass(signal, SPEC.rate_hz, 20, 400, 2, zero_phase=False)
    starts = segments.window_starts(len(signal), 20, 10)
    with torch.inference_mode():
        windows = [torch.from_numpy(np.ascontiguousarray(whole[start : start + 20].T)) for start in starts]
        expected = np.concatenate([DECODER(window[None]).numpy() for window in windows])
    threshold = float(np.median(expected[:, 1]))  # an untrained network finds few discharges at 0.5

    def streamed(chunks):
        heard = []
        decoding = Decoding(
            replace(SPEC, threshold=threshold),
            engines.build("eager", DECODER, {}),
            Tally(5.0),
            decided=lambda window, probabilities: heard.append((window.start, probabilities)),
        )
        events = [event for chunk, first in chunks for event in decoding.push(chunk, first)]
        return heard, events + decoding.finish()

    heard, events = streamed(cut(signal, sizes))
    assert [start for start, _ in heard] == starts.tolist()
    np.testing.assert_array_equal(np.stack([probabilities for _, probabilities in heard]), expected)
    assert events == streamed([(signal, 0)])[1]
    assert len(events) > 5


def slow(windows):
    time.sleep(0.02)
    return np.zeros((1, 2), dtype=np.float32)


def test_a_replay_that_falls_behind_drops_windows_and_catches_up():
    signal = noise(1024, 3)
    tally = Tally(SPEC.period_ms)
    decoding = Decoding(SPEC, slow, tally)
    began = time.perf_counter()
    for chunk, first, arrived in pace.chunks(signal, 32, 2048, real_time=True):
        decoding.push(chunk, first, arrived)
    took_s = time.perf_counter() - began
    windows = len(segments.window_starts(1024, 20, 10))
    assert tally.decided + tally.dropped == windows
    assert tally.decided <= took_s / 0.02
    assert tally.missed == tally.decided  # none is out before the next one is due
    assert tally.dropped > windows / 3
    assert took_s >= 0.5
    assert tally.latencies.max_ms > tally.deadline_ms


def test_real_time_is_no_faster_than_the_recording():
    came = []
    began = time.perf_counter()
    for chunk, first, arrived in pace.chunks(noise(500, 3), 100, 2048, real_time=True):
        came.append((first, len(chunk), arrived))
        assert time.perf_counter() >= arrived
    assert [entry[:2] for entry in came] == [(0, 100), (100, 100), (200, 100), (300, 100), (400, 100)]
    assert came[0][2] >= began + 100 / 2048  # the stream begins when it is first asked for
    np.testing.assert_allclose(np.diff([entry[2] for entry in came]), 100 / 2048, atol=1e-9)
    assert [arrived for *_, arrived in pace.chunks(noise(50, 3), 20, 2048, real_time=False)] == [None] * 3


@given(st.lists(st.floats(0.002, 5000), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_of_the_histogram_are_within_a_bin(values, share):
    counted = Latencies()
    for value in values:
        counted.add(value)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    assert exact * (1 - 1e-9) <= counted.quantile_ms(share) <= exact * 1.0234
    assert counted.max_ms == max(values)


def test_rates_are_means_over_the_units_that_discharge():
    beat = np.arange(100, 2000, 100)
    never = np.array([], dtype=np.int64)
    true, found = [beat, beat, never, never], [beat, never, np.array([500]), never]
    score = scoring.unit_scores(Truth(true), found, SPEC)["whole recording"]
    # the first unit is found, the second never; the third discharges only in error, the fourth is silent in both
    assert (score["scored"], score["rate_of_agreement"], score["sensitivity"], score["precision"]) == (2, 0.5, 0.5, 0.5)
    assert [unit["only_found"] for unit in score["units"]] == [0, 0, 1, 0]
    assert score["unscored"] == [3, 4]
    assert report.unscored({"test part": score}) == ["test part: units 3, 4 without a discharge, not scored"]
    assert (score["roa_90_units"], score["roa_50_units"]) == (1, 1)
    silent = scoring.unit_scores(Truth([never]), [never], SPEC)["whole recording"]
    assert silent["scored"] == 0
    assert np.isnan(silent["rate_of_agreement"])
    assert silent["roa_90_units"] is None


def test_a_lag_is_searched_for_in_the_training_part_alone():
    beat = np.arange(100, 4000, 100)
    trained, tested = np.arange(4096) < 2048, np.arange(4096) >= 2048
    late = np.where(beat < 2048, beat + 7, beat + 30)  # the network is late, and later still where it is tested
    truth = Truth([beat], tested=tested, trained=trained)
    [unit] = scoring.unit_scores(truth, [late], SPEC)["test part"]["units"]
    # 7 to 12 samples, of which the smallest move that matches within half a step, 5, is 2; the other 28 are its fault
    assert unit["lag_ms"] == pytest.approx(2000 / 2048)
    assert unit["matched"] == 0
    [unit] = scoring.unit_scores(Truth([beat], tested=tested), [late], SPEC)["test part"]["units"]
    assert (unit["lag_ms"], unit["matched"]) == (0, 0)
    found = scoring.unit_scores(truth, [beat + 12], SPEC)
    assert found["test part"]["rate_of_agreement"] == 1  # late alike everywhere, such as by a causal filter
    assert found["test part"]["lag"] == scoring.LAG
    whole = scoring.unit_scores(Truth([beat]), [beat + 12], SPEC)["whole recording"]
    assert (whole["rate_of_agreement"], whole["lag"]) == (0, scoring.NO_LAG)


def test_the_ceiling_stands_beside_the_rate_of_agreement(tmp_path):
    beat, close = np.arange(100, 4000, 100), np.arange(100, 4000, 10)  # the second discharges in every window
    truth = Truth(
        [beat, close], scoring.ceiling([beat, close], segments.label_step, SPEC, 4096), tested=np.arange(4096) > 2000
    )
    scores = scoring.unit_scores(truth, [beat, beat], SPEC)
    for part in ("test part", "whole recording"):
        first, second = scores[part]["units"]
        assert (first["ceiling"], first["rate_of_agreement"]) == (1, 1)
        assert second["ceiling"] < 0.01
        assert scores[part]["ceiling"] == pytest.approx((1 + second["ceiling"]) / 2)
        assert (scores[part]["roa_90_units"], scores[part]["roa_90_ceiling"]) == (1, 1)
    assert scoring.ceiling([beat], None, SPEC, 4096) is None  # a label of which nothing is known
    unknown = scoring.unit_scores(Truth([beat]), [beat], SPEC)["whole recording"]
    assert np.isnan(unknown["ceiling"])
    assert unknown["roa_90_ceiling"] is None
    write_units(tmp_path / "per_unit.csv", {"whole recording": unknown})
    [row] = csv.DictReader((tmp_path / "per_unit.csv").read_text().splitlines())
    assert (row["part"], row["rate_of_agreement"], row["ceiling"]) == ("whole recording", "1.0", "")


def test_a_replay_that_finds_nothing_says_so():
    summary = {"threshold": 0.5, "highest_probability": 0.31}
    assert "the highest probability was 0.31, a discharge takes more than 0.5" in report.nothing(summary)
    assert report.nothing(summary | {"highest_probability": 0.6}) == ""
    assert report.nothing(summary | {"threshold": None}) == ""  # a cuff's, where every CAP is of some class


def test_words_that_make_no_sense_are_refused():
    assert options({}, SPEC) == options({"chunk": "10", "speed": "max", "threads": "1"}, SPEC)
    assert options({}, ENG).chunk == 150  # 5 ms
    with pytest.raises(ValueError, match=r"threshold=0\.3 says nothing to run: a CAP is of its most probable class"):
        options({"threshold": "0.3"}, ENG)
    for word, said in (
        ({"chunk": "0"}, "chunk=0 is no whole number of at least 1"),
        ({"speed": "2"}, "speed=2 is neither 1"),
        ({"threads": "many"}, "threads=many is no whole number"),
        ({"seconds": "-3"}, "seconds=-3 is no positive number"),
        ({"threshold": "1.2"}, "threshold=1.2 is no probability between 0 and 1"),
        ({"threshold": "nan"}, "threshold=nan is no probability between 0 and 1"),
        ({"input": "COM3"}, "input=COM3 names no stream: input=lsl:NAME"),
    ):
        with pytest.raises(ValueError, match=said):
            options(word, SPEC)
    with pytest.raises(ValueError, match="engine=fast is none of"):
        engines.build("fast", DECODER, {})


def test_a_recording_that_does_not_fit_is_refused_with_the_difference():
    recording = hdsemg_simulated.read(duration_s=10, units=4)
    fitting = replace(EMG, n_channels=64, outputs=tuple("abcd"))
    source.check(fitting, recording)
    for changed, said in (
        ({"n_channels": 32}, "has 64 channels, run was trained on 32"),
        ({"rate_hz": 1000.0}, "has 2048 Hz, run was trained on 1000"),
        ({"outputs": ("a",)}, "has 4 motor units, run was trained on 1"),
    ):
        with pytest.raises(ValueError, match=said):
            source.check(replace(fitting, **changed), recording)
    rat = eng_simulated.read(duration_s=4)
    with pytest.raises(ValueError, match="has the classes dorsiflexion.*; run was trained on a, b"):
        source.session(rat, ENG)


def test_a_stopped_replay_leaves_the_whole_one_before_it(tmp_path):
    whole = source.Source("noise", (("", lambda: Recording("noise", noise(512, 3), 2048, "")),), simulated=True)
    chosen, fast, decisions = options({}, SPEC), engines.build("eager", DECODER, {}), itertools.count()
    windows = len(segments.window_starts(512, 20, 10))

    def interrupted(windows):
        if next(decisions) == 20:
            raise_signal(SIGINT)
        return fast(windows)

    assert replay(SPEC, whole, chosen, fast, tmp_path / "out")["folder"] == str(tmp_path / "out")
    stopped = replay(SPEC, whole, chosen, interrupted, tmp_path / "out")
    assert stopped["folder"] == str(tmp_path / "out-stopped")
    names = ("out", "out-stopped")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    kept = [json.loads((tmp_path / name / "summary.json").read_text()) for name in names]
    assert kept[0]["timing"]["decided"] == windows > kept[1]["timing"]["decided"] > 0
    assert [one["stopped"] for one in kept] == [False, True]


@pytest.mark.process
def test_a_file_with_broken_channels_is_replayed_and_they_are_reported(simulated, tmp_path, capsys):
    values = simulated.signal.copy()
    values[100:200, 3], values[:, 7] = np.nan, 0
    with broken_allowed():
        write_demuse(tmp_path / "broken.mat", replace(simulated, signal=values))
    fitting = replace(SPEC, n_channels=64, outputs=tuple("abcdefghij"[: len(simulated.spike_trains)]))
    words = ["recording=demuse", f"recording.path={tmp_path}/broken.mat"]
    found = source.source(fitting, source.named(words))
    engine = engines.build("eager", decoder(64, 20, len(fitting.outputs)), {})
    report.show(replay(fitting, found, options({"seconds": "2"}, fitting), engine, tmp_path / "out"))
    said = capsys.readouterr().out
    assert "channel 4 was not finite in 100 samples: its last good value stands there" in said
    assert "channel 8 is dead: flat at 0 µV since 0.00 s" in said


@pytest.mark.slow
def test_a_cuff_is_replayed_one_class_after_another(tmp_path):
    rat = eng_simulated.read(duration_s=4)
    spec = replace(ENG, outputs=rat.classes, preparation=CUFF | {"cap_low_uv": 8.0, "cap_high_uv": 60.0})
    chosen = options({"chunk": "3000"}, spec)
    fast = engines.build("eager", decoder(56, 100, 3), {})
    summary = replay(spec, source.session(rat, spec), chosen, fast, tmp_path)
    assert list(summary["scores"]) == ["whole recording"]  # no run says what its test part is
    scores = summary["scores"]["whole recording"]
    counts = np.array(scores["confusion"])
    assert summary["spans_s"] == [4, 4, 4]
    assert counts.sum() == summary["timing"]["decided"] > 50
    assert scores["accuracy"] == counts.trace() / counts.sum()
    rows = list(csv.DictReader((tmp_path / "caps.csv").read_text().splitlines()))
    for number, name in enumerate(rat.classes):
        whole = signals.tripolar(
            signals.bandpass(signals.clip(rat.read(name).signal, 40)[0], 30_000, 800, 5000, 6, False), GRID
        )
        caps = signals.detect_caps(whole[:, GRID[3]].mean(axis=1), 30_000, 8, 60, 3)
        inside = caps[(caps >= 50) & (caps + 50 <= len(whole))]
        assert [int(row["sample"]) for row in rows if row["recording"] == name] == inside.tolist()
        assert counts[number].sum() == len(inside)
    assert (tmp_path / "replay.png").stat().st_size > 20_000


def test_a_replay_crosses_no_seam_of_a_recording(tmp_path):
    joined = (20_000, 20_060, 26_000)

    def read(name):
        rng = np.random.default_rng(len(name))
        signal = rng.standard_normal((33_000, 56)).astype(np.float32)
        shape = 30 * np.cos(np.arange(-12, 12) * np.pi / 7)
        for peak in np.append(rng.integers(100, 32_000, 30), [19_970, 20_030, 20_990]):
            signal[peak - 12 : peak + 12, GRID[3]] -= shape[:, None].astype(np.float32)
        signal[20_000:] += 15  # the electrodes settled while nothing was recorded
        return Recording(f"rat {name}", signal, 30_000, "", seams=joined)

    rat = Session("rat", "", read)
    spec = replace(ENG, outputs=rat.classes, preparation=CUFF | {"cap_low_uv": 6.0, "cap_high_uv": 60.0})
    fast, heard = engines.build("eager", decoder(56, 100, 3), {}), []
    chosen = options({"chunk": "700", "seconds": "1"}, spec)
    engine = lambda windows: (heard.append(windows[0]), fast(windows))[1]  # noqa: E731
    summary = replay(spec, source.session(rat, spec), chosen, engine, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "caps.csv").read_text().splitlines()))
    seen = iter(heard)
    for name in rat.classes:
        whole = signals.clip(read(name).signal[:30_000], 40)[0]
        whole = signals.tripolar(signals.bandpass(whole, 30_000, 800, 5000, 6, False, joined), GRID)
        caps = signals.detect_caps(signals.channel_mean(whole, GRID[3]), 30_000, 6, 60, 3, joined)
        low, high = signals.stretches(len(whole), joined)[np.searchsorted(joined, caps, side="right")].T
        inside = caps[(caps - 50 >= low) & (caps + 50 <= high)]
        assert 5 < len(inside) < len(caps)
        assert [int(row["sample"]) for row in rows if row["recording"] == name] == inside.tolist()
        for _ in range(pace.WARM_UP):
            next(seen)
        for cap in inside:
            np.testing.assert_array_equal(next(seen), whole[cap - 50 : cap + 50].T)
        health = summary["health"][name]
        assert (health["gaps"], health["missing_samples"]) == (3, 0)
        assert "time is missing from the recording at 0.667 s" in health["notes"]


def test_a_run_of_a_cuff_is_scored_on_its_test_part_and_on_the_whole(neuroexp, tmp_path, monkeypatch, capsys):
    words = ("dataset=eng", "recording.duration_s=14", "model=engnet", "trainer=smoke", "optimizer.lr=1e-3")
    done = neuroexp(*words, "trainer.max_epochs=4", "dataset.preprocessing.zero_phase=false")
    assert done.code == 0, done.out
    monkeypatch.chdir(tmp_path)
    run = restore.load(restore.ask([done.results()[0]["run_id"]], "usage"))
    chosen = options({}, run.spec)
    engine = engines.build("eager", run.decoder, {})
    summary = replay(run.spec, source.source(run.spec, None, run), chosen, engine, tmp_path / "out")
    assert list(summary["scores"]) == ["test part", "whole recording"]
    counts = {part: np.array(score["confusion"]) for part, score in summary["scores"].items()}
    tested = np.bincount(run.fold.source.label[run.fold.split.test], minlength=3)
    # the stream finds the same CAPs but for those between the thresholds of its class and the mean ones
    np.testing.assert_allclose(counts["test part"].sum(axis=1), tested, rtol=0.15)
    assert counts["whole recording"].sum() == summary["timing"]["decided"] > 4 * tested.sum()
    scores, offline = summary["scores"]["test part"], done.results()[0]["scores"]
    assert scores["accuracy"] == pytest.approx(offline["test/accuracy"], abs=0.1)
    predicted = counts["test part"].sum(axis=0)
    f1 = 2 * counts["test part"].diagonal() / (predicted + counts["test part"].sum(axis=1))
    assert scores["macro_f1"] == pytest.approx(f1.mean())
    report.show(summary)
    assert "classes that came" not in capsys.readouterr().out
    for score in summary["scores"].values():  # as when it is stopped in the first recording
        score["confusion"][1:] = [[0, 0, 0], [0, 0, 0]]
    report.show(summary)
    said = capsys.readouterr().out
    assert said.count(" over the 1 of 3 classes that came") == 2
    assert said.count("\npricking") == 0


@pytest.mark.slow
def test_a_cuff_that_streams_live_is_decided_but_not_scored(tmp_path, capsys):
    rat = eng_simulated.read(duration_s=4)
    spec = replace(ENG, outputs=rat.classes, preparation=CUFF | {"cap_low_uv": 8.0, "cap_high_uv": 60.0})
    sender = Sender(rat.read("pricking").signal, 30_000)
    sender.thread.start()
    chosen = options({"input": f"lsl:{sender.name}", "seconds": "3"}, spec)
    summary = replay(spec, None, chosen, engines.build("eager", decoder(56, 100, 3), {}), tmp_path)
    assert summary["timing"]["decided"] > 5
    report.show(summary)
    assert "No class is known of this stream: it is not scored." in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "caps.csv").read_text().splitlines()))
    assert {row["recording"] for row in rows} == {""}
    assert (tmp_path / "replay.png").stat().st_size > 20_000


def test_the_view_shows_who_fires_and_how_late():
    from rich.console import Console

    tally = Tally(5.0)
    tally.samples, tally.decided, tally.missed = 8192, 7, 1
    tally.recent.extend(Event(0, sample, 0.9) for sample in (0, 8191, 6000))
    tally.recent.append(Event(1, 4000, 0.9))
    tally.latencies.add(3.0)
    np.testing.assert_array_equal(view.fired(SPEC, tally).sum(axis=1), [2, 1])  # the first is more than 4 s ago
    text = io.StringIO()
    Console(file=text, width=120).print(view.drawn(SPEC, tally))
    assert "4.00 s  latency 3.00 ms, p99 3.00 ms  late 1 of 7, dropped 0" in text.getvalue()
    assert [line.count("┃") for line in text.getvalue().splitlines()] == [0, 2, 1]


class Sender:
    """An outlet of a recording that a thread feeds in real time, in chunks with stamps."""

    def __init__(self, signal: np.ndarray, rate_hz: float, skipped: range = range(0), unit: str | None = None):
        pylsl = lsl._library()
        self.name = f"test {uuid.uuid4()}"
        info = pylsl.StreamInfo(self.name, "EMG", signal.shape[1], rate_hz, pylsl.cf_float32, self.name)
        if unit is not None:
            info.set_channel_units(unit)
        self.outlet, self.signal, self.rate_hz, self.skipped = pylsl.StreamOutlet(info), signal, rate_hz, skipped
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.clock = pylsl.local_clock

    def run(self) -> None:
        while not self.outlet.wait_for_consumers(0.1):
            pass
        began = self.clock()
        for number, first in enumerate(range(0, len(self.signal), 64)):
            chunk = self.signal[first : first + 64]
            last = began + (first + len(chunk) - 1) / self.rate_hz
            time.sleep(max(0, last - self.clock()))
            if number not in self.skipped:
                self.outlet.push_chunk(np.ascontiguousarray(chunk), last)


def test_a_stream_of_lsl_is_decoded_with_its_gaps_and_decisions_leave_over_lsl():
    pylsl = lsl._library()
    signal = noise(2048, 3)
    sender = Sender(signal, 2048, skipped=range(10, 12))
    notes: list[str] = []
    with pytest.raises(ValueError, match="has 3 channels, run was trained on 4"):
        lsl.inlet(sender.name, replace(SPEC, n_channels=4), 1, notes.append)
    with pytest.raises(ValueError, match="has 2048 Hz, run was trained on 1000"):
        lsl.inlet(sender.name, replace(SPEC, rate_hz=1000.0), 1, notes.append)
    out = f"decisions {uuid.uuid4()}"
    heard: dict[int, np.ndarray] = {}
    with lsl.outlet(out, SPEC) as send:
        [info] = pylsl.resolve_byprop("name", out, timeout=10)
        receiver = pylsl.StreamInlet(info)
        receiver.open_stream(timeout=10)

        def decided(window, probabilities):
            heard[window.start] = probabilities
            send(window, probabilities)

        decoding = Decoding(SPEC, engines.build("eager", DECODER, {}), Tally(5.0), decided=decided)
        pieces = lsl.inlet(sender.name, SPEC, 4, notes.append)
        sender.thread.start()
        for chunk, first, arrived in pieces:
            assert arrived <= time.perf_counter()
            decoding.push(chunk, first)
            if first + len(chunk) == len(signal):
                break
        received = receiver.pull_chunk(timeout=1.0, max_samples=4096, as_numpy=True)[0]
        labels = receiver.info(10).desc().child("channels").child("channel")
        assert labels.child_value("label") == "unit 1"
    health = decoding.stream.health
    assert (health.gaps, health.missing_samples) == (1, 128)
    starts = segments.window_starts(2048, 20, 10)
    assert list(heard) == starts[(starts + 20 <= 640) | (starts >= 768)].tolist()
    np.testing.assert_array_equal(received, np.stack(list(heard.values())))
    assert notes == [f"lsl:{sender.name} names no unit: its values are taken as microvolts"]


class Device(Sender):
    """An outlet whose pushes, after a first chunk, a function of it and its signal makes; it closes when they are over."""

    def __init__(self, signal, rate_hz, push, source_id=None, labels=None, units=None):
        pylsl = lsl._library()
        self.name = f"test {uuid.uuid4()}"
        info = pylsl.StreamInfo(self.name, "EMG", signal.shape[1], rate_hz, pylsl.cf_float32, source_id or "")
        if labels:
            info.set_channel_labels(labels)
        if units:
            info.set_channel_units(units)
        self.outlet, self.signal, self.rate_hz, self.push = pylsl.StreamOutlet(info), signal, rate_hz, push
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.clock = pylsl.local_clock

    def run(self) -> None:
        while not self.outlet.wait_for_consumers(0.1):
            pass
        self.push(self)
        time.sleep(0.3)
        del self.outlet


def bursts(device: Device) -> None:
    """Send what is there every 200 ms, sample by sample, stamped then."""
    began, low = device.clock(), 0
    while low < len(device.signal):
        time.sleep(0.2)
        high = min(len(device.signal), round((device.clock() - began) * device.rate_hz))
        for sample in device.signal[low:high]:
            device.outlet.push_sample(sample.tolist())
        low = high


def stepping(device: Device) -> None:
    """Send chunks whose stamps step back by 3 s after half of them, and are lost for a moment later."""
    began = device.clock()
    for number, first in enumerate(range(0, len(device.signal), 64)):
        last = began + (first + 63) / device.rate_hz
        time.sleep(max(0, last - device.clock()))
        if not 40 <= number < 44:
            device.outlet.push_chunk(np.ascontiguousarray(device.signal[first : first + 64]), last - 3 * (number >= 20))


def test_a_stream_in_bursts_that_ends_is_decoded_as_its_recording(tmp_path, capsys):
    signal = noise(2600, 5)
    labels, units = ["A", "B", "AUX", "C", "2"], ["uV", "uV", "bananas", "uV", "uV"]
    device = Device(signal, 2048, bursts, labels=labels, units=units)
    for channels, said in (
        (
            None,
            r"has 5 channels, run was trained on 3: choose .* by number such as channels=1-3 or by label such as channels=A,B",
        ),
        ("1-2", "channels=1-2 chooses 2 of the 5 channels of .*, run was trained on 3"),
        ("A,D,C", "has no channel D; valid are numbers from 1 to 5, .* and labels .its labels: A, B, AUX, C, 2."),
        ("4-6", "4-6 is not within the 5 channels of .*, 1-5"),
        ("A,1,B", "channels=A,1,B names channel 1 of .* twice"),
        ("A,B,AUX", "has channel 3 in bananas"),
    ):
        with pytest.raises(ValueError, match=said):
            lsl.inlet(device.name, SPEC, 1, print, channels=channels)
    with pytest.raises(ValueError, match="channels= chooses among those of a live stream: it needs input=lsl:NAME"):
        options({"channels": "1-3"}, SPEC)
    device.thread.start()
    chosen = options(
        {"input": f"lsl:{device.name}", "seconds": "30", "channels": "C, 1,2"}, SPEC
    )  # "2" is the label of the fifth
    heard: list[np.ndarray] = []
    engine = engines.build("eager", DECODER, {})
    summary = replay(
        SPEC, None, chosen, lambda windows: (heard.append(windows[0]), engine(windows))[1], tmp_path / "out"
    )
    found = summary["health"][""]
    assert (found["gaps"], found["late_samples"], summary["timing"]["recorded_s"]) == (0, 0, 2600 / 2048)
    whole = signals.bandpass(signal[:, [3, 0, 4]], 2048, 20, 400, 2, zero_phase=False)
    timing, starts = summary["timing"], segments.window_starts(2600, 20, 10)
    assert timing["decided"] + timing["dropped"] == len(starts)
    assert len(heard) == pace.WARM_UP + timing["decided"]
    expected = iter(whole[start : start + 20].T for start in starts)  # a busy machine drops some of them
    assert all(any(np.array_equal(values, window) for window in expected) for values in heard[pace.WARM_UP :])
    report.show(summary)
    assert f"lsl:{device.name} ended after 1.3 s of signal" in capsys.readouterr().out
    assert (tmp_path / "out" / "summary.json").is_file()


def test_a_stream_whose_clock_is_set_goes_on_behind_one_gap(tmp_path, capsys):
    device = Device(noise(64 * 60, 3), 2048, stepping)
    device.thread.start()
    chosen = options({"input": f"lsl:{device.name}", "seconds": "30"}, SPEC)
    summary = replay(SPEC, None, chosen, engines.build("eager", DECODER, {}), tmp_path / "out")
    assert capsys.readouterr().out.splitlines() == [  # as it happened
        "the clock of the stream stepped back by 3 s at 0.62 s: its samples are counted on",
        "256 samples are missing at 1.25 s (125.0 ms)",
    ]
    found = summary["health"][""]
    assert (found["gaps"], found["missing_samples"], found["late_samples"]) == (2, 256, 0)
    assert summary["timing"]["recorded_s"] == 64 * 60 / 2048
    assert summary["timing"]["decided"] + found["lost_windows"] + summary["timing"]["dropped"] == 383
    report.show(summary)
    said = capsys.readouterr().out
    assert "stepped back" not in said  # a second time
    assert f"2 gaps, {found['lost_windows']} windows that touch them not decided" in said


def test_a_live_stream_comes_in_microvolts_and_its_silence_is_noted():
    notes: list[str] = []
    foreign = Sender(noise(64, 3), 2048, unit="bananas")
    with pytest.raises(ValueError, match="has channel 1 in bananas: valid are uV, mV and V, and their names"):
        lsl.inlet(foreign.name, SPEC, 1, notes.append)
    irregular = Sender(noise(64, 3), 0)
    with pytest.raises(ValueError, match="names no sampling rate .* set the nominal rate where the stream is made"):
        lsl.inlet(irregular.name, SPEC, 1, notes.append)
    signal = noise(256, 3)
    sender = Sender(signal, 2048, unit="millivolts")
    pieces = lsl.inlet(sender.name, SPEC, 2, notes.append)
    sender.thread.start()
    heard = np.concatenate([chunk for chunk, _, _ in pieces])
    np.testing.assert_array_equal(heard, 1000 * signal)
    [note] = notes
    assert re.fullmatch(rf"lsl:{sender.name} sent nothing in the last [1-9]\d*\.\d s, after 0\.1 s of signal", note)


@pytest.mark.parametrize(
    ("units", "scale", "says"),
    [
        ([], [1, 1, 1], "lsl:x names no unit: its values are taken as microvolts"),
        ([None, "", " "], [1, 1, 1], "lsl:x names no unit: its values are taken as microvolts"),
        (["uV", "\u00b5V", "microvolts"], [1, 1, 1], ""),
        (["mV", "Volt", "millivolts"], [1e3, 1e6, 1e3], ""),
        (
            ["mV", None, "millivolts"],
            [1e3, 1e3, 1e3],
            "lsl:x names no unit for channel 2: taken as mV, like the others",
        ),
        (["mV"], [1e3] * 3, "lsl:x names no unit for channel 2 and 1 more: taken as mV, like the others"),
        (["mV", "", "V"], None, "lsl:x names no unit for channel 2, and those of the others are V, mV"),
        (["mV", "pT", "V"], None, "lsl:x has channel 2 in pT: valid are uV, mV and V"),
    ],
)
def test_channels_of_a_stream_come_in_the_units_that_it_names(units, scale, says):
    if scale is None:
        with pytest.raises(ValueError, match=says):
            montage.microvolts(units, np.arange(3), "x")
        return
    found, said = montage.microvolts(units, np.arange(3), "x")
    np.testing.assert_array_equal(found, scale)
    assert said == says


def test_a_run_is_replayed_from_file_and_from_lsl(neuroexp, typed, tmp_path, monkeypatch):  # noqa: PLR0915 - one training
    settings = ("trainer.max_epochs=15", "optimizer.lr=1e-3", "task.threshold=0.3")
    done = neuroexp("window=20", "step=20", *SMALL, *settings)
    [result] = done.results()

    def command(*words):
        line = (f"run_id={result['run_id']}", *words)
        return typed(tmp_path, "replay", *line, PYTHONWARNINGS="error::RuntimeWarning")

    replayed_run = command("chunk=77")
    assert replayed_run.returncode == 0, replayed_run.stderr
    assert replayed_run.stderr == ""
    assert "the whole recording includes what the run was trained on" in replayed_run.stdout
    assert "±4.88 ms, half a step of 20 samples" in replayed_run.stdout
    assert "simulated" in replayed_run.stdout.splitlines()[0]
    folder = tmp_path / "outputs" / "replay" / result["run_id"][:8] / "eager-max"
    summary = json.loads((folder / "summary.json").read_text())
    recording = hdsemg_simulated.read(duration_s=12, units=4)
    windows = len(segments.window_starts(len(recording.signal), 20, 20))
    assert summary["timing"]["decided"] == windows == summary["timing"]["met"] + summary["timing"]["missed"]
    found = trains(folder / "discharges.csv", 4)
    whole = summary["scores"]["whole recording"]
    for unit, true, train in zip(whole["units"], recording.spike_trains, found, strict=True):
        moved = train - round(unit["lag_ms"] * 2.048)
        best = matching.agreement(true, moved, 10, 0)
        assert (unit["matched"], unit["only_found"]) == (best.matched, len(train) - best.matched)
        assert 0.9 < unit["ceiling"] <= 1
    assert "after the lag that fits each unit best in what the run was trained on" in replayed_run.stdout
    assert len((folder / "per_unit.csv").read_text().splitlines()) == 9  # both parts
    assert whole["rate_of_agreement"] > 0.2  # something was learned, and came out of the stream
    tested = summary["scores"]["test part"]["units"]
    for unit, part in zip(whole["units"], tested, strict=True):
        assert part["matched"] + part["only_true"] < unit["matched"] + unit["only_true"]

    monkeypatch.chdir(tmp_path)
    asked = restore.ask([result["run_id"]], "usage")
    run = restore.load(asked)
    assert source.chosen(asked, ["recording.units=4"])[1] is None  # the run's own after all
    for word, said in (
        ("recording.units=3", r"simulated S1 30% MVC has 3 motor units, mldcnn W20 S20 fold0 .* was trained on 4"),
        ("recording=emg", "recording=emg is not there: demuse"),
        ("recording.unit=3", "recording.unit is no setting of this recording: subject, mvc"),
        ("recording=eng_simulated", "is a recording of a nerve cuff, mldcnn"),
        ("recording=eng_rats", "is no stream of samples"),
        ("recording=otb", "otb_testfile.mat is not there"),
    ):
        with pytest.raises(ValueError, match=said):
            replay(
                run.spec,
                source.source(run.spec, source.chosen(asked, [word])[1], run),
                options({}, run.spec),
                slow,
                tmp_path / "no",
            )
    with pytest.raises(ValueError, match="^2 samples of simulated S1 30% MVC are less than one window of 20$"):
        replay(
            run.spec, source.source(run.spec, None, run), options({"seconds": "0.001"}, run.spec), slow, tmp_path / "no"
        )
    assert not (tmp_path / "no").exists()
    chosen = options({"threshold": repr(summary["highest_probability"])}, run.spec)
    own = source.source(run.spec, None, run)
    higher = replay(run.spec, own, chosen, engines.build("eager", run.decoder, {}), tmp_path / "higher")
    assert "a discharge is a probability above 0." in higher["how"]
    assert report.nothing(higher).startswith("No discharge found: the highest probability was")
    assert sum(map(len, trains(tmp_path / "higher" / "discharges.csv", 4))) == 0 < sum(map(len, found))

    sender = Sender(recording.signal, 2048)
    sender.thread.start()
    live = command(f"input=lsl:{sender.name}", "output=lsl:decisions", "seconds=2")
    assert live.returncode == 0, live.stderr
    assert live.stderr == ""  # liblsl is quiet
    assert "No spike trains are known of this stream: it is not scored." in live.stdout
    assert "names no unit: its values are taken as microvolts" in live.stdout
    [place] = [path for path in folder.parent.iterdir() if path != folder]
    assert place.name.startswith("eager-1-2s-lsl-test")
    timing = json.loads((place / "summary.json").read_text())["timing"]
    assert timing["decided"] > 100
    assert timing["recorded_s"] > 1
