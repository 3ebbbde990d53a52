"""DEMUSE `.mat` results: the signals, discharges and force of an HD-sEMG recording decomposed by convolutive BSS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.decomposed import enough_pnr, noticed
from neuroexp.data.recording import Recording, keep, without_channels
from neuroexp.data.voltages import factor
from neuroexp.matlab.matfile import MatFile, found, load, single
from neuroexp.recordings.demuse_interval import decomposed_part

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
    """Read one result of DEMUSE.

    Parameters
    ----------
    path : str
        The `.mat` file.
    crop : bool, optional
        Whether to keep only `startSIGInt` to `stopSIGInt` seconds, which is what was decomposed; None does so where that is a
        part of the recording and no pulse lies outside.
    discard_channels, discard_units : sequence of int
        Channels and motor units to leave out, numbered from 1, channels down the grid's columns.
    force : bool
        False leaves the force out.
    keep_discarded : bool
        True keeps the channels that DEMUSE marks as discarded.
    min_pnr_db : float, optional
        Leave out motor units of a lower pulse-to-noise ratio, in dB.
    scale_uv : float
        How many microvolts the file's numbers count in.

    Returns
    -------
    Recording

    Raises
    ------
    FileNotFoundError, ValueError
        Each with one sentence that names the file.
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
    units, pnr_db, notes = _units(file, len(pulses), discard_units, min_pnr_db)
    _check_pulses(file, pulses, units, len(signal))
    trains = [pulses[unit] - 1 for unit in units]  # MATLAB counts from 1
    effort = _force(file, len(signal))
    stretch, cut = decomposed_part(file, crop, len(signal), rate_hz, trains)
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
        notes=(*cut, *flagged, *notes),
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
            grid[row, column] = len(signals)
            signals.append(values)
    if not signals:
        raise ValueError(f"{file.name}: every cell of 'SIG' is empty")
    [(length, _)] = Counter(map(len, signals)).most_common(1)
    for channel, values in enumerate(signals):
        if len(values) != length:
            row, column = (int(place) + 1 for place in np.argwhere(grid == channel)[0])
            raise ValueError(
                f"{file.name}: the electrode in row {row}, column {column} has {len(values)} sample{'s' * (len(values) > 1)}, "
                f"others have {length}; where there is no electrode, in MATLAB SIG{{{row},{column}}} = []"
            )
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
        size, valid = (" x ".join(map(str, shape)) for shape in (marks.shape, grid.shape))
        raise ValueError(
            f"{file.name}: 'discardChannelsVec' is {size}, the grid of 'SIG' is {valid}, so nobody can tell which electrodes "
            "are meant; recording.keep_discarded=true reads the file without it"
        )
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


def _check_pulses(file: MatFile, pulses: Sequence[NDArray[np.int64]], units: NDArray[np.int64], n_samples: int) -> None:
    """Raise ValueError where the numbers of a unit that is kept count from 0, or are a train of 0 and 1."""
    for unit in units:
        train, which = pulses[unit], f"{file.name}: 'MUPulses' of motor unit {unit + 1} holds"
        if len(train) == n_samples and np.isin(train, (0, 1)).all():
            raise ValueError(
                f"{which} a 0 or 1 for each sample; in MATLAB find(...) makes pulses, counted from 1, of it"
            )
        if len(train) and train[0] == 0:
            raise ValueError(
                f"{which} 0, pulses are counted from 1; if they were saved from Python, add 1 to all of them"
            )


def _more(wrong: Sequence[int]) -> str:
    return f", and {len(wrong) - 1} more {'are' if len(wrong) > 2 else 'is'} like it" if len(wrong) > 1 else ""


def _without(wrong: Sequence[int], typed: Sequence[int]) -> str:
    """Return what to type to leave units, counted from 0, out beside those that the user has left out already."""
    numbers = ",".join(map(str, sorted({*typed, *(unit + 1 for unit in wrong)})))
    return f"leave {'them' if len(wrong) > 1 else 'it'} out with recording.discard_units=[{numbers}]"


def _units(
    file: MatFile, count: int, typed: Sequence[int], least_db: float | None
) -> tuple[NDArray[np.int64], tuple[float, ...], tuple[str, ...]]:
    """Return which motor units are kept, without those `typed`; their pulse-to-noise ratios where known; and notes."""
    units = keep(count, typed, "motor unit", file.name) if count else np.arange(0)
    ratios, notes = _ratios(file, count)
    units, said = enough_pnr(ratios, units, least_db, file.stem) if count else (units, ())
    return units, _pnr_db(file, ratios, units, typed), (*notes, *said)


def _ratios(file: MatFile, n_units: int) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the pulse-to-noise ratio of each unit, none when the file does not say, and a note when it cannot be used."""
    ratios = file.vector("'PNR'", file.get("PNR"), "one number per motor unit")
    if not ratios.size or len(ratios) == n_units:
        return ratios, ()
    which = f"'PNR' holds {len(ratios)} value{'s' * (len(ratios) > 1)} for {n_units} motor unit{'s' * (n_units != 1)}"
    return ratios[:0], (f"{file.stem}: {which}, so nobody can tell whose they are: it is not used",)


def _pnr_db(file: MatFile, ratios: NDArray[Any], units: NDArray[np.int64], typed: Sequence[int]) -> tuple[float, ...]:
    """Return the pulse-to-noise ratio of each unit that is kept; none when the file does not say."""
    if not ratios.size:
        return ()
    wrong = [int(unit) for unit in units if not np.isfinite(ratios[unit])]
    if wrong:
        raise ValueError(
            f"{file.name}: 'PNR' of motor unit {wrong[0] + 1} is {ratios[wrong[0]]:g}{_more(wrong)}; {_without(wrong, typed)}"
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
