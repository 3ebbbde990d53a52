"""Intan RHD2000 recordings of a nerve cuff: a folder per class of stimulus, each with `.rhd` files that follow on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from neuroexp.data.cuff import CLASSES, CONTACTS, COPIES, GRID, RINGS, Session
from neuroexp.data.recording import Recording
from neuroexp.machine import kinds, memory
from neuroexp.machine.foreign import LONGEST_NAME
from neuroexp.recordings.rhd import File, open_file
from neuroexp.recordings.rhd_order import check_once, ordered, runs_on, seams
from neuroexp.terminal.shown import plain

CHANNELS = RINGS * CONTACTS
READS = "recording=intan reads a rat's folder with the folders Dorsiflexion, Plantarflexion and Pricking"
UNUSED = 8  # inputs at the end of a file of 64: two chips of 32, of which the cuff needs 56


def read(path: str | None, rate_hz: float = 30000, fill_channels: Sequence[int] = (), missing: str = "") -> Session:
    """Read a rat's folder with the folders Dorsiflexion, Plantarflexion and Pricking; their files join in order of time.

    Headers and digests are read now, voltages when a class is asked for. Where the time stamps of the files, or of one
    file, do not run on, the recording has a seam.

    Parameters
    ----------
    path : str
        The rat's folder.
    rate_hz : float
        The sampling rate that the files must have.
    fill_channels : sequence of int
        Channels, numbered from 1, that become the mean of the nearest contacts to either side, around their ring, that are not
        filled themselves.
    missing : str
        What to advise without a folder.

    Returns
    -------
    Session

    Raises
    ------
    FileNotFoundError, ValueError
        Each with one sentence that names the file.
    """
    folder = _folder(path, missing)
    name, fills = plain(folder.name), _fills(fill_channels)
    classes = {which: [open_file(file) for file in _files(folder, which)] for which in CLASSES}
    for files in classes.values():
        _check(files)
    _check_rate([files[0] for files in classes.values()], rate_hz)
    _check_memory(folder, classes)
    check_once(classes, name)
    notes, breaks = [], {}
    for which, files in classes.items():
        in_order, said = ordered(files, which)
        classes[which] = in_order
        breaks[which], interrupted = seams(in_order, which)
        notes += [f"{name}: {sentence}" for sentence in (*said, *interrupted)]
    sha256 = _digest_all(folder, [file.path for files in classes.values() for file in files], fills, breaks)

    def voltages(which: str) -> Recording:
        stops = np.cumsum([file.n_samples for file in classes[which]])
        signal = np.empty((stops[-1], CHANNELS), np.float32)  # allocated once, for it may be gigabytes
        for file, stop in zip(classes[which], stops, strict=True):
            file.voltages(signal[stop - file.n_samples : stop])
        for channel, (before, after) in fills.items():
            signal[:, channel] = (signal[:, before] + signal[:, after]) / 2
        return Recording(
            name=f"{name} {which}",
            signal=signal,
            rate_hz=rate_hz,
            sha256=sha256,
            grid=GRID,
            remedy="replace {} by neighbours with recording.fill_channels",
            filled_channels=tuple(fill_channels),
            seams=breaks[which],
        )

    return Session(name=name, sha256=sha256, read=voltages, notes=tuple(notes))


def files(folder: Path) -> list[Path]:
    """Return the files of a rat's folder that `read` reads, in the order in which it joins them.

    Raises FileNotFoundError or ValueError where it would.
    """
    return [file.path for files in _in_order(folder) for file in files]


def means(folder: Path) -> list[str]:
    """Return what tells how `read` reads a rat's folder apart from how earlier versions did: filters cross no seam now."""
    joins = [pair for files in _in_order(folder) for pair in pairwise(files)]
    return [] if all(runs_on(*pair) for pair in joins) else ["seams"]


def _in_order(folder: Path) -> list[list[File]]:
    return [ordered([open_file(file) for file in _files(folder, which)], which)[0] for which in CLASSES]


def _fills(numbers: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return from where each channel is filled, all counted from 0."""
    filled = {number - 1 for number in numbers}
    fills = {}
    for channel in sorted(filled):
        if not 0 <= channel < CHANNELS:
            raise ValueError(f"recording.fill_channels: {channel + 1} is no channel, they are numbered 1 to {CHANNELS}")
        ring, contact = divmod(channel, CONTACTS)
        good = [int(other) for other in np.roll(GRID[ring], -contact) if other not in filled]  # once around the ring
        if not good:
            raise ValueError(f"recording.fill_channels: no contact of ring {ring + 1} is left to fill the others from")
        fills[channel] = (good[-1], good[0])
    return fills


def _folder(path: str | None, missing: str) -> Path:
    """Return a rat's folder with its links followed."""
    advice = f"; {missing}" if missing else ""
    if not path:
        raise FileNotFoundError(f"recording=intan needs a rat's folder{advice}")
    name = plain(path, LONGEST_NAME)
    try:
        folder = Path(path).expanduser().resolve()
        if folder.is_dir():
            return folder
        what = _no_folder(folder) if folder.exists() else "is not there"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except (ValueError, TypeError, RuntimeError):  # a NUL inside, no text, a link to itself, the home of nobody
        what = "is no name of a folder"
    raise FileNotFoundError(f"{name} {what}{advice}")


def _no_folder(path: Path) -> str:
    """Return what is where a rat's folder should be."""
    unknown = f"is a file, not a folder; {READS}"
    if not path.is_file():  # a device or a pipe, which is not opened
        return unknown
    if path.suffix.lower() == ".rhd":
        return f"is one file; {READS}, each with .rhd files"
    return kinds.of(path, READS) or unknown


def _files(folder: Path, name: str) -> list[Path]:
    folders = [entry for entry in _entries(folder) if entry.is_dir()]
    alike = [entry for entry in folders if entry.name.lower() == name]
    if len(alike) != 1:
        found = ", ".join(plain(entry.name, 40) for entry in folders[:10]) or "none"
        raise FileNotFoundError(
            f"{plain(folder, LONGEST_NAME)} must hold one folder named {name.capitalize()}, it holds {len(alike)} "
            f"(folders found: {found}){_above(folder)}"
        )
    for entry in _entries(alike[0]):
        if entry.suffix.lower() in kinds.UNFINISHED and entry.stem.lower().endswith(".rhd"):
            raise ValueError(f"{plain(entry, LONGEST_NAME)} {kinds.of(entry, READS)}")
    # hidden files are not meant: macOS leaves ._1.rhd beside 1.rhd in archives
    files = [file for file in _entries(alike[0]) if file.suffix.lower() == ".rhd" and not file.name.startswith(".")]
    if not files:
        others = ", ".join(plain(entry.name, 40) for entry in _entries(alike[0])[:10]) or "nothing"
        raise FileNotFoundError(
            f"{plain(alike[0], LONGEST_NAME)} holds no .rhd file (found: {others}), each class needs at least one"
        )
    return files


def _above(folder: Path) -> str:
    """Return the advice to give the folder above, where this is the folder of a class."""
    inside = folder.name.capitalize() in CLASSES or any(entry.suffix.lower() == ".rhd" for entry in _entries(folder))
    return f"; give the folder above, {plain(folder.parent, LONGEST_NAME)}" if inside else ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{plain(folder, LONGEST_NAME)} cannot be read: {error.strerror}") from None


def _check_memory(folder: Path, classes: dict[str, list[File]]) -> None:
    """Refuse a class that this machine has not the memory to prepare, before its files are read to the end."""
    for which, files in classes.items():
        n_samples, each = sum(file.n_samples for file in files), CHANNELS * 4 * COPIES
        fits_s = memory.round_down(memory.spare() / each / files[0].rate_hz)
        advice = f"leave files out of its folder, {fits_s} s of recording would fit"
        memory.check(n_samples * each, f"{plain(folder, LONGEST_NAME)}: {which}", advice)


def _check_rate(firsts: list[File], rate_hz: float) -> None:
    """Refuse another sampling rate than the one that is set, with everything that has to be set for it."""
    for file in firsts[1:]:
        if file.rate_hz != firsts[0].rate_hz:
            raise ValueError(
                f"{file.name} is sampled at {file.rate_hz:g} Hz, {firsts[0].name} at {firsts[0].rate_hz:g} Hz; "
                "the classes of a rat must agree, or their rate tells them apart"
            )
    found = firsts[0].rate_hz
    if found != rate_hz:
        # the reader does not know the band, and half of a higher rate leaves room for every band that fitted before
        band = f", for which dataset.preprocessing.band_hz must end below {found / 2:g} Hz" if found < rate_hz else ""
        raise ValueError(
            f"{firsts[0].name} is sampled at {found:g} Hz, recording.rate_hz is {rate_hz:g}; if that is right, set "
            f"recording.rate_hz={found:g} and dataset.rate_hz={found:g}: the window then counts samples at that rate{band}"
        )


def _check(files: list[File]) -> None:
    for file in files[1:]:
        if file.rate_hz != files[0].rate_hz or len(file.channels) != len(files[0].channels):
            raise ValueError(
                f"{file.name} has {len(file.channels)} channels at {file.rate_hz:g} Hz, {plain(files[0].path.name)} beside it "
                f"{len(files[0].channels)} at {files[0].rate_hz:g} Hz; the files of a class must agree"
            )
    if len(files[0].channels) not in (CHANNELS, CHANNELS + UNUSED):
        raise ValueError(
            f"{files[0].name} has {len(files[0].channels)} amplifier channels; a cuff of {RINGS} rings with {CONTACTS} "
            f"contacts has {CHANNELS}, or {CHANNELS + UNUSED} of which the last {UNUSED} are not used"
        )


def _digest_all(
    folder: Path, files: list[Path], fills: dict[int, tuple[int, int]], breaks: Mapping[str, Sequence[int]]
) -> str:
    """Return the digest of all names and contents.

    Filled channels and seams count: what is prepared from them is another matter.
    """
    total = hashlib.sha256(f"{fills}\n".encode() if fills else b"")
    if any(breaks.values()):
        total.update(f"{dict(breaks)}\n".encode())
    bar = tqdm(files, f"checking {plain(folder.name)}", unit="file", leave=False, disable=not sys.stderr.isatty())
    for file in bar:
        status = file.stat()
        content = _digest(str(file), status.st_size, status.st_mtime_ns)
        total.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


@cache
def _digest(path: str, size: int, changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
