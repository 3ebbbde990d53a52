"""Outputs that were moved: every command finds its run, what waits is sent to the store beside it, trainings continue."""

import json
import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import LAUNCH, SMALL

from neuroexp.machine import places
from neuroexp.store import movedcells
from neuroexp.store.ledger import STORE, Cell, waiting

KEY, OTHER = "0" * 20, "1" * 20


def uri_of(folder: Path) -> str:
    return places.store(folder)


def cell_of(folder: Path, key: str = KEY, uri: str | None = None, experiment: str = "a paper/table 1") -> Cell:
    return Cell(folder / "outputs" / "cells", uri or uri_of(folder), experiment, key)


def record_of(folder: Path, key: str = KEY, uri: str | None = None, sent: bool = False) -> dict:
    artifacts = str(folder / "outputs" / "artifacts")
    return {
        "uid": "a" * 32, "key": key, "name": "mldcnn", "sweep": "s", "began_ms": 1, "ended_ms": 2, "status": "FINISHED",
        "parameters": {}, "tags": {}, "dataset": {}, "metrics": [], "scores": {"test/f1": 0.5}, "run_id": None, "sent": sent,
        "store": {"uri": uri or uri_of(folder), "artifacts": artifacts, "experiment": "a paper/table 1"},
    }  # fmt: skip


def finish(cell: Cell, record: dict) -> None:
    with cell.claim() as mine:
        assert mine
        cell.files.mkdir()
        (cell.files / "config.yaml").write_text("{a: 1}")
        cell.publish(record)


def cut_off(cell: Cell) -> None:
    with cell.claim() as mine:
        assert mine
        cell.last.write_bytes(b"weights")


@pytest.mark.parametrize("told", [True, False], ids=["by its folder", "by its record alone"])
@pytest.mark.parametrize("how", ["moved", "copied"])
@pytest.mark.parametrize("launched", [True, False], ids=["a launch", "sync"])
def test_cells_go_with_their_store(how, told, launched, tmp_path, caplog):
    old, new = tmp_path / "pröj 1", tmp_path / "other" / "proj%20"
    finish(cell_of(old), record_of(old))
    cut_off(cell_of(old, OTHER))
    if not told:  # as an earlier version leaves it
        (cell_of(old).folder.parent / STORE).unlink()
    new.parent.mkdir()
    shutil.move(old, new) if how == "moved" else shutil.copytree(old, new)
    before = sorted(path for path in old.rglob("*"))
    ledger = new / "outputs" / "cells"
    with caplog.at_level(logging.WARNING):
        movedcells.settle(ledger, uri_of(new) if launched else None)
        movedcells.settle(ledger, uri_of(new) if launched else None)
    [line] = [found.getMessage() for found in caplog.records]
    assert line.endswith(f"2 cells of {old}/outputs/mlflow.db belong to {new}/outputs/mlflow.db now")
    here = cell_of(new)
    assert waiting(ledger) == [here.folder / "record.json"]
    record = here.record()
    assert record is not None
    assert record["store"] == record_of(new)["store"]
    kept = here.kept(record)
    assert kept is not None
    assert (kept / "config.yaml").read_text() == "{a: 1}"
    assert cell_of(new, OTHER).last.read_bytes() == b"weights"
    assert [folder.name for folder in ledger.iterdir() if folder.is_dir()] == [here.folder.parent.name]
    assert sorted(old.rglob("*")) == before


def test_cells_of_another_store_and_what_is_there_already_stay(tmp_path, caplog):
    old, new, far = tmp_path / "old", tmp_path / "new", tmp_path / "disk"
    elsewhere = [f"sqlite:///{far}/mlflow.db", "http://server:5000", "postgresql://u@h/d"]
    for uri in elsewhere:  # typed, with the ledger of this folder
        finish(cell_of(old, uri=uri), record_of(old, uri=uri))
    finish(cell_of(old), record_of(old))
    cut_off(cell_of(old, OTHER))
    old.rename(new)
    finish(cell_of(new), record_of(new) | {"name": "later"})
    cut_off(cell_of(new, OTHER))
    cell_of(new, OTHER).last.write_bytes(b"later")
    with cell_of(new, "2" * 20).claim():
        movedcells.settle(new / "outputs" / "cells")
    assert caplog.records == []
    for uri in elsewhere:
        record = cell_of(new, uri=uri).record()
        assert record is not None
        assert record["store"]["uri"] == uri
    record = cell_of(new).record()
    assert record is not None
    assert record["name"] == "later"
    assert cell_of(new, OTHER).last.read_bytes() == b"later"
    assert cell_of(new, uri=uri_of(old)).record() is not None  # nothing is lost either


def test_a_cell_that_somebody_works_on_waits(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    finish(cell_of(old), record_of(old))
    old.rename(new)
    ledger = new / "outputs" / "cells"
    with cell_of(new, uri=uri_of(old)).claim():
        movedcells.settle(ledger)
        assert cell_of(new).record() is None
    movedcells.settle(ledger)
    assert cell_of(new).record() is not None
    movedcells.settle(tmp_path / "no ledger")


def test_after_a_move_every_command_finds_the_run_and_what_waits_is_sent(commands, tmp_path):
    old, new, last = (tmp_path / name for name in ("old", "new", "last"))
    old.mkdir()
    words = ("window=20", "step=50", *SMALL)
    [(code, out, _)] = commands([(old, LAUNCH, words)])
    assert code == 0, out
    [record] = (old / "outputs" / "cells").glob("*/*/record.json")
    run_id = json.loads(record.read_text())["run_id"]
    old.rename(new)
    done = commands(
        [
            (new, LAUNCH, ["export", run_id, "forms=onnx"]),
            (new, LAUNCH, ["latency", run_id, "engines=eager", "threads=1", "seconds=1"]),
            (new, LAUNCH, ["replay", f"run_id={run_id}", "seconds=3"]),
            (new, LAUNCH, ["repeat", run_id]),
        ]
    )
    for code, out, _ in done:
        assert code == 0, out
        assert str(old) not in out.replace(f"not in {old}/outputs/artifacts any more", "")
    assert (new / "outputs" / "artifacts" / run_id / "artifacts" / "decoder_onnx").is_dir()
    assert list((new / "outputs" / "replay").rglob("summary.json"))
    assert not old.exists()

    [record] = (new / "outputs" / "cells").glob("*/*/record.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sent": False, "run_id": None, "store": {
        "uri": uri_of(new), "artifacts": str(new / "outputs" / "artifacts"), "experiment": "scratch",
    }}))  # fmt: skip
    for path in new.glob("outputs/mlflow.db*"):  # as if it had been away from the beginning
        path.unlink()
    new.rename(last)
    sent, again = commands([(last, LAUNCH, ["sync"]), (last, LAUNCH, words)])
    assert sent[0] == 0, sent
    assert "1 finished runs wait" in sent[1]
    assert again[0] == 0, again
    assert "skipped" in again[1]
    with closing(sqlite3.connect(last / "outputs" / "mlflow.db")) as store:
        assert store.execute("select count(*) from runs where status = 'FINISHED'").fetchone() == (1,)
    assert not new.exists()
    assert not old.exists()
