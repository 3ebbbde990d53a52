"""What the card itself reaches: large products in each precision and a copy, against which networks are measured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.device_here import Here, Variant
from benchmarks.device_steps import seconds_of, settings

NAME, TITLE = "card", "What the device itself reaches: products of two square matrices of random numbers, a copy"
COLUMNS = {"what": "what", "size": "size", "tflops": "TFLOP/s", "gb_per_s": "GB/s"}
PRODUCTS = {"bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}


def product(size: int, precision: str) -> dict[str, Any]:
    """Return what tells the product of two matrices apart."""
    return {"what": f"product, {precision}", "size": size}


def bf16_tflops(here: Here) -> float | None:
    """Return the TFLOP/s of the bf16 product of this run, where it was measured."""
    return (here.record.figures(NAME, product(_size(here), "bf16")) or {}).get("tflops")


def variants(here: Here) -> Iterator[Variant]:
    """Yield the products and the copy."""
    for precision in PRODUCTS:
        yield Variant(product(_size(here), precision), partial(_product, here, precision))
    size = 1 << 20 if here.small else 1 << 30
    yield Variant({"what": "copy", "size": size}, partial(_copy, here, size))


def _size(here: Here) -> int:
    return 256 if here.small else 8192


def _product(here: Here, precision: str) -> dict[str, Any]:
    size = _size(here)
    with settings(precision, here.device):
        left, right = (torch.randn(size, size, device=here.device, dtype=PRODUCTS[precision]) for _ in range(2))
        seconds = seconds_of(lambda: left @ right, here.device, here.about_s / 2)
    return {"tflops": 2 * size**3 / seconds / 1e12}


def _copy(here: Here, size: int) -> dict[str, Any]:
    source = torch.randn(size, device=here.device)
    target = torch.empty_like(source)
    seconds = seconds_of(lambda: target.copy_(source), here.device, here.about_s / 4)
    return {"gb_per_s": 2 * size * source.itemsize / seconds / 1e9}
