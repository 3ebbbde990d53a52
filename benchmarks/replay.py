"""Does a replay of hours keep its memory? `python -m benchmarks.replay [HOURS]`.

A simulated recording over and over through an ML-DCNN that is not trained, which changes nothing here. Windows of 20 samples
every 50 keep an hour short; now and then a channel fails and samples are missing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.data_path import status_kib
from neuroexp.deploy import engines
from neuroexp.deploy.decoder import Decoder, Spec
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.recordings import hdsemg_simulated
from neuroexp.replay.pace import Decoding, Tally
from neuroexp.replay.table import Table

CHUNK, WINDOW, STEP = 64, 20, 50
FAILS = 97  # chunks between failures
SETTLED = 0.1  # of the samples, after which buffers have their size


def main(hours: float = 1) -> None:
    """Print memory at the beginning and at the end, and how much faster than real time it went."""
    torch.set_num_threads(1)
    signal = hdsemg_simulated.read(duration_s=12, units=4).signal
    rate_hz, n_channels = hdsemg_simulated.RATE_HZ, signal.shape[1]
    preparation = {"band_hz": [20, 750], "order": 2, "zero_phase": False}
    outputs = tuple(f"unit {number}" for number in range(1, 5))
    spec = Spec("untrained", "", "simulated", "hdsemg", outputs, 0.5, rate_hz, n_channels, WINDOW, STEP, preparation)
    torch.manual_seed(0)
    network = MLDCNN(n_channels, WINDOW, len(outputs))
    decoder = Decoder(network, torch.nn.Sigmoid(), signal.mean(axis=0), signal.std(axis=0), spec.window).eval()
    tally = Tally(spec.period_ms)
    decoding = Decoding(spec, engines.build("eager", decoder, {}), tally)
    total, first, before = round(hours * 3600 * rate_hz), 0, 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder) / "discharges.csv", spec)
        while first < total:
            for low in range(0, len(signal), CHUNK):
                chunk = signal[low : low + CHUNK]
                if first % (FAILS * CHUNK) == 0:
                    chunk = chunk.copy()
                    chunk[3:9, 5] = np.nan
                    first += 2 * CHUNK
                table.write(decoding.push(chunk, first), "")
                first += len(chunk)
            if not before and first > SETTLED * total:
                before = status_kib("VmRSS")
        table.write(decoding.finish(), "")
        table.file.close()
        rows = len(Path(table.file.name).read_text().splitlines()) - 1
    took_s = time.perf_counter() - began
    after, latencies, health = status_kib("VmRSS"), tally.latencies, decoding.stream.health
    print(f"{hours:g} h of a simulated recording, looped, in {took_s:.0f} s ({3600 * hours / took_s:.0f}x real time)")
    print(
        f"    {tally.decided} decisions, {rows} discharges, {health.gaps} gaps, {sum(health.replaced.values())} values replaced"
    )
    print(
        f"    memory {before / 1024:.1f} MB after a tenth, {after / 1024:.1f} MB at the end ({after - before:+d} KiB)"
    )
    print(f"    p50 {latencies.quantile_ms(0.5):.3f} ms, p99 {latencies.quantile_ms(0.99):.3f} ms, {tally.missed} late")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1)
