"""The program that MLflow loads an exported decoder with: windows with broken samples are refused, never decided on.

In int8 a value that is not finite becomes one of the 256 that there are, and a probability like any other. A copy of this
file lies in each served model, so it knows NumPy and MLflow alone, and nothing of the package.
"""

from __future__ import annotations

from typing import Any

import mlflow.onnx
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE


class Finite:
    """A decoder that refuses windows (batch, channel, time) with a value that is not finite."""

    def __init__(self, model: Any):
        """Stand before an ONNX model as MLflow has loaded it."""
        self.model = model

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the probabilities of each window; raises MlflowException, of status 400, that names the first broken value."""
        for name, values in data.items() if isinstance(data, dict) else [("windows", data)]:
            try:
                holed = ~np.isfinite(np.asarray(values))
            except (TypeError, ValueError):
                raise MlflowException(f"'{name}' must be numbers", error_code=INVALID_PARAMETER_VALUE) from None
            if holed.any():
                place = np.argwhere(holed)[0]
                axes = ("window", "channel", "sample")[: len(place)]
                where = ", ".join(f"{axis} {number}" for axis, number in zip(axes, place, strict=False))
                raise MlflowException(
                    f"'{name}' holds {int(holed.sum())} values that are not finite, first in {where} (counted from 0), and no "
                    "decoder can tell what was there: leave such windows out",
                    error_code=INVALID_PARAMETER_VALUE,
                )
        return self.model.predict(data, params)


def _load_pyfunc(path: str) -> Finite:
    """Return the model of a file, as MLflow asks for it."""
    return Finite(mlflow.onnx._load_pyfunc(path))
