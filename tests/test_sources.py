"""An edited network is another network: its runs are others, and what an earlier run trained is loaded as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL

from neuroexp.deploy import restore
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.settings import keys, sources
from neuroexp.store.job import Job
from neuroexp.sweep.worker import Worker

NETS = """
from torch import nn
from helpers_of_mine import deep


class Net(nn.Module):
    def __init__(self, n_channels, window, n_outputs):
        super().__init__()
        self.layers = deep(n_channels * window, n_outputs)

    def forward(self, windows):
        return self.layers(windows)
"""
HELPERS = """
from torch import nn


def deep(inputs, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay a network of one's own and what it imports into the working folder."""
    (tmp_path / "nets_of_mine.py").write_text(NETS)
    (tmp_path / "helpers_of_mine.py").write_text(HELPERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def test_source_is_what_a_network_is_made_of_and_nothing_is_imported(mine):
    (mine / "package" / "deep").mkdir(parents=True)
    for name, text in (
        ("__init__", ""),
        ("deep/__init__", "from .. import base"),
        ("deep/net", "def f():\n    from .layers import Layer\nimport torch, nowhere_to_be_found\n"),
        ("deep/layers", "from ..base import Base\nimport helpers_of_mine as h\n"),
        ("base", "raise SystemExit"),
        ("unused", ""),
    ):
        (mine / "package" / f"{name}.py").write_text(text)
    found = sources.digests({"model": [{"_target_": "package.deep.net.Net.make"}, {"_target_": "torch.nn.Linear"}]})
    layers = ("package", "package.base", "package.deep", "package.deep.layers", "package.deep.net")
    assert tuple(found) == ("helpers_of_mine", *layers)
    assert not {"package", "helpers_of_mine"} & set(sys.modules)
    before = sources.digests({"_target_": "nets_of_mine.Net"})
    (mine / "helpers_of_mine.py").write_text(HELPERS + "\n")
    after = sources.digests({"_target_": "nets_of_mine.Net"})
    assert [name for name in before if before[name] != after[name]] == ["helpers_of_mine"]
    config = {"model": {"_target_": "nets_of_mine.Net"}}
    key = keys.configuration_key(config)
    (mine / "nets_of_mine.py").write_text(NETS + "\n")
    assert keys.configuration_key(config) != key
    assert sources.digests({"_target_": "gone.Net", "x": {"_target_": "os.system"}}) == {}
    (mine / "broken.py").write_text("def (")
    assert list(sources.digests({"_target_": "broken.Net"})) == ["broken"]


def test_packages_without_init_and_imports_by_name_count_too(mine):
    for name, text in (
        ("plain/net", "from . import near\nfrom .inner.deep import X\n"),
        ("plain/near", "import importlib\nhelpers = importlib.import_module('helpers_of_mine')\n"),
        ("plain/inner/deep", "from ..round import Y\n"),
        ("plain/round", "from .net import Net\n"),
    ):
        place = mine / f"{name}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    found = sources.digests({"_target_": "plain.net.Net"})
    assert list(found) == ["helpers_of_mine", "plain.inner.deep", "plain.near", "plain.net", "plain.round"]
    sources.keep(found, mine / "kept")
    assert sources.index(mine / "kept") == found
    assert sources.file("plain") is sources.file("plain.inner") is sources.file("plain.nowhere.x") is None


@pytest.mark.process
def test_an_edit_that_keeps_time_and_size_is_compiled_anew(mine):
    """As of a file that is unpacked or copied with its time, where a constant is another."""
    path, words = mine / "constant_of_mine.py", [sys.executable, "-c", "import constant_of_mine as c; print(c.VALUE)"]
    without = ("PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH")  # the second of a launch that was composed in this process
    env = {name: value for name, value in os.environ.items() if name not in without}

    def imported(text: str) -> str:
        path.write_text(text)
        os.utime(path, (1e9, 1e9))
        sources.fresh(sources.digests({"_target_": "constant_of_mine.Net"}))
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip()

    assert [imported(f"VALUE = {value}\n") for value in (1, 2, 3)] == ["1", "2", "3"]


def test_of_a_checkout_its_networks_count():
    network = {"_target_": "neuroexp.models.mobilescapenet.MobilESCAPENet"}
    found = sources.digests({"model": network, "split": {"_target_": "neuroexp.data.splits.random"}})
    assert list(found) == ["neuroexp.models._layers", "neuroexp.models.mobilescapenet"]


def test_kept_source_is_the_one_that_is_imported(mine, tmp_path, monkeypatch):
    import importlib

    before = sources.digests({"_target_": "nets_of_mine.Net"})
    sources.keep(before, tmp_path / "kept")
    assert sources.index(tmp_path / "kept") == before
    assert sources.changed(before) == []
    (mine / "nets_of_mine.py").write_text("Net = None\n")
    (mine / "helpers_of_mine.py").unlink()
    assert sources.changed(before) == ["helpers_of_mine", "nets_of_mine"]
    with pytest.raises(ValueError, match="_of_mine changed while this job ran"):
        sources.keep(before, tmp_path / "other")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    sources.Kept(tmp_path / "kept", sources.changed(before)).install()
    assert importlib.import_module("nets_of_mine").Net is not None
    assert sys.modules["nets_of_mine"].__file__.startswith(str(tmp_path / "kept"))
    for name in before:
        sys.modules.pop(name, None)
    for text in ("[1]", "{", '{"../x": "1"}'):
        (tmp_path / "kept" / sources.INDEX).write_text(text)
        with pytest.raises(ValueError, match=r"sources/index.json of this run (cannot be read|names no modules)"):
            sources.index(tmp_path / "kept")


def test_a_worker_that_has_imported_what_was_edited_since_is_replaced(tmp_path):
    worker = Worker()
    config = {"output": str(tmp_path), "report": [], "trusted": [], "x": {"_target_": "os.system"}}
    logs = {"version": 1, "disable_existing_loggers": False}

    def pid(**digests: str) -> int:
        job = Job(config, 0, "x", "y", {}, (), logs, False, False, (), digests)
        result, _ = worker.do(job, None, lambda run_id: None)
        assert "is refused" in result.error
        return worker.process.pid

    try:
        first = pid(net="1")
        assert pid(net="1", other="1") == first
        second = pid(net="2")
        assert second != first
        assert pid(net="2") == second
    finally:
        worker.close()


def test_an_edited_network_is_trained_again_and_the_earlier_one_still_there(neuroexp, typed, mine):
    both = "trusted=[nets_of_mine,helpers_of_mine]"
    words = ("model._target_=nets_of_mine.Net", "~model.dropout", "window=20", "step=50", *SMALL, both)
    [first] = neuroexp(*words).results()
    [again] = neuroexp(*words).results()
    assert (first["status"], again["status"]) == ("finished", "skipped")
    edited = HELPERS.replace("nn.Linear(inputs, outputs))", "nn.Linear(inputs, outputs), nn.Softshrink(0.2))")
    (mine / "helpers_of_mine.py").write_text(edited)
    [other] = neuroexp(*words).results()
    assert other["status"] == "finished"
    assert other["run_id"] != first["run_id"]
    for trusted, code, says in (
        ((), 1, "type 'trusted=[nets_of_mine]' on this command line"),
        (("trusted=[nets_of_mine]",), None, "'trusted=[helpers_of_mine]' takes the source that it kept"),
        ((both,), 0, "helpers_of_mine changed since this run: its source is taken from the run"),
    ):
        done = typed(mine, "export", first["run_id"], "forms=onnx", *trusted)
        assert says in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert code is None or done.returncode == code, done.stderr
    assert f"{first['scores']['test/f1']:.4f}" in done.stdout
    (mine / "helpers_of_mine.py").unlink()  # lost: the run has it
    done = typed(mine, "repeat", first["run_id"], both)
    assert "The scores agree bit for bit." in done.stdout, done.stdout + done.stderr


def test_a_decoder_that_is_not_the_trained_one_is_refused_with_both_numbers(neuroexp, tmp_path, monkeypatch):
    [result] = neuroexp("window=20", "step=50", *SMALL).results()
    monkeypatch.chdir(tmp_path)
    asked = restore.ask([result["run_id"]], "usage")
    back = restore.load(asked)
    found = restore.score(back, back.probabilities)
    assert found == pytest.approx(result["scores"]["test/f1"], abs=1e-6)
    assert abs(restore.score(back, 1 - back.probabilities) - found) > restore.TOLERANCE
    forward = MLDCNN.forward
    monkeypatch.setattr(MLDCNN, "forward", lambda self, windows: -forward(self, windows))
    with pytest.raises(
        ValueError, match=rf"with f1 {found:.4f} and gives 0\.\d+ on its test windows now, so this is not"
    ):
        restore.load(asked)
