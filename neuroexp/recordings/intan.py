"""Intan RHD2000 recordings of a nerve cuff: a folder per class of stimulus, each with `.rhd` files that follow on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from neuroexp.cuff import CLASSES, CONTACTS, GRID, RINGS, Session
from neuroexp.recording import Recording

CHANNELS = RINGS * CONTACTS
UNUSED = 8  # inputs at the end of a file of 64: two chips of 32, of which the cuff needs 56
MAGIC = 0xC6912702  # the first four bytes of every RHD2000 file
ZERO, UV_PER_COUNT = 32768, 0.195  # of every RHD2000 amplifier
BLOCKS = 64  # converted at once, small enough for the processor's cache


@dataclass(frozen=True)
class _File:
    """One `.rhd` file whose header was read and whose size fits it."""

    path: Path
    rate_hz: float
    channels: list[str]  # of the amplifiers, as they are named in `block`
    start: int  # of the first block, bytes
    block: np.dtype[Any]  # the rest of the file is a whole number of these
    n_blocks: int
    n_samples: int

    def blocks(self, first: int, count: int) -> NDArray[Any]:
        """Return `count` blocks; only they are in memory, which a map of the file would not promise."""
        found = np.fromfile(self.path, self.block, count, offset=self.start + first * self.block.itemsize)
        if len(found) < count:
            raise ValueError(f"{self.path} has become shorter since its header was read")
        return found

    def voltages(self, signal: NDArray[np.float32]) -> None:
        """Write as many channels as it has into `signal` (time, channel), microvolts."""
        for first in range(0, self.n_blocks, BLOCKS):
            blocks = self.blocks(first, min(BLOCKS, self.n_blocks - first))
            place = first * (self.n_samples // self.n_blocks)
            part = signal[place : place + blocks["timestamp"].size]
            for channel in range(signal.shape[1]):
                part[:, channel] = blocks[self.channels[channel]].ravel()
            part -= ZERO
            part *= UV_PER_COUNT


def read(path: str | None, rate_hz: float = 30000, fill_channels: Sequence[int] = (), missing: str = "") -> Session:
    """Read a rat's folder with the folders Dorsiflexion, Plantarflexion and Pricking; their files join in order of name.

    Headers and digests are read now, voltages when a class is asked for. A channel in `fill_channels` (numbered from 1)
    becomes the mean of the nearest contacts to either side, around its ring, that are not filled themselves. `missing` is
    what to advise without a folder. Raises FileNotFoundError or ValueError, each with one sentence that names the file.
    """
    folder = Path(path or "").expanduser().resolve()
    if not path or not folder.is_dir():
        what = f"{folder} {'is a file, not a folder' if folder.exists() else 'is not there'}"
        what = what if path else "recording=intan needs a rat's folder"
        raise FileNotFoundError(f"{what}; {missing}" if missing else what)
    fills = _fills(fill_channels)
    classes = {name: [_open(file) for file in _files(folder, name)] for name in CLASSES}
    for files in classes.values():
        _check(files, rate_hz)
    sha256 = _digest_all(folder, [file.path for files in classes.values() for file in files], fills)

    def voltages(which: str) -> Recording:
        stops = np.cumsum([file.n_samples for file in classes[which]])
        signal = np.empty((stops[-1], CHANNELS), np.float32)  # allocated once, for it may be gigabytes
        for file, stop in zip(classes[which], stops, strict=True):
            file.voltages(signal[stop - file.n_samples : stop])
        for channel, (before, after) in fills.items():
            signal[:, channel] = (signal[:, before] + signal[:, after]) / 2
        return Recording(
            name=f"{folder.name} {which}",
            signal=signal,
            rate_hz=rate_hz,
            sha256=sha256,
            grid=GRID,
            remedy="replace {} by neighbours with recording.fill_channels",
            filled_channels=tuple(fill_channels),
        )

    return Session(name=folder.name, sha256=sha256, read=voltages)


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


def _files(folder: Path, name: str) -> list[Path]:
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    alike = [entry for entry in folders if entry.name.lower() == name]
    if len(alike) != 1:
        found = ", ".join(entry.name for entry in folders[:10]) or "none"
        raise FileNotFoundError(
            f"{folder} must hold one folder named {name.capitalize()}, it holds {len(alike)} (folders found: {found})"
        )
    # hidden files are not meant: macOS leaves ._1.rhd beside 1.rhd in archives
    files = sorted(file for file in alike[0].glob("[!.]*") if file.suffix.lower() == ".rhd")
    if not files:
        raise FileNotFoundError(f"{alike[0]} holds no .rhd file, each class needs at least one")
    return files


def _open(path: Path) -> _File:
    try:
        from neo.rawio.intanrawio import read_rhd  # noqa: PLC0415  # half a second, and an extra
    except ImportError as error:
        raise ValueError("recording=intan needs the package neo: pip install 'neuroexp[intan]'") from error

    size = path.stat().st_size
    with path.open("rb") as file:
        magic = int.from_bytes(file.read(4), "little")
    if magic != MAGIC:
        raise ValueError(f"{path} is no Intan RHD file ({size} bytes that begin with {magic:#x}, not {MAGIC:#x})")
    try:
        header, channels, fields, start, block_samples, _ = read_rhd(path, "header-attached")
        block = np.dtype(fields)
    except Exception as error:  # of any kind: neo indexes, decodes and looks up what a header cut short lacks
        raise ValueError(f"{path}: its header is cut short or damaged ({size} bytes)") from error
    n_blocks, beyond = divmod(size - start, block.itemsize)
    if beyond:
        raise ValueError(
            f"{path} is truncated: its last block lacks {block.itemsize - beyond} of {block.itemsize} bytes; copy it again"
        )
    if not n_blocks:
        raise ValueError(f"{path} holds no voltages, only a header (Intan's .dat files are not read here)")
    names = [channel["native_channel_name"] for channel in channels if channel["signal_type"] == 0]
    opened = _File(path, float(header["sampling_rate"]), names, start, block, n_blocks, n_blocks * int(block_samples))
    first = int(opened.blocks(0, 1)["timestamp"][0, 0])
    last = int(opened.blocks(n_blocks - 1, 1)["timestamp"][0, -1])
    if last - first + 1 != opened.n_samples:
        raise ValueError(
            f"{path}: its time stamps span {last - first + 1} samples, it holds {opened.n_samples}: the recording was "
            "interrupted; leave this file out of the folder"
        )
    return opened


def _check(files: list[_File], rate_hz: float) -> None:
    for file in files[1:]:
        if file.rate_hz != files[0].rate_hz or len(file.channels) != len(files[0].channels):
            raise ValueError(
                f"{file.path} has {len(file.channels)} channels at {file.rate_hz:g} Hz, {files[0].path.name} beside it "
                f"{len(files[0].channels)} at {files[0].rate_hz:g} Hz; the files of a class must agree"
            )
    if len(files[0].channels) not in (CHANNELS, CHANNELS + UNUSED):
        raise ValueError(
            f"{files[0].path} has {len(files[0].channels)} amplifier channels; a cuff of {RINGS} rings with {CONTACTS} "
            f"contacts has {CHANNELS}, or {CHANNELS + UNUSED} of which the last {UNUSED} are not used"
        )
    if files[0].rate_hz != rate_hz:
        raise ValueError(
            f"{files[0].path} is sampled at {files[0].rate_hz:g} Hz, recording.rate_hz is {rate_hz:g}; "
            f"set recording.rate_hz={files[0].rate_hz:g} if that is right"
        )


def _digest_all(folder: Path, files: list[Path], fills: dict[int, tuple[int, int]]) -> str:
    """Return the digest of all names and contents. Filled channels count: what is prepared from them is another matter."""
    total = hashlib.sha256(f"{fills}\n".encode() if fills else b"")
    bar = tqdm(files, f"checking {folder.name}", unit="file", leave=False, disable=not sys.stderr.isatty())
    for file in bar:
        status = file.stat()
        content = _digest(str(file), status.st_size, status.st_mtime_ns)
        total.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


@cache
def _digest(path: str, size: int, changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
