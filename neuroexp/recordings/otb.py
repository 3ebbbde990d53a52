"""OTBioLab+ `.mat` exports: the signals, spike trains and force of a decomposed HD-sEMG recording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.decomposed import noticed
from neuroexp.matfile import MatFile, found, load, single
from neuroexp.parser import Text, Value
from neuroexp.recording import Recording, keep, without_channels
from neuroexp.signals import pulse_to_noise_db

NEEDED = ("Data", "Description", "SamplingFrequency")
CHANNEL = re.compile(r"\((\d+)\)\s*\[[uµ]V\]$")
SPIKES = re.compile(r"^(?:[\d\s-]*-\s*)?decomposition of ", re.IGNORECASE)
SOURCES = re.compile(r"^(?:[\d\s-]*-\s*)?source for decomposition of ", re.IGNORECASE)
FORCE = re.compile(r"(?:acquired data|performed path|force|torque).*\[\s*%", re.IGNORECASE)
MAX_LAG = 20  # samples between pulses and discharges in one file; 8 in the openhdemg project's sample
# Serpentine numbering: electrode 1 next to the missing corner (row 0, column 0), down the first column, up the second.
GRID_13X5 = re.compile(r"GR0[48]MM1305")


def read(
    path: str,
    discard_channels: Sequence[int] = (),
    discard_units: Sequence[int] = (),
    force: bool = True,
    missing: str = "",
) -> Recording:
    """Read one export; channels and motor units to leave out are numbered from 1 in the order of the file.

    Without `force` that is left out too. `missing` is what to advise when the file is not there. Raises FileNotFoundError or
    ValueError, each with one sentence that names the file.
    """
    file = load(path, NEEDED, missing)
    file.need(NEEDED, "OTBioLab+ export", {"MUPulses": "recording=demuse reads DEMUSE's results"})
    columns, rate_hz = _columns(file), file.rate_hz("SamplingFrequency")
    descriptions = _descriptions(file, columns.shape[1])
    emg = [i for i, text in enumerate(descriptions) if CHANNEL.search(text)]
    spikes = [i for i, text in enumerate(descriptions) if SPIKES.search(text)]
    forces = [i for i, text in enumerate(descriptions) if FORCE.search(text)] if force else []
    if not emg:
        raise ValueError(f"{file.name}: no column is described as a channel in microvolts, such as '... (1)[uV]'")
    if not spikes:
        raise ValueError(
            f"{file.name}: no column is described as 'Decomposition of ...': export the decomposition as well"
        )
    channels = keep(len(emg), discard_channels, "channel", file.name)
    units = keep(len(spikes), discard_units, "motor unit", file.name)
    grid = _grid(descriptions[emg[0]], len(emg))
    trains = [_train(file.name, unit + 1, columns[:, spikes[unit]]) for unit in units]
    sources = [i for i, text in enumerate(descriptions) if SOURCES.search(text)]
    pnr_db = []
    if len(sources) == len(spikes):
        pairs = [(unit, train) for unit, train in zip(units, trains, strict=True) if len(train)]
        pnr_db = [_pnr_db(file.name, unit + 1, columns[:, sources[unit]], train) for unit, train in pairs]
    recording = Recording(
        name=file.stem,
        signal=single(columns[:, np.array(emg)[channels]]),
        rate_hz=rate_hz,
        sha256=file.sha256,
        grid=None if grid is None else without_channels(grid, channels),
        spike_trains=tuple(trains),
        pnr_db=tuple(pnr_db),
        force=single(columns[:, forces[0]]) if forces else None,
        discarded_channels=tuple(discard_channels),
        discarded_units=tuple(discard_units),
    )
    return noticed(recording, discard_units)


def _columns(file: MatFile) -> NDArray[Any]:
    data = _inner(file.get("Data"))
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.dtype.kind not in "fiu":
        raise ValueError(
            f"{file.name}: 'Data' is no single table of samples by columns, it is {found(data)}; "
            "export one recording at a time"
        )
    return data


def _descriptions(file: MatFile, n_columns: int) -> list[str]:
    value = file.get("Description")
    cells = list(value.ravel()) if isinstance(value, np.ndarray) and value.dtype == object else [value]
    if isinstance(value, Text):  # a row of letters per column
        cells = [Text((line,)) for line in value.lines]
    texts = []
    for column, cell in enumerate(map(_inner, cells), start=1):
        if not isinstance(cell, Text) and not (isinstance(cell, np.ndarray) and cell.size == 0):
            raise ValueError(f"{file.name}: 'Description' of column {column} must be text, found {found(cell)}")
        texts.append(cell.lines[0].strip() if isinstance(cell, Text) and cell.lines else "")
    if len(texts) != n_columns:
        raise ValueError(f"{file.name}: {len(texts)} descriptions for {n_columns} columns of data")
    return texts


def _inner(value: Value) -> Value:
    """Return what lies in a cell alone."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.item()
    return value


def _train(name: str, unit: int, column: NDArray[Any]) -> NDArray[np.int64]:
    if not np.all((column == 0) | (column == 1)):
        raise ValueError(f"{name}: the spike train of motor unit {unit} holds values other than 0 and 1")
    return np.flatnonzero(column)


def _pnr_db(name: str, unit: int, source: NDArray[Any], train: NDArray[np.int64]) -> float:
    if not np.isfinite(source).all():
        raise ValueError(f"{name}: the source of motor unit {unit} holds a value that is not finite")
    with np.errstate(over="ignore"):
        return pulse_to_noise_db(source, train, MAX_LAG)


def _grid(description: str, n_channels: int) -> NDArray[np.int64] | None:
    """Return the 13x5 grid (row, column) -> channel of the electrode arrays whose order is known, else None."""
    if not GRID_13X5.search(description) or n_channels != 64:
        return None
    places = np.concatenate([[-1], np.arange(64)]).reshape(5, 13).T
    places[:, 1::2] = places[::-1, 1::2]
    return places
