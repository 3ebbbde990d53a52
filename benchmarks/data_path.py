"""Windows per second and memory of `Fold` against a DataLoader over pre-cut windows and one over slices."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neuroexp.data import segments, splits
from neuroexp.data.fold import Fold

SECONDS, CHANNELS, UNITS, BATCH, STEP = 60, 64, 15, 64, 10


class PreCut(Dataset[tuple[Tensor, Tensor]]):
    """Every window copied out beforehand."""

    def __init__(self, signal: Tensor, starts: Tensor, window: int, labels: Tensor):
        """Cut the windows."""
        self.windows = torch.stack([signal[start : start + window].T for start in starts.tolist()]).contiguous()
        self.labels = labels

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.windows[index], self.labels[index]


class Slices(Dataset[tuple[Tensor, Tensor]]):
    """Every window sliced out of the signal when it is asked for."""

    def __init__(self, signal: Tensor, starts: Tensor, window: int, labels: Tensor):
        """Keep the signal."""
        self.signal, self.starts, self.window, self.labels = signal, starts, window, labels

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = int(self.starts[index])
        return self.signal[start : start + self.window].T, self.labels[index]


def make(kind: str, window: int) -> Callable[[], Iterable[Any]]:
    """Return what gives one epoch of training batches of a minute of signal."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((SECONDS * 2048, CHANNELS), dtype=np.float32)
    starts = segments.window_starts(len(signal), window, STEP)
    labels = (rng.random((len(starts), UNITS)) < 0.05).astype(np.float32)
    everything = np.arange(len(starts))
    split = splits.Split(everything, everything[:1], everything[:1])
    if kind == "fold":
        fold = Fold(signal, starts, window, labels, split, BATCH, 0)
        return fold.train_dataloader
    data = {"pre-cut": PreCut, "slices": Slices}[kind]
    tensors = torch.from_numpy(signal), torch.from_numpy(starts), window, torch.from_numpy(labels)
    loader: DataLoader[Any] = DataLoader(data(*tensors), BATCH, shuffle=True)
    return lambda: loader


def windows_per_second(epoch: Callable[[], Iterable[Any]], least_s: float = 1.0) -> float:
    """Return the rate of whole epochs, measured for at least `least_s`."""
    windows, began = 0, time.perf_counter()
    while time.perf_counter() - began < least_s:
        windows += sum(len(x) for x, _ in epoch())
    return windows / (time.perf_counter() - began)


def peak_over_signal(kind: str, window: int) -> float:
    """Return by how many times the signal's size the peak memory grows, from a process of its own."""
    signal_bytes = SECONDS * 2048 * CHANNELS * 4
    script = f"from benchmarks.data_path import grow; print(grow({kind!r}, {window}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024 / signal_bytes - 1  # the recording itself is there in every case


def grow(kind: str, window: int) -> int:
    """Return the growth of this process's peak memory in KiB over one epoch, the recording included (Linux only)."""
    for _ in Fold(*_tiny()).train_dataloader():
        pass  # what the libraries take on first use is not the data path's
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status_kib("VmRSS")
    for _ in make(kind, window)():
        pass
    return status_kib("VmHWM") - before


def status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _tiny() -> tuple[Any, ...]:
    signal = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
    starts = segments.window_starts(100, 20, 10)
    indices = np.arange(len(starts))
    return signal, starts, 20, np.ones((len(starts), 1), np.float32), splits.Split(indices, indices, indices), 4, 0


def main() -> None:
    """Print the ratios."""
    print(
        "Data path: 64 channels, 60 s at 2048 Hz, step 10, batch 64, thousand windows per second (median of 3, in turn)"
    )
    for window in (20, 140):
        kinds = ("fold", "pre-cut", "slices")
        epochs = {kind: make(kind, window) for kind in kinds}
        rates = {kind: [0.0] * 3 for kind in kinds}
        for turn in range(3):
            for kind in kinds:
                rates[kind][turn] = windows_per_second(epochs[kind])
        median = {kind: float(np.median(rates[kind])) for kind in kinds}
        peaks = {kind: peak_over_signal(kind, window) for kind in kinds}
        print(f"  W={window}")
        for kind in kinds:
            ratio = median["fold"] / median[kind]
            print(
                f"    {kind:8} {median[kind] / 1000:7.0f}   fold is {ratio:4.1f}x   peak {peaks[kind]:5.2f}x the signal"
            )


if __name__ == "__main__":
    main()
