"""Simulated HD-sEMG of an isometric contraction: a Fuglevand motor-unit pool seen through a tripole volume conductor.

The pool follows Fuglevand, Winter and Patla (J Neurophysiol 70, 1993): recruitment thresholds, rate coding, twitches.
Every muscle fibre carries a current tripole from its end plate to both tendons; an electrode sees it through an
anisotropic, unbounded medium. What the paper on the real data leaves open (muscle, depth, noise) is a parameter here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from neuroexp.data.recording import Recording, check_ranges

Array = NDArray[np.float64]

RATE_HZ = 2048.0
ROWS, COLUMNS, PITCH_MM = 13, 5, 8.0  # rows along the fibres; the electrode at row 0, column 0 is missing
ANISOTROPY = 6.0  # axial over radial conductivity of muscle
TRIPOLE = (1.0, -35.4 / 24.6, 10.8 / 24.6)  # leading, central and trailing current; they sum to zero
TRIPOLE_MM = (
    0.0,
    2.1,
    2.1 * 35.4 / 10.8,
)  # distance behind the leading pole; chosen so that the dipole moment is zero too
RECRUITMENT_RANGE = 30.0  # threshold of the last unit over that of the first
TWITCH_RANGE = 100.0  # twitch force of the last unit over that of the first
MIN_RATE_HZ, PEAK_RATE_HZ, PEAK_RATE_DROP_HZ = 8.0, 35.0, 10.0
MIN_ISI_S = 0.015
FIBRES = (25, 2700)  # in the first and in the last recruited unit
UV_PER_CURRENT = 20.0  # scales the tripole so that a strong contraction reads some hundred microvolts
FIBRES_DRAWN = 24  # fibres that stand for all of a unit's, to keep the simulation fast


@dataclass(frozen=True)
class Pool:
    """A motor-unit pool; every array is (unit,), in order of recruitment."""

    threshold: Array  # excitation at recruitment
    peak_rate_hz: Array
    twitch: Array  # peak twitch force, arbitrary units
    contraction_time_s: Array  # of the twitch

    def rate_hz(self, excitation: Array) -> Array:
        """Discharge rates (..., unit) at excitation (...,); zero below a unit's threshold."""
        above = excitation[..., None] - self.threshold
        return np.where(above >= 0, np.minimum(MIN_RATE_HZ + above, self.peak_rate_hz), 0.0)

    def twitch_gain(self, isi_s: Array) -> Array:
        """Return the gain of a twitch after an inter-spike interval: twitches fuse as intervals shorten."""
        fusion = self.contraction_time_s / isi_s
        saturation = 1 - np.exp(-2 * np.maximum(fusion, 0.4) ** 3)
        return saturation / np.maximum(fusion, 0.4) / ((1 - np.exp(-2 * 0.4**3)) / 0.4)

    def force(self, excitation: Array) -> Array:
        """Mean isometric force at a steady excitation, arbitrary units."""
        rate = self.rate_hz(excitation)
        gain = self.twitch_gain(1 / np.maximum(rate, 1e-9))
        return np.sum(rate * gain * self.twitch * np.e * self.contraction_time_s, axis=-1)

    @property
    def max_excitation(self) -> float:
        """The excitation at which the last unit reaches its peak rate: the maximum voluntary contraction."""
        return float(self.threshold[-1] + self.peak_rate_hz[-1] - MIN_RATE_HZ)


def pool(n_units: int) -> Pool:
    """Return the pool of Fuglevand et al. (1993) with `n_units` motor units."""
    rank = np.arange(1, n_units + 1) / n_units
    threshold = np.exp(np.log(RECRUITMENT_RANGE) * rank)
    twitch = np.exp(np.log(TWITCH_RANGE) * rank)
    return Pool(
        threshold=threshold,
        peak_rate_hz=PEAK_RATE_HZ - PEAK_RATE_DROP_HZ * threshold / threshold[-1],
        twitch=twitch,
        contraction_time_s=0.090 * twitch ** (-np.log(3) / np.log(TWITCH_RANGE)),  # 90 ms down to 30 ms
    )


def trapezoids(n_samples: int, contractions: int) -> Array:
    """Return the wanted force (time,), 0 to 1: trapezoids of a tenth rest, a fifth ramp, two fifths plateau, ramp, rest."""
    phase = np.linspace(0, contractions, n_samples, endpoint=False) % 1
    return np.interp(phase, [0, 0.1, 0.3, 0.7, 0.9, 1], [0, 0, 1, 1, 0, 0])


def discharges(rate_hz: Array, isi_cov: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the discharge samples of a renewal process with Gaussian intervals around the momentary rate (time,)."""
    samples: list[int] = []
    active = np.flatnonzero(rate_hz > 0)
    if not len(active):
        return np.array(samples, dtype=np.int64)
    time = active[0] + rng.uniform() * RATE_HZ / rate_hz[active[0]]  # units do not start in step
    while time < len(rate_hz):
        if rate_hz[int(time)] == 0:  # derecruited: wait for the next contraction
            later = active[np.searchsorted(active, time) :]
            if not len(later):
                break
            time = later[0] + rng.uniform() * RATE_HZ / rate_hz[later[0]]
            continue
        samples.append(int(time))
        isi_s = max((1 + isi_cov * rng.standard_normal()) / rate_hz[int(time)], MIN_ISI_S)
        time += isi_s * RATE_HZ
    return np.array(samples, dtype=np.int64)


def electrodes() -> tuple[NDArray[np.int64], Array]:
    """Return the grid (row, column) -> channel, numbered down the columns, and places (x, z) in mm, (channel, 2)."""
    grid = np.full((ROWS, COLUMNS), -1)
    present = np.ones((ROWS, COLUMNS), dtype=bool)
    present[0, 0] = False
    columns, rows = np.nonzero(present.T)
    grid[rows, columns] = np.arange(len(rows))
    x = (columns - (COLUMNS - 1) / 2) * PITCH_MM
    z = (rows - (ROWS - 1) / 2) * PITCH_MM
    return grid, np.stack([x, z], axis=1)


def muap(
    fibres_mm: Array, end_plates_mm: Array, tendons_mm: Array, velocity_m_s: float, positions_mm: Array, n_samples: int
) -> Array:
    """Return one motor unit's action potential (time, channel), arbitrary units, its discharge at sample 0.

    `fibres_mm` (fibre, 2) holds lateral position and depth, `end_plates_mm` (fibre,) and `tendons_mm` (fibre, 2) places along
    the fibre. A pole enters at the end plate and stops at the tendon, where the three cancel: the end-of-fibre effect.
    """
    time_s = np.arange(n_samples) / RATE_HZ
    travelled = velocity_m_s * 1000 * time_s[:, None] - np.array(
        TRIPOLE_MM
    )  # (time, pole), mm; negative before it enters
    travelled = np.maximum(travelled, 0)
    lateral = (positions_mm[None, :, 0] - fibres_mm[:, None, 0]) ** 2 + fibres_mm[:, None, 1] ** 2  # (fibre, channel)
    potential = np.zeros((n_samples, len(positions_mm)))
    for end_plate, tendons, radial in zip(end_plates_mm, tendons_mm, lateral, strict=True):
        for direction, tendon in ((-1, tendons[0]), (1, tendons[1])):
            reach = abs(tendon - end_plate)
            pole_z = end_plate + direction * np.minimum(travelled, reach)  # (time, pole)
            for pole, current in enumerate(TRIPOLE):
                axial = positions_mm[None, :, 1] - pole_z[:, pole, None]  # (time, channel)
                potential += current / np.sqrt(ANISOTROPY * radial + axial**2)
    return potential / len(fibres_mm)


@lru_cache(maxsize=2)
def read(
    subject: int = 1,
    mvc: float = 30,
    duration_s: float = 30,
    contractions: int = 1,
    pool_size: int = 60,
    units: int = 6,
    snr_db: float | None = 20,
    isi_cov: float = 0.15,
    seed: int = 0,
) -> Recording:
    """Simulate one recording: 64 electrodes (13x5 less a corner, 8 mm), 2048 Hz, trapezoids of force.

    All recruited units shape the signal; only the strongest are labelled, as a decomposition finds the large and superficial
    ones.

    Parameters
    ----------
    subject : int
        Draws the anatomy: depths, end plates, velocities.
    mvc : float
        Force of the plateau in percent of the maximum.
    duration_s : float
        Seconds.
    contractions : int
        Trapezoids in that time.
    pool_size : int
        Motor units in the muscle.
    units : int
        How many of them are labelled.
    snr_db : float, optional
        Power during the contraction over that of the added noise, in dB; None adds none.
    isi_cov : float
        Coefficient of variation of the intervals between discharges.
    seed : int
        Draws the discharges and the noise.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        When a value makes no recording.
    """
    settings = dict(sorted(locals().items()))
    found = simulate(subject, mvc, duration_s, contractions, pool_size, units, snr_db, isi_cov, seed)
    strongest = [int(unit) for unit in np.argsort(found.strength)[::-1][:units] if found.strength[unit] >= 0]
    return Recording(
        name=f"simulated S{subject} {mvc:g}% MVC",
        signal=found.signal,
        rate_hz=RATE_HZ,
        sha256=hashlib.sha256(json.dumps(settings).encode()).hexdigest(),
        grid=found.grid,
        spike_trains=tuple(found.trains[unit] for unit in sorted(strongest)),
        force=found.force,
        force_unit="% MVC",
        simulated=True,
    )


@dataclass(frozen=True)
class Activity:
    """A simulated signal and all that caused it."""

    signal: NDArray[np.float32]  # (time, channel), microvolts
    grid: NDArray[np.int64]
    force: NDArray[np.float32]
    trains: list[NDArray[np.int64]]  # of every unit of the pool
    strength: Array  # of every unit's action potential; -1 for one that discharges too rarely to be labelled


def simulate(
    subject: int,
    mvc: float,
    duration_s: float,
    contractions: int,
    pool_size: int,
    units: int,
    snr_db: float | None,
    isi_cov: float,
    seed: int,
) -> Activity:
    """Simulate a muscle's activity; see `read`. Units of the pool keep their number at every force of one subject."""
    check_ranges(
        [
            ("subject", subject, 0, 1e6),
            ("mvc", mvc, 1, 100),
            ("duration_s", duration_s, 1, 600),
            ("contractions", contractions, 1, 60),
            ("pool_size", pool_size, 2, 500),
            ("units", units, 1, pool_size),
            ("isi_cov", isi_cov, 0, 1),
        ]
    )
    body = np.random.default_rng([subject, 0])
    firing, noise_rng = (np.random.default_rng([subject, seed, stream]) for stream in (1, 2))
    n_samples = round(duration_s * RATE_HZ)
    muscle = pool(pool_size)
    grid, positions_mm = electrodes()

    levels = np.linspace(0, muscle.max_excitation, 2000)
    forces = muscle.force(levels)
    wanted = trapezoids(n_samples, contractions) * mvc / 100
    excitation = np.interp(wanted, forces / forces[-1], levels)
    rates = muscle.rate_hz(excitation)  # (time, unit)
    trains = [discharges(rates[:, unit], isi_cov, firing) for unit in range(pool_size)]

    potentials = _anatomy(muscle, body, positions_mm)
    signal = _superposed(trains, potentials, n_samples)
    if snr_db is not None:
        power = np.mean(signal[wanted > 0] ** 2)
        signal += noise_rng.standard_normal(signal.shape) * np.sqrt(power / 10 ** (snr_db / 10))
    # A unit with a handful of discharges could not be split into five parts, nor would a decomposition report it.
    strength = [np.sum(p**2) if len(t) >= 5 * 4 * contractions else -1 for p, t in zip(potentials, trains, strict=True)]
    return Activity(
        signal=signal.astype(np.float32),
        grid=grid,
        force=_force(muscle, trains, n_samples, forces[-1]).astype(np.float32),
        trains=trains,
        strength=np.array(strength),
    )


def _superposed(trains: list[NDArray[np.int64]], potentials: list[Array], n_samples: int) -> Array:
    """Return the sum (time, channel) of the units' action potentials (time, channel), one at each discharge."""
    signal = np.zeros((n_samples, potentials[0].shape[1]))
    for train, potential in zip(trains, potentials, strict=True):
        for sample in train:
            stretch = signal[sample : sample + len(potential)]
            stretch += potential[: len(stretch)]
    return signal


def _anatomy(muscle: Pool, rng: np.random.Generator, positions_mm: Array) -> list[Array]:
    """Draw one action potential (time, channel) in microvolts per unit of the pool."""
    n_units = len(muscle.threshold)
    share = (muscle.twitch - muscle.twitch[0]) / (muscle.twitch[-1] - muscle.twitch[0])
    fibres = FIBRES[0] + share * (FIBRES[1] - FIBRES[0])
    potentials = []
    zone_mm = rng.uniform(-12, 12)  # of innervation, along the muscle
    for unit in range(n_units):
        centre = np.array([rng.uniform(-22, 22), rng.uniform(3, 14)])  # lateral position and depth, mm
        spread = rng.standard_normal((FIBRES_DRAWN, 2)) * [2.5, 1.2]
        fibres_mm = centre + spread
        fibres_mm[:, 1] = np.maximum(fibres_mm[:, 1], 2.0)  # skin and fat lie above the muscle
        end_plates_mm = zone_mm + rng.uniform(-10, 10) + rng.uniform(-2, 2, FIBRES_DRAWN)
        tendons_mm = np.array([-65.0, 65.0]) + rng.uniform(-5, 5, (FIBRES_DRAWN, 2))
        velocity = rng.uniform(3.5, 4.5)  # m/s
        longest_mm = np.abs(tendons_mm - end_plates_mm[:, None]).max() + TRIPOLE_MM[-1]
        n_samples = int(np.ceil(longest_mm / 1000 / velocity * RATE_HZ)) + 2
        potential = muap(fibres_mm, end_plates_mm, tendons_mm, velocity, positions_mm, n_samples)
        potentials.append(UV_PER_CURRENT * fibres[unit] * potential)
    return potentials


def _force(muscle: Pool, trains: list[NDArray[np.int64]], n_samples: int, maximum: float) -> Array:
    """Return the force (time,) in percent of maximum: every discharge adds a twitch whose gain follows its interval."""
    force = np.zeros(n_samples)
    for unit, train in enumerate(trains):
        if not len(train):
            continue
        isi_s = np.diff(train, prepend=train[0] - RATE_HZ) / RATE_HZ
        gains = muscle.twitch_gain(np.repeat(isi_s[:, None], len(trains), axis=1))[:, unit]
        impulses = np.zeros(n_samples)
        impulses[train] = gains * muscle.twitch[unit]
        # twitch(t) = t/T exp(1 - t/T) is the impulse response of two equal poles
        time_s = muscle.contraction_time_s[unit]
        decay = np.exp(-1 / (RATE_HZ * time_s))
        scale = np.e / (RATE_HZ * time_s) * decay
        force += lfilter([0, scale], [1, -2 * decay, decay**2], impulses)
    return 100 * force / maximum
