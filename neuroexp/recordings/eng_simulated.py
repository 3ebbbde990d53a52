"""Simulated nerve-cuff recordings of one rat: fascicle sources seen by 7 rings of 8 contacts, after the ENG paper's model.

Equation 1 is y_l(t) = sum_k h_lk s_k(t - tau_lk) + v_l(t) + u(t) with h_lk = -1 / (4 pi sigma |q_l - q_k|^2) (Eq. 2). A
source travels along the nerve, so its distance to an electrode is taken where it passes the electrode's ring. What the
paper leaves open (cuff, fascicles, waveforms, how selective a stimulus is) is a constant or a parameter here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from neuroexp.data.cuff import CLASSES, CONTACTS, COPIES, GRID, RINGS, Session
from neuroexp.data.recording import Recording, check_ranges
from neuroexp.data.signals import bandpass, tripolar
from neuroexp.machine import memory

Array = NDArray[np.float64]

RATE_HZ = 30_000.0
SNR_DB = {  # Table I: dorsiflexion, plantarflexion, pricking
    4: (1.81, 2.44, 2.42),
    5: (2.03, 2.12, 2.83),
    6: (3.59, 1.24, 1.59),
    7: (0.23, 1.97, 0.87),
    8: (0.93, 1.96, 0.55),
    9: (1.60, 0.41, 0.61),
}
BAND_HZ, ORDER = (800.0, 5000.0), 6  # in which Table I's power is measured
RING_MM, NERVE_MM, CUFF_MM = 3.0, 0.5, 0.75  # ring pitch, radius of the nerve and of the contacts around it
CONDUCTIVITY = 0.3  # S/m; cancels in the calibration to Table I
SOURCES = 6  # fascicle sources, two preferred by each class
BEAT_S = 60 / 70  # of the metronome
BURST_S, SHORTEST_BURST_S = (0.64, 0.06), 0.4  # mean and standard deviation
CAPS_PER_S, CLOSEST_S = 80.0, 0.004  # inside a burst that doubles the power; a stronger burst has more and larger CAPs
SPONTANEOUS_POWER = 0.05  # of the noise's, from CAPs without a stimulus
WIDTH_S = 0.13e-3  # of a CAP: a negative-going Ricker wavelet, its spectrum peaks at 1.7 kHz
HALF = 90  # samples of a CAP to either side, with the delays of all rings
CONCENTRATION = 20.0  # of a stimulus' own mix around its class's
NOISE_UV = {"electrode": 2.0, "common": 4.0, "emg": 8.0, "artefact": 3.0}
EXTREMES_PER_S = 0.3
BLOCK = 1 << 18  # samples simulated at once


@dataclass(frozen=True)
class Nerve:
    """The anatomy of one rat and how its classes of stimuli engage it."""

    gain: Array  # (source, contact), the lead field of Eq. 2 at every ring, arbitrary scale
    velocity: Array  # (source,), m/s; negative towards the first ring
    mix: Array  # (class, source), how often a CAP of a class comes from a source

    def waveforms(self, sources: NDArray[np.int64], speed: Array, offset: Array) -> Array:
        """Return CAPs (cap, time, channel) that pass the middle ring `offset` samples after sample HALF."""
        time_s = (np.arange(-HALF, HALF + 1) - offset[:, None]) / RATE_HZ
        along_m = (np.arange(RINGS) - RINGS // 2) * RING_MM / 1000
        delay_s = along_m / (self.velocity[sources] * speed)[:, None]  # tau of Eq. 1 (cap, ring)
        x = ((time_s[:, :, None] - delay_s[:, None, :]) / WIDTH_S) ** 2
        ricker = (1 - x) * np.exp(-x / 2)
        shaped = ricker[:, :, :, None] * self.gain[sources][:, None, None, :]  # (cap, time, ring, contact)
        return np.asarray(shaped.reshape(len(sources), len(time_s[0]), -1))


def nerve(rat: int, selectivity: float) -> Nerve:
    """Draw the nerve of a rat; a CAP comes from the class's own two sources with a chance of `selectivity`."""
    rng = np.random.default_rng([rat, 0])
    angle = (np.arange(SOURCES) + rng.uniform(-0.3, 0.3, SOURCES)) * 2 * np.pi / SOURCES
    radius = NERVE_MM * rng.uniform(0.4, 0.9, SOURCES)
    contact = np.arange(CONTACTS) * 2 * np.pi / CONTACTS
    distance_mm2 = (CUFF_MM * np.cos(contact) - (radius * np.cos(angle))[:, None]) ** 2
    distance_mm2 += (CUFF_MM * np.sin(contact) - (radius * np.sin(angle))[:, None]) ** 2
    velocity = rng.uniform(15, 60, SOURCES) * np.where(np.arange(SOURCES) % 2, -1, 1)  # afferent and efferent
    own = rng.permutation(SOURCES).reshape(len(CLASSES), -1)
    mix = np.full((len(CLASSES), SOURCES), (1 - selectivity) / (SOURCES - own.shape[1]))
    for number, sources in enumerate(own):
        mix[number, sources] = selectivity / len(sources)
    return Nerve(-1 / (4 * np.pi * CONDUCTIVITY * distance_mm2), velocity, mix)


def read(
    rat: int = 6,
    duration_s: float = 20,
    beats: int = 2,
    selectivity: float = 0.95,
    spontaneous: float = 5,
    drift: float = 0,
    seed: int = 0,
    neighbours: str = "line",
) -> Session:
    """Simulate the cuff recordings of one rat, one per class, at the signal-to-noise ratio of Table I.

    Parameters
    ----------
    rat : int
        4 to 9.
    duration_s : float
        Seconds per class.
    beats : int
        A burst of CAPs comes every so many beats of the 70 BPM metronome.
    selectivity : float
        Chance that an evoked CAP comes from a fascicle that its class prefers.
    spontaneous : float
        CAPs per second from any source at any time, of one size in all recordings, so that the stimulus stands out less where
        the signal-to-noise ratio is low.
    drift : float
        Standard deviation of the logarithm of the electrodes' gains from recording to recording: a mark that tells the classes
        apart without any nerve activity.
    seed : int
        Draws everything else.
    neighbours : str
        Which electrodes share noise, see `noise`: "ring", or "line" as in earlier versions.

    Returns
    -------
    Session

    Raises
    ------
    ValueError
        When a value makes no recording.
    """
    settings = dict(sorted(locals().items()))
    if neighbours == "line":  # earlier recordings keep their digest
        del settings["neighbours"]
    _check(rat, duration_s, beats, selectivity, spontaneous, drift, neighbours)
    digest = hashlib.sha256(json.dumps(["eng", settings]).encode()).hexdigest()
    name = f"simulated rat {rat}"

    def simulate(which: str) -> Recording:
        number = CLASSES.index(which)
        rng = np.random.default_rng([rat, seed, number])
        anatomy = nerve(rat, selectivity)
        signal = noise(round(duration_s * RATE_HZ), rng, np.random.default_rng([rat, 1]), neighbours)
        others = background(duration_s, spontaneous, rng)
        if len(others.sample):
            add(signal, others, anatomy, calibrate(signal, others, anatomy, [(0, duration_s)], SPONTANEOUS_POWER))
        excess = 10 ** (SNR_DB[rat][number] / 10) - 1
        caps, bursts = discharges(duration_s, beats, CAPS_PER_S * np.sqrt(excess), anatomy.mix[number], rng)
        add(signal, caps, anatomy, calibrate(signal, caps, anatomy, bursts, excess))
        extremes(signal, rng)
        signal *= np.exp(drift * rng.standard_normal(RINGS * CONTACTS)).astype(np.float32)
        return Recording(
            name=f"{name} {which}",
            signal=signal,
            rate_hz=RATE_HZ,
            sha256=digest,
            grid=GRID,
            spike_trains=(np.unique(caps.sample), np.unique(others.sample)),
            simulated=True,
        )

    return Session(name=name, sha256=digest, read=simulate, simulated=True)


def _check(
    rat: int, duration_s: float, beats: int, selectivity: float, spontaneous: float, drift: float, neighbours: str
) -> None:
    """Raise ValueError for the first value that makes no recording, or none that fits the memory."""
    if neighbours not in ("line", "ring"):
        raise ValueError(f"recording.neighbours={neighbours} is neither ring nor line")
    if rat not in SNR_DB:
        raise ValueError(
            f"recording.rat={rat} has no signal-to-noise ratio in Table I, rats {', '.join(map(str, SNR_DB))} do"
        )
    check_ranges(
        [
            ("duration_s", duration_s, 4, 1800),
            ("beats", beats, 1, 20),
            ("selectivity", selectivity, 0, 1),
            ("spontaneous", spontaneous, 0, 100),
            ("drift", drift, 0, 2),
        ]
    )
    per_s = RATE_HZ * RINGS * CONTACTS * 4 * COPIES
    fits = f"recording.duration_s={memory.round_down(memory.spare() / per_s)} would fit"
    memory.check(duration_s * per_s, f"recording.duration_s={duration_s:g}", fits)


@dataclass(frozen=True)
class Caps:
    """Compound action potentials, in order of time; every array is (cap,)."""

    sample: NDArray[np.int64]  # nearest to the passage under the middle ring
    offset: Array  # of the passage from it, samples
    source: NDArray[np.int64]
    size: Array
    speed: Array  # over the source's conduction velocity


def background(duration_s: float, caps_per_s: float, rng: np.random.Generator) -> Caps:
    """Draw CAPs that no stimulus evokes: from all sources alike, at any time."""
    times_s = np.sort(rng.uniform(0.01, duration_s - 0.01, rng.poisson(caps_per_s * duration_s)))
    size, speed = np.exp(rng.normal(0, 0.25, len(times_s))), rng.normal(1, 0.05, len(times_s))
    return _caps(times_s, rng.integers(0, SOURCES, len(times_s)), size, speed)


def discharges(
    duration_s: float, beats: int, caps_per_s: float, mix_of_class: Array, rng: np.random.Generator
) -> tuple[Caps, Array]:
    """Draw the CAPs of a class and its bursts (burst, 2) in seconds: every stimulus has its own mix, strength and speed."""
    columns: list[list[Array]] = [[], [], [], []]
    bursts = []
    for beat_s in np.arange(BEAT_S, duration_s - BEAT_S / 2, beats * BEAT_S):
        length_s = max(SHORTEST_BURST_S, rng.normal(*BURST_S))
        start_s = beat_s + rng.normal(0, 0.03) - length_s / 2
        gaps_s = CLOSEST_S + rng.exponential(1 / caps_per_s - CLOSEST_S, round(3 * caps_per_s * length_s) + 20)
        times_s = start_s + np.cumsum(gaps_s)
        times_s = times_s[(times_s < start_s + length_s) & (times_s > 0.01) & (times_s < duration_s - 0.01)]
        mix = rng.dirichlet(CONCENTRATION * mix_of_class + 1e-3)
        size = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.25, len(times_s)))
        speed = rng.normal(1, 0.05) * rng.normal(1, 0.03, len(times_s))
        for column, values in zip(
            columns, (times_s, rng.choice(SOURCES, len(times_s), p=mix), size, speed), strict=True
        ):
            column.append(values)
        bursts.append((start_s, start_s + length_s))
    return _caps(*(np.concatenate(column) for column in columns)), np.array(bursts)


def noise(
    n_samples: int, rng: np.random.Generator, cuff: np.random.Generator, neighbours: str = "ring"
) -> NDArray[np.float32]:
    """Return u and v of Eq. 1 (time, channel) in microvolts.

    White noise is common to all electrodes; each has noise of its own that its neighbours share in part: with `ring` those
    to either side around its own ring, with `line` those numbered before and after it, from ring to ring. All share muscle
    activity below 800 Hz and artefacts above 5 kHz.
    """
    channels = RINGS * CONTACTS
    beside: Array = np.eye(channels, k=1) + np.eye(channels, k=-1)
    if neighbours == "ring":
        around = np.roll(np.eye(CONTACTS), 1, axis=1)
        beside = np.asarray(np.kron(np.eye(RINGS), around + around.T), dtype=np.float64)
    mixed = np.eye(channels) + 0.25 * beside
    sharing = mixed / np.sqrt(np.sum(mixed**2, axis=0))
    muscles = butter(2, [60, 400], btype="bandpass", fs=RATE_HZ, output="sos")
    artefacts = butter(6, 6500, btype="highpass", fs=RATE_HZ, output="sos")
    latent = np.concatenate(
        [
            _unit(sosfilt(muscles, rng.standard_normal((n_samples, 3), dtype=np.float32), axis=0)) * NOISE_UV["emg"],
            _unit(sosfilt(artefacts, rng.standard_normal((n_samples, 4), dtype=np.float32), axis=0))
            * NOISE_UV["artefact"],
            NOISE_UV["common"] * rng.standard_normal((n_samples, 1), dtype=np.float32),
        ],
        axis=1,
    ).astype(np.float32)
    # how the electrodes share it belongs to the cuff, the same in every recording of a rat
    weights = np.concatenate([cuff.normal(1, 0.3, (3, channels)) / np.sqrt(3), cuff.normal(0, 0.5, (4, channels))])
    mixing = np.concatenate([weights, np.ones((1, channels))]).astype(np.float32)
    colour = (NOISE_UV["electrode"] * sharing).astype(np.float32)
    signal = np.empty((n_samples, channels), dtype=np.float32)
    for low in range(0, n_samples, BLOCK):
        part = signal[low : low + BLOCK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32) @ colour + latent[low : low + BLOCK] @ mixing
    return signal


def calibrate(
    signal: NDArray[np.float32],
    caps: Caps,
    anatomy: Nerve,
    intervals: Sequence[tuple[float, float]] | Array,
    power: float,
) -> float:
    """Return the scale at which CAPs in these intervals (seconds) add `power` times the signal's, in band and referenced."""
    stretch = signal[: round(5 * RATE_HZ)]
    noise_power = _energy(stretch) / len(stretch)  # (channel,)
    # long enough for the filter to ring out
    quiet = np.zeros((2 * HALF + 1 + 2000, RINGS * CONTACTS), dtype=np.float32)
    energy = np.zeros(RINGS * CONTACTS)
    for source in range(SOURCES):
        quiet[1000 : 1000 + 2 * HALF + 1] = anatomy.waveforms(np.array([source]), np.ones(1), np.zeros(1))[0]
        energy += np.sum(caps.size[caps.source == source] ** 2) * _energy(quiet)
    cap_power = energy / (RATE_HZ * np.sum(np.diff(intervals)))
    return float(np.sqrt(power / np.mean(cap_power / noise_power)))


def add(signal: NDArray[np.float32], caps: Caps, anatomy: Nerve, scale: float) -> None:
    """Add the CAPs to the signal (time, channel), in place."""
    for low in range(0, len(caps.sample), 256):
        some = slice(low, low + 256)
        shapes = anatomy.waveforms(caps.source[some], caps.speed[some], caps.offset[some])
        shapes *= scale * caps.size[some][:, None, None]
        for sample, shape in zip(caps.sample[some], shapes, strict=True):
            signal[sample - HALF : sample + HALF + 1] += shape


def extremes(signal: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Add the occasional extreme value, on a few electrodes at once, in place."""
    for sample in rng.integers(0, len(signal), rng.poisson(EXTREMES_PER_S * len(signal) / RATE_HZ)):
        channels = rng.integers(0, signal.shape[1], 4)
        signal[sample, channels] += rng.choice([-1, 1]) * rng.uniform(100, 1000)


def _caps(times_s: Array, source: Array | NDArray[np.int64], size: Array, speed: Array) -> Caps:
    sample = np.rint(times_s * RATE_HZ).astype(np.int64)
    return Caps(sample, times_s * RATE_HZ - sample, source.astype(np.int64), size, speed)


def _energy(signal: NDArray[np.float32]) -> Array:
    referenced = tripolar(bandpass(signal, RATE_HZ, *BAND_HZ, order=ORDER), GRID)
    return np.sum(referenced.astype(np.float64) ** 2, axis=0)


def _unit(signal: Array) -> Array:
    return signal / signal.std(axis=0)
