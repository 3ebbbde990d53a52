"""An exported decoder that MLflow loads and serves: what it cannot decide on is an error with a reason."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from test_export import decoder_of, microvolts, spec_of

from neuroexp.deploy import onnx_file
from neuroexp.deploy.mlflow_model import package


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The same decoder in fp32 and in int8 as MLflow loads it, and windows that it was made for."""
    folder = tmp_path_factory.mktemp("served")
    decoder = decoder_of("mldcnn", 20)
    windows = microvolts(decoder, 64)
    onnx_file.write(decoder, spec_of(64, 20, 3), folder / "decoder.onnx")
    onnx_file.quantise(folder / "decoder.onnx", folder / "decoder_int8.onnx", windows)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about its own annotations
        import mlflow.pyfunc

        for form in ("decoder", "decoder_int8"):
            package(folder / f"{form}.onnx", spec_of(64, 20, 3), folder / form)
            found[form] = mlflow.pyfunc.load_model(str(folder / form))
    return found, windows, folder


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decoder", "decoder_int8"])
def test_whole_windows_are_decided_as_the_file_does(form, models):
    found, windows, folder = models
    session = onnx_file.session(folder / f"{form}.onnx", 1)
    for asked in ({"windows": windows[:3]}, windows[:3]):
        answer = found[form].predict(asked)["probabilities"]
        np.testing.assert_allclose(answer, session.run(None, {"windows": windows[:3]})[0], atol=1e-6)
    assert found[form].predict({"windows": windows[:0]})["probabilities"].shape == (0, 3)


@pytest.mark.parametrize("form", ["decoder", "decoder_int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_sample_is_an_error_that_says_where(form, value, models):
    found, windows, _ = models
    broken = windows[:4].copy()
    broken[2, 5, 19] = broken[3, 0, 0] = value
    for asked in ({"windows": broken}, broken):
        with pytest.raises(MlflowException) as caught:
            found[form].predict(asked)
        assert "holds 2 values that are not finite, first in window 2, channel 5, sample 19" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"windows": np.zeros((2, 3, 20), np.float32)}, r"\(-1, 64, 20\)"),
        ({"windows": np.zeros((2, 64, 21), np.float32)}, r"\(-1, 64, 20\)"),
        ({"windows": np.zeros((64, 20), np.float32)}, r"\(-1, 64, 20\)"),
        ({"windows": np.zeros((2, 64, 20), np.float64)}, "float32"),
        ({"windows": np.zeros((2, 64, 20), complex)}, "float32"),
        ({"windows": np.full((2, 64, 20), "a")}, "float32"),
        ({"signal": np.zeros((2, 64, 20), np.float32)}, "windows"),
    ],
)
def test_another_shape_or_type_is_an_error_that_says_which(asked, says, models):
    for model in models[0].values():
        with pytest.raises(MlflowException, match=says):
            model.predict(asked)


@pytest.mark.parametrize("form", ["decoder", "decoder_int8"])
def test_a_server_answers_a_broken_window_with_a_bad_request(form, models):
    found, windows, _ = models
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Starlette about its own client
        from fastapi.testclient import TestClient
        from mlflow.pyfunc.scoring_server import init

        client = TestClient(init(found[form]))
        good = json.dumps({"inputs": {"windows": windows[:2].tolist()}})
        header = {"content-type": "application/json"}
        answer = client.post("/invocations", content=good, headers=header)
        assert answer.status_code == 200
        assert np.isfinite(answer.json()["predictions"]["probabilities"]).all()
        for number in ("NaN", "Infinity", "null"):
            bad = json.loads(good)
            bad["inputs"]["windows"][1][7][3] = "X"
            answer = client.post("/invocations", content=json.dumps(bad).replace('"X"', number), headers=header)
            assert answer.status_code == 400, answer.text
        assert "window 1, channel 7, sample 3" in answer.text


def test_the_copy_in_a_model_needs_nothing_of_this_package(models):
    import ast

    [code] = (models[2] / "decoder_int8" / "code").glob("*.py")
    assert code.read_text() == Path(onnx_file.__file__).with_name("finite.py").read_text()
    nodes = [node for node in ast.walk(ast.parse(code.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in nodes}
    assert names == {"__future__", "typing", "mlflow", "numpy"}
