"""The simulated cuff obeys the ENG paper's signal model and its Table I."""

import numpy as np
import pytest
from scipy.signal import welch

from neuroexp.data import signals
from neuroexp.data.cuff import CLASSES, GRID
from neuroexp.machine import memory
from neuroexp.recordings import eng_simulated

RATE = eng_simulated.RATE_HZ


@pytest.fixture(scope="module")
def pricking():
    return eng_simulated.read(duration_s=8).read("pricking")


@pytest.mark.slow
def test_shape_and_truth(pricking):
    assert pricking.signal.shape == (240_000, 56)
    assert pricking.simulated
    assert "simulated" in pricking.name
    evoked, spontaneous = pricking.spike_trains
    assert np.diff(evoked).min() >= 0.004 * RATE - 1
    assert len(spontaneous) == pytest.approx(5 * 8, abs=3 * np.sqrt(5 * 8))


@pytest.mark.slow
def test_same_seed_same_bits_and_another_seed_another_recording(pricking):
    again = eng_simulated.read(duration_s=8).read("pricking")
    other = eng_simulated.read(duration_s=8, seed=1)
    assert np.array_equal(pricking.signal, again.signal)
    assert not np.array_equal(pricking.signal, other.read("pricking").signal)
    assert other.sha256 != again.sha256


def test_nothing_is_simulated_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(memory, "physical_bytes", lambda: 10**12)
    session = eng_simulated.read(duration_s=1800)  # 12 GB a class
    assert session.classes == CLASSES


def test_bursts_follow_the_metronome_and_last_two_thirds_of_a_second():
    rng = np.random.default_rng(0)
    caps, bursts = eng_simulated.discharges(180, 2, 80, eng_simulated.nerve(6, 0.95).mix[0], rng)
    assert len(bursts) == pytest.approx(100, abs=6)  # "around 100 stimulus periods" in about 180 s
    assert np.diff(bursts.mean(axis=1)).mean() == pytest.approx(2 * 60 / 70, rel=0.01)
    assert np.mean(bursts[:, 1] - bursts[:, 0]) == pytest.approx(0.64, abs=0.02)
    inside = np.searchsorted(bursts[:, 0], caps.sample / RATE + 1e-3, side="right") - 1
    assert np.all(caps.sample / RATE < bursts[inside, 1] + 1e-3)
    assert len(caps.sample) == pytest.approx(80 * np.sum(bursts[:, 1] - bursts[:, 0]), rel=0.1)


def test_lead_field_is_the_inverse_square_of_the_distance():
    anatomy = eng_simulated.nerve(5, 0.95)
    angle = np.arange(8) * 2 * np.pi / 8
    contacts = eng_simulated.CUFF_MM * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for gain in anatomy.gain:
        distance2 = -1 / (4 * np.pi * eng_simulated.CONDUCTIVITY * gain)
        # a source's place in the plane, from the differences of squared distances to the contacts
        place = np.linalg.lstsq(2 * (contacts[0] - contacts[1:]), distance2[1:] - distance2[0], rcond=None)[0]
        np.testing.assert_allclose(np.sum((contacts - place) ** 2, axis=1), distance2, rtol=1e-6)
        assert np.hypot(*place) < eng_simulated.NERVE_MM


@pytest.mark.parametrize("source", range(eng_simulated.SOURCES))
def test_conduction_velocity_comes_back_from_the_rings(source):
    anatomy = eng_simulated.nerve(4, 0.95)
    shape = anatomy.waveforms(np.array([source]), np.ones(1), np.zeros(1))[0]  # (time, channel)
    along = shape[:, GRID[:, 0]]  # one contact of every ring
    time = np.arange(len(along))
    # the wavelet is symmetric, so its energy's centre is its time of passage
    passage = np.sum(time[:, None] * along**2, axis=0) / np.sum(along**2, axis=0)
    metres = np.arange(7) * eng_simulated.RING_MM / 1000
    velocity = 1 / (np.polyfit(metres, passage, 1)[0] / RATE)
    assert velocity == pytest.approx(anatomy.velocity[source], rel=0.02)
    assert passage[3] == pytest.approx(eng_simulated.HALF, abs=0.01)


@pytest.mark.slow
def test_noise_has_its_bands_and_is_shared_as_the_model_says():
    noise = eng_simulated.noise(300_000, np.random.default_rng(0), np.random.default_rng(1))
    frequency, power = welch(signals.tripolar(noise, GRID), RATE, nperseg=4096, axis=0)
    power = power.mean(axis=1)
    muscle, nerve, artefact = (
        power[(frequency > a) & (frequency < b)].mean() for a, b in ((80, 400), (1000, 4500), (7000, 14000))
    )
    assert muscle > 2 * nerve
    assert artefact > 1.5 * nerve
    correlation = np.corrcoef(signals.bandpass(noise, RATE, 100, 400), rowvar=False)
    assert correlation[GRID[0, 0], GRID[6, 4]] > 0.5  # muscle activity reaches all electrodes
    # what is common to all disappears against the outer rings
    band = signals.bandpass(noise, RATE, 800, 5000, order=6)
    assert np.corrcoef(band, rowvar=False)[0, 20] > 0.5
    assert abs(np.corrcoef(signals.tripolar(band, GRID), rowvar=False)[16, 30]) < 0.2


@pytest.mark.slow
def test_recordings_of_a_rat_share_their_electrodes_unless_they_drift():
    def colour(drift, which):
        signal = eng_simulated.read(duration_s=20, drift=drift).read(which).signal
        quiet = signals.bandpass(signal[: round(0.4 * RATE)], RATE, 800, 5000)
        return np.log(quiet.var(axis=0))

    same = colour(0, "dorsiflexion") - colour(0, "pricking")
    moved = colour(0.3, "dorsiflexion") - colour(0.3, "pricking")
    assert np.median(np.abs(same)) < 0.05  # an extreme value may have hit some
    assert np.median(np.abs(moved)) > 0.3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rat": 3}, "recording.rat=3 has no signal-to-noise ratio in Table I, rats 4, 5, 6, 7, 8, 9 do"),
        ({"duration_s": 1}, "recording.duration_s=1 is outside 4 to 1800"),
        ({"spontaneous": -1}, "recording.spontaneous=-1 is outside 0 to 100"),
        ({"selectivity": 1.5}, "recording.selectivity=1.5 is outside 0 to 1"),
    ],
)
def test_settings_that_make_no_recording(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        eng_simulated.read(**settings)


@pytest.mark.parametrize("neighbours", ["ring", "line"])
def test_neighbours_share_noise_around_their_own_ring_or_by_number(neighbours, monkeypatch):
    for source in ("common", "emg", "artefact"):
        monkeypatch.setitem(eng_simulated.NOISE_UV, source, 0.0)
    noise = eng_simulated.noise(100_000, np.random.default_rng(0), np.random.default_rng(1), neighbours)
    ring, contact = np.divmod(np.arange(56), 8)
    away = (contact[:, None] - contact) % 8
    sharing = (np.abs(np.subtract.outer(np.arange(56), np.arange(56))) == 1).astype(float)
    if neighbours == "ring":
        sharing = ((ring[:, None] == ring) & ((away == 1) | (away == 7))).astype(float)
    mixed = np.eye(56) + 0.25 * sharing
    mixed /= np.linalg.norm(mixed, axis=0)
    np.testing.assert_allclose(np.corrcoef(noise.T), mixed.T @ mixed, atol=0.02)


def test_recordings_of_earlier_versions_keep_their_digest_and_others_have_another():
    assert eng_simulated.read().sha256 == eng_simulated.read(neighbours="line").sha256
    assert eng_simulated.read(neighbours="ring").sha256 != eng_simulated.read().sha256
    with pytest.raises(ValueError, match="recording.neighbours=triangle is neither ring nor line"):
        eng_simulated.read(neighbours="triangle")
