"""DEMUSE `.mat` results: the signals, discharges and force of an HD-sEMG recording decomposed by convolutive BSS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.matfile import MatFile, load
from neuroexp.recording import Recording, keep, without_channels


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
    file = load(path)
    absent = [key for key in ("SIG", "MUPulses", "fsamp") if key not in file.contents]
    if absent:
        raise ValueError(
            f"{file.name}: no variable '{absent[0]}', so this is no DEMUSE result (found: {', '.join(sorted(file.contents))})"
            + "; recording=otb reads exports of OTBioLab+" * ("Description" in file.contents)
        )
    rate_hz = _number(file, "fsamp")
    signal, grid = _signal(file)
    marked = _marked(file, grid)
    channels = keep(signal.shape[1], sorted({*discard_channels, *marked}), "channel", file.name)
    pulses = _pulses(file)
    units = keep(len(pulses), discard_units, "motor unit", file.name) if pulses else ()
    trains = [pulses[unit] - 1 for unit in units]  # MATLAB counts from 1
    pnr = np.asarray(file.contents.get("PNR", [])).ravel()
    effort = _force(file, len(signal)) if force else None
    if crop:
        low, high = _interval(file, len(signal), rate_hz)
        signal, effort = signal[low:high], None if effort is None else effort[low:high]
        trains = [train[(train >= low) & (train < high)] - low for train in trains]
    return Recording(
        name=Path(file.name).stem,
        signal=np.ascontiguousarray(signal[:, channels]),
        rate_hz=rate_hz,
        sha256=file.sha256,
        grid=without_channels(grid, channels),
        spike_trains=tuple(trains),
        pnr_db=tuple(float(pnr[unit]) for unit in units) if len(pnr) == len(pulses) else (),
        force=effort,
        discarded_channels=tuple({*discard_channels, *marked}),
        discarded_units=tuple(discard_units),
    )


def _number(file: MatFile, key: str) -> float:
    values = np.asarray(file.contents[key]).ravel() if key in file.contents else np.empty(0)
    if values.size != 1 or values.dtype.kind not in "fiu":
        raise ValueError(f"{file.name}: '{key}' must be one number, found {values.size} values of type {values.dtype}")
    return float(values[0])


def _signal(file: MatFile) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the signal (time, channel) and the grid (row, column) -> channel; an empty cell is a missing electrode."""
    cells = np.atleast_2d(file.contents["SIG"])
    if cells.dtype != object:
        raise ValueError(f"{file.name}: 'SIG' is no cell array with one signal per electrode")
    grid = np.full(cells.shape, -1)
    signals: list[NDArray[Any]] = []
    for column in range(cells.shape[1]):
        for row in range(cells.shape[0]):
            values = np.asarray(cells[row, column]).ravel()
            if not values.size:
                continue
            if signals and len(values) != len(signals[0]):
                raise ValueError(
                    f"{file.name}: the electrode in row {row + 1}, column {column + 1} has {len(values)} samples, "
                    f"others have {len(signals[0])}"
                )
            grid[row, column] = len(signals)
            signals.append(values)
    if not signals:
        raise ValueError(f"{file.name}: every cell of 'SIG' is empty")
    return np.stack(signals, axis=1).astype(np.float32), grid


def _marked(file: MatFile, grid: NDArray[np.int64]) -> list[int]:
    """Return the channels, numbered from 1, that DEMUSE discarded."""
    marks = file.contents.get("discardChannelsVec")
    if marks is None or not np.size(marks):
        return []
    if np.shape(marks) != grid.shape:
        raise ValueError(f"{file.name}: 'discardChannelsVec' is {np.shape(marks)}, the grid {grid.shape}")
    return [int(channel) + 1 for channel in grid[(np.asarray(marks) != 0) & (grid >= 0)]]


def _pulses(file: MatFile) -> list[NDArray[np.int64]]:
    """Return the discharges of each unit, still counted from 1; with one unit MATLAB may store a plain array."""
    pulses = np.asarray(file.contents["MUPulses"])
    cells = list(pulses.ravel()) if pulses.dtype == object else [pulses]
    if pulses.size == 0:
        return []
    trains = []
    for unit, cell in enumerate(cells, start=1):
        train = np.asarray(cell, dtype=float).ravel()
        wrong = train[~(np.isfinite(train) & (train == np.round(train)))]
        if len(wrong):
            raise ValueError(
                f"{file.name}: 'MUPulses' of motor unit {unit} holds {wrong[0]:g}: pulses are whole numbers of samples, "
                "from 1"
            )
        trains.append(np.sort(train.astype(np.int64)))
    return trains


def _force(file: MatFile, n_samples: int) -> NDArray[np.float32] | None:
    force = np.asarray(file.contents.get("ref_signal", [])).ravel()
    if not force.size:
        return None
    if len(force) != n_samples:
        raise ValueError(f"{file.name}: 'ref_signal' has {len(force)} samples, 'SIG' {n_samples}")
    return force.astype(np.float32)


def _interval(file: MatFile, n_samples: int, rate_hz: float) -> tuple[int, int]:
    low, high = (round(_number(file, key) * rate_hz) for key in ("startSIGInt", "stopSIGInt"))
    if not 0 <= low < high <= n_samples:
        raise ValueError(
            f"{file.name}: startSIGInt to stopSIGInt is {low / rate_hz:g} to {high / rate_hz:g} s of {n_samples / rate_hz:g} s"
        )
    return low, high
