"""MATLAB files of version 4 to 7.2: their variables, and one clear sentence for each that is not what a reader needs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.machine import kinds
from neuroexp.machine.foreign import LONGEST_NAME, existing, physical_bytes
from neuroexp.matlab import parser
from neuroexp.matlab.parser import Text, Unread, Value
from neuroexp.terminal.shown import plain

RATES_HZ = (100.0, 1e7)  # below, no muscle or nerve could be told
MOST_NAMES = 12  # of variables in a sentence


@dataclass(frozen=True)
class MatFile:
    """A MATLAB file's name, digest and variables; every method raises ValueError that names the file and the variable."""

    name: str  # as it may be shown
    stem: str  # of its name, the same
    sha256: str
    names: tuple[str, ...]  # of all its variables, as they are in the file
    contents: Mapping[str, Value]  # those of them that were asked for

    def need(self, keys: Sequence[str], kind: str, hints: Mapping[str, str]) -> None:
        """Check that the variables `keys` are there; `hints` say what a file is that has another variable instead."""
        for key in keys:
            if key not in self.contents:
                found = [plain(name, 40) for name in sorted(self.names)]
                more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
                listed = ", ".join(found[:MOST_NAMES]) or "nothing"
                advice = "".join(f"; {hint}" for other, hint in hints.items() if other in self.names)
                raise ValueError(
                    f"{self.name}: no variable '{key}', so this is no {kind} (found: {listed}{more}){advice}"
                )

    def get(self, key: str) -> Value:
        """Return a variable; no numbers, an array (0, 0), when it is not there."""
        return self.contents.get(key, np.empty((0, 0)))

    def numbers(self, what: str, value: Value, valid: str) -> NDArray[Any]:
        """Return real numbers; else the sentence is that `what` must be `valid`."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise ValueError(f"{self.name}: {what} must be {valid}, found {found(value)}")
        return value

    def vector(self, what: str, value: Value, valid: str) -> NDArray[Any]:
        """Return the numbers (n,) of a row or a column; of an empty array, none."""
        numbers = self.numbers(what, value, valid)
        if numbers.size and numbers.size != max(numbers.shape, default=1):
            raise ValueError(f"{self.name}: {what} must be {valid}, found {found(value)}")
        return numbers.ravel(order="F")

    def number(self, key: str) -> float:
        """Return the one finite number that a variable holds."""
        text = self.get(key)
        if isinstance(text, Text):
            number = re.match(r"\s*(\d+(?:\.\d+)?)", text.lines[0] if text.lines else "")
            advice = f"; in MATLAB {key} = {number[1]} makes it one" if number else ""
            raise ValueError(f"{self.name}: '{key}' must be one number, found {found(text)}{advice}")
        value = self.vector(f"'{key}'", text, "one number")
        if value.size != 1 or not np.isfinite(value[0]):
            what = f"it holds {value.size} values" if value.size != 1 else f"found {value[0]:g}"
            raise ValueError(f"{self.name}: '{key}' must be one number, {what}")
        return float(value[0])

    def rate_hz(self, key: str) -> float:
        """Return a sampling rate."""
        rate, (low, high) = self.number(key), RATES_HZ
        if not low <= rate <= high:
            other = f": if that is kHz, in MATLAB {key} = {1000 * rate:g}" if low <= 1000 * rate <= 1000 * low else ""
            raise ValueError(
                f"{self.name}: '{key}' says that the sampling rate is {rate:g} Hz; valid is {low:g} to {high:,.0f}{other}"
            )
        return rate


def load(path: str, wanted: Sequence[str], reads: str, missing: str = "") -> MatFile:
    """Read the variables `wanted` of a `.mat` file; `missing` is appended to the sentence when it is not there.

    `reads` says what is read here, for when it is a file of another kind. It is parsed in a process of its own (see
    `parser`). Raises FileNotFoundError or ValueError, naming the file and what is wrong with it.
    """
    file = existing(path, missing)
    name = plain(file, LONGEST_NAME)
    size = file.stat().st_size
    if size > physical_bytes():
        raise ValueError(
            f"{name} is larger ({size / 1e9:.1f} GB) than this machine's memory ({physical_bytes() / 1e9:.1f} GB)"
        )
    try:
        with file.open("rb") as opened:
            _check(opened.read(kinds.HEAD), file, name, reads)
            with parser.started() as process:
                opened.seek(0)
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()  # while the process starts
                names, contents = process.parse(file, name, wanted)
    except OSError as error:  # a disk or a network that fails
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    return MatFile(name, plain(file.stem), sha256, tuple(n for n in names if not n.startswith("__")), contents)


def single(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return numbers in single precision, row by row; what it cannot hold becomes infinite, which a recording names."""
    with np.errstate(over="ignore", invalid="ignore"):  # invalid is a NaN of the signalling kind, no less a NaN
        return np.ascontiguousarray(values, dtype=np.float32)


def found(value: Value) -> str:
    """Return in words what a variable is."""
    if isinstance(value, Text):
        return f"the text '{plain(' '.join(value.lines), 40)}'" if len(value.lines) == 1 else "text"
    if isinstance(value, Unread):
        return value.kind
    size = " x ".join(map(str, value.shape))
    if value.dtype == object:
        return f"a cell array of {size}"
    kind = {"c": "complex number", "b": "logical value"}.get(value.dtype.kind, "number")
    return f"one {kind}" if value.size == 1 else f"{size} {kind}s"


def _check(head: bytes, file: Path, name: str, reads: str) -> None:
    """Refuse a file by its first bytes."""
    if head[124:128] in kinds.MATLAB and not file.name.lower().endswith(kinds.UNFINISHED):
        return
    if said := kinds.said(file, head, reads):
        raise ValueError(f"{name} {said}")
    if 0 not in head[:4]:  # as version 4 has
        begins = plain(head[:20].decode("latin1"), 60)
        raise ValueError(
            f"{name} is no MATLAB file (it begins with '{begins}'), valid are those of version 4 to 7.2: {reads}"
        )
