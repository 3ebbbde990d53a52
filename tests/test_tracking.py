"""The store, on real SQLite: safe to open at once, written in batches, asked for what is finished."""

import json
import subprocess
import sys
import threading
import zlib
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest

from neuroexp.settings import keys
from neuroexp.store import finished_run, provenance
from neuroexp.store.job import Job
from neuroexp.store.ledger import Cell
from neuroexp.store.open_run import Run, new_record
from neuroexp.store.tracking import Store, StoreError
from neuroexp.store.tracking import open_store as open_tracking
from neuroexp.sweep.attempt import _begin as begin_cell
from neuroexp.sweep.attempt import deliver
from neuroexp.sweep.outcome import Outcome


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a folder/mlflow.db"


def open_store(uri: str, tmp_path: Path) -> Store:
    return Store(uri, str(tmp_path / "a folder" / "artifacts"), "scratch")


def begin(store: Store | None, tmp_path: Path, key: str, **parameters: object) -> Run:
    folder = Cell(tmp_path / "cells", f"sqlite:///{tmp_path}/a folder/mlflow.db", "scratch", key).files
    return Run(store, new_record(key, "name", "sweep", parameters, {}), folder)


def test_a_run_is_finished_only_when_it_was_ended_so(uri, tmp_path):
    store = open_store(uri, tmp_path)
    for key, status in (("a", "FINISHED"), ("b", "FAILED"), ("c", "KILLED")):
        run = begin(store, tmp_path, key, window=20)
        run.metrics({"test/f1": 0.5})
        assert store.finished(key) is None
        run.end(status)
        assert run.send()
    begin(store, tmp_path, "d")  # as after a SIGKILL: still RUNNING
    assert store.finished("a")["scores"] == {"test/f1": 0.5}
    assert [store.finished(key) for key in "bcd"] == [None] * 3
    [row] = store.runs()
    assert (row["window"], row["test/f1"], row["tag.sweep"]) == ("20", 0.5, "sweep")
    store.join(row["run_id"], "later")
    [row] = store.runs("tags.`sweep.sweep` = 'true'")  # in the view of its own sweep for ever
    assert (row["tag.sweep"], row["tag.sweep.later"]) == ("later", "true")


def test_a_run_that_mlflow_calls_finished_but_was_never_tested_does_not_count(uri, tmp_path):
    store = open_store(uri, tmp_path)
    run = begin(store, tmp_path, "key")
    store.client.set_terminated(run.run_id, "FINISHED")
    assert store.finished("key") is None


def test_the_beginning_of_an_id_names_a_run_unless_several_begin_so(uri, tmp_path):
    store = open_store(uri, tmp_path)
    runs = [begin(store, tmp_path, str(number)) for number in range(17)]  # more than there are first characters
    for run in runs:
        for name in ("config.yaml", "environment.json"):
            run.text("{}", name)
        run.end("FINISHED")
        assert run.send()
    ids = [run.run_id for run in runs]
    assert finished_run.read(uri, ids[3])["run_id"] == ids[3]
    assert finished_run.read(uri, ids[3][:12])["run_id"] == ids[3]
    several = max({first[0] for first in ids}, key=lambda first: sum(other[0] == first for other in ids))
    with pytest.raises(ValueError, match=rf"run {several} may be {several}\w+ or {several}\w+: type more of it"):
        finished_run.read(uri, several)
    for unknown in ("nope", "", "%", ids[3] + "0"):
        with pytest.raises(ValueError, match=f"run {unknown} is not in sqlite:///"):
            finished_run.read(uri, unknown)
    store.client.delete_run(ids[3])
    with pytest.raises(ValueError, match="is not in sqlite:///"):
        finished_run.read(uri, ids[3])


def finish(run: Run) -> dict:
    for epoch in range(2500):  # more than one batch of MLflow
        run.metrics({"val/loss": 1 / (epoch + 1), "val/f1": float("nan"), "train/loss": float("inf")}, epoch)
    run.text("a: 1", "config.yaml")
    (run.folder / "plots").mkdir()
    (run.folder / "plots" / "x.png").write_bytes(b"png")
    run.dataset("a recording", "0123456789abcdef0123", {"units": 5})
    run.notes(["a: it is odd", "b: it is odder"])
    return run.end("FINISHED")


def check_everything(store: Store, run_id: str, uri: str, tmp_path: Path) -> None:
    history = store.client.get_metric_history(run_id, "val/loss")
    assert [point.step for point in history] == list(range(2500))
    stored = store.client.get_run(run_id)
    assert stored.info.status == "FINISHED"
    assert set(stored.data.metrics) == {"val/loss"}  # no NaN, no infinity
    assert stored.data.params == {"window": "20", "model": "mldcnn"}
    assert [entry.dataset.digest for entry in stored.inputs.dataset_inputs] == ["0123456789abcdef"]
    kept = tmp_path / "kept"
    kept.mkdir()
    mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=str(kept), tracking_uri=uri)
    assert (kept / "config.yaml").read_text() == "a: 1"
    assert (kept / "notes.txt").read_text() == "a: it is odd\nb: it is odder\n"
    assert stored.data.tags["neuroexp.notes"] == "a: it is odd\nb: it is odder"
    assert store.finished("key")["notes"] == ["a: it is odd", "b: it is odder"]
    assert (kept / "plots" / "x.png").read_bytes() == b"png"


def test_everything_written_is_there(uri, tmp_path):
    store = open_store(uri, tmp_path)
    run = begin(store, tmp_path, "key", window=20, model="mldcnn")
    finish(run)
    assert run.send()
    check_everything(store, run.run_id, uri, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("died", ["before it was sent", "before the run was known", "after it was sent"])
def test_a_record_is_delivered_exactly_once(uri, tmp_path, died):
    store = open_store(uri, tmp_path)
    run = begin(store if died != "before the run was known" else None, tmp_path, "key", window=20, model="mldcnn")
    record = finish(run) | {"scores": {}}
    if died == "after it was sent":
        assert run.send()
    cell = Cell(tmp_path / "cells", uri, "scratch", "key")
    cell.publish(record)
    for _ in range(2):
        deliver(cell, cell.record(), store)
    assert cell.record()["sent"]
    assert not run.folder.exists()
    [row] = store.runs()
    check_everything(store, row["run_id"], uri, tmp_path)


def test_a_store_that_is_away_costs_nothing_that_was_computed(tmp_path):
    with pytest.raises(StoreError, match=r"http://127.0.0.1:9 does not answer"):
        open_tracking("http://127.0.0.1:9", "", "scratch")
    run = begin(None, tmp_path, "key", window=20, model="mldcnn")
    finish(run)
    assert not run.send()
    assert len(run.record["metrics"]) == 2500


def test_the_saved_view_of_a_sweep_can_be_read_back_and_old_ones_go(uri, tmp_path):
    store = open_store(uri, tmp_path)
    for number in range(35):
        store.save_view(f"2026-{number:02}", ["window"], ["test/f1", "val/f1"])
    tags = store.client.get_experiment(store.experiment_id).tags
    views = sorted(key for key in tags if key.startswith("mlflow.sharedViewState."))
    assert views == [f"mlflow.sharedViewState.neuroexp-2026-{number:02}" for number in range(5, 35)]
    view = json.loads(tags[views[-1]])
    assert isinstance(view["createdAt"], int)  # MLflow drops the view otherwise
    state = json.loads(zlib.decompress(b64decode(view["state"].removeprefix("deflate;"))))
    assert state["selectedColumns"] == [
        "metrics.`test/f1`",
        "metrics.`val/f1`",
        "metrics.`train/converged`",
        "params.`window`",
        "attributes.`Dataset`",
    ]
    assert state["searchFilter"] == "tags.`sweep.2026-34` = 'true'"
    assert store.link("2026-34") == (
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=neuroexp-2026-34"
    )


def test_a_deleted_experiment_is_named(uri, tmp_path):
    store = open_store(uri, tmp_path)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(ValueError, match="'scratch' is deleted"):
        open_store(uri, tmp_path)


@pytest.mark.process
def test_four_workers_open_a_fresh_store_at_once(uri, tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from neuroexp.store.open_run import Run, new_record; from neuroexp.store.tracking import Store\n"
        "store = Store(sys.argv[1], sys.argv[2], 'scratch')\n"
        "run = Run(store, new_record(sys.argv[3], 'name', 'sweep', {'window': 20}, {}), Path(sys.argv[2], sys.argv[3]))\n"
        "run.dataset('the same', '0123456789abcdef0', {}); run.metrics({'test/f1': 1.0}); run.end('FINISHED')\n"
        "assert run.send()\n"
    )
    words = [sys.executable, "-c", script, uri, str(tmp_path / "artifacts")]
    workers = [subprocess.Popen([*words, str(number)], stderr=subprocess.PIPE, text=True) for number in range(4)]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, errors
    store = open_store(uri, tmp_path)
    assert sorted(row["tag.neuroexp.key"] for row in store.runs()) == list("0123")
    assert len({store.client.get_experiment_by_name("scratch").experiment_id}) == 1


def config(**changes) -> dict:
    base = {
        "window": 20,
        "recording": {"path": None, "snr_db": 20},
        "trainer": {"max_epochs": 1, "accelerator": "auto", "default_root_dir": "here"},
        "output": "here",
        "tracking": {"uri": "a"},
        "report": ["test/f1"],
    }
    return base | changes


def test_the_key_depends_on_the_science_alone():
    key = keys.configuration_key(config())
    assert key == keys.configuration_key(config(output="there", tracking={"uri": "b"}, report=[]))
    moved = {"max_epochs": 1, "accelerator": "gpu", "default_root_dir": "there"}
    assert key == keys.configuration_key(config(trainer=moved))
    assert key != keys.configuration_key(config(window=21))
    assert key != keys.configuration_key(config(trainer=moved | {"max_epochs": 2}))


def test_the_key_follows_the_bytes_of_a_recording_not_its_place(tmp_path):
    def key(path: Path) -> str:
        return keys.configuration_key(config(recording={"path": str(path)}))

    one, same, other = (tmp_path / name for name in ("one.mat", "same.mat", "other.mat"))
    one.write_bytes(b"signal")
    same.write_bytes(b"signal")
    other.write_bytes(b"another")
    assert key(one) == key(same) != key(other)
    before = key(one)
    one.write_bytes(b"signal, edited")
    assert key(one) != before


def test_revision_and_environment_are_known():
    environment = provenance.environment()
    assert environment["packages"]["torch"].startswith("2.")
    revision = provenance.revision()
    assert revision == {} or len(revision["mlflow.source.git.commit"]) == 40


@pytest.mark.slow
def test_of_those_who_begin_a_cell_at_once_from_different_ledgers_one_finishes_it(uri, tmp_path):
    def machine(number: int) -> None:  # as one that shares the store and nothing else
        store = open_store(uri, tmp_path)
        for key in keys:
            job = Job(
                {"output": str(tmp_path / f"{number} {key}"), "report": ["test/f1"]},
                0,
                "name",
                "sweep",
                {},
                (),
                {},
                bar=False,
                parallel=False,
            )
            cell = Cell(tmp_path / str(number), uri, "scratch", key)
            together.wait()
            with cell.claim() as mine:
                begun = begin_cell(job, Outcome.of(job), cell, store, mine)
                if isinstance(begun, Run):
                    begun.end("FINISHED")
                    assert begun.send()

    keys, together = [f"cell{number}" for number in range(8)], threading.Barrier(3, timeout=20)
    with ThreadPoolExecutor(3) as machines:
        list(machines.map(machine, range(3)))
    store = open_store(uri, tmp_path)
    found = store.client.search_runs([store.experiment_id])
    assert sorted((run.data.tags["neuroexp.key"], run.info.status) for run in found) == [
        (key, "FINISHED") for key in keys
    ]
