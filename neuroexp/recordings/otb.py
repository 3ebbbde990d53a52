"""OTBioLab+ `.mat` exports: the signals, spike trains and force of a decomposed HD-sEMG recording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.matfile import load
from neuroexp.recording import Recording, keep, without_channels
from neuroexp.signals import pulse_to_noise_db

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
    file = load(path, missing)
    columns, rate_hz = _columns(file.name, file.contents)
    descriptions = _descriptions(file.name, file.contents, columns.shape[1])
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
        pairs = zip(units, trains, strict=True)
        pnr_db = [pulse_to_noise_db(columns[:, sources[u]], train, MAX_LAG) for u, train in pairs if len(train)]
    return Recording(
        name=Path(file.name).stem,
        signal=np.ascontiguousarray(columns[:, np.array(emg)[channels]], dtype=np.float32),
        rate_hz=rate_hz,
        sha256=file.sha256,
        grid=None if grid is None else without_channels(grid, channels),
        spike_trains=tuple(trains),
        pnr_db=tuple(pnr_db),
        force=np.ascontiguousarray(columns[:, forces[0]], dtype=np.float32) if forces else None,
        discarded_channels=tuple(discard_channels),
        discarded_units=tuple(discard_units),
    )


def _columns(name: str, contents: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], float]:
    absent = [key for key in ("Data", "Description", "SamplingFrequency") if key not in contents]
    if absent:
        raise ValueError(
            f"{name}: no variable '{absent[0]}', so this is no OTBioLab+ export (found: {_found(contents)})"
            + "; recording=demuse reads DEMUSE's results" * ("MUPulses" in contents)
        )
    data = contents["Data"]
    while data.dtype == object and data.size == 1:
        data = data.item()
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.dtype.kind not in "fiu":
        raise ValueError(f"{name}: 'Data' is no single table of samples by columns; export one recording at a time")
    rate = np.asarray(contents["SamplingFrequency"]).ravel()
    if rate.size != 1 or rate.dtype.kind not in "fiu":
        raise ValueError(f"{name}: 'SamplingFrequency' holds {rate.size} values, there must be one number")
    return data, float(rate[0])


def _descriptions(name: str, contents: dict[str, NDArray[Any]], n_columns: int) -> list[str]:
    texts = []
    for cell in contents["Description"].ravel():
        inner = np.asarray(cell).ravel()
        texts.append(str(inner[0]).strip() if inner.size else "")
    if len(texts) != n_columns:
        raise ValueError(f"{name}: {len(texts)} descriptions for {n_columns} columns of data")
    return texts


def _train(name: str, unit: int, column: NDArray[Any]) -> NDArray[np.int64]:
    if not np.all((column == 0) | (column == 1)):
        raise ValueError(f"{name}: the spike train of motor unit {unit} holds values other than 0 and 1")
    return np.flatnonzero(column)


def _grid(description: str, n_channels: int) -> NDArray[np.int64] | None:
    """Return the 13x5 grid (row, column) -> channel of the electrode arrays whose order is known, else None."""
    if not GRID_13X5.search(description) or n_channels != 64:
        return None
    places = np.concatenate([[-1], np.arange(64)]).reshape(5, 13).T
    places[:, 1::2] = places[::-1, 1::2]
    return places


def _found(contents: dict[str, NDArray[Any]]) -> str:
    return ", ".join(sorted(contents)) or "nothing"
