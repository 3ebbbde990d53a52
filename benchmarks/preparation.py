"""Preparing a rat's signatures: time over simulating it, and peak memory over one class's recording.

`python -m benchmarks.preparation 180` prepares the full length that the paper records; the default is short.
"""

import sys
import tempfile
import time
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmarks.data_path import status_kib
from neuroexp.data.cuff import CLASSES, Session
from neuroexp.data.prepared import prepare
from neuroexp.data.recording import Recording
from neuroexp.recordings import eng_simulated

ROOT = Path(__file__).parent.parent


def main(duration_s: float = 20) -> None:
    """Print time and memory of one rat, simulation and preparation apart."""
    settings = instantiate(OmegaConf.load(ROOT / "conf" / "dataset" / "eng.yaml").dataset.preprocessing)
    rat = eng_simulated.read(duration_s=duration_s)
    simulating_s = 0.0

    def read(name: str) -> Recording:
        nonlocal simulating_s
        began = time.perf_counter()
        recording = rat.read(name)
        simulating_s += time.perf_counter() - began
        return recording

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status_kib("VmRSS")
    with tempfile.TemporaryDirectory() as cache:
        timed = Session(rat.name, rat.sha256, read, simulated=True)
        began = time.perf_counter()
        prepared = prepare(timed, settings, 100, eng_simulated.RATE_HZ, cache)
        preparing_s = time.perf_counter() - began - simulating_s
        peak = (status_kib("VmHWM") - before) * 1024
        began = time.perf_counter()
        prepare(timed, settings, 100, eng_simulated.RATE_HZ, cache)
        cached_s = time.perf_counter() - began
    size = duration_s * eng_simulated.RATE_HZ * 56 * 4
    print(f"Preparing a simulated rat: {len(CLASSES)} x {duration_s:g} s, {len(prepared.label)} peaks")
    times = f"simulating {simulating_s:.1f} s, preparing {preparing_s:.1f} s ({preparing_s / simulating_s:.2f}x)"
    print(f"    {times}, again from the cache {cached_s:.2f} s")
    print(f"    peak memory {peak / 1e9:.2f} GB, {peak / size:.1f}x one class's recording ({size / 1e9:.2f} GB)")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 20)
