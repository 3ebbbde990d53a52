"""One Intan RHD2000 file: its header, its blocks of samples, and what tells whether another file holds the same ones."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.machine import kinds
from neuroexp.machine.foreign import LONGEST_NAME, existing
from neuroexp.terminal.shown import plain

MAGIC = 0xC6912702  # the first four bytes of every RHD2000 file
ZERO, UV_PER_COUNT = 32768, 0.195  # of every RHD2000 amplifier
HEADER_BYTES = 1 << 20  # in which every header ends: 1,024 channels take a tenth of it
RATES_HZ = (1.0, 1e6)
READS = "recording=intan reads .rhd files as Intan's own software writes them"
BLOCKS = 64  # converted at once, small enough for the processor's cache
MARKING = 8  # channels, spread over the cuff, by which samples are told apart
SHORTEST_S = 0.1  # mean stretch between jumps of the time stamps in a file that is of use
MARKED = 16  # one sample in so many is remembered, chosen by what it holds, so that a copy has the same ones


@dataclass(frozen=True)
class File:
    """One `.rhd` file whose header was read and whose size fits it."""

    path: Path
    name: str  # as it may be shown
    rate_hz: float
    channels: list[str]  # of the amplifiers, as they are named in `block`
    start: int  # of the first block, bytes
    block: np.dtype[Any]  # the rest of the file is a whole number of these
    n_blocks: int
    n_samples: int
    first: int  # time stamp
    last: int

    def blocks(self, first: int, count: int) -> NDArray[Any]:
        """Return `count` blocks; only they are in memory, which a map of the file would not promise."""
        try:
            found = np.fromfile(self.path, self.block, count, offset=self.start + first * self.block.itemsize)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.name} is no longer there") from None
        except OSError as error:
            raise ValueError(f"{self.name} cannot be read: {error.strerror or 'its disk fails'}") from None
        if len(found) < count:
            raise ValueError(f"{self.name} has become shorter since its header was read")
        return found

    @property
    def end(self) -> int:
        """The time stamp that would follow its last one."""
        return self.last + 1

    def marks(self) -> NDArray[np.uint64]:
        """Return what tells some of its samples apart, each once and in order; a copy of a sample has the same mark."""
        return self._scan()[0]

    def seams(self) -> list[tuple[int, int]]:
        """Return the samples whose time stamp does not follow on from the one before, each with how many are left out.

        The number is negative where time stamps step back. Raises ValueError when hardly any follow on.
        """
        _, places, steps = self._scan()
        if len(places) * SHORTEST_S * self.rate_hz > self.n_samples:
            raise ValueError(
                f"{self.name}: its time stamps jump {len(places)} times in {self.n_samples / self.rate_hz:.3g} s, so that "
                "nothing follows on in it; leave this file out of the folder"
            )
        return list(zip(places.tolist(), steps.tolist(), strict=True))

    def _scan(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        status = self.path.stat()
        return _scanned(str(self.path), status.st_size, status.st_mtime_ns)

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


def open_file(path: Path) -> File:
    """Read the header of a file and compare its size with it; raises FileNotFoundError or ValueError that name the file."""
    existing(path)
    status = path.stat()
    return _opened(path, status.st_size, status.st_mtime_ns)


@cache
def _opened(path: Path, size: int, changed_ns: int) -> File:
    name = plain(path, LONGEST_NAME)
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    magic = int.from_bytes(head[:4], "little")
    if magic != MAGIC:
        if said := kinds.said(path, head[: kinds.HEAD], READS):
            raise ValueError(f"{name} {said}")
        raise ValueError(f"{name} is no Intan RHD file ({size} bytes that begin with {magic:#x}, not {MAGIC:#x})")
    header = _header(head)
    if header is None:
        raise ValueError(f"{name}: its header is cut short or damaged ({size} bytes)")
    rate_hz, channels, start, block, block_samples = header
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise ValueError(f"{name}: its header is damaged: it says that the sampling rate is {rate_hz:g} Hz")
    n_blocks, beyond = divmod(size - start, block.itemsize)
    if beyond:
        raise ValueError(
            f"{name} is truncated: its last block lacks {block.itemsize - beyond} of {block.itemsize} bytes; copy it again"
        )
    if not n_blocks:
        raise ValueError(f"{name} holds no voltages, only a header (Intan's .dat files are not read here)")
    opened = File(path, name, rate_hz, channels, start, block, n_blocks, n_blocks * block_samples, 0, 0)
    first = int(opened.blocks(0, 1)["timestamp"][0, 0])
    last = int(opened.blocks(n_blocks - 1, 1)["timestamp"][0, -1])
    return replace(opened, first=first, last=last)


def _header(head: bytes) -> tuple[float, list[str], int, np.dtype[Any], int] | None:
    """Return rate, amplifier channels, length and block of the header at the start of a file; None when it is damaged.

    neo reads on for as many channels as a header says, so that it is given no more than a header can be.
    """
    try:
        from neo.rawio.intanrawio import read_rhd  # noqa: PLC0415  # half a second, and an extra
    except ImportError as error:
        raise ValueError("recording=intan needs the package neo: pip install 'neuroexp[intan]'") from error

    with tempfile.NamedTemporaryFile(suffix=".rhd") as file:
        file.write(head)
        file.flush()
        try:
            header, channels, fields, start, block_samples, _ = read_rhd(file.name, "header-attached")
            block = np.dtype(fields)
            names = [channel["native_channel_name"] for channel in channels if channel["signal_type"] == 0]
            if not set(names) <= set(block.names or ()):  # NumPy gives a channel without a name one of its own
                return None
            return float(header["sampling_rate"]), names, int(start), block, int(block_samples)
        except Exception:  # of any kind: neo indexes, decodes and looks up what a header cut short lacks
            return None


@cache
def _scanned(path: str, size: int, changed_ns: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the marks of a file, where its time stamps jump, and by how many samples more than one."""
    file = open_file(Path(path))
    names = file.channels[:: max(1, len(file.channels) // MARKING)]
    weights = np.random.default_rng(0).integers(1, 1 << 63, len(names), dtype=np.uint64) | np.uint64(1)
    found, stamps, jumps = [], np.array([file.first - 1]), []
    for first in range(0, file.n_blocks, BLOCKS):
        blocks = file.blocks(first, min(BLOCKS, file.n_blocks - first))
        stamps = np.concatenate([stamps[-1:], blocks["timestamp"].ravel().astype(np.int64)])
        jumped = np.flatnonzero(np.diff(stamps) != 1)
        jumps.append((first * (file.n_samples // file.n_blocks) + jumped, np.diff(stamps)[jumped] - 1))
        mark = np.zeros(blocks["timestamp"].size, np.uint64)
        for name, weight in zip(names, weights, strict=True):
            mark += blocks[name].ravel().astype(np.uint64) * weight
        mark ^= mark >> np.uint64(33)
        mark *= weights[0]  # spreads what neighbouring values have in common
        found.append(mark[(mark >> np.uint64(40)) % np.uint64(MARKED) == 0])
    places, steps = (np.concatenate(part) for part in zip(*jumps, strict=True))
    return np.unique(np.concatenate(found)), places, steps
