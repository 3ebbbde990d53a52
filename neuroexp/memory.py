"""The memory of a process: what training frees stays until training ends, and how much it has been at most."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
