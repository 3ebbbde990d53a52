"""One prediction of one window by the papers' networks at their own sizes: engines against PyTorch's eager mode."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import conv2d

from neuroexp.cost import counting
from neuroexp.deploy import engines, executorch_file, onnx_file
from neuroexp.deploy.decoder import Decoder, Spec
from neuroexp.deploy.timing import Latency, clock
from neuroexp.models.escapenet import ESCAPENet
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.models.mldrsnet import MLDRSNet
from neuroexp.models.mobilescapenet import MobilESCAPENet
from neuroexp.models.mtdcnn import MTDCNN

SECONDS = 2.0
FLOATS = ("eager", "onnx", "openvino", "openvino_bf16", "executorch")
INT8 = ("int8", "openvino_int8", "executorch_int8")
# network, channels, window, outputs, aims: threads, the engines of which one must reach it, ms
CASES: tuple[tuple[type[nn.Module], int, int, int, tuple[tuple[int, tuple[str, ...], float], ...]], ...] = (
    (MobilESCAPENet, 56, 100, 3, ((1, FLOATS + INT8, 0.5),)),
    (ESCAPENet, 56, 100, 3, ()),
    (MLDCNN, 64, 20, 15, ((1, FLOATS, 0.1),)),
    (MTDCNN, 64, 20, 15, ()),
    (MLDRSNet, 64, 20, 15, ((2, FLOATS, 5.39), (2, INT8, 2.5))),
)


def macs_per_ms(threads: int, channels: int = 256, side: int = 32, rounds: int = 20) -> float:
    """Return the multiply-accumulates per millisecond of a large 3x3 convolution in fp32, the fastest thing found here.

    A product of two matrices is no such reference: on some processors PyTorch's reaches less than half of it.
    """
    torch.set_num_threads(threads)
    image = torch.randn(1, channels, side, side).to(memory_format=torch.channels_last)
    kernels = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last)
    taken = []
    with torch.inference_mode():
        for _ in range(rounds):
            began = time.perf_counter()
            conv2d(image, kernels, padding=1)
            taken.append(time.perf_counter() - began)
    return channels**2 * 9 * side**2 / (1000 * min(taken))


def main() -> None:
    """Print the medians and 99th percentiles, each engine's ratio to eager, and which engine meets an aim or comes nearest.

    Beside them stands what the arithmetic alone takes in fp32: the network's MAC at the pace of a large convolution.
    """
    print(f"one window at a time, random weights, medians (99th percentiles) of {SECONDS:g} s each, in ms")
    for network, n_channels, window, n_outputs, aims in CASES:
        torch.manual_seed(0)
        windows = np.random.default_rng(0).standard_normal((64, n_channels, window), dtype=np.float32)
        mean, std = np.zeros(n_channels, dtype=np.float32), np.ones(n_channels, dtype=np.float32)
        decoder = Decoder(network(n_channels, window, n_outputs), nn.Sigmoid(), mean, std, window).eval()
        macs = counting.macs(decoder.network, torch.from_numpy(windows[:1]))
        names = tuple(str(number) for number in range(n_outputs))
        spec = Spec(network.__name__, "", "noise", "hdsemg", names, 0.5, 2048, n_channels, window, 10, preparation={})
        with tempfile.TemporaryDirectory() as folder:
            files = {form: Path(folder) / name for form, name in engines.FILES.items()}
            onnx_file.write(decoder, spec, files["onnx"])
            onnx_file.quantise(files["onnx"], files["int8"], windows)
            if "executorch" in engines.there():
                executorch_file.write(decoder, spec, files["executorch"])
                executorch_file.write(decoder, spec, files["executorch_int8"], windows)
            for threads in (1, 2):
                found = measured(decoder, files, windows, threads)
                eager = found["eager"].p50_ms
                rows = (f"{n} {r.p50_ms:.3f} ({r.p99_ms:.3f}, {r.p50_ms / eager:.2f}x)" for n, r in found.items())
                least_ms = macs / macs_per_ms(threads)
                title = f"{network.__name__}, {threads} thread{'s' * (threads > 1)}"
                print(f"{title}: {'; '.join(rows)}; fp32 arithmetic alone {least_ms:.3f}")
                for wanted, names, aim in aims:
                    if wanted == threads:
                        best = min((row for name, row in found.items() if name in names), key=lambda row: row.p50_ms)
                        print(f"  aim {aim:g} {'met' if best.p50_ms < aim else 'missed'} by {best.engine}")


def measured(
    decoder: Decoder, files: Mapping[str, Path], windows: NDArray[np.float32], threads: int
) -> dict[str, Latency]:
    """Return what one prediction takes with each engine of a processor that is there."""
    return {
        name: clock(name, threads, engines.build(name, decoder, files, threads), windows, SECONDS)
        for name in engines.there()
        if name in FLOATS + INT8
    }


if __name__ == "__main__":
    main()
