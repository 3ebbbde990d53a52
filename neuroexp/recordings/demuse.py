"""DEMUSE `.mat` results: the signals, discharges and force of an HD-sEMG recording decomposed by convolutive BSS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.decomposed import enough_pnr, noticed
from neuroexp.matfile import MatFile, found, load, single
from neuroexp.recording import Recording, keep, without_channels
from neuroexp.voltages import factor

NEEDED = ("SIG", "MUPulses", "fsamp")
READS = "recording=demuse reads the .mat file that DEMUSE saves, with SIG, MUPulses and fsamp"
MOST_SAMPLES = 2**53  # beyond which a double does not count one by one


def read(
    path: str | None,
    crop: bool | None = None,
    discard_channels: Sequence[int] = (),
    discard_units: Sequence[int] = (),
    force: bool = True,
    keep_discarded: bool = False,
    min_pnr_db: float | None = None,
    scale_uv: float = 1,
) -> Recording:
    """Read one result; channels and motor units to leave out are numbered from 1, channels down the grid's columns.

    `crop` keeps only `startSIGInt` to `stopSIGInt` seconds, which is what was decomposed; None does so where that is a part
    of the recording and no pulse lies outside. Channels that DEMUSE marks as discarded are left out as well, unless
    `keep_discarded`, and so are units below a pulse-to-noise ratio of `min_pnr_db`. Without `force` that is left out.
    `scale_uv` is how many microvolts the file's numbers count in. Raises FileNotFoundError or ValueError, each with one
    sentence that names the file.
    """
    if not path:
        raise ValueError("recording=demuse needs a file: add recording.path=FILE.mat")
    if crop not in (None, True, False):
        raise ValueError(f"recording.crop={crop} must be true, false, or null to crop where all pulses lie inside")
    scale = factor(scale_uv)
    interval = () if crop is False else ("startSIGInt", "stopSIGInt")
    file = load(path, [*NEEDED, "discardChannelsVec", "PNR", *["ref_signal"] * force, *interval], READS)
    file.need(NEEDED, "DEMUSE result", {"Description": "recording=otb reads exports of OTBioLab+"})
    rate_hz = file.rate_hz("fsamp")
    signal, grid = _signal(file, scale)
    marked = [] if keep_discarded else _marked(file, grid)
    channels = keep(signal.shape[1], sorted({*discard_channels, *marked}), "channel", file.name)
    flagged = _flagged(file.stem, marked)
    pulses = _pulses(file)
    units = keep(len(pulses), discard_units, "motor unit", file.name) if pulses else np.arange(0)
    ratios, notes = _ratios(file, len(pulses))
    units, said = enough_pnr(ratios, units, min_pnr_db, file.stem) if pulses else (units, ())
    pnr_db = _pnr_db(file, ratios, units)
    trains = [pulses[unit] - 1 for unit in units]  # MATLAB counts from 1
    effort = _force(file, len(signal))
    stretch, cut = _stretch(file, crop, len(signal), rate_hz, pulses)
    if stretch is not None:
        low, high = stretch
        signal, effort = signal[low:high], None if effort is None else effort[low:high]
        trains = [train[(train >= low) & (train < high)] - low for train in trains]
    recording = Recording(
        name=file.stem,
        signal=np.ascontiguousarray(signal[:, channels]),
        rate_hz=rate_hz,
        sha256=file.sha256,
        grid=without_channels(grid, channels),
        spike_trains=tuple(trains),
        pnr_db=pnr_db,
        force=effort,
        discarded_channels=tuple({*discard_channels, *marked}),
        discarded_units=tuple(sorted(set(range(1, len(pulses) + 1)) - {int(unit) + 1 for unit in units})),
        notes=(*cut, *flagged, *notes, *said),
    )
    return noticed(recording, discard_units)


def _signal(file: MatFile, scale: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the signal (time, channel) in microvolts and the grid (row, column) -> channel, -1 where a cell is empty."""
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
        signal[:, channel] = single(values if scale == 1 else values * scale)
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


def _flagged(name: str, marked: Sequence[int]) -> tuple[str, ...]:
    """Return a note on the channels that DEMUSE discarded."""
    if not marked:
        return ()
    several = len(marked) > 1
    which = f"channel{'s' * several} {','.join(map(str, marked))} {'are' if several else 'is'}"
    return (f"{name}: {which} marked as discarded and left out; recording.keep_discarded=true keeps all",)


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


def _ratios(file: MatFile, n_units: int) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the pulse-to-noise ratio of each unit, none when the file does not say, and a note when it cannot be used."""
    ratios = file.vector("'PNR'", file.get("PNR"), "one number per motor unit")
    if not ratios.size or len(ratios) == n_units:
        return ratios, ()
    which = f"'PNR' holds {len(ratios)} value{'s' * (len(ratios) > 1)} for {n_units} motor unit{'s' * (n_units != 1)}"
    return ratios[:0], (f"{file.stem}: {which}, so nobody can tell whose they are: it is not used",)


def _pnr_db(file: MatFile, ratios: NDArray[Any], units: NDArray[np.int64]) -> tuple[float, ...]:
    """Return the pulse-to-noise ratio of each unit that is kept; none when the file does not say."""
    if not ratios.size:
        return ()
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
        raise ValueError(
            f"{file.name}: 'ref_signal' has {len(force)} samples, 'SIG' {n_samples}; recording.force=false leaves it out"
        )
    return single(force)


def _stretch(
    file: MatFile, crop: bool | None, n_samples: int, rate_hz: float, pulses: Sequence[NDArray[np.int64]]
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Return the first sample and the end of what to keep, None for all, and a note where nobody has typed which."""
    if crop is not None:
        return _interval(file, n_samples, rate_hz) if crop else None, ()
    said = [file.get(key) for key in ("startSIGInt", "stopSIGInt")]
    if all(isinstance(value, np.ndarray) and not value.size for value in said):
        return None, ()
    try:
        low, high = _interval(file, n_samples, rate_hz)
    except ValueError as error:
        return None, (f"{error}; the whole recording is used",)
    samples = np.concatenate([*pulses, np.empty(0, np.int64)]) - 1
    inside = samples.size and samples.min() >= low - 1 and samples.max() <= high  # a pulse may lie on either edge
    if not inside or high - low >= n_samples - 1:
        return None, ()
    low, high = min(low, int(samples.min())), max(high, int(samples.max()) + 1)
    note = (
        f"{file.stem}: only {low / rate_hz:g} to {high / rate_hz:g} s of {n_samples / rate_hz:g} s are used, startSIGInt to "
        "stopSIGInt, for all pulses lie there and nobody decomposed the rest; recording.crop=false uses all"
    )
    return (max(low, 0), min(high, n_samples)), (note,)


def _interval(file: MatFile, n_samples: int, rate_hz: float) -> tuple[int, int]:
    seconds = [file.number(key) for key in ("startSIGInt", "stopSIGInt")]
    low, high = (float(np.round(second * rate_hz)) for second in seconds)
    if not 0 <= low < high <= n_samples:
        raise ValueError(
            f"{file.name}: startSIGInt to stopSIGInt is {seconds[0]:g} to {seconds[1]:g} s of {n_samples / rate_hz:g} s"
        )
    return int(low), int(high)
