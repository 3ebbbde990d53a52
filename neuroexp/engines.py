"""Ways to run a decoder on one window after another: PyTorch, compiled, ONNX Runtime in fp32 and int8, a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuroexp import onnxfile
from neuroexp.decoder import Decoder

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (batch, channel, time) in µV -> (batch, output)
FILES = {"onnx": "decoder.onnx", "int8": "decoder_int8.onnx"}
ENGINES = ("eager", "compiled", *FILES, "cuda", "cuda_graph")


def build(name: str, decoder: Decoder, files: Mapping[str, Path], threads: int = 1) -> Predict:
    """Return what predicts with the engine `name`; `files` are those of ONNX Runtime's two, by engine.

    PyTorch's threads are set for the whole process. Raises ValueError for an engine that is not there.
    """
    if threads < 1:
        raise ValueError(f"threads={threads} must be at least 1")
    if name in files:
        return of_file(files[name], threads)
    if name not in ENGINES:
        raise ValueError(f"engine={name} is none of {', '.join(ENGINES)}")
    if name in FILES:
        raise ValueError(f"engine={name} needs an exported decoder")
    torch.set_num_threads(threads)
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ValueError(f"engine={name}: there is no GPU")
        return _graph(decoder) if name == "cuda_graph" else _plain(decoder.to("cuda"))
    return _compiled(decoder) if name == "compiled" else _plain(decoder)


def of_file(path: Path, threads: int = 1) -> Predict:
    """Return what predicts with an exported decoder alone."""
    session = onnxfile.session(path, threads)
    return lambda windows: session.run(None, {onnxfile.INPUT: windows})[0]


def _plain(decoder: Callable[[torch.Tensor], torch.Tensor]) -> Predict:
    device = decoder.mean.device if isinstance(decoder, Decoder) else torch.device("cpu")

    def predict(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return decoder(torch.from_numpy(windows).to(device)).cpu().numpy()

    return predict


def _compiled(decoder: Decoder) -> Predict:
    """Compile for windows one at a time, the size that is asked first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own parts about each other
            predict = _plain(torch.compile(decoder, dynamic=False))
            predict(np.zeros((1, len(decoder.mean), decoder.window), dtype=np.float32))
    except Exception as error:  # of the compiler below, of many kinds
        raise ValueError(f"engine=compiled: torch.compile fails here: {type(error).__name__}") from None
    return predict


def _graph(decoder: Decoder) -> Predict:
    """Record the decoder once as a CUDA graph and replay it: one launch instead of one per kernel."""
    decoder = decoder.to("cuda")
    fixed = torch.zeros(1, len(decoder.mean), decoder.window, device="cuda")
    with torch.inference_mode():
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(side):  # a few calls first, so that libraries have chosen their kernels
            for _ in range(3):
                decoder(fixed)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = decoder(fixed)

    def predict(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(windows) != 1:
            raise ValueError("engine=cuda_graph takes one window at a time")
        fixed.copy_(torch.from_numpy(windows))
        graph.replay()
        return result.cpu().numpy()

    return predict
