"""MATLAB files of version 4 to 7.2, with one clear sentence for each way in which one cannot be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io


@dataclass(frozen=True)
class MatFile:
    """A MATLAB file's name, digest and variables."""

    name: str
    sha256: str
    contents: dict[str, np.ndarray]


def load(path: str, missing: str = "") -> MatFile:
    """Read a `.mat` file; `missing` is appended to the sentence when it is not there.

    Raises FileNotFoundError or ValueError, naming the file and what is wrong with it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "is not there"
        raise FileNotFoundError(f"{file} {what}{'; ' + missing if missing else ''}")
    raw = file.read_bytes()
    if raw[:8] == b"\x89HDF\r\n\x1a\n" or raw[124:128] == b"\x00\x02IM":
        raise ValueError(f"{file}: MATLAB 7.3 (HDF5) is not read here; save it in MATLAB with save(..., '-v7')")
    try:
        contents = scipy.io.loadmat(file)
    except Exception as error:  # SciPy raises a dozen kinds of error, of its own and of zlib, on broken files
        raise ValueError(
            f"{file}: not a whole MATLAB file ({len(raw)} bytes read; {str(error) or type(error).__name__})"
        ) from error
    variables = {name: value for name, value in contents.items() if not name.startswith("__")}
    return MatFile(str(file), hashlib.sha256(raw).hexdigest(), variables)
