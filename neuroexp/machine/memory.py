"""The memory of a process: what training frees stays until training ends, and how much it has been at most."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuroexp.machine.foreign import physical_bytes

PROCESS = 500_000_000  # bytes that Python and its libraries take in a training, whatever its data
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt
DEFAULTS = {M_TRIM_THRESHOLD: 128 << 10, M_MMAP_MAX: 1 << 16}


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Have malloc keep what is freed inside this context; where there is no glibc, do nothing.

    glibc gives blocks over 32 MiB back to the system at once. A network with large feature maps asks for them again in
    every step, and fetching them page by page takes about as long as its arithmetic.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield
    finally:
        for parameter, value in DEFAULTS.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def spare() -> int:
    """Return the bytes that this machine, or this process's share of it, has for data and networks."""
    return max(physical_bytes() - PROCESS, 0)


def check(needed: float, what: str, advice: str, have: int | None = None) -> None:
    """Raise ValueError when `needed` bytes are more than there are, before they are taken and the system ends the process.

    `what` needs them, `advice` is what would fit; `have` is what there is where it is not `spare`, as on a GPU.
    """
    have = spare() if have is None else have
    if needed > have:
        raise ValueError(
            f"{what} takes about {needed / 1e9:.3g} GB of memory, there are {have / 1e9:.3g} GB for it: {advice}"
        )


def round_down(value: float) -> int:
    """Return a number that can be typed, of two digits, at most `value`."""
    digits = max(len(str(int(value))) - 2, 0)
    return int(value) // 10**digits * 10**digits


def reset_peak() -> None:
    """Forget how much memory this process has used at most, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(process: int | str = "self") -> float:
    """Return the most memory that a process has held, in MB (10^6 bytes); NaN where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return float("nan")
