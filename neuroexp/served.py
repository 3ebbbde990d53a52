"""An exported decoder as an MLflow model, that MLflow loads and serves."""

from __future__ import annotations

import shutil
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from neuroexp import tracking  # noqa: F401 - sets how MLflow behaves before it is imported
from neuroexp.decoder import Spec
from neuroexp.onnxfile import INPUT, OUTPUT


def package(path: Path, spec: Spec, folder: Path) -> None:
    """Write into `folder` an MLflow model around an ONNX decoder: tensors by name, shapes and types in its signature."""
    import mlflow.onnx  # noqa: PLC0415 - after what tracking sets
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    windows = TensorSpec(np.dtype(np.float32), (-1, spec.n_channels, spec.window), INPUT)
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(spec.outputs)), OUTPUT)
    shutil.rmtree(folder, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about its own annotations
        mlflow.onnx.save_model(
            onnx.load(path),
            str(folder),
            signature=ModelSignature(Schema([windows]), Schema([probabilities])),
            pip_requirements=[f"{name}=={version(name)}" for name in ("onnx", "onnxruntime", "numpy")],
            metadata={"neuroexp": spec.to_json()},
        )
