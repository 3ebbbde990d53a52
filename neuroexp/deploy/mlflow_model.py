"""An exported decoder as an MLflow model, that MLflow loads and serves."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from neuroexp.deploy.decoder import Spec
from neuroexp.deploy.onnx_file import INPUT, OUTPUT
from neuroexp.store import tracking  # noqa: F401 - sets how MLflow behaves before it is imported

LOADER = "neuroexp_finite"  # the module inside a served model that MLflow loads it with


def package(path: Path, spec: Spec, folder: Path) -> None:
    """Write into `folder` an MLflow model around an ONNX decoder: tensors by name, shapes and types in its signature.

    What it is asked with is checked by the copy of `finite` that lies in it: windows with broken samples are an error.
    """
    import mlflow.onnx  # noqa: PLC0415 - after what tracking sets
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    windows = TensorSpec(np.dtype(np.float32), (-1, spec.n_channels, spec.window), INPUT)
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(spec.outputs)), OUTPUT)
    shutil.rmtree(folder, ignore_errors=True)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as code:
        warnings.simplefilter("ignore")  # of MLflow about its own annotations
        loader = shutil.copy(Path(__file__).with_name("finite.py"), Path(code) / f"{LOADER}.py")
        mlflow.onnx.save_model(
            onnx.load(path),
            str(folder),
            code_paths=[str(loader)],
            signature=ModelSignature(Schema([windows]), Schema([probabilities])),
            pip_requirements=[f"{name}=={version(name)}" for name in ("onnx", "onnxruntime", "numpy")],
            metadata={"neuroexp": spec.to_json()},
        )
        model = Model.load(str(folder))
        model.flavors["python_function"]["loader_module"] = LOADER
        model.save(str(folder / "MLmodel"))
