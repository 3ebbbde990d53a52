"""Spike trains of a run's test part: what a decoder that always fires gets, what perfect labels get, what has no score."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Trainer
from torch import nn

from neuroexp.data import segments, splits
from neuroexp.data.recording import Recording
from neuroexp.datasets.hdsemg import hdsemg
from neuroexp.evaluation.agreement import Steps
from neuroexp.recordings import hdsemg_simulated
from neuroexp.sweep.outcome import Outcome
from neuroexp.sweep.remarks import remarks
from neuroexp.tasks.decomposition import Decomposition

RATE = 2048.0


def pulses(trains, n_samples=20_000):
    """A recording that shows its discharges: channel u is 1 where unit u discharges."""
    signal = np.zeros((n_samples, len(trains)), dtype=np.float32)
    for unit, train in enumerate(trains):
        signal[train, unit] = 1
    return Recording("pulses", signal, RATE, "0" * 64, spike_trains=tuple(trains))


class Always(nn.Module):
    """Every unit, in every window."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def forward(self, x):
        return torch.full((len(x), self.units), 9.0)


class Reads(nn.Module):
    """Reads the pulses in the middle `step` samples of a window."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        low = x.shape[2] // 2 - self.step // 2
        return 40 * x[:, :, low : low + self.step].amax(dim=2)  # z-scored: negative without a pulse


def scored(recording, network, window, step, label=segments.label_step, split=None):
    """Test a network that nothing has trained; return what is logged, and the rows per unit."""

    def blocked(starts, window, timeline, fold):
        return splits.blocked(starts, window, timeline, fold, seed=0, block_s=0.7, shortest_block_s=0.25)

    fold = hdsemg(
        recording, window, step, 0, 0, label, split or blocked, RATE, None, True, align=False, max_lag_ms=20, batch_size=64
    )  # fmt: skip
    task = Decomposition(network, lambda parameters: None, threshold=0.5)
    task.train_rate = fold.labels[fold.split.train].mean(dim=0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "barebones": False}
    [found] = Trainer(accelerator="cpu", **quiet).test(task, datamodule=fold, verbose=False)
    return found | {f"data/{name}": value for name, value in fold.facts.items()}, task.per_unit


def beats(*intervals, n_samples=20_000):
    return [np.arange(40 + 7 * place, n_samples - 40, every) for place, every in enumerate(intervals)]


def test_a_decoder_that_always_fires_identifies_every_unit_and_agrees_with_none():
    found, rows = scored(hdsemg_simulated.read(duration_s=12, units=4), Always(4), 20, 10)
    assert found["test/identified_share"] == found["baseline/identified_all_positive"] == 1
    assert found["test/roa_90_share"] == found["test/roa_50_share"] == found["test/roa_90_units"] == 0
    assert found["test/rate_of_agreement"] < 0.1
    assert found["ceiling/roa_90_share"] == found["ceiling/rate_of_agreement"] == 1
    assert [row["ceiling"] for row in rows] == [1] * 4
    assert max(row["rate_of_agreement"] for row in rows) < 0.2


@pytest.mark.parametrize(("window", "step"), [(20, 10), (60, 20), (60, 60)])
def test_a_decoder_that_sees_every_discharge_reaches_the_ceiling(window, step):
    found, rows = scored(pulses(beats(150, 230, 61)), Reads(step), window, step)
    assert found["test/f1"] == 1
    assert [row["rate_of_agreement"] for row in rows] == [row["ceiling"] for row in rows]
    assert found["test/rate_of_agreement"] == found["ceiling/rate_of_agreement"]
    assert found["test/roa_90_share"] == found["ceiling/roa_90_share"]
    if step == 60:  # the third unit discharges in nearly every step, and its positives join
        assert rows[2]["ceiling"] < 0.2  # one event for the eight or so in a block of the test part
        assert found["ceiling/roa_90_share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("label", "window", "step", "every", "ceiling"),
    [
        (segments.label_step, 20, 10, 150, 1.0),
        (segments.label_step, 20, 50, 150, 1.0),
        (segments.label_step, 20, 50, 60, 0.0),  # five discharges in six steps: consecutive ones are one event
        (segments.label_window, 100, 10, 150, 1.0),
        (segments.label_window, 140, 50, 300, 1.0),
        (segments.label_window, 140, 50, 120, 0.0),  # every window holds one: one event in all
    ],
)
def test_ceilings_of_steady_trains(label, window, step, every, ceiling):
    trains = [np.arange(400, 19_600, every)]  # clear of both ends, where windows are cut
    starts = segments.window_starts(20_000, window, step)
    steps = Steps(window, step, RATE, label is segments.label_step)
    [found] = steps.trains(starts, label(trains, starts, window, step))
    if ceiling:
        assert len(found) == len(trains[0])
        assert np.abs(found - trains[0]).max() <= steps.within
    else:
        assert len(found) < len(trains[0]) / 3


@pytest.mark.parametrize(
    ("label", "window", "step", "ceiling"),
    [("step", 20, 10, 1.0), ("step", 20, 50, 0.98), ("window", 100, 10, 0.83), ("window", 140, 50, 0.31)],
)
def test_ceilings_of_the_default_recording(label, window, step, ceiling):
    """Perfect labels through events and matching, the whole of the recording that a first run simulates."""
    recording = hdsemg_simulated.read()
    starts = segments.window_starts(len(recording.signal), window, step)
    labels = getattr(segments, f"label_{label}")(recording.spike_trains, starts, window, step)
    steps = Steps(window, step, RATE, label == "step")
    from neuroexp.evaluation import agreement

    agreed = agreement.compare(recording.spike_trains, steps.trains(starts, labels), steps.within)
    assert agreement.rates(agreed).mean() == pytest.approx(ceiling, abs=0.005)


def test_a_unit_without_a_discharge_in_the_test_part_leaves_no_score_behind():
    trains = beats(150, 230)
    early = trains[1][trains[1] < 4_000]

    def late(starts, window, timeline, fold):
        places = np.arange(len(starts))
        return splits.Split(
            places[starts < 8_000], places[(starts >= 9_000) & (starts < 11_000)], places[starts >= 12_000]
        )

    found, rows = scored(pulses([trains[0], early]), Reads(10), 20, 10, split=late)
    assert (found["test/identified_share"], found["test/roa_90_share"], found["test/scored_units"]) == (1, 1, 1)
    assert all(
        np.isnan(rows[1][name]) for name in ("f1", "precision", "miss_rate", "auprc", "rate_of_agreement", "ceiling")
    )
    line = "1 of 2 units has no discharge in the test part, and no score there (blank in per_unit.csv)"
    assert remarks([Outcome(name="a run", scores=found)] * 2) == [f"a run and 1 more: {line}"]

    found, _ = scored(pulses([early]), Always(1), 20, 10, split=late)
    for name in ("f1", "identified_share", "identified_units", "roa_90_share", "roa_90_units", "rate_of_agreement"):
        assert np.isnan(found[f"test/{name}"]), name
    assert np.isnan(found["baseline/identified_all_positive"])
    assert np.isnan(found["ceiling/roa_90_share"])


def test_positives_outside_the_window_are_counted_and_said():
    step, window = 50, 20
    train = np.arange(300) * (2 * step) + 100 + np.arange(300) % step  # in every place of a step equally often
    starts = segments.window_starts(40_000, window, step)
    labels = segments.label_step([train], starts, window, step)
    assert segments.outside_window(labels, [train], starts, window) == pytest.approx(0.6)  # 30 of the step's 50 samples
    inside = segments.label_window([train], starts, window, step)
    assert segments.outside_window(inside, [train], starts, window) == 0
    assert np.isnan(segments.outside_window(labels[:0], [train], starts[:0], window))
    found, _ = scored(pulses([train[train < 19_900]]), Always(1), window, step)
    assert found["data/positives_outside_window"] == pytest.approx(0.6, abs=0.03)
    [line] = remarks([Outcome(name="W20 S50", scores=found)])
    assert line.startswith("W20 S50: 6")
    assert "% of the positives lie outside their window, where no decoder sees them" in line
    assert remarks([Outcome(name="old", scores={"test/f1": 0.5})]) == []


def test_discharges_between_the_windows_are_counted_and_said_whatever_the_label():
    train = np.arange(390) * 100 + np.arange(390) % 50  # in every place of a step equally often
    starts = segments.window_starts(40_000, 20, 50)
    between = [(t - starts[0]) % 50 >= 20 for t in train[train >= starts[0]]]
    assert 0.55 < np.mean(between) < 0.65  # 30 of the step's 50 samples
    assert segments.in_no_window([train, train[:0]], starts, 20, 40_000) == pytest.approx(np.mean(between))
    assert np.isnan(segments.in_no_window([np.array([5, 39_999])], starts[1:-1], 20, 40_000))  # the ends are no gap
    assert segments.in_no_window([train], segments.window_starts(40_000, 60, 50), 60, 40_000) == 0
    found, _ = scored(pulses([train[train < 19_900]]), Always(1), 20, 50, label=segments.label_window)
    assert found["data/positives_outside_window"] == 0
    [line] = remarks([Outcome(name="W20 S50", scores=found)])
    assert re.match(
        r"W20 S50: 6\d% of the discharges lie in no window, where no decoder sees them: the step is longer", line
    )
    wide = partial(segments.label_centre, tolerance=25)  # of a window that has 10 samples on either side
    found, _ = scored(pulses([train[train < 19_900]]), Always(1), 20, 10, label=wide)
    [line] = remarks([Outcome(name="W20 S10", scores=found)])
    assert line.endswith(
        "of the positives lie outside their window, where no decoder sees them: label.tolerance is wider than the window"
    )


@given(st.lists(st.integers(0, 1999), max_size=40, unique=True), st.sampled_from([(20, 10), (20, 50), (60, 7)]))
def test_the_decided_samples_are_the_steps_of_the_windows(train, sizes):
    window, step = sizes
    train = np.array(sorted(train), dtype=np.int64)
    starts = segments.window_starts(2000, window, step)
    part = Steps(window, step, RATE, True).decided(starts[::3], 2000)
    labels = segments.label_step([train], starts[::3], window, step)
    assert (part[train].sum() > 0) == bool(labels.any())
    assert part.sum() <= len(starts[::3]) * step


def test_a_discharge_rate_is_that_of_steady_discharges():
    from neuroexp.data.signals import discharge_rate_hz

    steady = np.arange(0, 20_480, 128)  # 16 Hz
    assert discharge_rate_hz([steady], RATE) == pytest.approx(16)
    pause = np.concatenate([steady, steady + 60_000])  # of 20 s between two contractions
    doublet = np.sort(np.concatenate([steady, [steady[3] + 4]]))  # 2 ms after another
    assert discharge_rate_hz([pause, steady[::2]], RATE) == pytest.approx((16 + 8) / 2)
    assert discharge_rate_hz([doublet], RATE) == pytest.approx(16, rel=0.01)
    assert np.isnan(discharge_rate_hz([steady[:1]], RATE))
