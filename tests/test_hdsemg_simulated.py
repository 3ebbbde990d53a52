"""The simulator is held to the physics and the physiology that it claims."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroexp.data.signals import spike_triggered_average
from neuroexp.recordings import hdsemg_simulated as sim


def test_shape_grid_and_rate(simulated):
    assert simulated.signal.shape == (61440, 64)
    assert simulated.rate_hz == 2048
    assert simulated.grid.shape == (13, 5)
    assert simulated.grid[0, 0] == -1
    assert list(simulated.grid[1:, 0]) == list(range(12))
    assert simulated.simulated


def test_same_settings_same_bits_and_every_seed_counts(simulated):
    sim.read.cache_clear()
    again = sim.read()
    assert again is not simulated
    assert np.array_equal(again.signal, simulated.signal)
    assert again.sha256 == simulated.sha256
    other = sim.read(seed=1)
    assert not np.array_equal(other.signal, simulated.signal)
    assert other.sha256 != simulated.sha256
    assert not np.array_equal(sim.read(subject=2).signal, simulated.signal)


def test_intervals_are_as_wanted():
    rng = np.random.default_rng(0)
    train = sim.discharges(np.full(400 * 2048, 12.0), 0.15, rng)
    isi_s = np.diff(train) / 2048
    assert isi_s.mean() == pytest.approx(1 / 12, rel=0.02)
    assert isi_s.std() / isi_s.mean() == pytest.approx(0.15, rel=0.05)
    assert isi_s.min() >= sim.MIN_ISI_S - 1 / 2048


def test_units_are_recruited_in_order_and_discharge_at_physiological_rates(simulated):
    muscle = sim.pool(60)
    assert np.all(np.diff(muscle.threshold) > 0)
    first = [train[0] for train in simulated.spike_trains]
    # thresholds rise with the unit's rank, so on a ramp the first discharges come in that order, give or take an interval
    assert np.all(np.diff(first) > -0.15 * 2048)
    assert first[-1] > first[0]
    for train in simulated.spike_trains:
        rate_hz = 2048 / np.median(np.diff(train))
        assert 7 < rate_hz < 36


def test_pool_follows_fuglevand():
    muscle = sim.pool(120)
    assert muscle.threshold[-1] == pytest.approx(30)
    assert muscle.twitch[-1] / muscle.twitch[0] == pytest.approx(100 ** (119 / 120))
    assert muscle.contraction_time_s[0] == pytest.approx(0.09, rel=0.02)
    assert muscle.contraction_time_s[-1] == pytest.approx(0.03)
    full = muscle.rate_hz(np.array(muscle.max_excitation))
    assert full[-1] == pytest.approx(25)
    assert full[0] == pytest.approx(35, abs=0.5)
    force = muscle.force(np.linspace(0, muscle.max_excitation, 200))
    assert np.all(np.diff(force) >= 0)


@pytest.mark.parametrize("mvc", [10, 30, 50])
def test_force_reaches_the_wanted_plateau(mvc):
    recording = sim.read(mvc=mvc)
    assert recording.force[:2048].max() < 0.2 * mvc
    plateau = recording.force[(11 * 2048) : (19 * 2048)]
    assert plateau.mean() == pytest.approx(mvc, rel=0.1)
    assert recording.name == f"simulated S1 {mvc}% MVC"


def test_noise_has_the_wanted_power():
    clean, noisy = sim.read(snr_db=None), sim.read(snr_db=12)
    assert all(np.array_equal(a, b) for a, b in zip(clean.spike_trains, noisy.spike_trains, strict=True))
    noise = noisy.signal.astype(float) - clean.signal
    active = sim.trapezoids(len(noise), 1) > 0
    snr_db = 10 * np.log10(np.mean(clean.signal[active].astype(float) ** 2) / noise.var())
    assert snr_db == pytest.approx(12, abs=0.1)


@pytest.mark.parametrize("velocity", [3.5, 4.0, 4.5])
def test_conduction_velocity_is_found_along_the_columns(velocity):
    grid, positions = sim.electrodes()
    fibres, end_plates = np.array([[0.0, 5.0]]), np.array([-30.0])
    potential = sim.muap(fibres, end_plates, np.array([[-90.0, 90.0]]), velocity, positions, 120)
    column = potential[:, grid[:, 2]]
    differential = np.diff(column, axis=1)[:, 6:10]  # single differential, away from end plate and tendon
    assert velocities_m_s(differential) == pytest.approx(np.full(3, velocity), rel=0.04)


def velocities_m_s(traces: np.ndarray) -> np.ndarray:
    """Return the velocity from each trace (time, row) to the next, from the peak of their cross-correlation."""
    length, finer = 4096, 16
    spectra = np.fft.rfft(traces, length, axis=0)
    cross = np.fft.irfft(spectra[:, :-1].conj() * spectra[:, 1:], length * finer, axis=0)
    return sim.PITCH_MM / 1000 * finer * sim.RATE_HZ / np.argmax(cross[: length * finer // 2], axis=0)


def test_recorded_action_potentials_travel_away_from_the_end_plate():
    recording = sim.read(snr_db=None)
    train = recording.spike_trains[-1]
    average = spike_triggered_average(recording.signal, train, np.arange(60))
    differential = np.diff(average[:, recording.grid[:, 2]], axis=1)
    end_plate = int(np.argmax(np.abs(differential[:12]).max(axis=0)))  # where the potential is seen first
    upwards, downwards = differential[:, :end_plate][:, ::-1], differential[:, end_plate + 2 :]
    found = [np.median(velocities_m_s(side)) for side in (upwards, downwards) if side.shape[1] >= 4]
    assert found
    assert all(3.2 < velocity < 4.8 for velocity in found)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50), st.sampled_from([10, 30, 50]), st.integers(1, 3))
def test_every_subject_gives_a_valid_recording(subject, mvc, contractions):
    recording = sim.read(subject=subject, mvc=mvc, duration_s=10, contractions=contractions)
    assert recording.spike_trains
    assert all(len(train) >= 5 for train in recording.spike_trains)
    assert recording.signal.std() > 1  # microvolts


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mvc": 0}, "recording.mvc=0"),
        ({"units": 0}, "recording.units=0"),
        ({"units": 61}, "recording.units=61 is outside 1 to 60"),
        ({"duration_s": 0.1}, "recording.duration_s=0.1"),
    ],
)
def test_impossible_settings_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        sim.read(**wrong)
