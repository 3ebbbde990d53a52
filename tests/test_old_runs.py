"""Runs that an early version recorded, whose configurations name callables by names that they no longer have."""

import zipfile
from pathlib import Path

import pytest
import yaml

from neuroexp.settings import callables, renamed
from neuroexp.store import runfiles

KEPT = Path(__file__).parent / "stores" / "4e279ef.zip"  # a store as revision 4e279ef wrote it, without pictures
STEP, WINDOW, CENTRE = "e35b0342", "f8dd25b1", "d487ac6a"  # labels of HD-sEMG
RANDOM, STIMULUS = "5c6116d2", "60ba5c49"  # splits of a cuff


@pytest.fixture
def old(tmp_path):
    """Outputs of an early version."""
    with zipfile.ZipFile(KEPT) as kept:
        kept.extractall(tmp_path)
    return tmp_path


def test_every_callable_of_an_old_run_has_a_name_that_may_be_built(old):
    found = [*(old / "outputs" / "artifacts").glob("*/artifacts/config.yaml")]
    assert len(found) == 5
    for path in found:
        text = path.read_text()
        assert any(name in text for name in renamed.NOW)
        callables.check_names(runfiles.configuration(text, path.parent.parent.name), ())


def test_renaming_and_back_changes_nothing():
    names = [{"_target_": name, "a": [{"_target_": name, "b": name}]} for name in renamed.NOW]
    for node in names:
        assert renamed.original(renamed.current(node)) == node
        assert renamed.current(node)["_target_"] in callables.OURS | {"neuroexp.sweep.launch.Launch"}
        assert renamed.current(node)["a"][0]["b"] == node["_target_"]  # no name of a callable, whatever it says
    assert yaml.safe_load("_target_: 3") == renamed.current({"_target_": 3})


@pytest.mark.parametrize("run_id", [WINDOW, RANDOM, STIMULUS])
@pytest.mark.process
def test_an_old_run_is_exported_with_the_score_that_it_recorded(typed, old, run_id):
    done = typed(old, "export", run_id, "forms=onnx")
    assert done.returncode == 0, done.stderr
    assert (old / "outputs" / "export" / run_id / "decoder.onnx").exists()
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    exact = [row for form, row in rows.items() if form in ("trained", "onnx", "openvino")]
    assert len(exact) >= 2
    assert all("100.00%" in row for row in exact), done.stdout


@pytest.mark.process
def test_an_old_run_is_replayed(typed, old):
    done = typed(old, "replay", CENTRE)
    assert done.returncode == 0, done.stderr
    assert "whole recording" in done.stdout


@pytest.mark.parametrize("run_id", [STEP, STIMULUS])
@pytest.mark.process
def test_an_old_run_repeats(typed, old, run_id):
    done = typed(old, "repeat", run_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The scores agree" in done.stdout
