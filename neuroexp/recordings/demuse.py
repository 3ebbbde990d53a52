"""DEMUSE `.mat` results: the signals, discharges and force of an HD-sEMG recording decomposed by convolutive BSS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.matfile import MatFile, found, load, single
from neuroexp.recording import Recording, keep, without_channels

NEEDED = ("SIG", "MUPulses", "fsamp")
MOST_SAMPLES = 2**53  # beyond which a double does not count one by one


def read(
    path: str | None,
    crop: bool = False,
    discard_channels: Sequence[int] = (),
    discard_units: Sequence[int] = (),
    force: bool = True,
) -> Recording:
    """Read one result; channels and motor units to leave out are numbered from 1, channels down the grid's columns.

    Channels that DEMUSE marks as discarded are left out as well. `crop` keeps only `startSIGInt` to `stopSIGInt` seconds.
    Without `force` that is left out.
    Raises FileNotFoundError or ValueError, each with one sentence that names the file.
    """
    if not path:
        raise ValueError("recording=demuse needs a file: add recording.path=FILE.mat")
    wanted = [*NEEDED, "discardChannelsVec", "PNR", *["ref_signal"] * force, *["startSIGInt", "stopSIGInt"] * crop]
    file = load(path, wanted)
    file.need(NEEDED, "DEMUSE result", {"Description": "recording=otb reads exports of OTBioLab+"})
    rate_hz = file.rate_hz("fsamp")
    signal, grid = _signal(file)
    marked = _marked(file, grid)
    channels = keep(signal.shape[1], sorted({*discard_channels, *marked}), "channel", file.name)
    pulses = _pulses(file)
    units = keep(len(pulses), discard_units, "motor unit", file.name) if pulses else ()
    trains = [pulses[unit] - 1 for unit in units]  # MATLAB counts from 1
    pnr_db = _pnr_db(file, len(pulses), units)
    effort = _force(file, len(signal))
    if crop:
        low, high = _interval(file, len(signal), rate_hz)
        signal, effort = signal[low:high], None if effort is None else effort[low:high]
        trains = [train[(train >= low) & (train < high)] - low for train in trains]
    return Recording(
        name=file.stem,
        signal=np.ascontiguousarray(signal[:, channels]),
        rate_hz=rate_hz,
        sha256=file.sha256,
        grid=without_channels(grid, channels),
        spike_trains=tuple(trains),
        pnr_db=pnr_db,
        force=effort,
        discarded_channels=tuple({*discard_channels, *marked}),
        discarded_units=tuple(discard_units),
    )


def _signal(file: MatFile) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the signal (time, channel) and the grid (row, column) -> channel; an empty cell is a missing electrode."""
    cells = file.get("SIG")
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.ndim != 2:
        raise ValueError(
            f"{file.name}: 'SIG' is no cell array with one signal per electrode, row by column; it is {found(cells)}"
        )
    grid = np.full(cells.shape, -1)
    signals: list[NDArray[Any]] = []
    for column in range(cells.shape[1]):
        for row in range(cells.shape[0]):
            electrode = f"the electrode in row {row + 1}, column {column + 1}"
            values = file.vector(f"'SIG' of {electrode}", cells[row, column], "a row of numbers, or empty")
            if not values.size:
                continue
            if signals and len(values) != len(signals[0]):
                raise ValueError(f"{file.name}: {electrode} has {len(values)} samples, others have {len(signals[0])}")
            grid[row, column] = len(signals)
            signals.append(values)
    if not signals:
        raise ValueError(f"{file.name}: every cell of 'SIG' is empty")
    signal = np.empty((len(signals[0]), len(signals)), np.float32)
    for channel, values in enumerate(signals):
        signal[:, channel] = single(values)
    return signal, grid


def _marked(file: MatFile, grid: NDArray[np.int64]) -> list[int]:
    """Return the channels, numbered from 1, that DEMUSE discarded."""
    marks = file.get("discardChannelsVec")
    if isinstance(marks, np.ndarray) and marks.dtype == bool:
        marks = marks.astype(np.uint8)
    marks = file.numbers("'discardChannelsVec'", marks, "0 or 1 for each electrode")
    if not marks.size:
        return []
    if marks.shape != grid.shape:
        raise ValueError(f"{file.name}: 'discardChannelsVec' is {marks.shape}, the grid {grid.shape}")
    if not np.isfinite(marks).all():
        raise ValueError(f"{file.name}: 'discardChannelsVec' must be 0 or 1 for each electrode, found nan or infinity")
    return [int(channel) + 1 for channel in grid[(marks != 0) & (grid >= 0)]]


def _pulses(file: MatFile) -> list[NDArray[np.int64]]:
    """Return the discharges of each unit, still counted from 1; with one unit MATLAB may store a plain array."""
    pulses = file.get("MUPulses")
    if isinstance(pulses, np.ndarray) and pulses.size == 0:
        return []
    cells = [pulses]
    if isinstance(pulses, np.ndarray) and pulses.dtype == object:
        if pulses.size != max(pulses.shape, default=1):
            raise ValueError(f"{file.name}: 'MUPulses' must be one cell per motor unit, found {found(pulses)}")
        cells = list(pulses.ravel())
    trains = []
    for unit, cell in enumerate(cells, start=1):
        what = f"'MUPulses' of motor unit {unit}"
        with np.errstate(invalid="ignore"):  # not a number: is found below
            train = file.vector(what, cell, "a row of samples").astype(np.float64)
            whole = np.isfinite(train) & (train == np.round(train)) & (np.abs(train) < MOST_SAMPLES)
        wrong = train[~whole]
        if len(wrong):
            raise ValueError(f"{file.name}: {what} holds {wrong[0]:g}: pulses are whole numbers of samples, from 1")
        trains.append(np.sort(train.astype(np.int64)))
    return trains


def _pnr_db(file: MatFile, n_units: int, units: Iterable[int]) -> tuple[float, ...]:
    """Return the pulse-to-noise ratio of each unit that is kept; none when the file does not say."""
    ratios = file.vector("'PNR'", file.get("PNR"), "one number per motor unit")
    if not ratios.size:
        return ()
    if len(ratios) != n_units:
        raise ValueError(f"{file.name}: 'PNR' holds {len(ratios)} values for {n_units} motor units")
    for unit in units:
        if not np.isfinite(ratios[unit]):
            raise ValueError(
                f"{file.name}: 'PNR' of motor unit {unit + 1} is {ratios[unit]:g}; leave the motor unit out with "
                f"recording.discard_units=[{unit + 1}]"
            )
    return tuple(float(ratios[unit]) for unit in units)


def _force(file: MatFile, n_samples: int) -> NDArray[np.float32] | None:
    force = file.vector(
        "'ref_signal'", file.get("ref_signal"), "one number per sample (recording.force=false leaves it out)"
    )
    if not force.size:
        return None
    if len(force) != n_samples:
        raise ValueError(f"{file.name}: 'ref_signal' has {len(force)} samples, 'SIG' {n_samples}")
    return single(force)


def _interval(file: MatFile, n_samples: int, rate_hz: float) -> tuple[int, int]:
    seconds = [file.number(key) for key in ("startSIGInt", "stopSIGInt")]
    low, high = (float(np.round(second * rate_hz)) for second in seconds)
    if not 0 <= low < high <= n_samples:
        raise ValueError(
            f"{file.name}: startSIGInt to stopSIGInt is {seconds[0]:g} to {seconds[1]:g} s of {n_samples / rate_hz:g} s"
        )
    return int(low), int(high)
