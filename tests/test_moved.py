"""A store that was moved or copied with its folder finds its runs' files beside it, and writes nothing where it was."""

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils as mlflow_process

from neuroexp.store import finished_run
from neuroexp.store.moved import PLACE
from neuroexp.store.open_run import Run, new_record
from neuroexp.store.tracking import Store


def opened(outputs: Path, experiment: str = "scratch", artifacts: Path | None = None) -> Store:
    return Store(f"sqlite:///{outputs}/mlflow.db", str(artifacts or outputs / "artifacts"), experiment)


def finish(store: Store, folder: Path, key: str) -> str:
    run = Run(store, new_record(key, key, "sweep", {}, {}), folder / "cells" / key)
    for name in ("config.yaml", "environment.json"):
        run.text(f"{{a: {key}}}", name)
    run.end("FINISHED")
    assert run.send()
    assert run.run_id is not None
    return run.run_id


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "neuroexp.store.moved"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def untag(outputs: Path) -> None:
    """Make the store one of a version that did not write down where it is."""
    with closing(sqlite3.connect(outputs / "mlflow.db")) as database, database:
        database.execute("delete from experiment_tags where key = ?", (PLACE,))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_moved_or_copied_store_uses_the_files_beside_it(tmp_path, caplog, how, known):
    old, new = tmp_path / "pröj 1" / "outputs", tmp_path / "other" / "proj 2" / "outputs"
    store = opened(old)
    run_id = finish(store, tmp_path, "one")
    opened(old, "of no run")
    opened(old)
    if not known:
        untag(old)
    assert said(caplog) == []
    new.parent.mkdir(parents=True)
    if how == "moved":
        old.rename(new)
    else:
        shutil.copytree(old, new)
        (old / "artifacts" / run_id / "artifacts" / "config.yaml").write_text("{a: changed since}")
    before = contents(old)
    mlflow_process._artifact_repos_cache.clear()  # as in a process that has not seen the run before
    uri = f"sqlite:///{new}/mlflow.db"
    with caplog.at_level(logging.WARNING):
        assert finished_run.read(uri, run_id)["config.yaml"] == "{a: one}"
    assert [message.partition(": ")[2] for message in said(caplog)] == [
        f"the files of its runs are in {new}/artifacts, not in {old}/artifacts any more"
    ]
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "decoder.onnx").write_text("decoder")
    finished_run.add(uri, run_id, tmp_path / "extra", {"latency": 1.0}, "decoder")
    assert finished_run.download(uri, run_id, "decoder", tmp_path).is_dir()
    assert (new / "artifacts" / run_id / "artifacts" / "decoder" / "decoder.onnx").is_file()
    for experiment in ("scratch", "of no run", "a new one"):
        later = opened(new, experiment)
        there = finish(later, tmp_path, f"two {experiment}")
        assert (new / "artifacts" / there / "artifacts" / "config.yaml").is_file()
        assert later.text(there, "name", "config.yaml") == f"{{a: two {experiment}}}"
    assert contents(old) == before
    assert old.exists() == (how == "copied")
    assert len(said(caplog)) == 1  # once
    if how == "moved":  # and back again
        new.rename(old)
        mlflow_process._artifact_repos_cache.clear()
        assert finished_run.read(f"sqlite:///{old}/mlflow.db", run_id)["config.yaml"] == "{a: one}"


@pytest.mark.parametrize("known", [True, False])
def test_files_that_were_kept_elsewhere_stay_there(tmp_path, caplog, known):
    old, chosen = tmp_path / "old", tmp_path / "disk" / "files"
    run_id = finish(opened(old, artifacts=chosen), tmp_path, "one")
    opened(old, artifacts=chosen)
    if not known:
        untag(old)
    old.rename(tmp_path / "new")
    mlflow_process._artifact_repos_cache.clear()
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    assert finished_run.read(uri, run_id)["config.yaml"] == "{a: one}"
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    with pytest.raises(ValueError, match="is without its files"):
        finished_run.read(uri, run_id)
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    assert finished_run.read(uri, run_id)["config.yaml"] == "{a: one}"
    assert said(caplog) == []


def test_a_store_copied_without_its_files_reads_them_where_they_are(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    run_id = finish(opened(old), tmp_path, "one")
    opened(old)
    new.mkdir()
    shutil.copy(old / "mlflow.db", new / "mlflow.db")
    assert finished_run.read(f"sqlite:///{new}/mlflow.db", run_id)["config.yaml"] == "{a: one}"


def test_another_name_of_the_same_folder_is_no_move(tmp_path, caplog):
    run_id = finish(opened(tmp_path / "real"), tmp_path, "one")
    opened(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("link", "real"):
        assert finished_run.read(f"sqlite:///{tmp_path}/{name}/mlflow.db", run_id)["config.yaml"] == "{a: one}"
    assert said(caplog) == []
