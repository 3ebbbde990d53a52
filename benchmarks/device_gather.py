"""The data path: how many windows a second the device gathers from the signal in its memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.device_here import Here, Variant
from benchmarks.device_steps import batches, seconds_of

NAME, TITLE = "gather", "Gathering batches of windows from the signal, which lies on the device"
COLUMNS = {"window": "window", "batch": "batch", "windows_per_s": "windows/s", "gb_per_s": "GB/s", "us": "us/batch"}


def variants(here: Here) -> Iterator[Variant]:
    """Yield the sizes of windows and batches."""
    for window in here.windows:
        for batch in (16, 64) if here.small else (64, 512):
            yield Variant({"window": window, "batch": batch}, partial(_gather, here, window, batch), 2.0)


def _gather(here: Here, window: int, batch: int) -> dict[str, Any]:
    fold = here.fold(window)
    order = batches(fold, batch)
    kept = [next(order)[0] for _ in range(64)]  # of other windows each time, as training asks for them
    expected = torch.stack([fold.signal[start : start + window].T for start in kept[0].tolist()])
    if not torch.equal(fold.gather(kept[0]), expected):
        raise ValueError("the windows that were gathered are not those of the signal")

    def gather() -> None:
        for starts in kept:
            fold.gather(starts)

    seconds = seconds_of(gather, here.device, here.about_s / 4) / len(kept)
    size = batch * window * fold.signal.shape[1] * fold.signal.itemsize
    return {"windows_per_s": batch / seconds, "gb_per_s": 2 * size / seconds / 1e9, "us": 1e6 * seconds}
