"""The card, its clocks and the software under which something was measured."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "triton", "pytorch-lightning", "torchmetrics", "numpy", "scipy", "onnx", "onnxruntime")
ASKED = (
    "name,driver_version,memory.total,pstate,temperature.gpu,power.draw,power.limit,"
    "clocks.sm,clocks.max.sm,clocks.mem,clocks.max.mem"
)
# dense bf16 TFLOP/s with fp32 sums of NVIDIA's data sheets, by what a card's name contains; the first that fits counts
SHEETS = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "RTX 3090 Ti": 80.0,
    "RTX 3090": 71.0,
}


def clocks() -> dict[str, str]:
    """Return what nvidia-smi says of the first card; empty where it is not there."""
    if not shutil.which("nvidia-smi"):
        return {}
    words = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader", "--id=0"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
        return dict(zip(ASKED.split(","), (word.strip() for word in answer.splitlines()[0].split(",")), strict=False))
    return {}


def processor() -> str:
    """Return the processor's name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def sheet_tflops(card: str) -> float | None:
    """Return a card's dense bf16 TFLOP/s of its data sheet, where it is known here."""
    return next((tflops for name, tflops in SHEETS.items() if name in card), None)


def describe() -> dict[str, Any]:
    """Return the machine: card, driver, memory, versions, processor, and the git revision where there is one."""
    import torch  # noqa: PLC0415 - seconds to import, and the command names its file before

    from neuroexp.deploy.engines import cores  # noqa: PLC0415 - as above
    from neuroexp.store import provenance  # noqa: PLC0415 - as above

    found: dict[str, Any] = {"card": None}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {
            "card": card.name,
            "card_memory_gb": card.total_memory / 1e9,
            "multiprocessors": card.multi_processor_count,
            "compute_capability": f"{card.major}.{card.minor}",
            "bf16_tflops_of_data_sheet": sheet_tflops(card.name),
            "clocks_before": clocks(),
        }
    revision = provenance.revision()
    return found | {
        "processor": processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": revision.get("mlflow.source.git.commit"),
        "changed_since": revision.get("git.changed"),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
