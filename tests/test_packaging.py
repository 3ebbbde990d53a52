"""The wheel carries its configuration and works from an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_wheel_holds_code_and_configuration_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "neuroexp/conf/config.yaml" in names
    assert "neuroexp/conf/experiment/mldrsnet/window_step.yaml" in names
    outside = {name.split("/")[0] for name in names if not name.startswith("neuroexp/")}
    assert all(name.endswith(".dist-info") for name in outside)
    carried = {
        name.removeprefix("neuroexp/conf/") for name in names if name.startswith("neuroexp/conf/") and "yaml" in name
    }
    assert carried == {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*.yaml")}
    assert {"neuroexp/experiments/published.csv", "neuroexp/experiments/report.html", "neuroexp/cost/devices.csv"} <= {
        *names
    }


def test_wheel_runs_from_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty folder"
    empty.mkdir()
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(words, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    run = [sys.executable, "-m", "neuroexp", "trainer=smoke", "recording.duration_s=12"]
    done = subprocess.run(run, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished" in done.stdout
    report = [str(site / "bin" / "neuroexp"), "report", "mobilescapenet/complexity"]
    made = subprocess.run(report, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "computed from the networks themselves" in made.stdout
    where = subprocess.run(
        [sys.executable, "-c", "import neuroexp; print(neuroexp.__file__)"],
        cwd=empty, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
