"""Decoders as ONNX files: equal to the network, refused when they are not whole, loaded by MLflow; and how late they are."""

import json
import warnings

import mlflow
import numpy as np
import onnx
import pytest
import torch
from conftest import SMALL
from test_cli import store
from test_models import NAMES, build

from neuroexp.commands import latency
from neuroexp.deploy import engines, executorch_file, extras, onnx_file
from neuroexp.deploy.decoder import Decoder, Spec
from neuroexp.models.mldrsnet import RSBUCW
from neuroexp.replay import source
from neuroexp.settings import typecheck

RNG = np.random.default_rng(0)


def spec_of(n_channels: int, window: int, outputs: int, **changes: object) -> Spec:
    words = {
        "name": "net", "run_id": "0", "recording": "simulated S1", "dataset": "hdsemg", "threshold": 0.5, "rate_hz": 2048.0,
        "outputs": tuple(f"unit {n + 1}" for n in range(outputs)), "n_channels": n_channels, "window": window, "step": 10,
        "preparation": {"band_hz": None},
    }  # fmt: skip
    return Spec(**words | changes)


def decoder_of(name: str, window: int, outputs: int = 3) -> Decoder:
    torch.manual_seed(0)
    mean, std = RNG.normal(0, 20, 64).astype(np.float32), RNG.uniform(5, 500, 64).astype(np.float32)
    network = build(name, window, outputs)
    return Decoder(network, torch.nn.Sigmoid(), mean, std, window, RNG.permutation(64)).eval()


def microvolts(decoder: Decoder, count: int) -> np.ndarray:
    noise = RNG.standard_normal((count, 64, decoder.window))
    scaled = noise[:, np.argsort(decoder.order.numpy())]  # any: what matters is that channels differ in size
    return (scaled * decoder.scale.numpy() + decoder.mean.numpy()).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_the_same_in_onnx_and_nearly_so_in_int8(name, tmp_path):
    decoder = decoder_of(name, window=32)
    files = {form: tmp_path / file for form, file in engines.FILES.items()}
    onnx_file.write(decoder, spec_of(64, 32, 3), files["onnx"])
    windows = microvolts(decoder, 40)
    expected = engines.build("eager", decoder, {})(windows)
    engine = engines.build("onnx", decoder, files)
    np.testing.assert_allclose(engine(windows), expected, atol=2e-6)
    np.testing.assert_allclose(np.concatenate([engine(windows[i : i + 1]) for i in range(3)]), expected[:3], atol=2e-6)
    few = windows[:3]
    np.testing.assert_allclose(engines.build("openvino", decoder, files, 2)(few), expected[:3], atol=1e-5)
    if name in ("mldcnn", "mobilescapenet", "mldrsnet"):
        onnx_file.quantise(files["onnx"], files["int8"], windows)
        found = engines.build("int8", decoder, files)(windows)
        assert 0 < np.abs(found - expected).max() < 0.1
        np.testing.assert_allclose(engines.build("openvino_int8", decoder, files)(few), found[:3], atol=0.02)
        if "openvino_bf16" in engines.there():
            halved = engines.build("openvino_bf16", decoder, files)(few)
            assert 0 < np.abs(halved - expected[:3]).max() < 0.05
        else:
            with pytest.raises(ValueError, match="this processor has no bf16"):
                engines.build("openvino_bf16", decoder, files)
        assert files["int8"].stat().st_size < 0.5 * files["onnx"].stat().st_size
        assert onnx_file.read(files["int8"]) == onnx_file.read(files["onnx"]) == spec_of(64, 32, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lstm"])
def test_networks_are_the_same_as_executorch_programs(name, tmp_path):
    decoder, spec = decoder_of(name, window=32), spec_of(64, 32, 3)
    windows = microvolts(decoder, 5)
    expected = engines.build("eager", decoder, {})(windows)
    files = {form: tmp_path / engines.FILES[form] for form in engines.EXECUTORCH}
    executorch_file.write(decoder, spec, files["executorch"])
    for threads in (1, 2):
        found = engines.build("executorch", decoder, files, threads)(windows)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert executorch_file.read(files["executorch"]) == spec
    alone = engines.of_file(files["executorch"])
    strided = windows.transpose(0, 2, 1).copy().transpose(0, 2, 1)
    np.testing.assert_array_equal(alone(strided), found)


class Shrinkage(torch.nn.Module):
    """A small ML-DRSNet: ExecuTorch writes its int8 form in groups of operations and cannot run it so."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = torch.nn.Conv2d(1, 8, 3, padding=1), RSBUCW(8, 8, 1), torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x[:, None])).mean(dim=(2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("network", [lambda: build("mldcnn", 32, 3), Shrinkage], ids=["mldcnn", "shrinkage"])
def test_an_executorch_program_in_int8_is_nearly_the_same(network, tmp_path):
    torch.manual_seed(0)
    mean, std = RNG.normal(0, 20, 64).astype(np.float32), RNG.uniform(5, 500, 64).astype(np.float32)
    decoder, spec = Decoder(network(), torch.nn.Sigmoid(), mean, std, 32).eval(), spec_of(64, 32, 3)
    windows = microvolts(decoder, 5)
    expected = engines.build("eager", decoder, {})(windows)
    path = tmp_path / "decoder_int8.pte"
    executorch_file.write(decoder, spec, path, windows)
    found = engines.build("executorch_int8", decoder, {"executorch_int8": path})(windows)
    assert 0 < np.abs(found - expected).max() < 0.1
    assert executorch_file.read(path) == spec


def test_an_extra_that_is_missing_or_does_not_load_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "foreign_build.py").write_text("raise ImportError('undefined symbol: _ZN2at\\nmore')")
    with pytest.raises(
        ValueError, match="^foreign_build is installed but does not load beside .*: undefined symbol: _ZN2at$"
    ):
        extras.needed("foreign_build")
    with pytest.raises(ValueError, match=r"^not_there_at_all is missing: pip install 'neuroexp\[lsl\]'$"):
        extras.needed("not_there_at_all", "lsl")


@pytest.mark.slow
def test_what_executorch_does_not_take_is_said_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"decoder\.pte is left out: ExecuTorch takes recurrent layers apart"):
        executorch_file.write(decoder_of("lstm", 32), spec_of(64, 32, 3), tmp_path / "decoder.pte")

    class Sorts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:  # what depends on values cannot be exported
                return x.mean(dim=(1, 2))[:, None]
            return x.amax(dim=(1, 2))[:, None]

    zero, one = np.zeros(64, np.float32), np.ones(64, np.float32)
    decoder = Decoder(Sorts(), torch.nn.Sigmoid(), zero, one, 32)
    with pytest.raises(ValueError, match=r"decoder\.pte is left out: ExecuTorch does not take this network \("):
        executorch_file.write(decoder, spec_of(64, 32, 1), tmp_path / "decoder.pte")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_executorch_program_that_is_foreign_or_damaged_is_refused(tmp_path):
    path = tmp_path / "decoder.pte"
    executorch_file.write(decoder_of("mldcnn", 20), spec_of(64, 20, 3), path)
    whole = path.read_bytes()
    for place in (len(whole) // 2, len(whole) - 1, whole.index(executorch_file.MARK) + len(executorch_file.MARK) + 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="changed or damaged"):
            engines.read(path)
    path.write_bytes(whole[: whole.index(executorch_file.MARK) + 20])
    with pytest.raises(ValueError, match="changed or damaged"):
        engines.read(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="not a decoder that neuroexp has exported"):
        engines.read(path)
    with pytest.raises(ValueError, match=r"is not there: neuroexp export"):
        engines.read(tmp_path / "gone.pte")
    with pytest.raises(ValueError, match=r"engine=onnx does not run decoder\.pte: executorch"):
        engines.of_file(path, "onnx")


@pytest.mark.process
def test_a_compiled_decoder_is_the_same():
    decoder = decoder_of("mldcnn", window=20)
    windows = microvolts(decoder, 1)
    expected = engines.build("eager", decoder, {})(windows)
    np.testing.assert_allclose(engines.build("compiled", decoder, {})(windows), expected, atol=1e-5)


def test_what_openvino_cannot_run_is_said_in_a_sentence(tmp_path):
    path = tmp_path / "decoder.onnx"
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"engine=openvino: OpenVINO cannot run decoder\.onnx: "):
        engines.build("openvino", decoder_of("mldcnn", 20), {"onnx": path})


@pytest.mark.slow
def test_an_export_that_is_foreign_or_damaged_is_refused(tmp_path):
    path = tmp_path / "decoder.onnx"
    onnx_file.write(decoder_of("mldcnn", 20), spec_of(64, 20, 3), path)
    assert onnx_file.read(path).window == 20
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1  # one bit of one weight: any runtime would load it
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="changed or damaged"):
        onnx_file.read(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no ONNX file, or not whole"):
        onnx_file.read(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="no ONNX file"):
        onnx_file.read(path)
    path.write_bytes(whole)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ValueError, match="not a decoder that neuroexp has exported"):
        onnx_file.read(path)
    with pytest.raises(ValueError, match=r"is not there: neuroexp export"):
        onnx_file.read(tmp_path / "gone.onnx")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fast", "engine=fast is none of eager, compiled"),
        ("int8", "needs an exported"),
        ("openvino_int8", "needs an exported"),
        ("executorch", "needs an exported"),
    ],
)
def test_an_engine_that_is_not_there(name, says):
    with pytest.raises(ValueError, match=says):
        engines.build(name, decoder_of("mldcnn", 20), {})


def test_the_timing_of_the_papers_own_cell():
    timing = latency.Timing.of(spec_of(64, 20, 15))
    assert timing.window_ms == pytest.approx(9.766, abs=1e-3)
    assert timing.paper_ms(5.39) == pytest.approx(15.156, abs=1e-3)
    assert timing.age_ms(5.39) == pytest.approx(20.04, abs=0.01)
    assert timing.factor(5.39) > 1  # the published prediction misses its own step of 4.88 ms
    assert timing.unseen == 0
    assert latency.Timing.of(spec_of(64, 20, 15, step=50)).unseen == pytest.approx(0.6)
    caps = latency.Timing.of(spec_of(56, 100, 3, step=None, rate_hz=30000.0, preparation={"exclusion_ms": 3}))
    assert (caps.window_ms, caps.period_ms) == (pytest.approx(10 / 3), 3)


def test_a_run_is_exported_measured_and_loaded_by_mlflow(neuroexp, typed, tmp_path, monkeypatch):
    done = neuroexp("window=20", "step=50", *SMALL, "trainer.max_epochs=3")
    run_id = done.results()[0]["run_id"]
    exported = typed(tmp_path, "export", run_id, "to=implant")
    assert exported.returncode == 0, exported.stderr
    assert exported.stderr == ""
    assert "simulated recording" in exported.stdout
    rows = {row["form"]: row for row in json.loads((tmp_path / "implant" / "export.json").read_text())}
    assert rows["trained"]["score"] == pytest.approx(done.results()[0]["scores"]["test/f1"], abs=1e-6)
    assert rows["onnx"]["largest"] < 1e-5
    assert rows["onnx"]["agree"] == 1
    assert onnx_file.read(tmp_path / "implant" / "decoder_int8.onnx").run_id == run_id

    measured = typed(tmp_path, "latency", f"run_id={run_id}", "engines=eager,int8", "threads=1", "seconds=1")
    assert measured.returncode == 0, measured.stderr
    assert "60% of the samples lie between windows" in measured.stdout
    opened = store(tmp_path)
    metrics = opened.client.get_run(run_id).data.metrics
    assert 0 < metrics["latency/int8_1_p50_ms"] <= metrics["latency/int8_1_p99_ms"]
    assert metrics["export/int8_size_kb"] < metrics["export/onnx_size_kb"]

    alone = [
        "replay",
        "decoder=implant/decoder_int8.onnx",
    ]  # on a machine that has nothing but the file
    recording = ["recording=hdsemg_simulated", "recording.duration_s=12", "recording.units=4"]
    played = typed(tmp_path, *alone, *recording, "threads=2")
    assert played.returncode == 0, played.stderr
    assert "engine decoder_int8.onnx, 2 threads" in played.stdout
    assert "whole recording" in played.stdout

    monkeypatch.setenv("MLFLOW_TRACKING_URI", opened.uri)  # to set it in MLflow would outlive the test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about its own annotations
        model = mlflow.pyfunc.load_model(f"runs:/{run_id}/decoder_onnx")
    windows = RNG.normal(0, 50, (2, 64, 20)).astype(np.float32)
    session = onnx_file.session(tmp_path / "implant" / "decoder.onnx", 1)
    np.testing.assert_allclose(
        model.predict({"windows": windows})["probabilities"], session.run(None, {"windows": windows})[0], atol=1e-6
    )
    assert model.metadata.signature.inputs.input_names() == ["windows"]

    program = ["replay", "decoder=implant/decoder_int8.pte"]
    played = typed(tmp_path, *program, *recording)
    assert (played.returncode, played.stderr) == (0, "")
    assert "engine decoder_int8.pte, 1 thread" in played.stdout

    for words, says in (
        ([*alone, *recording[:2]], "has 6 motor units"),
        ([*program, "engine=openvino"], "engine=openvino does not run decoder_int8.pte: executorch"),
        ([*alone, "engine=eager"], "engine=eager does not run decoder_int8.onnx: onnx, openvino, openvino_bf16"),
    ):
        mistaken = typed(tmp_path, *words)
        assert mistaken.returncode == 1
        assert says in mistaken.stderr
        assert "Traceback" not in mistaken.stderr


def test_words_that_make_no_sense():
    with pytest.raises(ValueError, match="a decoder alone knows no recording: name one with recording=NAME"):
        source.named([])
    with pytest.raises(ValueError, match="calibration=none is no whole number of at least 1"):
        typecheck.whole("calibration", "none")
    with pytest.raises(ValueError, match="engines=quick is none of eager"):
        typecheck.among("engines", "onnx,quick", engines.ENGINES)
    with pytest.raises(ValueError, match="forms=onxx is none of onnx, int8, executorch, executorch_int8"):
        typecheck.among("forms", "int8,onxx", engines.FILES)
    assert engines.forms(typecheck.among("forms", "int8", engines.FILES)) == ["onnx", "int8"]
    with pytest.raises(ValueError, match="threads=0 is no whole number of at least 1"):
        engines.thread_count("0")
    with pytest.raises(ValueError, match=f"threads=1000 is more than the {engines.cores()} cores that are here"):
        engines.thread_count("1000")
