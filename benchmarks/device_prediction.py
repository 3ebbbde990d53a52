"""Predicting one window at a time with the engines of a GPU, and how far their probabilities are from a processor's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.device_here import Here, Variant
from benchmarks.device_steps import settings
from neuroexp.deploy import engines
from neuroexp.deploy.decoder import Decoder
from neuroexp.deploy.timing import clock
from neuroexp.models.escapenet import ESCAPENet
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.models.mldrsnet import MLDRSNet
from neuroexp.models.mobilescapenet import MobilESCAPENet

NAME = "prediction"
TITLE = "Predicting one window, from the copy of the window to the device to the probabilities back, in ms"
COLUMNS = {
    "network": "network",
    "engine": "engine",
    "precision": "precision",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "predictions": "predictions",
    "largest": "differs from the processor by",
    "spread": "spread",
}
# name -> network, channels, window, outputs, as in the papers
NETWORKS: dict[str, tuple[Callable[..., nn.Module], int, int, int]] = {
    "ML-DRSNet": (MLDRSNet, 64, 20, 15),
    "ML-DCNN": (MLDCNN, 64, 20, 15),
    "MobilESCAPE-Net": (MobilESCAPENet, 56, 100, 3),
    "ESCAPE-Net": (ESCAPENet, 56, 100, 3),
}


class Half(nn.Module):
    """A network that computes in bf16, weights and all, between fp32 windows and logits."""

    def __init__(self, network: nn.Module):
        """Take the network over."""
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.network(x.to(torch.bfloat16)).float()


def variants(here: Here) -> Iterator[Variant]:
    """Yield every network with the engines of the GPU; where there is none, with PyTorch's on the processor too."""
    for name in NETWORKS:
        for precision in ("fp32", "bf16"):
            for engine in (*(("eager",) if here.small else ()), "cuda", "cuda_graph"):
                yield _variant(here, name, engine, precision)
    for name in NETWORKS:
        for engine in ("cuda", "cuda_graph"):
            yield _variant(here, name, engine, "tf32")


def _variant(here: Here, name: str, engine: str, precision: str) -> Variant:
    names = {"network": name, "engine": engine, "precision": precision}
    return Variant(names, partial(_predict, here, name, engine, precision), 6.0)


def _predict(here: Here, name: str, engine: str, precision: str) -> dict[str, Any]:
    if engine.startswith("cuda") and here.small:
        raise ValueError(f"engine={engine}: there is no GPU")
    threads, windows = torch.get_num_threads(), _windows(name, here.small)
    with settings(precision if precision == "tf32" else "fp32", here.device):
        predict = engines.build(engine, _decoder(name, here.small, precision == "bf16"), {}, threads)
        expected, found = _expected(name, here.small), _each(predict, windows)
        taken = clock(engine, threads, predict, windows, 0.0, 5 if here.small else 2000)
    figures = {key: getattr(taken, key) for key in ("p50_ms", "p99_ms", "max_ms", "predictions")}
    return figures | {"largest": float(np.abs(found - expected).max()), "spread": float(expected.std(axis=0).mean())}


def _each(predict: engines.Predict, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([predict(windows[number : number + 1]) for number in range(len(windows))])


def _windows(name: str, small: bool) -> NDArray[np.float32]:
    """Return the windows (window, channel, time) that are predicted in turn, noise; a few of few channels when `small`."""
    _, n_channels, window, _ = NETWORKS[name]
    size = (4, 16, window) if small else (64, n_channels, window)
    return np.random.default_rng(0).standard_normal(size, dtype=np.float32)


@lru_cache(maxsize=4)
def _expected(name: str, small: bool) -> NDArray[np.float32]:
    """Return the probabilities of all windows in fp32 on the processor."""
    predict = engines.build("eager", _decoder(name, small, half=False), {}, torch.get_num_threads())
    return _each(predict, _windows(name, small))


def _decoder(name: str, small: bool, half: bool) -> Decoder:
    """Return a network with random weights, the same each time, whose logits differ as those of a trained one do."""
    build, _, window, n_outputs = NETWORKS[name]
    n_channels = _windows(name, small).shape[1]
    torch.manual_seed(0)
    words = {"pool_stride": 2} if small and name == "ESCAPE-Net" else {}  # a sixteenth of the weights
    network = build(n_channels, window, n_outputs, **words)
    noise = torch.randn(16, n_channels, window)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        if norms:
            for layer in norms:
                layer.momentum = 1.0  # the statistics of what it sees here, not of what it began with
            network.train()(noise)
        logits = network.eval()(noise)
        scale = 2 / logits.std(dim=0).mean()
        last.weight.mul_(scale)
        last.bias.sub_(logits.mean(dim=0)).mul_(scale)
    mean, std = np.zeros(n_channels, dtype=np.float32), np.ones(n_channels, dtype=np.float32)
    return Decoder(Half(network) if half else network, nn.Sigmoid(), mean, std, window).eval()
