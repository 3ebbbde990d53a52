"""Signatures of compound action potentials that were cut already: MATLAB files `Training_Fold{1,2,3}_RAW.mat`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuroexp.data.cuff import CLASSES, CONTACTS, RINGS, Signatures
from neuroexp.matlab.matfile import MatFile, found, load, single

WINDOW = 100  # samples in a signature
ROWS = RINGS * CONTACTS * WINDOW
NEEDED = tuple(f"{part}_data_{what}" for part in ("training", "test") for what in ("rat", "labels"))
READS = f"recording=signatures reads MATLAB files such as Training_Fold1_RAW.mat, with {', '.join(NEEDED)}"


def read(path: str | None, order: str = "ring", rate_hz: float = 30000, missing: str = "") -> Signatures:
    """Read signatures that are cut already: `training_data_rat` and `test_data_rat` (5600, n_caps) with their labels in 1..3.

    A column is assumed to hold one channel after another, each with its 100 samples in order of time, as the code that
    came with these files takes it. Where on a time axis a signature was cut is not known: `first` and `n_samples` lay the
    training and then the test signatures end to end.

    Parameters
    ----------
    path : str
        The `.mat` file.
    order : str
        How the channels follow in the file: "ring" by ring, or "contact" by contact as in the folder `..._ConPerRing`.
    rate_hz : float
        Sampling rate in hertz, which the file does not say.
    missing : str
        What to advise without a file.

    Returns
    -------
    Signatures
        Always ring by ring.

    Raises
    ------
    FileNotFoundError, ValueError
        Each with one sentence.
    """
    if not path:
        sentence = "recording=signatures needs a file: add recording.path=Training_Fold1_RAW.mat"
        raise ValueError(f"{sentence}; {missing}" if missing else sentence)
    if order not in ("ring", "contact"):
        raise ValueError(f"recording.order={order} must be ring or contact")
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ValueError(f"recording.rate_hz={rate_hz} must be positive")
    file = load(path, NEEDED, READS, missing)
    file.need(NEEDED, "file of signatures", {})
    windows = [_windows(file, f"{part}_data_rat", order) for part in ("training", "test")]
    labels = [
        _labels(file, f"{part}_data_labels", len(cut)) for part, cut in zip(("training", "test"), windows, strict=True)
    ]
    n_caps = sum(len(cut) for cut in windows)
    return Signatures(
        name=file.stem,
        sha256=file.sha256,
        rate_hz=rate_hz,
        windows=np.concatenate(windows),
        label=np.concatenate(labels),
        first=np.arange(n_caps) * WINDOW,
        n_samples=n_caps * WINDOW,
        test=np.arange(n_caps) >= len(windows[0]),
    )


def _windows(file: MatFile, name: str, order: str) -> NDArray[np.float32]:
    """Return signatures (cap, time, channel), channels ring by ring."""
    columns = file.get(name)
    if not isinstance(columns, np.ndarray) or columns.ndim != 2 or columns.dtype.kind not in "fiu":
        raise ValueError(f"{file.name}: '{name}' is no table of numbers, it is {found(columns)}")
    if len(columns) != ROWS:
        channels = f" ({len(columns) // WINDOW} channels)" if len(columns) and len(columns) % WINDOW == 0 else ""
        raise ValueError(
            f"{file.name}: '{name}' has {len(columns)} rows{channels}, "
            f"{RINGS * CONTACTS} channels of {WINDOW} samples make {ROWS}"
        )
    values = single(columns)
    broken = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if len(broken):
        raise ValueError(f"{file.name}: column {broken[0] + 1} of '{name}' holds a value that is not finite")
    if order == "ring":
        places = values.T.reshape(-1, RINGS, CONTACTS, WINDOW)
    else:
        places = values.T.reshape(-1, CONTACTS, RINGS, WINDOW).swapaxes(1, 2)
    return np.ascontiguousarray(np.moveaxis(places, 3, 1)).reshape(-1, WINDOW, RINGS * CONTACTS)


def _labels(file: MatFile, name: str, n_caps: int) -> NDArray[np.int64]:
    labels = file.numbers(f"'{name}'", file.get(name), "one number for each signature").ravel()
    if len(labels) != n_caps:
        raise ValueError(
            f"{file.name}: '{name}' holds {len(labels)} values for {n_caps} signatures, it must be one each"
        )
    valid = np.arange(1, len(CLASSES) + 1)
    with np.errstate(invalid="ignore"):  # not a number in single precision
        foreign = labels[~np.isin(labels, valid)]
    numbered = ", ".join(f"{number} {which}" for number, which in enumerate(CLASSES, start=1))
    if len(foreign):
        raise ValueError(f"{file.name}: '{name}' holds {foreign[0]:g}, labels are {numbered}")
    absent = np.setdiff1d(valid, labels)
    if len(absent):
        raise ValueError(f"{file.name}: '{name}' never holds {absent[0]}, but labels are {numbered}")
    return labels.astype(np.int64) - 1
