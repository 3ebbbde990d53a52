"""The control: a probe of windows at rest sees what tells recordings apart, and its null what chance makes of gaps."""

import numpy as np
import pytest

from neuroexp.data import control, splits
from neuroexp.data.cuff import CLASSES, Signatures


def at_rest(seed=0, gaps=20, per_gap=12, gains=0.0, of_gaps=0.0):
    """Return windows at rest: the same noise everywhere, but for gains of each class and gains of each gap."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(3), gaps * per_gap)
    gap = np.repeat(np.arange(3 * gaps), per_gap)
    log_gain = gains * rng.standard_normal((3, 56))[label] + of_gaps * rng.standard_normal((3 * gaps, 56))[gap]
    noise = rng.standard_normal((len(label), 100, 56)) + rng.standard_normal((len(label), 100, 1))
    return Signatures(
        name="made",
        sha256="",
        rate_hz=30_000.0,
        windows=(noise * np.exp(log_gain)[:, None]).astype(np.float32),
        label=label,
        first=np.arange(len(label)) * 100,
        n_samples=len(label) * 100,
        stimulus=gap,
    )


def scored(rest, split="stimulus", fold=0):
    events = splits.Events(rest.label, rest.stimulus, CLASSES, 0.15, rest.test)
    timeline = splits.Timeline(rest.n_samples, 30_000, events=events)
    return control.scores(rest, getattr(splits, split)(rest.first, 100, timeline, fold, 0))


@pytest.mark.parametrize("split", ["stimulus", "random"])
def test_gains_of_electrodes_are_seen_and_nothing_else_is(split):
    one = scored(at_rest(), split)
    assert one["balanced_accuracy"] <= one["null_95"] < 0.45
    assert one == scored(at_rest(), split)
    other = scored(at_rest(gains=0.1), split)
    assert other["balanced_accuracy"] > 0.9 > other["null_95"] + 0.2
    assert other["p_value"] == 1 / (1 + control.PERMUTATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["stimulus", "random"])
def test_what_tells_gaps_apart_is_no_recording(split):
    """Windows of a gap that was trained on are known again, whatever its class: the null knows that too."""
    found = [scored(at_rest(seed, of_gaps=0.1), split) for seed in range(6)]
    if split == "random":
        assert min(one["balanced_accuracy"] for one in found) > 0.4
    assert sum(one["p_value"] <= 0.05 for one in found) <= 1


@pytest.mark.slow
def test_p_values_of_nothing_are_even():
    values = [scored(at_rest(seed, gaps=8, per_gap=4))["p_value"] for seed in range(40)]
    assert np.mean(np.array(values) <= 0.2) == pytest.approx(0.2, abs=0.15)
    assert np.mean(values) == pytest.approx(0.5, abs=0.15)


def test_a_test_part_without_a_class_and_windows_without_gaps():
    rest = at_rest(gaps=8)
    split = splits.Split(np.flatnonzero(rest.stimulus % 8 < 6), np.array([0]), np.flatnonzero(rest.stimulus % 24 == 7))
    assert 0 <= control.scores(rest, split)["balanced_accuracy"] <= 1
