"""Ways to run a decoder on one window after another: PyTorch, compiled, ONNX Runtime, OpenVINO, ExecuTorch, a GPU."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroexp.deploy import executorch_file, onnx_file
from neuroexp.deploy.decoder import Decoder, Spec
from neuroexp.deploy.extras import needed
from neuroexp.settings.typecheck import whole

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (batch, channel, time) in µV -> (batch, output)
FILES = {  # of an exported decoder, by its form, each after the one that it is made of
    "onnx": "decoder.onnx",
    "int8": "decoder_int8.onnx",
    "executorch": "decoder.pte",
    "executorch_int8": "decoder_int8.pte",
}
OPENVINO = {  # engine -> form of the exported decoder, precision of what is not int8 in it
    "openvino": ("onnx", "f32"),
    "openvino_bf16": ("onnx", "bf16"),
    "openvino_int8": ("int8", "f32"),
}
EXECUTORCH = ("executorch", "executorch_int8")
EXPORTED = ("onnx", "int8", *OPENVINO, *EXECUTORCH)  # these run an exported decoder
ENGINES = ("eager", "compiled", *EXPORTED, "cuda", "cuda_graph")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(word: str) -> int:
    """Return a number of threads that was typed; raises ValueError when it is none, or more than there are cores."""
    count = whole("threads", word)
    if count > cores():
        raise ValueError(f"threads={word} is more than the {cores()} cores that are here")
    return count


def form(engine: str) -> str:
    """Return the form of the exported decoder that an engine runs."""
    return OPENVINO.get(engine, (engine, ""))[0]


def forms(wanted: Iterable[str]) -> list[str]:
    """Return the forms of an exported decoder that these engines run, and those from which they are made."""
    found = {form(engine) for engine in wanted if engine in EXPORTED}
    return [name for name in FILES if name in found or (name == "onnx" and "int8" in found)]


def build(name: str, decoder: Decoder, files: Mapping[str, Path], threads: int = 1) -> Predict:
    """Return what predicts with the engine `name`; `files` are the exported decoders by form.

    PyTorch's threads are set for the whole process. Raises ValueError for an engine that is not there.
    """
    if name not in ENGINES:
        raise ValueError(f"engine={name} is none of {', '.join(ENGINES)}")
    if name in EXPORTED:
        if form(name) not in files:
            raise ValueError(f"engine={name} needs an exported decoder")
        return _of_form(name, files[form(name)], threads)
    torch.set_num_threads(threads)
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ValueError(f"engine={name}: there is no GPU")
        own = copy.deepcopy(decoder).to("cuda")  # whoever asked may move the decoder while this engine is in use
        return _graph(own) if name == "cuda_graph" else _plain(own)
    return _compiled(decoder) if name == "compiled" else _plain(decoder)


def _of_form(name: str, path: Path, threads: int) -> Predict:
    if name in OPENVINO:
        return _openvino(name, path, OPENVINO[name][1], threads)
    if name in EXECUTORCH:
        return executorch_file.method(path, threads)
    session = onnx_file.session(path, threads)
    return lambda windows: session.run(None, {onnx_file.INPUT: windows})[0]


def read(path: Path) -> Spec:
    """Return what a stream must know of an exported decoder; raises ValueError for a file that is none, or not whole."""
    return executorch_file.read(path) if path.suffix == ".pte" else onnx_file.read(path)


def of_file(path: Path, engine: str | None = None, threads: int = 1) -> Predict:
    """Return what predicts with nothing but an exported decoder, by the engine that it is written for or another.

    Raises ValueError for an engine that does not run it.
    """
    runs = ("executorch",) if path.suffix == ".pte" else ("onnx", "openvino", "openvino_bf16")
    if engine not in (None, *runs):
        raise ValueError(f"engine={engine} does not run {path.name}: {', '.join(runs)}")
    return _of_form(engine or runs[0], path, threads)


def there() -> list[str]:
    """Return the engines that can be asked for here: a GPU's where there is one, those of extras that are installed."""
    lacking = [] if torch.cuda.is_available() else ["cuda", "cuda_graph"]
    if not find_spec("openvino"):
        lacking += OPENVINO
    elif not _has_bf16():
        lacking += ["openvino_bf16"]
    if not find_spec("executorch"):
        lacking += EXECUTORCH
    return [name for name in ENGINES if name not in lacking]


def _has_bf16() -> bool:
    core = needed("openvino", "openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _openvino(name: str, path: Path, precision: str, threads: int) -> Predict:
    """Compile an exported decoder for windows one at a time, on so many threads of the processor."""
    core = needed("openvino", "openvino").Core()
    if precision == "bf16" and not _has_bf16():
        raise ValueError(f"engine={name}: this processor has no bf16")
    # a virtual machine may show its cores as threads of one, of which OpenVINO would use the first alone
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_HYPER_THREADING": True}
    settings |= {"INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False}
    try:
        model = core.read_model(str(path))
        model.reshape([1, *(size.get_length() for size in list(model.input().partial_shape)[1:])])
        request = core.compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise ValueError(
            f"engine={name}: OpenVINO cannot run {path.name}: {str(error).strip().splitlines()[-1]}"
        ) from None
    # in and out through the request's own arrays: handing them over takes 40 us, more than some networks
    given, result = request.get_input_tensor().data, request.get_output_tensor().data

    def predict(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        found = np.empty((len(windows), result.shape[1]), dtype=np.float32)
        for row in range(len(windows)):
            given[0] = windows[row]
            request.infer()
            found[row] = result[0]
        return found

    return predict


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
    """Record a decoder on the GPU once as a CUDA graph and replay it: one launch instead of one per kernel."""
    fixed = torch.zeros(1, len(decoder.mean), decoder.window, device="cuda")
    with torch.inference_mode():
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())  # weights and `fixed` may still be on their way
        with torch.cuda.stream(side):  # a few calls first, so that libraries have chosen their kernels
            for _ in range(3):
                decoder(fixed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                result = decoder(fixed)
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            raise ValueError(f"engine=cuda_graph: this network cannot be recorded: {why}") from error

    # the graph reads the weights where they were when it was recorded, so they have to stay
    def predict(windows: NDArray[np.float32], _: Decoder = decoder) -> NDArray[np.float32]:
        if len(windows) != 1:
            raise ValueError("engine=cuda_graph takes one window at a time")
        fixed.copy_(torch.from_numpy(windows))
        graph.replay()
        return result.cpu().numpy()

    return predict
