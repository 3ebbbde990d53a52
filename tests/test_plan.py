"""The plan of a sweep: the jobs that the sweep would have, what is finished of them, what the rest takes."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import SMALL
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from neuroexp.commands import plan
from neuroexp.machine import places
from neuroexp.settings import keys
from neuroexp.sweep import dispatch, launch


def key_as_hydra_composes(*words: str) -> tuple[str, str]:
    with initialize_config_module("neuroexp.conf", version_base="1.3"):
        cfg = compose("config", list(words), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.cwd, cfg.hydra.runtime.output_dir, cfg.hydra.job.num = "/", "/", 0
        cfg.hydra.overrides.task = list(words)
    HydraConfig.instance().set_config(cfg)
    plain = cfg.copy()
    with open_dict(plain):
        del plain["hydra"]
    job = dispatch.describe(plain)
    return keys.configuration_key(job.config), job.name


@pytest.fixture
def begun(monkeypatch):
    for name in (launch.NAME, places.LAUNCH, launch.BAR, launch.PID):
        monkeypatch.setenv(name, "")
    launch.begin()


@pytest.mark.slow
def test_jobs_are_those_that_hydra_composes(begun):
    words = ["dataset=hdsemg,eng", "trainer=smoke", "seed=0,1", "optimizer.lr=1e-3,0.5"]
    found = [(keys.configuration_key(job.config), job.name) for job in plan.composed(words)]
    expected = [
        key_as_hydra_composes(f"dataset={dataset}", "trainer=smoke", f"seed={seed}", f"optimizer.lr={lr}")
        for dataset in ("hdsemg", "eng")
        for seed in (0, 1)
        for lr in ("0.001", "0.5")  # as the sweeper spells them
    ]
    assert found == expected


def test_an_experiment_is_narrowed_by_what_is_typed(begun):
    words = ["experiment=mldrsnet/window_step", "model=mldcnn,mtdcnn", "window=20", "fold=3"]
    jobs = list(plan.composed(words))
    cells = {(job.parameters["model"], job.config["window"], job.config["step"], job.config["fold"]) for job in jobs}
    assert cells == {(model, 20, step, 3) for model in ("mldcnn", "mtdcnn") for step in range(10, 60, 10)}


def test_a_plan_before_and_after_a_part_of_the_sweep(neuroexp, typed, tmp_path):
    sweep = ("window=20", "step=40,50", "seed=0,1", *SMALL)
    before = typed(tmp_path, "plan", "-m", *sweep)
    assert before.returncode == 0, before.stderr
    assert "4 jobs: 0 finished, 4 to do" in before.stdout
    assert before.stdout.count("a few steps, all epochs") == 2
    assert "2 at a time:" in before.stdout
    assert not (tmp_path / "outputs").exists()  # a plan leaves nothing behind
    done = neuroexp("-m", "window=20", "step=50", "seed=0", *SMALL)
    assert done.code == 0, done.out
    after = typed(tmp_path, "plan", "-m", *sweep)
    assert "4 jobs: 1 finished, 3 to do" in after.stdout
    assert "1 finished run" in after.stdout  # what step=50 took is known by now
    assert "4 jobs: 4 finished, 0 to do" not in after.stdout


@pytest.mark.process
def test_ctrl_c_ends_a_command_in_a_word(tmp_path):
    words = [sys.executable, "-m", "neuroexp", "plan", "-m", "seed=range(4000)", "window=20,40,60"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(3)  # where ever it is by then
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert (out, errors) == ("", "stopped\n")


def test_runs_of_other_epochs_say_nothing_of_the_time():
    run = {"recording": "otb", "model": "mldcnn", "window": "20", "step": "10", "trainer": "default"}
    run |= {"time/fit_s": 2.0, "time/test_s": 1.0, "cost/parameters": 1000, "trainer.max_epochs": "2", "fold": "0"}
    kind = plan._kind_of({"recording": "otb", "model": "mldcnn", "window": 20, "step": 10, "trainer": "default"})
    assert plan.known(kind, [run]) is None
    assert plan.known((*kind[:-1], "max_epochs=2"), [run]).seconds == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["window=2o"], "window=2o is no whole number"),
        (["windw=20"], "windw"),
        (["model=resnet"], "model=resnet is not there"),
        (["recording=otb", "recording.path=gone.mat"], "gone.mat is not there"),
    ],
)
def test_a_mistake_gets_one_sentence(typed, tmp_path, words, says):
    done = typed(tmp_path, "plan", "-m", *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
