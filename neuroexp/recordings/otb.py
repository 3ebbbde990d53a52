"""OTBioLab+ `.mat` exports: the signals, spike trains and force of a decomposed HD-sEMG recording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.decomposed import enough_pnr, noticed
from neuroexp.data.recording import Recording, keep, where, without_channels
from neuroexp.data.signals import pulse_to_noise_db
from neuroexp.data.voltages import factor
from neuroexp.matlab.matfile import MatFile, found, load, single
from neuroexp.matlab.parser import Text, Value
from neuroexp.recordings.otb_columns import Columns, columns

NEEDED = ("Data", "Description", "SamplingFrequency")
READS = "recording=otb reads the .mat file that OTBioLab+ exports, with Data, Description and SamplingFrequency"
MAX_LAG = 20  # samples between pulses and discharges in one file; 8 in the openhdemg project's sample
# Serpentine numbering: electrode 1 next to the missing corner (row 0, column 0), down the first column, up the second.
GRID_13X5 = re.compile(r"GR0[48]MM1305")


def read(
    path: str,
    discard_channels: Sequence[int] = (),
    discard_units: Sequence[int] = (),
    force: bool = True,
    missing: str = "",
    min_pnr_db: float | None = None,
    scale_uv: float = 1,
) -> Recording:
    """Read one export of OTBioLab+.

    Parameters
    ----------
    path : str
        The `.mat` file.
    discard_channels, discard_units : sequence of int
        Channels and motor units to leave out, numbered from 1 in the order of the file.
    force : bool
        False leaves the force out.
    missing : str
        What to advise when the file is not there.
    min_pnr_db : float, optional
        Leave out motor units of a lower pulse-to-noise ratio, in dB.
    scale_uv : float
        Multiplies the microvolts that the file describes, where it does not tell the truth.

    Returns
    -------
    Recording
        In microvolts, whatever the unit of the file. Columns that are not of the electrode grid are left out, with a note.

    Raises
    ------
    FileNotFoundError, ValueError
        Each with one sentence that names the file.
    """
    scale = factor(scale_uv)
    file = load(path, NEEDED, READS, missing)
    file.need(NEEDED, "OTBioLab+ export", {"MUPulses": "recording=demuse reads DEMUSE's results"})
    rate_hz = file.rate_hz("SamplingFrequency")
    data = _table(file, rate_hz)
    descriptions = _descriptions(file, *data.shape)
    known = columns(descriptions, file.name)
    channels = keep(len(known.channels), discard_channels, "channel", file.name)
    channels = np.setdiff1d(channels, known.strangers)
    if not len(channels):
        raise ValueError(f"{file.name}: discarding all channels of the electrode grid leaves nothing")
    units = keep(len(known.spikes), discard_units, "motor unit", file.name)
    _check_units(file.name, data, known, units)
    ratios = _ratios(data, known, units)
    units, said = enough_pnr(ratios, units, min_pnr_db, file.stem)
    trains = [np.flatnonzero(data[:, known.spikes[unit]]) for unit in units]
    effort = known.force if force else None
    recording = Recording(
        name=file.stem,
        signal=_signal(data, known, channels, scale),
        rate_hz=rate_hz,
        sha256=file.sha256,
        grid=_grid(descriptions, known, channels),
        spike_trains=tuple(trains),
        pnr_db=tuple(float(ratio) for ratio in ratios[units] if not np.isnan(ratio)) if len(ratios) else (),
        force=None if effort is None else single(data[:, effort]),
        force_unit=known.force_unit,
        discarded_channels=_missing(len(known.channels), channels),
        discarded_units=_missing(len(known.spikes), units),
        notes=tuple(f"{file.stem}: {note}" for note in known.notes) + said,
    )
    return noticed(recording, discard_units)


def _missing(count: int, kept: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the numbers, from 1, of what is not kept."""
    return tuple((np.setdiff1d(np.arange(count), kept) + 1).tolist())


def _signal(data: NDArray[Any], known: Columns, channels: NDArray[np.int64], scale: float) -> NDArray[np.float32]:
    """Return the channels (time, channel) in microvolts."""
    signal = single(data[:, np.array(known.channels)[channels]])
    factors = np.array(known.factors)[channels] * scale
    if np.any(factors != 1):
        signal *= factors.astype(np.float32)
    return signal


def _ratios(data: NDArray[Any], known: Columns, units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the pulse-to-noise ratio of each unit, NaN for one that is not in `units` or never discharges.

    None at all without a source for every unit.
    """
    if len(known.sources) != len(known.spikes):
        return np.empty(0)
    ratios = np.full(len(known.spikes), np.nan)
    for unit in units:
        train = np.flatnonzero(data[:, known.spikes[unit]])
        if len(train):
            with np.errstate(over="ignore"):
                ratios[unit] = pulse_to_noise_db(data[:, known.sources[unit]], train, MAX_LAG)
    return ratios


def _table(file: MatFile, rate_hz: float) -> NDArray[Any]:
    """Return the samples by columns; raises ValueError where no column has a number for a while."""
    data = _inner(file.get("Data"))
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.dtype.kind not in "fiu":
        raise ValueError(
            f"{file.name}: 'Data' is no single table of samples by columns, it is {found(data)}; "
            "export one recording at a time"
        )
    gone = np.isnan(data[:, 0]) if data.shape[1] else np.zeros(len(data), bool)
    gone[gone] = np.isnan(data[gone]).all(axis=1)
    if said := where(gone, rate_hz):
        raise ValueError(
            f"{file.name}: in {said} every column of 'Data' is NaN, as where nothing was recorded; export the time without "
            "them, or cut these rows off"
        )
    return data


def _descriptions(file: MatFile, n_samples: int, n_columns: int) -> list[str]:
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
        turned = "; 'Data' lies on its side, in MATLAB Data = Data.' turns it" if len(texts) == n_samples else ""
        raise ValueError(f"{file.name}: {len(texts)} descriptions for {n_columns} columns of data{turned}")
    return texts


def _inner(value: Value) -> Value:
    """Return what lies in a cell alone."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.item()
    return value


def _check_units(name: str, data: NDArray[Any], known: Columns, units: NDArray[np.int64]) -> None:
    """Raise ValueError, naming all motor units at fault, when a spike train is not 0 and 1 or a source is not finite."""
    sources = known.sources if len(known.sources) == len(known.spikes) else []
    for places, valid, what, words in (
        (known.spikes, _binary, "spike train", "values other than 0 and 1"),
        (sources, np.isfinite, "source", "a value that is not finite"),
    ):
        wrong = [int(unit) for unit in units if places and not valid(data[:, places[unit]]).all()]
        if not wrong:
            continue
        column = data[:, places[wrong[0]]]
        sample = int(np.argmin(valid(column)))
        others = f", and {len(wrong) - 1} more are like it" if len(wrong) > 1 else ""
        good = {int(unit) for unit in units} - set(wrong)
        out = ",".join(str(unit + 1) for unit in range(len(known.spikes)) if unit not in good)
        raise ValueError(
            f"{name}: the {what} of motor unit {wrong[0] + 1} holds {words}, first {column[sample]:g} at sample {sample} "
            f"(counted from 0){others}; "
            f"{f'recording.discard_units=[{out}] leaves them out' if good else 'export the decomposition anew'}"
        )


def _binary(column: NDArray[Any]) -> NDArray[np.bool_]:
    return (column == 0) | (column == 1)


def _grid(descriptions: Sequence[str], known: Columns, channels: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the 13x5 grid (row, column) -> channel of the electrode arrays whose order is known, else None.

    An electrode's place follows from the number in its description, in whatever order the columns are.
    """
    places = np.setdiff1d(np.arange(len(known.channels)), known.strangers)  # of the whole grid
    electrodes = np.array(known.electrodes)[places]
    if (
        not GRID_13X5.search(descriptions[known.channels[places[0]]])
        or not len(places) == len(np.unique(electrodes)) == 64
    ):
        return None
    grid = np.concatenate([[-1], np.argsort(electrodes)]).reshape(5, 13).T
    grid[:, 1::2] = grid[::-1, 1::2]
    return without_channels(grid, np.flatnonzero(np.isin(places, channels)))
