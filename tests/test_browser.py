"""MLflow's pages of a sweep as a browser shows them: the real server, a real Chromium."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from test_cli import runs, store
from test_survival import TINY, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look with"),
]


def page(address: str, profile: str) -> str:
    """Return the words on a page after its scripts have run."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=3200,1200", "--virtual-time-budget=60000"]
    done = subprocess.run(
        [CHROMIUM, *words, f"--user-data-dir={profile}", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", done.stdout, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.fixture
def server(neuroexp, tmp_path):
    """A sweep of two cells, and MLflow's server on its store; yields the address."""
    done = neuroexp("-m", "window=20,60", *(word for word in TINY if "window" not in word), "trainer=smoke")
    assert done.code == 0, done.out
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", port, "--backend-store-uri", uri],
        cwd=tmp_path, env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(port))) == 0

    wait_for(answers)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_sweep_is_found_with_its_columns_and_two_runs_compare(server, tmp_path):
    opened, found = store(tmp_path), runs(tmp_path)
    sweep = found[0].data.tags["sweep"]
    table = page(opened.link(sweep, server), str(tmp_path / "profile"))
    for run in found:
        assert run.info.run_name in table
    columns = (
        "test/f1",
        "test/precision",
        "baseline/f1_chance",
        "recording",
        "model",
        "window",
        "step",
        "split",
        "fold",
    )
    headers = table[table.index("Run Name") :]
    places = [headers.find(f" {column} ") for column in columns]
    assert -1 not in places, dict(zip(columns, places, strict=True))
    assert "2 matching runs" in table

    ids = ",".join(f'"{run.info.run_id}"' for run in found)
    compared = page(
        f'{server}/#/compare-runs?runs=[{ids}]&experiments=["{opened.experiment_id}"]', str(tmp_path / "profile")
    )
    assert "Comparing 2 Runs from 1 Experiment" in compared
    assert "Parallel Coordinates Plot" in compared
    for word in ("window", "baseline/f1_chance", *(run.info.run_name for run in found)):
        assert word in compared
