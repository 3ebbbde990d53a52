"""Decoders as ExecuTorch programs, for devices without Python: written, in int8 too, read back, refused when not whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neuroexp.deploy.decoder import CHANGED, FOREIGN, GONE, READS, Decoder, Spec
from neuroexp.deploy.extras import mute, needed, quiet
from neuroexp.machine import files, kinds

EXTRA = "executorch"
METHOD = "neuroexp"  # of the program: returns, as bytes, the mark, the checksum of the file and what a stream must know
MARK = b"neuroexp decoder "
BLANK = b"0" * 64  # stands for the checksum while it is computed
END = b"\n"


def write(decoder: Decoder, spec: Spec, path: Path, windows: NDArray[np.float32] | None = None) -> None:
    """Write a decoder: one window (1, channel, time) in microvolts to probabilities, convolutions and products by XNNPACK.

    With `windows` (window, channel, time) it is in int8, with their ranges: weights per output channel and activations of
    convolutions and dense layers. Raises ValueError for a network that ExecuTorch does not take, or cannot run.
    """
    if any(isinstance(layer, nn.RNNBase) for layer in decoder.modules()):
        raise ValueError(
            f"{path.name} is left out: ExecuTorch takes recurrent layers apart, step by step, which takes minutes"
        )
    text = MARK + BLANK + b" " + spec.to_json().encode() + END
    example = np.zeros((1, spec.n_channels, spec.window), dtype=np.float32)
    with quiet():
        needed("executorch.exir", EXTRA)
    try:
        with quiet(), torch.no_grad():
            network = torch.export.export(decoder.eval(), (torch.from_numpy(example),))
            if windows is not None:
                network = torch.export.export(_quantised(network, windows), (torch.from_numpy(example),))
        with files.replacing(path) as partial:
            _write(network, text, example, partial)
    except Exception as error:  # of the compiler below, of many kinds
        why = str(error).strip().partition("\n")[0][:100]
        raise ValueError(f"{path.name} is left out: ExecuTorch does not take this network ({why})") from None


def _write(network: Any, text: bytes, example: NDArray[np.float32], path: Path) -> None:
    """Write a network that runs on an example: in groups ExecuTorch 1.5 mixes up the axes of ML-DRSNet's int8 maps."""
    for alone in (False, True):
        data = _program(network, text, alone)
        path.write_bytes(data.replace(text, text.replace(BLANK, hashlib.sha256(data).hexdigest().encode())))
        try:
            with mute():
                method(path, 1)(example)
            break
        except RuntimeError:
            if alone:
                raise


def _program(network: Any, text: bytes, alone: bool) -> bytes:
    """Return a network as ExecuTorch writes it, with `text` in it: operations go to XNNPACK in groups, or each `alone`."""
    constant = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    partition = needed("executorch.backends.xnnpack.partition.xnnpack_partitioner", EXTRA).XnnpackPartitioner
    with quiet(), torch.no_grad():
        edge = needed("executorch.exir", EXTRA).to_edge_transform_and_lower(
            network, partitioner=[partition(per_op_mode=alone)], constant_methods={METHOD: constant}
        )
        return bytes(edge.to_executorch().buffer)


def _quantised(program: Any, windows: NDArray[np.float32]) -> Any:
    """Return the network in int8, but for the normalisation, whose one scale would leave quiet channels few steps."""
    quantizer = needed("executorch.backends.xnnpack.quantizer.xnnpack_quantizer", EXTRA)
    pt2e = needed("torchao.quantization.pt2e.quantize_pt2e", EXTRA)
    settings = quantizer.get_symmetric_quantization_config(is_per_channel=True)
    chosen = quantizer.XNNPACKQuantizer()
    aten = torch.ops.aten
    for operation in (aten.conv1d.default, aten.conv2d.default, aten.linear.default):
        chosen.set_operator_type(operation, settings)
    network = pt2e.prepare_pt2e(program.module(), chosen)
    for window in windows:
        network(torch.from_numpy(window[None]))
    return pt2e.convert_pt2e(network)


def read(path: Path) -> Spec:
    """Return what a stream must know of a decoder; raises ValueError for a file that is none, or is not whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(GONE.format(path)) from None
    place = data.find(MARK)
    if place < 0:
        if known := kinds.said(path, data[: kinds.HEAD], READS):
            raise ValueError(f"{path} {known}")
        raise ValueError(FOREIGN.format(path))
    low = place + len(MARK)
    high = low + len(BLANK)
    if hashlib.sha256(data[:low] + BLANK + data[high:]).hexdigest().encode() != data[low:high]:
        raise ValueError(CHANGED.format(path))
    return Spec.from_json(data[high : data.index(END, high)].decode())


def method(path: Path, threads: int) -> Any:
    """Return a function from windows (batch, channel, time) to probabilities, on so many threads of the process.

    The program takes one window at a time.
    """
    with quiet(), mute():
        runtime = needed("executorch.runtime", EXTRA)
        needed("executorch.extension.pybindings.portable_lib", EXTRA)._unsafe_reset_threadpool(threads)
        forward = runtime.Runtime.get().load_program(path).load_method("forward")

    def predict(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        singles = (torch.from_numpy(np.ascontiguousarray(windows[row : row + 1])) for row in range(len(windows)))
        return np.concatenate([forward.execute([window])[0].numpy() for window in singles])

    return predict
