"""A configuration names callables; it may not name whatever it likes."""

import subprocess
import sys

import pytest
from conftest import SMALL
from hydra.utils import get_object

from neuroexp import targets


@pytest.mark.parametrize(
    "target",
    ["neuroexp.models.mldcnn.MLDCNN", "pytorch_lightning.Trainer", "torch.optim.Adam", "torch.nn.Linear"],
)
def test_what_the_shipped_configurations_name_may_be_named(target):
    targets.check_name(target, [])
    targets.check_home(target, get_object(target), [])


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.eval", "torch.load", "torch.hub.load", "neuroexperiments.thing", None, 3]
)
def test_what_lies_outside_is_refused_before_it_is_imported(target):
    with pytest.raises(ValueError, match=f"_target_={target} is outside neuroexp"):
        targets.check_name(target, [])


@pytest.mark.parametrize("target", ["neuroexp.launch.os.system", "neuroexp.memory.ctypes.CDLL"])
def test_a_way_through_our_own_imports_is_refused(target):
    targets.check_name(target, [])
    with pytest.raises(ValueError, match="which a configuration may not name"):
        targets.check_home(target, get_object(target), [])


def test_the_command_line_refuses_and_runs_nothing(neuroexp, tmp_path):
    (tmp_path / "mine.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    done = neuroexp("model._target_=mine.Net", "trainer=smoke", PYTHONPATH=str(tmp_path))
    assert done.code == 1
    assert "_target_=mine.Net is outside neuroexp" in done.text
    assert "trusted=[...]" in done.text
    assert not (tmp_path / "ran").exists()
    assert "mine" not in sys.modules


OWN = """
from torch import nn


class Own(nn.Sequential):
    def __init__(self, n_channels, window, n_outputs, width=8):
        super().__init__(nn.Flatten(), nn.Linear(n_channels * window, width), nn.ReLU(), nn.Linear(width, n_outputs))
"""


def test_a_network_of_ones_own_needs_no_checkout(neuroexp, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "own.yaml").write_text("_target_: own_networks.Own\nwidth: 16\n")
    (tmp_path / "own_networks.py").write_text(OWN)
    words = ("--config-dir", "mine", "window=20", "step=50", "trusted=[own_networks]")
    done = neuroexp(*words, "-m", "model=own,mldcnn", *SMALL)
    assert done.code == 0, done.out
    assert [result["status"] for result in done.results()] == ["finished", "finished"]
    for module, says in (("plan", "1 finished run"), ("cost", "own W20 S50")):
        line = [sys.executable, "-m", f"neuroexp.{module}", *words, "model=own", *(SMALL * (module == "plan"))]
        line += ["seed=1"] * (module == "plan")
        found = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        assert says in found.stdout
