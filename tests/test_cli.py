"""The command line as its users meet it: real processes in an empty folder."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import SMALL, cell, write_demuse, write_otb

from neuroexp.models.mldcnn import MLDCNN
from neuroexp.recordings import hdsemg_simulated
from neuroexp.store.tracking import Store


@pytest.fixture(scope="module")
def short():
    return hdsemg_simulated.read(duration_s=12, units=4)


def store(folder, experiment="scratch") -> Store:
    return Store(f"sqlite:///{folder}/outputs/mlflow.db", str(folder / "outputs" / "artifacts"), experiment)


def runs(folder) -> list:
    opened = store(folder)
    return opened.client.search_runs([opened.experiment_id], order_by=["start_time ASC"])


def test_one_run_leaves_everything_a_reader_looks_for(afresh):
    done = afresh("recording.duration_s=12", "recording.units=4", "trainer.max_epochs=2")
    assert done.code == 0, done.out
    [result] = done.results()
    assert result["status"] == "finished"
    [run] = runs(done.folder)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "mldcnn W60 S10 fold0 duration_s=12 units=4 max_epochs=2"
    wanted = {
        "model": "mldcnn",
        "window": "60",
        "step": "10",
        "fold": "0",
        "split": "blocked",
        "recording": "hdsemg_simulated",
    }
    assert wanted.items() <= run.data.params.items()
    metrics = run.data.metrics
    for name in (
        "precision",
        "sensitivity",
        "f1",
        "miss_rate",
        "auprc",
        "identified_units",
        "identified_share",
        "rate_of_agreement",
        "roa_90_share",
    ):
        assert f"test/{name}" in metrics
    assert metrics["spread/f1"] >= 0
    assert metrics["baseline/identified_all_positive"] == metrics["ceiling/roa_90_share"] == 1
    assert metrics["data/test_windows_overlapping_train"] == 0
    assert 0 < metrics["data/positive_rate"] < 0.2
    assert 0 < metrics["baseline/f1_chance"] < metrics["baseline/f1_all_positive"] < 0.4
    assert metrics["cost/parameters"] == sum(p.numel() for p in MLDCNN(64, 60, 4).parameters())
    opened = store(done.folder)
    assert len(opened.client.get_metric_history(run.info.run_id, "val/loss")) == 2
    files = done.folder / "outputs" / "artifacts" / run.info.run_id / "artifacts"
    for name in ("config.yaml", "environment.json", "per_unit.csv", "job.log", "plots/loss.png", "plots/raster.png"):
        assert (files / name).stat().st_size > 0, name
    for name in ("plots/f1_per_unit.png", "plots/action_potentials.png"):
        assert (files / name).read_bytes()[:4] == b"\x89PNG"
    assert len((files / "per_unit.csv").read_text().splitlines()) == 5
    weights = torch.load(files / "model.pt", weights_only=True)
    MLDCNN(64, 60, 4).load_state_dict(weights)
    assert not list(done.folder.rglob("*.ckpt"))
    assert [path.name for path in done.folder.iterdir()] == ["outputs"]  # nothing is written elsewhere
    # nothing but the table and the way to MLflow
    assert "Warning" not in done.out
    assert "INFO" not in done.out
    lines = [line for line in done.out.splitlines() if line.strip()]
    assert lines[0] == "with duration_s=12 units=4 max_epochs=2"
    assert (
        len([line for line in lines if not line.startswith("†") and "no discharge of the test part" not in line]) == 5
    )
    assert result["link"] in done.out


def test_sweep_then_the_same_sweep_trains_nothing(neuroexp):
    words = ("-m", "window=20,60", "step=10,50", *SMALL)
    first, second = neuroexp(*words), neuroexp(*words)
    assert (first.code, second.code) == (0, 0), first.out + second.out
    assert [r["status"] for r in second.results()] == ["skipped"] * 4
    found = runs(first.folder)
    assert len(found) == 4
    assert {(r.data.params["window"], r.data.params["step"]) for r in found} == {
        (w, s) for w in ("20", "60") for s in ("10", "50")
    }
    latest = {run.data.tags["sweep"] for run in found}
    assert len(latest) == 1
    assert latest.pop() in second.out  # the link of the second sweep shows the runs of the first


def test_same_seed_same_scores_other_seed_other_scores(neuroexp):
    words = (*SMALL, "trainer.max_epochs=2")
    first = neuroexp("-m", "seed=0,1", *words).results()
    [again] = neuroexp(*words, "tracking.uri=sqlite:///other.db", "tracking.artifacts=other").results()
    assert again["status"] == "finished"  # in a store of its own, so trained and not skipped
    losses = [result["scores"]["test/loss"] for result in (*first, again)]
    assert losses[0] == losses[2] != losses[1]


def test_one_failing_cell_of_six_leaves_five_finished_runs(neuroexp):
    done = neuroexp("-m", "window=20,60,100,140,16,15", *SMALL)
    assert done.code == 1
    statuses = {r["name"]: r["status"] for r in done.results()}
    assert list(statuses.values()).count("finished") == 5
    assert statuses["W15 mldcnn S10 fold0 duration_s=12 units=4 trainer=smoke"] == "failed"
    assert "window=15 is too short for this network: its smallest window is 16 samples" in done.text
    assert "Traceback" not in done.out
    [failed] = [run for run in runs(done.folder) if run.info.run_name.startswith("W15 ")]
    assert failed.info.status == "FAILED"
    files = done.folder / "outputs" / "artifacts" / failed.info.run_id / "artifacts"
    assert "Traceback" in (files / "traceback.txt").read_text()
    assert "Traceback" in (files / "job.log").read_text()
    assert "smallest window is 16" in failed.data.tags["error"]


MISTAKES = [
    (["window=2o"], "window=2o is no whole number"),
    (["step=0"], "step=0 is no whole number of at least 1"),
    (["report=5"], "report=5 is no list of scores, such as report=[test/f1]"),
    (["report=[test/f1,5]"], "is no list of scores, such as report=[test/f1]"),
    (["report=[]"], "report=[] is no list of scores, such as report=[test/f1]"),
    (["step=-5"], "step=-5 is no whole number of at least 1"),
    (["fold=7"], "fold=7 names none of the five subsets: it must be 0 to 4"),
    (["windw=20"], "windw is no setting: did you mean window? Valid: budget, cache,"),
    (["window=2500"], "window=2500 is longer than the shortest block of split=blocked"),
    (["window=90000", "split=random"], "window=90000 is longer than the recording"),
    (["split=contraction"], "needs at least two contractions, this recording has 1"),
    (["recording.mvc=0"], "recording.mvc=0 is outside 1 to 100"),
    (["recording=otb"], "otb_testfile.mat is not there; neuroexp fetch brings the sample recording"),
    (["recording=demuse"], "recording=demuse needs a file: add recording.path=FILE.mat"),
    (["recording=demuse", "recording.path=gone.mat"], "gone.mat is not there"),
    (["dataset.rate_hz=2000"], "sampled at 2048 Hz, but dataset.rate_hz is 2000"),
    (["dataset.band_hz=[20,2000]"], "a band-pass of 20 to 2000 Hz does not fit a sampling rate of 2048 Hz"),
    (["dataset.batch_size=0"], "dataset.batch_size=0 must be at least 1"),
    (["task.threshold=2"], "task.threshold=2 is no probability"),
    (["optimizer.lr=-1"], "Invalid learning rate: -1"),
    (["optimizer.lr=fast"], "optimizer.lr=fast must be a number"),
    (["trainer.max_epochs=ten"], "trainer.max_epochs=ten must be a whole number or null"),
    (["recording.mvc=null"], "recording.mvc=null must be a number"),
    (["trainer.max_epochs=0"], "trainer.max_epochs=0 trains nothing"),
    (["recording=hdsemg_crossed"], "tests at recording.test_mvc with split=contraction fold=1 alone"),
    (
        ["recording=intan"],
        "recording=intan is for dataset=eng, which decodes a nerve cuff; dataset=hdsemg takes recording=hd",
    ),
    (
        ["split=stimulus"],
        "split=stimulus is for dataset=eng, which decodes a nerve cuff; dataset=hdsemg takes split=blocked, r",
    ),
    (["task=classification"], "dataset=hdsemg takes task=decomposition"),
    (["dataset.align=maybe"], "dataset.align=maybe must be true or false"),
]


def test_every_mistake_gets_one_sentence_and_a_failing_exit(several):
    simulated = [not any(word.startswith("recording=") for word in words) for words, _ in MISTAKES]
    short = [
        [*words, *["recording.duration_s=12"] * made] for (words, _), made in zip(MISTAKES, simulated, strict=True)
    ]
    for (_, says), done in zip(MISTAKES, several(short), strict=True):
        assert done.code == 1, done.out
        assert says in done.text
        assert "Traceback" not in done.out


@pytest.mark.parametrize(
    ("write", "group", "changes", "says"),
    [
        (
            write_otb,
            "otb",
            {"SamplingFrequency": np.array([[1000.0]])},
            "sampled at 1000 Hz, but dataset.rate_hz is 2048",
        ),
        (write_demuse, "demuse", {"MUPulses": np.empty((0, 0))}, "there are no spike trains"),
        (
            write_demuse,
            "demuse",
            {"MUPulses": cell(np.array([[9, 50]]), np.empty((1, 0)), shape=(1, 2))},
            "motor unit 2 has no",
        ),
    ],
)
def test_a_bad_file_is_named(neuroexp, tmp_path, short, write, group, changes, says):
    path = write(tmp_path / "mine.mat", short, **changes)
    done = neuroexp(f"recording={group}", f"recording.path={path}", "trainer=smoke")
    assert done.code == 1
    assert "mine" in done.text
    assert says in done.text
    assert "Traceback" not in done.out


def test_own_files_run_under_every_network(neuroexp, tmp_path, short):
    path = write_demuse(tmp_path / "S1_10_GM.mat", short)
    done = neuroexp(
        "-m", "recording=demuse", f"recording.path={path}", "model=mldcnn,mtdcnn,mldrsnet", "window=20", "step=50",
        "label=centre", "optimizer=rmsprop", "trainer=smoke", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1",
    )  # fmt: skip
    assert done.code == 0, done.out
    assert [r["status"] for r in done.results()] == ["finished"] * 3
    assert (
        done.results()[0]["name"]
        == "mldcnn demuse W20 S50 fold0 path=S1_10_GM label=centre optimizer=rmsprop trainer=smoke limit_train_batches=1 "
        "limit_val_batches=1"
    )


def test_real_recording(neuroexp, sample_recording):
    done = neuroexp(
        "-m", "recording=otb", "window=20", "step=50", "trainer=smoke", "dataset.align=true,false", "split=random,blocked",
        NEUROEXP_DATA=str(sample_recording.parent),
    )  # fmt: skip
    assert done.code == 0, done.out
    results = done.results()
    assert all(r["scores"]["data/units"] == 5 for r in results)
    assert results[0]["scores"]["data/mean_absolute_lag_ms"] > 1


def test_several_contractions(neuroexp):
    done = neuroexp(
        "split=contraction", "fold=2", "recording.contractions=3", "recording.duration_s=24", "trainer=smoke"
    )
    assert done.code == 0, done.out
    [result] = done.results()
    assert result["scores"]["data/test_windows_overlapping_train"] == 0


def test_four_workers_share_a_fresh_store(begin, tmp_path):
    found = [begin(tmp_path, f"fold={fold}", *SMALL, OMP_NUM_THREADS="1") for fold in range(4)]
    outs = [process.communicate()[0] for process in found]
    assert [process.returncode for process in found] == [0] * 4, outs
    assert len(runs(tmp_path)) == 4


def test_ctrl_c_marks_the_run_killed_and_the_next_launch_repeats_it(neuroexp, begin, tmp_path):
    endless = ("trainer.max_epochs=1000", "~trainer.callbacks.early_stopping")
    process = begin(tmp_path, "-m", "window=60,20", "recording.duration_s=12", *endless)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "outputs" / "cells").glob("*/*/best.ckpt")):
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "killed" in out
    assert "Traceback" not in out
    [run] = runs(tmp_path)
    assert run.info.status == "KILLED"
    again = neuroexp("recording.duration_s=12", "trainer=smoke")
    assert again.code == 0, again.out


def imported(*words: str) -> set[str]:
    """Return the modules that a Python with these words imports."""
    traced = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    return {line.rsplit("|", 1)[-1].strip() for line in traced.stderr.splitlines() if line.startswith("import time:")}


def test_help_names_groups_options_and_examples(afresh):
    helped = afresh("--help")
    for word in (
        "mldcnn, mldrsnet, mobilescapenet, mtdcnn",
        "split: blocked, contraction, given, random, stimulus",
        "neuroexp -m window=20,60",
    ):
        assert word in helped.out


@pytest.mark.process
@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_help_and_config_import_little_more_than_hydra(words):  # benchmarks/startup.py has the times
    ours, hydra = imported("-m", "neuroexp", *words), imported("-c", "import hydra")
    assert ("hydra" in ours) == (words != ["--help"])  # which needs no more than the files of the groups
    assert not ours & {"torch", "pytorch_lightning", "mlflow", "numpy", "scipy", "matplotlib"}
    assert len(ours) < 2 * len(hydra)
