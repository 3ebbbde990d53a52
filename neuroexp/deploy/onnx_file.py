"""Decoders as ONNX files: written with all that a stream must know, quantised to int8, read back, refused when not whole."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroexp.deploy.decoder import CHANGED, FOREIGN, GONE, READS, Decoder, Spec
from neuroexp.deploy.extras import needed, quiet
from neuroexp.machine import files, kinds

INPUT, OUTPUT = "windows", "probabilities"
SPEC, DIGEST = "neuroexp", "neuroexp.sha256"
OPSET = 20
BATCH = 64  # windows at a time while calibrating
QUANTISED = ["Conv", "Gemm", "MatMul", "Relu"]  # a ReLU becomes part of the layer before it


def write(decoder: Decoder, spec: Spec, path: Path) -> None:
    """Write a decoder: windows (batch, channel, time) in microvolts to probabilities, with `spec` in its metadata."""
    needed("onnx")
    example = torch.zeros(2, spec.n_channels, spec.window)
    batch = {0: torch.export.Dim("batch", min=1)}
    with quiet():
        program = torch.onnx.export(
            decoder.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(batch,),
            verbose=False,
        )
    assert program is not None
    _save(program.model_proto, spec, path)


def quantise(source: Path, path: Path, windows: NDArray[np.float32]) -> None:
    """Write the int8 form of a decoder: static, weights per output channel, ranges from `windows` (window, channel, time).

    Weights and activations of convolutions and dense layers are 8 bits wide. The normalisation before the first layer stays
    in fp32, because one scale for all channels in microvolts would leave few steps for the quiet ones; so do depthwise
    convolutions, pools and batch norms, which hold few weights and which ONNX Runtime computes more slowly in int8.
    """
    onnx, quantization = needed("onnx"), needed("onnxruntime.quantization")
    quant_pre_process = needed("onnxruntime.quantization.shape_inference").quant_pre_process

    spec = read(source)

    class Windows(quantization.CalibrationDataReader):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.batches = iter(windows[low : low + BATCH] for low in range(0, len(windows), BATCH))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "quantised.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(quantised),
            Windows(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=QUANTISED,
            nodes_to_exclude=_kept(onnx.load(prepared)),
        )
        _save(onnx.load(quantised), spec, path)


def _kept(model: Any) -> list[str]:
    """Return the names of the nodes that stay in fp32: those up to the normalisation's division, depthwise convolutions."""
    nodes = list(model.graph.node)
    kinds = [node.op_type for node in nodes]
    before = nodes[: kinds.index("Div") + 1] if "Div" in kinds else []
    columns = {tensor.name: tensor.dims[1] for tensor in model.graph.initializer if len(tensor.dims) > 2}
    grouped = (node for node in nodes if any(entry.name == "group" and entry.i > 1 for entry in node.attribute))
    depthwise = [node for node in grouped if columns.get(node.input[1]) == 1]
    return [node.name for node in (*before, *depthwise)]


def read(path: Path) -> Spec:
    """Return what a stream must know of a decoder; raises ValueError for a file that is none, or is not whole."""
    onnx = needed("onnx")
    try:
        model = onnx.load(path)
    except FileNotFoundError:
        raise ValueError(GONE.format(path)) from None
    except Exception as error:  # whatever protobuf makes of it
        known = kinds.of(path, READS) or f"is no ONNX file, or not whole: {type(error).__name__}"
        raise ValueError(f"{path} {known}") from None
    written = {entry.key: entry.value for entry in model.metadata_props}
    if SPEC not in written or DIGEST not in written:
        known = kinds.of(path, READS)  # protobuf takes many a file for one of its own
        raise ValueError(f"{path} {known}" if known else FOREIGN.format(path))
    if _digest(model) != written[DIGEST]:
        raise ValueError(CHANGED.format(path))
    return Spec.from_json(written[SPEC])


def session(path: Path, threads: int) -> Any:
    """Return an ONNX Runtime session on the CPU with so many threads."""
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _save(model: Any, spec: Spec, path: Path) -> None:
    onnx = needed("onnx")
    del model.metadata_props[:]
    model.producer_name, model.doc_string = "neuroexp", f"{spec.name}: {spec.dataset} decoder of {spec.recording}"
    words = {
        SPEC: spec.to_json(),
        "sampling rate (Hz)": f"{spec.rate_hz:g}",
        "input": "microvolts (batch, channel, time)",
    }
    words |= {"outputs": ", ".join(spec.outputs)}
    onnx.helper.set_model_props(model, words)
    onnx.helper.set_model_props(model, words | {DIGEST: _digest(model)})
    with files.replacing(path) as partial:
        onnx.save(model, partial)


def _digest(model: Any) -> str:
    bare = type(model)()
    bare.CopyFrom(model)
    kept = [(entry.key, entry.value) for entry in bare.metadata_props if entry.key != DIGEST]
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True) + repr(sorted(kept)).encode()).hexdigest()
